/* SPDX-License-Identifier: Apache-2.0 */
/* flat.c: serialize, send, receive, rebuild. */
#include "flat.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define BUFFER_BYTES ((size_t)1 << 20)
#define FILES_MAX UINT32_MAX

struct flat_header {
	uint64_t magic;
	uint64_t files;
	uint64_t terms;
	uint64_t words;
};

struct flat_file {
	uint64_t text_bytes;
	uint32_t path_bytes;
	uint32_t reserved;
};

struct flat_term {
	uint64_t hash;
	uint64_t hits;
	uint32_t files;
	uint32_t text_bytes;
};

struct flat_posting {
	uint32_t number;
	uint32_t hits;
	uint32_t first_line;
	uint32_t last_line;
};

/* Bytes between `begin` and `end` wait to be sent, or to be taken by the parser. */
struct stream {
	int fd;
	size_t begin, end;
	uint64_t total_bytes;
	char *buffer;
};

static int stream_flush(struct stream *stream)
{
	while (stream->begin < stream->end) {
		ssize_t got = write(stream->fd, stream->buffer + stream->begin, stream->end - stream->begin);

		if (got < 0 && errno != EINTR)
			return -errno;
		if (got > 0)
			stream->begin += (size_t)got;
	}
	stream->total_bytes += stream->end;
	stream->begin = stream->end = 0;
	return 0;
}

static int stream_put(struct stream *stream, const void *from, size_t bytes)
{
	if (BUFFER_BYTES - stream->end < bytes) {
		int error = stream_flush(stream);

		if (error)
			return error;
	}
	memcpy(stream->buffer + stream->end, from, bytes);
	stream->end += bytes;
	return 0;
}

/* Have at least `bytes` in the buffer. */
static int stream_fill(struct stream *stream, size_t bytes)
{
	if (stream->end - stream->begin >= bytes)
		return 0;
	memmove(stream->buffer, stream->buffer + stream->begin, stream->end - stream->begin);
	stream->end -= stream->begin;
	stream->begin = 0;
	while (stream->end < bytes) {
		ssize_t got = read(stream->fd, stream->buffer + stream->end, BUFFER_BYTES - stream->end);

		if (got == 0)
			return -EPROTO;
		if (got < 0 && errno != EINTR)
			return -errno;
		if (got > 0)
			stream->end += (size_t)got;
	}
	return 0;
}

static int stream_get(struct stream *stream, void *to, size_t bytes)
{
	int error = stream_fill(stream, bytes);

	if (error)
		return error;
	memcpy(to, stream->buffer + stream->begin, bytes);
	stream->begin += bytes;
	return 0;
}

static int files_send(struct stream *stream, const struct index_root *root)
{
	int error = 0;

	for (const struct index_file *file = root->first_file; file && !error; file = file->next) {
		struct flat_file flat = {.text_bytes = file->text_bytes, .path_bytes = file->path_bytes};

		error = stream_put(stream, &flat, sizeof(flat));
		if (!error)
			error = stream_put(stream, file->path, file->path_bytes);
	}
	return error;
}

static int postings_send(struct stream *stream, const struct index_term *term)
{
	int error = 0;

	for (const struct index_chunk *chunk = term->first; chunk; chunk = chunk->next) {
		for (uint32_t i = 0; i < chunk->count && !error; i++) {
			const struct index_posting *p = &chunk->postings[i];
			struct flat_posting flat = {p->number, p->hits, p->first_line, p->last_line};

			error = stream_put(stream, &flat, sizeof(flat));
		}
	}
	return error;
}

static int terms_send(struct stream *stream, const struct index_root *root)
{
	int error = 0;

	for (uint64_t i = 0; i < root->bucket_count; i++) {
		for (const struct index_term *term = root->buckets[i]; term && !error; term = term->next) {
			struct flat_term flat = {term->hash, term->hits, term->files, term->text_bytes};

			error = stream_put(stream, &flat, sizeof(flat));
			if (!error)
				error = stream_put(stream, term->text, term->text_bytes);
			if (!error)
				error = postings_send(stream, term);
		}
	}
	return error;
}

int flat_send(int fd, const struct index_root *root, uint64_t *sent_bytes)
{
	struct flat_header header = {INDEX_MAGIC, root->files, root->terms, root->words};
	struct stream stream = {.fd = fd, .buffer = malloc(BUFFER_BYTES)};
	int error;

	if (!stream.buffer)
		return -ENOMEM;
	error = stream_put(&stream, &header, sizeof(header));
	if (!error)
		error = files_send(&stream, root);
	if (!error)
		error = terms_send(&stream, root);
	if (!error)
		error = stream_flush(&stream);
	if (!error && sent_bytes)
		*sent_bytes = stream.total_bytes;
	free(stream.buffer);
	return error;
}

/* The files, and a table that turns their numbers into pointers again. */
static int files_receive(struct stream *stream, struct index_writer *writer, struct index_file **table, uint64_t files)
{
	char path[INDEX_PATH_BYTES_MAX + 1];

	for (uint64_t i = 0; i < files; i++) {
		struct flat_file flat;
		int error = stream_get(stream, &flat, sizeof(flat));

		if (!error && flat.path_bytes > INDEX_PATH_BYTES_MAX)
			error = -EPROTO;
		if (!error)
			error = stream_get(stream, path, flat.path_bytes);
		if (error)
			return error;
		path[flat.path_bytes] = '\0';
		error = index_add_file(writer, path, flat.text_bytes);
		if (error)
			return error;
		table[i] = writer->root->last_file;
	}
	return 0;
}

static int postings_receive(struct stream *stream, struct index_chunk *chunk, struct index_file *const *table,
                            uint64_t files)
{
	for (uint32_t i = 0; i < chunk->capacity; i++) {
		struct flat_posting flat;
		int error = stream_get(stream, &flat, sizeof(flat));

		if (!error && flat.number >= files)
			error = -EPROTO;
		if (error)
			return error;
		chunk->postings[i] = (struct index_posting){table[flat.number], flat.number, flat.hits, flat.first_line,
		                                            flat.last_line};
	}
	chunk->count = chunk->capacity;
	return 0;
}

static int term_receive(struct stream *stream, struct index_writer *writer, struct index_file *const *table,
                        uint64_t files)
{
	char text[INDEX_WORD_BYTES_MAX];
	struct index_term *term;
	struct flat_term flat;
	int error = stream_get(stream, &flat, sizeof(flat));

	if (!error && (flat.text_bytes > INDEX_WORD_BYTES_MAX || flat.files == 0 || flat.files > files))
		error = -EPROTO;
	if (!error)
		error = stream_get(stream, text, flat.text_bytes);
	if (error)
		return error;
	term = index_add_term(writer, text, flat.text_bytes, flat.hash, flat.files);
	if (!term)
		return -errno;
	term->hits = flat.hits;
	term->files = flat.files;
	writer->root->postings += flat.files;
	return postings_receive(stream, term->first, table, files);
}

int flat_receive(int fd, const struct index_memory *memory, struct index_writer *writer)
{
	struct stream stream = {.fd = fd, .buffer = malloc(BUFFER_BYTES)};
	struct index_file **table = NULL;
	struct flat_header header;
	int error = stream.buffer ? stream_get(&stream, &header, sizeof(header)) : -ENOMEM;

	if (!error && (header.magic != INDEX_MAGIC || header.files > FILES_MAX))
		error = -EPROTO;
	if (error)
		goto out;
	table = malloc((header.files + 1) * sizeof(struct index_file *));
	error = table ? index_begin(writer, memory, header.terms) : -ENOMEM;
	if (!error)
		error = files_receive(&stream, writer, table, header.files);
	for (uint64_t i = 0; i < header.terms && !error; i++)
		error = term_receive(&stream, writer, table, header.files);
	if (!error)
		writer->root->words = header.words;
out:
	free(table);
	free(stream.buffer);
	return error;
}
