/* SPDX-License-Identifier: Apache-2.0 */
/*
 * office.c: who is the arbiter, and the thread that each process has for it.
 *
 * The arbiter keeps its office until it leaves or dies.  Then the live process with the lowest desk runs for it; a process
 * with a higher desk runs too when no lower one has taken the office for two beats.  Running is Lamport's bakery, which needs
 * lines with one writer each and no atomic operation: CHOOSING; look for the highest term; CLAIMING with the next one; wait
 * for those who are still choosing; whoever sees a claim with a lower (term, desk), or an arbiter that lives, gives up.
 *
 * Dead is, on this machine, a process that the kernel says is gone: at once.  Else one whose beats have not changed for a
 * lease, counted in beats of the observer that came on time, so that an observer which was itself stopped takes nobody
 * for dead.  Who is only taken for dead may come back: so the candidate writes the other's deposed line first, and waits
 * a beat.  An arbiter looks at its deposed line every half beat at the latest, and before a store when its last look is
 * older: an arbiter that was stopped between two operations finds itself deposed before it stores anything.  Stopped exactly
 * between the look and the store, for longer than a lease, it can't: see docs/failure-model.md.
 *
 * The thread waits for nobody while it holds the lock.  Members that wait for an answer poke it, so a death is looked for when
 * somebody needs the arbiter, not only on the next beat.
 *
 * Source: Lamport, A New Solution of Dijkstra's Concurrent Programming Problem (1974).
 */
#include <errno.h>
#include <sched.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/error.h"
#include "base/fault.h"
#include "failure/delegate.h"

#define LINE_BYTES  UINT64_C(64)
#define LOOK_BEYOND 8u /* desks that are looked at above the highest in use */
#define VACANT_MAX  2u /* ticks that a higher desk gives the lower ones */
#define SPIN_NS     (200 * UINT64_C(1000))
#define SHORT_NAP   (50 * UINT64_C(1000))
#define LONG_NAP    DM_NS_PER_MS

int dm_office_write(struct dm_delegate *d, enum dm_office_phase phase)
{
	struct dm_desk_office_pm office = {.beats = d->beats, .term = d->term, .nonce = d->nonce, .phase = (uint32_t)phase};

	dm_line_seal(&office);
	d->phase = phase;
	d->desks[d->desk].office = office;
	return dm_window_publish(d->window, &d->desks[d->desk].office, LINE_BYTES);
}

void dm_office_poke(struct dm_delegate *d)
{
	d->poked = true;
	pthread_cond_signal(&d->wake);
}

void dm_office_leave(struct dm_delegate *d, enum dm_office_phase phase)
{
	d->in_office = false;
	d->arbiter = DM_NO_DESK;
	if (dm_office_write(d, phase) != 0)
		dm_log(DMEM_LOG_WARNING, "the office of the arbiter could not be laid down: %s", dmem_last_error());
}

/* True: somebody has taken this claim of ours for a dead one's. */
static bool is_deposed(struct dm_delegate *d)
{
	const struct dm_desk_deposed_pm *deposed = &d->desks[d->desk].deposed;

	if (dm_window_refresh(d->window, deposed, LINE_BYTES) != 0)
		return true;
	return dm_line_whole(deposed) && deposed->term >= d->term;
}

bool dm_office_still_ours(struct dm_delegate *d)
{
	uint64_t now_ns = dm_clock_now_ns();

	if (!d->in_office)
		return false;
	if (now_ns - d->verified_ns < d->beat_ms * DM_NS_PER_MS / 2)
		return true;
	if (!d->evicted && !is_deposed(d)) {
		d->verified_ns = now_ns;
		return true;
	}
	dm_log(DMEM_LOG_WARNING, "we were away, and are not the arbiter of atomic operations any more");
	dm_office_leave(d, DM_OFFICE_NONE);
	return false;
}

/* --- looking at others --- */

/* Look at a desk; its view says since when nothing has moved there. */
static int look_at(struct dm_delegate *d, uint32_t desk, struct dm_desk_holder_pm *holder)
{
	struct dm_desk_view *view = &d->views[desk];
	struct dm_desk_office_pm office;
	int rc = dm_window_refresh(d->window, &d->desks[desk].holder, 2 * LINE_BYTES);

	if (rc)
		return rc;
	*holder = d->desks[desk].holder;
	office = d->desks[desk].office;
	if (!dm_line_whole(holder) || holder->pid <= 0)
		holder->nonce = 0;
	if (!dm_line_whole(&office)) /* it is just being written, or its writer died in it */
		office = (struct dm_desk_office_pm){.beats = view->beats, .term = view->term, .phase = (uint32_t)view->phase};
	if (holder->nonce != view->nonce || office.beats != view->beats || office.phase != (uint32_t)view->phase)
		view->since_tick = d->ticks;
	view->nonce = holder->nonce;
	view->beats = office.beats;
	view->term = office.term;
	view->phase = (enum dm_office_phase)office.phase;
	return 0;
}

static bool is_silent(const struct dm_delegate *d, uint32_t desk)
{
	return d->ticks - d->views[desk].since_tick >= d->lease_ms / d->beat_ms;
}

/* The latest look says: it lives, as far as anybody can tell. */
static bool lives(const struct dm_delegate *d, uint32_t desk, const struct dm_desk_holder_pm *holder)
{
	return holder->nonce != 0 && !is_silent(d, desk) && !dm_desk_holder_gone(d, holder);
}

/* On every beat: who beats, and up to where desks are in use. */
static void survey(struct dm_delegate *d)
{
	uint32_t high = d->desk + 1;
	struct dm_desk_holder_pm holder;

	for (uint32_t desk = 0; desk < d->desks_max && desk < high + LOOK_BEYOND; desk++)
		if (desk != d->desk && look_at(d, desk, &holder) == 0 && holder.nonce != 0 && desk >= high)
			high = desk + 1;
	d->high = high;
}

/* --- running for office --- */

static bool follows_somebody(struct dm_delegate *d)
{
	struct dm_desk_holder_pm holder;

	if (d->arbiter != DM_NO_DESK && look_at(d, d->arbiter, &holder) == 0 && lives(d, d->arbiter, &holder) &&
	    d->views[d->arbiter].phase == DM_OFFICE_HELD)
		return true;
	d->arbiter = DM_NO_DESK;
	for (uint32_t desk = 0; desk < d->desks_max; desk++) {
		if (desk == d->desk || look_at(d, desk, &holder) != 0 || d->views[desk].phase != DM_OFFICE_HELD ||
		    !lives(d, desk, &holder))
			continue;
		d->arbiter = desk;
		return true;
	}
	return false;
}

static bool lower_desk_lives(struct dm_delegate *d)
{
	struct dm_desk_holder_pm holder;

	for (uint32_t desk = 0; desk < d->desk; desk++)
		if (look_at(d, desk, &holder) == 0 && lives(d, desk, &holder))
			return true;
	return false;
}

static int choose_term(struct dm_delegate *d)
{
	uint64_t highest = d->term;
	int rc = 0;

	for (uint32_t desk = 0; rc == 0 && desk < d->desks_max; desk++) {
		const struct dm_desk_pm *lines = &d->desks[desk];

		if (desk != d->desk)
			rc = dm_window_refresh(d->window, &lines->office, 3 * LINE_BYTES); /* office, deposed, intent */
		if (rc == 0 && dm_line_whole(&lines->office) && lines->office.term > highest)
			highest = lines->office.term;
		if (rc == 0 && dm_line_whole(&lines->intent) && lines->intent.term > highest)
			highest = lines->intent.term;
	}
	if (rc == 0 && is_deposed(d) && d->desks[d->desk].deposed.term > highest)
		highest = d->desks[d->desk].deposed.term;
	if (rc == 0)
		d->term = highest + 1;
	return rc;
}

static int depose(struct dm_delegate *d, uint32_t desk)
{
	struct dm_desk_deposed_pm deposed = {.term = d->term};

	dm_line_seal(&deposed);
	d->desks[desk].deposed = deposed;
	dm_log(DMEM_LOG_WARNING, "the process at desk %u does not answer; its part in atomic operations is over", desk);
	return dm_window_publish(d->window, &d->desks[desk].deposed, LINE_BYTES);
}

enum verdict { WON, WAIT, DEPOSED, LOST }; /* the higher one counts */

/* What another desk means for our claim. */
static enum verdict weigh(struct dm_delegate *d, uint32_t desk)
{
	const struct dm_desk_view *view = &d->views[desk];
	struct dm_desk_holder_pm holder;

	if (look_at(d, desk, &holder) != 0)
		return LOST;
	if (holder.nonce == 0 || view->phase == DM_OFFICE_NONE || view->phase == DM_OFFICE_RESIGNED ||
	    dm_desk_holder_gone(d, &holder))
		return WON;
	if (is_silent(d, desk)) {
		const struct dm_desk_deposed_pm *deposed = &d->desks[desk].deposed;

		if (dm_window_refresh(d->window, deposed, LINE_BYTES) != 0)
			return LOST;
		if (dm_line_whole(deposed) && deposed->term >= view->term)
			return WON; /* it has had its beat */
		return depose(d, desk) == 0 ? DEPOSED : LOST;
	}
	if (view->phase == DM_OFFICE_HELD)
		return LOST;
	if (view->phase == DM_OFFICE_CHOOSING)
		return WAIT;
	return view->term < d->term || (view->term == d->term && desk < d->desk) ? LOST : WON;
}

static enum verdict count_claims(struct dm_delegate *d)
{
	enum verdict verdict = WON;

	for (uint32_t desk = 0; verdict != LOST && desk < d->desks_max; desk++) {
		enum verdict here = desk == d->desk ? WON : weigh(d, desk);

		verdict = here > verdict ? here : verdict;
	}
	return verdict;
}

static void nap(struct dm_delegate *d, uint64_t ns)
{
	pthread_mutex_unlock(&d->lock);
	dm_clock_sleep_ns(ns);
	pthread_mutex_lock(&d->lock);
}

static int take_office(struct dm_delegate *d)
{
	int rc = dm_office_write(d, DM_OFFICE_HELD);

	DM_CRASH_POINT(DELEGATE_IN_OFFICE);
	if (rc == 0)
		rc = dm_arbiter_take_over(d);
	if (rc)
		return rc;
	d->in_office = true;
	d->arbiter = d->desk;
	dm_log(DMEM_LOG_INFO, "this process carries out atomic operations now (desk %u, term %llu)", d->desk,
	       (unsigned long long)d->term);
	return 0;
}

/* All claims as they are now.  What was seen before we were stopped for a while is old. */
static enum verdict judge(struct dm_delegate *d)
{
	uint64_t began_ns = dm_clock_now_ns();
	enum verdict verdict = count_claims(d);

	if (verdict != WON)
		return verdict;
	d->verified_ns = dm_clock_now_ns();
	if (is_deposed(d))
		return LOST;
	return d->verified_ns - began_ns < d->beat_ms * DM_NS_PER_MS / 2 ? WON : WAIT;
}

/* Claim the office: for a beat at most, then the thread has to beat, and claims again. */
static void run_for_office(struct dm_delegate *d)
{
	uint64_t end_ns = dm_clock_now_ns() + d->beat_ms * DM_NS_PER_MS;
	enum verdict verdict = WAIT;
	int rc = dm_office_write(d, DM_OFFICE_CHOOSING);

	DM_CRASH_POINT(DELEGATE_CHOOSING);
	if (rc == 0)
		rc = choose_term(d);
	if (rc == 0)
		rc = dm_office_write(d, DM_OFFICE_CLAIMING);
	DM_CRASH_POINT(DELEGATE_CLAIMED);
	while (rc == 0 && (verdict == WAIT || verdict == DEPOSED) && dm_clock_now_ns() < end_ns) {
		verdict = judge(d);
		if (verdict == DEPOSED) /* longer than it goes without a look at its deposed line */
			nap(d, d->beat_ms * DM_NS_PER_MS * 3 / 4);
		else if (verdict == WAIT)
			nap(d, SHORT_NAP);
	}
	if (rc == 0 && verdict == WON)
		rc = take_office(d);
	if (rc || verdict != WON)
		dm_office_leave(d, DM_OFFICE_NONE);
}

/* --- the thread --- */

static void beat(struct dm_delegate *d, bool on_time)
{
	d->beats++;
	d->ticks += on_time;
	if (!dm_desk_keep(d)) {
		dm_log(DMEM_LOG_ERROR, "desk %u was given to somebody else while we were away", d->desk);
		d->evicted = true;
	}
	if (d->in_office)
		(void)dm_office_still_ours(d);
	if (!d->evicted && dm_office_write(d, d->phase) != 0)
		dm_log(DMEM_LOG_ERROR, "the heartbeat of desk %u could not be written: %s", d->desk, dmem_last_error());
	survey(d);
}

static void look_for_arbiter(struct dm_delegate *d)
{
	if (d->evicted || follows_somebody(d)) {
		d->vacant_since_tick = UINT64_MAX;
		return;
	}
	if (d->vacant_since_tick == UINT64_MAX)
		d->vacant_since_tick = d->ticks;
	if (d->ticks - d->vacant_since_tick >= VACANT_MAX || !lower_desk_lives(d))
		run_for_office(d);
}

/* Until the next beat, or until somebody waits for an answer. */
static void wait_for_work(struct dm_delegate *d, uint64_t until_ns)
{
	uint64_t now_ns = dm_clock_now_ns();
	struct timespec deadline;

	if (d->poked || now_ns >= until_ns)
		return;
	clock_gettime(CLOCK_MONOTONIC, &deadline);
	until_ns = (uint64_t)deadline.tv_nsec + (until_ns - now_ns);
	deadline.tv_sec += (time_t)(until_ns / DM_NS_PER_S);
	deadline.tv_nsec = (long)(until_ns % DM_NS_PER_S);
	pthread_cond_timedwait(&d->wake, &d->lock, &deadline);
}

/* Let the program's threads in, and sleep the longer the longer nobody has asked. */
static void rest(struct dm_delegate *d, uint64_t idle_ns)
{
	pthread_mutex_unlock(&d->lock);
	if (idle_ns < SPIN_NS)
		sched_yield();
	else
		dm_clock_sleep_ns(idle_ns < 100 * SPIN_NS ? SHORT_NAP : LONG_NAP);
	atomic_fetch_add(&d->wanted, 1);
	pthread_mutex_lock(&d->lock);
	atomic_fetch_sub(&d->wanted, 1);
}

void *dm_office_main(void *argument)
{
	struct dm_delegate *d = argument;
	uint64_t period_ns = d->beat_ms * DM_NS_PER_MS;
	uint64_t next_ns = dm_clock_now_ns();
	uint64_t busy_ns = next_ns;

	pthread_setname_np(pthread_self(), "dmem-arbiter");
	pthread_mutex_lock(&d->lock);
	if (dm_desk_write_holder(d, (uint32_t)gettid()) != 0)
		dm_log(DMEM_LOG_WARNING, "desk %u does not say which thread it has: %s", d->desk, dmem_last_error());
	while (!atomic_load_explicit(&d->stop, memory_order_acquire)) {
		uint64_t now_ns = dm_clock_now_ns();

		if (now_ns >= next_ns) {
			beat(d, now_ns < next_ns + period_ns / 2);
			next_ns = now_ns + period_ns;
		}
		d->poked = false;
		if (!d->in_office)
			look_for_arbiter(d);
		if (!d->in_office) {
			wait_for_work(d, next_ns);
			continue;
		}
		if (dm_arbiter_serve(d) > 0)
			busy_ns = dm_clock_now_ns();
		rest(d, dm_clock_now_ns() - busy_ns);
	}
	pthread_mutex_unlock(&d->lock);
	return NULL;
}
