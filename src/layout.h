/* SPDX-License-Identifier: Apache-2.0 */
/* layout.h: writing the superblock: shared by creation and growth. */
#ifndef DM_LAYOUT_H
#define DM_LAYOUT_H

#include <stdint.h>

#include "addr/superblock_layout.h"
#include "root_layout.h"
#include "transport/transport.h"

int dm_layout_uuid(uint8_t uuid[16]);

/* Fill in the superblock's entry of a device. */
void dm_layout_device(struct dm_superblock_pm *superblock, uint32_t index, const struct dm_device *device,
                      const uint8_t uuid[16]);

/*
 * Write zeros over everything of a segment that is not data, where the device may hold something else: superblocks, tables and
 * metadata, which all start as zeros.  Nothing happens on devices that read as zeros.  Before the superblock is written.
 */
int dm_layout_clear(struct dm_device *device, const struct dm_segment_pm *segment);

#endif
