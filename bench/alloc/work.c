/* SPDX-License-Identifier: Apache-2.0 */
/*
 * work.c: the workloads (work.h).
 *
 * threadtest (Berger, Hoard): 100,000 objects of 64 B are allocated and written to, then freed in the same order.
 * larson (Larson and Krishnan): random blocks of 64 to 400 B are replaced; after a while a worker's thread ends and leaves
 * its blocks to a new one.
 * xmalloc (Lever and Boreham): one worker allocates blocks of 64 B, the other frees them; they go through a ring.
 * mixed: blocks of 8 B to 1 MiB, as many of each doubling, a random one replaced by a new one while 1 GiB is live;
 * the middle of the sizes drifts up and down meanwhile, so that memory which one size gave up has to serve others.
 */
#include "alloc/work.h"

#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>

#include "harness/harness.h"

#define RUN_NS UINT64_C(150000000)

static uint64_t next_random(uint64_t *state)
{
	*state ^= *state << 13;
	*state ^= *state >> 7;
	*state ^= *state << 17;
	return *state;
}

/* Tell that this worker is warm, and wait for the start. */
static void meet(struct work_meeting *meeting)
{
	__atomic_add_fetch(&meeting->ready, 1, __ATOMIC_ACQ_REL);
	while (!__atomic_load_n(&meeting->go, __ATOMIC_ACQUIRE))
		sched_yield();
}

/* --- threadtest --- */

#define OBJECTS 100000u
#define OBJECT_BYTES 64u

static int threadtest_once(const struct work_allocator *allocator, void **objects)
{
	for (unsigned i = 0; i < OBJECTS; i++) {
		objects[i] = allocator->alloc(OBJECT_BYTES);
		if (objects[i] == NULL)
			return -ENOMEM;
		*(uint64_t *)objects[i] = i;
	}
	for (unsigned i = 0; i < OBJECTS; i++)
		allocator->free(objects[i]);
	return 0;
}

int work_threadtest(const struct work_allocator *allocator, struct work_meeting *meeting, unsigned number, double *ns)
{
	void **objects = calloc(OBJECTS, sizeof(*objects));
	uint64_t begin, taken, rounds = 0;
	int error = objects == NULL ? -ENOMEM : threadtest_once(allocator, objects);

	(void)number;
	meet(meeting);
	begin = bench_now_ns();
	do {
		error = error ? error : threadtest_once(allocator, objects);
		rounds++;
		taken = bench_now_ns() - begin;
	} while (!error && taken < RUN_NS);
	*ns = (double)taken / (double)(rounds * OBJECTS);
	free(objects);
	return error;
}

/* --- larson --- */

#define LARSON_BLOCKS 1000u
#define LARSON_STEPS 50000u /* of one thread */

struct larson {
	const struct work_allocator *allocator;
	void *blocks[LARSON_BLOCKS];
	uint64_t random;
	int error;
};

static void *larson_thread(void *argument)
{
	struct larson *larson = argument;

	for (unsigned i = 0; i < LARSON_STEPS && !larson->error; i++) {
		unsigned at = (unsigned)(next_random(&larson->random) % LARSON_BLOCKS);

		larson->allocator->free(larson->blocks[at]);
		larson->blocks[at] = larson->allocator->alloc(64 + next_random(&larson->random) % 337);
		if (larson->blocks[at] == NULL)
			larson->error = -ENOMEM;
		else
			*(uint64_t *)larson->blocks[at] = i;
	}
	return NULL;
}

static void larson_generation(struct larson *larson)
{
	pthread_t thread;

	if (pthread_create(&thread, NULL, larson_thread, larson) != 0)
		larson->error = -EAGAIN;
	else
		pthread_join(thread, NULL);
}

int work_larson(const struct work_allocator *allocator, struct work_meeting *meeting, unsigned number, double *ns)
{
	struct larson larson = {.allocator = allocator, .random = number * 77 + 12345};
	uint64_t begin, taken, rounds = 0;

	for (unsigned i = 0; i < LARSON_BLOCKS; i++)
		larson.blocks[i] = allocator->alloc(64 + next_random(&larson.random) % 337);
	larson_generation(&larson);
	meet(meeting);
	begin = bench_now_ns();
	do {
		larson_generation(&larson);
		rounds++;
		taken = bench_now_ns() - begin;
	} while (!larson.error && taken < RUN_NS);
	*ns = (double)taken / (double)(rounds * LARSON_STEPS);
	for (unsigned i = 0; i < LARSON_BLOCKS; i++)
		allocator->free(larson.blocks[i]);
	return larson.error;
}

/* --- xmalloc --- */

#define RING_BATCH 256u

static void ring_wait(unsigned *tries)
{
	if (++*tries % 64 == 0)
		sched_yield();
	else
		__builtin_ia32_pause();
}

static uint64_t xmalloc_produce(const struct work_allocator *allocator, struct work_meeting *meeting, int *error)
{
	uint64_t head = 0;
	unsigned tries = 0;

	while (!*error && !__atomic_load_n(&meeting->over, __ATOMIC_RELAXED)) {
		if (head + RING_BATCH - __atomic_load_n(&meeting->tail, __ATOMIC_ACQUIRE) > WORK_RING_SLOTS) {
			ring_wait(&tries);
			continue;
		}
		for (unsigned i = 0; i < RING_BATCH && !*error; i++, head++) {
			void *block = allocator->alloc(OBJECT_BYTES);

			if (block == NULL)
				*error = -ENOMEM;
			else
				*(uint64_t *)block = head;
			meeting->ring[head % WORK_RING_SLOTS] = block;
		}
		__atomic_store_n(&meeting->head, head, __ATOMIC_RELEASE);
		if (allocator->held != NULL && head % (WORK_RING_SLOTS * 4) == 0) {
			uint64_t held = allocator->held();

			meeting->waiting_most = held > meeting->waiting_most ? held : meeting->waiting_most;
		}
	}
	__atomic_store_n(&meeting->over, 2, __ATOMIC_RELEASE);
	return head;
}

static uint64_t xmalloc_consume(const struct work_allocator *allocator, struct work_meeting *meeting)
{
	uint64_t begin = bench_now_ns();
	uint64_t tail = 0;
	unsigned tries = 0;

	for (;;) {
		uint32_t over = __atomic_load_n(&meeting->over, __ATOMIC_ACQUIRE);

		if (__atomic_load_n(&meeting->head, __ATOMIC_ACQUIRE) == tail) {
			if (over == 2)
				return tail;
			ring_wait(&tries);
		} else {
			for (unsigned i = 0; i < RING_BATCH; i++, tail++)
				allocator->free(meeting->ring[tail % WORK_RING_SLOTS]);
			__atomic_store_n(&meeting->tail, tail, __ATOMIC_RELEASE);
		}
		if (over == 0 && bench_now_ns() - begin > RUN_NS)
			__atomic_store_n(&meeting->over, 1, __ATOMIC_RELEASE);
	}
}

int work_xmalloc(const struct work_allocator *allocator, struct work_meeting *meeting, unsigned number, double *ns)
{
	uint64_t begin, blocks;
	int error = 0;

	allocator->free(allocator->alloc(OBJECT_BYTES));
	meet(meeting);
	begin = bench_now_ns();
	if (number == 0)
		blocks = xmalloc_produce(allocator, meeting, &error);
	else
		blocks = xmalloc_consume(allocator, meeting);
	*ns = (double)(bench_now_ns() - begin) / (double)blocks;
	return error;
}

/* --- mixed --- */

#define MIXED_OPS     10000000u
#define MIXED_LIVE    (UINT64_C(1) << 30)
#define MIXED_SLOTS   (1u << 20)
#define MIXED_PHASES  16u

struct mixed {
	const struct work_allocator *allocator;
	void **blocks;
	uint32_t *sizes;
	unsigned count; /* of slots in use */
	uint64_t live;
	uint64_t random;
};

/* 8 B to 1 MiB: a random point of the 17 doublings, the middle of two between random points and the phase's own. */
static uint32_t mixed_size(struct mixed *mixed, unsigned op)
{
	unsigned phase = op / (MIXED_OPS / MIXED_PHASES) % 8;
	unsigned centre = phase < 4 ? phase * 4 : (8 - phase) * 4; /* 0, 4, 8, 12, 16, 12, 8, 4 */
	uint64_t random = next_random(&mixed->random);
	unsigned shift = (random & 3) == 0 ? (unsigned)(random >> 8) % 17 : (centre + (unsigned)(random >> 8) % 17) / 2;
	uint32_t least = 8u << shift;

	return least + (uint32_t)(random >> 32) % (least + (shift == 16));
}

static int mixed_add(struct mixed *mixed, unsigned op)
{
	uint32_t bytes = mixed_size(mixed, op);
	char *block = mixed->allocator->alloc(bytes);

	if (block == NULL)
		return -ENOMEM;
	*block = 1;
	mixed->blocks[mixed->count] = block;
	mixed->sizes[mixed->count++] = bytes;
	mixed->live += bytes;
	return 0;
}

static void mixed_drop(struct mixed *mixed)
{
	unsigned at = (unsigned)(next_random(&mixed->random) % mixed->count);

	mixed->allocator->free(mixed->blocks[at]);
	mixed->live -= mixed->sizes[at];
	mixed->blocks[at] = mixed->blocks[--mixed->count];
	mixed->sizes[at] = mixed->sizes[mixed->count];
}

int work_mixed(const struct work_allocator *allocator, struct work_meeting *meeting, unsigned number, double *ratio)
{
	struct mixed mixed = {.allocator = allocator, .random = 88172645463325252u + number};
	int error = 0;

	mixed.blocks = calloc(MIXED_SLOTS, sizeof(*mixed.blocks));
	mixed.sizes = calloc(MIXED_SLOTS, sizeof(*mixed.sizes));
	if (mixed.blocks == NULL || mixed.sizes == NULL)
		error = -ENOMEM;
	meet(meeting);
	*ratio = 0;
	for (unsigned op = 0; op < MIXED_OPS && !error;) {
		while ((mixed.live < MIXED_LIVE && mixed.count < MIXED_SLOTS) && op < MIXED_OPS && !error) {
			error = mixed_add(&mixed, op);
			op++;
		}
		if (op % 1024 == 0 && mixed.live >= MIXED_LIVE) {
			double now = (double)allocator->held() / (double)mixed.live;

			*ratio = now > *ratio ? now : *ratio;
		}
		mixed_drop(&mixed);
		op++;
	}
	for (; mixed.count > 0;)
		mixed_drop(&mixed);
	free(mixed.blocks);
	free(mixed.sizes);
	return error;
}
