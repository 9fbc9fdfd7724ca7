/* SPDX-License-Identifier: Apache-2.0 */
/*
 * bench_attach: does attaching cost the same however large the pool is?
 *
 * A is a sparse pool of 1 TiB, B one of 1 GiB, both files in /dev/shm.  Each is attached in a process that was started
 * for it (fork and exec: no memory inherited) and does nothing else.  In the clock, read inside that process: from
 * before dmem_pool_attach() until the member is live, a root was looked up, refreshed and one word was read through it.
 * Not in the clock: starting the process, dynamic linking, detaching.
 *
 * Asked for: 1 TiB under 1 ms at the median, and at most 1.5 times what 1 GiB takes.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <dmem/dmem.h>

#include "harness/harness.h"

#define QUESTION "attach: does attaching a pool cost the same however large it is?"
#define ROOT_NAME "answer"
#define ROOT_VALUE UINT64_C(0x616e73776572)
#define PER_ROUND 9 /* attachments of which a round takes the median */

struct attach_pool {
	char uri[96];
};

static int fail(const char *what, int error)
{
	fprintf(stderr, "bench_attach: %s: %s; %s\n", what, dmem_strerror(error), dmem_last_error());
	return 2;
}

/* In the fresh process. */
static int attach_once(const char *uri)
{
	uint64_t begin = bench_now_ns();
	struct dmem_pool *pool;
	uint64_t value, taken;
	uint64_t *object;
	int error = dmem_pool_attach(uri, NULL, &pool);

	if (error)
		return fail("attach", error);
	object = dmem_root_get(pool, ROOT_NAME);
	if (!object)
		return fail("root", -errno);
	error = dmem_refresh(object, sizeof(*object));
	if (error)
		return fail("refresh", error);
	value = *(volatile uint64_t *)object;
	taken = bench_now_ns() - begin;
	if (value != ROOT_VALUE)
		return fail("the root's value", DMEM_E_CORRUPT);
	error = bench_send(STDOUT_FILENO, &taken, sizeof(taken));
	if (error)
		return fail("send", error);
	return dmem_pool_detach(pool) ? 2 : 0;
}

static int attach_in_child(const struct attach_pool *pool, double *value)
{
	char program[] = "bench_attach", role[] = "--attach", uri[sizeof(pool->uri)];
	char *arguments[] = {program, role, uri, NULL};
	struct bench_child child;
	uint64_t taken = 0;
	int error, end;

	memcpy(uri, pool->uri, sizeof(uri));
	error = bench_spawn(&child, arguments);
	if (error)
		return error;
	error = bench_receive(child.fd, &taken, sizeof(taken));
	end = bench_wait(&child);
	*value = (double)taken / 1e3;
	return error ? error : end;
}

static int round_run(void *context, double *value)
{
	double values[PER_ROUND];

	for (int i = 0; i < PER_ROUND; i++) {
		int error = attach_in_child(context, &values[i]);

		if (error)
			return error;
	}
	bench_sort(values, PER_ROUND);
	*value = bench_quantile(values, PER_ROUND, 0.5);
	return 0;
}

static int pool_make(struct attach_pool *made, const char *size)
{
	char create_uri[128];
	struct dmem_pool *pool;
	uint64_t *object;
	int error;

	snprintf(made->uri, sizeof(made->uri), "file:/dev/shm/dmem-bench-attach-%s.%d", size, (int)getpid());
	snprintf(create_uri, sizeof(create_uri), "%s?size=%s", made->uri, size);
	error = dmem_pool_create(create_uri, NULL);
	if (error)
		return fail(create_uri, error);
	error = dmem_pool_attach(made->uri, NULL, &pool);
	if (error)
		return fail(made->uri, error);
	object = dmem_alloc_ex(pool, sizeof(*object), NULL);
	if (!object)
		return fail("allocation", -errno);
	*object = ROOT_VALUE;
	error = dmem_publish(object, sizeof(*object));
	if (!error)
		error = dmem_root_set(pool, ROOT_NAME, object);
	if (!error)
		error = dmem_pool_detach(pool);
	return error ? fail("root", error) : 0;
}

/* Returns `result`, or 2 when that was success and the removal is not. */
static int pool_remove(const struct attach_pool *pool, int result)
{
	int error = pool->uri[0] ? dmem_pool_destroy(pool->uri) : 0;

	if (error && error != -ENOENT && result == 0)
		return fail(pool->uri, error);
	return result;
}

static int measure(struct bench *bench, struct attach_pool *large, struct attach_pool *small)
{
	static struct bench_side a = {.name = "1 TiB", .run = round_run};
	static struct bench_side b = {.name = "1 GiB", .run = round_run};

	a.context = large;
	b.context = small;
	if (bench_rounds(bench, &a, &b))
		return 2;
	bench_report(bench, &(struct bench_figure){.name = "attach 1 TiB", .unit = "us", .side = &a,
	                                           .goal = BENCH_VALUE_AT_MOST, .target = 1000});
	bench_report(bench, &(struct bench_figure){.name = "attach 1 GiB", .unit = "us", .side = &b});
	bench_report(bench, &(struct bench_figure){.name = "1 TiB against 1 GiB", .unit = "us", .side = &a, .base = &b,
	                                           .goal = BENCH_RATIO_AT_MOST, .target = 1.5});
	return bench_end(bench);
}

int main(int argc, char **argv)
{
	struct attach_pool large = {""}, small = {""};
	struct bench bench;
	int result;

	if (argc == 3 && strcmp(argv[1], "--attach") == 0)
		return attach_once(argv[2]);
	result = bench_begin(&bench, "attach", QUESTION, argc, argv);
	if (result)
		return result < 0 ? 2 : 0;
	result = pool_make(&large, "1T");
	if (!result)
		result = pool_make(&small, "1G");
	if (!result)
		result = measure(&bench, &large, &small);
	return pool_remove(&small, pool_remove(&large, result));
}
