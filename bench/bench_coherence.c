/* SPDX-License-Identifier: Apache-2.0 */
/*
 * bench_coherence: what does each call of the memory model cost in each mode, beside the bare instructions?
 *
 * Modes: a coherent file; a file that is said to be not coherent; sim, which copies lines; and a file whose atomics are
 * delegated, with the arbiter in another process, so that each takes a message there and back.  A file's lines need not be
 * moved, whatever the pool says: its noncoherent rows are what that mode's dispatch costs, and a DAX device adds the bare
 * instructions beside them.  The bare loops run on local memory.  In the clock: a loop of calls over 64 lines in turn, in one
 * thread, each after one store to its line where the call is about stores.  The modes run in turn, round by round.
 *
 * Asked for: nothing; the figures are to know.
 */
#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <dmem/dmem.h>

#include "base/fence.h"
#include "harness/harness.h"

#define QUESTION "coherence: what does each call cost in each mode, beside the bare instructions?"
#define LINE     64u
#define LINES    64u
#define AREA     (LINE * LINES)

/* Memory of one mode: lines for plain data, and lines for atomic words. */
struct place {
	const char *name;
	const char *uri; /* NULL: local memory, and the bare instructions */
	char path[96];
	struct dmem_pool *pool;
	struct bench_child arbiter;
	bool delegated;
	bool lines; /* publish and refresh move lines, not only fences */
	char *data;
	uint64_t *words;
};

static struct place places[] = {
	{.name = "bare"},
	{.name = "coherent", .uri = "file:/dev/shm/%s?size=64M"},
	{.name = "noncoherent", .uri = "file:/dev/shm/%s?size=64M&coherence=noncoherent", .lines = true},
	{.name = "sim", .uri = "sim:/dev/shm/%s?size=64M", .lines = true},
	{.name = "delegated",
     .uri = "file:/dev/shm/%s?size=64M&coherence=noncoherent&atomics=delegate",
     .lines = true,
     .delegated = true},
};
#define PLACES (sizeof(places) / sizeof(places[0]))

/* --- the calls: `count` of them; 0 or an error --- */

static uint64_t *word_of(const struct place *place, unsigned i)
{
	return &place->words[i % LINES * (LINE / sizeof(uint64_t))];
}

static char *line_of(const struct place *place, unsigned i)
{
	return place->data + i % LINES * LINE;
}

static int publish_lines(const struct place *place, unsigned count)
{
	int rc = 0;

	for (unsigned i = 0; i < count && rc == 0; i++) {
		*(volatile char *)line_of(place, i) = (char)i;
		rc = dmem_publish(line_of(place, i), LINE);
	}
	return rc;
}

static int refresh_lines(const struct place *place, unsigned count)
{
	int rc = 0;

	for (unsigned i = 0; i < count && rc == 0; i++)
		rc = dmem_refresh(line_of(place, i), LINE);
	return rc;
}

static int handoff_lines(const struct place *place, unsigned count)
{
	int rc = 0;

	for (unsigned i = 0; i < count && rc == 0; i++) {
		*(volatile char *)line_of(place, i) = (char)i;
		rc = dmem_handoff(line_of(place, i), LINE);
	}
	return rc;
}

static int publish_area(const struct place *place, unsigned count)
{
	int rc = 0;

	for (unsigned i = 0; i < count && rc == 0; i++) {
		*(volatile char *)line_of(place, i) = (char)i;
		rc = dmem_publish(place->data, AREA);
	}
	return rc;
}

static int refresh_area(const struct place *place, unsigned count)
{
	int rc = 0;

	for (unsigned i = 0; i < count && rc == 0; i++)
		rc = dmem_refresh(place->data, AREA);
	return rc;
}

static int fences(const struct place *place, unsigned count)
{
	(void)place;
	for (unsigned i = 0; i < count; i++)
		dmem_fence();
	return 0;
}

static int loads(const struct place *place, unsigned count)
{
	uint64_t value;
	int rc = 0;

	for (unsigned i = 0; i < count && rc == 0; i++)
		rc = dmem_atomic_load_u64(word_of(place, i), &value);
	return rc;
}

static int stores(const struct place *place, unsigned count)
{
	int rc = 0;

	for (unsigned i = 0; i < count && rc == 0; i++)
		rc = dmem_atomic_store_u64(word_of(place, i), i);
	return rc;
}

static int exchanges(const struct place *place, unsigned count)
{
	uint64_t previous;
	int rc = 0;

	for (unsigned i = 0; i < count && rc == 0; i++)
		rc = dmem_atomic_exchange_u64(word_of(place, i), i, &previous);
	return rc;
}

static int swaps(const struct place *place, unsigned count)
{
	uint64_t previous;
	int rc = 0;

	for (unsigned i = 0; i < count && rc == 0; i++)
		rc = dmem_atomic_cas_u64(word_of(place, i), 0, i, &previous);
	return rc;
}

static int additions(const struct place *place, unsigned count)
{
	uint64_t previous;
	int rc = 0;

	for (unsigned i = 0; i < count && rc == 0; i++)
		rc = dmem_atomic_add_u64(word_of(place, i), 1, &previous);
	return rc;
}

/* --- the same, bare --- */

static int bare_publish(const struct place *place, unsigned count)
{
	for (unsigned i = 0; i < count; i++) {
		*(volatile char *)line_of(place, i) = (char)i;
		dm_line_write_back(line_of(place, i));
		dm_fence_lines_written();
	}
	return 0;
}

static int bare_refresh(const struct place *place, unsigned count)
{
	for (unsigned i = 0; i < count; i++) {
		dm_line_drop(line_of(place, i));
		dm_fence_lines_dropped();
	}
	return 0;
}

static int bare_handoff(const struct place *place, unsigned count)
{
	for (unsigned i = 0; i < count; i++) {
		*(volatile char *)line_of(place, i) = (char)i;
		dm_line_drop(line_of(place, i));
		dm_fence_lines_written();
	}
	return 0;
}

static int bare_publish_area(const struct place *place, unsigned count)
{
	for (unsigned i = 0; i < count; i++) {
		*(volatile char *)line_of(place, i) = (char)i;
		for (unsigned line = 0; line < LINES; line++)
			dm_line_write_back(line_of(place, line));
		dm_fence_lines_written();
	}
	return 0;
}

static int bare_refresh_area(const struct place *place, unsigned count)
{
	for (unsigned i = 0; i < count; i++) {
		for (unsigned line = 0; line < LINES; line++)
			dm_line_drop(line_of(place, line));
		dm_fence_lines_dropped();
	}
	return 0;
}

static int bare_fences(const struct place *place, unsigned count)
{
	(void)place;
	for (unsigned i = 0; i < count; i++)
		dm_fence_full();
	return 0;
}

static int bare_loads(const struct place *place, unsigned count)
{
	for (unsigned i = 0; i < count; i++)
		(void)*(volatile uint64_t *)word_of(place, i);
	return 0;
}

static int bare_stores(const struct place *place, unsigned count)
{
	for (unsigned i = 0; i < count; i++)
		*(volatile uint64_t *)word_of(place, i) = i;
	return 0;
}

static int bare_exchanges(const struct place *place, unsigned count)
{
	for (unsigned i = 0; i < count; i++)
		(void)__atomic_exchange_n(word_of(place, i), i, __ATOMIC_ACQ_REL);
	return 0;
}

static int bare_swaps(const struct place *place, unsigned count)
{
	for (unsigned i = 0; i < count; i++) {
		uint64_t expected = 0;

		(void)__atomic_compare_exchange_n(word_of(place, i), &expected, i, false, __ATOMIC_ACQ_REL, __ATOMIC_ACQUIRE);
	}
	return 0;
}

static int bare_additions(const struct place *place, unsigned count)
{
	for (unsigned i = 0; i < count; i++)
		(void)__atomic_fetch_add(word_of(place, i), 1, __ATOMIC_ACQ_REL);
	return 0;
}

/* `beside`: what the bare loop does.  `calls`: of a bare or coherent round; `slow`: of one in another mode. */
static const struct call {
	const char *name;
	const char *beside;
	int (*run)(const struct place *place, unsigned count);
	int (*bare)(const struct place *place, unsigned count);
	bool atomic;
	unsigned calls;
	unsigned slow;
} calls[] = {
	{"publish 64 B", "clwb, sfence", publish_lines, bare_publish, false, 20000, 20000},
	{"refresh 64 B", "clflushopt, mfence", refresh_lines, bare_refresh, false, 20000, 20000},
	{"handoff 64 B", "clflushopt, sfence", handoff_lines, bare_handoff, false, 20000, 20000},
	{"publish 4 KiB", "64 clwb, sfence", publish_area, bare_publish_area, false, 2000, 2000},
	{"refresh 4 KiB", "64 clflushopt, mfence", refresh_area, bare_refresh_area, false, 2000, 2000},
	{"fence", "mfence", fences, bare_fences, false, 100000, 100000},
	{"atomic load", "mov", loads, bare_loads, true, 100000, 10000},
	{"atomic store", "mov", stores, bare_stores, true, 100000, 1000},
	{"atomic exchange", "xchg", exchanges, bare_exchanges, true, 100000, 1000},
	{"atomic cas", "lock cmpxchg", swaps, bare_swaps, true, 100000, 1000},
	{"atomic add", "lock xadd", additions, bare_additions, true, 100000, 1000},
};
#define CALLS (sizeof(calls) / sizeof(calls[0]))

/* --- a round --- */

struct work {
	const struct place *place;
	const struct call *call;
};

static int run_calls(void *context, double *value)
{
	const struct work *work = context;
	bool slow = work->place->lines && work->call->atomic;
	unsigned count = slow ? work->call->slow : work->call->calls;
	uint64_t begin = bench_now_ns();
	int rc = (work->place->uri == NULL ? work->call->bare : work->call->run)(work->place, count);

	*value = (double)(bench_now_ns() - begin) / count;
	if (rc)
		fprintf(stderr, "bench_coherence: %s, %s: %s; %s\n", work->call->name, work->place->name, dmem_strerror(rc),
		        dmem_last_error());
	return rc;
}

static bool differs(const struct place *place, const struct call *call)
{
	return !place->delegated || call->atomic; /* the rest is as without delegation */
}

static int measure(struct bench *bench, const struct call *call)
{
	static struct bench_side sides[CALLS][PLACES];
	static struct work work[PLACES];
	struct bench_side *side = sides[call - calls];
	struct bench_side *taken[PLACES];
	static char names[CALLS][PLACES][64];
	int count = 0;

	for (unsigned i = 0; i < PLACES; i++) {
		if (!differs(&places[i], call))
			continue;
		work[i] = (struct work){.place = &places[i], .call = call};
		side[i] = (struct bench_side){.name = places[i].name, .run = run_calls, .context = &work[i]};
		taken[count++] = &side[i];
	}
	if (bench_rounds_of(bench, taken, count))
		return 2;
	for (unsigned i = 0; i < PLACES; i++) {
		char *name = names[call - calls][i];

		if (!differs(&places[i], call))
			continue;
		snprintf(name, sizeof(names[0][0]), "%s, %s", call->name, i == 0 ? call->beside : places[i].name);
		bench_report(bench, &(struct bench_figure){
								.name = name, .unit = "ns", .side = &side[i], .base = i == 0 ? NULL : &side[0]});
	}
	return 0;
}

/* --- pools --- */

static int fail(const char *what, int error)
{
	fprintf(stderr, "bench_coherence: %s: %s; %s\n", what, dmem_strerror(error), dmem_last_error());
	return 2;
}

/* In the arbiter's process: the first to attach carries out the others' atomics, until its input ends. */
static int serve(const char *uri)
{
	struct dmem_pool *pool;
	char byte = 0;
	int error = dmem_pool_attach(uri, NULL, &pool);

	if (error)
		return fail(uri, error);
	if (bench_send(STDOUT_FILENO, &byte, 1) == 0)
		(void)bench_receive(STDIN_FILENO, &byte, 1);
	return dmem_pool_detach(pool) ? 2 : 0;
}

static int start_arbiter(struct place *place)
{
	char program[] = "bench_coherence", role[] = "--serve";
	char *arguments[] = {program, role, place->path, NULL};
	char byte;
	int error = bench_spawn(&place->arbiter, arguments);

	return error ? error : bench_receive(place->arbiter.fd, &byte, 1);
}

static int place_open_pool(struct place *place)
{
	struct dmem_alloc_options options = DMEM_ALLOC_OPTIONS_DEFAULT;
	char name[64], uri[192];
	int error;

	snprintf(name, sizeof(name), "dmem-bench-coherence-%s.%d", place->name, (int)getpid());
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral"
	snprintf(uri, sizeof(uri), place->uri, name);
#pragma GCC diagnostic pop
	snprintf(place->path, sizeof(place->path), "%.*s", (int)strcspn(uri, "?"), uri);
	error = dmem_pool_create(uri, NULL);
	if (!error && place->delegated)
		error = start_arbiter(place);
	if (!error)
		error = dmem_pool_attach(place->path, NULL, &place->pool);
	if (error)
		return fail(uri, error);
	options.alignment_bytes = LINE;
	place->data = dmem_alloc_ex(place->pool, AREA, &options);
	place->words = dmem_alloc_ex(place->pool, AREA, &options);
	if (!place->data || !place->words)
		return fail(uri, -errno);
	memset(place->data, 0, AREA);
	for (unsigned i = 0; i < LINES && !error; i++)
		error = dmem_atomic_store_u64(word_of(place, i), 0);
	return error ? fail(uri, error) : 0;
}

static int place_open(struct place *place)
{
	if (place->uri)
		return place_open_pool(place);
	place->data = aligned_alloc(LINE, AREA);
	place->words = aligned_alloc(LINE, AREA);
	if (!place->data || !place->words)
		return fail("local memory", -ENOMEM);
	memset(place->data, 0, AREA);
	memset(place->words, 0, AREA);
	return 0;
}

/* Returns `result`, or 2 when that was success and this was not. */
static int place_close(struct place *place, int result)
{
	int error = 0;

	if (place->pool)
		error = dmem_pool_detach(place->pool);
	if (place->arbiter.pid > 0) { /* its input ends */
		int end = bench_wait(&place->arbiter);

		error = error ? error : end;
	}
	if (!error && place->path[0])
		error = dmem_pool_destroy(place->path);
	return error && result == 0 ? fail(place->name, error) : result;
}

int main(int argc, char **argv)
{
	struct bench bench;
	int result;

	if (argc == 3 && strcmp(argv[1], "--serve") == 0)
		return serve(argv[2]);
	result = bench_begin(&bench, "coherence", QUESTION, argc, argv);
	if (result)
		return result < 0 ? 2 : 0;
	for (unsigned i = 0; i < PLACES && result == 0; i++)
		result = place_open(&places[i]);
	for (unsigned i = 0; i < CALLS && result == 0; i++)
		result = measure(&bench, &calls[i]);
	if (result == 0)
		result = bench_end(&bench);
	for (unsigned i = 0; i < PLACES; i++)
		result = place_close(&places[i], result);
	return result;
}
