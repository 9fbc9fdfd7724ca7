/* SPDX-License-Identifier: Apache-2.0 */
/*
 * memfault.c: see memfault.h.
 *
 * Ranges stand in a static table.  Writers (register, unregister) hold `table_lock`; the signal handler takes no lock.
 * It looks for a range with plain loads, then counts itself into `calls` of that range and looks again whether the range
 * is still the one it found: a range is only changed after it stopped being ACTIVE and `calls` has come down to zero.
 *
 * Invariants: a slot's fields are written while its state is FREE and read only while it is ACTIVE; `order` never
 * repeats; a previous handler is written once, before ours is installed.
 *
 * Sources: signal-safety(7), sigaction(2); hazard pointers (M. Michael, 2004) for counting in before looking again.
 */
#include "base/memfault.h"

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <string.h>
#include <time.h>

#include "base/arith.h"
#include "base/error.h"
#include "base/forklock.h"

#define RANGES_MAX 128

enum range_state {
	RANGE_FREE,
	RANGE_ACTIVE,
	RANGE_CLOSING, /* no new calls; unregister waits for those under way */
};

struct range {
	_Atomic unsigned state;
	_Atomic unsigned calls; /* signal handlers that are looking at the slot, or are in its handler */
	_Atomic uint64_t order; /* of registration; the highest wins */
	_Atomic uintptr_t first;
	_Atomic uintptr_t last; /* inclusive, so that a range may end where the address space does */
	_Atomic(dm_memfault_fn) handler;
	_Atomic(void *) context;
};

static struct range ranges[RANGES_MAX];
static _Atomic unsigned ranges_used; /* slots at and above it were never used */
static uint64_t orders_given;
static _Atomic pid_t table_owner;
static struct dm_forklock table_lock;

/* Whom to ask after us, for SIGBUS and SIGSEGV. */
struct previous {
	int signal_number;
	bool installed;
	struct sigaction action;
	_Atomic bool spent; /* it was SA_RESETHAND and has had its one call */
};

static struct previous previous_of[] = {{.signal_number = SIGBUS}, {.signal_number = SIGSEGV}};

static struct previous *previous_find(int signal_number)
{
	return signal_number == SIGBUS ? &previous_of[0] : &previous_of[1];
}

static bool range_holds(const struct range *range, uintptr_t address)
{
	return atomic_load_explicit(&range->state, memory_order_acquire) == RANGE_ACTIVE &&
	       address >= atomic_load_explicit(&range->first, memory_order_relaxed) &&
	       address <= atomic_load_explicit(&range->last, memory_order_relaxed);
}

/* The latest range that holds the address and was registered before `limit`; NULL when there is none. */
static struct range *range_find(uintptr_t address, uint64_t limit, uint64_t *order)
{
	unsigned used = atomic_load_explicit(&ranges_used, memory_order_acquire);
	struct range *best = NULL;
	uint64_t best_order = 0;

	for (unsigned i = 0; i < used; i++) {
		uint64_t its_order = atomic_load_explicit(&ranges[i].order, memory_order_relaxed);

		if (its_order < limit && its_order > best_order && range_holds(&ranges[i], address)) {
			best = &ranges[i];
			best_order = its_order;
		}
	}
	*order = best_order;
	return best;
}

enum verdict {
	VERDICT_GONE, /* the range was unregistered while we looked; its slot may hold another one */
	VERDICT_DECLINED,
	VERDICT_HANDLED,
};

static enum verdict range_call(struct range *range, uint64_t order, int signal_number, const siginfo_t *info,
                               uintptr_t address)
{
	enum verdict verdict = VERDICT_GONE;

	/* Sequentially consistent, as the store of CLOSING: either we see CLOSING, or unregister sees our count. */
	atomic_fetch_add(&range->calls, 1);
	if (atomic_load(&range->state) == RANGE_ACTIVE &&
	    atomic_load_explicit(&range->order, memory_order_relaxed) == order) {
		dm_memfault_fn handler = atomic_load_explicit(&range->handler, memory_order_relaxed);
		void *context = atomic_load_explicit(&range->context, memory_order_relaxed);

		verdict = handler(context, signal_number, info, address) ? VERDICT_HANDLED : VERDICT_DECLINED;
	}
	/* Release: what the handler did comes before the end of the wait in calls_drain(). */
	atomic_fetch_sub_explicit(&range->calls, 1, memory_order_release);
	return verdict;
}

static bool ranges_handle(int signal_number, const siginfo_t *info)
{
	uintptr_t address = (uintptr_t)info->si_addr;
	uint64_t order, limit = UINT64_MAX;
	struct range *range;

	/* Sent by a process (si_code <= 0), or a fault whose address the processor doesn't tell: si_addr means nothing. */
	if (info->si_code <= 0 || info->si_code == SI_KERNEL)
		return false;
	while ((range = range_find(address, limit, &order)) != NULL) {
		enum verdict verdict = range_call(range, order, signal_number, info, address);

		if (verdict == VERDICT_HANDLED)
			return true;
		if (verdict == VERDICT_DECLINED)
			limit = order;
	}
	return false;
}

/* Let the signal do what it does to a program without handlers: the instruction runs into the fault again and the
 * core dump shows it.  A signal that was sent would not come again by itself, so it is sent again. */
static void take_default(int signal_number, const siginfo_t *info)
{
	struct sigaction action = {.sa_handler = SIG_DFL};
	bool asynchronous = info->si_code <= 0;

#ifdef BUS_MCEERR_AO
	asynchronous = asynchronous || (signal_number == SIGBUS && info->si_code == BUS_MCEERR_AO);
#endif
	sigemptyset(&action.sa_mask);
	sigaction(signal_number, &action, NULL);
	if (asynchronous)
		raise(signal_number);
}

static void call_previous(const struct sigaction *action, int signal_number, siginfo_t *info, void *machine)
{
	sigset_t mask = action->sa_mask, before;

	if ((action->sa_flags & SA_NODEFER) == 0)
		sigaddset(&mask, signal_number);
	pthread_sigmask(SIG_BLOCK, &mask, &before);
	if ((action->sa_flags & SA_SIGINFO) != 0)
		action->sa_sigaction(signal_number, info, machine);
	else
		action->sa_handler(signal_number);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
}

static void chain(int signal_number, siginfo_t *info, void *machine)
{
	struct previous *previous = previous_find(signal_number);
	const struct sigaction *action = &previous->action;
	bool is_handler =
		(action->sa_flags & SA_SIGINFO) != 0 || (action->sa_handler != SIG_DFL && action->sa_handler != SIG_IGN);

	if (is_handler) {
		if ((action->sa_flags & SA_RESETHAND) == 0 || !atomic_exchange(&previous->spent, true))
			call_previous(action, signal_number, info, machine);
		else
			take_default(signal_number, info);
	} else if (action->sa_handler == SIG_IGN && info->si_code <= 0) {
		/* Somebody sent a signal that the program ignores.  A real fault can't be ignored: the kernel kills. */
		return;
	} else {
		take_default(signal_number, info);
	}
}

static void on_signal(int signal_number, siginfo_t *info, void *machine)
{
	int saved_errno = errno;

	if (!ranges_handle(signal_number, info))
		chain(signal_number, info, machine);
	errno = saved_errno;
}

static bool is_ours(const struct sigaction *action)
{
	return (action->sa_flags & SA_SIGINFO) != 0 && action->sa_sigaction == on_signal;
}

/*
 * Install the handler for one signal.  Once it was installed and another handler stands there now, that one may call
 * ours in turn, and putting ours on top would make a circle: it is left alone.  SIG_DFL and SIG_IGN call nobody, so they
 * are replaced.
 */
static int handler_install(struct previous *previous)
{
	struct sigaction now, ours = {.sa_sigaction = on_signal, .sa_flags = SA_SIGINFO | SA_ONSTACK | SA_NODEFER};
	bool bare;

	if (sigaction(previous->signal_number, NULL, &now) != 0)
		return -errno;
	if (is_ours(&now))
		return 0;
	bare = (now.sa_flags & SA_SIGINFO) == 0 && (now.sa_handler == SIG_DFL || now.sa_handler == SIG_IGN);
	if (previous->installed && !bare)
		return 0;
	/* Before ours is in place, because the first fault may come at once. */
	previous->action = now;
	atomic_store(&previous->spent, false);
	sigemptyset(&ours.sa_mask);
	if (sigaction(previous->signal_number, &ours, NULL) != 0)
		return -errno;
	previous->installed = true;
	return 0;
}

/* In a child after fork() no other thread exists: calls that were under way in the parent are not under way here. */
static void table_claim(void)
{
	pid_t self = getpid();

	if (atomic_load_explicit(&table_owner, memory_order_relaxed) == self)
		return;
	for (unsigned i = 0; i < RANGES_MAX; i++) {
		atomic_store(&ranges[i].calls, 0);
		if (atomic_load(&ranges[i].state) == RANGE_CLOSING)
			atomic_store(&ranges[i].state, RANGE_FREE);
	}
	atomic_store_explicit(&table_owner, self, memory_order_relaxed);
}

static int range_add(uintptr_t address, size_t bytes, dm_memfault_fn handler, void *context)
{
	unsigned slot;

	for (slot = 0; slot < RANGES_MAX; slot++) {
		if (atomic_load(&ranges[slot].state) == RANGE_FREE)
			break;
	}
	if (slot == RANGES_MAX)
		return dm_fail(-ENOSPC, "all %d fault ranges are in use: detach pools that are not needed", RANGES_MAX);
	atomic_store_explicit(&ranges[slot].first, address, memory_order_relaxed);
	atomic_store_explicit(&ranges[slot].last, address + (bytes - 1), memory_order_relaxed);
	atomic_store_explicit(&ranges[slot].handler, handler, memory_order_relaxed);
	atomic_store_explicit(&ranges[slot].context, context, memory_order_relaxed);
	atomic_store_explicit(&ranges[slot].order, ++orders_given, memory_order_relaxed);
	/* Pairs with the load of the state in range_holds() and range_call(). */
	atomic_store(&ranges[slot].state, RANGE_ACTIVE);
	if (slot >= atomic_load_explicit(&ranges_used, memory_order_relaxed))
		atomic_store_explicit(&ranges_used, slot + 1, memory_order_release);
	return 0;
}

int dm_memfault_register(uintptr_t address, size_t bytes, dm_memfault_fn handler, void *context)
{
	uint64_t last;
	int err = 0;

	if (bytes == 0 || handler == NULL || !dm_add(address, bytes - 1, &last))
		return dm_fail(-EINVAL, "a fault range of %zu bytes at %#lx has no handler, no length or no end", bytes,
		               (unsigned long)address);
	dm_forklock_lock(&table_lock);
	table_claim();
	for (size_t i = 0; i < DM_ARRAY_LENGTH(previous_of) && err == 0; i++) {
		err = handler_install(&previous_of[i]);
		if (err != 0)
			dm_fail(err, "the handler of signal %d cannot be installed: %s", previous_of[i].signal_number,
			        dmem_strerror(err));
	}
	if (err == 0)
		err = range_add(address, bytes, handler, context);
	dm_forklock_unlock(&table_lock);
	return err;
}

static void calls_drain(struct range *range)
{
	struct timespec moment = {.tv_nsec = 20000};

	/* Acquire: pairs with the release at the end of range_call(). */
	while (atomic_load(&range->calls) != 0)
		nanosleep(&moment, NULL);
}

void dm_memfault_unregister(uintptr_t address, dm_memfault_fn handler)
{
	struct range *found = NULL;
	int saved_errno = errno;

	dm_forklock_lock(&table_lock);
	table_claim();
	for (unsigned i = 0; i < RANGES_MAX; i++) {
		struct range *range = &ranges[i];

		if (range_holds(range, address) && atomic_load(&range->first) == address &&
		    atomic_load(&range->handler) == handler &&
		    (found == NULL || atomic_load(&range->order) > atomic_load(&found->order)))
			found = range;
	}
	if (found != NULL)
		atomic_store(&found->state, RANGE_CLOSING);
	dm_forklock_unlock(&table_lock);
	/* Without the lock: a handler may take its time, and CLOSING keeps the slot from everybody else. */
	if (found != NULL) {
		calls_drain(found);
		atomic_store(&found->state, RANGE_FREE);
	}
	errno = saved_errno;
}
