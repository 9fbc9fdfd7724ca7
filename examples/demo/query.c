/* SPDX-License-Identifier: Apache-2.0 */
/* query.c: lookups, and the merge of two lists.  Nothing here writes to the index. */
#include "query.h"

#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include <dmem/dmem.h>

#define DRAW_TRIES 32
#define DRAW_FILES_MIN 8
#define DRAW_FILES_MAX 512

/* A place in a term's list; `chunk` is NULL at its end. */
struct cursor {
	const struct index_chunk *chunk;
	uint32_t at;
};

/* Before a node's bytes are read for the first time; pairs with index_publish() of the writer. */
static int refresh(struct query_index *index, const void *node, size_t bytes)
{
	int error = index->shared ? dmem_refresh(node, bytes) : 0;

	if (error && !index->error)
		index->error = error;
	return error;
}

static const struct index_chunk *chunk_follow(struct query_index *index, const struct index_chunk *chunk)
{
	if (!chunk || refresh(index, chunk, sizeof(*chunk)))
		return NULL;
	return refresh(index, chunk->postings, chunk->count * sizeof(chunk->postings[0])) ? NULL : chunk;
}

static const struct index_file *file_follow(struct query_index *index, const struct index_file *file)
{
	if (refresh(index, file, sizeof(*file)))
		return NULL;
	return refresh(index, file->path, file->path_bytes + 1) ? NULL : file;
}

int query_open(struct query_index *index, const struct index_root *root, int shared)
{
	*index = (struct query_index){.root = root, .shared = shared};
	if (refresh(index, root, sizeof(*root)))
		return index->error;
	return root->magic == INDEX_MAGIC ? 0 : -EINVAL;
}

static const struct index_term *const *bucket_of(const struct query_index *index, uint64_t hash)
{
	return (const struct index_term *const *)&index->root->buckets[hash & (index->root->bucket_count - 1)];
}

static const struct index_term *term_follow(struct query_index *index, const char *text, uint32_t text_bytes)
{
	uint64_t hash = index_hash(text, text_bytes);
	const struct index_term *const *bucket = bucket_of(index, hash);
	const struct index_term *term;

	if (refresh(index, bucket, sizeof(*bucket)))
		return NULL;
	for (term = *bucket; term; term = term->next) {
		if (refresh(index, term, sizeof(*term)))
			return NULL;
		if (term->hash != hash || term->text_bytes != text_bytes)
			continue;
		if (refresh(index, term->text, text_bytes))
			return NULL;
		if (memcmp(term->text, text, text_bytes) == 0)
			break;
	}
	return term;
}

static struct cursor cursor_begin(struct query_index *index, const struct index_term *term)
{
	return (struct cursor){.chunk = term ? chunk_follow(index, term->first) : NULL};
}

static const struct index_posting *cursor_posting(const struct cursor *cursor)
{
	return &cursor->chunk->postings[cursor->at];
}

static void cursor_next(struct query_index *index, struct cursor *cursor)
{
	if (++cursor->at < cursor->chunk->count)
		return;
	*cursor = (struct cursor){.chunk = chunk_follow(index, cursor->chunk->next)};
}

/* To the first posting whose file is not before `number`; whole chunks are passed by a look at their last posting. */
static void cursor_seek(struct query_index *index, struct cursor *cursor, uint32_t number)
{
	while (cursor->chunk && cursor->chunk->postings[cursor->chunk->count - 1].number < number)
		*cursor = (struct cursor){.chunk = chunk_follow(index, cursor->chunk->next)};
	while (cursor->chunk && cursor_posting(cursor)->number < number)
		cursor->at++;
}

/* Files come in rising order, so of two with equal hits the earlier one stays in front. */
static void answer_add(struct query_answer *answer, const struct index_posting *posting)
{
	uint32_t at = answer->top_count;

	answer->files++;
	answer->hits += posting->hits;
	while (at > 0 && answer->top[at - 1].hits < posting->hits)
		at--;
	if (at == QUERY_TOP)
		return;
	if (answer->top_count < QUERY_TOP)
		answer->top_count++;
	memmove(&answer->top[at + 1], &answer->top[at], (answer->top_count - 1 - at) * sizeof(answer->top[0]));
	answer->top[at] = *posting;
}

static void answer_one(struct query_index *index, const struct index_term *term, struct query_answer *answer)
{
	for (struct cursor c = cursor_begin(index, term); c.chunk; cursor_next(index, &c))
		answer_add(answer, cursor_posting(&c));
}

static void answer_both(struct query_index *index, const struct index_term *a, const struct index_term *b,
                        struct query_answer *answer)
{
	struct cursor left = cursor_begin(index, a);
	struct cursor right = cursor_begin(index, b);

	while (left.chunk && right.chunk) {
		const struct index_posting *l = cursor_posting(&left);
		const struct index_posting *r = cursor_posting(&right);

		if (l->number < r->number) {
			cursor_seek(index, &left, r->number);
		} else if (r->number < l->number) {
			cursor_seek(index, &right, l->number);
		} else {
			struct index_posting both = *l;

			both.hits += r->hits;
			answer_add(answer, &both);
			cursor_next(index, &left);
			cursor_next(index, &right);
		}
	}
}

/* The lower-case form of the word at the start of `from`.  Returns what follows it. */
static const char *word_parse(const char *from, char *word, uint32_t *word_bytes)
{
	uint32_t bytes = 0;

	while (*from == ' ')
		from++;
	for (; *from && *from != ' '; from++)
		if (bytes < INDEX_WORD_BYTES_MAX)
			word[bytes++] = (char)tolower((unsigned char)*from);
	*word_bytes = bytes;
	return from;
}

int query_answer(struct query_index *index, const char *query, struct query_answer *answer)
{
	char word[INDEX_WORD_BYTES_MAX];
	const struct index_term *a, *b;
	uint32_t word_bytes;
	const char *rest;

	*answer = (struct query_answer){0};
	rest = word_parse(query, word, &word_bytes);
	a = term_follow(index, word, word_bytes);
	if (strncmp(rest, " AND ", 5) != 0) {
		answer_one(index, a, answer);
		return index->error;
	}
	word_parse(rest + 5, word, &word_bytes);
	b = term_follow(index, word, word_bytes);
	answer_both(index, a, b, answer);
	return index->error;
}

static uint64_t digest_mix(uint64_t digest, uint64_t value)
{
	digest = (digest ^ value) * UINT64_C(0x9e3779b97f4a7c15);
	return digest ^ (digest >> 29);
}

uint64_t query_digest(struct query_index *index, const struct query_answer *answer)
{
	uint64_t digest = digest_mix(digest_mix(1, answer->files), answer->hits);

	for (uint32_t i = 0; i < answer->top_count; i++) {
		const struct index_posting *posting = &answer->top[i];
		const struct index_file *file = file_follow(index, posting->file);

		if (!file)
			return 0;
		digest = digest_mix(digest, index_hash(file->path, file->path_bytes));
		digest = digest_mix(digest, posting->hits);
		digest = digest_mix(digest, posting->first_line);
	}
	return digest;
}

int query_trace(struct query_index *index, const char *word, struct query_path *path)
{
	uint32_t word_bytes = (uint32_t)strlen(word);
	const struct index_term *term = term_follow(index, word, word_bytes);
	const struct index_chunk *chunk = term ? chunk_follow(index, term->first) : NULL;

	if (!chunk)
		return -ENOENT;
	*path = (struct query_path){
		.root = (uintptr_t)index->root,
		.bucket = (uintptr_t)bucket_of(index, term->hash),
		.term = (uintptr_t)term,
		.posting = (uintptr_t)&chunk->postings[0],
		.file = (uintptr_t)chunk->postings[0].file,
	};
	return 0;
}

/* splitmix64: any seed will do. */
static uint64_t draw_next(uint64_t *state)
{
	uint64_t z = *state += UINT64_C(0x9e3779b97f4a7c15);

	z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
	z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
	return z ^ (z >> 31);
}

/* The first term of a random bucket that has one and that lies within the bounds, or any after some tries. */
static const struct index_term *draw_term(struct query_index *index, uint64_t *state, uint32_t files_min,
                                          uint32_t files_max)
{
	const struct index_term *term = NULL;

	for (int tries = 0; tries < 1000 * DRAW_TRIES; tries++) {
		const struct index_term *found = *bucket_of(index, draw_next(state));

		if (!found)
			continue;
		term = found;
		if (term->files >= files_min && term->files <= files_max)
			break;
	}
	return term;
}

int query_draw(struct query_index *index, uint64_t seed, char (*queries)[QUERY_BYTES_MAX + 1], uint32_t count)
{
	struct query_answer answer;

	for (uint32_t i = 0; i < count && !index->error; i++) {
		const struct index_term *a, *b;

		if (i % 4 != 3) {
			a = draw_term(index, &seed, 1, UINT32_MAX);
			snprintf(queries[i], sizeof(queries[i]), "%s", a ? a->text : "");
			continue;
		}
		a = draw_term(index, &seed, DRAW_FILES_MIN, DRAW_FILES_MAX);
		for (int tries = 0; a && tries < DRAW_TRIES; tries++) {
			b = draw_term(index, &seed, DRAW_FILES_MIN, DRAW_FILES_MAX);
			snprintf(queries[i], sizeof(queries[i]), "%s AND %s", a->text, b->text);
			if (b != a && query_answer(index, queries[i], &answer) == 0 && answer.files > 0)
				break;
		}
	}
	return index->error;
}
