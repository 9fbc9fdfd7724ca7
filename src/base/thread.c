/* SPDX-License-Identifier: Apache-2.0 */
/* thread.c: the application's signals are for the application's threads; faults, and the signal that stops threads, still
 * arrive. */
#include "base/thread.h"

#include <signal.h>
#include <string.h>

#include "base/error.h"
#include "base/stop.h"

#define STACK_BYTES (256u * 1024u)

int dm_thread_start(pthread_t *thread, const char *name, void *(*body)(void *), void *argument)
{
	pthread_attr_t attributes;
	sigset_t all;
	sigset_t before;
	int rc;

	pthread_attr_init(&attributes);
	pthread_attr_setstacksize(&attributes, STACK_BYTES);
	sigfillset(&all);
	sigdelset(&all, SIGSEGV);
	sigdelset(&all, SIGBUS);
	sigdelset(&all, DM_STOP_SIGNAL);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	rc = pthread_create(thread, &attributes, body, argument);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	pthread_attr_destroy(&attributes);
	if (rc)
		return dm_fail(-rc, "the thread %s can't be started (%s): raise the limit on processes (ulimit -u)", name,
		               strerror(rc));
	pthread_setname_np(*thread, name);
	return 0;
}
