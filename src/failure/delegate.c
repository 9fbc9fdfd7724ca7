/* SPDX-License-Identifier: Apache-2.0 */
/*
 * delegate.c: what a window's words are where hosts share no atomic operations: see delegate.h.
 *
 * A thread takes a free lane of its process's desk, writes its request, and waits for the reply of the same sequence number.
 * When its own process is the arbiter it carries the operation out itself.  Before it asks, it refreshes the word's line: plain
 * stores of before the line's first atomic use must not come out of this host's cache over what the arbiter writes.
 */
#include "failure/delegate.h"

#include <errno.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/error.h"
#include "base/fault.h"
#include "base/stop.h"
#include "dmem/pool.h"

#define LINE_BYTES        UINT64_C(64)
#define STACK_BYTES       (256u * 1024u)
#define LANES_ALL         ((1u << DM_DESK_LANES) - 1)
#define LOOKS_SPINNING    100u
#define NAP_FIRST_NS      (20 * UINT64_C(1000))
#define NAP_LAST_NS       (500 * UINT64_C(1000))
#define POKE_AFTER_NS     DM_NS_PER_MS
#define WAIT_TO_REPORT_NS (10 * DM_NS_PER_S)

static void lock(struct dm_delegate *d)
{
	/* the arbiter's thread serves all other processes: it goes first */
	for (unsigned i = 0; i < 10 && atomic_load_explicit(&d->wanted, memory_order_relaxed) != 0; i++)
		sched_yield();
	pthread_mutex_lock(&d->lock);
}

static int usable(struct dm_delegate *d)
{
	if (atomic_load_explicit(&d->window->lost, memory_order_relaxed))
		return dm_fail_quietly(DMEM_E_LOST, "%s: memory of the pool was lost", d->window->devices[0]->name);
	if (d->evicted)
		return dm_fail(DMEM_E_FENCED,
		               "%s: this process did not run for longer than a lease, and the others have gone on without it: "
		               "attach again",
		               d->window->devices[0]->name);
	return 0;
}

static int write_request(struct dm_delegate *d, unsigned lane, enum dm_word_op op, uint64_t word_off, unsigned width,
                         uint64_t operand, uint64_t expected)
{
	struct dm_desk_request_pm request = {.sequence = ++d->sequence,
	                                     .word_off = word_off,
	                                     .operand = operand,
	                                     .expected = expected,
	                                     .slot_plus_1 = d->slot_plus_1,
	                                     .incarnation = d->incarnation,
	                                     .op = (uint16_t)op,
	                                     .width = (uint16_t)width};
	void *line = dm_window_at(d->window, dm_align_down(word_off, LINE_BYTES));
	int rc = dm_window_refresh(d->window, line, LINE_BYTES);

	if (rc)
		return rc;
	dm_line_seal(&request);
	d->desks[d->desk].requests[lane] = request;
	rc = dm_window_publish(d->window, &d->desks[d->desk].requests[lane], LINE_BYTES);
	DM_CRASH_POINT(DELEGATE_ASKED);
	return rc;
}

/* 1: the answer is there.  0: not yet.  Negative: there will be none. */
static int look_for_reply(struct dm_delegate *d, unsigned lane, uint64_t sequence, struct dm_desk_reply_pm *reply)
{
	struct dm_desk_reply_pm *line = &d->desks[d->desk].replies[lane];
	int rc = usable(d);

	if (rc == 0 && !d->in_office) /* when we are the arbiter, ours is the newest copy */
		rc = dm_window_refresh(d->window, line, LINE_BYTES);
	if (rc)
		return rc;
	*reply = *line;
	return reply->sequence == sequence && dm_line_whole(reply);
}

/* Between two looks, without the lock. */
static void pause_between(struct dm_delegate *d, unsigned looks, uint64_t *nap_ns)
{
	if (d->idle != NULL && pthread_equal(d->idle_thread, pthread_self()))
		d->idle(d->idle_context);
	if (looks < LOOKS_SPINNING) {
		sched_yield();
		return;
	}
	dm_clock_sleep_ns(*nap_ns);
	*nap_ns = *nap_ns * 2 < NAP_LAST_NS ? *nap_ns * 2 : NAP_LAST_NS;
}

/* Called and returns with the lock. */
static int wait_for_reply(struct dm_delegate *d, unsigned lane, uint64_t sequence, struct dm_desk_reply_pm *reply)
{
	uint64_t began_ns = dm_clock_now_ns();
	uint64_t nap_ns = NAP_FIRST_NS;
	bool reported = false;
	int rc;

	for (unsigned looks = 0;; looks++) {
		uint64_t waited_ns;

		rc = look_for_reply(d, lane, sequence, reply);
		if (rc != 0)
			break;
		waited_ns = dm_clock_now_ns() - began_ns;
		if (waited_ns > POKE_AFTER_NS)
			dm_office_poke(d);
		if (waited_ns > WAIT_TO_REPORT_NS && !reported) {
			reported = true;
			dm_log(DMEM_LOG_WARNING, "%s: an atomic operation has waited for %llu s for an arbiter",
			       d->window->devices[0]->name, (unsigned long long)(WAIT_TO_REPORT_NS / DM_NS_PER_S));
		}
		pthread_mutex_unlock(&d->lock);
		pause_between(d, looks, &nap_ns);
		lock(d);
	}
	return rc < 0 ? rc : 0;
}

static int ask(struct dm_delegate *d, enum dm_word_op op, uint64_t word_off, unsigned width, uint64_t operand,
               uint64_t expected, uint64_t *previous)
{
	unsigned lane = (unsigned)__builtin_ctz(~d->lanes_busy);
	struct dm_desk_reply_pm reply;
	int rc;

	d->lanes_busy |= 1u << lane;
	rc = write_request(d, lane, op, word_off, width, operand, expected);
	if (rc == 0)
		rc = wait_for_reply(d, lane, d->desks[d->desk].requests[lane].sequence, &reply);
	d->lanes_busy &= ~(1u << lane);
	pthread_cond_signal(&d->lane_free);
	if (rc)
		return rc;
	if (reply.result == DMEM_E_FENCED)
		return dm_fail(DMEM_E_FENCED, "%s: this member was fenced: the others have gone on without it; attach again",
		               d->window->devices[0]->name);
	if (reply.result != 0)
		return dm_fail(reply.result, "%s: the arbiter could not carry out an atomic operation: %s",
		               d->window->devices[0]->name, dmem_strerror(reply.result));
	*previous = reply.previous;
	return 0;
}

static int change_word(void *context, enum dm_word_op op, void *word, unsigned width, uint64_t operand,
                       uint64_t expected, uint64_t *previous)
{
	struct dm_delegate *d = context;
	uint64_t word_off = dm_window_offset(d->window, word);
	uint64_t before = 0;
	int rc;

	lock(d);
	rc = dm_arbiter_check_word(d, word_off, width);
	while (rc == 0) {
		rc = usable(d);
		if (rc == 0 && d->in_office) {
			rc = dm_arbiter_carry_out(d, op, word_off, width, operand, expected, &before);
			if (rc != -EAGAIN)
				break;
			rc = 0;
		} else if (rc == 0 && d->lanes_busy == LANES_ALL) {
			pthread_cond_wait(&d->lane_free, &d->lock);
		} else if (rc == 0) {
			rc = ask(d, op, word_off, width, operand, expected, &before);
			break;
		}
	}
	pthread_mutex_unlock(&d->lock);
	if (rc == 0 && previous != NULL)
		*previous = before;
	return rc;
}

static int load_word(void *context, const void *word, unsigned width, uint64_t *value)
{
	struct dm_delegate *d = context;
	uint64_t word_off = dm_window_offset(d->window, word);
	int rc;

	lock(d);
	rc = dm_arbiter_check_word(d, word_off, width);
	if (rc == 0)
		rc = usable(d);
	if (rc == 0)
		rc = dm_arbiter_load(d, word_off, width, value);
	pthread_mutex_unlock(&d->lock);
	return rc;
}

static void hold_words(void *context, bool hold)
{
	struct dm_delegate *d = context;

	if (hold)
		lock(d);
	else
		pthread_mutex_unlock(&d->lock);
}

static const struct dm_word_ops delegated_words = {.load = load_word, .change = change_word, .hold = hold_words};

/* --- beginning and end --- */

static int start_thread(struct dm_delegate *d)
{
	pthread_attr_t attributes;
	sigset_t all;
	sigset_t before;
	int rc;

	pthread_attr_init(&attributes);
	pthread_attr_setstacksize(&attributes, STACK_BYTES);
	sigfillset(&all); /* as the agent's */
	sigdelset(&all, SIGSEGV);
	sigdelset(&all, SIGBUS);
	sigdelset(&all, DM_STOP_SIGNAL);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	rc = pthread_create(&d->thread, &attributes, dm_office_main, d);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	pthread_attr_destroy(&attributes);
	if (rc)
		return dm_fail(
			-rc, "the thread for atomic operations can't be started (%s): raise the limit on processes (ulimit -u)",
			strerror(rc));
	d->thread_runs = true;
	return 0;
}

static int init(struct dm_delegate *d, struct dm_window *window, const struct dm_host *host)
{
	const struct dm_superblock_pm *sb = &window->superblock;
	pthread_condattr_t attributes;

	if (!dm_range_inside(sb->delegate_off, (uint64_t)sb->desks_max * sizeof(struct dm_desk_pm), sb->static_bytes))
		return dm_fail(DMEM_E_CORRUPT, "%s: the superblock has no room for %u desks: look at it with 'dmemctl fsck'",
		               window->devices[0]->name, sb->desks_max);
	d->window = window;
	d->desks = dm_window_at(window, sb->delegate_off);
	d->table = dm_window_at(window, sb->member_off);
	d->desks_max = sb->desks_max;
	d->slots_max = sb->members_max;
	d->beat_ms = sb->beat_ms;
	d->lease_ms = sb->lease_ms;
	d->host = *host;
	d->pid = getpid();
	d->desk = DM_NO_DESK;
	d->arbiter = DM_NO_DESK;
	d->vacant_since_tick = UINT64_MAX;
	d->lanes_busy = 0;
	pthread_mutex_init(&d->lock, NULL);
	pthread_condattr_init(&attributes);
	pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
	pthread_cond_init(&d->lane_free, &attributes);
	pthread_cond_init(&d->wake, &attributes);
	pthread_condattr_destroy(&attributes);
	d->views = calloc(d->desks_max, sizeof(*d->views));
	return d->views == NULL ? dm_fail(-ENOMEM, "no memory for the desks of %s", window->devices[0]->name) : 0;
}

static void destroy(struct dm_delegate *d)
{
	dm_desk_close_mark(d);
	free(d->views);
	free(d);
}

int dm_delegate_open(struct dm_window *window, const struct dm_host *host, struct dm_delegate **result)
{
	struct dm_delegate *d;
	int rc;

	*result = NULL;
	if (window->superblock.atomics != DMEM_ATOMICS_DELEGATE)
		return 0;
	d = calloc(1, sizeof(*d));
	if (d == NULL)
		return dm_fail(-ENOMEM, "no memory to join %s", window->devices[0]->name);
	d->desk_fd = -1;
	rc = init(d, window, host);
	if (rc == 0)
		rc = dm_desk_claim(d);
	if (rc)
		goto err_destroy;
	rc = start_thread(d);
	if (rc)
		goto err_give_back;
	window->words_context = d;
	window->words = &delegated_words;
	*result = d;
	return 0;
err_give_back:
	dm_desk_give_back(d);
err_destroy:
	destroy(d);
	return rc;
}

void dm_delegate_close(struct dm_delegate *d)
{
	if (d == NULL)
		return;
	if (d->window->words_context == d) {
		d->window->words = NULL;
		d->window->words_context = NULL;
	}
	if (d->pid == getpid()) {
		/* pairs with the acquire in dm_office_main() */
		atomic_store_explicit(&d->stop, true, memory_order_release);
		pthread_mutex_lock(&d->lock);
		dm_office_poke(d);
		pthread_mutex_unlock(&d->lock);
		pthread_join(d->thread, NULL);
		if (!d->evicted) {
			dm_office_leave(d, d->in_office ? DM_OFFICE_RESIGNED : DM_OFFICE_NONE);
			dm_desk_give_back(d);
		}
	}
	destroy(d);
}

void dm_delegate_forget(struct dm_delegate *d)
{
	if (d != NULL)
		dm_desk_close_mark(d);
}

void dm_delegate_identify(struct dm_delegate *d, uint32_t slot, uint32_t incarnation)
{
	if (d == NULL)
		return;
	pthread_mutex_lock(&d->lock);
	d->slot_plus_1 = slot + 1; /* DM_NO_SLOT is the highest number */
	d->incarnation = incarnation;
	pthread_mutex_unlock(&d->lock);
}

void dm_delegate_set_idle(struct dm_delegate *d, void (*idle)(void *), void *context)
{
	if (d == NULL)
		return;
	pthread_mutex_lock(&d->lock);
	d->idle_context = context;
	d->idle_thread = pthread_self();
	d->idle = idle;
	pthread_mutex_unlock(&d->lock);
}
