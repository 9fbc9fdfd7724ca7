/* SPDX-License-Identifier: Apache-2.0 */
/* harness.c: options, rounds and the verdict. */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE /* sched_setaffinity */
#endif
#include "harness/harness.h"

#include <errno.h>
#include <getopt.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

uint64_t bench_now_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

static volatile sig_atomic_t interrupted;

static void interrupt(int number)
{
	interrupted = number;
}

/* An interrupted benchmark fails its round and so comes to its own cleaning up.  A second signal ends it at once. */
static void interrupts_catch(void)
{
	struct sigaction action;

	memset(&action, 0, sizeof(action));
	action.sa_handler = interrupt;
	action.sa_flags = (int)SA_RESETHAND;
	sigaction(SIGINT, &action, NULL);
	sigaction(SIGTERM, &action, NULL);
}

static void print_usage(const struct bench *bench)
{
	printf("bench_%s: %s\n\n", bench->name, bench->question);
	printf("  --rounds N   rounds that count, %d to %d (default %d)\n", BENCH_ROUNDS_MIN, BENCH_ROUNDS_MAX,
	       BENCH_ROUNDS_MIN);
	printf("  --check      exit with 1 when a target is missed, and name the misses in the last line\n");
	printf("  --pin CPU    run on this CPU, children included\n");
	printf("  --quiet      no progress on stderr\n");
}

/* A whole number between the bounds, or -1. */
static int number_parse(const char *text, int least, int most)
{
	char *end;
	long value = strtol(text, &end, 10);

	return *text == '\0' || *end != '\0' || value < least || value > most ? -1 : (int)value;
}

static int pin_to(int cpu)
{
	cpu_set_t set;

	CPU_ZERO(&set);
	CPU_SET((unsigned)cpu, &set);
	return sched_setaffinity(0, sizeof(set), &set);
}

static int options_read(struct bench *bench, int argc, char **argv)
{
	static const struct option options[] = {
		{"rounds", required_argument, NULL, 'r'}, {"check", no_argument, NULL, 'c'},
		{"pin", required_argument, NULL, 'p'},    {"quiet", no_argument, NULL, 'q'},
		{"help", no_argument, NULL, 'h'},         {NULL, 0, NULL, 0},
	};
	int option;

	while ((option = getopt_long(argc, argv, "h", options, NULL)) != -1) {
		if (option == 'r')
			bench->rounds = number_parse(optarg, BENCH_ROUNDS_MIN, BENCH_ROUNDS_MAX);
		else if (option == 'c')
			bench->check = 1;
		else if (option == 'p')
			bench->pin = number_parse(optarg, 0, CPU_SETSIZE - 1);
		else if (option == 'q')
			bench->quiet = 1;
		else
			return option == 'h' ? 1 : -1;
		if (bench->rounds < 0 || (option == 'p' && (bench->pin < 0 || pin_to(bench->pin)))) {
			fprintf(stderr, "bench_%s: '%s' can't be used here; see --help\n", bench->name, optarg);
			return -1;
		}
	}
	if (optind < argc) {
		fprintf(stderr, "bench_%s: unexpected '%s'; see --help\n", bench->name, argv[optind]);
		return -1;
	}
	return 0;
}

int bench_begin(struct bench *bench, const char *name, const char *question, int argc, char **argv)
{
	int result;

	memset(bench, 0, sizeof(*bench));
	bench->name = name;
	bench->question = question;
	bench->rounds = BENCH_ROUNDS_MIN;
	bench->pin = -1;
	result = options_read(bench, argc, argv);
	if (result == 1)
		print_usage(bench);
	else
		interrupts_catch();
	return result;
}

static void progress(const struct bench *bench, int round)
{
	if (bench->quiet || !isatty(STDERR_FILENO))
		return;
	if (round <= bench->rounds)
		fprintf(stderr, "\rbench_%s: round %d of %d ", bench->name, round, bench->rounds);
	else
		fprintf(stderr, "\r\033[K");
}

int bench_rounds_of(struct bench *bench, struct bench_side *const *sides, int count)
{
	int error = 0;

	/* Round 0 warms up: its values are overwritten. */
	for (int round = 0; round <= bench->rounds && !error; round++) {
		int at = round > 0 ? round - 1 : 0;

		progress(bench, round);
		for (int side = 0; side < count && !error; side++)
			error = sides[side]->run(sides[side]->context, &sides[side]->values[at]);
		if (!error && interrupted)
			error = -EINTR;
	}
	progress(bench, bench->rounds + 1);
	if (error)
		fprintf(stderr, "bench_%s: a round failed (%d)\n", bench->name, error);
	return error;
}

int bench_rounds(struct bench *bench, struct bench_side *a, struct bench_side *b)
{
	struct bench_side *sides[] = {a, b};

	return bench_rounds_of(bench, sides, 2);
}

static int target_missed(const struct bench_result *result)
{
	switch (result->figure.goal) {
	case BENCH_VALUE_AT_MOST:
		return !(result->value <= result->figure.target);
	case BENCH_RATIO_AT_MOST:
		return !(result->ratio <= result->figure.target);
	case BENCH_RATIO_AT_LEAST:
		return !(result->ratio >= result->figure.target);
	case BENCH_NO_GOAL:
		break;
	}
	return 0;
}

static double median_of(const double *values, int count)
{
	static double sorted[BENCH_ROUNDS_MAX];

	memcpy(sorted, values, (size_t)count * sizeof(*sorted));
	bench_sort(sorted, (size_t)count);
	return bench_quantile(sorted, (size_t)count, 0.5);
}

void bench_report(struct bench *bench, const struct bench_figure *figure)
{
	static double spread[BENCH_ROUNDS_MAX];
	struct bench_result *result = &bench->results[bench->result_count];
	size_t count = (size_t)bench->rounds;

	if (bench->result_count == BENCH_FIGURES_MAX)
		abort(); /* a benchmark with too many figures is a mistake in its source */
	*result = (struct bench_result){.figure = *figure, .value = median_of(figure->side->values, bench->rounds)};
	if (figure->base)
		result->base_value = median_of(figure->base->values, bench->rounds);
	for (size_t i = 0; i < count; i++) {
		double value = figure->side->values[i];

		spread[i] = value;
		if (figure->base && figure->goal == BENCH_RATIO_AT_LEAST)
			spread[i] = figure->base->values[i] / value;
		else if (figure->base)
			spread[i] = value / figure->base->values[i];
	}
	bench_sort(spread, count);
	result->ratio = figure->base ? bench_quantile(spread, count, 0.5) : 0;
	result->spread[0] = spread[0];
	result->spread[1] = bench_quantile(spread, count, 0.25);
	result->spread[2] = bench_quantile(spread, count, 0.75);
	result->spread[3] = spread[count - 1];
	result->missed = target_missed(result);
	bench->result_count++;
}

int bench_end(const struct bench *bench)
{
	int missed = 0;

	bench_print_table(bench, stdout);
	bench_print_json(bench, stdout);
	for (int i = 0; i < bench->result_count; i++)
		missed += bench->results[i].missed;
	if (!bench->check)
		return 0;
	if (missed == 0) {
		printf("check: all targets met\n");
		return 0;
	}
	printf("check: missed:");
	for (int i = 0; i < bench->result_count; i++)
		if (bench->results[i].missed)
			printf(" %s/%s", bench->name, bench->results[i].figure.name);
	printf("\n");
	return 1;
}
