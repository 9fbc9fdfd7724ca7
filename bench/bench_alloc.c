/* SPDX-License-Identifier: Apache-2.0 */
/*
 * bench_alloc: is the shared allocator as fast as a local one, and how much memory does it hold?
 *
 * Peers: jemalloc at its defaults, as the malloc() of a process of its own (LD_PRELOAD); Boost.Interprocess
 * managed_shared_memory.  The pool is a file in /dev/shm.  What "two" means: two member processes for libdmem and Boost, two
 * threads of one process for jemalloc, because that is all it can do; larson hands blocks from thread to thread and
 * is one process with one chain of threads everywhere.  bench/alloc/work.c says what each workload does.
 *
 * In the clock: the workload's own loop, in every worker, after a warm-up; values are nanoseconds for one operation of all
 * workers together.  Not in the clock: starting processes, attaching, the first touch of memory.
 *
 * "mixed" is no time but the highest of held bytes / live bytes: chunks leased from the pool, jemalloc's stats.resident.
 * "1 GiB" is allocated and freed in space that was reserved before; a bare fallocate() of the same size beside the first.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <dmem/dmem.h>

#include "alloc/work.h"
#include "harness/harness.h"

#define QUESTION "alloc: is the shared allocator as fast as a local one, and how much memory does it hold?"
#define MIXED_ROUNDS 3 /* what they give is counted, not timed */
#define GIB (UINT64_C(1) << 30)

static char meeting_path[64], pool_uri[80], pool_path[64], boost_name[64];

struct workload {
	const char *name;
	work_run run;
};
static const struct workload workloads[] = {{"threadtest", work_threadtest},
                                            {"larson", work_larson},
                                            {"xmalloc", work_xmalloc},
                                            {"mixed", work_mixed}};

/* --- in the worker processes --- */

struct worker {
	const struct workload *workload;
	const struct work_allocator *allocator;
	struct work_meeting *meeting;
	unsigned number;
	double ns;
	int error;
};

static void *worker_run(void *argument)
{
	struct worker *worker = argument;

	worker->error = worker->workload->run(worker->allocator, worker->meeting, worker->number, &worker->ns);
	return NULL;
}

static struct work_meeting *meeting_map(const char *path)
{
	int file = open(path, O_RDWR | O_CLOEXEC);
	void *page = MAP_FAILED;

	if (file >= 0)
		page = mmap(NULL, sizeof(struct work_meeting), PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
	if (file >= 0)
		close(file);
	return page == MAP_FAILED ? NULL : page;
}

/* --work WORKLOAD ALLOCATOR WHERE MEETING FIRST THREADS */
static int work(char **argv)
{
	const struct work_allocator *allocator = strcmp(argv[3], "dmem") == 0    ? &work_dmem
	                                         : strcmp(argv[3], "boost") == 0 ? &work_boost
	                                                                         : &work_malloc;
	unsigned first = (unsigned)atoi(argv[6]), threads = (unsigned)atoi(argv[7]);
	struct worker workers[2];
	pthread_t ids[2];
	double values[2];

	if (threads > 2 || allocator->begin(argv[4]) != 0)
		return 2;
	for (unsigned i = 0; i < threads; i++) {
		workers[i] = (struct worker){.allocator = allocator, .meeting = meeting_map(argv[5]), .number = first + i};
		for (size_t w = 0; w < sizeof(workloads) / sizeof(workloads[0]); w++)
			if (strcmp(argv[2], workloads[w].name) == 0)
				workers[i].workload = &workloads[w];
		if (workers[i].meeting == NULL || pthread_create(&ids[i], NULL, worker_run, &workers[i]) != 0)
			return 2;
	}
	for (unsigned i = 0; i < threads; i++) {
		pthread_join(ids[i], NULL);
		if (workers[i].error) {
			fprintf(stderr, "bench_alloc: %s with %s failed (%d)\n", argv[2], allocator->name, workers[i].error);
			return 2;
		}
		values[i] = workers[i].ns;
	}
	allocator->end();
	return bench_send(STDOUT_FILENO, values, threads * sizeof(values[0])) ? 2 : 0;
}

/* --- in the process that measures --- */

struct job {
	const char *workload;
	const char *allocator; /* "dmem", "malloc", "boost" */
	unsigned processes;
	unsigned threads; /* of each */
	uint64_t held_most;
};

static int meeting_renew(struct work_meeting **meeting)
{
	int file = open(meeting_path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	int error = file < 0 || ftruncate(file, sizeof(struct work_meeting)) != 0 ? -errno : 0;

	if (file >= 0)
		close(file);
	if (!error)
		*meeting = meeting_map(meeting_path);
	return error ? error : *meeting == NULL ? -ENOMEM : 0;
}

static int worker_spawn(const struct job *job, unsigned first, struct bench_child *child)
{
	char program[] = "bench_alloc", role[] = "--work", workload[16], allocator[16], where[80], meeting[64], from[12],
	     threads[12];
	char *arguments[] = {program, role, workload, allocator, where, meeting, from, threads, NULL};
	int error;

	snprintf(workload, sizeof(workload), "%s", job->workload);
	snprintf(allocator, sizeof(allocator), "%s", job->allocator);
	snprintf(where, sizeof(where), "%s", strcmp(job->allocator, "boost") == 0 ? boost_name : pool_uri);
	snprintf(meeting, sizeof(meeting), "%s", meeting_path);
	snprintf(from, sizeof(from), "%u", first);
	snprintf(threads, sizeof(threads), "%u", job->threads);
	if (strcmp(job->allocator, "malloc") == 0)
		setenv("LD_PRELOAD", "libjemalloc.so.2", 1);
	error = bench_spawn(child, arguments);
	unsetenv("LD_PRELOAD");
	return error;
}

/* Nanoseconds for one operation of all workers together; for xmalloc those of the worker that frees; for mixed the ratio. */
static double combine(const struct job *job, const double *values, unsigned count)
{
	double rate = 0;

	if (strcmp(job->workload, "xmalloc") == 0)
		return values[1];
	for (unsigned i = 0; i < count; i++)
		rate += 1 / values[i];
	return 1 / rate;
}

static int job_run(void *context, double *value)
{
	struct job *job = context;
	unsigned workers = job->processes * job->threads;
	struct bench_child children[2];
	struct work_meeting *meeting = NULL;
	double values[4] = {0};
	int error = meeting_renew(&meeting);

	for (unsigned i = 0; i < job->processes && !error; i++)
		error = worker_spawn(job, i, &children[i]);
	for (uint64_t begin = bench_now_ns(); !error && __atomic_load_n(&meeting->ready, __ATOMIC_ACQUIRE) < workers;) {
		usleep(500);
		if (bench_now_ns() - begin > UINT64_C(20000000000))
			error = -ETIMEDOUT;
	}
	if (error)
		return error;
	__atomic_store_n(&meeting->go, 1, __ATOMIC_RELEASE);
	for (unsigned i = 0; i < job->processes; i++) {
		int failed = bench_receive(children[i].fd, values + i * job->threads, job->threads * sizeof(values[0]));
		int ended = bench_wait(&children[i]);

		error = error ? error : failed ? failed : ended;
	}
	if (meeting->waiting_most > job->held_most)
		job->held_most = meeting->waiting_most;
	munmap(meeting, sizeof(*meeting));
	*value = combine(job, values, workers);
	return error;
}

/* --- one large block --- */

static int large_pair(void *context, double *us)
{
	struct dmem_pool *pool = context;
	uint64_t begin = bench_now_ns();
	void *block = dmem_alloc_ex(pool, GIB, NULL);

	dmem_free(block);
	*us = (double)(bench_now_ns() - begin) / 1e3;
	return block == NULL ? -ENOMEM : 0;
}

static int fallocate_bare(void *context, double *us)
{
	char path[80];
	uint64_t begin;
	int file, error = 0;

	(void)context;
	snprintf(path, sizeof(path), "%s.bare", pool_path);
	file = open(path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	if (file < 0)
		return -errno;
	unlink(path);
	begin = bench_now_ns();
	error = -posix_fallocate(file, 0, (off_t)GIB);
	*us = (double)(bench_now_ns() - begin) / 1e3;
	close(file);
	return error;
}

/* The first 1 GiB of a new pool. */
static int first_reservation(void *context, double *us)
{
	char uri[120];
	struct dmem_pool *pool;
	uint64_t begin;
	void *block;
	int error;

	(void)context;
	snprintf(uri, sizeof(uri), "file:%s.first?size=2G", pool_path);
	error = dmem_pool_create(uri, NULL);
	if (!error)
		error = dmem_pool_attach(uri, NULL, &pool);
	if (error)
		return error;
	begin = bench_now_ns();
	block = dmem_alloc_ex(pool, GIB, NULL);
	*us = (double)(bench_now_ns() - begin) / 1e3;
	error = dmem_pool_detach(pool);
	snprintf(uri, sizeof(uri), "file:%s.first", pool_path);
	if (!error)
		error = dmem_pool_destroy(uri);
	return error ? error : block == NULL ? -ENOMEM : 0;
}

static int measure_large(struct bench *bench)
{
	static struct bench_side pair = {.name = "alloc+free 1 GiB", .run = large_pair};
	static struct bench_side bare = {.name = "fallocate", .run = fallocate_bare};
	static struct bench_side first = {.name = "first 1 GiB", .run = first_reservation};
	struct bench_side *sides[] = {&pair, &first, &bare};
	struct dmem_pool *pool;
	int rounds = bench->rounds;

	if (dmem_pool_attach(pool_uri, NULL, &pool))
		return 2;
	pair.context = pool;
	if (bench_rounds_of(bench, sides, 3))
		return 2;
	bench_report(bench, &(struct bench_figure){.name = "1 GiB, reserved: alloc+free", .unit = "us", .side = &pair,
	                                           .goal = BENCH_VALUE_AT_MOST, .target = 50});
	bench_report(bench, &(struct bench_figure){.name = "1 GiB, first; to fallocate", .unit = "us", .side = &first,
	                                           .base = &bare});
	bench->rounds = rounds;
	return dmem_pool_detach(pool) ? 2 : 0;
}

/* --- figures --- */

static struct job jobs[5][3] = {
	{{"threadtest", "dmem", 1, 1, 0}, {"threadtest", "malloc", 1, 1, 0}, {"threadtest", "boost", 1, 1, 0}},
	{{"threadtest", "dmem", 2, 1, 0}, {"threadtest", "malloc", 1, 2, 0}, {"threadtest", "boost", 2, 1, 0}},
	{{"larson", "dmem", 1, 1, 0}, {"larson", "malloc", 1, 1, 0}, {"larson", "boost", 1, 1, 0}},
	{{"xmalloc", "dmem", 2, 1, 0}, {"xmalloc", "malloc", 1, 2, 0}, {"xmalloc", "boost", 2, 1, 0}},
	{{"mixed", "dmem", 1, 1, 0}, {"mixed", "malloc", 1, 1, 0}},
};
static struct bench_side sides[5][3];

static int measure_row(struct bench *bench, int row, int peers)
{
	struct bench_side *pointers[3];

	for (int i = 0; i < peers; i++) {
		sides[row][i].name = i == 0 ? "libdmem" : i == 1 ? "jemalloc" : "Boost.Interprocess";
		sides[row][i].run = job_run;
		sides[row][i].context = &jobs[row][i];
		pointers[i] = &sides[row][i];
	}
	return bench_rounds_of(bench, pointers, peers);
}

static int measure_speed(struct bench *bench)
{
	static const struct {
		const char *to_jemalloc, *to_boost;
		double at_least, at_least_boost;
	} rows[] = {{"threadtest 1, jemalloc", "threadtest 1, Boost", 1.0, 5},
	            {"threadtest 2, jemalloc", "threadtest 2, Boost", 1.0, 5},
	            {"larson, jemalloc", "larson, Boost", 0.9, 10},
	            {"xmalloc, jemalloc", "xmalloc, Boost", 0.9, 10}};

	for (int row = 0; row < 4; row++) {
		if (measure_row(bench, row, 3))
			return 2;
		bench_report(bench, &(struct bench_figure){.name = rows[row].to_jemalloc, .unit = "ns", .side = &sides[row][0],
		                                           .base = &sides[row][1], .goal = BENCH_RATIO_AT_LEAST,
		                                           .target = rows[row].at_least});
		bench_report(bench, &(struct bench_figure){.name = rows[row].to_boost, .unit = "ns", .side = &sides[row][0],
		                                           .base = &sides[row][2], .goal = BENCH_RATIO_AT_LEAST,
		                                           .target = rows[row].at_least_boost});
	}
	return 0;
}

static int measure_memory(struct bench *bench)
{
	int rounds = bench->rounds;
	int result;

	bench->rounds = MIXED_ROUNDS;
	result = measure_row(bench, 4, 2);
	if (!result) {
		bench_report(bench, &(struct bench_figure){.name = "mixed, held / live", .unit = "x", .side = &sides[4][0],
		                                           .goal = BENCH_VALUE_AT_MOST, .target = 1.2});
		bench_report(bench, &(struct bench_figure){.name = "mixed, to jemalloc's", .unit = "x", .side = &sides[4][0],
		                                           .base = &sides[4][1], .goal = BENCH_RATIO_AT_MOST, .target = 1.1});
	}
	bench->rounds = rounds;
	return result;
}

int main(int argc, char **argv)
{
	struct bench bench;
	char uri[120];
	int result;

	if (argc == 8 && strcmp(argv[1], "--work") == 0)
		return work(argv);
	result = bench_begin(&bench, "alloc", QUESTION, argc, argv);
	if (result)
		return result < 0 ? 2 : 0;
	snprintf(meeting_path, sizeof(meeting_path), "/dev/shm/dmem-bench-alloc-meeting.%d", (int)getpid());
	snprintf(pool_path, sizeof(pool_path), "/dev/shm/dmem-bench-alloc.%d", (int)getpid());
	snprintf(boost_name, sizeof(boost_name), "dmem-bench-boost.%d", (int)getpid());
	snprintf(pool_uri, sizeof(pool_uri), "file:%s", pool_path);
	snprintf(uri, sizeof(uri), "%s?size=4G", pool_uri);
	if (dmem_pool_create(uri, NULL) != 0) {
		fprintf(stderr, "bench_alloc: %s: %s\n", uri, dmem_last_error());
		return 2;
	}
	result = work_boost_create(boost_name) ? 2 : measure_speed(&bench);
	if (!result)
		result = measure_large(&bench);
	if (!result)
		result = measure_memory(&bench);
	if (!result)
		result = bench_end(&bench);
	work_boost_remove(boost_name);
	unlink(meeting_path);
	return dmem_pool_destroy(pool_uri) && !result ? 2 : result;
}
