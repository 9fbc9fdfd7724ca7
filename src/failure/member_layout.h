/* SPDX-License-Identifier: Apache-2.0 */
/*
 * member_layout.h: the pool's administration lines and its member table.  All numbers little-endian.
 *
 *   admin_off:  | lock | sequence | grace period | deaths | reserved ... | bitmap of slots in use (8 lines) |
 *   member_off: | slot 0 | slot 1 | ...    512 bytes each
 *   slot:       | state | identity | beat | mailbox | retire | names | death | reserved |     one line each
 *
 * Lines of atomic words (state, mailbox, lock, sequence, bitmap) are touched by atomic operations only.  Every other line
 * has one writer: the member of the slot.
 */
#ifndef DM_FAILURE_MEMBER_LAYOUT_H
#define DM_FAILURE_MEMBER_LAYOUT_H

#include <assert.h>
#include <stddef.h>
#include <stdint.h>

#define DM_MEMBERS_MIN 16u
#define DM_MEMBERS_MAX 4096u

/*
 * State word of a slot: | state 8 | recoverer 16 | spare 8 | incarnation 32 |, state in the low bits.
 *
 *   FREE -> JOINING -> LIVE -> LEAVING -> FREE          by the member
 *   JOINING -> FREE                                     by anybody, when a joiner does not go on
 *   LIVE, LEAVING -> DEAD                               by any survivor that has seen the death
 *   LIVE, LEAVING -> FENCED(recoverer)                  by any survivor whose own beats say that its heart stands still
 *   FENCED(recoverer) -> FENCED                         by the recoverer: its locks are released, its memory is not
 *   FENCED(r) -> FENCED(itself)                         by whoever recovers or fences r: unfinished, anybody's
 *   FENCED(itself) -> FENCED(recoverer)                 by any survivor
 *   FENCED, FENCED(any) -> DEAD                         by any survivor that has seen the exit; by itself when it joins again;
 *                                                       by the operator
 *   DEAD -> RECOVERING(recoverer) -> FREE               by the recoverer
 *   RECOVERING(r) -> DEAD                               by whoever recovers or fences r
 *
 * The incarnation grows when a slot goes to JOINING, so (slot, incarnation) names a member for ever.  A slot becomes
 * FREE only when nothing in the pool belongs to it any more; therefore a slot number alone names the owner of a chunk.
 * Commit stores: each transition is one CAS of this word.
 */
enum dm_member_state {
	DM_MEMBER_FREE = 0,
	DM_MEMBER_JOINING = 1,
	DM_MEMBER_LIVE = 2,
	DM_MEMBER_FENCED = 3,
	DM_MEMBER_DEAD = 4,
	DM_MEMBER_RECOVERING = 5,
	DM_MEMBER_LEAVING = 6,
};

struct dm_member_state_line_pm {
	uint64_t word;
	uint64_t reserved[7];
};

/* Written by the joiner while JOINING, constant while LIVE. */
struct dm_member_identity_pm {
	uint8_t host[16];       /* of the host: boot id, or a hash of DMEM_HOST_ID */
	uint64_t pid_namespace; /* inode of its pid namespace; pids of other namespaces mean nothing here */
	uint64_t start_ticks;   /* when the process started, in clock ticks since boot: tells pids apart that were reused */
	int32_t pid;
	uint32_t incarnation; /* must equal the state word's, else this line is a predecessor's */
	char program[16];     /* comm, zero-padded; for people */
	uint32_t reserved;
	uint32_t crc; /* CRC32C of everything before it in this line */
};

/* Written by the member's agent only. */
struct dm_member_beat_pm {
	uint64_t beats;             /* grows by one every beat */
	uint64_t sequence_mapped;   /* newest superblock sequence whose segments this member has mapped */
	uint64_t grace_period_seen; /* newest grace period this member has passed */
	uint64_t
		agent_tid; /* of the agent's thread; 0 before it starts.  It is gone, though the process is there, after exec() */
	uint64_t incarnation; /* whose beats these are, so that a watcher needs no other line while they go on */
	uint64_t reserved[3];
};

/* For wake-ups between hosts: the lines of all slots together are a table of bells, found by the address of what is waited
 * for; not the slot's own.  Bit 0: somebody sleeps; above it a number that grows when it is rung.  By CAS of anybody. */
struct dm_member_mailbox_pm {
	uint64_t word;
	uint64_t reserved[7];
};

/* Heads of the member's retire lists: pool offsets, 0 for none. */
struct dm_member_retire_pm {
	uint64_t head[8];
};

/* Which member of this slot has lost its rights last, as a death or by fencing: its incarnation.  Only grows, by CAS, after the
 * state's CAS.  Outlives the slot's being FREE, so that callbacks can tell who died from who left. */
struct dm_member_death_pm {
	uint64_t incarnation;
	uint64_t reserved[7];
};

struct dm_member_names_pm {
	char host_name[48]; /* what the host calls itself; for people */
	uint8_t reserved[16];
};

struct dm_member_pm {
	struct dm_member_state_line_pm state;
	struct dm_member_identity_pm identity;
	struct dm_member_beat_pm beat;
	struct dm_member_mailbox_pm mailbox;
	struct dm_member_retire_pm retire;
	struct dm_member_names_pm names;
	struct dm_member_death_pm death;
	uint8_t reserved[64];
};
static_assert(sizeof(struct dm_member_state_line_pm) == 64, "state line");
static_assert(sizeof(struct dm_member_identity_pm) == 64, "identity line");
static_assert(offsetof(struct dm_member_identity_pm, crc) == 60, "identity line");
static_assert(sizeof(struct dm_member_beat_pm) == 64, "beat line");
static_assert(sizeof(struct dm_member_mailbox_pm) == 64, "mailbox line");
static_assert(sizeof(struct dm_member_retire_pm) == 64, "retire line");
static_assert(sizeof(struct dm_member_death_pm) == 64, "death line");
static_assert(offsetof(struct dm_member_pm, death) == 384, "death line");
static_assert(sizeof(struct dm_member_names_pm) == 64, "names line");
static_assert(sizeof(struct dm_member_pm) == 512, "member slot");

/* The lock word: | slot + 1: 16 | spare 16 | incarnation 32 |; 0 is free.  The holder may rewrite the superblock and the
 * root directory.  A dead holder's lock is taken by CAS from exactly its word. */
struct dm_admin_pm {
	uint64_t lock;
	uint64_t lock_reserved[7];
	uint64_t sequence; /* of the superblock in force; changes after both copies are written */
	uint64_t sequence_reserved[7];
	uint64_t grace_period; /* newest grace period that was asked for */
	uint64_t grace_reserved[7];
	uint64_t
		deaths; /* grows by one after each CAS that takes a member's rights away; who sleeps may sleep on its low half */
	uint64_t
		hosts; /* 1: members of more than one host have been here, so futexes don't reach everybody; never 0 again */
	uint64_t deaths_reserved[6];
	uint8_t reserved[4 * 64];
	uint64_t slots_used[DM_MEMBERS_MAX /
	                    64]; /* a hint that saves walking the table: set before JOINING, cleared after FREE */
};
static_assert(offsetof(struct dm_admin_pm, sequence) == 64, "administration lines");
static_assert(offsetof(struct dm_admin_pm, deaths) == 192, "administration lines");
static_assert(offsetof(struct dm_admin_pm, slots_used) == 512, "administration lines");
static_assert(sizeof(struct dm_admin_pm) == 1024, "administration lines");

#endif
