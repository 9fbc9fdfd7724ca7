/* SPDX-License-Identifier: Apache-2.0 */
/*
 * litmus.h: what a litmus test of the memory model is made of.
 *
 * A shape is two functions, which two members run at the same time, and an outcome that its clause forbids.  They see a
 * set of lines of their own for each run: which hold plain data, and which atomic words, is the shape's own choice,
 * the same in every run (clause A1).  The number of the run is the value that is handed over, so that whatever is stale
 * is another number.
 *
 * A step that the clause asks for goes through step_publish() and its like: the runner leaves it out to see that the
 * forbidden outcome then comes.  Calls that are not the point of the shape go through publish() and its like, and are
 * never left out.
 */
#ifndef DM_TESTS_LITMUS_H
#define DM_TESTS_LITMUS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "dmem/dmem.h"

#define LITMUS_LINES  128u /* of one run: two pages; atomic words lie in the first one only */
#define LITMUS_LINE   64u
#define LITMUS_SEEN   8u
#define LITMUS_WORDS  8u  /* in a line */

enum litmus_role { WRITER, READER };

#define LINE_BIT(line) (UINT64_C(1) << (line))

/* Steps that can be left out. */
enum litmus_step {
	STEP_PUBLISH,
	STEP_REFRESH,
	STEP_FENCE,
	STEP_ATOMIC, /* an atomic call that is made of two, or of a plain store */
	STEP_ZEROED, /* asking for zeroed memory */
	STEPS,
};
#define PUBLISH (1u << STEP_PUBLISH)
#define REFRESH (1u << STEP_REFRESH)
#define FENCE   (1u << STEP_FENCE)
#define ATOMIC  (1u << STEP_ATOMIC)
#define ZEROED  (1u << STEP_ZEROED)

/* What the two saw in one run; each writes its own half.  Outside of the pool. */
struct litmus_outcome {
	uint64_t value;
	uint64_t seen[2][LITMUS_SEEN];
};

struct litmus_run {
	struct dmem_pool *pool;
	const char *name;      /* of the pool, for shapes that attach again */
	uint64_t value;        /* of this run: larger than that of every run before */
	unsigned left_out;     /* steps */
	char *lines;           /* LITMUS_LINES of them, in the pool */
	uint64_t *seen;        /* this member's half of the outcome */
	struct litmus_outcome *outcome;
};

struct litmus_shape {
	const char *clause;
	const char *name;
	void (*writer)(struct litmus_run *run);
	void (*reader)(struct litmus_run *run);
	bool (*forbidden)(const struct litmus_outcome *outcome);
	unsigned steps;        /* that can be left out */
	uint64_t words;        /* lines that hold atomic words, a bit each: the runner gives them their first value, 0 */
	unsigned costly;       /* one run in so many: processes are made, or whole pools looked through; 0 and 1: all */
};

extern const struct litmus_shape litmus_publishing[];
extern const struct litmus_shape litmus_ordering[];
extern const struct litmus_shape litmus_memory[];
extern const struct litmus_shape litmus_processes[];

/* End this member with a sentence, when a call of the library fails. */
#define MUST(call) litmus_must((call), #call)
void litmus_must(int rc, const char *call);
void *litmus_must_have(void *block, const char *call);
#define MUST_HAVE(call) litmus_must_have((call), #call)

/* Plain words of a run's lines; volatile, so that each access in a shape is one. */
static inline volatile uint64_t *line_of(const struct litmus_run *run, unsigned line)
{
	return (volatile uint64_t *)(void *)(run->lines + (size_t)line * LITMUS_LINE);
}

/* An atomic word at the start of a line. */
static inline uint64_t *word_of(const struct litmus_run *run, unsigned line)
{
	return (uint64_t *)(void *)(run->lines + (size_t)line * LITMUS_LINE);
}

void publish(const volatile void *address, size_t bytes);
void refresh(const volatile void *address, size_t bytes);
void step_publish(const struct litmus_run *run, const volatile void *address, size_t bytes);
void step_handoff(const struct litmus_run *run, const volatile void *address, size_t bytes);
void step_refresh(const struct litmus_run *run, const volatile void *address, size_t bytes);
void step_fence(const struct litmus_run *run);

static inline bool left_out(const struct litmus_run *run, unsigned step)
{
	return (run->left_out & step) != 0;
}

uint64_t load_word(const uint64_t *word);
/* Flags: a release store, and waiting until it is seen with acquire loads. */
void set_flag(uint64_t *word, uint64_t value);
void await_flag(const uint64_t *word, uint64_t value);

/* Data operations on a line that nobody else looks at: occasions for lines to move by themselves. */
void idle(const struct litmus_run *run, unsigned line);

/* The usual verdicts: the reader did not see this run's value in the first place; one of them did not. */
bool reader_is_stale(const struct litmus_outcome *outcome);
bool either_is_stale(const struct litmus_outcome *outcome);

/* A block made by allocation, told through an atomic word: its address, which is never the same number as a run. */
void tell_block(uint64_t *word, const void *block);
void *await_block(uint64_t *word); /* takes it: the word is 0 again */

#endif
