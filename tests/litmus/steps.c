/* SPDX-License-Identifier: Apache-2.0 */
/* steps.c: what shapes are written with (litmus.h). */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "litmus/litmus.h"

#define SPINS_BEFORE_SLEEP 100u
#define SLEEP_NS_MAX       UINT64_C(500000)
#define PATIENCE_NS        (30 * UINT64_C(1000000000))

void litmus_must(int rc, const char *call)
{
	if (rc >= 0)
		return;
	fprintf(stderr, "litmus: %s: %s (%s)\n", call, dmem_strerror(rc), dmem_last_error());
	_exit(3);
}

void *litmus_must_have(void *block, const char *call)
{
	if (block == NULL)
		litmus_must(-errno, call);
	return block;
}

void publish(const volatile void *address, size_t bytes)
{
	MUST(dmem_publish((const void *)(uintptr_t)address, bytes));
}

void refresh(const volatile void *address, size_t bytes)
{
	MUST(dmem_refresh((const void *)(uintptr_t)address, bytes));
}

void step_publish(const struct litmus_run *run, const volatile void *address, size_t bytes)
{
	if (!left_out(run, PUBLISH))
		publish(address, bytes);
}

void step_handoff(const struct litmus_run *run, const volatile void *address, size_t bytes)
{
	if (!left_out(run, PUBLISH))
		MUST(dmem_handoff((const void *)(uintptr_t)address, bytes));
}

void step_refresh(const struct litmus_run *run, const volatile void *address, size_t bytes)
{
	if (!left_out(run, REFRESH))
		refresh(address, bytes);
}

void step_fence(const struct litmus_run *run)
{
	if (!left_out(run, FENCE))
		dmem_fence();
}

uint64_t load_word(const uint64_t *word)
{
	uint64_t value;

	MUST(dmem_atomic_load_u64(word, &value));
	return value;
}

void set_flag(uint64_t *word, uint64_t value)
{
	MUST(dmem_atomic_store_u64(word, value));
}

/*
 * Wait until a word holds a value, or, with `any`, something that is not 0.  Gives what it held.
 *
 * Looks less and less often: each look is a data operation, after which lines may move by themselves, and so many of
 * them would do the work of a refresh that was left out.
 */
static uint64_t await(const uint64_t *word, uint64_t value, bool any)
{
	uint64_t deadline_ns = 0;
	uint64_t sleep_ns = 1000;
	uint64_t seen;

	for (unsigned spins = 0;; spins++) {
		seen = load_word(word);
		if (any ? seen != 0 : seen == value)
			return seen;
		if (spins < SPINS_BEFORE_SLEEP)
			continue;
		if (deadline_ns == 0)
			deadline_ns = dm_clock_now_ns() + PATIENCE_NS;
		if (dm_clock_now_ns() > deadline_ns)
			MUST(-ETIMEDOUT);
		dm_clock_sleep_ns(sleep_ns);
		if (sleep_ns < SLEEP_NS_MAX)
			sleep_ns *= 2;
	}
}

void await_flag(const uint64_t *word, uint64_t value)
{
	(void)await(word, value, false);
}

void tell_block(uint64_t *word, const void *block)
{
	set_flag(word, (uint64_t)(uintptr_t)block);
}

void *await_block(uint64_t *word)
{
	uint64_t address = await(word, 0, true);

	set_flag(word, 0);
	return (void *)(uintptr_t)address;
}

void idle(const struct litmus_run *run, unsigned line)
{
	publish(line_of(run, line), 1);
}

bool reader_is_stale(const struct litmus_outcome *outcome)
{
	return outcome->seen[READER][0] != outcome->value;
}

bool either_is_stale(const struct litmus_outcome *outcome)
{
	return outcome->seen[WRITER][0] != outcome->value || outcome->seen[READER][0] != outcome->value;
}
