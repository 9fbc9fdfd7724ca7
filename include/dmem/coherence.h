/* SPDX-License-Identifier: Apache-2.0 */
/*
 * coherence.h: how a store of one member reaches another, by hand.
 *
 * Programs that hand data over through locks, RCU or wait/wake need none of this: those carry publication and refresh
 * with them.  Everybody else writes: store; dmem_publish(); then tell the other (an atomic store).  The other: sees the
 * word; dmem_refresh(); loads.  In a pool whose members are coherent this compiles to fences.  The rules, numbered and
 * with the tests that hold them: docs/memory-model.md.
 */
#ifndef DMEM_COHERENCE_H
#define DMEM_COHERENCE_H

#include <stddef.h>

#include "dmem/version.h"

#ifdef __cplusplus
extern "C" {
#endif

struct dmem_pool;

/**
 * dmem_publish() - make this member's stores to a range visible to members that refresh it later.
 * @address: start of the range, inside one attached pool; any alignment.
 * @bytes:   its length in bytes; 0 does nothing.
 *
 * Whole 64-byte lines are published: every line the range touches, so no other member may be writing those lines.
 *
 * Returns:    0; DMEM_E_FOREIGN the range is not inside one attached pool; DMEM_E_DETACHED; DMEM_E_LOST; DMEM_E_FENCED;
 *             -EIO the backend could not write.
 * Threads:    safe from any thread; publishes stores that happen before the call in the calling thread.
 * Blocks:     never on another member; a remote pool takes a round trip.
 * Visibility: this is it (memory model, clauses M1 to M3).
 * On failure: some of the range may have been published; call again.
 * Crash:      a member that dies inside may have published any part of the range, in whole lines.
 * Source:     docs/memory-model.md; Intel SDM vol. 1 section 11.4.4.1 (CLWB, SFENCE).
 */
DMEM_API DMEM_MUST_CHECK int dmem_publish(const void *address, size_t bytes);

/**
 * dmem_refresh() - drop what this member remembers of a range, so that the next loads see what was published.
 * @address: start of the range, inside one attached pool; any alignment.
 * @bytes:   its length in bytes; 0 does nothing.
 *
 * Lines of the range that this member stored to and did not publish lose those stores in non-coherent pools.
 *
 * Returns:    0; DMEM_E_FOREIGN; DMEM_E_DETACHED; DMEM_E_LOST; DMEM_E_FENCED; -EIO (see dmem_publish()).
 * Threads:    safe from any thread; orders loads that come after the call in the calling thread.
 * Blocks:     never on another member; a remote pool takes a round trip.
 * Visibility: this is it (memory model, clauses M1 to M3).
 * On failure: the range may be stale; do not follow pointers read from it.
 * Crash:      changes nothing that others see.
 * Source:     docs/memory-model.md; Intel SDM vol. 1 section 11.4.4.1 (CLFLUSHOPT, MFENCE).
 */
DMEM_API DMEM_MUST_CHECK int dmem_refresh(const void *address, size_t bytes);

/**
 * dmem_handoff() - publish a range and give up the right to write it.
 * @address: start of the range, inside one attached pool; any alignment.
 * @bytes:   its length in bytes; 0 does nothing.
 *
 * As dmem_publish(), and this member keeps no copy of the lines, so that it cannot write them back later.  Before it
 * reads the range again it refreshes it, as every reader does.
 *
 * Returns:    0; DMEM_E_FOREIGN; DMEM_E_DETACHED; DMEM_E_LOST; DMEM_E_FENCED; -EIO (see dmem_publish()).
 * Threads:    safe from any thread; no thread of this member may store to the range until it is given back.
 * Blocks:     never on another member; a remote pool takes a round trip.
 * Visibility: publishes (memory model, clause M4).
 * On failure: some of the range may have been published; the caller still owns it.
 * Crash:      a member that dies inside may have published any part of the range, in whole lines.
 * Source:     docs/memory-model.md.
 */
DMEM_API DMEM_MUST_CHECK int dmem_handoff(const void *address, size_t bytes);

/**
 * dmem_publish_all() - publish every store this member has made to a pool.
 * @pool: an attached pool.
 *
 * Returns:    0; DMEM_E_DETACHED; DMEM_E_LOST; DMEM_E_FENCED; DMEM_E_UNSUPPORTED the pool's backend cannot tell what was
 *             stored; -EIO.
 * Threads:    safe from any thread; stores that other threads make meanwhile may or may not be published.
 * Blocks:     never on another member; takes time in proportion to what was stored.
 * Visibility: as dmem_publish() of the whole pool.
 * On failure: some lines may have been published; call again.
 * Crash:      a member that dies inside may have published any of its lines.
 * Source:     docs/memory-model.md.
 */
DMEM_API DMEM_MUST_CHECK int dmem_publish_all(struct dmem_pool *pool);

/**
 * dmem_refresh_all() - drop everything this member remembers of a pool.
 * @pool: an attached pool.
 *
 * Returns:    0; DMEM_E_DETACHED; DMEM_E_LOST; DMEM_E_FENCED; DMEM_E_UNSUPPORTED; -EIO.
 * Threads:    safe from any thread; no thread of this member may hold unpublished stores to the pool.
 * Blocks:     never on another member; takes time in proportion to what is cached.
 * Visibility: as dmem_refresh() of the whole pool.
 * On failure: the pool may be stale; do not follow pointers read from it.
 * Crash:      changes nothing that others see.
 * Source:     docs/memory-model.md.
 */
DMEM_API DMEM_MUST_CHECK int dmem_refresh_all(struct dmem_pool *pool);

/**
 * dmem_fence() - order this thread's earlier loads and stores before its later ones, for every kind of pool.
 *
 * Returns:    nothing.
 * Threads:    orders the calling thread only.
 * Blocks:     never.
 * Visibility: orders; it publishes nothing by itself (memory model, clause M5).
 * On failure: cannot fail.
 * Crash:      changes nothing.
 * Source:     docs/memory-model.md.
 */
DMEM_API void dmem_fence(void);

#ifdef __cplusplus
}
#endif
#endif
