/* SPDX-License-Identifier: Apache-2.0 */
/*
 * demo.h: the processes of the demo, and what they tell each other.
 *
 *	conductor   this terminal's process; touches no pool, starts the others, compares and prints
 *	host-a      the writer: builds the index in the pool
 *	host-b, -c  readers: attach the pool and follow the writer's pointers
 *	by-socket   the comparison: receives the index as bytes and rebuilds it in its own memory
 *
 * They are processes of one machine that DMEM_HOST_ID makes members of different hosts.  Each is connected with the
 * conductor by a socket (standard input and output), and messages are the structs below.  That channel starts and stops
 * clocks; the index itself goes through the pool, or through the socket between writer and by-socket (STREAM_FD).
 */
#ifndef DEMO_DEMO_H
#define DEMO_DEMO_H

#include <stddef.h>
#include <stdint.h>

#include "index.h"
#include "query.h"

#define DEMO_QUERIES 1000
#define DEMO_SHOWN_MAX 6
#define DEMO_PATH_BYTES 256
#define DEMO_ROOT_NAME "index"
#define DEMO_SEED 1
#define STREAM_FD 3 /* in the writer and in by-socket: the two ends of one stream socket */

/* Conductor to writer. */
struct demo_order {
	char uri[256];
	char folders[4][DEMO_PATH_BYTES];
	char shown[DEMO_SHOWN_MAX][QUERY_BYTES_MAX + 1]; /* the first of them that is found is traced */
	uint32_t shown_count;
	uint32_t reserved;
};

/* Writer to conductor, when the index is complete and nobody knows of it yet. */
struct demo_built {
	int error;
	int full; /* not 0: the pool's file system was full, so the index covers a part of the text */
	uint64_t files, files_left_out, text_bytes;
	uint64_t terms, chunks, postings, words, node_bytes, huge_pages;
	uint64_t index_ns, settle_ns;
	uint64_t window, window_bytes, pool_bytes, leased_bytes;
	char traced[INDEX_WORD_BYTES_MAX + 1];
	char queries[DEMO_QUERIES][QUERY_BYTES_MAX + 1];
};

/* Conductor to readers. */
struct demo_task {
	char uri[256];
	char traced[INDEX_WORD_BYTES_MAX + 1];
	char shown[DEMO_SHOWN_MAX][QUERY_BYTES_MAX + 1];
	uint32_t shown_count;
	uint32_t reserved;
	char queries[DEMO_QUERIES][QUERY_BYTES_MAX + 1];
};

/* An answer for people. */
struct demo_shown {
	uint64_t hits, took_ns;
	uint32_t files, top_count;
	struct {
		char path[DEMO_PATH_BYTES];
		uint32_t line, hits;
	} top[QUERY_TOP];
};

/* Every process to the conductor, when its part is done.  Times are of the monotonic clock, which they share because
 * they run on one machine. */
struct demo_report {
	int error;
	int pid;
	uint64_t begin_ns; /* writer: before index_publish(); when sending: before the first byte */
	uint64_t root_ns;  /* writer: the root is set; reader: it has found the index */
	uint64_t first_ns, last_ns; /* reader: the first answer, the last of 1,000 */
	uint64_t sent_bytes;
	struct query_path path;
	uint64_t digests[DEMO_QUERIES];
	struct demo_shown shown[DEMO_SHOWN_MAX];
};

int writer_main(void);
int reader_main(void);
int by_socket_main(void);

/* process.c */
struct demo_process {
	const char *name;
	int pid; /* 0: not started, or waited for */
	int fd;
};

/* Start this program again as `role`; `stream` becomes its STREAM_FD unless it is -1.  0 or -errno. */
int process_start(struct demo_process *process, const char *name, const char *role, int stream);
/* End it if it still runs, and wait for it. */
void process_stop(struct demo_process *process);
/* Wait for its end.  0, or -ECHILD when that was not exit(0). */
int process_wait(struct demo_process *process);
/* Whole messages.  0 or -errno; -EPIPE when the other side has gone. */
int message_send(int fd, const void *from, size_t bytes);
int message_receive(int fd, void *to, size_t bytes);
uint64_t clock_ns(void);
/* A failure inside a process: print it, return it. */
int complain(const char *who, const char *what, int error);

/* answers.c: what readers of both kinds do with an index. */
int answers_make(struct query_index *index, const struct demo_task *task, struct demo_report *report);

/* print.c */
void print_title(const char *title);
void print_pool(const char *uri, const struct demo_built *built);
void print_built(const struct demo_built *built);
void print_addresses(const char *word, const struct demo_report *a, const struct demo_report *b,
                     const struct demo_report *c);
void print_answers(const struct demo_order *order, const struct demo_report *report);
void print_times(const struct demo_built *built, const struct demo_report *handed, const struct demo_report *b,
                 const struct demo_report *c, const struct demo_report *sent, const struct demo_report *rebuilt);
int print_check(const char *what, int holds); /* returns 1 when it does not hold */

#endif
