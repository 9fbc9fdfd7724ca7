/* SPDX-License-Identifier: Apache-2.0 */
/*
 * roots.c: names of objects (root_layout.h).
 *
 * Writers hold the administration lock.  Readers lock nothing: an entry's value carries a version that changes whenever its
 * name does, so a name that was read between two equal values belongs to them.
 *
 * Filling an entry: value := (version + 1, 0), name and its CRC, value := (version + 2, offset).  Replacing or removing:
 * one store of value.  A death before the last store leaves an entry that reads as removed and can be filled again.
 */
#include <errno.h>
#include <string.h>

#include "base/crc32c.h"
#include "base/error.h"
#include "base/fault.h"
#include "base/forklock.h"
#include "pool.h"
#include "root_layout.h"
#include "roots.h"

/* Between a name's stores and their publication no thread of this process may refresh the line: in pools that are not coherent
 * the stores would be lost. */
static struct dm_forklock names_lock;

#define OFFSET_MASK ((UINT64_C(1) << 48) - 1)

static uint64_t value_of(uint64_t version, uint64_t offset)
{
	return version << 48 | offset;
}

static struct dm_root_pm *table_of(const struct dmem_pool *pool, uint32_t *count)
{
	const struct dm_superblock_pm *sb = &pool->window->superblock;

	*count = sb->roots_max;
	if (!dm_range_inside(sb->root_off, (uint64_t)sb->roots_max * sizeof(struct dm_root_pm), sb->static_bytes))
		return NULL;
	return dm_window_at(pool->window, sb->root_off);
}

static int padded_name(const char *name, char padded[64])
{
	size_t length = name == NULL ? 0 : strnlen(name, 64);

	if (length == 0 || length > DMEM_ROOT_NAME_BYTES_MAX)
		return dm_fail(DMEM_E_NAME, "a root's name has 1 to %d bytes, this one has %s: choose another",
		               DMEM_ROOT_NAME_BYTES_MAX, length == 0 ? "none" : "more");
	memset(padded, 0, 64);
	memcpy(padded, name, length);
	return 0;
}

/* A whole copy of an entry.  -ENOENT: removed or being filled; `never` tells that nothing was ever there. */
static int read_entry(struct dmem_pool *pool, struct dm_root_pm *entry, char name[64], uint64_t *value, bool *never)
{
	uint64_t before;
	uint64_t after;
	uint64_t crc;
	int rc;

	*never = false;
	do {
		rc = dm_word_load(pool->window, &entry->value, &before);
		if (rc)
			return rc;
		*never = before == 0;
		if ((before & OFFSET_MASK) == 0)
			return -ENOENT;
		dm_forklock_lock(&names_lock);
		rc = dm_window_refresh(pool->window, entry->name, sizeof(entry->name));
		memcpy(name, entry->name, sizeof(entry->name));
		dm_forklock_unlock(&names_lock);
		if (rc == 0)
			rc = dm_word_load(pool->window, &entry->name_crc, &crc);
		dm_fence_observe(); /* the copy is made before the value is looked at again */
		if (rc == 0)
			rc = dm_word_load(pool->window, &entry->value, &after);
		if (rc)
			return rc;
	} while (before != after);
	if (crc != dm_crc32c(name, 64) || (before & OFFSET_MASK) >= pool->window->span_bytes)
		return dm_fail(DMEM_E_CORRUPT, "%s: a root's entry is damaged: check the pool with 'dmemctl fsck'",
		               pool->window->devices[0]->name);
	*value = before;
	return 0;
}

struct search {
	struct dm_root_pm *found;
	uint64_t value;            /* of `found` */
	struct dm_root_pm *vacant; /* first entry that could be filled */
};

static int search_name(struct dmem_pool *pool, const char padded[64], struct search *search)
{
	uint32_t count;
	struct dm_root_pm *table = table_of(pool, &count);
	uint32_t start = dm_crc32c(padded, 64);

	*search = (struct search){.found = NULL};
	if (table == NULL)
		return dm_fail(DMEM_E_CORRUPT,
		               "%s: the superblock has no room for its roots: check the pool with 'dmemctl fsck'",
		               pool->window->devices[0]->name);
	for (uint32_t i = 0; i < count; i++) {
		struct dm_root_pm *entry = &table[(start + i) & (count - 1)];
		char name[64];
		uint64_t value;
		bool never;
		int rc = read_entry(pool, entry, name, &value, &never);

		if (rc == -ENOENT && search->vacant == NULL)
			search->vacant = entry;
		if (rc == -ENOENT && never)
			break;
		if (rc == -ENOENT || rc == DMEM_E_CORRUPT)
			continue;
		if (rc)
			return rc;
		if (memcmp(name, padded, 64) != 0)
			continue;
		search->found = entry;
		search->value = value;
		break;
	}
	return 0;
}

/* --- writing, with the lock --- */

static int fill_entry(struct dmem_pool *pool, struct dm_root_pm *entry, const char padded[64], uint64_t offset)
{
	uint64_t value;
	uint64_t version;
	int rc = dm_word_load(pool->window, &entry->value, &value);

	if (rc)
		return rc;
	version = (value >> 48) + 1;
	rc = dm_word_store(pool->window, &entry->value, value_of(version, 0) != 0 ? value_of(version, 0) : value_of(1, 0));
	if (rc)
		return rc;
	dm_fence_full(); /* a reader that sees part of the new name sees the new version */
	dm_forklock_lock(&names_lock);
	rc = dm_window_refresh(pool->window, entry->name, 64);
	memcpy(entry->name, padded, 64);
	if (rc == 0)
		rc = dm_window_publish(pool->window, entry->name, 64);
	dm_forklock_unlock(&names_lock);
	if (rc == 0)
		rc = dm_word_store(pool->window, &entry->name_crc, dm_crc32c(padded, 64));
	DM_CRASH_POINT(ROOT_NAMED);
	return rc ? rc : dm_word_store(pool->window, &entry->value, value_of(version + 1, offset));
}

static int set_locked(struct dmem_pool *pool, const char padded[64], uint64_t offset)
{
	struct search search;
	int rc = search_name(pool, padded, &search);

	if (rc)
		return rc;
	if (search.found != NULL)
		return dm_word_store(pool->window, &search.found->value, value_of(search.value >> 48, offset));
	if (offset == 0)
		return dm_fail(-ENOENT, "there is no root '%s' to remove", padded);
	if (search.vacant == NULL)
		return dm_fail(
			-ENOSPC,
			"%s has %u roots, which is the limit: remove some, or keep a directory of your own behind one root",
			pool->window->devices[0]->name, pool->window->superblock.roots_max);
	return fill_entry(pool, search.vacant, padded, offset);
}

int dmem_root_set(struct dmem_pool *pool, const char *name, void *object)
{
	uint64_t offset = 0;
	char padded[64];
	int rc = dm_pool_check(pool);

	if (rc == 0)
		rc = padded_name(name, padded);
	if (rc == 0 && object != NULL) {
		offset = dm_window_offset(pool->window, object);
		if (!dm_window_contains(pool->window, object) || offset < pool->window->superblock.static_bytes)
			rc = dm_fail(DMEM_E_FOREIGN,
			             "root '%s': %p is not user memory of this pool: other members could not follow it", padded,
			             object);
	}
	if (rc)
		return rc;
	rc = dm_admin_lock(pool->members);
	if (rc)
		return rc;
	rc = set_locked(pool, padded, offset);
	dm_admin_unlock(pool->members);
	return rc;
}

void *dmem_root_get(struct dmem_pool *pool, const char *name)
{
	struct search search;
	char padded[64];
	int rc = dm_pool_check(pool);

	if (rc == 0)
		rc = padded_name(name, padded);
	if (rc == 0)
		rc = search_name(pool, padded, &search);
	if (rc == 0 && search.found == NULL)
		rc = dm_fail_quietly(-ENOENT, "there is no root '%s'", padded);
	if (rc) {
		errno = dm_error_errno(rc);
		return NULL;
	}
	return dm_window_at(pool->window, search.value & OFFSET_MASK);
}

int dm_roots_each(struct dmem_pool *pool, int (*each)(void *, const char *name, uint64_t offset), void *context,
                  uint64_t *damaged)
{
	uint32_t count;
	struct dm_root_pm *table = table_of(pool, &count);
	int rc = table == NULL ? DMEM_E_CORRUPT : 0;

	*damaged = 0;
	for (uint32_t i = 0; rc == 0 && i < count; i++) {
		char name[64];
		uint64_t value;
		bool never;

		rc = read_entry(pool, &table[i], name, &value, &never);
		if (rc == 0) {
			name[63] = 0;
			rc = each(context, name, value & OFFSET_MASK);
		} else if (rc == -ENOENT || rc == DMEM_E_CORRUPT) {
			*damaged += rc == DMEM_E_CORRUPT;
			rc = 0;
		}
	}
	return rc;
}
