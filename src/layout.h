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
void dm_layout_device(struct dm_superblock_pm *superblock, uint32_t index, const struct dm_device *device, const uint8_t uuid[16]);

#endif
