/* SPDX-License-Identifier: Apache-2.0 */
/*
 * corpus.c: finding files, and cutting text into words.
 *
 * A word is a run of letters, digits and underscores that does not start with a digit, in lower case.  A name that is
 * made of parts is indexed whole and by its parts: pthread_mutex_lock, pthread, mutex, lock.
 */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE /* fts */
#endif
#include "corpus.h"

#include <errno.h>
#include <fcntl.h>
#include <fts.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "index.h"

#define FILE_BYTES_MAX ((size_t)16 << 20)
#define SNIFF_BYTES 8192 /* a zero byte in the first of them means: no text */
#define WORD_BYTES_MIN 2

static int by_name(const FTSENT **a, const FTSENT **b)
{
	return strcmp((*a)->fts_name, (*b)->fts_name);
}

static int list_add(struct corpus *corpus, const char *path, uint64_t bytes)
{
	if (corpus->count == corpus->capacity) {
		size_t capacity = corpus->capacity ? corpus->capacity * 2 : 1024;
		char **paths = realloc(corpus->paths, capacity * sizeof(*paths));

		if (!paths)
			return -ENOMEM;
		corpus->paths = paths;
		corpus->capacity = capacity;
	}
	corpus->paths[corpus->count] = strdup(path);
	if (!corpus->paths[corpus->count])
		return -ENOMEM;
	corpus->count++;
	corpus->bytes += bytes;
	return 0;
}

static int is_left_out(const FTSENT *entry)
{
	return entry->fts_level > 0 && (strcmp(entry->fts_name, ".git") == 0 || strcmp(entry->fts_name, "build") == 0);
}

int corpus_find(struct corpus *corpus, const char *folder)
{
	char *name = strdup(folder);
	char *roots[] = {name, NULL};
	FTS *tree = name ? fts_open(roots, FTS_PHYSICAL | FTS_NOCHDIR, by_name) : NULL;
	int error = tree ? 0 : -ENOMEM;
	FTSENT *entry;

	while (!error && (entry = fts_read(tree))) {
		if (entry->fts_info == FTS_D && is_left_out(entry))
			fts_set(tree, entry, FTS_SKIP);
		else if (entry->fts_info == FTS_F && entry->fts_pathlen <= INDEX_PATH_BYTES_MAX)
			error = list_add(corpus, entry->fts_path, (uint64_t)entry->fts_statp->st_size);
	}
	if (tree)
		fts_close(tree);
	free(name);
	return error;
}

void corpus_free(struct corpus *corpus)
{
	for (size_t i = 0; i < corpus->count; i++)
		free(corpus->paths[i]);
	free(corpus->paths);
	*corpus = (struct corpus){0};
}

/* The whole file into `buffer`.  Its length, 0 when there is no text in it. */
static size_t text_read(const char *path, char *buffer)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	size_t bytes = 0;
	ssize_t got = -1;

	if (fd < 0)
		return 0;
	while (bytes < FILE_BYTES_MAX && (got = read(fd, buffer + bytes, FILE_BYTES_MAX - bytes)) > 0)
		bytes += (size_t)got;
	close(fd);
	/* Ended by its limit or by an error, not by the end of the file. */
	if (got != 0 || memchr(buffer, '\0', bytes < SNIFF_BYTES ? bytes : SNIFF_BYTES))
		return 0;
	return bytes;
}

/* What a byte is in a word: its lower case, or 0 when it ends the word.  Bytes above 127 do. */
static char word_byte(char c)
{
	if ((c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '_')
		return c;
	return c >= 'A' && c <= 'Z' ? (char)(c - 'A' + 'a') : '\0';
}

static int part_add(struct index_writer *writer, const char *part, uint32_t bytes, uint32_t line)
{
	if (bytes < WORD_BYTES_MIN || (*part >= '0' && *part <= '9'))
		return 0;
	return index_add_word(writer, part, bytes, line);
}

/* A name as a whole, and its parts when it has several. */
static int name_add(struct index_writer *writer, const char *name, uint32_t bytes, uint32_t line)
{
	uint32_t begin = 0;
	int error = part_add(writer, name, bytes, line);

	if (!memchr(name, '_', bytes))
		return error;
	for (uint32_t i = 0; i <= bytes && !error; i++) {
		if (i < bytes && name[i] != '_')
			continue;
		error = part_add(writer, name + begin, i - begin, line);
		begin = i + 1;
	}
	return error;
}

static int words_add(struct index_writer *writer, const char *text, size_t text_bytes)
{
	char name[INDEX_WORD_BYTES_MAX];
	uint32_t line = 1, bytes = 0;
	int error = 0;

	for (size_t i = 0; i <= text_bytes && !error; i++) {
		char c = i < text_bytes ? word_byte(text[i]) : '\0';

		if (c) {
			if (bytes < sizeof(name))
				name[bytes] = c;
			bytes++;
			continue;
		}
		if (bytes >= WORD_BYTES_MIN && bytes <= sizeof(name))
			error = name_add(writer, name, bytes, line);
		bytes = 0;
		line += i < text_bytes && text[i] == '\n';
	}
	return error;
}

int corpus_index(struct index_writer *writer, const char *path)
{
	static char buffer[FILE_BYTES_MAX];
	size_t bytes = text_read(path, buffer);
	int error;

	if (bytes == 0)
		return 1;
	error = index_add_file(writer, path, bytes);
	return error ? error : words_add(writer, buffer, bytes);
}
