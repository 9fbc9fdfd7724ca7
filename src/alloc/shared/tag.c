/* SPDX-License-Identifier: Apache-2.0 */
/*
 * tag.c: tagged words: bits that say "freed", with the name of whoever changed the word last (heap_layout.h).
 *
 * Ordering: setting a bit is a release, taking it is an acquire, so what the freeing member did to the block comes before
 * what the next user does.  Progress: lock-free; a CAS fails only because another one went through.
 */
#include <errno.h>

#include "alloc/shared/shared.h"

#define VERSION_MASK ((UINT64_C(1) << (64 - DM_TAG_VERSION_SHIFT)) - 1)

int dm_tag_set(struct dm_shared *shared, uint64_t *word, uint32_t bits, uint32_t heap, uint64_t version)
{
	uint64_t tag = (uint64_t)heap << DM_TAG_HEAP_SHIFT | (version & VERSION_MASK) << DM_TAG_VERSION_SHIFT;
	uint64_t old;
	int rc = dm_word_load(shared->window, word, &old);

	while (rc == 0) {
		uint64_t seen;

		if ((uint32_t)old & bits)
			return -EALREADY;
		rc = dm_word_cas(shared->window, word, old, (uint32_t)old | bits | tag, &seen);
		if (seen == old)
			break;
		old = seen;
	}
	return rc;
}

/* A setter that looked at the word before must look again. */
uint32_t dm_tag_clear(struct dm_shared *shared, uint64_t *word)
{
	uint64_t old;
	int rc = dm_word_load(shared->window, word, &old);

	while (rc == 0 && (uint32_t)old != 0) {
		uint64_t seen;

		rc = dm_word_cas(shared->window, word, old, dm_tag_anonymous(old, 0), &seen);
		if (seen == old)
			return (uint32_t)old;
		old = seen;
	}
	return 0;
}
