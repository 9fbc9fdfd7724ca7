/* SPDX-License-Identifier: Apache-2.0 */
/*
 * tag.c: tagged words: bits that say "freed", with the name of whoever changed the word last (heap_layout.h).
 *
 * Whoever replaces a tag tells its author first, when that one has announced the change (redo.c).
 *
 * Ordering: setting a bit is a release, taking it is an acquire, so what the freeing member did to the block comes before
 * what the next user does.  Progress: lock-free; a CAS fails only because another one went through.
 */
#include <errno.h>

#include "alloc/shared/redo.h"
#include "alloc/shared/shared.h"

static int replace(struct dm_shared *shared, uint64_t *word, uint64_t old, uint64_t by, uint64_t *seen)
{
	int rc = dm_redo_note_author(shared, word, old);

	return rc ? rc : dm_word_cas(shared->window, word, old, by, seen);
}

int dm_tag_set(struct dm_shared *shared, uint64_t *word, uint32_t bits, uint32_t heap, uint64_t version)
{
	uint64_t old;
	int rc = dm_word_load(shared->window, word, &old);

	while (rc == 0) {
		uint32_t all = (uint32_t)old | bits;
		uint64_t seen = ~old;

		if ((uint32_t)old & bits)
			return -EALREADY;
		rc = replace(shared, word, old, heap == 0 ? dm_tag_anonymous(old, all) : all | dm_tag_make(heap, version),
		             &seen);
		if (seen == old)
			break;
		old = seen;
	}
	return rc;
}

int dm_tag_take(struct dm_shared *shared, uint64_t *word, uint64_t old, uint32_t left, uint64_t *seen)
{
	return replace(shared, word, old, dm_tag_anonymous(old, left), seen);
}

/* A setter that looked at the word before must look again. */
uint32_t dm_tag_clear(struct dm_shared *shared, uint64_t *word)
{
	uint64_t old;
	int rc = dm_word_load(shared->window, word, &old);

	while (rc == 0 && (uint32_t)old != 0) {
		uint64_t seen = ~old;

		rc = dm_tag_take(shared, word, old, 0, &seen);
		if (seen == old)
			return (uint32_t)old;
		old = seen;
	}
	return 0;
}
