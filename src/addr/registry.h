/* SPDX-License-Identifier: Apache-2.0 */
/*
 * registry.h: which window belongs to which pool, so that no two pools of a cluster overlap.
 *
 * A text file, one line a pool: "base span uuid boot_id pid uri".  DMEM_REGISTRY names it; on a shared file system it is the
 * cluster's.  Without DMEM_REGISTRY it is this user's on this machine: /dev/shm/dmem-registry-UID.  Locked while it is
 * changed, and changed by replacing it, so a crash leaves the old or the new one.
 */
#ifndef DM_ADDR_REGISTRY_H
#define DM_ADDR_REGISTRY_H

#include <stdint.h>

/*
 * Enter a window of `span_bytes` for a pool that is about to be created.  `wanted` 0: the lowest free range, in steps of its
 * own span; else exactly there.  DMEM_E_WINDOW: overlap, or no range is free;
 * DMEM_E_REGISTRY: the file can't be used.  Lines of pools that are gone from this machine are dropped.
 */
int dm_registry_claim(uint64_t wanted, uint64_t span_bytes, const uint8_t uuid[16], const char *uri, uint64_t *base);

/* Take the line of a pool out.  A line that is not there is fine. */
int dm_registry_release(const uint8_t uuid[16]);

#endif
