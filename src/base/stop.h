/* SPDX-License-Identifier: Apache-2.0 */
/*
 * stop.h: hold all other threads of this process for a moment.
 *
 * Each gets the reserved real-time signal, whose handler waits on a futex.  A thread that blocks the signal, or that sits
 * in the kernel without looking at signals, can't be stopped: one that blocks it counts as stopped while it sleeps, and for
 * the others the wait is bounded.  Between stop and release the
 * caller must not take a lock that a stopped thread may hold: no malloc, no stdio, no dm_log().
 */
#ifndef DM_BASE_STOP_H
#define DM_BASE_STOP_H

#include <signal.h>

/* The library's threads leave it unblocked; programs that use it themselves are left alone (dm_stop_others() fails). */
#define DM_STOP_SIGNAL (SIGRTMAX - 2)

/* Sent by other processes before they declare this one fenced (failure/fence.c).  Unblocked in the library's threads too. */
#define DM_FENCE_SIGNAL (SIGRTMAX - 3)

/* Let this thread be stopped, and cut off, although it or who started it blocks all signals. */
void dm_stop_take_part(void);

/*
 * 0: no other thread of this process runs; call dm_stop_release().  Else everything runs on as before: -EBUSY somebody else
 * uses the signal; -ETIMEDOUT a thread did not stop within some milliseconds; -E2BIG more threads than are looked after;
 * another -errno.  One caller at a time gets through; the others wait.
 */
int dm_stop_others(void);
void dm_stop_release(void);

#endif
