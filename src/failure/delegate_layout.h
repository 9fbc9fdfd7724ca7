/* SPDX-License-Identifier: Apache-2.0 */
/*
 * delegate_layout.h: desks, through which processes have atomic operations carried out where hosts share none.
 *
 *   delegate_off: | desk 0 | desk 1 | ...        desks_max desks of 1024 bytes
 *   desk:         | holder | office | deposed | intent | request 0..3 | reply 0..3 | reserved 0..3 |     one line each
 *
 * Every line has one writer at a time and its own CRC, so that a line that is read while it is written, or whose writer died
 * while it was written, is told from a whole one.
 *
 *   line      written by                                               commit
 *   holder    the process that holds the desk, when it takes it        publish of the line; a zeroed line: nobody holds it
 *   office    the same, on every beat and when it runs for office      publish of the line
 *   deposed   the candidate that takes the holder for dead             publish of the line
 *   intent    the holder, while it is the arbiter                      publish of the line: the operation takes place
 *   request   the holder                                               publish of the line
 *   reply     the arbiter                                              publish of the line: the operation is done
 *
 * A lane is a request and its reply.  It is pending when they have different sequence numbers.
 */
#ifndef DM_FAILURE_DELEGATE_LAYOUT_H
#define DM_FAILURE_DELEGATE_LAYOUT_H

#include <assert.h>
#include <stddef.h>
#include <stdint.h>

#define DM_DESK_LANES 4u
#define DM_DESKS_EXTRA \
	16u /* beside one for each member slot: for who finds the member table full, and for recoverers */

struct dm_desk_holder_pm {
	uint8_t host[16];       /* as in dm_member_identity_pm */
	uint64_t pid_namespace; /* likewise */
	uint64_t start_ticks;
	uint64_t nonce;  /* tells holders apart */
	int32_t pid;     /* 0: nobody */
	uint32_t thread; /* the number of its arbiter thread: gone, though the process is there, after exec() */
	uint8_t reserved[12];
	uint32_t crc;
};

/* CHOOSING and CLAIMING are Lamport's bakery: see office.c. */
enum dm_office_phase {
	DM_OFFICE_NONE = 0,
	DM_OFFICE_CHOOSING = 1,
	DM_OFFICE_CLAIMING = 2,
	DM_OFFICE_HELD = 3,
	DM_OFFICE_RESIGNED = 4,
};

struct dm_desk_office_pm {
	uint64_t beats;
	uint64_t term;  /* newest that this desk has claimed; grows over all holders */
	uint64_t nonce; /* of the holder that wrote it */
	uint32_t phase; /* enum dm_office_phase */
	uint8_t reserved[32];
	uint32_t crc;
};

struct dm_desk_deposed_pm {
	uint64_t term; /* claims of this desk up to this term are void */
	uint8_t reserved[52];
	uint32_t crc;
};

struct dm_desk_intent_pm {
	uint64_t term;     /* of the arbiter */
	uint64_t sequence; /* of the request */
	uint64_t word_off;
	uint64_t value;    /* what is stored */
	uint64_t previous; /* what the requester is told */
	uint32_t desk;     /* whose request it is */
	uint16_t lane;
	uint16_t width;
	uint8_t reserved[12];
	uint32_t crc;
};

struct dm_desk_request_pm {
	uint64_t sequence; /* grows over all lanes and holders of the desk; 0: none yet */
	uint64_t word_off;
	uint64_t operand;
	uint64_t expected;    /* cas only */
	uint32_t slot_plus_1; /* of the member that asks; 0: it is none (yet) */
	uint32_t incarnation;
	uint16_t op; /* enum dm_word_op */
	uint16_t width;
	uint8_t reserved[16];
	uint32_t crc;
};

struct dm_desk_reply_pm {
	uint64_t sequence;
	uint64_t previous;
	uint64_t term;  /* of the arbiter; for people */
	int32_t result; /* 0, or why nothing was done */
	uint8_t reserved[32];
	uint32_t crc;
};

struct dm_desk_pm {
	struct dm_desk_holder_pm holder;
	struct dm_desk_office_pm office;
	struct dm_desk_deposed_pm deposed;
	struct dm_desk_intent_pm intent;
	struct dm_desk_request_pm requests[DM_DESK_LANES];
	struct dm_desk_reply_pm replies[DM_DESK_LANES];
	uint8_t reserved[4 * 64];
};
static_assert(sizeof(struct dm_desk_holder_pm) == 64, "holder line");
static_assert(offsetof(struct dm_desk_holder_pm, crc) == 60, "holder line");
static_assert(sizeof(struct dm_desk_office_pm) == 64, "office line");
static_assert(offsetof(struct dm_desk_office_pm, crc) == 60, "office line");
static_assert(sizeof(struct dm_desk_deposed_pm) == 64, "deposed line");
static_assert(offsetof(struct dm_desk_deposed_pm, crc) == 60, "deposed line");
static_assert(sizeof(struct dm_desk_intent_pm) == 64, "intent line");
static_assert(offsetof(struct dm_desk_intent_pm, crc) == 60, "intent line");
static_assert(sizeof(struct dm_desk_request_pm) == 64, "request line");
static_assert(offsetof(struct dm_desk_request_pm, crc) == 60, "request line");
static_assert(sizeof(struct dm_desk_reply_pm) == 64, "reply line");
static_assert(offsetof(struct dm_desk_reply_pm, crc) == 60, "reply line");
static_assert(offsetof(struct dm_desk_pm, requests) == 256, "desk");
static_assert(offsetof(struct dm_desk_pm, replies) == 512, "desk");
static_assert(sizeof(struct dm_desk_pm) == 1024, "desk");

#endif
