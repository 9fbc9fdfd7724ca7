/* SPDX-License-Identifier: Apache-2.0 */
/*
 * bench_handover: how much faster is an index handed over by pointer than sent and rebuilt?
 *
 * The writer holds a finished index of more than 100 MB, counted as nodes and counted as flat bytes: synthetic words,
 * whose frequencies fall as 1/rank, in synthetic files, the same for every run.  Each round starts a fresh reader
 * process (fork and exec, so it inherits nothing), gives it 1,000 queries and lets it wait.  In the clock, read in the
 * writer: from the moment it decides to hand the index over until the 1,000 answers have come back.  That is
 *
 *	A  by pointer:  publish the index, set its root, tell the reader; it attaches the pool, looks the root up and
 *	                answers by following the writer's pointers
 *	B  rebuilt:     serialize (flat binary, see examples/demo/flat.h), send through a Unix stream socket, rebuild with
 *	                malloc, answer.  The three overlap: the sender works on one CPU while the receiver does on another
 *
 * Both sides answer with the same code and every answer is compared with the writer's own.  Not in the clock, of
 * either: building the index (its last step asks the kernel for huge pages, see index_settle()), starting the reader,
 * ending it.
 *
 * Asked for: A at least 100 times faster than B.
 */
#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <dmem/dmem.h>

#include "demo/flat.h"
#include "demo/index.h"
#include "demo/query.h"
#include "harness/harness.h"

#define QUESTION "handover: how much faster is an index handed over by pointer than sent and rebuilt?"
#define ROOT_NAME "index"
#define QUERIES 1000
#define VOCABULARY 400000
#define FILES 16000
#define WORDS_A_FILE 800
#define INDEX_BYTES_MIN 100000000u
#define SEED 2

typedef char query_text[QUERY_BYTES_MAX + 1];

struct handover {
	char uri[96];
	struct dmem_pool *pool;
	struct index_writer writer;
	query_text *queries;
	uint64_t expected[QUERIES];
	uint64_t sent_bytes;
	uint64_t huge_pages;
};

static int fail(const char *what, int error)
{
	fprintf(stderr, "bench_handover: %s: %s; %s\n", what, dmem_strerror(error), dmem_last_error());
	return error;
}

static int answers_make(struct query_index *index, const query_text *queries, uint64_t *digests)
{
	struct query_answer answer;

	for (int i = 0; i < QUERIES; i++) {
		int error = query_answer(index, queries[i], &answer);

		if (error)
			return fail(queries[i], error);
		digests[i] = query_digest(index, &answer);
	}
	return index->error;
}

/* Reader of A, from the moment it was told to go. */
static int read_by_pointer(const char *uri, const query_text *queries, uint64_t *digests)
{
	struct query_index index;
	struct dmem_pool *pool;
	int error = dmem_pool_attach(uri, NULL, &pool);

	if (error)
		return fail("attach", error);
	error = query_open(&index, dmem_root_get(pool, ROOT_NAME), 1);
	if (!error)
		error = answers_make(&index, queries, digests);
	if (!error)
		error = bench_send(STDOUT_FILENO, digests, QUERIES * sizeof(*digests));
	if (error)
		return fail("reader by pointer", error);
	return dmem_pool_detach(pool);
}

/* Reader of B.  Its index goes with the process. */
static int read_rebuilt(const query_text *queries, uint64_t *digests)
{
	struct index_memory memory = index_memory_private();
	struct index_writer writer;
	struct query_index index;
	int error = flat_receive(STDIN_FILENO, &memory, &writer);

	if (!error)
		error = query_open(&index, writer.root, 0);
	if (!error)
		error = answers_make(&index, queries, digests);
	if (!error)
		error = bench_send(STDOUT_FILENO, digests, QUERIES * sizeof(*digests));
	return error ? fail("reader that rebuilds", error) : 0;
}

/* In the fresh process: `uri` is NULL for the one that rebuilds. */
static int reader_main(const char *uri)
{
	query_text *queries = calloc(QUERIES, sizeof(*queries));
	uint64_t *digests = calloc(QUERIES, sizeof(*digests));
	char byte = 'r';
	int error = queries && digests ? 0 : -ENOMEM;

	if (!error)
		error = bench_receive(STDIN_FILENO, queries, QUERIES * sizeof(*queries));
	if (!error)
		error = bench_send(STDOUT_FILENO, &byte, 1);
	if (!error)
		error = bench_receive(STDIN_FILENO, &byte, 1);
	if (!error)
		error = uri ? read_by_pointer(uri, (const query_text *)queries, digests)
		            : read_rebuilt((const query_text *)queries, digests);
	free(digests);
	free(queries);
	return error ? 2 : 0;
}

static int hand_over(struct handover *handover)
{
	int error = index_publish(handover->pool, handover->writer.root);

	return error ? error : dmem_root_set(handover->pool, ROOT_NAME, handover->writer.root);
}

/* The clock runs in here.  `by_pointer` chooses the side. */
static int clocked(struct handover *handover, int fd, int by_pointer, double *value)
{
	static uint64_t digests[QUERIES];
	uint64_t begin = bench_now_ns();
	int error = by_pointer ? hand_over(handover) : 0;

	if (!error)
		error = bench_send(fd, "g", 1);
	if (!error && !by_pointer)
		error = flat_send(fd, handover->writer.root, &handover->sent_bytes);
	if (!error)
		error = bench_receive(fd, digests, sizeof(digests));
	*value = (double)(bench_now_ns() - begin) / 1e6;
	if (!error && memcmp(digests, handover->expected, sizeof(digests)) != 0)
		error = fail("the reader's answers differ from the writer's", DMEM_E_CORRUPT);
	return error;
}

static int round_run(struct handover *handover, int by_pointer, double *value)
{
	char program[] = "bench_handover", pointer[] = "--pointer", rebuild[] = "--rebuild", uri[sizeof(handover->uri)];
	char *arguments[] = {program, by_pointer ? pointer : rebuild, uri, NULL};
	struct bench_child child;
	int error, end;
	char byte;

	memcpy(uri, handover->uri, sizeof(uri));
	error = bench_spawn(&child, arguments);
	if (error)
		return error;
	error = bench_send(child.fd, handover->queries, QUERIES * sizeof(*handover->queries));
	if (!error)
		error = bench_receive(child.fd, &byte, 1);
	if (!error)
		error = clocked(handover, child.fd, by_pointer, value);
	end = bench_wait(&child);
	if (!error && by_pointer)
		error = dmem_root_set(handover->pool, ROOT_NAME, NULL);
	return error ? error : end;
}

static int run_pointer(void *context, double *value)
{
	return round_run(context, 1, value);
}

static int run_rebuilt(void *context, double *value)
{
	return round_run(context, 0, value);
}

/* xorshift64*: a number from 0 to 1. */
static double random_next(uint64_t *state)
{
	*state ^= *state >> 12;
	*state ^= *state << 25;
	*state ^= *state >> 27;
	return (double)((*state * UINT64_C(0x2545f4914f6cdd1d)) >> 11) / 9007199254740992.0;
}

/* A word's frequency falls as 1/rank: the rank is the vocabulary's size to the power of an even random number. */
static int words_add(struct index_writer *writer, uint64_t *state)
{
	int error = 0;

	for (uint32_t i = 0; i < WORDS_A_FILE && !error; i++) {
		uint32_t rank = (uint32_t)exp(random_next(state) * log(VOCABULARY));
		char word[INDEX_WORD_BYTES_MAX + 1];
		int bytes = snprintf(word, sizeof(word), "w%xk%u", rank * 2654435761u, rank);

		error = index_add_word(writer, word, (uint32_t)bytes, i / 10 + 1);
	}
	return error;
}

static int index_make(struct handover *handover)
{
	struct index_memory memory = index_memory_shared(handover->pool);
	int error = index_begin(&handover->writer, &memory, 0);
	uint64_t state = SEED;

	for (int i = 0; i < FILES && !error; i++) {
		char path[64];

		snprintf(path, sizeof(path), "/synthetic/%03d/%05d.txt", i / 100, i);
		error = index_add_file(&handover->writer, path, WORDS_A_FILE * 12);
		if (!error)
			error = words_add(&handover->writer, &state);
	}
	if (!error)
		handover->huge_pages = index_settle(&handover->writer);
	return error;
}

/* Index, queries and the answers that every reader has to find. */
static int prepare(struct handover *handover)
{
	struct dmem_create_options options = DMEM_CREATE_OPTIONS_DEFAULT;
	struct query_index own;
	int error;

	options.size_bytes = UINT64_C(2) << 30; /* sparse: only what is used is taken */
	error = dmem_pool_create(handover->uri, &options);
	if (error)
		return fail("create", error);
	error = dmem_pool_attach(handover->uri, NULL, &handover->pool);
	if (error)
		return fail("attach", error);
	handover->queries = calloc(QUERIES, sizeof(*handover->queries));
	error = handover->queries ? index_make(handover) : -ENOMEM;
	if (!error)
		error = query_open(&own, handover->writer.root, 0);
	if (!error)
		error = query_draw(&own, SEED, handover->queries, QUERIES);
	if (!error)
		error = answers_make(&own, (const query_text *)handover->queries, handover->expected);
	return error ? fail("index", error) : 0;
}

static int measure(struct bench *bench, struct handover *handover)
{
	static struct bench_side a = {.name = "handed over", .run = run_pointer};
	static struct bench_side b = {.name = "sent and rebuilt", .run = run_rebuilt};
	const struct index_root *root = handover->writer.root;

	a.context = b.context = handover;
	if (bench_rounds(bench, &a, &b))
		return 2;
	if (root->node_bytes < INDEX_BYTES_MIN || handover->sent_bytes < INDEX_BYTES_MIN) {
		fprintf(stderr, "bench_handover: the index is smaller than %u bytes\n", INDEX_BYTES_MIN);
		return 2;
	}
	printf("index: %llu terms, %llu postings, %.0f MB of nodes, %.0f MB as flat bytes, %llu huge pages; %d queries\n",
	       (unsigned long long)root->terms, (unsigned long long)root->postings, (double)root->node_bytes / 1e6,
	       (double)handover->sent_bytes / 1e6, (unsigned long long)handover->huge_pages, QUERIES);
	bench_report(bench, &(struct bench_figure){.name = "handed over, 1,000 answers", .unit = "ms", .side = &a,
	                                           .base = &b, .goal = BENCH_RATIO_AT_LEAST, .target = 100});
	bench_report(bench, &(struct bench_figure){.name = "sent and rebuilt, 1,000 answers", .unit = "ms", .side = &b});
	return bench_end(bench);
}

/* Returns `result`, or 2 when that was success and the removal is not. */
static int pool_remove(const struct handover *handover, int result)
{
	int error = handover->pool ? dmem_pool_detach(handover->pool) : 0;

	if (!error)
		error = dmem_pool_destroy(handover->uri);
	if (error && result == 0)
		result = fail("removing the pool", error) ? 2 : 0;
	return result;
}

int main(int argc, char **argv)
{
	static struct handover handover;
	struct bench bench;
	int result;

	if (argc == 3 && strcmp(argv[1], "--pointer") == 0)
		return reader_main(argv[2]);
	if (argc == 3 && strcmp(argv[1], "--rebuild") == 0)
		return reader_main(NULL);
	result = bench_begin(&bench, "handover", QUESTION, argc, argv);
	if (result)
		return result < 0 ? 2 : 0;
	snprintf(handover.uri, sizeof(handover.uri), "file:/dev/shm/dmem-bench-handover.%d", (int)getpid());
	result = prepare(&handover) ? 2 : measure(&bench, &handover);
	free(handover.queries);
	return pool_remove(&handover, result);
}
