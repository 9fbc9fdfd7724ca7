/* SPDX-License-Identifier: Apache-2.0 */
/*
 * members.h: who is attached to a pool, who has died, and who puts right what the dead left.
 *
 * Start here: dm_members_join(), then agent.c (the thread that beats and watches), recover.c (what happens to the dead).
 */
#ifndef DM_FAILURE_MEMBERS_H
#define DM_FAILURE_MEMBERS_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "addr/window.h"
#include "failure/delegate.h"
#include "failure/host.h"
#include "failure/member_layout.h"

#define DM_REPAIRS_MAX    8u
#define DM_BEAT_TASKS_MAX 8u
#define DM_STUCK_JOINERS  64u
#define DM_NO_SLOT        UINT32_MAX

/* Order of repairs: lower first. */
enum dm_repair_order {
	DM_REPAIR_REDO = 10,      /* finish what the dead had announced */
	DM_REPAIR_LOCKS = 20,     /* release what it held, wake who waits */
	DM_REPAIR_MEMORY = 30,    /* adopt what it had leased */
	DM_REPAIR_CALLBACKS = 40, /* tell the application */
};

/* Put right what member (slot, incarnation) left in the pool.  May be called again for the same member, by this process or
 * another, after it had been carried out in part or in whole.  0, or an error: then it is tried again later. */
typedef int (*dm_repair_fn)(void *context, uint32_t slot, uint32_t incarnation);

/* Called by the agent on every beat. */
typedef void (*dm_beat_fn)(void *context);

struct dm_members {
	struct dm_window *window;
	struct dm_admin_pm *admin;  /* in the pool */
	struct dm_member_pm *table; /* in the pool */
	uint32_t slots_max;
	struct dm_host host;
	uint32_t slot; /* ours; DM_NO_SLOT when we have not joined */
	uint32_t incarnation;
	uint32_t beat_ms;
	uint32_t lease_ms;
	struct dm_delegate *delegate; /* who carries out atomic operations; NULL: the processor or the transport */
	unsigned fence_entry;         /* fence.c's, + 1; 0: none */
	uint32_t deaths_here;         /* what our threads sleep on where the pool's word can't be slept on */
	uint64_t deaths_seen;         /* of the pool's word; agent only */

	struct {
		int order;
		dm_repair_fn repair;
		void *context;
	} repairs[DM_REPAIRS_MAX]; /* ascending order; set up before the agent starts */
	unsigned repair_count;
	struct {
		dm_beat_fn task;
		void *context;
	} beat_tasks[DM_BEAT_TASKS_MAX];
	unsigned beat_task_count;

	pthread_mutex_t admin_mutex;   /* threads of this process take turns before they try the pool's lock */
	pthread_mutex_t recover_mutex; /* one recovery at a time in this process */

	struct dm_watch {
		uint64_t beats;
		uint32_t incarnation;
		uint32_t unchanged; /* on-time beats of ours since they changed */
	} * watch;              /* a slot each; watch.c, agent only */
	uint32_t leader;        /* the member of this host that watches all hearts; DM_NO_SLOT: not known */
	uint64_t beats_on_time; /* of ours */

	pthread_t agent;
	bool agent_runs;
	_Atomic bool agent_stop;
	int agent_wake[2]; /* a pipe; which one it is tells its inode */
	uint64_t agent_wake_inode;
	uint64_t next_beat_ns; /* agent only */
	uint32_t watched_slot; /* the member after us in the ring of this host, with its pidfd; agent only */
	uint32_t watched_incarnation;
	int watched_pidfd;
	int32_t watched_pid;
	struct dm_stuck_joiner {
		uint64_t word; /* of a JOINING slot that is watched; 0: none is */
		uint32_t slot;
		uint64_t since_beat;   /* of ours: from then on it has not changed */
	} stuck[DM_STUCK_JOINERS]; /* by slot modulo their number; agent only */
};

/* Local state for the window's members; checks that the table fits. */
int dm_members_create(struct dm_window *window, struct dm_members **members);
void dm_members_destroy(struct dm_members *members);

/* Become a member: take a slot, write who we are, go LIVE, map what came meanwhile.  DMEM_E_MEMBERS when no slot is free, after
 * the slots of dead members of this host have been recovered. */
int dm_members_join(struct dm_members *members);

/* Start the agent thread: beats, segments, deaths, beat tasks. */
int dm_members_start_agent(struct dm_members *members);

/* Set or clear a slot's bit in the bitmap of used slots; see the head of members.c. */
int dm_members_set_used(struct dm_members *members, uint32_t slot, bool used);

/* The agent's pipe, before it starts; everything the agent opened, after it stopped.  Descriptors that the program closed, and
 * whose numbers are its own now, are left alone. */
int dm_agent_open_pipe(struct dm_members *members);
void dm_agent_close(struct dm_members *members);

/* Clear the bit of a slot that was freed, unless somebody has taken it meanwhile. */
int dm_members_clear_used(struct dm_members *members, uint32_t slot);

/* Stop the agent and wait for it. */
void dm_members_stop_agent(struct dm_members *members);

/* Beat if it is time, when this is the agent; between the parts of long work. */
void dm_members_keep_beating(struct dm_members *members);

/* Watch hearts, once a beat (watch.c); `late_ns`: how late this beat of ours comes. */
void dm_members_watch(struct dm_members *members, uint64_t late_ns);

/* A lease in beats. */
static inline uint32_t dm_members_lease_beats(const struct dm_members *members)
{
	uint64_t beat_ms =
		members->beat_ms > 0 ? members->beat_ms : 1; /* both come from the pool: anything can stand there */

	return (uint32_t)((members->lease_ms + beat_ms - 1) / beat_ms) + (members->lease_ms == 0);
}

/* Wake the agent now: it makes a beat at once. */
void dm_members_poke_agent(struct dm_members *members);

/* LIVE -> LEAVING, before the agent is stopped: from here on its absence is no sign of death. */
void dm_members_begin_leave(struct dm_members *members);

/* Give the slot back.  Nothing of ours may be left in the pool but what others can adopt. */
void dm_members_leave(struct dm_members *members);

/* After fork, in the child: forget the parent's slot and thread without touching the pool. */
void dm_members_forget(struct dm_members *members);

/* Before the agent starts.  Both return 0 or -ENOSPC. */
int dm_failure_register_repair(struct dm_members *members, int order, dm_repair_fn repair, void *context);
int dm_members_on_beat(struct dm_members *members, dm_beat_fn task, void *context);

/* A checked copy of a slot.  0, -ENOENT for a free slot, DMEM_E_CORRUPT for a state that can't be. */
struct dm_member_view {
	uint32_t slot;
	enum dm_member_state state;
	uint32_t incarnation;
	uint32_t recoverer; /* RECOVERING: slot; else DM_NO_SLOT */
	bool identified;    /* `identity` belongs to this incarnation */
	bool same_host;     /* this host and pid namespace: its pid means something here */
	struct dm_member_identity_pm identity;
	struct dm_member_beat_pm beat;
	struct dm_member_names_pm names;
	uint64_t word; /* as it was read */
};
int dm_members_view(struct dm_members *members, uint32_t slot, struct dm_member_view *view);

/* 1 runs, 0 is gone, -1 can't be told from this host.  A process that has called exec() is gone as a member: its agent's
 * thread is. */
int dm_members_alive(const struct dm_member_view *view);

/* 1: that member has its rights; 0: it has lost them, or never had any; negative: the pool could not be read. */
int dm_members_rights(struct dm_members *members, uint32_t slot, uint32_t incarnation);

/* 0, or DMEM_E_FENCED when we have lost ours; another negative code when the pool could not be read. */
int dm_members_self(struct dm_members *members);

/* The word to sleep on until some member loses its rights: in the pool where all of it is shared, else in this process. */
uint32_t *dm_members_deaths_word(struct dm_members *members);

/* After the CAS that took a member's rights: note it, count it in the pool and wake who sleeps here, even when that fails. */
int dm_members_announce_death(struct dm_members *members, uint32_t slot, uint32_t incarnation);
void dm_members_wake_sleepers(struct dm_members *members);

/* Once a beat: wake those who sleep here when somebody lost its rights elsewhere. */
void dm_members_follow_deaths(struct dm_members *members);

/* The next slot above `after` (DM_NO_SLOT: from the start) that the bitmap says is in use; DM_NO_SLOT at the end. */
uint32_t dm_members_next_used(struct dm_members *members, uint32_t after);

/* Recover every member of this host that is gone.  Gives how many there were. */
int dm_members_recover_gone(struct dm_members *members, unsigned *recovered);

/* Take the rights of a member that may still run: cut it off when it is of this host, LIVE or LEAVING -> FENCED, release its
 * locks and what it was recovering.  `view` is as it was seen; nothing happens when it is so no more. */
int dm_members_fence(struct dm_members *members, const struct dm_member_view *view);

/* The operator says that a member does not run any more, or whoever knows it: fenced if it is not, then recovered. */
int dm_members_declare_dead(struct dm_members *members, const struct dm_member_view *view);

/* Declare a member dead that is known to be gone, and recover it.  `word` is its state word as seen. */
int dm_members_recover(struct dm_members *members, uint32_t slot, uint64_t word);

/* True when every live member has mapped the superblock of this sequence. */
bool dm_members_all_mapped(struct dm_members *members, uint64_t sequence, uint32_t *laggard);

/* The pool's administration lock: the superblock and the root directory change under it.  A dead holder's lock is taken over.
 * -ETIMEDOUT: a live holder has not let go for seconds. */
int dm_admin_lock(struct dm_members *members);
void dm_admin_unlock(struct dm_members *members);

/* Fields of the state word. */
static inline uint64_t dm_member_word(enum dm_member_state state, uint32_t recoverer, uint32_t incarnation)
{
	return (uint64_t)state | (uint64_t)((recoverer + 1) & 0xffff) << 8 | (uint64_t)incarnation << 32;
}

static inline enum dm_member_state dm_member_word_state(uint64_t word)
{
	return (enum dm_member_state)(word & 0xff);
}

static inline uint32_t dm_member_word_recoverer(uint64_t word)
{
	return (uint32_t)((word >> 8) & 0xffff) - 1;
}

static inline uint32_t dm_member_word_incarnation(uint64_t word)
{
	return (uint32_t)(word >> 32);
}

static inline bool dm_member_word_has_rights(uint64_t word)
{
	enum dm_member_state state = dm_member_word_state(word);

	return state == DM_MEMBER_JOINING || state == DM_MEMBER_LIVE || state == DM_MEMBER_LEAVING;
}

#endif
