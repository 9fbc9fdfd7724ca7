/* SPDX-License-Identifier: Apache-2.0 */
/*
 * flush.h: lines on their way between this host's caches and memory that hosts share without hardware coherence, for every
 * backend whose memory is mapped directly.
 *
 * publish: write each line back, then a store fence.  refresh: drop each line, then a full fence, then the caller loads.
 * handoff: drop each line, then a store fence: the next user is another host, so the line need not stay here.
 * The instructions are chosen once by what the processor has: clwb, else clflushopt, else clflush; on arm64 dc cvac and
 * dc civac.  A range that only touches a line takes the whole line; the rule of one writer a line makes that harmless.
 */
#ifndef DM_TRANSPORT_FLUSH_H
#define DM_TRANSPORT_FLUSH_H

#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>

/* What was done for a device so far; what nobody counts for has NULL in its place. */
struct dm_flush_count {
	_Atomic uint64_t written;        /* lines written back that may stay in the cache */
	_Atomic uint64_t dropped;        /* lines written back and dropped */
	_Atomic uint64_t fences_written; /* after write-backs */
	_Atomic uint64_t fences_dropped; /* before loads */
};

/* Nothing happens for 0 bytes. */
void dm_flush_publish(struct dm_flush_count *count, const void *address, size_t bytes);
void dm_flush_refresh(struct dm_flush_count *count, const void *address, size_t bytes);
void dm_flush_handoff(struct dm_flush_count *count, const void *address, size_t bytes);

/* "clwb", "clflushopt", "clflush" or "dc": what writes back here. */
const char *dm_flush_instruction(void);

/* Tests only: go on as if the processor had this instruction at best.  -EINVAL when it has not, or nobody has. */
int dm_flush_pretend(const char *instruction);

#endif
