/* SPDX-License-Identifier: Apache-2.0 */
/*
 * litmus.c: run the shapes of the memory model, with all their steps, and with each left out.
 *
 * Each shape, scheme and left-out step gets a pool of its own and two processes, which attach it once and meet before
 * and after every run at a page outside of the pool.  A run has lines of its own; they come round again after
 * RUNS_APART.  On sim: each run has a seed of its own, its number, and one data operation in RATE moves lines.
 *
 * A shape with all steps never shows its forbidden outcome; one that lacks a step must show it, or it could not
 * fail.  The steps are left out on sim:, where lines are lost; the fence on file:, because only a processor's store
 * buffer tells: an operation of sim: takes a lock, which is a fence already.
 */
#include "litmus/litmus.h"

#include <getopt.h>
#include <inttypes.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/arith.h"
#include "base/fence.h"
#include "lib/child.h"
#include "lib/scratch.h"
#include "pool.h"
#include "transport/sim/sim_device.h"

#define POOL_KEYS      "size=16M&members=128&beat=20ms&lease=500ms"
#define RATE           "4"
#define RUNS_APART     128u
#define SET_BYTES      ((size_t)LITMUS_LINES * LITMUS_LINE)
#define LEFT_OUT_RUNS  200u
#define PATIENCE       100u  /* so many times the runs, until a left-out step is noticed */
#ifdef __SANITIZE_ADDRESS__
#define SEES_NO_FENCE  true  /* the checks between a store and a load last longer than a store waits in its buffer */
#else
#define SEES_NO_FENCE  false
#endif
#define SECONDS_MAX    1800u /* of one job */

static const char *const step_names[STEPS] = {"publish", "refresh", "fence", "atomic", "zeroed"};
static const char usage[] =
	"usage: litmus [--scheme NAME] [--runs N] [--seeds N] [--shape NAME] [--without STEP] [--list] [--help]\n"
	"\n"
	"Runs every shape of the memory model between two processes and counts the outcomes that its clause forbids: N runs on\n"
	"file: (--runs, 2000) and N on sim: (--seeds, 200), each with a seed of its own; costly shapes do a 20th or a 40th.\n"
	"Then it leaves out each step that a shape needs, and the forbidden outcome must come: on sim:, the fence on file:.\n"
	"\n"
	"  --scheme NAME      file, sim or sim-delegate (atomics=delegate): that one only, and what is left out there;\n"
	"                     beside the others, sim-delegate does one in twenty seeds\n"
	"  --shape NAME       that shape, or all shapes of that clause\n"
	"  --without STEP     publish, refresh, fence, atomic or zeroed: leave that out, and nothing else is done\n"
	"  --list             the shapes\n"
	"\n"
	"Exit status: 0 no forbidden outcome with all steps, and each left-out step noticed; 1 otherwise; 2 wrong options.\n";

static const struct litmus_shape *const tables[] = {
	litmus_publishing,
	litmus_ordering,
	litmus_memory,
	litmus_processes,
};

/* Shared by both members, and by the one that started them. */
struct meeting {
	_Alignas(64) _Atomic uint64_t arrived[2][8]; /* a line each */
	_Alignas(64) _Atomic(char *) lines;
	_Atomic uint64_t runs;
	_Atomic uint64_t forbidden;
	_Alignas(64) struct litmus_outcome outcome;
};

struct job {
	const struct litmus_shape *shape;
	const char *scheme;
	unsigned left_out;
	uint64_t runs;
	uint64_t runs_max; /* until one forbidden outcome was seen */
	enum litmus_role role;
	struct meeting *meeting;
};

static struct {
	const char *scheme;
	const char *shape;
	uint64_t runs;
	uint64_t seeds;
	int without; /* a step, or -1 */
} options = {.runs = 2000, .seeds = 200, .without = -1};

/* --- one of the two members --- */

static void meet(struct meeting *meeting, enum litmus_role role)
{
	uint64_t own = atomic_load(&meeting->arrived[role][0]) + 1;

	atomic_store(&meeting->arrived[role][0], own);
	for (unsigned spins = 1; atomic_load(&meeting->arrived[1 - role][0]) < own; spins++) {
		if (spins % 256 == 0)
			sched_yield();
		dm_spin_pause();
	}
}

/* A shape with all its steps keeps to clause A1, and so does what the library does for it. */
static int check_words(const struct job *job)
{
	struct dm_sim_counts counts;

	dm_sim_count(&counts);
	if (job->left_out != 0 || counts.violations == 0)
		return 0;
	fprintf(stderr, "litmus: %s: plain stores to lines with atomic words: %" PRIu64 "\n", job->shape->name,
	        counts.violations);
	return 1;
}

/* Every run has random numbers of its own; DMEM_SIM_SEED does it once for a pool that is opened. */
static void seed_sim(struct dmem_pool *pool, uint64_t seed)
{
	struct dm_sim *sim = dm_sim_of(pool->window->devices[0]);

	dm_forklock_lock(&sim->lock);
	sim->seed = seed;
	dm_forklock_unlock(&sim->lock);
}

static void make_lines(struct job *job, struct dmem_pool *pool)
{
	struct dmem_alloc_options wanted = DMEM_ALLOC_OPTIONS_DEFAULT;
	char *lines;

	wanted.alignment_bytes = SET_BYTES;
	wanted.zeroed = 1;
	lines = MUST_HAVE(dmem_alloc_ex(pool, RUNS_APART * SET_BYTES, &wanted));
	publish(lines, RUNS_APART * SET_BYTES);
	for (size_t set = 0; set < RUNS_APART; set++)
		for (unsigned line = 0; line < 64; line++)
			if (job->shape->words & LINE_BIT(line))
				set_flag((uint64_t *)(void *)(lines + set * SET_BYTES + line * LITMUS_LINE), 0);
	atomic_store(&job->meeting->lines, lines);
}

static bool is_finished(const struct job *job, uint64_t done)
{
	if (done < job->runs)
		return false;
	return job->left_out == 0 || atomic_load(&job->meeting->forbidden) > 0 || done >= job->runs_max;
}

static void run_once(struct job *job, struct litmus_run *run)
{
	struct meeting *meeting = job->meeting;
	bool is_reader = job->role == READER;
	uint64_t random = 2 * run->value + is_reader;
	uint64_t pauses;

	run->lines = atomic_load(&meeting->lines) + run->value % RUNS_APART * SET_BYTES;
	if (strcmp(job->scheme, "file") != 0)
		seed_sim(run->pool, random);
	/* both at once, mostly; now and then one is late */
	pauses = scratch_random(&random) % 32 >> scratch_random(&random) % 6;
	if (is_reader) {
		memset(meeting->outcome.seen, 0, sizeof(meeting->outcome.seen));
		meeting->outcome.value = run->value;
	}
	meet(meeting, job->role);
	for (; pauses > 0; pauses--)
		dm_spin_pause();
	(is_reader ? job->shape->reader : job->shape->writer)(run);
	meet(meeting, job->role);
	if (!is_reader)
		return;
	atomic_fetch_add(&meeting->runs, 1);
	if (job->shape->forbidden(&meeting->outcome))
		atomic_fetch_add(&meeting->forbidden, 1);
}

/* Two members that share a processor never meet at a store buffer: each gets one of its own, when there are two. */
static void choose_processor(enum litmus_role role)
{
	unsigned wanted = role;
	cpu_set_t allowed;
	cpu_set_t own;

	if (sched_getaffinity(0, sizeof(allowed), &allowed) != 0 || CPU_COUNT(&allowed) < 2)
		return;
	for (int cpu = 0; cpu < CPU_SETSIZE; cpu++) {
		if (!CPU_ISSET(cpu, &allowed) || wanted-- > 0)
			continue;
		CPU_ZERO(&own);
		CPU_SET(cpu, &own);
		(void)sched_setaffinity(0, sizeof(own), &own); /* a refusal costs time, not truth */
		return;
	}
}

static int take_part(void *argument)
{
	struct job *job = argument;
	struct litmus_run run = {.name = "p", .left_out = job->left_out, .outcome = &job->meeting->outcome};

	alarm(SECONDS_MAX);
	run.seen = job->meeting->outcome.seen[job->role];
	run.pool = scratch_attach(run.name);
	if (strcmp(job->scheme, "file") == 0)
		choose_processor(job->role);
	if (job->role == WRITER)
		make_lines(job, run.pool);
	for (;;) {
		meet(job->meeting, job->role);
		if (is_finished(job, run.value))
			break;
		run.value++;
		run_once(job, &run);
	}
	MUST(dmem_pool_detach(run.pool));
	return check_words(job);
}

/* --- jobs --- */

/* Wait for both; when one fails, the other one would wait for it for ever. */
static bool wait_for_both(const pid_t pids[2])
{
	bool good = true;

	for (unsigned left = 2; left > 0; left--) {
		int status;
		pid_t pid = wait(&status);

		if (pid < 0)
			return false;
		if (WIFEXITED(status) && WEXITSTATUS(status) == 0)
			continue;
		if (good && left == 2)
			kill(pids[pid == pids[WRITER] ? READER : WRITER], SIGKILL);
		good = false;
	}
	return good;
}

/* False when a member failed.  *forbidden of *runs showed the outcome. */
static bool do_job(struct job *job, uint64_t *runs, uint64_t *forbidden)
{
	pid_t pids[2];
	bool good;

	setenv("DMEM_TEST_SCHEME", job->scheme, 1);
	scratch_create("p", POOL_KEYS);
	job->meeting = child_shared(sizeof(*job->meeting));
	for (job->role = WRITER; job->role <= READER; job->role++)
		pids[job->role] = child_start(take_part, job);
	good = wait_for_both(pids);
	*runs = atomic_load(&job->meeting->runs);
	*forbidden = atomic_load(&job->meeting->forbidden);
	munmap(job->meeting, sizeof(*job->meeting));
	MUST(dmem_pool_destroy(scratch_uri("p", NULL)));
	return good;
}

static uint64_t fewer(uint64_t runs, unsigned costly)
{
	return costly > 1 && runs > costly ? runs / costly : costly > 1 ? 1 : runs;
}

static bool is_wanted_scheme(const char *scheme)
{
	return options.scheme == NULL || strcmp(options.scheme, scheme) == 0;
}

/* --- the table: a cell each --- */

static void print_head(void)
{
	printf("       %-6s %-36s %15s %15s %15s", "clause", "shape", "file: forbidden", "sim: forbidden",
	       "delegated");
	for (unsigned step = 0; step < STEPS; step++)
		printf("  -%-9s", step_names[step]);
	printf("\n");
}

static bool add_count(char *text, size_t bytes, struct job *job, uint64_t *forbidden)
{
	uint64_t runs = 0;
	bool good = do_job(job, &runs, forbidden);

	snprintf(text, bytes, "%" PRIu64 "/%" PRIu64 "%s", *forbidden, runs, good ? "" : "!");
	return good;
}

static bool with_all_steps(const struct litmus_shape *shape, const char *scheme, uint64_t runs, char *text,
                           size_t bytes)
{
	struct job job = {.shape = shape, .scheme = scheme, .runs = fewer(runs, shape->costly)};
	uint64_t forbidden;

	snprintf(text, bytes, "-");
	if (options.without >= 0 || !is_wanted_scheme(scheme))
		return true;
	return add_count(text, bytes, &job, &forbidden) && forbidden == 0;
}

static bool without_step(const struct litmus_shape *shape, unsigned step, char *text, size_t bytes)
{
	bool is_fence = step == STEP_FENCE;
	uint64_t runs = is_fence ? options.runs : options.seeds < LEFT_OUT_RUNS ? options.seeds : LEFT_OUT_RUNS;
	struct job job = {.shape = shape, .scheme = is_fence ? "file" : "sim", .left_out = 1u << step};
	uint64_t forbidden;

	snprintf(text, bytes, "-");
	if (!(shape->steps & job.left_out) || (options.without >= 0 && (unsigned)options.without != step) ||
	    !is_wanted_scheme(job.scheme) || (is_fence && SEES_NO_FENCE))
		return true;
	job.runs = fewer(runs, shape->costly);
	job.runs_max = PATIENCE * job.runs;
	return add_count(text, bytes, &job, &forbidden) && forbidden > 0;
}

static bool do_shape(const struct litmus_shape *shape)
{
	char file[40];
	char sim[40];
	char delegated[40];
	char steps[STEPS][40];
	bool good = with_all_steps(shape, "file", options.runs, file, sizeof(file));

	good &= with_all_steps(shape, "sim", options.seeds, sim, sizeof(sim));
	good &= with_all_steps(shape, "sim-delegate",
	                       options.scheme == NULL && options.seeds > 20 ? options.seeds / 20 : options.seeds, delegated,
	                       sizeof(delegated));
	for (unsigned step = 0; step < STEPS; step++)
		good &= without_step(shape, step, steps[step], sizeof(steps[step]));
	printf("%-6s %-6s %-36s %15s %15s %15s", good ? "ok" : "not ok", shape->clause, shape->name, file, sim,
	       delegated);
	for (unsigned step = 0; step < STEPS; step++)
		printf("  %-10s", steps[step]);
	printf("\n");
	fflush(stdout);
	return good;
}

static bool is_wanted(const struct litmus_shape *shape)
{
	if (options.shape != NULL && strcmp(options.shape, shape->name) != 0 && strcmp(options.shape, shape->clause) != 0)
		return false;
	return options.without < 0 || (shape->steps & 1u << options.without) != 0;
}

static const struct litmus_shape *next_shape(unsigned *table, unsigned *row)
{
	for (; *table < DM_ARRAY_LENGTH(tables); (*table)++, *row = 0) {
		while (tables[*table][*row].name != NULL) {
			const struct litmus_shape *shape = &tables[*table][(*row)++];

			if (is_wanted(shape))
				return shape;
		}
	}
	return NULL;
}

/* --- options --- */

static void refuse(const char *what, const char *text)
{
	fprintf(stderr, "litmus: %s \"%s\"\n%s", what, text, usage);
	exit(2);
}

static uint64_t number_of(const char *text)
{
	char *end;
	unsigned long long number = strtoull(text, &end, 10);

	if (*text < '1' || *text > '9' || *end != '\0' || number > UINT32_MAX)
		refuse("not a number of runs:", text);
	return number;
}

static int step_of(const char *name)
{
	for (int step = 0; step < STEPS; step++)
		if (strcmp(step_names[step], name) == 0)
			return step;
	refuse("no such step:", name);
	return -1;
}

static void list_shapes(void)
{
	const struct litmus_shape *shape;
	unsigned table = 0;
	unsigned row = 0;

	while ((shape = next_shape(&table, &row)) != NULL)
		printf("%-4s %s\n", shape->clause, shape->name);
}

static void read_options(int argc, char **argv)
{
	static const struct option known[] = {
		{"scheme", required_argument, NULL, 's'}, {"runs", required_argument, NULL, 'r'},
		{"seeds", required_argument, NULL, 'n'}, {"shape", required_argument, NULL, 'x'},
		{"without", required_argument, NULL, 'w'}, {"list", no_argument, NULL, 'l'},
		{"help", no_argument, NULL, 'h'}, {0},
	};
	int option;

	while ((option = getopt_long(argc, argv, "h", known, NULL)) != -1) {
		switch (option) {
		case 's': options.scheme = optarg; break;
		case 'r': options.runs = number_of(optarg); break;
		case 'n': options.seeds = number_of(optarg); break;
		case 'x': options.shape = optarg; break;
		case 'w': options.without = step_of(optarg); break;
		case 'l': list_shapes(); exit(0);
		case 'h': fputs(usage, stdout); exit(0);
		default: exit(2);
		}
	}
	if (optind < argc)
		refuse("what is", argv[optind]);
	if (options.scheme != NULL && strcmp(options.scheme, "file") != 0 && strcmp(options.scheme, "sim") != 0 &&
	    strcmp(options.scheme, "sim-delegate") != 0)
		refuse("no such scheme:", options.scheme);
}

int main(int argc, char **argv)
{
	const struct litmus_shape *shape;
	unsigned table = 0;
	unsigned row = 0;
	unsigned shapes = 0;
	unsigned failed = 0;

	read_options(argc, argv);
	scratch_begin_bare();
	setenv("DMEM_SIM_RATE", RATE, 1);
	print_head();
	fflush(stdout);
	for (; (shape = next_shape(&table, &row)) != NULL; shapes++)
		failed += !do_shape(shape);
	scratch_end();
	if (shapes == 0)
		refuse("no shape is called so, or none has the step:", options.shape == NULL ? "" : options.shape);
	printf("%u shapes, %u failed\n", shapes, failed);
	return failed != 0;
}
