/* SPDX-License-Identifier: Apache-2.0 */
/* child.c: see child.h. */
#include "lib/child.h"

#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

/* Against hanging, not against slowness. */
#define CHILD_SECONDS 150
#define GATE_MS       60000
#define PATIENCE      20

pid_t child_start(child_fn body, void *argument)
{
	pid_t parent = getpid();
	pid_t pid = fork();

	if (pid < 0)
		abort();
	if (pid > 0)
		return pid;
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (getppid() != parent)
		_exit(98);
	signal(SIGALRM, SIG_DFL);
	alarm(CHILD_SECONDS);
	_exit(body(argument));
}

int child_wait(pid_t pid)
{
	int status;

	if (waitpid(pid, &status, 0) != pid)
		return -1;
	return WIFEXITED(status) ? WEXITSTATUS(status) : CHILD_SIGNAL + WTERMSIG(status);
}

int child_kill(pid_t pid)
{
	kill(pid, SIGKILL);
	return child_wait(pid);
}

int child_run(child_fn body, void *argument)
{
	return child_wait(child_start(body, argument));
}

void gate_make(struct gate *gate)
{
	gate->fd = eventfd(0, EFD_CLOEXEC | EFD_SEMAPHORE | EFD_NONBLOCK);
	if (gate->fd < 0)
		abort();
}

void gate_step(struct gate *gate)
{
	uint64_t one = 1;

	if (write(gate->fd, &one, sizeof(one)) != sizeof(one))
		abort();
}

bool gate_wait(struct gate *gate)
{
	uint64_t deadline_ms = now_ms() + GATE_MS;
	uint64_t value;

	while (now_ms() < deadline_ms) {
		struct pollfd polled = {.fd = gate->fd, .events = POLLIN};

		if (poll(&polled, 1, 100) > 0 && read(gate->fd, &value, sizeof(value)) == sizeof(value))
			return true;
	}
	return false;
}

uint64_t now_ms(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

bool wait_until(bool (*holds)(void *argument), void *argument, unsigned ms)
{
	uint64_t deadline_ms = now_ms() + (uint64_t)ms * PATIENCE;

	while (!holds(argument)) {
		if (now_ms() >= deadline_ms)
			return false;
		usleep(1000);
	}
	return true;
}

void *child_shared(uint64_t bytes)
{
	void *memory = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);

	if (memory == MAP_FAILED)
		abort();
	return memory;
}
