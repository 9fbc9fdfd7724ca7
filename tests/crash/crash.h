/* SPDX-License-Identifier: Apache-2.0 */
/*
 * crash.h: lives that end at a fault point, and what a survivor must find afterwards.
 *
 * A life is a function that a forked process (the victim) runs on a pool of its own.  A first run counts how often it passes
 * each fault point; then it is run once for each passage, and killed there.  What each process knows to be alive stands
 * in memory that all of them share (struct crash): so for a killed thread at most the one operation is in doubt that it
 * was in.  crash_check() is the survivor's part.
 */
#ifndef DM_TESTS_CRASH_H
#define DM_TESTS_CRASH_H

#include <semaphore.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/fault.h"
#include "dmem/dmem.h"

#define CRASH_BLOCKS_MAX 1024u
#define CRASH_SLOTS      128u
#define CRASH_THREADS    6u /* that may have an operation in doubt */
#define CRASH_PATH_BYTES 128u

enum crash_role { CRASH_VICTIM = 0, CRASH_SECOND_THREAD = 1, CRASH_PARTNER = 2, CRASH_HEIR = 3, CRASH_EARLIER = 4 };

/* What a thread is about to do, so that its death leaves at most this in doubt. */
enum crash_op { CRASH_NOTHING, CRASH_ALLOC, CRASH_FREE };
struct crash_note {
	_Atomic uint32_t op;
	_Atomic uint64_t address; /* 0: an allocation that has not returned */
};

struct crash_block {
	_Atomic uint64_t address; /* 0: no block */
	uint64_t bytes;
};

/* What the partner, a member that lives on, is asked for. */
enum crash_request { CRASH_REQUEST_FREE, CRASH_REQUEST_ALLOC, CRASH_REQUEST_ARM, CRASH_REQUEST_CHECK };

struct crash {
	char path[CRASH_PATH_BYTES];  /* of the pool's file */
	char uri[CRASH_PATH_BYTES + 8];
	char extra[CRASH_PATH_BYTES]; /* of a second device */
	char registry[CRASH_PATH_BYTES]; /* of windows: this test's own */
	uint64_t size_bytes;
	const char *lease;            /* of new pools */
	_Atomic uint32_t blocks_used; /* entries of `blocks` that were ever used */
	struct crash_block blocks[CRASH_BLOCKS_MAX];
	struct crash_note notes[CRASH_THREADS];
	_Atomic uint64_t slots;       /* CRASH_SLOTS pointers in a block of the account; 0: none yet */
	unsigned long passages[DM_FAULT_COUNT]; /* of the last run that was not killed */
	struct {
		enum crash_request request;
		uint64_t argument;
		enum dm_fault_id point;
		unsigned countdown;
		sem_t asked;
		sem_t answered;
		pid_t pid;            /* 0: there is no partner */
	} partner;
	sem_t victim_waits;           /* the victim is there and waits for */
	sem_t victim_goes;            /* ... this */
	unsigned bystanders;          /* members that live on beside who repairs */
	sem_t heir_waits;             /* the heir, likewise */
	sem_t heir_goes;
	char failure[512];            /* the first thing that was wrong */
};

/* A life.  It attaches by itself; its end is the end of its process, in whatever way. */
typedef void (*crash_life)(struct crash *);

struct crash_case {
	const char *name;
	crash_life before; /* an earlier member's part, NULL for none; it may end with a SIGKILL too */
	crash_life life;
	bool with_partner;
};

/* --- the common part of lives (process.c) --- */

struct crash *crash_begin(void);
void crash_end(struct crash *c);
/* A new pool, and nothing known of it. */
void crash_new_pool(struct crash *c);
void crash_new_pool_of(struct crash *c, uint64_t size_bytes);
void crash_remove_pool(struct crash *c);

/* Note what is wrong; only the first one is kept. */
void crash_fail(struct crash *c, const char *format, ...) __attribute__((format(printf, 2, 3)));

extern struct dmem_pool *crash_pool; /* of this process */
extern enum crash_role crash_self;   /* of this process */
void crash_attach(struct crash *c);

/* Allocate `bytes` of shared memory and note it; the entry's index.  `role` is the thread's. */
uint32_t crash_alloc_as(struct crash *c, enum crash_role role, size_t bytes, size_t alignment);
uint32_t crash_alloc(struct crash *c, size_t bytes);
void crash_free_as(struct crash *c, enum crash_role role, uint32_t index);
void crash_free(struct crash *c, uint32_t index);
void *crash_address(struct crash *c, uint32_t index);

/* Pointers in the pool, for calls whose hand-over is part of the operation: what they hold is alive, nothing else is lost. */
void crash_open_slots(struct crash *c);
void crash_alloc_to(struct crash *c, uint32_t slot, size_t bytes);
void crash_free_from(struct crash *c, uint32_t slot);
/* What a slot holds, as the pool has it. */
void *crash_slot(struct crash *c, uint32_t slot);

/* Ask the partner, if there is one, and wait until it has done it. */
uint64_t crash_ask(struct crash *c, enum crash_request request, uint64_t argument);

pid_t crash_fork(struct crash *c, enum crash_role role, crash_life life);
pid_t crash_fork_armed(struct crash *c, crash_life life, enum dm_fault_id point, unsigned countdown);
pid_t crash_fork_partner(struct crash *c);
/* An heir that attaches now and checks when heir_goes is posted. */
pid_t crash_fork_heir_that_waits(struct crash *c);
/* 0, or -SIGNAL, or the exit status. */
int crash_wait(pid_t pid);

/* --- the survivor's part (check.c) --- */

/* Wait until the dead are recovered, then check that nothing is damaged or lost, use the pool, empty it and leave. */
void crash_check(struct crash *c);
/* Lease every chunk that an earlier owner left. */
void crash_adopt_all(struct crash *c);
/* Wait until there are at most `members` members. */
bool crash_wait_for_members(struct crash *c, unsigned members);

/* --- the lives (lives.c) --- */

extern const struct crash_case crash_cases[];
extern const unsigned crash_case_count;
/* What the partner frees of it while the victim is stopped. */
void crash_free_late(struct crash *c);
/* What the partner does after it was armed: repair, adopt, and use what the victim left. */
void crash_take_over(struct crash *c);
/* A life that leaves a bit of everything behind, and waits for its end. */
void crash_live_of_everything(struct crash *c);

#endif
