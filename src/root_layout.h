/* SPDX-License-Identifier: Apache-2.0 */
/*
 * root_layout.h: the root directory: a table of names, open addressing, at root_off.  All numbers little-endian.
 *
 *   entry: | name, zero-padded (one line) | value, name_crc (one line of atomic words) |
 *
 * value: | offset in the window 48 | version 16 |, version in the high bits.  Offset 0 with version 0: never used (a
 * search may stop).  Offset 0: removed, or being filled.  The holder of the administration lock writes; readers don't
 * lock: they read value, name, value again, and believe the name when both values are equal.
 *
 * Commit: the store of `value`.  A writer that dies before it leaves an entry that reads as removed.
 */
#ifndef DM_ROOT_LAYOUT_H
#define DM_ROOT_LAYOUT_H

#include <assert.h>
#include <stddef.h>
#include <stdint.h>

struct dm_root_pm {
	char name[64];
	uint64_t value;
	uint64_t name_crc; /* CRC32C of the 64 name bytes */
	uint64_t reserved[6];
};
static_assert(offsetof(struct dm_root_pm, value) == 64, "root entry");
static_assert(sizeof(struct dm_root_pm) == 128, "root entry");

#endif
