/* SPDX-License-Identifier: Apache-2.0 */
/*
 * query.h: reading the index by following its pointers.
 *
 * A query is "word" or "word AND word".  The answer counts the files and the hits and names the three files with the
 * most hits.  Readers of a pool refresh each node before they read it: a fence on one machine, and what makes the same
 * source right on pools whose hosts are not coherent.
 */
#ifndef DEMO_QUERY_H
#define DEMO_QUERY_H

#include <stdint.h>

#include "index.h"

#define QUERY_BYTES_MAX 143 /* two words and " AND " */
#define QUERY_TOP 3

/* An index as this process sees it. */
struct query_index {
	const struct index_root *root;
	int shared; /* not 0: its nodes are in a pool, so refresh them */
	int error;  /* the first refresh that failed; the answers are incomplete then */
};

struct query_answer {
	uint64_t hits;
	uint32_t files;
	uint32_t top_count;
	struct index_posting top[QUERY_TOP];
};

/* The nodes on the way from the root to a word's first file. */
struct query_path {
	uint64_t root;
	uint64_t bucket;
	uint64_t term;
	uint64_t posting;
	uint64_t file;
};

/* The index whose root is `root`.  0, a dmem error, or -EINVAL when that is no index. */
int query_open(struct query_index *index, const struct index_root *root, int shared);

/* 0, or index->error. */
int query_answer(struct query_index *index, const char *query, struct query_answer *answer);

/* A number that is equal for equal answers, whatever the addresses of the nodes are. */
uint64_t query_digest(struct query_index *index, const struct query_answer *answer);

/* 0; -ENOENT the word is not in the index. */
int query_trace(struct query_index *index, const char *word, struct query_path *path);

/* Queries drawn from the index itself, equal for equal seeds: three of four ask for one word, taken from a random
 * bucket, so that most are rare as most words are; the fourth asks for two words that are in 8 to 512 files each and,
 * where some tries find such, together.  For the writer, which opened its index with `shared` 0: a refresh of nodes that are not
 * published yet would undo them on a pool that is not coherent.  0 or index->error. */
int query_draw(struct query_index *index, uint64_t seed, char (*queries)[QUERY_BYTES_MAX + 1], uint32_t count);

#endif
