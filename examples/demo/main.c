/* SPDX-License-Identifier: Apache-2.0 */
/*
 * main.c: the conductor.  Starts the processes, passes the word from one to the next, compares what they say and
 * prints.  Ends with 0 only when every check held.  The pool is destroyed on every way out, interruption included.
 */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE /* SOCK_CLOEXEC */
#endif
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <dmem/dmem.h>

#include "demo.h"

#define POOL_BYTES (UINT64_C(4) << 30) /* sparse: only what is used takes memory */
#define FOLDERS_MAX 4
#define DEFAULTS 4

struct demo {
	struct demo_order order;
	int folder_count;
	int keep;
	struct demo_process a, b, c, by_socket;
	struct demo_built built;
	struct demo_task task;
	struct demo_report handed, read_b, read_c, sent, rebuilt;
};

static volatile sig_atomic_t interrupted;

static void interrupt(int number)
{
	interrupted = number;
}

/* Without SA_RESTART: whatever is being waited for ends with -EINTR. */
static void interrupts_catch(void)
{
	struct sigaction action;

	memset(&action, 0, sizeof(action));
	action.sa_handler = interrupt;
	sigaction(SIGINT, &action, NULL);
	sigaction(SIGTERM, &action, NULL);
	sigaction(SIGHUP, &action, NULL);
}

static int usage(void)
{
	printf("dmem-demo [--pool URI] [--folder DIR]... [--keep] [QUERY...]\n\n"
	       "Indexes the text below the folders in a pool and queries it from two other processes.\n"
	       "A query is \"word\" or \"word AND word\".\n\n"
	       "  --pool URI    where to create the pool (default file:/dev/shm/dmem-demo.PID)\n"
	       "  --folder DIR  text to index, up to %d times (default /usr/include)\n"
	       "  --keep        leave the pool there for a look with dmemctl\n",
	       FOLDERS_MAX);
	return 0;
}

static int query_add(struct demo *demo, const char *query)
{
	struct demo_order *order = &demo->order;

	if (order->shown_count == DEMO_SHOWN_MAX || strlen(query) > QUERY_BYTES_MAX)
		return -E2BIG;
	snprintf(order->shown[order->shown_count++], sizeof(order->shown[0]), "%s", query);
	return 0;
}

static int option_value(struct demo *demo, const char *option, const char *value)
{
	size_t bytes = value ? strlen(value) : 0;

	if (strcmp(option, "--pool") == 0 && value && bytes < sizeof(demo->order.uri))
		memcpy(demo->order.uri, value, bytes + 1);
	else if (strcmp(option, "--folder") == 0 && value && bytes < DEMO_PATH_BYTES && demo->folder_count < FOLDERS_MAX)
		memcpy(demo->order.folders[demo->folder_count++], value, bytes + 1);
	else
		return -EINVAL;
	return 0;
}

static int arguments_read(struct demo *demo, int argc, char **argv)
{
	static const char *const defaults[DEFAULTS] = {"mutex", "memory", "socket AND address", "lock AND wait"};
	int error = 0;

	for (int i = 1; i < argc && !error; i++) {
		if (strcmp(argv[i], "--keep") == 0)
			demo->keep = 1;
		else if (argv[i][0] != '-')
			error = query_add(demo, argv[i]);
		else if (i + 1 < argc)
			error = option_value(demo, argv[i], argv[i + 1]), i++;
		else
			error = -EINVAL;
		if (error)
			fprintf(stderr, "dmem-demo: '%s' can't be used here; see --help\n", argv[i]);
	}
	for (size_t i = 0, wanted = demo->order.shown_count ? 0 : DEFAULTS; i < wanted && !error; i++)
		error = query_add(demo, defaults[i]);
	if (demo->folder_count == 0)
		option_value(demo, "--folder", "/usr/include");
	if (demo->order.uri[0] == '\0')
		snprintf(demo->order.uri, sizeof(demo->order.uri), "file:/dev/shm/dmem-demo.%d", (int)getpid());
	return error;
}

/* What a process says next; its death shows here too. */
static int hear(struct demo_process *process, void *message, size_t bytes)
{
	int error = message_receive(process->fd, message, bytes);

	if (error && !interrupted)
		fprintf(stderr, "dmem-demo: %s ended early (%s)\n", process->name, dmem_strerror(error));
	return error;
}

static int hear_report(struct demo_process *process, struct demo_report *report)
{
	int error = hear(process, report, sizeof(*report));

	return error ? error : report->error;
}

static int build(struct demo *demo, int stream)
{
	int error = process_start(&demo->a, "host-a", "--writer", stream);

	if (!error)
		error = message_send(demo->a.fd, &demo->order, sizeof(demo->order));
	if (!error)
		error = hear(&demo->a, &demo->built, sizeof(demo->built));
	return error ? error : demo->built.error;
}

/* The task, and the answer that it was understood. */
static int task_give(struct demo *demo, struct demo_process *process)
{
	char byte;
	int error = message_send(process->fd, &demo->task, sizeof(demo->task));

	return error ? error : hear(process, &byte, 1);
}

/* Both readers are attached and look for the root when the writer is told to set it. */
static int hand_over(struct demo *demo)
{
	char byte;
	int error = process_start(&demo->b, "host-b", "--reader", -1);

	if (!error)
		error = process_start(&demo->c, "host-c", "--reader", -1);
	if (!error)
		error = task_give(demo, &demo->b);
	if (!error)
		error = task_give(demo, &demo->c);
	if (!error)
		error = hear(&demo->b, &byte, 1);
	if (!error)
		error = hear(&demo->c, &byte, 1);
	if (!error)
		error = message_send(demo->a.fd, "g", 1);
	if (!error)
		error = hear_report(&demo->a, &demo->handed);
	if (!error)
		error = hear_report(&demo->b, &demo->read_b);
	return error ? error : hear_report(&demo->c, &demo->read_c);
}

static int send_and_rebuild(struct demo *demo, int stream)
{
	int error = process_start(&demo->by_socket, "by-socket", "--by-socket", stream);

	if (!error)
		error = task_give(demo, &demo->by_socket);
	if (!error)
		error = message_send(demo->a.fd, "s", 1);
	if (!error)
		error = hear_report(&demo->by_socket, &demo->rebuilt);
	return error ? error : hear_report(&demo->a, &demo->sent);
}

static void task_make(struct demo *demo)
{
	memcpy(demo->task.uri, demo->order.uri, sizeof(demo->task.uri));
	memcpy(demo->task.traced, demo->built.traced, sizeof(demo->task.traced));
	memcpy(demo->task.shown, demo->order.shown, sizeof(demo->task.shown));
	memcpy(demo->task.queries, demo->built.queries, sizeof(demo->task.queries));
	demo->task.shown_count = demo->order.shown_count;
}

static int digests_equal(const struct demo_report *a, const struct demo_report *b)
{
	return memcmp(a->digests, b->digests, sizeof(a->digests)) == 0;
}

static int in_window(const struct demo *demo, uint64_t address)
{
	return address >= demo->built.window && address - demo->built.window < demo->built.window_bytes;
}

/* Returns how many checks did not hold. */
static int checks_make(struct demo *demo)
{
	const struct query_path *path = &demo->handed.path;
	int missed = 0;

	print_title("Checks");
	missed += print_check("all five addresses are equal in the three processes",
	                      memcmp(path, &demo->read_b.path, sizeof(*path)) == 0 &&
	                      memcmp(path, &demo->read_c.path, sizeof(*path)) == 0);
	missed += print_check("they lie in the pool's window", in_window(demo, path->root) && in_window(demo, path->bucket) &&
	                      in_window(demo, path->term) && in_window(demo, path->posting) && in_window(demo, path->file));
	missed += print_check("1,000 answers of host-b equal the writer's", digests_equal(&demo->handed, &demo->read_b));
	missed += print_check("1,000 answers of host-c equal the writer's", digests_equal(&demo->handed, &demo->read_c));
	missed += print_check("1,000 answers from the rebuilt index equal them", digests_equal(&demo->handed, &demo->rebuilt));
	missed += print_check("every process ended well", !process_wait(&demo->a) && !process_wait(&demo->b) &&
	                      !process_wait(&demo->c) && !process_wait(&demo->by_socket));
	return missed;
}

static int perform(struct demo *demo, const int stream[2])
{
	int error;

	print_title("1. host-a builds an index in a pool: nodes linked by plain pointers");
	error = build(demo, stream[0]);
	if (error)
		return error;
	print_pool(demo->order.uri, &demo->built);
	print_built(&demo->built);
	task_make(demo);
	error = hand_over(demo);
	if (error)
		return error;
	print_title("2. host-b and host-c follow these pointers");
	print_addresses(demo->built.traced, &demo->handed, &demo->read_b, &demo->read_c);
	print_title("3. What host-b finds");
	print_answers(&demo->order, &demo->read_b);
	error = send_and_rebuild(demo, stream[1]);
	if (error)
		return error;
	print_title("4. Handing over, and sending the same index through a socket");
	print_times(&demo->built, &demo->handed, &demo->read_b, &demo->read_c, &demo->sent, &demo->rebuilt);
	return checks_make(demo);
}

static int conduct(struct demo *demo)
{
	struct dmem_create_options options = DMEM_CREATE_OPTIONS_DEFAULT;
	int stream[2], result, error;

	options.size_bytes = POOL_BYTES;
	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, stream))
		return complain("dmem-demo", "socketpair", -errno);
	error = dmem_pool_create(demo->order.uri, &options);
	if (error)
		return complain("dmem-demo", demo->order.uri, error);
	result = perform(demo, stream);
	process_stop(&demo->a);
	process_stop(&demo->b);
	process_stop(&demo->c);
	process_stop(&demo->by_socket);
	if (demo->keep && result == 0) {
		printf("\nThe pool is still there: %s\n", demo->order.uri);
		return 0;
	}
	error = dmem_pool_destroy(demo->order.uri);
	return error ? complain("dmem-demo", "destroy", error) : result;
}

int main(int argc, char **argv)
{
	static struct demo demo;
	int result;

	if (argc == 2 && strcmp(argv[1], "--writer") == 0)
		return writer_main();
	if (argc == 2 && strcmp(argv[1], "--reader") == 0)
		return reader_main();
	if (argc == 2 && strcmp(argv[1], "--by-socket") == 0)
		return by_socket_main();
	if (argc == 2 && strcmp(argv[1], "--help") == 0)
		return usage();
	setvbuf(stdout, NULL, _IOLBF, 0);
	if (arguments_read(&demo, argc, argv))
		return 2;
	interrupts_catch();
	result = conduct(&demo);
	if (interrupted) {
		fprintf(stderr, "\ndmem-demo: interrupted; the pool is removed\n");
		return 128 + interrupted;
	}
	printf("\n%s\n", result == 0 ? "All checks held." : "The demo failed.");
	return result == 0 ? 0 : 1;
}
