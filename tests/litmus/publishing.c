/* SPDX-License-Identifier: Apache-2.0 */
/* publishing.c: shapes for publish, refresh and hand-off: clauses M1 to M4, M6, M9 and M11. */
#include <pthread.h>

#include "litmus/litmus.h"

enum { DATA = 0, OTHER = 4, SPARE = 8, FLAG = 16, BACK = 17, LAST = 18 };
#define FLAGS (LINE_BIT(FLAG) | LINE_BIT(BACK) | LINE_BIT(LAST))

/* --- message passing --- */

static void pass_writer(struct litmus_run *run)
{
	line_of(run, DATA)[0] = run->value;
	step_publish(run, line_of(run, DATA), 8);
	set_flag(word_of(run, FLAG), run->value);
}

static void pass_reader(struct litmus_run *run)
{
	await_flag(word_of(run, FLAG), run->value);
	step_refresh(run, line_of(run, DATA), 8);
	run->seen[0] = line_of(run, DATA)[0];
}

/* A range that starts and ends inside of lines: every word of it. */
#define RANGE_FIRST 5u
#define RANGE_WORDS 14u

static void range_writer(struct litmus_run *run)
{
	volatile uint64_t *words = line_of(run, DATA) + RANGE_FIRST;

	for (unsigned i = 0; i < RANGE_WORDS; i++)
		words[i] = run->value;
	step_publish(run, words, RANGE_WORDS * sizeof(*words));
	set_flag(word_of(run, FLAG), run->value);
}

static void range_reader(struct litmus_run *run)
{
	volatile uint64_t *words = line_of(run, DATA) + RANGE_FIRST;

	await_flag(word_of(run, FLAG), run->value);
	step_refresh(run, words, RANGE_WORDS * sizeof(*words));
	run->seen[0] = run->value;
	for (unsigned i = 0; i < RANGE_WORDS; i++)
		if (words[i] != run->value)
			run->seen[0] = words[i];
}

/* One byte is named, and the whole line goes. */
static void line_writer(struct litmus_run *run)
{
	volatile uint64_t *words = line_of(run, DATA);

	for (unsigned i = 0; i < LITMUS_WORDS; i++)
		words[i] = run->value;
	step_publish(run, (volatile char *)words + 20, 1);
	set_flag(word_of(run, FLAG), run->value);
}

static void line_reader(struct litmus_run *run)
{
	volatile uint64_t *words = line_of(run, DATA);

	await_flag(word_of(run, FLAG), run->value);
	step_refresh(run, (volatile char *)words + 50, 1);
	run->seen[0] = run->value;
	for (unsigned i = 0; i < LITMUS_WORDS; i++)
		if (words[i] != run->value)
			run->seen[0] = words[i];
}

/* --- neighbours: each writes its own line at the same time, then looks at the other's and at its own --- */

static void beside(struct litmus_run *run, unsigned own, unsigned other, unsigned own_flag, unsigned other_flag)
{
	line_of(run, own)[7] = run->value;
	step_publish(run, line_of(run, own), LITMUS_LINE);
	set_flag(word_of(run, own_flag), run->value);
	await_flag(word_of(run, other_flag), run->value);
	step_refresh(run, line_of(run, DATA), 2 * LITMUS_LINE);
	run->seen[0] = line_of(run, other)[7] == run->value ? line_of(run, own)[7] : line_of(run, other)[7];
}

static void beside_writer(struct litmus_run *run)
{
	beside(run, DATA, DATA + 1, FLAG, BACK);
}

static void beside_reader(struct litmus_run *run)
{
	beside(run, DATA + 1, DATA, BACK, FLAG);
}

/* --- a pointer: what it points to is published and refreshed for itself --- */

static void pointer_writer(struct litmus_run *run)
{
	unsigned target = OTHER + run->value % 4;

	line_of(run, target)[3] = run->value;
	step_publish(run, line_of(run, target), LITMUS_LINE);
	line_of(run, DATA)[0] = (uint64_t)(uintptr_t)line_of(run, target);
	publish(line_of(run, DATA), 8);
	set_flag(word_of(run, FLAG), run->value);
}

static void pointer_reader(struct litmus_run *run)
{
	volatile uint64_t *target;

	await_flag(word_of(run, FLAG), run->value);
	refresh(line_of(run, DATA), 8);
	target = (volatile uint64_t *)(uintptr_t)line_of(run, DATA)[0];
	step_refresh(run, target, LITMUS_LINE);
	run->seen[0] = target[3];
}

/* --- hand-off: there and back; the second owner writes one half of the line, and keeps the first one's half --- */

static void hand_writer(struct litmus_run *run)
{
	volatile uint64_t *words = line_of(run, DATA);

	refresh(words, LITMUS_LINE);
	words[0] = run->value;
	step_handoff(run, words, LITMUS_LINE);
	set_flag(word_of(run, FLAG), run->value);
	await_flag(word_of(run, BACK), run->value);
	refresh(words, LITMUS_LINE);
	run->seen[0] = words[0] == run->value ? words[7] : words[0];
}

static void hand_reader(struct litmus_run *run)
{
	volatile uint64_t *words = line_of(run, DATA);

	await_flag(word_of(run, FLAG), run->value);
	step_refresh(run, words, LITMUS_LINE);
	run->seen[0] = words[0];
	words[7] = run->value;
	publish(words, LITMUS_LINE);
	set_flag(word_of(run, BACK), run->value);
}

/* What the first owner had stored does not come back later, over what the second one stored. */
static void late_writer(struct litmus_run *run)
{
	line_of(run, DATA)[0] = run->value + 1;
	step_handoff(run, line_of(run, DATA), LITMUS_LINE);
	set_flag(word_of(run, FLAG), run->value);
	await_flag(word_of(run, BACK), run->value);
	for (unsigned i = 0; i < 8; i++)
		idle(run, SPARE);
	set_flag(word_of(run, LAST), run->value);
	run->seen[0] = run->value;
}

static void late_reader(struct litmus_run *run)
{
	volatile uint64_t *words = line_of(run, DATA);

	await_flag(word_of(run, FLAG), run->value);
	refresh(words, LITMUS_LINE);
	words[0] = run->value;
	publish(words, LITMUS_LINE);
	set_flag(word_of(run, BACK), run->value);
	await_flag(word_of(run, LAST), run->value);
	refresh(words, LITMUS_LINE);
	run->seen[0] = words[0];
}

/* --- everything that a member stored --- */

static void all_writer(struct litmus_run *run)
{
	line_of(run, DATA)[0] = run->value;
	line_of(run, OTHER)[6] = run->value;
	if (!left_out(run, PUBLISH))
		MUST(dmem_publish_all(run->pool));
	set_flag(word_of(run, FLAG), run->value);
}

static void all_reader(struct litmus_run *run)
{
	await_flag(word_of(run, FLAG), run->value);
	if (!left_out(run, REFRESH))
		MUST(dmem_refresh_all(run->pool));
	run->seen[0] = line_of(run, DATA)[0] == run->value ? line_of(run, OTHER)[6] : line_of(run, DATA)[0];
}

/* --- a root tells of the object --- */

static void root_writer(struct litmus_run *run)
{
	line_of(run, DATA)[0] = run->value;
	step_publish(run, line_of(run, DATA), 8);
	MUST(dmem_root_set(run->pool, "litmus", run->lines));
}

static void root_reader(struct litmus_run *run)
{
	while (dmem_root_get(run->pool, "litmus") != run->lines)
		;
	step_refresh(run, line_of(run, DATA), 8);
	run->seen[0] = line_of(run, DATA)[0];
}

/* --- a thread stores, another thread of the member publishes --- */

static void *store_there(void *argument)
{
	struct litmus_run *run = argument;

	line_of(run, DATA)[0] = run->value;
	return NULL;
}

static void thread_writer(struct litmus_run *run)
{
	pthread_t thread;

	MUST(-pthread_create(&thread, NULL, store_there, run));
	MUST(-pthread_join(thread, NULL));
	step_publish(run, line_of(run, DATA), 8);
	set_flag(word_of(run, FLAG), run->value);
}

const struct litmus_shape litmus_publishing[] = {
	{"M1", "message_passing", pass_writer, pass_reader, reader_is_stale, PUBLISH | REFRESH, FLAGS, 1},
	{"M1", "a_range_of_three_lines", range_writer, range_reader, reader_is_stale, PUBLISH | REFRESH, FLAGS, 1},
	{"M2", "a_byte_moves_its_line", line_writer, line_reader, reader_is_stale, PUBLISH | REFRESH, FLAGS, 1},
	{"M2", "neighbouring_lines", beside_writer, beside_reader, either_is_stale, PUBLISH | REFRESH, FLAGS, 1},
	{"M3", "through_a_pointer", pointer_writer, pointer_reader, reader_is_stale, PUBLISH | REFRESH, FLAGS, 1},
	{"M4", "there_and_back", hand_writer, hand_reader, either_is_stale, PUBLISH | REFRESH, FLAGS, 1},
	{"M4", "no_late_write_back", late_writer, late_reader, either_is_stale, PUBLISH, FLAGS, 1},
	{"M6", "all_of_it", all_writer, all_reader, reader_is_stale, PUBLISH | REFRESH, FLAGS, 20},
	{"M9", "told_by_a_root", root_writer, root_reader, reader_is_stale, PUBLISH | REFRESH, FLAGS, 1},
	{"M11", "stored_by_another_thread", thread_writer, pass_reader, reader_is_stale, PUBLISH | REFRESH, FLAGS, 1},
	{0},
};
