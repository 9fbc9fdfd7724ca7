/* SPDX-License-Identifier: Apache-2.0 */
/* thread.h: threads of the library in a program that does not know of them. */
#ifndef DM_BASE_THREAD_H
#define DM_BASE_THREAD_H

#include <pthread.h>

/* Start a thread with a small stack, a name (15 bytes) that tools show, and none of the program's signals.  0 or a
 * negative
 * code. */
int dm_thread_start(pthread_t *thread, const char *name, void *(*body)(void *), void *argument);

#endif
