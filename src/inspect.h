/* SPDX-License-Identifier: Apache-2.0 */
/* inspect.h: what dmemctl shows: members, roots, devices and what fills the pool.  Each call copies out a snapshot that
 * was checked; walks are bounded; nothing is changed. */
#ifndef DM_INSPECT_H
#define DM_INSPECT_H

#include <stdbool.h>
#include <stdint.h>

#include "dmem/pool.h"

struct dm_inspect_member {
	uint32_t slot;
	uint32_t incarnation;
	char state[16];        /* "joining", "live", "fenced", "dead", "leaving" */
	uint8_t host[16];      /* identity of its host: a hash of boot id, or of DMEM_HOST_ID */
	char host_name[48];    /* what that host calls itself, for people */
	int same_host;         /* not 0: on this host, in this pid namespace */
	int alive;             /* 1 running, 0 gone, -1 can't be told from here */
	int32_t pid;           /* in its own pid namespace */
	char program[32];      /* its name (comm) */
	uint64_t beats;        /* heartbeats so far */
	uint64_t chunks;       /* chunks it has leased */
	uint64_t leased_bytes; /* extents in use in them */
};

struct dm_inspect_root {
	char name[DMEM_ROOT_NAME_BYTES_MAX + 1];
	uint64_t offset; /* of the object in the window */
};

struct dm_inspect_device {
	uint32_t index;
	uint8_t uuid[16];
	char name[256]; /* where it was opened */
	uint64_t size_bytes;
	uint64_t align_bytes;
	uint32_t memory_type; /* 0 unknown, 1 DRAM, 2 CXL, 3 persistent, 4 remote */
	uint32_t distance_ns; /* 0 unknown */
	int node;             /* NUMA node, -1 unknown */
};

enum dm_inspect_kind {
	DM_KIND_FREE,        /* nobody has it */
	DM_KIND_LEASED,      /* leased to a member, nothing in it */
	DM_KIND_METADATA,    /* the library's own */
	DM_KIND_SLABS,       /* small and medium shared blocks */
	DM_KIND_RUN,         /* part of a large shared block */
	DM_KIND_PRIVATE,     /* private memory of one member */
	DM_KIND_QUARANTINED, /* failed a check, or waits for a fenced member */
};

struct dm_inspect_extent {
	uint64_t index; /* extent of the window */
	enum dm_inspect_kind kind;
	uint32_t device;
	uint32_t owner;         /* member slot, UINT32_MAX for none */
	uint64_t run_extents;   /* RUN and PRIVATE: length of the run this belongs to, at its head; else 0 */
	uint64_t blocks_live;   /* SLABS: blocks in use */
	uint64_t bytes_live;    /* SLABS: their classes' sizes summed; RUN: 2 MiB */
	uint64_t bytes_waiting; /* SLABS: freed by others, not yet collected by the owner */
	int moved;              /* not 0: its memory lies elsewhere than identity says */
};

/* One size class over the whole pool. */
struct dm_inspect_class {
	uint32_t block_bytes;
	uint64_t slabs;
	uint64_t blocks; /* capacity */
	uint64_t blocks_live;
	uint64_t blocks_waiting;
};

/* Each calls `each` once an entry, in order; a value other than 0 from it ends the walk and is returned.  Return 0,
 * DMEM_E_DETACHED, DMEM_E_LOST or DMEM_E_CORRUPT. */
/* Take a member's rights; with `dead`: it does not run any more, take over what it had as well.  -ENOENT: no such member. */
int dm_inspect_evict(struct dmem_pool *pool, uint32_t slot, bool dead);

int dm_inspect_members(struct dmem_pool *pool, int (*each)(void *, const struct dm_inspect_member *), void *context);
int dm_inspect_roots(struct dmem_pool *pool, int (*each)(void *, const struct dm_inspect_root *), void *context);
int dm_inspect_devices(struct dmem_pool *pool, int (*each)(void *, const struct dm_inspect_device *), void *context);
/* Extents that are not FREE; gaps between the indexes are free or belong to no segment. */
int dm_inspect_extents(struct dmem_pool *pool, int (*each)(void *, const struct dm_inspect_extent *), void *context);
/* Classes that have at least one slab. */
int dm_inspect_classes(struct dmem_pool *pool, int (*each)(void *, const struct dm_inspect_class *), void *context);

/*
 * Check and, where that is possible without losing data, repair a pool that may be too damaged to attach: superblock
 * copies first.  `repair` 0 repairs nothing, but what members of this host left that died
 * is recovered as with every attach.  Then as dmem_pool_validate().  Returns 0 clean, 1 damage that was repaired,
 * DMEM_E_CORRUPT damage that stays, or why the pool can't be opened.
 */
int dm_inspect_fsck(const char *uri, int repair, dmem_finding_fn callback, void *context);

#endif
