/* SPDX-License-Identifier: Apache-2.0 */
/* test_fault.c: fault points fire when they are told to, once. */
#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/fault.h"

#define SOME ((enum dm_fault_id)0)

Test(fault, an_unarmed_point_only_counts)
{
	unsigned long before = dm_fault_passages(SOME);

	for (int i = 0; i < 5; i++)
		cr_expect(not(dm_fault_reached(SOME)));
	cr_expect(eq(ulong, dm_fault_passages(SOME), before + 5));
}

Test(fault, fails_at_the_countdown_and_never_again)
{
	dm_fault_arm(SOME, DM_FAULT_FAIL, 3);
	cr_expect(not(dm_fault_reached(SOME)));
	cr_expect(not(dm_fault_reached(SOME)));
	cr_expect(dm_fault_reached(SOME));
	for (int i = 0; i < 10; i++)
		cr_expect(not(dm_fault_reached(SOME)));
}

Test(fault, disarming_takes_it_back)
{
	dm_fault_arm(SOME, DM_FAULT_FAIL, 1);
	dm_fault_disarm();
	cr_expect(not(dm_fault_reached(SOME)));
}

Test(fault, kills_the_process_at_the_point)
{
	int status, pid = fork();

	if (pid == 0) {
		dm_fault_arm(SOME, DM_FAULT_KILL, 2);
		dm_fault_reached(SOME);
		if (dm_fault_passages(SOME) == 0)
			_exit(2);
		dm_fault_reached(SOME);
		_exit(1);
	}
	cr_assert(eq(int, waitpid(pid, &status, 0), pid));
	cr_expect(eq(int, status & 0x7f, SIGKILL), "status %#x", status);
}

Test(fault, stops_the_process_until_it_is_continued)
{
	int status, pid = fork();

	if (pid == 0) {
		dm_fault_arm(SOME, DM_FAULT_STOP, 1);
		dm_fault_reached(SOME);
		_exit(9);
	}
	cr_assert(eq(int, waitpid(pid, &status, WUNTRACED), pid));
	cr_expect(ne(int, WIFSTOPPED(status), 0));
	kill(pid, SIGCONT);
	cr_assert(eq(int, waitpid(pid, &status, 0), pid));
	cr_expect(eq(int, WEXITSTATUS(status), 9));
}

static _Atomic unsigned fired;

static void *pass_often(void *argument)
{
	(void)argument;
	for (int i = 0; i < 10000; i++)
		fired += dm_fault_reached(SOME);
	return NULL;
}

Test(fault, of_many_threads_one_sees_it_fire)
{
	pthread_t threads[4];

	dm_fault_arm(SOME, DM_FAULT_FAIL, 20000);
	for (int i = 0; i < 4; i++)
		cr_assert(zero(int, pthread_create(&threads[i], NULL, pass_often, NULL)));
	for (int i = 0; i < 4; i++)
		pthread_join(threads[i], NULL);
	cr_expect(eq(int, (int)fired, 1));
}

Test(fault, every_point_has_a_name_of_its_own)
{
	for (int i = 0; i < DM_FAULT_COUNT; i++) {
		cr_expect(gt(sz, strlen(dm_fault_name((enum dm_fault_id)i)), 0));
		for (int j = 0; j < i; j++)
			cr_expect(ne(int, strcmp(dm_fault_name((enum dm_fault_id)i), dm_fault_name((enum dm_fault_id)j)), 0));
	}
	cr_expect(zero(int, strcmp(dm_fault_name(DM_FAULT_COUNT), "unknown")));
}
