/* SPDX-License-Identifier: Apache-2.0 */
/* reader.c: the two kinds of readers: through the pool, and through a socket. */
#include <errno.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include <dmem/dmem.h>

#include "demo.h"
#include "flat.h"

#define POLL_NS 50000

/* The task, and then a byte back: ready.  NULL when the conductor has gone. */
static struct demo_task *task_receive(void)
{
	struct demo_task *task = malloc(sizeof(*task));

	if (!task || message_receive(STDIN_FILENO, task, sizeof(*task)) || message_send(STDOUT_FILENO, "r", 1)) {
		free(task);
		return NULL;
	}
	return task;
}

static int report_send(struct demo_report *report, int error)
{
	report->error = error;
	report->pid = (int)getpid();
	return message_send(STDOUT_FILENO, report, sizeof(*report)) || error;
}

/* Nobody tells a reader that the index is there: it looks for the root's name until it finds it. */
static struct index_root *root_await(struct dmem_pool *pool)
{
	const struct timespec pause = {.tv_nsec = POLL_NS};
	struct index_root *root;

	while (!(root = dmem_root_get(pool, DEMO_ROOT_NAME)) && errno == ENOENT)
		nanosleep(&pause, NULL);
	return root;
}

int reader_main(void)
{
	static struct demo_report report;
	struct demo_task *task = task_receive();
	struct index_root *root;
	struct query_index index;
	struct dmem_pool *pool;
	int error;

	if (!task)
		return 1;
	error = dmem_pool_attach(task->uri, NULL, &pool);
	if (error) {
		complain(getenv("DMEM_HOST_ID"), "attach", error);
		goto out;
	}
	if (message_send(STDOUT_FILENO, "a", 1)) {
		error = -EPIPE;
		goto out_pool;
	}
	root = root_await(pool);
	error = root ? query_open(&index, root, 1) : -errno;
	report.root_ns = clock_ns();
	if (!error)
		error = answers_make(&index, task, &report);
	if (error)
		complain(getenv("DMEM_HOST_ID"), "reading the index", error);
out_pool:
	dmem_pool_detach(pool);
out:
	free(task);
	return report_send(&report, error) ? 1 : 0;
}

/* Its index is private memory and goes with the process. */
int by_socket_main(void)
{
	static struct demo_report report;
	struct demo_task *task = task_receive();
	struct index_memory memory = index_memory_private();
	struct index_writer writer;
	struct query_index index;
	int error;

	if (!task)
		return 1;
	error = flat_receive(STREAM_FD, &memory, &writer);
	report.root_ns = clock_ns();
	if (!error)
		error = query_open(&index, writer.root, 0);
	if (!error)
		error = answers_make(&index, task, &report);
	if (error)
		complain("by-socket", "rebuilding the index", error);
	free(task);
	return report_send(&report, error) ? 1 : 0;
}
