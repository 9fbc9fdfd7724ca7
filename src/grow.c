/* SPDX-License-Identifier: Apache-2.0 */
/*
 * grow.c: more memory for a pool that is in use.
 *
 * A new segment is entered in the superblock as PENDING.  Every member's agent sees the new sequence, maps the segment and
 * says so; when all live members have, the segment becomes ACTIVE and is allocated from.  So no member can be handed a
 * pointer that it has not mapped.  The step from PENDING to ACTIVE can be made by anybody at any time later, so a member that
 * is stopped, or a grower that dies, only delays the use of the new memory.
 *
 * Deaths: a device that is longer than its segments is harmless, and the next growth uses it.  The superblock is written copy by
 * copy, device 0 last, so that a device is known before it is needed.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "addr/superblock.h"
#include "base/clock.h"
#include "base/error.h"
#include "base/fault.h"
#include "layout.h"
#include "pool.h"

#define HEADER_BYTES  ((uint64_t)DM_SUPERBLOCK_COPIES * DM_SUPERBLOCK_BYTES)
#define ANSWER_BEATS  30u
#define ANSWER_MIN_NS (2 * DM_NS_PER_S) /* short beats say nothing about how soon a busy machine runs an agent */

/* Write a new superblock to all devices, make it the one in force and follow it ourselves.  With the administration lock. */
static int commit_superblock(struct dmem_pool *pool, struct dm_superblock_pm *sb, struct dm_device *added)
{
	struct dm_window *window = pool->window;
	uint32_t devices = window->device_count;
	uint64_t sequence;
	int rc = 0;

	sb->sequence++;
	rc = dm_superblock_check(sb, window->devices[0]->name);
	if (rc == 0 && added != NULL)
		rc = dm_superblock_write(added, devices, sb);
	for (uint32_t i = devices; rc == 0 && i-- > 0;)
		rc = dm_superblock_write(window->devices[i], i, sb);
	if (rc)
		return rc;
	DM_CRASH_POINT(GROW_WRITTEN);
	rc = dm_window_reload(window, &sequence);
	if (rc == 0)
		rc = dm_word_store(window, &pool->members->admin->sequence, sequence);
	if (rc == 0)
		dm_members_poke_agent(pool->members);
	return rc;
}

/* Sequence that the whole pool has to have mapped: the one in force now. */
static bool all_have_mapped(struct dmem_pool *pool, uint32_t *laggard)
{
	uint64_t sequence;

	return dm_word_load(pool->window, &pool->members->admin->sequence, &sequence) == 0 &&
	       dm_members_all_mapped(pool->members, sequence, laggard);
}

/* Taking the lock may have put a dead grower's superblock in force, so it is asked again who has mapped it. */
static int activate(struct dmem_pool *pool)
{
	struct dm_superblock_pm *sb = malloc(sizeof(*sb));
	bool changed = false;
	uint32_t laggard;
	int rc;

	if (sb == NULL)
		return dm_fail(-ENOMEM, "no memory to activate new segments");
	rc = dm_admin_lock(pool->members);
	if (rc)
		goto err_free;
	dm_window_superblock(pool->window, sb);
	for (uint32_t i = 0; i < sb->segment_count; i++) {
		changed = changed || sb->segments[i].state == DM_SEGMENT_PENDING;
		sb->segments[i].state = DM_SEGMENT_ACTIVE;
	}
	if (changed && !all_have_mapped(pool, &laggard))
		rc = dm_fail_quietly(DMEM_E_BUSY, "member %u has not mapped the pool's new memory yet", laggard);
	else if (changed)
		rc = commit_superblock(pool, sb, NULL);
	dm_admin_unlock(pool->members);
err_free:
	free(sb);
	return rc;
}

static bool has_pending(const struct dm_window *window)
{
	uint32_t count = atomic_load_explicit(&window->segment_count, memory_order_acquire);

	for (uint32_t i = 0; i < count; i++)
		if (atomic_load_explicit(&window->segments[i].state, memory_order_relaxed) == DM_SEGMENT_PENDING)
			return true;
	return false;
}

bool dm_pool_finish_growth(struct dmem_pool *pool)
{
	uint64_t sequence;
	uint32_t laggard;

	if (dm_word_load(pool->window, &pool->members->admin->sequence, &sequence) == 0 &&
	    sequence > dm_window_sequence(pool->window) && dm_window_reload(pool->window, &sequence) == 0 &&
	    !has_pending(pool->window))
		return true; /* somebody else has grown the pool */
	return has_pending(pool->window) && all_have_mapped(pool, &laggard) && activate(pool) == 0;
}

/* Wait, bounded, until every member has answered; then use the memory. */
static int wait_for_answers(struct dmem_pool *pool)
{
	uint64_t patience_ns = ANSWER_BEATS * (uint64_t)pool->members->beat_ms * DM_NS_PER_MS;
	uint64_t deadline = dm_clock_now_ns() + (patience_ns > ANSWER_MIN_NS ? patience_ns : ANSWER_MIN_NS);
	uint32_t laggard = DM_NO_SLOT;
	struct dm_member_view view = {0};

	do {
		int rc = all_have_mapped(pool, &laggard) ? activate(pool) : DMEM_E_BUSY;

		if (rc != DMEM_E_BUSY)
			return rc;
		dm_clock_sleep_ns(pool->members->beat_ms * DM_NS_PER_MS / 10);
	} while (dm_clock_now_ns() < deadline);
	if (dm_members_view(pool->members, laggard, &view) != 0)
		return activate(pool);
	return dm_fail(
		DMEM_E_BUSY,
		"%s has grown; member %u (%.16s, pid %d) has not mapped the new memory yet, which is used as soon as it "
		"does: see what that process is doing",
		pool->window->devices[0]->name, laggard, view.identity.program, view.identity.pid);
}

/* Where in the window the next segment goes, at the device's alignment. */
static int place_segment(const struct dm_superblock_pm *sb, uint64_t align_bytes, uint64_t extents,
                         uint64_t *window_first)
{
	const struct dm_segment_pm *last = &sb->segments[sb->segment_count - 1];
	uint64_t first;

	if (!dm_align_up(last->window_first + last->extents, align_bytes >> DM_EXTENT_SHIFT, &first) ||
	    !dm_range_inside(first, extents, sb->span_bytes >> DM_EXTENT_SHIFT))
		return dm_fail(DMEM_E_OPTION,
		               "%" PRIu64 " MiB more are beyond the pool's span of %" PRIu64
		               " GiB: create a pool with a larger span",
		               extents * 2, sb->span_bytes / DM_GIB);
	*window_first = first;
	return 0;
}

static int add_segment(struct dm_superblock_pm *sb, uint32_t device, uint64_t align_bytes, uint64_t device_first,
                       uint64_t extents, uint64_t header_bytes)
{
	struct dm_segment_pm *segment = &sb->segments[sb->segment_count];
	struct dm_geometry geometry;
	int rc;

	if (sb->segment_count == DM_SEGMENTS_MAX)
		return dm_fail(-ENOSPC, "the pool has %u segments, which is the limit: grow it less often, by more",
		               DM_SEGMENTS_MAX);
	*segment = (struct dm_segment_pm){
		.device = device, .device_first = device_first, .extents = extents, .state = DM_SEGMENT_PENDING};
	rc = place_segment(sb, align_bytes, extents, &segment->window_first);
	if (rc)
		return rc;
	dm_geometry_init(&geometry, sb->chunk_extents, sb->granule_bytes);
	if (!dm_geometry_lay_out(&geometry, header_bytes, segment))
		return dm_fail(DMEM_E_TOO_SMALL,
		               "%" PRIu64 " MiB are too little for a segment of this pool, whose chunks have %u MiB: add more",
		               extents * 2, sb->chunk_extents * 2);
	sb->segment_count++;
	return 0;
}

/* Space for the part of a new segment's metadata that is read before anybody leases a chunk of it. */
static int reserve_segment(struct dm_device *device, const struct dm_superblock_pm *sb,
                           const struct dm_segment_pm *segment)
{
	struct dm_geometry geometry;
	struct dm_geometry_arrays arrays;
	uint64_t start = segment->device_first << DM_EXTENT_SHIFT;
	uint64_t skip = segment->metadata_off - (segment->window_first << DM_EXTENT_SHIFT);

	if (!(device->caps & DM_CAP_RESERVES))
		return 0;
	dm_geometry_init(&geometry, sb->chunk_extents, sb->granule_bytes);
	dm_geometry_arrays(&geometry, segment->data_extents, &arrays);
	return device->transport->region.reserve(device, start, skip + arrays.extent_locals);
}

/* A growth of device 0 is a segment of its own behind what the pool uses of the device. */
static int grow_locked(struct dmem_pool *pool, uint64_t size)
{
	struct dm_device *device = pool->window->devices[0];
	struct dm_superblock_pm *sb = malloc(sizeof(*sb));
	uint64_t used;
	int rc;

	if (sb == NULL)
		return dm_fail(-ENOMEM, "no memory to grow %s", device->name);
	dm_window_superblock(pool->window, sb);
	used = sb->devices[0].size_bytes;
	if (size <= used)
		rc = dm_fail(DMEM_E_OPTION,
		             "%s has %" PRIu64 " MiB already, and a device can't be made smaller: ask for more than that",
		             device->name, used / DM_MIB);
	else if (!(device->caps & DM_CAP_GROWS))
		rc = dm_fail(DMEM_E_UNSUPPORTED, "%s can't grow: add a device with 'dmemctl add'", device->name);
	else
		rc = add_segment(sb, 0, device->align_bytes, used >> DM_EXTENT_SHIFT, (size - used) >> DM_EXTENT_SHIFT, 0);
	if (rc == 0 && dm_device_bytes(device) < size) /* it is longer already when a grower died before the superblock */
		rc = device->transport->region.grow(device, size);
	DM_CRASH_POINT(GROW_LONGER);
	sb->devices[0].size_bytes = size;
	if (rc == 0)
		rc = reserve_segment(device, sb, &sb->segments[sb->segment_count - 1]);
	if (rc == 0)
		rc = commit_superblock(pool, sb, NULL);
	free(sb);
	return rc;
}

int dmem_pool_grow(struct dmem_pool *pool, uint64_t size_bytes)
{
	uint64_t size;
	int rc = dm_pool_check(pool);

	if (rc)
		return rc;
	if (!dm_align_up(size_bytes, pool->window->devices[0]->align_bytes, &size) || size > DM_SPAN_BYTES_MAX)
		return dm_fail(DMEM_E_OPTION, "a size of %" PRIu64 " bytes is more than a pool can have", size_bytes);
	(void)dm_pool_finish_growth(pool);
	rc = dm_admin_lock(pool->members);
	if (rc)
		return rc;
	rc = grow_locked(pool, size);
	dm_admin_unlock(pool->members);
	return rc ? rc : wait_for_answers(pool);
}

/* --- a further device --- */

static int add_locked(struct dmem_pool *pool, struct dm_device *device)
{
	struct dm_superblock_pm *sb = malloc(sizeof(*sb));
	uint8_t uuid[16];
	int rc;

	if (sb == NULL)
		return dm_fail(-ENOMEM, "no memory to add %s", device->name);
	dm_window_superblock(pool->window, sb);
	rc = dm_layout_uuid(uuid);
	if (rc)
		goto err_free;
	if (sb->device_count == DM_DEVICES_MAX)
		rc = dm_fail(-ENOSPC, "the pool has %u devices, which is the limit: grow one of them", DM_DEVICES_MAX);
	else if (strlen(device->name) >= sizeof(sb->devices[0].hint))
		rc = dm_fail(DMEM_E_URI, "%s is longer than %zu bytes, which the pool could not remember: use a shorter path",
		             device->name, sizeof(sb->devices[0].hint) - 1);
	if (rc)
		goto err_free;
	dm_layout_device(sb, sb->device_count, device, uuid);
	if (device->align_bytes > sb->unit_bytes)
		sb->unit_bytes = device->align_bytes;
	sb->device_count++;
	rc = add_segment(sb, sb->device_count - 1, device->align_bytes, 0, device->size_bytes >> DM_EXTENT_SHIFT,
	                 HEADER_BYTES);
	if (rc == 0)
		rc = reserve_segment(device, sb, &sb->segments[sb->segment_count - 1]);
	if (rc == 0)
		rc = dm_layout_clear(device, &sb->segments[sb->segment_count - 1]);
	/* its superblocks first: whoever finds the new name must find a device of this pool behind it */
	if (rc == 0)
		rc = dm_superblock_write(device, sb->device_count - 1, sb);
	if (rc == 0)
		rc = device->transport->region.commit(device);
	DM_CRASH_POINT(ADD_DEVICE_NAMED);
	if (rc == 0)
		rc = commit_superblock(pool, sb, device);
err_free:
	free(sb);
	return rc;
}

int dmem_pool_add(struct dmem_pool *pool, const char *uri_text)
{
	struct dmem_create_options options;
	const struct dm_transport *transport;
	struct dm_device *device = NULL;
	struct dm_uri *uri;
	uint64_t size = 0;
	int rc = dm_pool_check(pool);

	if (rc)
		return rc;
	uri = malloc(sizeof(*uri));
	if (uri == NULL || uri_text == NULL) {
		free(uri);
		return dm_fail(uri_text == NULL ? -EINVAL : -ENOMEM, "dmem_pool_add() wants a URI, and memory");
	}
	rc = dm_uri_parse(uri_text, uri);
	if (rc == 0)
		rc = dm_uri_create_options(uri, NULL, &options);
	if (rc == 0)
		rc = dm_transport_find(uri->scheme, &transport);
	if (rc == 0 && options.size_bytes == 0)
		rc = transport->region.capacity(uri, &options.size_bytes);
	if (rc == 0 && (options.size_bytes == 0 || !dm_align_up(options.size_bytes, DM_EXTENT_BYTES, &size)))
		rc = dm_fail(DMEM_E_OPTION, "%s: say how large the device shall be, with ?size=", uri_text);
	if (rc == 0)
		rc = dm_transport_create(uri, size, pool->window->superblock.mode, &device);
	if (rc)
		goto err_free;
	(void)dm_pool_finish_growth(pool);
	rc = dm_admin_lock(pool->members);
	if (rc == 0) {
		rc = add_locked(pool, device);
		dm_admin_unlock(pool->members);
	}
	device->transport->region.close(device);
	if (rc == 0)
		rc = wait_for_answers(pool);
err_free:
	free(uri);
	return rc;
}
