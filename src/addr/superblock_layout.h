/* SPDX-License-Identifier: Apache-2.0 */
/*
 * superblock_layout.h: the first bytes of every device of a pool.  All numbers little-endian.
 *
 *   device 0:      | superblock A | superblock B | static tables (members, heaps, roots) | segment metadata | extents ...
 *   other devices: | superblock A | superblock B | segment metadata | extents ...
 *                  0              16 KiB         32 KiB
 *
 * Both copies hold the same; `sequence` tells which is newer when a writer died between them.  The pool's administration
 * lock (failure/) makes writers take turns.  An update is committed by the write of copy A: whoever finds copy A whole
 * and newer takes it and completes copy B; whoever finds copy A torn takes B, which is the state before.
 *
 * Feature bits follow ext4: an unknown bit in `incompat` refuses the pool, in `ro_compat` refuses writers, in `compat`
 * nothing.  Source: Linux Documentation/filesystems/ext4/super.rst.
 */
#ifndef DM_ADDR_SUPERBLOCK_LAYOUT_H
#define DM_ADDR_SUPERBLOCK_LAYOUT_H

#include <assert.h>
#include <stddef.h>
#include <stdint.h>

#include "transport/pool_mark.h"

#define DM_SUPERBLOCK_MAGIC  DM_POOL_MARK
#define DM_LAYOUT_VERSION    1u
#define DM_SUPERBLOCK_BYTES  DM_POOL_MARK_PIECE_BYTES
#define DM_SUPERBLOCK_COPIES DM_POOL_MARK_PIECES
#define DM_EXTENT_SHIFT      21u
#define DM_EXTENT_BYTES      (UINT64_C(1) << DM_EXTENT_SHIFT)
#define DM_DEVICES_MAX       32u
#define DM_SEGMENTS_MAX      96u

/* Incompatible features. */
#define DM_INCOMPAT_MOVED  (UINT64_C(1) << 0) /* some extent's `backing` is not identity: attach must map it there */
#define DM_INCOMPAT_REDO   (UINT64_C(1) << 1) /* threads announce operations: who replaces a tag has to tell its author */
#define DM_INCOMPAT_KNOWN  DM_INCOMPAT_REDO   /* those that this library understands */
#define DM_RO_COMPAT_KNOWN UINT64_C(0)

/* One device.  Identity is the UUID; `hint` is where it was seen last, and is never believed without the UUID. */
struct dm_device_pm {
	uint8_t uuid[16];
	uint64_t size_bytes;     /* what the pool uses of it */
	uint64_t align_bytes;    /* 2 MiB, or more: unit of mapping, moving and loss */
	uint32_t memory_type;    /* enum dm_memory_type */
	uint32_t distance_ns;    /* idle load latency seen from its nearest host; 0 unknown */
	uint32_t bandwidth_mb_s; /* 0 unknown */
	uint32_t state;          /* enum dm_device_state */
	uint8_t hosts[32];       /* bitmap of the host indexes that reach it; all zero: every host of the pool */
	char hint[128];          /* URI without keys, zero-padded */
	uint8_t reserved[48];
};
static_assert(sizeof(struct dm_device_pm) == 256, "device entry");
static_assert(offsetof(struct dm_device_pm, hosts) == 48, "device entry");
static_assert(offsetof(struct dm_device_pm, hint) == 80, "device entry");

enum dm_memory_type {
	DM_MEMORY_UNKNOWN = 0,
	DM_MEMORY_DRAM = 1,
	DM_MEMORY_CXL = 2,
	DM_MEMORY_PERSISTENT = 3,
	DM_MEMORY_REMOTE = 4
};
enum dm_device_state { DM_DEVICE_ABSENT = 0, DM_DEVICE_ACTIVE = 1, DM_DEVICE_LEAVING = 2 };

/* A contiguous piece of capacity: window extents [window_first, window_first + extents) lie at device extents
 * [device_first, ...), one to one, unless an extent says that it moved.  Its metadata comes first, then its data. */
struct dm_segment_pm {
	uint64_t window_first; /* extents */
	uint64_t extents;      /* metadata and data */
	uint64_t device_first; /* extents */
	uint32_t device;       /* index */
	uint32_t state;        /* enum dm_segment_state */
	uint64_t metadata_off; /* bytes from the window's base to the segment's arrays */
	uint64_t data_first;   /* window extent, a multiple of chunk_extents */
	uint64_t data_extents; /* a multiple of chunk_extents */
	uint64_t reserved;
};
static_assert(sizeof(struct dm_segment_pm) == 64, "segment entry");

/* PENDING: every member must map it before anybody allocates from it. */
enum dm_segment_state { DM_SEGMENT_UNUSED = 0, DM_SEGMENT_PENDING = 1, DM_SEGMENT_ACTIVE = 2 };

struct dm_superblock_pm {
	uint64_t magic;
	uint32_t layout_version;
	uint32_t bytes; /* DM_SUPERBLOCK_BYTES */
	uint64_t compat;
	uint64_t ro_compat;
	uint64_t incompat;
	uint8_t pool_uuid[16];
	uint64_t sequence; /* grows by one with every update */
	uint64_t base;     /* address of the window */
	uint64_t span_bytes;
	uint32_t extent_bytes;  /* DM_EXTENT_BYTES */
	uint32_t chunk_extents; /* what a member leases at a time; a power of two up to 32 */
	uint32_t granule_bytes; /* smallest block: 16, or 64 where blocks must not share lines */
	uint32_t class_scheme;  /* 1: the size classes of alloc/shared/class.h */
	uint64_t unit_bytes;    /* of moving and loss: max(2 MiB, largest device alignment) */
	uint8_t coherence;      /* enum dmem_coherence */
	uint8_t atomics;        /* enum dmem_atomics */
	uint16_t reserved0;
	uint32_t lease_ms;
	uint32_t beat_ms;
	uint32_t mode;      /* permission bits for further devices */
	uint64_t created_s; /* seconds since 1970, by the creator's clock; for people */
	uint32_t members_max;
	uint32_t heaps_max;
	uint32_t roots_max; /* a power of two */
	uint32_t reserved1;
	uint64_t admin_off; /* offsets from the window's base */
	uint64_t member_off;
	uint64_t heap_off;
	uint64_t root_off;
	uint64_t static_bytes; /* end of the static tables */
	uint32_t device_index; /* of the device this copy lies on */
	uint32_t copy_index;   /* 0 or 1 */
	uint32_t device_count;
	uint32_t segment_count;
	uint64_t delegate_off; /* desks (failure/delegate_layout.h); 0 where atomics are not delegated, which is what older
	                          libraries wrote here: it lay in reserved bytes */
	uint32_t desks_max;
	uint32_t reserved4;
	uint8_t reserved2[808];
	struct dm_device_pm devices[DM_DEVICES_MAX];
	struct dm_segment_pm segments[DM_SEGMENTS_MAX];
	uint8_t reserved3[1020];
	uint32_t crc; /* CRC32C of everything before it */
};
static_assert(offsetof(struct dm_superblock_pm, sequence) == 56, "superblock");
static_assert(offsetof(struct dm_superblock_pm, unit_bytes) == 96, "superblock");
static_assert(offsetof(struct dm_superblock_pm, admin_off) == 144, "superblock");
static_assert(offsetof(struct dm_superblock_pm, device_count) == 192, "superblock");
static_assert(offsetof(struct dm_superblock_pm, delegate_off) == 200, "superblock");
static_assert(offsetof(struct dm_superblock_pm, devices) == 1024, "superblock");
static_assert(offsetof(struct dm_superblock_pm, segments) == 9216, "superblock");
static_assert(offsetof(struct dm_superblock_pm, crc) == DM_SUPERBLOCK_BYTES - 4, "superblock");
static_assert(sizeof(struct dm_superblock_pm) == DM_SUPERBLOCK_BYTES, "superblock");

#endif
