/* SPDX-License-Identifier: Apache-2.0 */
/* print.c: what the reader of the terminal sees. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "demo.h"

#define NUMBER_BYTES 32

/* 1234567 -> "1,234,567", into `text`, which is returned. */
static const char *number(uint64_t value, char text[NUMBER_BYTES])
{
	char digits[NUMBER_BYTES];
	int length = snprintf(digits, sizeof(digits), "%" PRIu64, value), at = 0;

	for (int i = 0; i < length; i++) {
		if (i > 0 && (length - i) % 3 == 0)
			text[at++] = ',';
		text[at++] = digits[i];
	}
	text[at] = '\0';
	return text;
}

static const char *size(uint64_t bytes, char text[NUMBER_BYTES])
{
	static const char *const units[] = {"B", "KiB", "MiB", "GiB", "TiB"};
	double value = (double)bytes;
	int unit = 0;

	for (; value >= 1024 && unit < 4; unit++)
		value /= 1024;
	snprintf(text, NUMBER_BYTES, unit && value < 100 ? "%.1f %s" : "%.0f %s", value, units[unit]);
	return text;
}

static const char *duration(uint64_t ns, char text[NUMBER_BYTES])
{
	if (ns < 1000000)
		snprintf(text, NUMBER_BYTES, "%.1f us", (double)ns / 1e3);
	else if (ns < 1000000000u)
		snprintf(text, NUMBER_BYTES, "%.2f ms", (double)ns / 1e6);
	else
		snprintf(text, NUMBER_BYTES, "%.2f s", (double)ns / 1e9);
	return text;
}

void print_title(const char *title)
{
	printf("\n%s\n", title);
	for (size_t i = 0; i < strlen(title); i++)
		putchar('-');
	putchar('\n');
}

static void row(const char *name, const char *value, const char *note)
{
	printf("   %-16s %16s   %s\n", name, value, note);
}

void print_pool(const char *uri, const struct demo_built *built)
{
	char a[NUMBER_BYTES], b[NUMBER_BYTES];

	printf("   %-16s %s\n", "pool", uri);
	printf("   %-16s 0x%" PRIx64 ", %s of addresses, the same in every process\n", "window", built->window,
	       size(built->window_bytes, a));
	printf("   %-16s %s, of which %s are in use (the file is sparse)\n", "capacity", size(built->pool_bytes, a),
	       size(built->leased_bytes, b));
	putchar('\n');
}

void print_built(const struct demo_built *built)
{
	char text[NUMBER_BYTES], note[96], left_out[NUMBER_BYTES];

	snprintf(note, sizeof(note), "%s more are empty, binary or too large", number(built->files_left_out, left_out));
	row("text", size(built->text_bytes, text), "read and cut into words");
	row("files", number(built->files, text), note);
	row("words", number(built->words, text), "occurrences");
	row("terms", number(built->terms, text), "nodes, one for each different word");
	row("postings", number(built->postings, text), "each points to its file's node");
	row("chunks", number(built->chunks, text), "nodes that hold the postings");
	row("nodes", number(built->files + built->terms + built->chunks + 2, text), "in all, with the root and the buckets");
	row("shared", size(built->node_bytes, text), "of nodes, allocated one by one in the pool");
	row("time", duration(built->index_ns, text), "to read and index it all");
	if (built->huge_pages) {
		snprintf(note, sizeof(note), "to make %s huge pages of it", number(built->huge_pages, left_out));
		row("", duration(built->settle_ns, text), note);
	}
	if (built->full)
		printf("\n   the pool's file system is full: the index covers the text up to there\n");
}

static void address_row(const char *what, uint64_t a, uint64_t b, uint64_t c)
{
	printf("   %-16s 0x%-15" PRIx64 " 0x%-15" PRIx64 " 0x%-15" PRIx64 " %s\n", what, a, b, c,
	       a == b && b == c ? "equal" : "DIFFERENT");
}

void print_addresses(const char *word, const struct demo_report *a, const struct demo_report *b,
                     const struct demo_report *c)
{
	char what[INDEX_WORD_BYTES_MAX + 16];

	printf("   %-16s %-17s %-17s %-17s\n", "", "host-a (writer)", "host-b", "host-c");
	printf("   %-16s %-17d %-17d %-17d\n", "process", a->pid, b->pid, c->pid);
	address_row("root", a->path.root, b->path.root, c->path.root);
	address_row("its bucket", a->path.bucket, b->path.bucket, c->path.bucket);
	snprintf(what, sizeof(what), "term \"%.8s\"", word);
	address_row(what, a->path.term, b->path.term, c->path.term);
	address_row("its 1st posting", a->path.posting, b->path.posting, c->path.posting);
	address_row("that one's file", a->path.file, b->path.file, c->path.file);
}

void print_answers(const struct demo_order *order, const struct demo_report *report)
{
	char files[NUMBER_BYTES], hits[NUMBER_BYTES], took[NUMBER_BYTES];

	for (uint32_t i = 0; i < order->shown_count; i++) {
		const struct demo_shown *shown = &report->shown[i];

		printf("%s   %-24s %9s files %11s hits %12s\n", i ? "\n" : "", order->shown[i], number(shown->files, files),
		       number(shown->hits, hits), duration(shown->took_ns, took));
		for (uint32_t k = 0; k < shown->top_count; k++)
			printf("   %8s hits   %s:%" PRIu32 "\n", number(shown->top[k].hits, hits), shown->top[k].path,
			       shown->top[k].line);
	}
}

static void times_row(const char *what, const char *by_pointer, const char *by_socket)
{
	printf("   %-44s %14s %14s\n", what, by_pointer, by_socket);
}

void print_times(const struct demo_built *built, const struct demo_report *handed, const struct demo_report *b,
                 const struct demo_report *c, const struct demo_report *sent, const struct demo_report *rebuilt)
{
	char pointer[NUMBER_BYTES], socket[NUMBER_BYTES];
	uint64_t found = b->root_ns < c->root_ns ? b->root_ns : c->root_ns;
	uint64_t first = b->first_ns < c->first_ns ? b->first_ns : c->first_ns;
	uint64_t last = b->last_ns > c->last_ns ? b->last_ns : c->last_ns;
	double times;

	times_row("", "by pointer", "by socket");
	times_row("bytes that were moved", number(sizeof(uint64_t), pointer), number(sent->sent_bytes, socket));
	times_row("publish and set the root", duration(handed->root_ns - handed->begin_ns, pointer), "-");
	times_row("until a reader has the index", duration(found - handed->begin_ns, pointer),
	          duration(rebuilt->root_ns - sent->begin_ns, socket));
	times_row("until the first answer", duration(first - handed->begin_ns, pointer),
	          duration(rebuilt->first_ns - sent->begin_ns, socket));
	times_row("until 1,000 answers (by pointer: two readers)", duration(last - handed->begin_ns, pointer),
	          duration(rebuilt->last_ns - sent->begin_ns, socket));
	times_row("memory for a second copy", "none", size(built->node_bytes, socket));
	times = (double)(rebuilt->last_ns - sent->begin_ns) / (double)(last - handed->begin_ns);
	printf("\n   Handed over, 1,000 answers are there %.*f times sooner.\n", times < 10 ? 1 : 0, times);
}

int print_check(const char *what, int holds)
{
	printf("   %-56s %s\n", what, holds ? "ok" : "FAILED");
	return !holds;
}
