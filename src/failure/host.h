/* SPDX-License-Identifier: Apache-2.0 */
/* host.h: who this host and this process are, and whether another process of this host is still there. */
#ifndef DM_FAILURE_HOST_H
#define DM_FAILURE_HOST_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

struct dm_host {
	uint8_t id[16]; /* boot id; with DMEM_HOST_ID set: a hash of it, so that one machine can play several hosts */
	uint64_t pid_namespace; /* 0 when /proc can't tell */
	char name[48];
};

void dm_host_identify(struct dm_host *host);

/* Clock ticks since boot at which a process of this pid namespace started; 0 when it is gone or /proc can't tell. */
uint64_t dm_host_start_ticks(pid_t pid);

/* A pidfd of the process with this pid and start; -ESRCH: it is gone (or the pid is another's now); other -errno: can't
 * tell, for instance no descriptors are left or the kernel has no pidfd. */
int dm_host_open_process(pid_t pid, uint64_t start_ticks);

/* Does the process have a thread of this number?  True when /proc can't tell. */
bool dm_host_thread_alive(pid_t pid, pid_t tid);

/* Is this descriptor a pidfd of that process (which may have ended)? */
bool dm_host_is_pidfd(int fd, pid_t pid);

/* 1 it runs, 0 it is gone, -1 can't tell. */
int dm_host_process_alive(pid_t pid, uint64_t start_ticks);

#endif
