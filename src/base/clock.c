/* SPDX-License-Identifier: Apache-2.0 */
/* clock.c: see clock.h.  Sources: clock_gettime(2), clock_nanosleep(2). */
#include "base/clock.h"

#include <errno.h>
#include <time.h>

uint64_t dm_clock_now_ns(void)
{
	struct timespec now = {0};

	/* Cannot fail: the clock exists since Linux 2.6.39 and the pointer is good. */
	clock_gettime(CLOCK_BOOTTIME, &now);
	return (uint64_t)now.tv_sec * DM_NS_PER_S + (uint64_t)now.tv_nsec;
}

void dm_clock_sleep_ns(uint64_t ns)
{
	uint64_t now = dm_clock_now_ns();
	uint64_t deadline = ns > UINT64_MAX - now ? UINT64_MAX : now + ns;
	struct timespec until = {
		.tv_sec = (time_t)(deadline / DM_NS_PER_S),
		.tv_nsec = (long)(deadline % DM_NS_PER_S),
	};
	int err;

	/* An absolute moment: signals that arrive often cannot make the sleep longer. */
	do {
		err = clock_nanosleep(CLOCK_BOOTTIME, TIMER_ABSTIME, &until, NULL);
	} while (err == EINTR);
}
