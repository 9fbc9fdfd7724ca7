/* SPDX-License-Identifier: Apache-2.0 */
/*
 * members.h: who is attached to a pool, and who has died or was fenced.
 *
 * A member is one attached process.  Slot and incarnation together name it for ever; a slot alone is used again.  A member
 * that is silent for a lease is fenced: the others go on without it, its locks are released, and its own calls return
 * DMEM_E_FENCED.  It may come back as a new member: dmem_pool_detach(), then dmem_pool_attach().
 * docs/failure-model.md has the whole story.
 */
#ifndef DMEM_MEMBERS_H
#define DMEM_MEMBERS_H

#include <stddef.h>
#include <stdint.h>

#include "dmem/version.h"

#ifdef __cplusplus
extern "C" {
#endif

struct dmem_pool;

enum dmem_member_state {
	DMEM_MEMBER_GONE = 0,       /* nothing of it is left in the pool; only in dmem_on_member_death() */
	DMEM_MEMBER_JOINING = 1,    /* is attaching */
	DMEM_MEMBER_LIVE = 2,       /* attached */
	DMEM_MEMBER_FENCED = 3,     /* has lost its rights, and may still run: its memory waits for its end */
	DMEM_MEMBER_DEAD = 4,       /* has ended, nobody has begun to take over what it had */
	DMEM_MEMBER_RECOVERING = 5, /* has ended, another member takes over what it had */
	DMEM_MEMBER_LEAVING = 6,    /* is detaching */
};

/* Later versions may append fields. */
struct dmem_member {
	uint32_t slot;
	uint32_t incarnation;
	enum dmem_member_state state;
	int32_t pid;        /* in its own pid namespace; 0 when it is not known (any more) */
	int same_host;      /* not 0: on this host, in this pid namespace */
	int self;           /* not 0: this process */
	uint8_t host[16];   /* identity of its host */
	char host_name[48]; /* what that host calls itself, for people */
	char program[24];   /* its name, for people */
	uint64_t beats;     /* heartbeats so far */
	int64_t
		silent_ms; /* since when they have not changed, as this process sees it; -1: this process does not watch it */
};

/* Called for one member; anything but 0 ends the walk.  `member` is valid during the call. */
typedef int (*dmem_member_fn)(void *context, const struct dmem_member *member);

/* Called when a member has lost its rights and what that concerns is repaired.  `member` is valid during the call. */
typedef void (*dmem_member_death_fn)(void *context, const struct dmem_member *member);

/**
 * dmem_members() - list the members of a pool, in the order of their slots.
 * @pool:    an attached pool.
 * @each:    called for each member, in the calling thread.
 * @context: handed to `each` as it is.
 *
 * Each member is shown as it was at one moment, not all at the same.
 *
 * Returns:    0, or what `each` returned when that was not 0; -EINVAL without `each`; DMEM_E_DETACHED, DMEM_E_LOST,
 *             DMEM_E_FENCED as every call.
 * Threads:    safe from any thread.
 * Blocks:     no, but for what `each` does.
 * Visibility: none.
 * On failure: some members may have been shown.
 * Crash:      changes nothing.
 * Source:     none.
 */
DMEM_API int dmem_members(struct dmem_pool *pool, dmem_member_fn each, void *context);

/**
 * dmem_on_member_death() - be told when members of a pool die or are fenced.
 * @pool:     an attached pool.
 * @callback: called from a thread of its own, which the first registration starts, one call after the other.
 * @context:  handed to the callback as it is.
 *
 * Told is each member that has lost its rights since the registration, once: when it was fenced and its locks are released
 * (state DMEM_MEMBER_FENCED), or when it has ended and what it had is taken over (DMEM_MEMBER_GONE).  One that was told as fenced
 * is not told again when it ends, and one that detaches is not told at all.  When several members of one slot die before this
 * process has looked, the last one is told.  The callback may call anything but dmem_pool_attach() and dmem_pool_detach().
 * A registration ends with the detach; a child of fork() makes its own.
 *
 * Returns:    0; -EINVAL without a callback; -ENOSPC when 16 are registered; -EAGAIN without a thread to be had; DMEM_E_DETACHED,
 *             DMEM_E_LOST, DMEM_E_FENCED as every call.
 * Threads:    safe from any thread.
 * Blocks:     no.  dmem_pool_detach() waits for a callback that is under way.
 * Visibility: none.
 * On failure: nothing is registered.
 * Crash:      changes nothing in the pool.
 * Source:     none.
 */
DMEM_API int dmem_on_member_death(struct dmem_pool *pool, dmem_member_death_fn callback, void *context);

#ifdef __cplusplus
}
#endif

#endif
