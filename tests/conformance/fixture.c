/* SPDX-License-Identifier: Apache-2.0 */
/* fixture.c: see conformance.h. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/arith.h"
#include "conformance/conformance.h"

struct conformance conformance_state;

struct criterion_test_params conformance_parameters(void)
{
	/* Indexes: Criterion copies parameters into another process, where pointers of this one mean nothing. */
	static size_t indexes[16];
	/* "dax": those whose name has it in it. */
	const char *only = getenv("DMEM_TEST_BACKEND");
	size_t count = 0;

	for (size_t i = 0; i < conformance_backend_count && count < DM_ARRAY_LENGTH(indexes); i++) {
		if (only != NULL && strstr(conformance_backends[i].name, only) == NULL)
			continue;
		if (conformance_backends[i].available == NULL || conformance_backends[i].available())
			indexes[count++] = i;
	}
	return cr_make_param_array(size_t, indexes, count);
}

void conformance_begin(const size_t *index)
{
	struct conformance *c = &conformance_state;

	memset(c, 0, sizeof(*c));
	c->backend = &conformance_backends[*index];
	c->backend->make_uri(c->text, sizeof(c->text));
	cr_assert(zero(int, dm_uri_parse(c->text, &c->uri)));
	cr_assert(zero(int, dm_transport_find(c->uri.scheme, &c->transport)));
}

void conformance_end(void)
{
	struct conformance *c = &conformance_state;

	if (c->backend == NULL)
		return;
	if (c->device != NULL)
		c->transport->region.close(c->device);
	c->backend->clean(&c->uri);
	c->backend = NULL;
}

uint64_t conformance_unit(struct conformance *c)
{
	return c->device->align_bytes;
}

void conformance_make(struct conformance *c, uint64_t units)
{
	struct dm_device *device;

	cr_assert(zero(int, dm_transport_create(&c->uri, units * 2 * DM_MIB, 0600, &device)), "%s: %s", c->backend->name,
	          dmem_last_error());
	c->device = device;
	cr_assert(zero(int, device->transport->region.commit(device)), "%s: %s", c->backend->name, dmem_last_error());
}

struct dm_device *conformance_open(struct conformance *c)
{
	struct dm_device *device = NULL;

	cr_assert(zero(int, dm_transport_open(&c->uri, &device)), "%s: %s", c->backend->name, dmem_last_error());
	return device;
}

static void *map_anywhere(struct dm_device *device, uint64_t bytes)
{
	uint64_t align = device->align_bytes, start;
	char *range = mmap(NULL, bytes + align, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	if (range == MAP_FAILED || !dm_align_up((uintptr_t)range, align, &start) ||
	    device->transport->region.map(device, 0, bytes, (void *)(uintptr_t)start) != 0)
		return NULL;
	return (void *)(uintptr_t)start;
}

void *conformance_map(struct dm_device *device, uint64_t bytes)
{
	void *address = map_anywhere(device, bytes);

	cr_assert(ne(ptr, address, NULL), "%s", dmem_last_error());
	return address;
}

int conformance_fork(struct conformance *c, uint64_t bytes, conformance_body body, uint64_t argument)
{
	struct dm_device *device;
	void *address;
	int pid = fork();

	if (pid != 0)
		return pid;
	/* No assertions here: they would report to the runner in the name of the parent. */
	if (dm_transport_open(&c->uri, &device) != 0)
		_exit(100);
	address = map_anywhere(device, bytes);
	if (address == NULL)
		_exit(101);
	_exit(body(device, address, argument));
}

int conformance_join(int pid)
{
	int status;

	if (pid < 0 || waitpid(pid, &status, 0) != pid)
		return -1;
	return WIFEXITED(status) ? WEXITSTATUS(status) : 1000 + WTERMSIG(status);
}

void conformance_publish(struct dm_device *device, void *address, uint64_t offset, size_t bytes)
{
	cr_assert(zero(int, device->transport->data.publish(device, offset, (char *)address + offset, bytes)), "%s",
	          dmem_last_error());
}

void conformance_refresh(struct dm_device *device, void *address, uint64_t offset, size_t bytes)
{
	cr_assert(zero(int, device->transport->data.refresh(device, offset, (char *)address + offset, bytes)), "%s",
	          dmem_last_error());
}

bool conformance_in_place(struct conformance *c)
{
	return c->backend->in_place;
}

bool conformance_all(const void *address, unsigned char byte, size_t bytes)
{
	const unsigned char *at = address;

	for (size_t i = 0; i < bytes; i++) {
		if (at[i] != byte)
			return false;
	}
	return true;
}
