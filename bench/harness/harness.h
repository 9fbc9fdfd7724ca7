/* SPDX-License-Identifier: Apache-2.0 */
/*
 * harness.h: what all benchmarks share.
 *
 * A benchmark compares a way of doing something with its baseline.  The two are run in turn, A B A B, in rounds: one
 * round to warm up, then at least 11 that count.  The ratio is taken inside each round, so that what disturbs a machine
 * for a while disturbs both sides of it; the figure is the median of these ratios and its spread their quartiles and
 * extremes.  The table is for people; after it comes one line of JSON for each figure.
 *
 *	int main(int argc, char **argv)
 *	{
 *		struct bench bench;
 *		if (bench_begin(&bench, "name", "the question?", argc, argv)) return 2;
 *		if (bench_rounds(&bench, &a, &b)) return 2;
 *		bench_report(&bench, &(struct bench_figure){ ... });
 *		return bench_end(&bench);
 *	}
 */
#ifndef BENCH_HARNESS_H
#define BENCH_HARNESS_H

#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#define BENCH_ROUNDS_MIN 11
#define BENCH_ROUNDS_MAX 1001
#define BENCH_FIGURES_MAX 96

/* What is asked of a figure. */
enum bench_goal {
	BENCH_NO_GOAL,
	BENCH_VALUE_AT_MOST,  /* the median value, absolutely */
	BENCH_RATIO_AT_MOST,  /* the median ratio to the baseline */
	BENCH_RATIO_AT_LEAST, /* the median of baseline : value, "times faster" when values are times */
};

/* One side of a comparison.  `run` does it once and gives its value; anything but 0 ends the benchmark. */
struct bench_side {
	const char *name;
	int (*run)(void *context, double *value);
	void *context;
	double values[BENCH_ROUNDS_MAX];
};

struct bench_figure {
	const char *name;
	const char *unit;
	const struct bench_side *side;
	const struct bench_side *base; /* NULL: the figure is a value, without a ratio */
	enum bench_goal goal;
	double target;
};

/* A figure after its rounds. */
struct bench_result {
	struct bench_figure figure;
	double value;        /* median of the side's values */
	double base_value;   /* median of the baseline's, 0 without one */
	double ratio;        /* median; 0 without a baseline */
	double spread[4];    /* lowest, quartiles, highest: of the ratios, or of the values without a baseline */
	int missed;
};

struct bench {
	const char *name;
	const char *question;
	int rounds;
	int check;
	int quiet; /* no progress on stderr */
	int pin;   /* CPU to run on, -1 any */
	int result_count;
	struct bench_result results[BENCH_FIGURES_MAX];
};

/* Read the options (--rounds N, --check, --pin CPU, --quiet, --help).  0; 1 after --help; -1 when it complained. */
int bench_begin(struct bench *bench, const char *name, const char *question, int argc, char **argv);

/* One warm-up round, then the rounds: a, b, a, b, ...  0, or what `run` said. */
int bench_rounds(struct bench *bench, struct bench_side *a, struct bench_side *b);

/* The same with any number of sides: a, b, c, a, b, c, ... */
int bench_rounds_of(struct bench *bench, struct bench_side *const *sides, int count);

/* Work a figure out from the values of its sides. */
void bench_report(struct bench *bench, const struct bench_figure *figure);

/* Print the table, the JSON lines and, with --check, the verdict as last line.  Returns main()'s exit status: 0, or 1
 * when --check was given and a target was missed. */
int bench_end(const struct bench *bench);

/* Nanoseconds of the monotonic clock, which all processes of a machine share. */
uint64_t bench_now_ns(void);

/* stats.c.  `values` is sorted in place; `at` is 0.5 for the median. */
void bench_sort(double *values, size_t count);
double bench_quantile(const double *sorted, size_t count, double at);

/* report.c */
void bench_print_table(const struct bench *bench, FILE *to);
void bench_print_json(const struct bench *bench, FILE *to);

/*
 * A child process that runs this program again with other arguments (fork and exec, so it inherits no memory).  Its
 * standard input and output are one end of a stream socket; the other is `fd`.
 */
struct bench_child {
	int pid;
	int fd;
};

int bench_spawn(struct bench_child *child, char *const arguments[]); /* 0 or -errno */
int bench_wait(struct bench_child *child);                           /* 0, or -ECHILD when it did not exit with 0 */

/* All of it, or -errno; -EPIPE when the other side has gone. */
int bench_send(int fd, const void *from, size_t bytes);
int bench_receive(int fd, void *to, size_t bytes);

#endif
