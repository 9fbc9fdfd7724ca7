/* SPDX-License-Identifier: Apache-2.0 */
/* memory.c: shapes for blocks that come, change hands and go: clauses L1 to L4 and L8. */
#include <string.h>

#include "litmus/litmus.h"

enum { TOLD = 16, DONE = 17, SECOND = 18, LAST = 19 };
#define FLAGS (LINE_BIT(TOLD) | LINE_BIT(DONE) | LINE_BIT(SECOND) | LINE_BIT(LAST))

#define BLOCK_WORDS 5u /* 40 bytes: two would fit a line and a half */
#define BLOCK_BYTES (BLOCK_WORDS * sizeof(uint64_t))

/* The first word that is not what all should be; that, when there is none. */
static uint64_t odd_word(const volatile uint64_t *words, uint64_t expected)
{
	for (unsigned i = 0; i < BLOCK_WORDS; i++)
		if (words[i] != expected)
			return words[i];
	return expected;
}

static void fill(volatile uint64_t *words, uint64_t value)
{
	for (unsigned i = 0; i < BLOCK_WORDS; i++)
		words[i] = value;
}

static volatile uint64_t *allocate(const struct litmus_run *run)
{
	return MUST_HAVE(dmem_alloc_ex(run->pool, BLOCK_BYTES, NULL));
}

/* --- zeroed memory is zero for who asked for it, and then for others; both leave something else in it --- */

static void zeroed_writer(struct litmus_run *run)
{
	struct dmem_alloc_options options = DMEM_ALLOC_OPTIONS_DEFAULT;
	volatile uint64_t *block;

	options.zeroed = !left_out(run, ZEROED);
	block = MUST_HAVE(dmem_alloc_ex(run->pool, BLOCK_BYTES, &options));
	run->seen[0] = odd_word(block, 0);
	publish(block, BLOCK_BYTES);
	tell_block(word_of(run, TOLD), (const void *)(uintptr_t)block);
	await_flag(word_of(run, DONE), run->value);
	refresh(block, BLOCK_BYTES);
	fill(block, run->value);
	dmem_free((void *)(uintptr_t)block);
}

static void zeroed_reader(struct litmus_run *run)
{
	volatile uint64_t *block = await_block(word_of(run, TOLD));

	refresh(block, BLOCK_BYTES);
	run->seen[0] = odd_word(block, 0);
	fill(block, run->value + 1);
	publish(block, BLOCK_BYTES);
	set_flag(word_of(run, DONE), run->value);
}

static bool not_zero(const struct litmus_outcome *outcome)
{
	return outcome->seen[WRITER][0] != 0 || outcome->seen[READER][0] != 0;
}

/* --- an address means the same bytes for both; the second one frees --- */

static void address_writer(struct litmus_run *run)
{
	volatile uint64_t *block = allocate(run);

	fill(block, run->value);
	block[0] = (uint64_t)(uintptr_t)block;
	step_publish(run, block, BLOCK_BYTES);
	tell_block(word_of(run, TOLD), (const void *)(uintptr_t)block);
}

static void address_reader(struct litmus_run *run)
{
	volatile uint64_t *block = await_block(word_of(run, TOLD));

	step_refresh(run, block, BLOCK_BYTES);
	run->seen[0] = block[0] == (uint64_t)(uintptr_t)block ? block[1] : 0;
	dmem_free((void *)(uintptr_t)block);
}

/* --- two small blocks of one member: each gets a writer of its own --- */

static void blocks_writer(struct litmus_run *run)
{
	volatile uint64_t *first = allocate(run);
	volatile uint64_t *second = allocate(run);

	tell_block(word_of(run, TOLD), (const void *)(uintptr_t)second);
	fill(first, run->value);
	step_publish(run, first, BLOCK_BYTES);
	await_flag(word_of(run, DONE), run->value);
	refresh(first, BLOCK_BYTES);
	step_refresh(run, second, BLOCK_BYTES);
	run->seen[0] = odd_word(first, run->value) == run->value ? odd_word(second, run->value) : 0;
	dmem_free((void *)(uintptr_t)first);
	dmem_free((void *)(uintptr_t)second);
}

static void blocks_reader(struct litmus_run *run)
{
	volatile uint64_t *second = await_block(word_of(run, TOLD));

	refresh(second, BLOCK_BYTES);
	fill(second, run->value);
	publish(second, BLOCK_BYTES);
	run->seen[0] = odd_word(second, run->value);
	set_flag(word_of(run, DONE), run->value);
}

/*
 * --- what was stored before a free, and not published, does not appear in the next life ---
 *
 * The blocks are large, so that a slab has few of them: the writer, whose slab it is, gets the block back within some
 * allocations.  The reader then looks at another line of the same page first, so that lines of the page move in its
 * member while one of them may still hold what the reader stored in the last life.
 */
#define LARGE_BYTES (UINT64_C(64) << 10)
#define LARGE_MAX   100u

/* What a block holds before it is freed; each is told from the value of the run. */
#define OF_FIRST_LIFE(run)  ((run)->value + (UINT64_C(1) << 32))
#define NOT_PUBLISHED(run)  ((run)->value + (UINT64_C(2) << 32))

/* Allocate until this block comes again; whatever comes last, when it does not. */
static volatile uint64_t *allocate_again(const struct litmus_run *run, const volatile uint64_t *wanted)
{
	void *others[LARGE_MAX];
	unsigned count = 0;
	volatile uint64_t *block;

	while ((block = MUST_HAVE(dmem_alloc_ex(run->pool, LARGE_BYTES, NULL))) != wanted && count < LARGE_MAX)
		others[count++] = (void *)(uintptr_t)block;
	while (count > 0)
		dmem_free(others[--count]);
	return block;
}

static void next_life_writer(struct litmus_run *run)
{
	volatile uint64_t *block = MUST_HAVE(dmem_alloc_ex(run->pool, LARGE_BYTES, NULL));

	fill(block, OF_FIRST_LIFE(run));
	publish(block, BLOCK_BYTES);
	tell_block(word_of(run, TOLD), (const void *)(uintptr_t)block);
	await_flag(word_of(run, DONE), run->value);
	block = allocate_again(run, block);
	fill(block, run->value);
	step_publish(run, block, BLOCK_BYTES);
	tell_block(word_of(run, SECOND), (const void *)(uintptr_t)block);
	await_flag(word_of(run, LAST), run->value);
	refresh(block, BLOCK_BYTES);
	run->seen[0] = odd_word(block, run->value);
	dmem_free((void *)(uintptr_t)block);
}

static void next_life_reader(struct litmus_run *run)
{
	volatile uint64_t *block = await_block(word_of(run, TOLD));

	refresh(block, BLOCK_BYTES);
	fill(block, NOT_PUBLISHED(run));
	dmem_free((void *)(uintptr_t)block);
	set_flag(word_of(run, DONE), run->value);
	block = await_block(word_of(run, SECOND));
	for (unsigned i = 0; i < 12; i++)
		refresh(block + LITMUS_WORDS, 8);
	step_refresh(run, block, BLOCK_BYTES);
	run->seen[0] = odd_word(block, run->value);
	set_flag(word_of(run, LAST), run->value);
}

/* --- a block that moved is published like any other stores --- */

static void moved_writer(struct litmus_run *run)
{
	uint64_t *block = MUST_HAVE(dmem_alloc_ex(run->pool, BLOCK_BYTES, NULL));

	fill(block, run->value);
	block = MUST_HAVE(dmem_realloc(block, 20 * BLOCK_BYTES));
	step_publish(run, block, BLOCK_BYTES);
	tell_block(word_of(run, TOLD), block);
	await_flag(word_of(run, DONE), run->value);
	dmem_free(block);
}

static void moved_reader(struct litmus_run *run)
{
	volatile uint64_t *block = await_block(word_of(run, TOLD));

	step_refresh(run, block, BLOCK_BYTES);
	run->seen[0] = odd_word(block, run->value);
	set_flag(word_of(run, DONE), run->value);
}

const struct litmus_shape litmus_memory[] = {
	{"L1", "zeroed_for_both", zeroed_writer, zeroed_reader, not_zero, ZEROED, FLAGS, 1},
	{"L2", "an_address_means_the_same", address_writer, address_reader, reader_is_stale, PUBLISH | REFRESH, FLAGS, 1},
	{"L3", "two_writers_of_two_blocks", blocks_writer, blocks_reader, either_is_stale, PUBLISH | REFRESH, FLAGS,
	 1},
	{"L4", "nothing_comes_from_the_last_life", next_life_writer, next_life_reader, either_is_stale, PUBLISH | REFRESH,
	 FLAGS, 1},
	{"L8", "a_moved_block", moved_writer, moved_reader, reader_is_stale, PUBLISH | REFRESH, FLAGS, 1},
	{0},
};
