/* SPDX-License-Identifier: Apache-2.0 */
/* superblock.h: read, check and write the superblocks of a pool's devices. */
#ifndef DM_ADDR_SUPERBLOCK_H
#define DM_ADDR_SUPERBLOCK_H

#include <stdbool.h>

#include "addr/superblock_layout.h"
#include "transport/transport.h"

/* What reading the two copies of a device found. */
struct dm_superblock_state {
	bool whole[DM_SUPERBLOCK_COPIES]; /* magic and CRC are right */
	bool equal;                       /* both are whole and say the same */
};

/*
 * Read both copies and give the newer whole one, checked.  Errors: DMEM_E_NOT_POOL (neither has the magic), DMEM_E_CORRUPT
 * (the magic is there, no copy is whole, or a whole one says what can't be), DMEM_E_VERSION (newer layout, or an unknown
 * incompatible feature), -EIO.  `state` may be NULL.
 */
int dm_superblock_read(struct dm_device *device, struct dm_superblock_pm *superblock,
                       struct dm_superblock_state *state);

/* Write both copies to one device: fills in device_index, copy_index and crc.  The caller holds the administration lock,
 * or is the only one that knows the pool. */
int dm_superblock_write(struct dm_device *device, uint32_t device_index, const struct dm_superblock_pm *superblock);

/* DMEM_E_VERSION or DMEM_E_CORRUPT when the contents, whose CRC is right, can't be those of a pool. */
int dm_superblock_check(const struct dm_superblock_pm *superblock, const char *name);

#endif
