/* SPDX-License-Identifier: Apache-2.0 */
/*
 * index.h: an inverted index made of nodes and raw pointers.
 *
 *	root -> buckets[hash] -> term -> term -> ...             words whose hashes share a bucket
 *	                          |
 *	                          +-> chunk -> chunk -> ...       in which files the word is, in the files' order
 *	                                |
 *	                                +-> posting: file, lines, hits
 *	                                       |
 *	root -> file -> file -> ...  <---------+                  one node a file
 *
 * The code does not know where its nodes live: it is given an allocator.  In a pool the nodes mean the same in every
 * member; in private memory it is an ordinary index (that is what the comparison with a socket rebuilds).
 *
 * Invariant: the structure is written by one process only, and by nobody once index_publish() has returned and the root
 * has got its name.  So readers need no lock: they refresh a node, then read it (query.h does that).
 */
#ifndef DEMO_INDEX_H
#define DEMO_INDEX_H

#include <stddef.h>
#include <stdint.h>

struct dmem_pool;

#define INDEX_WORD_BYTES_MAX 63 /* longer words are not indexed */
#define INDEX_PATH_BYTES_MAX 511
#define INDEX_MAGIC UINT64_C(0x3178646e69656d64) /* "dmeindx1" */

struct index_file {
	struct index_file *next;
	uint64_t text_bytes;
	uint32_t number; /* 0, 1, 2, ... in the order of indexing; postings are sorted by it */
	uint32_t path_bytes;
	char path[]; /* ends with a zero that path_bytes does not count */
};

struct index_posting {
	struct index_file *file;
	uint32_t number; /* the file's, so that lists can be merged without a look at the files */
	uint32_t hits;
	uint32_t first_line;
	uint32_t last_line;
};

struct index_chunk {
	struct index_chunk *next;
	uint32_t count;
	uint32_t capacity;
	struct index_posting postings[];
};

struct index_term {
	struct index_term *next; /* in the bucket */
	struct index_chunk *first;
	struct index_chunk *last; /* where the writer appends */
	uint64_t hash;
	uint64_t hits;  /* over all files */
	uint32_t files; /* postings in all chunks */
	uint32_t text_bytes;
	char text[]; /* ends with a zero that text_bytes does not count */
};

struct index_root {
	uint64_t magic;
	struct index_term **buckets;
	uint64_t bucket_count; /* a power of two */
	struct index_file *first_file;
	struct index_file *last_file;
	uint64_t files;
	uint64_t terms;
	uint64_t chunks;
	uint64_t postings;
	uint64_t words;      /* words of the text that were indexed, each occurrence */
	uint64_t text_bytes; /* of all files */
	uint64_t node_bytes; /* of all nodes, this one and the buckets included */
};

/* Where nodes come from. */
struct index_memory {
	void *(*alloc)(void *context, size_t bytes); /* NULL with errno when there is none */
	void (*release)(void *node);
	void *context;
};

/* One that writes an index.  index_begin() makes it, and the memory it uses stays with the index. */
struct index_writer {
	struct index_root *root;
	struct index_memory memory;
	uintptr_t lowest, highest; /* the nodes lie between these */
};

/* Memory of the process, and memory of a pool that its members share. */
struct index_memory index_memory_private(void);
struct index_memory index_memory_shared(struct dmem_pool *pool);

/* An empty index.  `expected_terms` sizes the buckets; they grow as needed.  0 or -errno. */
int index_begin(struct index_writer *writer, const struct index_memory *memory, uint64_t expected_terms);

/* The file that the following words are in.  0 or -errno. */
int index_add_file(struct index_writer *writer, const char *path, uint64_t text_bytes);

/* One occurrence of a word in the current file.  0 or -errno. */
int index_add_word(struct index_writer *writer, const char *text, uint32_t text_bytes, uint32_t line);

/* A term that is not in the index yet, with one chunk that has room for all of its postings; the caller fills it.  For
 * whoever knows the sizes beforehand.  NULL with errno. */
struct index_term *index_add_term(struct index_writer *writer, const char *text, uint32_t text_bytes, uint64_t hash,
                                  uint32_t postings);

/* The last step of building: ask the kernel to back the nodes by huge pages.  A reader that has never touched the index
 * then pays a page fault for 2 MiB of it instead of one for 64 KiB.  Where the kernel can't, nothing changes.  Returns
 * how many huge pages there are. */
uint64_t index_settle(const struct index_writer *writer);

/* Make every node visible to other members.  Call once, before dmem_root_set().  0 or a dmem error. */
int index_publish(struct dmem_pool *pool, const struct index_root *root);

uint64_t index_hash(const char *text, uint32_t text_bytes);

#endif
