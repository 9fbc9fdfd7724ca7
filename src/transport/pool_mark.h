/* SPDX-License-Identifier: Apache-2.0 */
/*
 * pool_mark.h: how a device that holds a pool begins, for backends whose devices are there before the pool and have no name
 * that could say it.  The rest of what stands there is known to addr/superblock_layout.h.
 */
#ifndef DM_TRANSPORT_POOL_MARK_H
#define DM_TRANSPORT_POOL_MARK_H

#include <stdint.h>

/* The first 8 bytes, little-endian, of each of the first two pieces of 16 KiB. */
#define DM_POOL_MARK             UINT64_C(0x4c4f4f504d454d44) /* "DMEMPOOL" */
#define DM_POOL_MARK_PIECES      2u
#define DM_POOL_MARK_PIECE_BYTES 16384u

#endif
