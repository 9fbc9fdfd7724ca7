/* SPDX-License-Identifier: Apache-2.0 */
/*
 * fault.c: see fault.h.  One point is armed at a time; the countdown is one atomic, so that of several threads that pass
 * the point exactly one sees it reach zero.
 */
#include "base/fault.h"

#ifdef DM_FAULT_INJECTION

#include <signal.h>
#include <stdatomic.h>
#include <stddef.h>

#define NOTHING_ARMED DM_FAULT_COUNT

static _Atomic unsigned armed_id = NOTHING_ARMED;
static _Atomic unsigned armed_action;
static _Atomic unsigned armed_countdown;
static _Atomic unsigned long passed[DM_FAULT_COUNT];

void dm_fault_arm(enum dm_fault_id id, enum dm_fault_action action, unsigned countdown)
{
	dm_fault_disarm();
	if ((unsigned)id >= DM_FAULT_COUNT || countdown == 0)
		return;
	atomic_store_explicit(&armed_action, action, memory_order_relaxed);
	atomic_store_explicit(&armed_countdown, countdown, memory_order_relaxed);
	/* Release: pairs with the acquire in dm_fault_reached(). */
	atomic_store_explicit(&armed_id, id, memory_order_release);
}

void dm_fault_disarm(void)
{
	atomic_store_explicit(&armed_id, NOTHING_ARMED, memory_order_relaxed);
}

const char *dm_fault_name(enum dm_fault_id id)
{
	static const char *const names[] = {
#define DM_FAULT_ENUM(name, what) #name,
#include "base/fault_points.def"
#undef DM_FAULT_ENUM
		NULL,
	};

	return (unsigned)id < DM_FAULT_COUNT ? names[id] : "unknown";
}

unsigned long dm_fault_passages(enum dm_fault_id id)
{
	return (unsigned)id < DM_FAULT_COUNT ? atomic_load_explicit(&passed[id], memory_order_relaxed) : 0;
}

/* True for the one passage that takes the countdown from 1 to 0; it never goes below. */
static bool countdown_ends(void)
{
	unsigned left = atomic_load_explicit(&armed_countdown, memory_order_relaxed);

	while (left > 0) {
		if (atomic_compare_exchange_weak_explicit(&armed_countdown, &left, left - 1, memory_order_relaxed,
		                                          memory_order_relaxed))
			return left == 1;
	}
	return false;
}

bool dm_fault_reached(enum dm_fault_id id)
{
	unsigned action;

	atomic_fetch_add_explicit(&passed[id], 1, memory_order_relaxed);
	if (atomic_load_explicit(&armed_id, memory_order_acquire) != (unsigned)id)
		return false;
	action = atomic_load_explicit(&armed_action, memory_order_relaxed);
	if (!countdown_ends())
		return false;
	dm_fault_disarm();
	if (action == DM_FAULT_FAIL)
		return true;
	raise(action == DM_FAULT_KILL ? SIGKILL : SIGSTOP);
	return false;
}

#endif
