/* SPDX-License-Identifier: Apache-2.0 */
/*
 * index.c: writing the index.
 *
 * Nodes are linked as they are made, since nobody else can see them before the root has its name.  Chunks grow from 64
 * bytes to a kilobyte, so that a rare word costs a line of memory and a frequent one few allocations.
 */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE /* madvise */
#endif
#include "index.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include <dmem/dmem.h>

#ifndef MADV_COLLAPSE
#define MADV_COLLAPSE 25 /* Linux 6.1; Debian 12's C library does not know it */
#endif

#define BUCKETS_MIN 1024
#define HUGE_PAGE_BYTES ((uintptr_t)2 << 20)

/* Postings in the n-th chunk of a term: 64, 112, 256, 496, then 1,024 bytes. */
static const uint32_t chunk_capacities[] = {2, 4, 10, 20, 42};

static void *private_alloc(void *context, size_t bytes)
{
	(void)context;
	return malloc(bytes);
}

struct index_memory index_memory_private(void)
{
	return (struct index_memory){.alloc = private_alloc, .release = free, .context = NULL};
}

static void *shared_alloc(void *context, size_t bytes)
{
	return dmem_alloc_ex(context, bytes, NULL);
}

struct index_memory index_memory_shared(struct dmem_pool *pool)
{
	return (struct index_memory){.alloc = shared_alloc, .release = dmem_free, .context = pool};
}

/* FNV-1a, 64 bits, with a last mixing step because the low bits choose the bucket. */
uint64_t index_hash(const char *text, uint32_t text_bytes)
{
	uint64_t hash = UINT64_C(0xcbf29ce484222325);

	for (uint32_t i = 0; i < text_bytes; i++)
		hash = (hash ^ (unsigned char)text[i]) * UINT64_C(0x100000001b3);
	return hash ^ (hash >> 32);
}

static void *node_alloc(struct index_writer *writer, size_t bytes)
{
	void *node = writer->memory.alloc(writer->memory.context, bytes);

	if (!node)
		return NULL;
	if (writer->root)
		writer->root->node_bytes += bytes;
	if ((uintptr_t)node < writer->lowest)
		writer->lowest = (uintptr_t)node;
	if ((uintptr_t)node + bytes > writer->highest)
		writer->highest = (uintptr_t)node + bytes;
	return node;
}

static struct index_term **buckets_alloc(struct index_writer *writer, uint64_t count)
{
	struct index_term **buckets = node_alloc(writer, count * sizeof(*buckets));

	if (buckets)
		memset(buckets, 0, count * sizeof(*buckets));
	return buckets;
}

int index_begin(struct index_writer *writer, const struct index_memory *memory, uint64_t expected_terms)
{
	struct index_writer made = {.memory = *memory, .lowest = UINTPTR_MAX};
	uint64_t count = BUCKETS_MIN;

	while (count < expected_terms)
		count *= 2;
	made.root = node_alloc(&made, sizeof(*made.root));
	if (!made.root)
		return -errno;
	*made.root = (struct index_root){.magic = INDEX_MAGIC, .bucket_count = count, .node_bytes = sizeof(*made.root)};
	made.root->buckets = buckets_alloc(&made, count);
	if (!made.root->buckets) {
		int error = errno;

		memory->release(made.root);
		return -error;
	}
	*writer = made;
	return 0;
}

int index_add_file(struct index_writer *writer, const char *path, uint64_t text_bytes)
{
	struct index_root *root = writer->root;
	size_t path_bytes = strlen(path);
	struct index_file *file;

	if (path_bytes > INDEX_PATH_BYTES_MAX)
		return -ENAMETOOLONG;
	file = node_alloc(writer, sizeof(*file) + path_bytes + 1);
	if (!file)
		return -errno;
	*file = (struct index_file){.text_bytes = text_bytes, .number = (uint32_t)root->files};
	file->path_bytes = (uint32_t)path_bytes;
	memcpy(file->path, path, path_bytes + 1);
	if (root->last_file)
		root->last_file->next = file;
	else
		root->first_file = file;
	root->last_file = file;
	root->files++;
	root->text_bytes += text_bytes;
	return 0;
}

/* Twice as many buckets.  When there is no memory for them the chains just stay longer. */
static void buckets_grow(struct index_writer *writer)
{
	struct index_root *root = writer->root;
	uint64_t count = root->bucket_count * 2;
	struct index_term **grown = buckets_alloc(writer, count);

	if (!grown)
		return;
	for (uint64_t i = 0; i < root->bucket_count; i++) {
		for (struct index_term *term = root->buckets[i], *next; term; term = next) {
			struct index_term **bucket = &grown[term->hash & (count - 1)];

			next = term->next;
			term->next = *bucket;
			*bucket = term;
		}
	}
	root->node_bytes -= root->bucket_count * sizeof(*grown);
	writer->memory.release(root->buckets);
	root->buckets = grown;
	root->bucket_count = count;
}

static struct index_chunk *chunk_alloc(struct index_writer *writer, uint32_t capacity)
{
	struct index_chunk *chunk = node_alloc(writer, sizeof(*chunk) + capacity * sizeof(chunk->postings[0]));

	if (!chunk)
		return NULL;
	*chunk = (struct index_chunk){.capacity = capacity};
	writer->root->chunks++;
	return chunk;
}

struct index_term *index_add_term(struct index_writer *writer, const char *text, uint32_t text_bytes, uint64_t hash,
                                  uint32_t postings)
{
	struct index_root *root = writer->root;
	struct index_term **bucket;
	struct index_chunk *chunk;
	struct index_term *term;

	if (root->terms >= root->bucket_count)
		buckets_grow(writer);
	chunk = chunk_alloc(writer, postings);
	if (!chunk)
		return NULL;
	term = node_alloc(writer, sizeof(*term) + text_bytes + 1);
	if (!term) {
		int error = errno;

		writer->memory.release(chunk);
		root->chunks--;
		root->node_bytes -= sizeof(*chunk) + postings * sizeof(chunk->postings[0]);
		errno = error;
		return NULL;
	}
	bucket = &root->buckets[hash & (root->bucket_count - 1)];
	*term = (struct index_term){.next = *bucket, .first = chunk, .last = chunk, .hash = hash, .text_bytes = text_bytes};
	memcpy(term->text, text, text_bytes);
	term->text[text_bytes] = '\0';
	*bucket = term;
	root->terms++;
	return term;
}

static struct index_term *term_find(const struct index_root *root, const char *text, uint32_t text_bytes, uint64_t hash)
{
	struct index_term *term = root->buckets[hash & (root->bucket_count - 1)];

	while (term && (term->hash != hash || term->text_bytes != text_bytes || memcmp(term->text, text, text_bytes) != 0))
		term = term->next;
	return term;
}

/* Room for one more posting at the end of a term's list. */
static int term_extend(struct index_writer *writer, struct index_term *term)
{
	size_t last = sizeof(chunk_capacities) / sizeof(chunk_capacities[0]) - 1;
	struct index_chunk *chunk;
	size_t i = 0;

	while (i < last && chunk_capacities[i] <= term->last->capacity)
		i++;
	chunk = chunk_alloc(writer, chunk_capacities[i]);
	if (!chunk)
		return -errno;
	term->last->next = chunk;
	term->last = chunk;
	return 0;
}

int index_add_word(struct index_writer *writer, const char *text, uint32_t text_bytes, uint32_t line)
{
	struct index_file *file = writer->root->last_file;
	uint64_t hash = index_hash(text, text_bytes);
	struct index_term *term = term_find(writer->root, text, text_bytes, hash);
	struct index_posting *posting;

	if (!term)
		term = index_add_term(writer, text, text_bytes, hash, chunk_capacities[0]);
	if (!term)
		return -errno;
	posting = term->last->count ? &term->last->postings[term->last->count - 1] : NULL;
	if (!posting || posting->file != file) {
		if (term->last->count == term->last->capacity) {
			int error = term_extend(writer, term);

			if (error)
				return error;
		}
		posting = &term->last->postings[term->last->count++];
		*posting = (struct index_posting){.file = file, .number = file->number, .first_line = line};
		term->files++;
		writer->root->postings++;
	}
	posting->last_line = line;
	posting->hits++;
	term->hits++;
	writer->root->words++;
	return 0;
}

uint64_t index_settle(const struct index_writer *writer)
{
	uintptr_t at = writer->lowest & ~(HUGE_PAGE_BYTES - 1);
	int error = errno;
	uint64_t made = 0;

	for (; at < writer->highest; at += HUGE_PAGE_BYTES)
		if (madvise((void *)at, HUGE_PAGE_BYTES, MADV_COLLAPSE) == 0)
			made++;
	errno = error;
	return made;
}

static int term_publish(const struct index_term *term)
{
	int error = dmem_publish(term, sizeof(*term) + term->text_bytes + 1);

	for (const struct index_chunk *chunk = term->first; chunk && !error; chunk = chunk->next)
		error = dmem_publish(chunk, sizeof(*chunk) + chunk->count * sizeof(chunk->postings[0]));
	return error;
}

/* Node by node, for pools that can't tell what was stored. */
static int nodes_publish(const struct index_root *root)
{
	int error = dmem_publish(root->buckets, root->bucket_count * sizeof(root->buckets[0]));

	for (const struct index_file *file = root->first_file; file && !error; file = file->next)
		error = dmem_publish(file, sizeof(*file) + file->path_bytes + 1);
	for (uint64_t i = 0; i < root->bucket_count && !error; i++)
		for (const struct index_term *term = root->buckets[i]; term && !error; term = term->next)
			error = term_publish(term);
	return error ? error : dmem_publish(root, sizeof(*root));
}

int index_publish(struct dmem_pool *pool, const struct index_root *root)
{
	int error = dmem_publish_all(pool);

	return error == DMEM_E_UNSUPPORTED ? nodes_publish(root) : error;
}
