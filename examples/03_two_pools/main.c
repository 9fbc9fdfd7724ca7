/* SPDX-License-Identifier: Apache-2.0 */
/*
 * 03_two_pools: two pools in one process, and pointers from one into the other.
 *
 * Each pool has an address window of its own, which it keeps for life, so windows never collide and a pointer from one
 * pool into the other holds in every process that has attached both.  dmem_locate() says which pool an address is in.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <dmem/dmem.h>

struct record {
	uint64_t number;
	char text[48];
};

/* Lies in the small pool, points into the large one. */
struct entry {
	struct record *record;
};

static int complain(const char *what, int error)
{
	fprintf(stderr, "%s: %s\n%s\n", what, dmem_strerror(error), dmem_last_error());
	return 1;
}

/* Prints where an address is.  Returns 0 when that is `expected`. */
static int tell(const char *what, const void *address, struct dmem_pool *expected)
{
	struct dmem_pool_info info = {.struct_bytes = sizeof(info)};
	struct dmem_location location = {.struct_bytes = sizeof(location)};
	int error = dmem_locate(address, &location);

	if (!error)
		error = dmem_pool_info(location.pool, &info);
	if (error)
		return complain(what, error);
	printf("  process %d: %-10s %p = offset 0x%" PRIx64 " of %s\n", (int)getpid(), what, address, location.offset,
	       info.uri);
	return location.pool != expected;
}

static int fill(struct dmem_pool *index, struct dmem_pool *data)
{
	struct record *record = dmem_alloc_ex(data, sizeof(*record), NULL);
	struct entry *entry = dmem_alloc_ex(index, sizeof(*entry), NULL);
	int error = record && entry ? 0 : -errno;

	if (error)
		return complain("allocation", error);
	*record = (struct record){.number = 42, .text = "far away, and still one pointer"};
	entry->record = record;
	error = dmem_publish(record, sizeof(*record));
	if (!error)
		error = dmem_publish(entry, sizeof(*entry));
	if (!error)
		error = dmem_root_set(index, "entry", entry);
	if (error)
		return complain("publish", error);
	return tell("entry", entry, index) | tell("record", record, data);
}

/* Another process: attaches both, in the other order, and finds everything where it was. */
static int check(const char *index_uri, const char *data_uri)
{
	struct dmem_pool *index, *data;
	struct entry *entry;
	int error = dmem_pool_attach(data_uri, NULL, &data);

	if (!error)
		error = dmem_pool_attach(index_uri, NULL, &index);
	if (error)
		return complain("attach", error);
	entry = dmem_root_get(index, "entry");
	if (!entry)
		return complain("root", -errno);
	error = dmem_refresh(entry, sizeof(*entry));
	if (!error)
		error = dmem_refresh(entry->record, sizeof(*entry->record));
	if (error)
		return complain("refresh", error);
	printf("  process %d: record %" PRIu64 ": %s\n", (int)getpid(), entry->record->number, entry->record->text);
	error = tell("entry", entry, index) | tell("record", entry->record, data) | (entry->record->number != 42);
	return dmem_pool_detach(index) || dmem_pool_detach(data) || error;
}

static int run(const char *index_uri, const char *data_uri)
{
	struct dmem_pool *index, *data;
	int error = dmem_pool_attach(index_uri, NULL, &index), status;
	pid_t child;

	if (!error)
		error = dmem_pool_attach(data_uri, NULL, &data);
	if (error)
		return complain("attach", error);
	status = fill(index, data);
	error = dmem_pool_detach(index);
	if (!error)
		error = dmem_pool_detach(data);
	if (error || status)
		return 1;
	child = fork();
	if (child == 0)
		_exit(check(index_uri, data_uri));
	return child < 0 || waitpid(child, &status, 0) != child || status != 0;
}

int main(void)
{
	char index_uri[80], data_uri[80];
	int error, result = 1;

	setvbuf(stdout, NULL, _IOLBF, 0);
	snprintf(index_uri, sizeof(index_uri), "file:/dev/shm/dmem-index.%d?size=64M", (int)getpid());
	snprintf(data_uri, sizeof(data_uri), "file:/dev/shm/dmem-data.%d?size=1G", (int)getpid());
	error = dmem_pool_create(index_uri, NULL);
	if (error)
		return complain("create", error);
	error = dmem_pool_create(data_uri, NULL);
	if (error) {
		complain("create", error);
	} else {
		result = run(index_uri, data_uri);
		error = dmem_pool_destroy(data_uri);
	}
	if (dmem_pool_destroy(index_uri) || error)
		return complain("destroy", error ? error : DMEM_E_BUSY);
	return result;
}
