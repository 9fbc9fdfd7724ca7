/* SPDX-License-Identifier: Apache-2.0 */
/*
 * arbiter.c: carrying out atomic operations, each exactly once, although the arbiter may die between any two stores.
 *
 *   intent line (ours)  ->  the word  ->  reply line
 *
 * An operation takes place when its intent is published: from then on a successor makes sure that the word has the
 * value and the requester its answer, which it may do again and again, because nobody has touched the word since.  Before it,
 * nothing has happened, and the successor finds the request still pending.  A successor looks for the intent of the highest
 * term; it writes intents of its own only when that one is finished, so there never is a second one to look for.
 * An operation of the arbiter's own process needs no intent: who asked dies with who carries out.
 *
 * Before each store the arbiter looks whether it still is the arbiter (office.c).
 *
 * The word's line is refreshed before it is used: its memory may have been something else since we saw it last.
 */
#include <errno.h>
#include <inttypes.h>

#include "base/error.h"
#include "base/fault.h"
#include "failure/delegate.h"
#include "failure/members.h"

#define LINE_BYTES UINT64_C(64)
#define LOOK_AHEAD 4u /* desks beyond the highest that was seen in use */

struct change {
	uint64_t previous;
	uint64_t value;
	bool stores;
};

int dm_arbiter_check_word(struct dm_delegate *d, uint64_t word_off, unsigned width)
{
	if ((width != 4 && width != 8) || (word_off & (width - 1)) != 0 || word_off >= d->window->span_bytes)
		return dm_fail(-EINVAL,
		               "an atomic word of %u bytes at offset 0x%" PRIx64 ": it must have 4 or 8 and be aligned to them",
		               width, word_off);
	if (dm_window_segment(d->window, word_off >> DM_EXTENT_SHIFT) == NULL) { /* memory that was added a moment ago? */
		uint64_t sequence;
		int rc = dm_window_reload(d->window, &sequence);

		if (rc)
			return rc;
	}
	if (dm_window_segment(d->window, word_off >> DM_EXTENT_SHIFT) == NULL)
		return dm_fail(DMEM_E_FOREIGN, "offset 0x%" PRIx64 " of the window belongs to no device of the pool", word_off);
	return 0;
}

static int refresh_word(struct dm_delegate *d, uint64_t word_off)
{
	return dm_window_refresh(d->window, dm_window_at(d->window, dm_align_down(word_off, LINE_BYTES)), LINE_BYTES);
}

int dm_arbiter_load(struct dm_delegate *d, uint64_t word_off, unsigned width, uint64_t *value)
{
	const void *word = dm_window_at(d->window, word_off);
	int rc = refresh_word(d, word_off);

	if (rc)
		return rc;
	*value = width == 4 ? __atomic_load_n((const uint32_t *)word, __ATOMIC_ACQUIRE)
	                    : __atomic_load_n((const uint64_t *)word, __ATOMIC_ACQUIRE);
	return 0;
}

static int store_word(struct dm_delegate *d, uint64_t word_off, unsigned width, uint64_t value)
{
	void *word = dm_window_at(d->window, word_off);

	if (width == 4)
		__atomic_store_n((uint32_t *)word, (uint32_t)value, __ATOMIC_RELEASE);
	else
		__atomic_store_n((uint64_t *)word, value, __ATOMIC_RELEASE);
	return dm_window_publish(d->window, dm_window_at(d->window, dm_align_down(word_off, LINE_BYTES)), LINE_BYTES);
}

/* What the operation makes of the word as it is. */
static int work_out(struct dm_delegate *d, enum dm_word_op op, uint64_t word_off, unsigned width, uint64_t operand,
                    uint64_t expected, struct change *change)
{
	int rc = dm_arbiter_check_word(d, word_off, width);

	if (rc == 0)
		rc = dm_arbiter_load(d, word_off, width, &change->previous);
	if (rc)
		return rc;
	if (width == 4)
		expected = (uint32_t)expected;
	change->stores = op != DM_WORD_CAS || change->previous == expected;
	change->value = op == DM_WORD_ADD ? change->previous + operand : operand;
	return op > DM_WORD_ADD ? dm_fail(DMEM_E_CORRUPT, "an atomic operation of kind %u is asked for", (unsigned)op) : 0;
}

int dm_arbiter_carry_out(struct dm_delegate *d, enum dm_word_op op, uint64_t word_off, unsigned width, uint64_t operand,
                         uint64_t expected, uint64_t *previous)
{
	struct change change;
	int rc = work_out(d, op, word_off, width, operand, expected, &change);

	if (rc == 0 && change.stores)
		rc = dm_office_still_ours(d) ? store_word(d, word_off, width, change.value) : -EAGAIN;
	if (rc == 0)
		*previous = change.previous;
	return rc;
}

/* --- for others --- */

static int write_reply(struct dm_delegate *d, uint32_t desk, unsigned lane, uint64_t sequence, uint64_t previous,
                       int result)
{
	struct dm_desk_reply_pm reply = {.sequence = sequence, .previous = previous, .term = d->term, .result = result};

	dm_line_seal(&reply);
	d->desks[desk].replies[lane] = reply;
	return dm_window_publish(d->window, &d->desks[desk].replies[lane], LINE_BYTES);
}

static int write_intent(struct dm_delegate *d, uint32_t desk, unsigned lane, const struct dm_desk_request_pm *request,
                        const struct change *change)
{
	struct dm_desk_intent_pm intent = {.term = d->term,
	                                   .sequence = request->sequence,
	                                   .word_off = request->word_off,
	                                   .value = change->value,
	                                   .previous = change->previous,
	                                   .desk = desk,
	                                   .lane = (uint16_t)lane,
	                                   .width = request->width};

	dm_line_seal(&intent);
	d->desks[d->desk].intent = intent;
	return dm_window_publish(d->window, &d->desks[d->desk].intent, LINE_BYTES);
}

/* A member that has lost its rights must not change anything any more, however late its request is read. */
static int check_rights(struct dm_delegate *d, const struct dm_desk_request_pm *request)
{
	uint32_t slot = request->slot_plus_1 - 1;
	uint64_t word;
	int rc;

	if (request->slot_plus_1 == 0)
		return 0;
	if (slot >= d->slots_max)
		return DMEM_E_FENCED;
	rc = dm_arbiter_load(d, dm_window_offset(d->window, &d->table[slot].state.word), 8, &word);
	if (rc)
		return rc;
	return dm_member_word_has_rights(word) && dm_member_word_incarnation(word) == request->incarnation ? 0
	                                                                                                   : DMEM_E_FENCED;
}

/* False: we are not the arbiter any more, or the pool is lost; the request is left as it is. */
static bool answer(struct dm_delegate *d, uint32_t desk, unsigned lane, const struct dm_desk_request_pm *request)
{
	struct change change = {0};
	int rc = check_rights(d, request);

	if (rc == 0)
		rc = work_out(d, (enum dm_word_op)request->op, request->word_off, request->width, request->operand,
		              request->expected, &change);
	if (!dm_office_still_ours(d))
		return false;
	if (rc == 0 && change.stores) {
		rc = write_intent(d, desk, lane, request, &change);
		DM_CRASH_POINT(DELEGATE_INTENDED);
		if (!dm_office_still_ours(d))
			return false;
		if (rc == 0)
			rc = store_word(d, request->word_off, request->width, change.value);
		DM_CRASH_POINT(DELEGATE_STORED);
		if (!dm_office_still_ours(d))
			return false;
	}
	if (write_reply(d, desk, lane, request->sequence, change.previous, rc) != 0)
		return false;
	DM_CRASH_POINT(DELEGATE_REPLIED);
	return true;
}

static unsigned serve_desk(struct dm_delegate *d, uint32_t desk, bool *goes_on)
{
	struct dm_desk_pm *lines = &d->desks[desk];
	unsigned served = 0;

	if (dm_window_refresh(d->window, lines->requests, sizeof(lines->requests)) != 0)
		*goes_on = false;
	for (unsigned lane = 0; *goes_on && lane < DM_DESK_LANES; lane++) {
		struct dm_desk_request_pm request = lines->requests[lane];

		if (request.sequence == 0 || request.sequence == lines->replies[lane].sequence || !dm_line_whole(&request))
			continue;
		*goes_on = answer(d, desk, lane, &request);
		served += *goes_on;
	}
	return served;
}

unsigned dm_arbiter_serve(struct dm_delegate *d)
{
	uint32_t end = d->high + LOOK_AHEAD < d->desks_max ? d->high + LOOK_AHEAD : d->desks_max;
	bool goes_on = true;
	unsigned served = 0;

	for (uint32_t desk = 0; goes_on && desk < end; desk++) {
		unsigned here = serve_desk(d, desk, &goes_on);

		served += here;
		if (here > 0 && desk >= d->high)
			d->high = desk + 1;
	}
	return served;
}

/* The intent of the highest term: of the last arbiter that had one. */
static int find_intent(struct dm_delegate *d, struct dm_desk_intent_pm *newest)
{
	int rc = 0;

	*newest = (struct dm_desk_intent_pm){.term = 0};
	for (uint32_t desk = 0; rc == 0 && desk < d->desks_max; desk++) {
		struct dm_desk_intent_pm intent;

		rc = dm_window_refresh(d->window, &d->desks[desk].intent, LINE_BYTES);
		intent = d->desks[desk].intent;
		if (rc == 0 && dm_line_whole(&intent) && intent.term > newest->term)
			*newest = intent;
	}
	return rc;
}

/* Their writer was another one: from here on our copies are the newest.  A line in which it died is no reply. */
static int refresh_replies(struct dm_delegate *d, uint32_t desk)
{
	struct dm_desk_reply_pm *replies = d->desks[desk].replies;
	int rc = dm_window_refresh(d->window, replies, DM_DESK_LANES * LINE_BYTES);

	for (unsigned lane = 0; rc == 0 && lane < DM_DESK_LANES; lane++)
		if (!dm_line_whole(&replies[lane]))
			replies[lane].sequence = 0;
	return rc;
}

/* Does the requester still wait for this one?  It asks again in a lane only when it has its answer, and not every answer has an
 * intent: a reply of another number is no sign that the intent was not finished. */
static bool is_awaited(struct dm_delegate *d, const struct dm_desk_intent_pm *intent)
{
	const struct dm_desk_request_pm *line = &d->desks[intent->desk].requests[intent->lane];
	struct dm_desk_request_pm request = *line;

	return dm_line_whole(&request) && request.sequence == intent->sequence &&
	       d->desks[intent->desk].replies[intent->lane].sequence != intent->sequence;
}

int dm_arbiter_take_over(struct dm_delegate *d)
{
	struct dm_desk_intent_pm intent;
	int rc = find_intent(d, &intent);

	for (uint32_t desk = 0; rc == 0 && desk < d->desks_max; desk++)
		rc = refresh_replies(d, desk);
	if (rc || intent.term == 0 || intent.desk >= d->desks_max || intent.lane >= DM_DESK_LANES)
		return rc;
	rc = dm_window_refresh(d->window, &d->desks[intent.desk].requests[intent.lane], LINE_BYTES);
	if (rc || !is_awaited(d, &intent))
		return rc;
	rc = dm_arbiter_check_word(d, intent.word_off, intent.width);
	if (rc == 0)
		rc = refresh_word(d, intent.word_off);
	if (rc == 0)
		rc = store_word(d, intent.word_off, intent.width, intent.value);
	DM_CRASH_POINT(DELEGATE_REDONE);
	return rc ? rc : write_reply(d, intent.desk, intent.lane, intent.sequence, intent.previous, 0);
}
