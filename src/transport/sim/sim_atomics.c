/* SPDX-License-Identifier: Apache-2.0 */
/*
 * sim_atomics.c: atomic words: the processor's operations on the shared file, never on the member's own copy.
 *
 * An operation marks its line: from then on the own copy of the line is not written to the file (sim_lines.c).  A line whose
 * own copy is dirty at that moment was stored to plainly, which the memory model forbids (clause A1): it is counted, and the
 * store is lost.
 */
#include <errno.h>

#include "base/arith.h"
#include "base/error.h"
#include "transport/coherent.h"
#include "transport/sim/sim_device.h"

/* Where the shared word is; NULL, when it is not mapped.  Marks its line. */
static char *word_begin(struct dm_sim *sim, uint64_t offset, const void *address)
{
	uint64_t line = dm_align_down(offset, DM_SIM_LINE_BYTES);
	struct dm_sim_view *view;

	dm_sim_enter(sim);
	view = dm_sim_find(sim, offset, address);
	if (view == NULL)
		return NULL;
	dm_sim_chance_note(sim, line);
	if (dm_sim_line_dirty(view, line)) {
		dm_sim_violation(sim);
		dm_sim_line_in(sim, view, line);
	}
	dm_sim_line_mark(sim, line);
	return sim->shared + offset;
}

static int word_end(struct dm_sim *sim, uint64_t offset, const void *address, const char *word, int rc)
{
	int lost = dm_sim_leave(sim);

	if (word == NULL)
		return dm_sim_refuse_unmapped(sim, offset, address);
	return rc ? rc : lost;
}

/* Asked first, so that a word that is none marks no line and locks nothing while the failure is described. */
static int check_word(const void *address, unsigned width)
{
	if (address != NULL && (width == 4 || width == 8) && ((uintptr_t)address & (width - 1)) == 0)
		return 0;
	return dm_fail(-EINVAL, "an atomic word of %u bytes at %p: it must have 4 or 8 bytes and be aligned to them", width,
	               address);
}

int dm_sim_load(struct dm_device *device, uint64_t offset, void *address, unsigned width, uint64_t *value)
{
	struct dm_sim *sim = dm_sim_of(device);
	uint64_t seen = 0;
	int rc = check_word(address, width);
	char *word;

	if (rc)
		return rc;
	word = word_begin(sim, offset, address);
	if (word != NULL)
		rc = dm_coherent_load(device, offset, word, width, &seen);
	rc = word_end(sim, offset, address, word, rc);
	if (rc == 0)
		*value = seen;
	return rc;
}

int dm_sim_store(struct dm_device *device, uint64_t offset, void *address, unsigned width, uint64_t value)
{
	struct dm_sim *sim = dm_sim_of(device);
	int rc = check_word(address, width);
	char *word;

	if (rc)
		return rc;
	word = word_begin(sim, offset, address);
	if (word != NULL)
		rc = dm_coherent_store(device, offset, word, width, value);
	return word_end(sim, offset, address, word, rc);
}

int dm_sim_exchange(struct dm_device *device, uint64_t offset, void *address, unsigned width, uint64_t value,
                    uint64_t *previous)
{
	struct dm_sim *sim = dm_sim_of(device);
	uint64_t seen = 0;
	int rc = check_word(address, width);
	char *word;

	if (rc)
		return rc;
	word = word_begin(sim, offset, address);
	if (word != NULL)
		rc = dm_coherent_exchange(device, offset, word, width, value, &seen);
	rc = word_end(sim, offset, address, word, rc);
	if (rc == 0 && previous != NULL)
		*previous = seen;
	return rc;
}

int dm_sim_cas(struct dm_device *device, uint64_t offset, void *address, unsigned width, uint64_t expected,
               uint64_t desired, uint64_t *previous)
{
	struct dm_sim *sim = dm_sim_of(device);
	uint64_t seen = 0;
	int rc = check_word(address, width);
	char *word;

	if (rc)
		return rc;
	word = word_begin(sim, offset, address);
	if (word != NULL)
		rc = dm_coherent_cas(device, offset, word, width, expected, desired, &seen);
	rc = word_end(sim, offset, address, word, rc);
	if (rc == 0 && previous != NULL)
		*previous = seen;
	return rc;
}

int dm_sim_add(struct dm_device *device, uint64_t offset, void *address, unsigned width, uint64_t addend,
               uint64_t *previous)
{
	struct dm_sim *sim = dm_sim_of(device);
	uint64_t seen = 0;
	int rc = check_word(address, width);
	char *word;

	if (rc)
		return rc;
	word = word_begin(sim, offset, address);
	if (word != NULL)
		rc = dm_coherent_add(device, offset, word, width, addend, &seen);
	rc = word_end(sim, offset, address, word, rc);
	if (rc == 0 && previous != NULL)
		*previous = seen;
	return rc;
}
