/* SPDX-License-Identifier: Apache-2.0 */
/* process.c: child processes that start with nothing, and messages. */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE /* SOCK_CLOEXEC */
#endif
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <dmem/dmem.h>

#include "demo.h"

uint64_t clock_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

int complain(const char *who, const char *what, int error)
{
	fprintf(stderr, "%s: %s: %s\n", who, what, dmem_strerror(error));
	if (*dmem_last_error())
		fprintf(stderr, "%s: %s\n", who, dmem_last_error());
	return error;
}

static void child_run(const char *name, const char *role, int control, int stream)
{
	prctl(PR_SET_PDEATHSIG, SIGKILL); /* nothing outlives the conductor */
	if (dup2(control, STDIN_FILENO) < 0 || dup2(control, STDOUT_FILENO) < 0)
		return;
	if (stream == STREAM_FD && fcntl(stream, F_SETFD, 0) < 0)
		return;
	if (stream >= 0 && stream != STREAM_FD && dup2(stream, STREAM_FD) < 0)
		return;
	if (setenv("DMEM_HOST_ID", name, 1))
		return;
	execl("/proc/self/exe", "dmem-demo", role, (char *)NULL);
}

int process_start(struct demo_process *process, const char *name, const char *role, int stream)
{
	int pair[2], error;
	pid_t pid;

	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair))
		return -errno;
	pid = fork();
	if (pid == 0) {
		child_run(name, role, pair[1], stream);
		_exit(127);
	}
	error = -errno;
	close(pair[1]);
	if (pid < 0) {
		close(pair[0]);
		return error;
	}
	*process = (struct demo_process){.name = name, .pid = pid, .fd = pair[0]};
	return 0;
}

int process_wait(struct demo_process *process)
{
	int status = -1;

	if (process->pid == 0)
		return 0;
	close(process->fd);
	while (waitpid(process->pid, &status, 0) < 0 && errno == EINTR)
		continue;
	process->pid = 0;
	return WIFEXITED(status) && WEXITSTATUS(status) == 0 ? 0 : -ECHILD;
}

void process_stop(struct demo_process *process)
{
	if (process->pid == 0)
		return;
	kill(process->pid, SIGKILL);
	process_wait(process);
}

int message_send(int fd, const void *from, size_t bytes)
{
	for (size_t done = 0; done < bytes;) {
		ssize_t got = send(fd, (const char *)from + done, bytes - done, MSG_NOSIGNAL);

		if (got < 0)
			return -errno;
		done += (size_t)got;
	}
	return 0;
}

/* A signal ends the wait (-EINTR): the conductor is told that way to clean up. */
int message_receive(int fd, void *to, size_t bytes)
{
	for (size_t done = 0; done < bytes;) {
		ssize_t got = read(fd, (char *)to + done, bytes - done);

		if (got <= 0)
			return got == 0 ? -EPIPE : -errno;
		done += (size_t)got;
	}
	return 0;
}
