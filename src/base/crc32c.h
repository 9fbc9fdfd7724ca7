/* SPDX-License-Identifier: Apache-2.0 */
/* crc32c.h: the checksum of on-pool structures (Castagnoli polynomial 0x1EDC6F41, reflected; RFC 3720 appendix B.4). */
#ifndef DM_BASE_CRC32C_H
#define DM_BASE_CRC32C_H

#include <stddef.h>
#include <stdint.h>

/* CRC32C of the bytes; dm_crc32c("123456789", 9) is 0xE3069283.  Uses the processor's instruction where it has one. */
uint32_t dm_crc32c(const void *data, size_t bytes);

/* The same value without that instruction: what processors that lack it get, and what tests compare with. */
uint32_t dm_crc32c_portable(const void *data, size_t bytes);

#endif
