/* SPDX-License-Identifier: Apache-2.0 */
/* allocators.c: libdmem's shared memory, and whatever malloc() the process was started with. */
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <dmem/dmem.h>

#include "alloc/work.h"

static int dmem_begin(const char *where)
{
	setenv("DMEM_POOL", where, 1);
	if (dmem_default_pool() != NULL)
		return 0;
	fprintf(stderr, "bench_alloc: %s: %s\n", where, dmem_last_error());
	return -1;
}

static void dmem_end(void)
{
	(void)dmem_pool_detach(dmem_default_pool());
}

static uint64_t dmem_held(void)
{
	struct dmem_pool_info info = {.struct_bytes = sizeof(info)};

	return dmem_pool_info(dmem_default_pool(), &info) == 0 ? info.leased_bytes : 0;
}

const struct work_allocator work_dmem = {.name = "libdmem",
                                         .begin = dmem_begin,
                                         .alloc = dmem_alloc_shared,
                                         .free = dmem_free,
                                         .end = dmem_end,
                                         .held = dmem_held};

/* --- jemalloc, which the benchmark preloads --- */

static int (*control)(const char *name, void *old, size_t *old_bytes, void *new, size_t new_bytes);

static int malloc_begin(const char *where)
{
	void *found = dlsym(RTLD_DEFAULT, "mallctl");

	(void)where;
	memcpy(&control, &found, sizeof(control));
	if (control != NULL)
		return 0;
	fprintf(stderr, "bench_alloc: jemalloc was not loaded: install libjemalloc2\n");
	return -1;
}

static void malloc_end(void)
{
}

static uint64_t malloc_held(void)
{
	uint64_t epoch = 1;
	size_t epoch_bytes = sizeof(epoch);
	size_t resident = 0;
	size_t bytes = sizeof(resident);

	if (control("epoch", &epoch, &epoch_bytes, &epoch, epoch_bytes) != 0 ||
	    control("stats.resident", &resident, &bytes, NULL, 0) != 0)
		return 0;
	return resident;
}

const struct work_allocator work_malloc = {
	.name = "jemalloc", .begin = malloc_begin, .alloc = malloc, .free = free, .end = malloc_end, .held = malloc_held};
