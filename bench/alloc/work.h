/* SPDX-License-Identifier: Apache-2.0 */
/*
 * work.h: what the allocators are given to do.  Every workload is one function over two function pointers, so that a call
 * costs each allocator the same.  Workers are threads of one process or of several: they meet on a page that all map.
 */
#ifndef BENCH_ALLOC_WORK_H
#define BENCH_ALLOC_WORK_H

#include <stddef.h>
#include <stdint.h>

struct work_allocator {
	const char *name;
	/* Before the first block; `where` names the shared heap. 0, or it complained. */
	int (*begin)(const char *where);
	void *(*alloc)(size_t bytes);
	void (*free)(void *block);
	void (*end)(void);
	/* Bytes that the heap takes from the system or the pool now. */
	uint64_t (*held)(void);
};

extern const struct work_allocator work_dmem, work_malloc, work_boost;

/* Shared heap of Boost.Interprocess (boost.cpp). */
int work_boost_create(const char *name);
void work_boost_remove(const char *name);

#define WORK_RING_SLOTS 65536u

/* The page where workers meet: zeros at the start. */
struct work_meeting {
	uint32_t ready;
	uint32_t go;
	uint32_t over;
	uint32_t pad[13];
	uint64_t head __attribute__((aligned(64))); /* of the ring, written by who allocates */
	uint64_t tail __attribute__((aligned(64))); /* by who frees */
	uint64_t waiting_most __attribute__((aligned(64))); /* bytes that waited for their owner, the highest seen */
	void *ring[WORK_RING_SLOTS] __attribute__((aligned(64)));
};

/* One worker: `number` tells the two of a pair apart.  Gives nanoseconds per operation of this worker. */
typedef int (*work_run)(const struct work_allocator *allocator, struct work_meeting *meeting, unsigned number,
                        double *ns);

int work_threadtest(const struct work_allocator *allocator, struct work_meeting *meeting, unsigned number, double *ns);
int work_larson(const struct work_allocator *allocator, struct work_meeting *meeting, unsigned number, double *ns);
int work_xmalloc(const struct work_allocator *allocator, struct work_meeting *meeting, unsigned number, double *ns);
/* Gives the highest ratio of held bytes to live bytes instead of a time. */
int work_mixed(const struct work_allocator *allocator, struct work_meeting *meeting, unsigned number, double *ratio);

#endif
