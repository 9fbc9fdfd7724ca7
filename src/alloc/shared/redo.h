/* SPDX-License-Identifier: Apache-2.0 */
/* redo.h: allocating into a slot and freeing out of one, so that a death in between leaks nothing. */
#ifndef DM_ALLOC_SHARED_REDO_H
#define DM_ALLOC_SHARED_REDO_H

#include <string.h>

#include "alloc/shared/shared.h"

/* `slot` lies in the pool, at a multiple of 8, and only the caller stores to it until the call returns.  0, -ENOMEM. */
int dm_shared_alloc_to(struct dm_shared *shared, void **slot, uint64_t bytes);
/* The slot holds an address in the pool.  0, or a refusal that was described with dm_fail(). */
int dm_shared_free_from(struct dm_shared *shared, void **slot);

/* Finish or undo what a dead member had announced; idempotent.  Before its memory is adopted. */
int dm_redo_repair(void *shared, uint32_t slot, uint32_t incarnation);

/* Who is about to replace the tag of `seen` in a tagged word calls this first: when its author announces that very change, it is
 * told by its note that the change took place. */
int dm_redo_note_author(struct dm_shared *shared, const uint64_t *word, uint64_t seen);

/* Does this heap number have an announced operation under way?  For validate; `possible` gets false when it names what can't
 * be. */
bool dm_redo_announces(struct dm_shared *shared, uint32_t heap, bool *possible);

#endif
