/* SPDX-License-Identifier: Apache-2.0 */
/* writer.c: builds the index in the pool, hands it over by setting a root, then sends it as bytes for comparison. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <dmem/dmem.h>

#include "corpus.h"
#include "demo.h"
#include "flat.h"

#define PROGRESS_TTY_NS UINT64_C(100000000)
#define PROGRESS_LOG_NS UINT64_C(5000000000)

struct progress {
	uint64_t last_ns;
	int tty;
};

static void progress_show(struct progress *progress, size_t done, size_t count)
{
	uint64_t now = clock_ns();

	if (now - progress->last_ns < (progress->tty ? PROGRESS_TTY_NS : PROGRESS_LOG_NS))
		return;
	progress->last_ns = now;
	fprintf(stderr, "%s   indexing: %zu of %zu files, %zu %%%s", progress->tty ? "\r" : "", done, count,
	        done * 100 / count, progress->tty ? " \033[K" : "\n");
}

static int corpus_collect(struct corpus *corpus, const struct demo_order *order)
{
	int error = 0;

	for (int i = 0; i < 4 && order->folders[i][0] && !error; i++)
		error = corpus_find(corpus, order->folders[i]);
	if (!error && corpus->count == 0)
		error = -ENOENT;
	return error;
}

/* All text, as far as the pool holds it. */
static int corpus_write(struct index_writer *writer, const struct corpus *corpus, struct demo_built *built)
{
	struct progress progress = {.last_ns = clock_ns(), .tty = isatty(STDERR_FILENO)};
	int result = 0;

	for (size_t i = 0; i < corpus->count && result >= 0; i++) {
		result = corpus_index(writer, corpus->paths[i]);
		if (result == 1)
			built->files_left_out++;
		progress_show(&progress, i, corpus->count);
	}
	if (progress.tty)
		fprintf(stderr, "\r\033[K");
	built->full = result == -ENOMEM && writer->root->terms > 0;
	return result < 0 && !built->full ? result : 0;
}

static int index_build(struct dmem_pool *pool, const struct demo_order *order, struct index_writer *writer,
                       struct demo_built *built)
{
	struct index_memory memory = index_memory_shared(pool);
	struct corpus corpus = {0};
	uint64_t begin = clock_ns();
	int error = corpus_collect(&corpus, order);

	if (!error)
		error = index_begin(writer, &memory, 0);
	if (!error)
		error = corpus_write(writer, &corpus, built);
	corpus_free(&corpus);
	built->index_ns = clock_ns() - begin;
	if (error)
		return error;
	begin = clock_ns();
	built->huge_pages = index_settle(writer);
	built->settle_ns = clock_ns() - begin;
	return 0;
}

static int built_describe(struct dmem_pool *pool, const struct index_root *root, struct demo_built *built)
{
	struct dmem_pool_info info = {.struct_bytes = sizeof(info)};
	int error = dmem_pool_info(pool, &info);

	built->files = root->files;
	built->text_bytes = root->text_bytes;
	built->terms = root->terms;
	built->chunks = root->chunks;
	built->postings = root->postings;
	built->words = root->words;
	built->node_bytes = root->node_bytes;
	if (error)
		return error;
	built->window = info.base;
	built->window_bytes = info.span_bytes;
	built->pool_bytes = info.size_bytes;
	built->leased_bytes = info.leased_bytes;
	return 0;
}

/* The first word of the shown queries that is in the index, else the first drawn one. */
static void traced_choose(struct query_index *own, const struct demo_order *order, struct demo_built *built)
{
	struct query_path path;

	for (uint32_t i = 0; i < order->shown_count; i++) {
		snprintf(built->traced, sizeof(built->traced), "%.*s", (int)strcspn(order->shown[i], " "), order->shown[i]);
		if (query_trace(own, built->traced, &path) == 0)
			return;
	}
	snprintf(built->traced, sizeof(built->traced), "%.*s", (int)strcspn(built->queries[0], " "), built->queries[0]);
}

/* The writer's own answers: its index is open with `shared` 0, because it reads what it wrote itself. */
static int own_answers(struct query_index *own, const struct demo_order *order, const struct demo_built *built,
                       struct demo_report *report)
{
	struct demo_task *task = calloc(1, sizeof(*task));
	int error;

	if (!task)
		return -ENOMEM;
	memcpy(task->traced, built->traced, sizeof(task->traced));
	memcpy(task->shown, order->shown, sizeof(task->shown));
	memcpy(task->queries, built->queries, sizeof(task->queries));
	task->shown_count = order->shown_count;
	error = answers_make(own, task, report);
	free(task);
	return error;
}

/* On the conductor's word: everything the readers need is one name in the pool. */
static int hand_over(struct dmem_pool *pool, struct index_root *root, struct demo_report *report)
{
	char go;
	int error = message_receive(STDIN_FILENO, &go, 1);

	if (error)
		return error;
	report->begin_ns = clock_ns();
	error = index_publish(pool, root);
	if (!error)
		error = dmem_root_set(pool, DEMO_ROOT_NAME, root);
	report->root_ns = clock_ns();
	return error;
}

static int send_flat(const struct index_root *root, struct demo_report *report)
{
	char go;
	int error = message_receive(STDIN_FILENO, &go, 1);

	if (error)
		return error;
	report->begin_ns = clock_ns();
	return flat_send(STREAM_FD, root, &report->sent_bytes);
}

static int report_send(struct demo_report *report, int error)
{
	if (error && error != -EPIPE)
		complain("host-a", "handing over", error);
	report->error = error;
	report->pid = (int)getpid();
	return message_send(STDOUT_FILENO, report, sizeof(*report)) ? -EPIPE : error;
}

static int writer_run(struct dmem_pool *pool, const struct demo_order *order)
{
	static struct demo_report report;
	static struct demo_built built;
	struct index_writer writer;
	struct query_index own;
	int error = index_build(pool, order, &writer, &built);

	if (!error)
		error = query_open(&own, writer.root, 0);
	if (!error)
		error = query_draw(&own, DEMO_SEED, built.queries, DEMO_QUERIES);
	if (!error)
		traced_choose(&own, order, &built);
	if (!error)
		error = own_answers(&own, order, &built, &report);
	if (!error)
		error = built_describe(pool, writer.root, &built);
	if (error)
		complain("host-a", error == -ENOENT ? "text in the folders" : "building the index", error);
	built.error = error;
	if (message_send(STDOUT_FILENO, &built, sizeof(built)) || error)
		return error ? error : -EPIPE;
	error = report_send(&report, hand_over(pool, writer.root, &report));
	return error ? error : report_send(&report, send_flat(writer.root, &report));
}

int writer_main(void)
{
	static struct demo_order order;
	struct dmem_pool *pool;
	int error = message_receive(STDIN_FILENO, &order, sizeof(order));

	if (error)
		return 1;
	error = dmem_pool_attach(order.uri, NULL, &pool);
	if (error)
		return complain("host-a", "attach", error) ? 1 : 0;
	error = writer_run(pool, &order);
	return dmem_pool_detach(pool) || error ? 1 : 0;
}
