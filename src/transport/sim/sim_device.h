/* SPDX-License-Identifier: Apache-2.0 */
/*
 * sim_device.h: an open sim: device, and what the files of this folder offer each other.
 *
 *                    own (private, in the window)      what this member's loads and stores reach
 *   publish, write-back  |            ^  refresh, re-read
 *                        v            |
 *                    shared (the file, mapped elsewhere)     what atomics act on, and what other members get
 *
 * `twin` is what `own` held when the line last moved: a line is dirty when they differ.
 */
#ifndef DM_TRANSPORT_SIM_SIM_DEVICE_H
#define DM_TRANSPORT_SIM_SIM_DEVICE_H

#include <stdatomic.h>
#include <stdbool.h>
#include <sys/types.h>

#include "base/forklock.h"
#include "transport/sim/sim.h"

#define DM_SIM_LINE_BYTES UINT64_C(64)
#define DM_SIM_LINE_WORDS 8u
#define DM_SIM_PAGE_BYTES UINT64_C(4096)
#define DM_SIM_LINES      (DM_SIM_BYTES_MAX / DM_SIM_LINE_BYTES)
#define DM_SIM_VIEWS_MAX  256u
#define DM_SIM_RECENT     32u

/* A mapped part of the device.  All three parts of a line are found from its offset in the device. */
struct dm_sim_view {
	uint64_t offset; /* in the device */
	uint64_t bytes;  /* 0: gone, something else was mapped over it */
	char *own;
	char *twin;
};

struct dm_sim_twin {
	void *address;
	uint64_t bytes;
};

struct dm_sim {
	struct dm_device device; /* first, so that a struct dm_device * is one of this */
	struct dm_device *file;  /* what all members share */
	char *reservation;       /* where `shared` lies */
	char *shared;            /* the file, as far as it is mapped, from its first byte */
	_Atomic bool lost;       /* the file became shorter under our hands */
	uint64_t seed;
	uint64_t rate; /* data operations between two disturbances, on average; 0: none ever */

	/* Of everything below.  A leaf: nothing is locked inside but the stopping of threads. */
	struct dm_forklock lock;
	pid_t pid; /* whose views these are: a child of fork() settles them first */
	uint32_t view_count;
	struct dm_sim_view views[DM_SIM_VIEWS_MAX];
	uint32_t twin_count;
	struct dm_sim_twin twins[DM_SIM_VIEWS_MAX];
	uint32_t recent_next;
	uint64_t recent[DM_SIM_RECENT]; /* offsets + 1 of lines that operations were about */
	bool tell_violation;            /* to be logged when the lock is free */
	_Atomic bool violation_told;
	uint64_t atomic_lines[DM_SIM_LINES / 64]; /* one bit a line: atomic operations were done there */
};

static inline struct dm_sim *dm_sim_of(struct dm_device *device)
{
	return (struct dm_sim *)device;
}

/* sim_lines.c */
/* Every data operation is between these two: the lock, and now and then a disturbance first.  leave gives 0, or DMEM_E_LOST
 * when memory of the file is gone. */
void dm_sim_enter(struct dm_sim *sim);
int dm_sim_leave(struct dm_sim *sim);
/* The view that holds an address, which must belong to this device offset; NULL, when it is not mapped. */
struct dm_sim_view *dm_sim_find(struct dm_sim *sim, uint64_t offset, const void *address);
/* Move one line, by its offset in the device. */
void dm_sim_line_out(struct dm_sim *sim, struct dm_sim_view *view, uint64_t line);
void dm_sim_line_in(struct dm_sim *sim, struct dm_sim_view *view, uint64_t line);
bool dm_sim_line_dirty(const struct dm_sim_view *view, uint64_t line);
bool dm_sim_line_atomic(const struct dm_sim *sim, uint64_t line);
void dm_sim_line_mark(struct dm_sim *sim, uint64_t line);
/* Somebody stored plainly to a line with atomic words. */
void dm_sim_violation(struct dm_sim *sim);
int dm_sim_refuse_unmapped(struct dm_sim *sim, uint64_t offset, const void *address);
int dm_sim_publish(struct dm_device *device, uint64_t offset, void *address, size_t bytes);
int dm_sim_refresh(struct dm_device *device, uint64_t offset, void *address, size_t bytes);
int dm_sim_handoff(struct dm_device *device, uint64_t offset, void *address, size_t bytes);
int dm_sim_publish_all(struct dm_device *device);
int dm_sim_refresh_all(struct dm_device *device);

/* sim_map.c */
int dm_sim_map(struct dm_device *device, uint64_t offset, uint64_t bytes, void *address);
/* A range of the device reads as zeros now: the member's own copies too. */
void dm_sim_forget_range(struct dm_sim *sim, uint64_t offset, uint64_t bytes);
/* The next run of the file from `at` that has data; false when there is none before `end`.  The rest reads as zeros and is
 * left alone: a load through the mapping would take space for it. */
bool dm_sim_next_data(const struct dm_sim *sim, uint64_t at, uint64_t end, uint64_t *data, uint64_t *data_end);
/* In a child of fork(), under the lock: what the parent had stored and not published stays to be read, but is not ours to
 * publish. */
void dm_sim_settle_child(struct dm_sim *sim);

/* sim_atomics.c: not used in pools with delegated atomics, where words move as other lines do. */
int dm_sim_load(struct dm_device *device, uint64_t offset, void *address, unsigned width, uint64_t *value);
int dm_sim_store(struct dm_device *device, uint64_t offset, void *address, unsigned width, uint64_t value);
int dm_sim_exchange(struct dm_device *device, uint64_t offset, void *address, unsigned width, uint64_t value,
                    uint64_t *previous);
int dm_sim_cas(struct dm_device *device, uint64_t offset, void *address, unsigned width, uint64_t expected,
               uint64_t desired, uint64_t *previous);
int dm_sim_add(struct dm_device *device, uint64_t offset, void *address, unsigned width, uint64_t addend,
               uint64_t *previous);

/* sim_chance.c */
/* DMEM_SIM_SEED and DMEM_SIM_RATE; DMEM_E_OPTION. */
int dm_sim_chance_init(struct dm_sim *sim);
/* Note a line for later disturbances; move some, when it is time.  Under the lock. */
void dm_sim_chance_note(struct dm_sim *sim, uint64_t line);
void dm_sim_disturb(struct dm_sim *sim);

/* The counts behind dm_sim_count(). */
extern struct dm_sim_tally {
	_Atomic uint64_t violations;
	_Atomic uint64_t disturbances;
	_Atomic uint64_t written_back;
	_Atomic uint64_t read_again;
	_Atomic uint64_t stops_failed;
} dm_sim_tally;

#endif
