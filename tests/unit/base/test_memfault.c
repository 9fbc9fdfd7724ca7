/* SPDX-License-Identifier: Apache-2.0 */
/* test_memfault.c: faults go to the range they happen in, or to whoever was there before us, or kill as they always did.
 * What ends in a signal runs in a forked child. */
#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <errno.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/arith.h"
#include "base/clock.h"
#include "base/memfault.h"

#define BYTES 65536

static volatile sig_atomic_t handled, chained;
static volatile uintptr_t handled_address;
static int last_signal, last_value;

/* A mapping of a file that was truncated: touching it is SIGBUS. */
static char *truncated_mapping(void)
{
	int fd = memfd_create("dmem-memfault", MFD_CLOEXEC);
	char *mapping;

	if (fd < 0 || ftruncate(fd, BYTES) != 0)
		abort();
	mapping = mmap(NULL, BYTES, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (mapping == MAP_FAILED || ftruncate(fd, 0) != 0)
		abort();
	close(fd);
	return mapping;
}

/* Put zeros where the fault was, as optional memory would. */
static bool patch(void *context, int signal_number, const siginfo_t *info, uintptr_t address)
{
	(void)info;
	handled++;
	handled_address = address;
	last_signal = signal_number;
	if (context != NULL)
		last_value = *(int *)context;
	return mmap((void *)(address & ~(uintptr_t)4095), 4096, PROT_READ | PROT_WRITE,
	            MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0) != MAP_FAILED;
}

static bool decline(void *context, int signal_number, const siginfo_t *info, uintptr_t address)
{
	(void)context, (void)signal_number, (void)info, (void)address;
	handled += 100;
	return false;
}

/* Core dumps of the deaths that are wanted here would only fill the disk. */
static int in_child(int (*body)(void))
{
	struct rlimit none = {0, 0};
	int status, pid = fork();

	if (pid == 0) {
		setrlimit(RLIMIT_CORE, &none);
		alarm(20);
		_exit(body());
	}
	if (waitpid(pid, &status, 0) != pid)
		return -1;
	return WIFEXITED(status) ? WEXITSTATUS(status) : 1000 + WTERMSIG(status);
}

Test(memfault, a_fault_in_a_range_goes_to_its_handler_and_the_instruction_runs_again)
{
	char *mapping = truncated_mapping();
	int value = 31;

	cr_assert(zero(int, dm_memfault_register((uintptr_t)mapping, BYTES, patch, &value)));
	errno = EPIPE;
	mapping[5000] = 9;
	cr_expect(eq(int, errno, EPIPE));
	cr_expect(eq(int, mapping[5000], 9));
	cr_expect(eq(int, handled, 1));
	cr_expect(handled_address == (uintptr_t)mapping + 5000);
	cr_expect(eq(int, last_signal, SIGBUS));
	cr_expect(eq(int, last_value, 31));
	cr_expect(zero(int, mapping[BYTES - 1]));
	cr_expect(eq(int, handled, 2));
	dm_memfault_unregister((uintptr_t)mapping, patch);
}

Test(memfault, sigsegv_in_a_range_is_handled_too)
{
	char *mapping = mmap(NULL, BYTES, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	cr_assert(zero(int, dm_memfault_register((uintptr_t)mapping, BYTES, patch, NULL)));
	mapping[0] = 1;
	cr_expect(eq(int, last_signal, SIGSEGV));
	cr_expect(eq(int, handled, 1));
	dm_memfault_unregister((uintptr_t)mapping, patch);
}

Test(memfault, the_latest_registration_is_asked_first_and_may_decline)
{
	char *mapping = truncated_mapping();

	cr_assert(zero(int, dm_memfault_register((uintptr_t)mapping, BYTES, patch, NULL)));
	cr_assert(zero(int, dm_memfault_register((uintptr_t)mapping, 4096, decline, NULL)));
	mapping[1] = 1;
	cr_expect(eq(int, handled, 101));
	mapping[4096] = 1;
	cr_expect(eq(int, handled, 102));
	dm_memfault_unregister((uintptr_t)mapping, decline);
	dm_memfault_unregister((uintptr_t)mapping, patch);
}

static int die_outside_ranges(void)
{
	char *mapping = truncated_mapping(), *other = truncated_mapping();

	if (dm_memfault_register((uintptr_t)mapping, BYTES, patch, NULL) != 0)
		return 1;
	mapping[0] = 1;
	*(volatile char *)other = 1;
	return 2;
}

static int die_after_unregister(void)
{
	char *mapping = truncated_mapping();

	if (dm_memfault_register((uintptr_t)mapping, BYTES, patch, NULL) != 0)
		return 1;
	mapping[0] = 1;
	dm_memfault_unregister((uintptr_t)mapping, patch);
	*(volatile char *)(mapping + 8192) = 1;
	return 2;
}

static int die_declined_by_segv(void)
{
	char *mapping = mmap(NULL, BYTES, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (dm_memfault_register((uintptr_t)mapping, BYTES, decline, NULL) != 0)
		return 1;
	*(volatile char *)mapping = 1;
	return 2;
}

static int die_of_a_sent_signal(void)
{
	if (dm_memfault_register(4096, BYTES, patch, NULL) != 0)
		return 1;
	raise(SIGBUS);
	return 2;
}

static int die_of_a_fault_that_was_ignored(void)
{
	char *mapping = truncated_mapping();

	signal(SIGBUS, SIG_IGN);
	if (dm_memfault_register((uintptr_t)mapping, BYTES, patch, NULL) != 0)
		return 1;
	raise(SIGBUS); /* sent, and ignored as the program wants it */
	dm_memfault_unregister((uintptr_t)mapping, patch);
	*(volatile char *)mapping = 1;
	return 2;
}

Test(memfault, what_nobody_takes_kills_as_it_always_did)
{
	cr_expect(eq(int, in_child(die_outside_ranges), 1000 + SIGBUS));
	cr_expect(eq(int, in_child(die_after_unregister), 1000 + SIGBUS));
	cr_expect(eq(int, in_child(die_declined_by_segv), 1000 + SIGSEGV));
	cr_expect(eq(int, in_child(die_of_a_sent_signal), 1000 + SIGBUS));
	cr_expect(eq(int, in_child(die_of_a_fault_that_was_ignored), 1000 + SIGBUS));
}

static void previous_with_info(int number, siginfo_t *info, void *machine)
{
	if (number == SIGBUS && machine != NULL)
		chained++;
	patch(NULL, number, info, (uintptr_t)info->si_addr);
}

static int chain_with_info(void)
{
	struct sigaction action = {.sa_sigaction = previous_with_info, .sa_flags = SA_SIGINFO};
	char *mine = truncated_mapping(), *other = truncated_mapping();

	sigaction(SIGBUS, &action, NULL);
	if (dm_memfault_register((uintptr_t)mine, BYTES, decline, NULL) != 0)
		return 1;
	other[0] = 1;
	if (chained != 1 || handled != 1)
		return 2;
	mine[0] = 1; /* declined, so it goes on too */
	return chained == 2 && handled == 102 ? 0 : 3;
}

static sigjmp_buf escape;

static void previous_old_style(int number)
{
	chained++;
	siglongjmp(escape, number);
}

static int chain_old_style(void)
{
	char *other = truncated_mapping();

	signal(SIGBUS, previous_old_style);
	if (dm_memfault_register(4096, 4096, decline, NULL) != 0)
		return 1;
	for (int i = 1; i <= 3; i++) {
		if (sigsetjmp(escape, 1) == 0) {
			*(volatile char *)other = 1;
			return 2;
		}
		if (chained != i)
			return 3;
	}
	return 0;
}

static volatile sig_atomic_t mask_was_right;

static void previous_with_mask(int number)
{
	sigset_t now;

	pthread_sigmask(SIG_SETMASK, NULL, &now);
	mask_was_right = sigismember(&now, SIGUSR1) == 1 && sigismember(&now, number) == 1;
}

static int chain_with_mask(void)
{
	struct sigaction action = {.sa_handler = previous_with_mask};
	sigset_t now;

	sigaddset(&action.sa_mask, SIGUSR1);
	sigaction(SIGSEGV, &action, NULL);
	if (dm_memfault_register(4096, 4096, decline, NULL) != 0)
		return 1;
	raise(SIGSEGV);
	pthread_sigmask(SIG_SETMASK, NULL, &now);
	return mask_was_right && !sigismember(&now, SIGUSR1) && !sigismember(&now, SIGSEGV) ? 0 : 2;
}

static void previous_once(int number)
{
	(void)number;
	chained++;
}

static int chain_reset_after_one(void)
{
	struct sigaction action = {.sa_handler = previous_once, .sa_flags = (int)SA_RESETHAND};

	sigaction(SIGBUS, &action, NULL);
	if (dm_memfault_register(4096, 4096, decline, NULL) != 0)
		return 1;
	raise(SIGBUS);
	if (chained != 1)
		return 2;
	raise(SIGBUS);
	return 3;
}

Test(memfault, handlers_that_were_there_before_are_asked_as_they_were_installed)
{
	cr_expect(zero(int, in_child(chain_with_info)));
	cr_expect(zero(int, in_child(chain_old_style)));
	cr_expect(zero(int, in_child(chain_with_mask)));
	cr_expect(eq(int, in_child(chain_reset_after_one), 1000 + SIGBUS));
}

static int restored_by_somebody(void)
{
	char *mapping = truncated_mapping();

	if (dm_memfault_register((uintptr_t)mapping, BYTES, patch, NULL) != 0)
		return 1;
	signal(SIGBUS, SIG_DFL);
	/* The next registration puts the handler back. */
	if (dm_memfault_register(4096, 4096, decline, NULL) != 0)
		return 2;
	mapping[0] = 1;
	return handled == 1 ? 0 : 3;
}

static int chained_by_somebody(void)
{
	struct sigaction ours, theirs = {.sa_sigaction = previous_with_info, .sa_flags = SA_SIGINFO};

	if (dm_memfault_register(4096, 4096, decline, NULL) != 0)
		return 1;
	sigaction(SIGBUS, &theirs, NULL);
	if (dm_memfault_register(8192, 4096, decline, NULL) != 0)
		return 2;
	/* Theirs stays on top: ours over it could chain in a circle. */
	sigaction(SIGBUS, NULL, &ours);
	return ours.sa_sigaction == previous_with_info ? 0 : 3;
}

Test(memfault, later_registrations_respect_what_was_installed_meanwhile)
{
	cr_expect(zero(int, in_child(restored_by_somebody)));
	cr_expect(zero(int, in_child(chained_by_somebody)));
}

Test(memfault, the_table_has_an_end_and_slots_come_back)
{
	unsigned count = 0;

	while (dm_memfault_register(4096 * (count + 1), 4096, decline, NULL) == 0)
		cr_assert(lt(int, (int)++count, 1000));
	cr_expect(eq(int, (int)count, 128));
	cr_expect(eq(int, dm_memfault_register(4096, 4096, decline, NULL), -ENOSPC));
	dm_memfault_unregister(4096 * 7, decline);
	cr_expect(zero(int, dm_memfault_register(4096, 4096, decline, NULL)));
}

Test(memfault, ranges_that_cannot_be_are_refused)
{
	cr_expect(eq(int, dm_memfault_register(4096, 0, decline, NULL), -EINVAL));
	cr_expect(eq(int, dm_memfault_register(4096, 4096, NULL, NULL), -EINVAL));
	cr_expect(eq(int, dm_memfault_register(UINTPTR_MAX - 10, 4096, decline, NULL), -EINVAL));
	cr_expect(zero(int, dm_memfault_register(UINTPTR_MAX - 4095, 4096, decline, NULL)));
	/* Unknown ones are nothing to forget. */
	dm_memfault_unregister(4096, patch);
	dm_memfault_unregister(UINTPTR_MAX - 4095, patch);
}

static _Atomic int phase;

static bool slow(void *context, int signal_number, const siginfo_t *info, uintptr_t address)
{
	(void)context;
	phase = 1;
	dm_clock_sleep_ns(100 * DM_NS_PER_MS);
	phase = 2;
	return patch(NULL, signal_number, info, address);
}

static void *touch(void *mapping)
{
	*(volatile char *)mapping = 1;
	return NULL;
}

Test(memfault, unregister_waits_for_a_call_that_is_under_way)
{
	char *mapping = truncated_mapping();
	pthread_t thread;

	cr_assert(zero(int, dm_memfault_register((uintptr_t)mapping, BYTES, slow, NULL)));
	cr_assert(zero(int, pthread_create(&thread, NULL, touch, mapping)));
	while (phase == 0)
		usleep(100);
	dm_memfault_unregister((uintptr_t)mapping, slow);
	cr_expect(eq(int, phase, 2));
	pthread_join(thread, NULL);
}

static int forget_in_child(void)
{
	char *mapping = (char *)handled_address;

	/* The parent's other thread is inside the handler; here it does not exist. */
	dm_memfault_unregister((uintptr_t)mapping, slow);
	return 0;
}

Test(memfault, a_child_does_not_wait_for_threads_of_its_parent)
{
	char *mapping = truncated_mapping();
	pthread_t thread;

	cr_assert(zero(int, dm_memfault_register((uintptr_t)mapping, BYTES, slow, NULL)));
	handled_address = (uintptr_t)mapping;
	cr_assert(zero(int, pthread_create(&thread, NULL, touch, mapping)));
	while (phase == 0)
		usleep(100);
	cr_expect(zero(int, in_child(forget_in_child)));
	pthread_join(thread, NULL);
	dm_memfault_unregister((uintptr_t)mapping, slow);
}
