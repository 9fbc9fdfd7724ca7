/* SPDX-License-Identifier: Apache-2.0 */
/*
 * child.h: bodies of tests in child processes, so that a death by signal is a result and not the end of the test.
 *
 * A child has no assertions: it returns a number, 0 for success.  It is killed when it takes longer than 30 seconds, and when
 * its parent ends.
 */
#ifndef DM_TESTS_LIB_CHILD_H
#define DM_TESTS_LIB_CHILD_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

typedef int (*child_fn)(void *argument);

#define CHILD_SIGNAL 1000 /* + number: what a death by signal looks like */

pid_t child_start(child_fn body, void *argument);
int child_wait(pid_t pid);
int child_kill(pid_t pid); /* SIGKILL, and wait */
int child_run(child_fn body, void *argument);

/* A place to wait at, for processes that are related by fork: each step lets one waiter through. */
struct gate {
	int fd;
};
void gate_make(struct gate *gate);
void gate_step(struct gate *gate);
bool gate_wait(struct gate *gate); /* false after a minute */

/* Wait until a condition holds, looking every millisecond; false when it does not within twenty times as long as it may take
 * on a machine that does nothing else: the limit is against hanging. */
bool wait_until(bool (*holds)(void *argument), void *argument, unsigned ms);

uint64_t now_ms(void);

/* Memory that parent and children share, zeroed. */
void *child_shared(uint64_t bytes);

#endif
