/* SPDX-License-Identifier: Apache-2.0 */
/*
 * lab_share: the demo's main job in two commands for two hosts: an index of words, built with plain pointers in a pool by one
 * host, walked by another through the same addresses.
 *
 *   lab_share build URI WORDS        index the text of this machine's headers, until WORDS different words are in it
 *   lab_share read URI               walk the index, check every pointer of it
 *   lab_share note URI TEXT          hang a note on the index, which the next reader prints
 *
 * build and read end with one equal line: how many words and places there are, a sum over their contents, a sum over the
 * addresses of all nodes, and the address of the index.  Every node also holds its own address: a window that is off by
 * anything shows in the first node.  Nodes are published when they are complete and refreshed before they are followed, so
 * that the pool need not be coherent.
 */
#include <ctype.h>
#include <errno.h>
#include <glob.h>
#include <inttypes.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <dmem/dmem.h>

#define BUCKETS 256
#define WORD_BYTES 40
#define ROOT "lab-index"

/* One place where a word stands. */
struct place {
	struct place *self;
	struct place *next;
	uint32_t file;
	uint32_t line;
};

struct word {
	struct word *self;
	struct word *next;
	struct place *places;
	uint64_t count;
	char text[WORD_BYTES];
};

struct note {
	struct note *self;
	struct note *next;
	char text[64];
};

struct index {
	struct index *self;
	uint64_t words;
	struct note *notes;
	struct word *buckets[BUCKETS];
};

struct sums {
	uint64_t words, places, contents, addresses;
};

static int complain(const char *what, int error)
{
	fprintf(stderr, "lab_share: %s: %s\n%s\n", what, dmem_strerror(error), dmem_last_error());
	return 1;
}

static uint64_t hash(const char *text)
{
	uint64_t value = UINT64_C(0xcbf29ce484222325);

	for (; *text != '\0'; text++)
		value = (value ^ (unsigned char)*text) * UINT64_C(0x100000001b3);
	return value;
}

/* A zeroed block that knows where it is; NULL when there is no memory. */
static void *make(struct dmem_pool *pool, size_t bytes)
{
	struct dmem_alloc_options options = DMEM_ALLOC_OPTIONS_DEFAULT;
	void **block;

	options.zeroed = 1;
	block = dmem_alloc_ex(pool, bytes, &options);
	if (block != NULL)
		*block = block; /* `self` is the first member of each */
	return block;
}

static int add_place(struct dmem_pool *pool, struct word *word, uint32_t file, uint32_t line)
{
	struct place *place = make(pool, sizeof(*place));

	if (place == NULL)
		return -ENOMEM;
	place->file = file;
	place->line = line;
	place->next = word->places;
	word->places = place;
	word->count++;
	return dmem_publish(place, sizeof(*place));
}

/* Our own index until it has its name, so nothing of it has to be refreshed. */
static int add_word(struct dmem_pool *pool, struct index *index, const char *text, uint32_t file, uint32_t line)
{
	struct word **bucket = &index->buckets[hash(text) % BUCKETS], *word = *bucket;
	int error;

	while (word != NULL && strcmp(word->text, text) != 0)
		word = word->next;
	if (word == NULL) {
		word = make(pool, sizeof(*word));
		if (word == NULL)
			return -ENOMEM;
		snprintf(word->text, sizeof(word->text), "%s", text);
		word->next = *bucket;
		*bucket = word;
		index->words++;
	}
	error = add_place(pool, word, file, line);
	return error ? error : dmem_publish(word, sizeof(*word));
}

static int add_line(struct dmem_pool *pool, struct index *index, char *text, uint32_t file, uint32_t line, uint64_t words)
{
	for (char *at = text; *at != '\0' && index->words < words;) {
		char *start = at;
		int error;

		while (isalpha((unsigned char)*at))
			at++;
		if (at - start > 2 && at - start < WORD_BYTES) {
			char word[WORD_BYTES];

			snprintf(word, sizeof(word), "%.*s", (int)(at - start), start);
			error = add_word(pool, index, word, file, line);
			if (error)
				return error;
		}
		at += *at != '\0' && at == start;
	}
	return 0;
}

static int add_files(struct dmem_pool *pool, struct index *index, uint64_t words)
{
	char line[1024];
	glob_t found;
	int error = 0;

	if (glob("/usr/include/*.h", 0, NULL, &found) != 0)
		return -ENOENT;
	for (size_t i = 0; i < found.gl_pathc && index->words < words && error == 0; i++) {
		FILE *file = fopen(found.gl_pathv[i], "r");
		uint32_t number = 0;

		while (file != NULL && error == 0 && index->words < words && fgets(line, sizeof(line), file) != NULL)
			error = add_line(pool, index, line, (uint32_t)i, ++number, words);
		if (file != NULL)
			fclose(file);
	}
	globfree(&found);
	return error == 0 && index->words < words ? -ENODATA : error;
}

/* 0, or EFAULT's code when the node does not lie where its builder had it. */
static int check(const void *node, size_t bytes, struct sums *sums)
{
	int error = node == NULL ? -ENOENT : dmem_refresh(node, bytes);

	if (error == 0 && *(void *const *)node != node) {
		fprintf(stderr, "lab_share: the node at %p says that it is at %p\n", node, *(void *const *)node);
		return -EFAULT;
	}
	sums->addresses += (uintptr_t)node;
	return error;
}

static int walk_word(const struct word *word, struct sums *sums)
{
	uint64_t count = 0;
	int error = 0;

	sums->words++;
	sums->contents += hash(word->text);
	for (const struct place *place = word->places; place != NULL && error == 0; place = place->next) {
		error = check(place, sizeof(*place), sums);
		sums->contents += (uint64_t)place->file << 32 | place->line;
		count++;
	}
	sums->places += count;
	return error == 0 && count != word->count ? -ENODATA : error;
}

static int walk(const struct index *index, struct sums *sums)
{
	int error = check(index, sizeof(*index), sums);

	for (unsigned i = 0; i < BUCKETS && error == 0; i++) {
		for (const struct word *word = index->buckets[i]; word != NULL && error == 0; word = word->next) {
			error = check(word, sizeof(*word), sums);
			if (error == 0)
				error = walk_word(word, sums);
		}
	}
	return error == 0 && sums->words != index->words ? -ENODATA : error;
}

static int print(const struct index *index)
{
	struct sums sums = {0};
	int error = walk(index, &sums);

	if (error)
		return complain("the walk", error);
	for (const struct note *note = index->notes; note != NULL && error == 0; note = note->next) {
		struct sums ignored = {0};

		error = check(note, sizeof(*note), &ignored);
		if (error == 0)
			printf("note: %.63s\n", note->text);
	}
	printf("%" PRIu64 " words in %" PRIu64 " places, contents %016" PRIx64 ", addresses %016" PRIx64 ", index at %p\n", sums.words,
	       sums.places, sums.contents, sums.addresses, (const void *)index);
	return error ? complain("the notes", error) : 0;
}

static int build(struct dmem_pool *pool, uint64_t words)
{
	struct index *index = make(pool, sizeof(*index));
	int error = index == NULL ? -ENOMEM : add_files(pool, index, words);

	if (error == 0)
		error = dmem_publish(index, sizeof(*index));
	if (error == 0)
		error = dmem_root_set(pool, ROOT, index);
	return error ? complain("build", error) : print(index);
}

static int hang_note(struct dmem_pool *pool, const char *text)
{
	struct index *index = dmem_root_get(pool, ROOT);
	struct note *note = make(pool, sizeof(*note));
	int error = index == NULL || note == NULL ? -ENOENT : dmem_refresh(index, sizeof(*index));

	if (error == 0) {
		snprintf(note->text, sizeof(note->text), "%s", text);
		note->next = index->notes;
		error = dmem_publish(note, sizeof(*note));
	}
	if (error == 0) {
		index->notes = note;
		error = dmem_publish(index, sizeof(*index));
	}
	return error ? complain("note", error) : 0;
}

static int usage(void)
{
	fprintf(stderr, "lab_share: build URI WORDS, read URI, or note URI TEXT\n");
	return 2;
}

static int run(struct dmem_pool *pool, int argc, char **argv)
{
	if (strcmp(argv[1], "build") == 0 && argc == 4)
		return build(pool, strtoull(argv[3], NULL, 10));
	if (strcmp(argv[1], "note") == 0 && argc == 4)
		return hang_note(pool, argv[3]);
	if (strcmp(argv[1], "read") == 0 && argc == 3)
		return print(dmem_root_get(pool, ROOT));
	return usage();
}

int main(int argc, char **argv)
{
	struct dmem_pool *pool;
	int error, result;

	if (argc < 3)
		return usage();
	error = dmem_pool_attach(argv[2], NULL, &pool);
	if (error)
		return complain("attach", error);
	result = run(pool, argc, argv);
	error = dmem_pool_detach(pool);
	return error ? complain("detach", error) : result;
}
