/* SPDX-License-Identifier: Apache-2.0 */
/* ordering.c: shapes for the fence and for atomic words: clauses M5, A1 to A4 and A6. */
#include "litmus/litmus.h"

/* Many pairs of lines in a run: one pair would seldom be met at the right moment. */
enum { PAIRS = 24, FLAG = 62, BACK = 63, DATA = 0 };

/* --- Dekker's pattern: each stores its own word, then looks at the other's --- */

static void dekker(struct litmus_run *run, unsigned own, unsigned other)
{
	run->seen[0] = 0;
	for (unsigned i = 0; i < PAIRS; i++) {
		uint64_t seen;

		set_flag(word_of(run, 2 * i + own), run->value);
		step_fence(run);
		seen = load_word(word_of(run, 2 * i + other));
		run->seen[0] |= (uint64_t)(seen != run->value) << i;
	}
}

static void dekker_writer(struct litmus_run *run)
{
	dekker(run, 0, 1);
}

static void dekker_reader(struct litmus_run *run)
{
	dekker(run, 1, 0);
}

static bool both_missed(const struct litmus_outcome *outcome)
{
	return (outcome->seen[WRITER][0] & outcome->seen[READER][0]) != 0;
}

/* The same with published stores. */
static void published(struct litmus_run *run, unsigned own, unsigned other)
{
	run->seen[0] = 0;
	for (unsigned i = 0; i < PAIRS; i++) {
		volatile uint64_t *theirs = line_of(run, 2 * i + other);

		line_of(run, 2 * i + own)[0] = run->value;
		step_publish(run, line_of(run, 2 * i + own), 8);
		step_fence(run);
		step_refresh(run, theirs, 8);
		run->seen[0] |= (uint64_t)(theirs[0] != run->value) << i;
	}
}

static void published_writer(struct litmus_run *run)
{
	published(run, 0, 1);
}

static void published_reader(struct litmus_run *run)
{
	published(run, 1, 0);
}

/* --- two words in one aligned 8 bytes, and one word for both --- */

#define ADDITIONS 20u

static void add_u32(const struct litmus_run *run, uint32_t *word)
{
	uint32_t before;

	if (!left_out(run, ATOMIC)) {
		MUST(dmem_atomic_add_u32(word, 1, &before));
		return;
	}
	/* as if the two words were one of 64 bits, read and written back */
	uint64_t *whole = (uint64_t *)(uintptr_t)((uintptr_t)word & ~(uintptr_t)7);
	uint64_t value = load_word(whole);

	set_flag(whole, value + ((uintptr_t)word & 4 ? UINT64_C(1) << 32 : 1));
}

static void halves(struct litmus_run *run, unsigned half)
{
	uint32_t *word = (uint32_t *)(void *)word_of(run, DATA) + half;
	uint32_t before;
	uint32_t after;

	MUST(dmem_atomic_load_u32(word, &before));
	for (unsigned i = 0; i < ADDITIONS; i++)
		add_u32(run, word);
	MUST(dmem_atomic_load_u32(word, &after));
	run->seen[0] = after - before;
}

static void halves_writer(struct litmus_run *run)
{
	halves(run, 0);
}

static void halves_reader(struct litmus_run *run)
{
	halves(run, 1);
}

static bool an_addition_is_lost(const struct litmus_outcome *outcome)
{
	return outcome->seen[WRITER][0] != ADDITIONS || outcome->seen[READER][0] != ADDITIONS;
}

/* Both add to a word of this run; whoever is last sees all additions but its own. */
static void count(struct litmus_run *run)
{
	uint64_t before = 0;

	run->seen[0] = 0;
	for (unsigned i = 0; i < ADDITIONS; i++) {
		if (left_out(run, ATOMIC)) {
			before = load_word(word_of(run, DATA));
			set_flag(word_of(run, DATA), before + 1);
		} else {
			MUST(dmem_atomic_add_u64(word_of(run, DATA), 1, &before));
		}
	}
	MUST(dmem_atomic_add_u64(word_of(run, FLAG), 1, &before));
	if (before % 2 == 0) /* the first of the two */
		return;
	run->seen[0] = 1;
	MUST(dmem_atomic_exchange_u64(word_of(run, DATA), 0, &run->seen[1]));
}

static bool the_sum_is_wrong(const struct litmus_outcome *outcome)
{
	const uint64_t *last = outcome->seen[outcome->seen[WRITER][0] ? WRITER : READER];

	return last[0] != 1 || last[1] != 2 * (uint64_t)ADDITIONS;
}

/* Both want each of many words; each has one winner. */
static void claim(struct litmus_run *run, uint64_t own)
{
	run->seen[0] = 0;
	for (unsigned i = 0; i < PAIRS; i++) {
		uint64_t *word = word_of(run, DATA + i);
		uint64_t before = load_word(word);
		uint64_t previous;

		if (before / 2 == run->value) /* the other one was first */
			continue;
		if (left_out(run, ATOMIC)) {
			previous = load_word(word);
			if (previous == before)
				set_flag(word, 2 * run->value + own);
		} else {
			MUST(dmem_atomic_cas_u64(word, before, 2 * run->value + own, &previous));
		}
		run->seen[0] |= (uint64_t)(previous == before) << i;
	}
}

static void claim_writer(struct litmus_run *run)
{
	claim(run, 0);
}

static void claim_reader(struct litmus_run *run)
{
	claim(run, 1);
}

static bool not_one_winner_each(const struct litmus_outcome *outcome)
{
	uint64_t all = (UINT64_C(1) << PAIRS) - 1;

	return (outcome->seen[WRITER][0] ^ outcome->seen[READER][0]) != all;
}

/* --- exchange and add carry what was published, as a store and a load do --- */

static void carry_writer(struct litmus_run *run)
{
	line_of(run, DATA)[0] = run->value;
	step_publish(run, line_of(run, DATA), 8);
	MUST(dmem_atomic_exchange_u64(word_of(run, FLAG), run->value, NULL));
	await_flag(word_of(run, BACK), run->value);
	run->seen[0] = run->value;
}

static void carry_reader(struct litmus_run *run)
{
	uint64_t seen;

	do
		MUST(dmem_atomic_add_u64(word_of(run, FLAG), 0, &seen));
	while (seen != run->value);
	step_refresh(run, line_of(run, DATA), 8);
	run->seen[0] = line_of(run, DATA)[0];
	set_flag(word_of(run, BACK), run->value);
}

/* --- a word's first value is stored as an atomic one --- */

static void first_writer(struct litmus_run *run)
{
	uint64_t *word = MUST_HAVE(dmem_alloc_ex(run->pool, 64, NULL));

	if (left_out(run, ATOMIC))
		*(volatile uint64_t *)word = run->value;
	else
		MUST(dmem_atomic_store_u64(word, run->value));
	tell_block(word_of(run, FLAG), word);
	await_flag(word_of(run, BACK), run->value);
	dmem_free(word);
}

static void first_reader(struct litmus_run *run)
{
	uint64_t *word = await_block(word_of(run, FLAG));

	run->seen[0] = load_word(word);
	set_flag(word_of(run, BACK), run->value);
}

const struct litmus_shape litmus_ordering[] = {
	{"M5", "store_buffering_of_published_lines", published_writer, published_reader, both_missed,
	 PUBLISH | REFRESH | FENCE, 0, 1},
	{"A1", "two_words_in_eight_bytes", halves_writer, halves_reader, an_addition_is_lost, ATOMIC, UINT64_MAX, 1},
	{"A2", "additions_from_both_sides", count, count, the_sum_is_wrong, ATOMIC, UINT64_MAX, 1},
	{"A2", "one_winner_for_a_word", claim_writer, claim_reader, not_one_winner_each, ATOMIC, UINT64_MAX, 1},
	{"A3", "exchange_tells_add", carry_writer, carry_reader, reader_is_stale, PUBLISH | REFRESH,
	 LINE_BIT(FLAG) | LINE_BIT(BACK), 1},
	{"A4", "store_buffering_of_words", dekker_writer, dekker_reader, both_missed, FENCE, UINT64_MAX, 1},
	{"A6", "the_first_value", first_writer, first_reader, reader_is_stale, ATOMIC, UINT64_MAX, 1},
	{0},
};
