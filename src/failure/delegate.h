/* SPDX-License-Identifier: Apache-2.0 */
/*
 * delegate.h: atomic words in pools whose hosts share no atomic operations (`?atomics=delegate`).
 *
 * One process, the arbiter, carries out every store, exchange, cas and add; the others ask it through lines with one writer
 * each.  Loads refresh the word's line and look.  docs/design/0007-delegated-atomics.md says why.
 *
 * delegate.c  asking, and what the program's threads call    desk.c    taking a desk
 * arbiter.c   carrying out                                   office.c  who is the arbiter; the thread
 */
#ifndef DM_FAILURE_DELEGATE_H
#define DM_FAILURE_DELEGATE_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "addr/window.h"
#include "failure/delegate_layout.h"
#include "failure/host.h"
#include "failure/member_layout.h"

#define DM_NO_DESK UINT32_MAX

/* What is known here of another desk. */
struct dm_desk_view {
	uint64_t nonce; /* of its holder; 0: nobody */
	uint64_t term;
	uint64_t beats;
	uint64_t since_tick; /* of ours: from then on `beats` has not changed */
	enum dm_office_phase phase;
};

struct dm_delegate {
	struct dm_window *window;
	struct dm_desk_pm *desks;         /* in the pool */
	const struct dm_member_pm *table; /* in the pool: who has its rights */
	uint32_t desks_max;
	uint32_t slots_max;
	uint32_t beat_ms;
	uint32_t lease_ms;
	struct dm_host host;
	pid_t pid; /* whose this is: a child of fork() makes its own */

	uint32_t desk; /* ours */
	bool marked;   /* this machine's kernel keeps it for us, as long as desk_fd is open */
	int desk_fd;
	dev_t mark_device; /* which file desk_fd is */
	ino_t mark_inode;
	uint64_t nonce; /* ours */

	/* Of everything below, and of every access of this process to desks and to words: an arbiter's own refresh would drop what
	 * another of its threads has stored and not yet published.  window->lock is taken inside, nothing else. */
	pthread_mutex_t lock;
	uint32_t slot_plus_1; /* of the member that this process is; 0: none */
	uint32_t incarnation;
	uint64_t sequence; /* of the last request */
	unsigned lanes_busy;
	pthread_cond_t lane_free;
	bool evicted; /* our desk is somebody else's: we were away for too long */

	bool in_office;
	uint64_t term;
	enum dm_office_phase phase;
	uint64_t beats;
	uint64_t verified_ns; /* when we last saw that nobody has deposed us */
	uint32_t arbiter;     /* DM_NO_DESK: not known */
	uint64_t arbiter_term;
	uint64_t vacant_since_tick;
	uint64_t ticks; /* beats of ours that came on time */
	uint32_t high;  /* desks from here on are free, as far as we have looked */
	struct dm_desk_view *views;

	pthread_t thread;
	bool thread_runs;
	_Atomic bool stop;
	bool poked;
	pthread_cond_t wake;
	_Atomic unsigned wanted; /* the arbiter's thread waits for the lock: others let it pass */

	void (*idle)(void *context); /* what idle_thread has to do while it waits for an answer */
	void *idle_context;
	pthread_t idle_thread;
};

/* Take a desk, start the thread, and let the window's words come here; *delegate is NULL in pools with other atomics. */
int dm_delegate_open(struct dm_window *window, const struct dm_host *host, struct dm_delegate **delegate);
/* NULL is allowed.  Inherited from the parent of a fork(), it is freed and nothing else. */
void dm_delegate_close(struct dm_delegate *delegate);
/* After fork, in the child: let go of what holds the parent's desk. */
void dm_delegate_forget(struct dm_delegate *delegate);

/* From now on requests are this member's, and refused when it has lost its rights; DM_NO_SLOT: nobody's. */
void dm_delegate_identify(struct dm_delegate *delegate, uint32_t slot, uint32_t incarnation);
/* The calling thread has something to do that can't wait for an arbiter: it is called again and again meanwhile. */
void dm_delegate_set_idle(struct dm_delegate *delegate, void (*idle)(void *), void *context);

/* --- what the four files offer each other; all under the lock, if nothing else is said --- */

/* desk.c */
int dm_desk_claim(struct dm_delegate *d);
void dm_desk_give_back(struct dm_delegate *d);
int dm_desk_write_holder(struct dm_delegate *d, uint32_t thread);
/* Our holder line still is ours, or is made so again; false: the desk is lost. */
bool dm_desk_keep(struct dm_delegate *d);
void dm_desk_close_mark(struct dm_delegate *d);
/* 0, or -ENOENT: nobody holds it. */
int dm_desk_read_holder(struct dm_delegate *d, uint32_t desk, struct dm_desk_holder_pm *holder);
/* Is the process known to be gone?  False when it can't be told from here. */
bool dm_desk_holder_gone(const struct dm_delegate *d, const struct dm_desk_holder_pm *holder);

/* office.c */
void *dm_office_main(void *delegate); /* the thread; without the lock */
int dm_office_write(struct dm_delegate *d, enum dm_office_phase phase);
void dm_office_poke(struct dm_delegate *d);
/* May we still act as the arbiter?  Asked before every store. */
bool dm_office_still_ours(struct dm_delegate *d);
void dm_office_leave(struct dm_delegate *d, enum dm_office_phase phase);

/* arbiter.c */
/* Finish what the predecessor had begun. */
int dm_arbiter_take_over(struct dm_delegate *d);
/* Carry out what is asked for now; how many operations there were. */
unsigned dm_arbiter_serve(struct dm_delegate *d);
/* An operation of this process, which is the arbiter. */
int dm_arbiter_carry_out(struct dm_delegate *d, enum dm_word_op op, uint64_t word_off, unsigned width, uint64_t operand,
                         uint64_t expected, uint64_t *previous);
int dm_arbiter_load(struct dm_delegate *d, uint64_t word_off, unsigned width, uint64_t *value);
int dm_arbiter_check_word(struct dm_delegate *d, uint64_t word_off, unsigned width);

/* Lines: the CRC is the last four bytes of each. */
void dm_line_seal(void *line);
bool dm_line_whole(const void *line);

#endif
