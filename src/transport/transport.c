/* SPDX-License-Identifier: Apache-2.0 */
/*
 * transport.c: the backends of this build, and what stands in for operations a backend does not have.
 *
 * Invariant: a table that dm_transport_find() or dm_transport_complete() gave out has no NULL operation.
 */
#include "transport/transport.h"

#include <errno.h>
#include <pthread.h>
#include <stdbool.h>
#include <string.h>
#include <sys/mman.h>

#include "base/arith.h"
#include "base/error.h"
#ifdef DM_WITH_DAX
#include "transport/devdax/devdax.h"
#endif
#include "transport/file/file.h"
#include "transport/sim/sim.h"
#include "transport/uri_value.h"

static const struct dm_transport *const backends[] = {
	&dm_transport_file,
	&dm_transport_sim,
#ifdef DM_WITH_DAX
	&dm_transport_dax,
	&dm_transport_cxl,
#endif
};

static struct dm_transport completed[DM_ARRAY_LENGTH(backends)];
static int completed_err[DM_ARRAY_LENGTH(backends)];
static pthread_once_t completed_once = PTHREAD_ONCE_INIT;

static int nosys(const struct dm_device *device, const char *operation)
{
	return dm_fail(DMEM_E_UNSUPPORTED, "%s cannot %s: %s: has no such operation", device->name, operation,
	               device->transport->scheme);
}

static int nosys_uri(const struct dm_uri *uri, const char *operation)
{
	return dm_fail(DMEM_E_UNSUPPORTED,
	               "%s:%.200s cannot be %s: devices of this kind are made and removed by other means", uri->scheme,
	               uri->path, operation);
}

static int any_capacity(const struct dm_uri *uri, uint64_t *bytes)
{
	(void)uri;
	*bytes = 0;
	return 0;
}

/* A store faults then; the window gives it a copy. */
static int any_isolate(struct dm_device *device, uint64_t offset, uint64_t bytes, void *address)
{
	(void)device, (void)offset;
	return mprotect(address, bytes, PROT_READ) == 0 ? 0 : -errno;
}

static int nosys_create(const struct dm_uri *uri, uint64_t size_bytes, uint32_t mode, struct dm_device **device)
{
	(void)size_bytes, (void)mode, (void)device;
	return nosys_uri(uri, "created");
}

static int nosys_commit(struct dm_device *device)
{
	return nosys(device, "be given a name");
}

static int nosys_destroy(const struct dm_uri *uri)
{
	return nosys_uri(uri, "removed");
}

static int nosys_grow(struct dm_device *device, uint64_t size_bytes)
{
	(void)size_bytes;
	return nosys(device, "grow");
}

static int nosys_reserve(struct dm_device *device, uint64_t offset, uint64_t bytes)
{
	(void)offset, (void)bytes;
	return nosys(device, "reserve space");
}

static int nosys_release(struct dm_device *device, uint64_t offset, uint64_t bytes)
{
	(void)offset, (void)bytes;
	return nosys(device, "give space back");
}

static int nosys_exclude(struct dm_device *device, uint32_t number, int *fd)
{
	(void)device, (void)number, (void)fd;
	return DMEM_E_UNSUPPORTED;
}

static int nosys_range(struct dm_device *device, uint64_t offset, void *address, size_t bytes)
{
	(void)offset, (void)address, (void)bytes;
	return nosys(device, "publish or refresh memory");
}

static int nosys_all(struct dm_device *device)
{
	return nosys(device, "publish or refresh all memory");
}

static int nosys_load(struct dm_device *device, uint64_t offset, void *address, unsigned width, uint64_t *value)
{
	(void)offset, (void)address, (void)width, (void)value;
	return nosys(device, "load atomically");
}

static int nosys_store(struct dm_device *device, uint64_t offset, void *address, unsigned width, uint64_t value)
{
	(void)offset, (void)address, (void)width, (void)value;
	return nosys(device, "store atomically");
}

static int nosys_modify(struct dm_device *device, uint64_t offset, void *address, unsigned width, uint64_t operand,
                        uint64_t *previous)
{
	(void)offset, (void)address, (void)width, (void)operand, (void)previous;
	return nosys(device, "exchange or add atomically");
}

static int nosys_cas(struct dm_device *device, uint64_t offset, void *address, unsigned width, uint64_t expected,
                     uint64_t desired, uint64_t *previous)
{
	(void)offset, (void)address, (void)width, (void)expected, (void)desired, (void)previous;
	return nosys(device, "compare and swap");
}

struct operation {
	const char *name;
	bool given;
};

static int check_mandatory(const struct dm_transport *backend)
{
	const struct operation wanted[] = {
		{"open", backend->region.open != NULL},   {"close", backend->region.close != NULL},
		{"size", backend->region.size != NULL},   {"map", backend->region.map != NULL},
		{"read", backend->data.read != NULL},     {"write", backend->data.write != NULL},
		{"probe", backend->health.probe != NULL},
	};

	if (backend->scheme == NULL || backend->scheme[0] == '\0')
		return dm_fail(DMEM_E_OPTION, "a transport has no scheme");
	for (size_t i = 0; i < DM_ARRAY_LENGTH(wanted); i++) {
		if (!wanted[i].given)
			return dm_fail(DMEM_E_OPTION,
			               "the transport \"%s\" lacks the operation \"%s\", which every backend must have",
			               backend->scheme, wanted[i].name);
	}
	return 0;
}

/* All of a group or none of it. */
static int check_group(const struct dm_transport *backend, const struct operation *group, size_t count)
{
	size_t given = 0, missing = 0;

	for (size_t i = 0; i < count; i++) {
		if (group[i].given)
			given++;
		else
			missing = i;
	}
	if (given == 0 || given == count)
		return 0;
	return dm_fail(DMEM_E_OPTION,
	               "the transport \"%s\" lacks the operation \"%s\", although it has others of its group",
	               backend->scheme, group[missing].name);
}

static int check_groups(const struct dm_transport *backend)
{
	const struct operation making[] = {
		{"create", backend->region.create != NULL},
		{"commit", backend->region.commit != NULL},
		{"destroy", backend->region.destroy != NULL},
	};
	const struct operation space[] = {
		{"reserve", backend->region.reserve != NULL},
		{"release", backend->region.release != NULL},
	};
	const struct operation atomics[] = {
		{"load", backend->data.load != NULL},         {"store", backend->data.store != NULL},
		{"exchange", backend->data.exchange != NULL}, {"cas", backend->data.cas != NULL},
		{"add", backend->data.add != NULL},
	};
	int err = check_group(backend, making, DM_ARRAY_LENGTH(making));

	if (err == 0)
		err = check_group(backend, space, DM_ARRAY_LENGTH(space));
	if (err == 0)
		err = check_group(backend, atomics, DM_ARRAY_LENGTH(atomics));
	return err;
}

#define FILL(table, operation, substitute) \
	(table).operation = (table).operation != NULL ? (table).operation : (substitute)

int dm_transport_complete(const struct dm_transport *backend, struct dm_transport *complete)
{
	struct dm_transport filled = *backend;
	int err = check_mandatory(backend);

	if (err == 0)
		err = check_groups(backend);
	if (err != 0)
		return err;
	FILL(filled.region, capacity, any_capacity);
	FILL(filled.region, isolate, any_isolate);
	FILL(filled.region, create, nosys_create);
	FILL(filled.region, commit, nosys_commit);
	FILL(filled.region, destroy, nosys_destroy);
	FILL(filled.region, grow, nosys_grow);
	FILL(filled.region, reserve, nosys_reserve);
	FILL(filled.region, release, nosys_release);
	FILL(filled.region, exclude, nosys_exclude);
	FILL(filled.data, publish, nosys_range);
	FILL(filled.data, refresh, nosys_range);
	FILL(filled.data, handoff, nosys_range);
	FILL(filled.data, publish_all, nosys_all);
	FILL(filled.data, refresh_all, nosys_all);
	FILL(filled.data, load, nosys_load);
	FILL(filled.data, store, nosys_store);
	FILL(filled.data, exchange, nosys_modify);
	FILL(filled.data, cas, nosys_cas);
	FILL(filled.data, add, nosys_modify);
	*complete = filled;
	return 0;
}

static void complete_backends(void)
{
	for (size_t i = 0; i < DM_ARRAY_LENGTH(backends); i++)
		completed_err[i] = dm_transport_complete(backends[i], &completed[i]);
}

int dm_transport_find(const char *scheme, const struct dm_transport **transport)
{
	pthread_once(&completed_once, complete_backends);
	for (size_t i = 0; i < DM_ARRAY_LENGTH(backends); i++) {
		if (strcmp(backends[i]->scheme, scheme) != 0)
			continue;
		if (completed_err[i] != 0)
			return dm_fail(completed_err[i], "the transport \"%s\" of this build is incomplete: build libdmem again",
			               scheme);
		*transport = &completed[i];
		return 0;
	}
	if (dm_uri_scheme_known(scheme, strlen(scheme)))
		return dm_fail(DMEM_E_UNSUPPORTED,
		               "this build of libdmem has no transport for %s: pools; it has file: and sim:", scheme);
	return dm_fail(DMEM_E_URI, "unknown scheme \"%.50s\": schemes are file, sim, dax, cxl, rdma, tcp", scheme);
}

int dm_transport_open(const struct dm_uri *uri, struct dm_device **device)
{
	const struct dm_transport *transport = NULL;
	int err = dm_transport_find(uri->scheme, &transport);

	if (err == 0)
		err = transport->region.open(uri, device);
	if (err == 0)
		(*device)->transport = transport;
	return err;
}

int dm_transport_create(const struct dm_uri *uri, uint64_t size_bytes, uint32_t mode, struct dm_device **device)
{
	const struct dm_transport *transport = NULL;
	int err = dm_transport_find(uri->scheme, &transport);

	if (err == 0)
		err = transport->region.create(uri, size_bytes, mode, device);
	if (err == 0)
		(*device)->transport = transport;
	return err;
}
