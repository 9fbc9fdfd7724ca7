/* SPDX-License-Identifier: Apache-2.0 */
/* report.c: the table for people, and a line of JSON for each figure. */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE /* popen, readlink */
#endif
#include "harness/harness.h"

#include <string.h>
#include <sys/utsname.h>
#include <time.h>
#include <unistd.h>

#define FACT_BYTES 160

/* Where and of what the figures are. */
struct facts {
	char cpu[FACT_BYTES];
	char kernel[FACT_BYTES];
	char git[FACT_BYTES];
	char date[32];
	long cpus;
};

static void line_end(char *text)
{
	text[strcspn(text, "\n")] = '\0';
}

/* The processor's name; other architectures than x86 may call it otherwise, or not at all. */
static void cpu_read(char *cpu)
{
	FILE *file = fopen("/proc/cpuinfo", "r");
	char line[FACT_BYTES];
	struct utsname name;

	snprintf(cpu, FACT_BYTES, "%s", uname(&name) == 0 ? name.machine : "unknown");
	if (!file)
		return;
	while (fgets(line, sizeof(line), file)) {
		char *colon = strchr(line, ':');

		if (colon && strncmp(line, "model name", 10) == 0) {
			line_end(colon);
			snprintf(cpu, FACT_BYTES, "%s", colon + 2);
			break;
		}
	}
	fclose(file);
}

/* The commit of the tree that this program lies in (builds go to build/ inside it). */
static void git_read(char *git)
{
	char command[4200], self[4096];
	ssize_t length = readlink("/proc/self/exe", self, sizeof(self) - 1);
	char *slash;
	FILE *pipe;

	snprintf(git, FACT_BYTES, "unknown");
	if (length <= 0)
		return;
	self[length] = '\0';
	slash = strrchr(self, '/');
	if (!slash || strchr(self, '\''))
		return;
	*slash = '\0';
	snprintf(command, sizeof(command), "git -C '%s' describe --always --dirty 2>/dev/null", self);
	pipe = popen(command, "r");
	if (!pipe)
		return;
	if (fgets(command, FACT_BYTES, pipe)) {
		line_end(command);
		snprintf(git, FACT_BYTES, "%.100s", command);
	}
	pclose(pipe);
}

static void facts_read(struct facts *facts)
{
	time_t now = time(NULL);
	struct utsname name;
	struct tm utc;

	cpu_read(facts->cpu);
	git_read(facts->git);
	snprintf(facts->kernel, sizeof(facts->kernel), "%s", uname(&name) == 0 ? name.release : "unknown");
	facts->cpus = sysconf(_SC_NPROCESSORS_ONLN);
	snprintf(facts->date, sizeof(facts->date), "unknown");
	if (gmtime_r(&now, &utc))
		strftime(facts->date, sizeof(facts->date), "%Y-%m-%dT%H:%M:%SZ", &utc);
}

static void target_format(const struct bench_result *result, char *text, size_t bytes)
{
	const struct bench_figure *figure = &result->figure;

	switch (figure->goal) {
	case BENCH_VALUE_AT_MOST:
		snprintf(text, bytes, "<= %.4g %s", figure->target, figure->unit);
		break;
	case BENCH_RATIO_AT_MOST:
		snprintf(text, bytes, "<= %.4g x", figure->target);
		break;
	case BENCH_RATIO_AT_LEAST:
		snprintf(text, bytes, ">= %.4g x", figure->target);
		break;
	case BENCH_NO_GOAL:
		snprintf(text, bytes, "-");
		break;
	}
}

static void row_print(const struct bench_result *result, FILE *to)
{
	const struct bench_figure *figure = &result->figure;
	char value[32], ratio[32] = "-", target[48], spread[80];
	const char *unit = figure->base ? "x" : figure->unit;

	snprintf(value, sizeof(value), "%.4g %s", result->value, figure->unit);
	if (figure->base)
		snprintf(ratio, sizeof(ratio), "%.3g x", result->ratio);
	target_format(result, target, sizeof(target));
	snprintf(spread, sizeof(spread), "%.3g [%.3g, %.3g] %.3g %s", result->spread[0], result->spread[1],
	         result->spread[2], result->spread[3], unit);
	fprintf(to, "%-32s %14s %10s %12s %-7s %s\n", figure->name, value, ratio, target,
	        figure->goal == BENCH_NO_GOAL ? "-" : result->missed ? "missed" : "met", spread);
}

void bench_print_table(const struct bench *bench, FILE *to)
{
	fprintf(to, "%s\n", bench->question);
	fprintf(to, "%d rounds A B A B after one to warm up; medians; spread: lowest [quartiles] highest of the rounds\n\n",
	        bench->rounds);
	fprintf(to, "%-32s %14s %10s %12s %-7s %s\n", "figure", "value", "ratio", "target", "", "spread");
	for (int i = 0; i < bench->result_count; i++)
		row_print(&bench->results[i], to);
	fputc('\n', to);
}

static void string_print(const char *key, const char *text, FILE *to)
{
	fprintf(to, "\"%s\":\"", key);
	for (; *text; text++) {
		if (*text == '"' || *text == '\\')
			fputc('\\', to);
		if ((unsigned char)*text >= ' ')
			fputc(*text, to);
	}
	fputs("\",", to);
}

static void json_row_print(const struct bench *bench, const struct bench_result *result, const struct facts *facts,
                           FILE *to)
{
	char target[48];

	target_format(result, target, sizeof(target));
	fputc('{', to);
	string_print("bench", bench->name, to);
	string_print("figure", result->figure.name, to);
	string_print("unit", result->figure.unit, to);
	fprintf(to, "\"value\":%.9g,", result->value);
	if (result->figure.base) {
		string_print("baseline", result->figure.base->name, to);
		fprintf(to, "\"baseline_value\":%.9g,\"ratio\":%.9g,", result->base_value, result->ratio);
	}
	fprintf(to, "\"lowest\":%.9g,\"quartile1\":%.9g,\"quartile3\":%.9g,\"highest\":%.9g,", result->spread[0],
	        result->spread[1], result->spread[2], result->spread[3]);
	if (result->figure.goal != BENCH_NO_GOAL) {
		string_print("target", target, to);
		fprintf(to, "\"met\":%s,", result->missed ? "false" : "true");
	}
	fprintf(to, "\"rounds\":%d,\"cpus\":%ld,", bench->rounds, facts->cpus);
	string_print("cpu", facts->cpu, to);
	string_print("kernel", facts->kernel, to);
	string_print("git", facts->git, to);
	fprintf(to, "\"date\":\"%s\"}\n", facts->date);
}

void bench_print_json(const struct bench *bench, FILE *to)
{
	struct facts facts;

	facts_read(&facts);
	for (int i = 0; i < bench->result_count; i++)
		json_row_print(bench, &bench->results[i], &facts, to);
}
