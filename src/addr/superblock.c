/* SPDX-License-Identifier: Apache-2.0 */
/*
 * superblock.c: the two copies, and what must be true of them.
 *
 * Invariant: at every moment at least one copy on device 0 is whole, because a writer finishes one before it begins the
 * other.  Whatever passes dm_superblock_check() can be used without further bounds checks: every offset, count and range in
 * it has been compared with every other.
 */
#include "addr/superblock.h"

#include <inttypes.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "addr/window.h"
#include "base/arith.h"
#include "base/crc32c.h"
#include "base/error.h"
#include "base/fault.h"

#define DM_HEADER_BYTES  ((uint64_t)DM_SUPERBLOCK_COPIES * DM_SUPERBLOCK_BYTES)
#define DM_ADDRESS_LIMIT (UINT64_C(1) << 47) /* user addresses of x86-64 and arm64 with 48 bits */

static int bad(const char *name, const char *what, uint64_t value)
{
	return dm_fail(DMEM_E_CORRUPT,
	               "%s: the superblock's %s is %" PRIu64 " (0x%" PRIx64 "), which can't be: "
	               "look at it with 'dmemctl fsck', restore the pool from where it came",
	               name, what, value, value);
}

static int check_versions(const struct dm_superblock_pm *sb, const char *name)
{
	uint64_t unknown = sb->incompat & ~DM_INCOMPAT_KNOWN;

	if (sb->layout_version != DM_LAYOUT_VERSION)
		return dm_fail(DMEM_E_VERSION,
		               "%s: the pool has layout version %u, this libdmem %s understands version %u: "
		               "use the libdmem that made it, or a newer one",
		               name, sb->layout_version, dmem_version(), DM_LAYOUT_VERSION);
	if (unknown != 0)
		return dm_fail(DMEM_E_VERSION,
		               "%s: the pool uses features 0x%" PRIx64 " that this libdmem %s does not know: "
		               "use a newer libdmem",
		               name, unknown, dmem_version());
	if ((sb->ro_compat & ~DM_RO_COMPAT_KNOWN) != 0)
		return dm_fail(DMEM_E_VERSION,
		               "%s: the pool uses features 0x%" PRIx64 " that allow this libdmem %s to read only: "
		               "use a newer libdmem",
		               name, sb->ro_compat & ~DM_RO_COMPAT_KNOWN, dmem_version());
	return 0;
}

static int check_numbers(const struct dm_superblock_pm *sb, const char *name)
{
	if (sb->bytes != DM_SUPERBLOCK_BYTES)
		return bad(name, "length", sb->bytes);
	if (sb->extent_bytes != DM_EXTENT_BYTES)
		return bad(name, "extent size", sb->extent_bytes);
	if (!dm_is_power_of_two(sb->chunk_extents) || sb->chunk_extents > 32)
		return bad(name, "chunk size", sb->chunk_extents);
	if (sb->granule_bytes != 16 && sb->granule_bytes != 64)
		return bad(name, "granule", sb->granule_bytes);
	if (sb->class_scheme != 1)
		return bad(name, "class scheme", sb->class_scheme);
	if (!dm_is_power_of_two(sb->unit_bytes) || sb->unit_bytes < DM_EXTENT_BYTES)
		return bad(name, "unit", sb->unit_bytes);
	if (!dm_is_aligned(sb->base, DM_EXTENT_BYTES) || sb->base == 0)
		return bad(name, "window base", sb->base);
	if (!dm_is_aligned(sb->span_bytes, DM_EXTENT_BYTES) || sb->span_bytes == 0 || sb->span_bytes > DM_SPAN_BYTES_MAX)
		return bad(name, "span", sb->span_bytes);
	if (!dm_range_inside(sb->base, sb->span_bytes, DM_ADDRESS_LIMIT))
		return bad(name, "window end", sb->base + sb->span_bytes);
	if (sb->coherence < DMEM_COHERENCE_COHERENT || sb->coherence > DMEM_COHERENCE_PAGED)
		return bad(name, "coherence mode", sb->coherence);
	if (sb->atomics < DMEM_ATOMICS_CPU || sb->atomics > DMEM_ATOMICS_REMOTE)
		return bad(name, "atomics mode", sb->atomics);
	if (sb->beat_ms == 0 || sb->lease_ms < 2 * (uint64_t)sb->beat_ms)
		return bad(name, "lease", sb->lease_ms);
	return 0;
}

static int check_device(const struct dm_superblock_pm *sb, uint32_t index, const char *name)
{
	const struct dm_device_pm *device = &sb->devices[index];

	if (device->state != DM_DEVICE_ACTIVE && device->state != DM_DEVICE_LEAVING)
		return bad(name, "device state", device->state);
	if (!dm_is_power_of_two(device->align_bytes) || device->align_bytes < DM_EXTENT_BYTES ||
	    device->align_bytes > sb->unit_bytes)
		return bad(name, "device alignment", device->align_bytes);
	if (!dm_is_aligned(device->size_bytes, DM_EXTENT_BYTES) || device->size_bytes > sb->span_bytes)
		return bad(name, "device size", device->size_bytes);
	if (memchr(device->hint, 0, sizeof(device->hint)) == NULL)
		return bad(name, "device hint of device", index);
	return 0;
}

/* No two segments may lie on the same memory of a device. */
static int check_overlap(const struct dm_superblock_pm *sb, uint32_t index, const char *name)
{
	const struct dm_segment_pm *segment = &sb->segments[index];

	for (uint32_t i = 0; i < index; i++) {
		const struct dm_segment_pm *other = &sb->segments[i];

		if (other->device == segment->device && other->device_first < segment->device_first + segment->extents &&
		    segment->device_first < other->device_first + other->extents)
			return bad(name, "segment's place in its device", segment->device_first);
	}
	return 0;
}

/* Segments lie in ascending order in the window, so neighbours are all that has to be compared. */
static int check_segment(const struct dm_superblock_pm *sb, uint32_t index, uint64_t *window_next, const char *name)
{
	const struct dm_segment_pm *segment = &sb->segments[index];
	uint64_t span_extents = sb->span_bytes >> DM_EXTENT_SHIFT;
	uint64_t skip;

	if (segment->state != DM_SEGMENT_PENDING && segment->state != DM_SEGMENT_ACTIVE)
		return bad(name, "segment state", segment->state);
	if (segment->device >= sb->device_count)
		return bad(name, "segment's device", segment->device);
	if (segment->window_first < *window_next || segment->extents == 0 ||
	    !dm_range_inside(segment->window_first, segment->extents, span_extents))
		return bad(name, "segment start", segment->window_first);
	if (!dm_range_inside(segment->device_first, segment->extents,
	                     sb->devices[segment->device].size_bytes >> DM_EXTENT_SHIFT))
		return bad(name, "segment's place in its device", segment->device_first);
	if (!dm_is_aligned(segment->data_first, sb->chunk_extents) ||
	    !dm_is_aligned(segment->data_extents, sb->chunk_extents) || segment->data_first <= segment->window_first)
		return bad(name, "segment's first data extent", segment->data_first);
	skip = segment->data_first - segment->window_first;
	if (!dm_range_inside(skip, segment->data_extents, segment->extents) || segment->data_extents == 0)
		return bad(name, "segment's data extents", segment->data_extents);
	if (segment->metadata_off < (segment->window_first << DM_EXTENT_SHIFT) ||
	    segment->metadata_off >= (segment->data_first << DM_EXTENT_SHIFT) ||
	    !dm_is_aligned(segment->metadata_off, 4096))
		return bad(name, "segment's metadata offset", segment->metadata_off);
	*window_next = segment->window_first + segment->extents;
	return 0;
}

/* The static tables lie one behind the other between the superblocks and segment 0's metadata.  The layers that own them
 * check that each is long enough for its count. */
static int check_tables(const struct dm_superblock_pm *sb, const char *name)
{
	uint64_t offsets[] = {DM_HEADER_BYTES, sb->admin_off, sb->member_off, sb->heap_off, sb->root_off, sb->static_bytes};

	for (size_t i = 1; i < DM_ARRAY_LENGTH(offsets); i++)
		if (offsets[i] < offsets[i - 1] || !dm_is_aligned(offsets[i], DM_LINE_BYTES))
			return bad(name, "table offset", offsets[i]);
	if (sb->members_max < 16 || sb->members_max > 4096)
		return bad(name, "number of member slots", sb->members_max);
	if (sb->heaps_max < 16 || sb->heaps_max > 16384)
		return bad(name, "number of heaps", sb->heaps_max);
	if (!dm_is_power_of_two(sb->roots_max) || sb->roots_max > 65536)
		return bad(name, "number of roots", sb->roots_max);
	if (sb->atomics == DMEM_ATOMICS_DELEGATE &&
	    (sb->delegate_off < sb->root_off || sb->delegate_off >= sb->static_bytes || !dm_is_aligned(sb->delegate_off, DM_LINE_BYTES)))
		return bad(name, "offset of the desks", sb->delegate_off);
	if (sb->atomics == DMEM_ATOMICS_DELEGATE && (sb->desks_max == 0 || sb->desks_max > 8192))
		return bad(name, "number of desks", sb->desks_max);
	if (sb->static_bytes > sb->segments[0].metadata_off)
		return bad(name, "end of the static tables", sb->static_bytes);
	return 0;
}

int dm_superblock_check(const struct dm_superblock_pm *sb, const char *name)
{
	uint64_t window_next = 0;
	int rc = check_versions(sb, name);

	if (rc == 0)
		rc = check_numbers(sb, name);
	if (rc)
		return rc;
	if (sb->device_count == 0 || sb->device_count > DM_DEVICES_MAX)
		return bad(name, "number of devices", sb->device_count);
	if (sb->segment_count == 0 || sb->segment_count > DM_SEGMENTS_MAX)
		return bad(name, "number of segments", sb->segment_count);
	for (uint32_t i = 0; rc == 0 && i < sb->device_count; i++)
		rc = check_device(sb, i, name);
	for (uint32_t i = 0; rc == 0 && i < sb->segment_count; i++)
		rc = check_segment(sb, i, &window_next, name);
	for (uint32_t i = 1; rc == 0 && i < sb->segment_count; i++)
		rc = check_overlap(sb, i, name);
	if (rc == 0 &&
	    (sb->segments[0].window_first != 0 || sb->segments[0].device != 0 || sb->segments[0].device_first != 0))
		rc = bad(name, "first segment's start", sb->segments[0].window_first);
	return rc ? rc : check_tables(sb, name);
}

static bool copy_is_whole(const struct dm_superblock_pm *sb)
{
	return sb->magic == DM_SUPERBLOCK_MAGIC && sb->crc == dm_crc32c(sb, offsetof(struct dm_superblock_pm, crc));
}

/* Everything but the copy's own number and checksum. */
static bool copies_are_equal(const struct dm_superblock_pm *a, struct dm_superblock_pm *b)
{
	b->copy_index = a->copy_index;
	b->crc = a->crc;
	return memcmp(a, b, sizeof(*a)) == 0;
}

static int choose_copy(struct dm_superblock_pm *copies, const struct dm_superblock_state *state, const char *name)
{
	bool magic = copies[0].magic == DM_SUPERBLOCK_MAGIC || copies[1].magic == DM_SUPERBLOCK_MAGIC;

	if (state->whole[0] && state->whole[1])
		return copies[1].sequence > copies[0].sequence ? 1 : 0;
	if (state->whole[0] || state->whole[1])
		return state->whole[1] ? 1 : 0;
	if (!magic)
		return dm_fail(DMEM_E_NOT_POOL,
		               "%s holds no dmem pool: create one with 'dmemctl create' under a name that is free", name);
	return dm_fail(DMEM_E_CORRUPT,
	               "%s: both superblocks are damaged (wrong checksums), so the pool can't be attached: "
	               "restore it from where it came",
	               name);
}

int dm_superblock_read(struct dm_device *device, struct dm_superblock_pm *superblock, struct dm_superblock_state *state)
{
	struct dm_superblock_state found = {.equal = false};
	struct dm_superblock_pm *copies = NULL;
	int rc;

	if (dm_device_bytes(device) < DM_HEADER_BYTES)
		return dm_fail(DMEM_E_NOT_POOL,
		               "%s is %" PRIu64 " bytes long, too short to hold a dmem pool: create one with "
		               "'dmemctl create' under a name that is free",
		               device->name, dm_device_bytes(device));
	copies = calloc(DM_SUPERBLOCK_COPIES, sizeof(*copies));
	if (copies == NULL)
		return dm_fail(-ENOMEM, "no memory to read the superblocks of %s", device->name);
	rc = device->transport->data.read(device, 0, copies, DM_HEADER_BYTES);
	if (rc)
		goto err_free;
	found.whole[0] = copy_is_whole(&copies[0]);
	found.whole[1] = copy_is_whole(&copies[1]);
	rc = choose_copy(copies, &found, device->name);
	if (rc < 0)
		goto err_free;
	*superblock = copies[rc];
	if (found.whole[0] && found.whole[1])
		found.equal = copies_are_equal(&copies[0], &copies[1]);
	if (state != NULL)
		*state = found;
	rc = dm_superblock_check(superblock, device->name);
err_free:
	free(copies);
	return rc;
}

int dm_superblock_write(struct dm_device *device, uint32_t device_index, const struct dm_superblock_pm *superblock)
{
	struct dm_superblock_pm *copy = malloc(sizeof(*copy));
	int rc = 0;

	if (copy == NULL)
		return dm_fail(-ENOMEM, "no memory to write the superblocks of %s", device->name);
	*copy = *superblock;
	copy->device_index = device_index;
	for (uint32_t i = 0; rc == 0 && i < DM_SUPERBLOCK_COPIES; i++) {
		copy->copy_index = i;
		copy->crc = dm_crc32c(copy, offsetof(struct dm_superblock_pm, crc));
		rc = device->transport->data.write(device, (uint64_t)i * DM_SUPERBLOCK_BYTES, copy, sizeof(*copy));
		if (i == 0)
			DM_CRASH_POINT(SUPERBLOCK_FIRST_COPY);
	}
	free(copy);
	return rc;
}
