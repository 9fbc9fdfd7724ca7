/* SPDX-License-Identifier: Apache-2.0 */
/* test_clock.c: time goes forward, and sleeps are not cut short. */
#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <signal.h>
#include <sys/time.h>

#include "base/clock.h"

Test(clock, never_goes_back)
{
	uint64_t before = dm_clock_now_ns();

	cr_expect(gt(u64, before, 0));
	for (int i = 0; i < 10000; i++) {
		uint64_t now = dm_clock_now_ns();

		cr_assert(ge(u64, now, before));
		before = now;
	}
}

static volatile sig_atomic_t signals;

static void count(int number)
{
	(void)number;
	signals++;
}

Test(clock, a_sleep_lasts_through_signals)
{
	struct sigaction action = {.sa_handler = count};
	struct itimerval often = {{0, 5000}, {0, 5000}};
	uint64_t before;

	sigaction(SIGALRM, &action, NULL);
	setitimer(ITIMER_REAL, &often, NULL);
	before = dm_clock_now_ns();
	dm_clock_sleep_ns(60 * DM_NS_PER_MS);
	cr_expect(ge(u64, dm_clock_now_ns() - before, 60 * DM_NS_PER_MS));
	cr_expect(gt(int, (int)signals, 1));
}

Test(clock, a_sleep_of_nothing_returns)
{
	uint64_t before = dm_clock_now_ns();

	dm_clock_sleep_ns(0);
	cr_expect(lt(u64, dm_clock_now_ns() - before, 30 * DM_NS_PER_S));
}
