/* SPDX-License-Identifier: Apache-2.0 */
/*
 * create.c: formatting a pool, and removing one.
 *
 * The device is made under a temporary name, filled, and given its name in one step, so nobody ever sees half a pool.  The
 * window is entered in the registry before that: of two creators of one range, one is refused while nothing is visible yet.
 * A device that was there before has its name already and may hold anything: what the library keeps on it is cleared, and the
 * superblock, written last, is what makes it a pool.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <time.h>
#include <unistd.h>

#include "addr/registry.h"
#include "addr/superblock.h"
#include "base/clock.h"
#include "base/error.h"
#include "base/fault.h"
#include "failure/delegate_layout.h"
#include "layout.h"
#include "pool.h"

#define SIZE_MIN         (8 * DM_MIB)
#define SPAN_DEFAULT_MIN (64 * DM_GIB)
#define CHUNKS_WANTED    2048u
#define JOINERS_WAIT_NS  (10 * DM_NS_PER_S) /* beside a lease, when our own agent hardly gets to run */
#define HEADER_BYTES     ((uint64_t)DM_SUPERBLOCK_COPIES * DM_SUPERBLOCK_BYTES)

int dm_layout_uuid(uint8_t uuid[16])
{
	if (getrandom(uuid, 16, 0) != 16)
		return dm_fail(-errno, "no random numbers for a UUID: %s", strerror(errno));
	uuid[6] = (uint8_t)((uuid[6] & 0x0f) | 0x40); /* RFC 4122, version 4 */
	uuid[8] = (uint8_t)((uuid[8] & 0x3f) | 0x80);
	return 0;
}

/* Half of this machine's memory, in whole extents. */
static uint64_t default_size(void)
{
	uint64_t bytes = (uint64_t)sysconf(_SC_PHYS_PAGES) * (uint64_t)sysconf(_SC_PAGESIZE) / 2;

	return bytes < DM_GIB ? DM_GIB : dm_align_down(bytes, DM_EXTENT_BYTES);
}

/* What was asked for, else all of a device that is there already, else what is reasonable here. */
static int choose_size(const struct dm_uri *uri, uint64_t asked, uint64_t *size)
{
	const struct dm_transport *transport;
	int rc = 0;

	*size = asked;
	if (*size == 0)
		rc = dm_transport_find(uri->scheme, &transport);
	if (*size == 0 && rc == 0)
		rc = transport->region.capacity(uri, size);
	if (*size == 0 && rc == 0)
		*size = default_size();
	return rc;
}

/* What the layout has room for and this version does not carry out: a pool that promised it would be wrong. */
static int check_modes(const struct dmem_create_options *options, const char *name)
{
	if (options->atomics == DMEM_ATOMICS_REMOTE)
		return dm_fail(DMEM_E_UNSUPPORTED,
		               "%s: remote atomics come with a later libdmem: leave ?atomics= out, or say cpu or delegate", name);
	if (options->coherence == DMEM_COHERENCE_PAGED)
		return dm_fail(DMEM_E_UNSUPPORTED,
		               "%s: paged pools come with a later libdmem: leave ?coherence= out, or say coherent or noncoherent", name);
	return 0;
}

static int choose_sizes(const struct dm_uri *uri, struct dmem_create_options *options, const char *name)
{
	uint64_t size;
	int rc = choose_size(uri, options->size_bytes, &size);

	if (rc)
		return rc;
	if (!dm_align_up(size, DM_EXTENT_BYTES, &size) || size > DM_SPAN_BYTES_MAX)
		return dm_fail(DMEM_E_OPTION,
		               "%s: a size of %" PRIu64 " bytes is more than a pool can have: at most %" PRIu64 " (52T)", name,
		               size, DM_SPAN_BYTES_MAX);
	if (size < SIZE_MIN)
		return dm_fail(DMEM_E_TOO_SMALL,
		               "%s: a size of %" PRIu64 " bytes is too small for a pool: at least %" PRIu64 " (8M)", name, size,
		               SIZE_MIN);
	options->size_bytes = size;
	if (options->span_bytes == 0) {
		uint64_t span = dm_power_of_two_up(size) * 4;

		span = span < SPAN_DEFAULT_MIN ? SPAN_DEFAULT_MIN : span;
		if (span > DM_WINDOW_END - DM_WINDOW_FIRST)
			span = size;
		options->span_bytes = span;
	}
	if (!dm_align_up(options->span_bytes, DM_EXTENT_BYTES, &options->span_bytes) ||
	    options->span_bytes > DM_SPAN_BYTES_MAX || options->span_bytes < size)
		return dm_fail(DMEM_E_OPTION,
		               "%s: a span of %" PRIu64 " bytes does not go with a size of %" PRIu64 ": from the size up to "
		               "%" PRIu64 " (52T)",
		               name, options->span_bytes, size, DM_SPAN_BYTES_MAX);
	if (!dm_is_aligned(options->base, DM_EXTENT_BYTES) ||
	    (options->base != 0 &&
	     (options->base < DM_GIB || !dm_range_inside(options->base, options->span_bytes, UINT64_C(1) << 47))))
		return dm_fail(DMEM_E_OPTION,
		               "%s: the window 0x%" PRIx64 " of %" PRIu64 " bytes can't be: base is a multiple of 2M, and the "
		               "window ends below 0x800000000000",
		               name, options->base, options->span_bytes);
	return 0;
}

/* How long the static tables are: small pools get small ones. */
static void choose_tables(struct dm_superblock_pm *sb, const struct dmem_create_options *options)
{
	uint64_t size = options->size_bytes;
	uint32_t members = size < 64 * DM_MIB ? 64 : size < DM_GIB ? 256 : size < 16 * DM_GIB ? 1024 : 4096;
	uint64_t owners;

	sb->members_max = options->members_max != 0 ? options->members_max : members;
	sb->heaps_max = sb->members_max * 4;
	sb->roots_max = size < 64 * DM_MIB ? 128 : size < DM_GIB ? 512 : 4096;
	owners = dm_align_down(sb->heaps_max * sizeof(struct dm_heap_owner_pm) + 4095, 4096);
	sb->admin_off = HEADER_BYTES;
	sb->member_off = sb->admin_off + 4096;
	sb->heap_off = sb->member_off + (uint64_t)sb->members_max * sizeof(struct dm_member_pm);
	sb->root_off = sb->heap_off + owners + (uint64_t)sb->heaps_max * sizeof(struct dm_heap_pm);
	sb->static_bytes = sb->root_off + (uint64_t)sb->roots_max * sizeof(struct dm_root_pm);
	if (sb->atomics == DMEM_ATOMICS_DELEGATE) {
		sb->delegate_off = sb->static_bytes;
		sb->desks_max = sb->members_max + DM_DESKS_EXTRA;
		sb->static_bytes += (uint64_t)sb->desks_max * sizeof(struct dm_desk_pm);
	}
}

/* Members lease chunks; there should be many more of them than members, or members starve while others hardly use theirs. */
static uint32_t choose_chunk(uint64_t size)
{
	uint64_t chunk = (size >> DM_EXTENT_SHIFT) / CHUNKS_WANTED;

	if (chunk <= 1)
		return 1;
	return chunk >= DM_CHUNK_EXTENTS_MAX ? DM_CHUNK_EXTENTS_MAX : (uint32_t)dm_power_of_two_up(chunk / 2 + 1);
}

void dm_layout_device(struct dm_superblock_pm *sb, uint32_t index, const struct dm_device *device,
                      const uint8_t uuid[16])
{
	struct dm_device_pm *entry = &sb->devices[index];

	*entry = (struct dm_device_pm){.size_bytes = device->size_bytes,
	                               .align_bytes = device->align_bytes,
	                               .state = DM_DEVICE_ACTIVE,
	                               .memory_type = DM_MEMORY_UNKNOWN};
	memcpy(entry->uuid, uuid, sizeof(entry->uuid));
	if (strlen(device->name) < sizeof(entry->hint)) /* a longer one has to be named at attach */
		strcpy(entry->hint, device->name);
}

int dm_layout_clear(struct dm_device *device, const struct dm_segment_pm *segment)
{
	uint64_t at = segment->device_first << DM_EXTENT_SHIFT;
	uint64_t end = at + ((segment->data_first - segment->window_first) << DM_EXTENT_SHIFT);
	void *zeros;
	int rc = 0;

	if (device->caps & DM_CAP_ZEROED)
		return 0;
	zeros = calloc(1, DM_EXTENT_BYTES);
	if (zeros == NULL)
		return dm_fail(-ENOMEM, "no memory to format %s", device->name);
	for (; rc == 0 && at < end; at += DM_EXTENT_BYTES)
		rc = device->transport->data.write(device, at, zeros, DM_EXTENT_BYTES);
	free(zeros);
	return rc;
}

static int lay_out(struct dm_superblock_pm *sb, const struct dmem_create_options *options,
                   const struct dm_device *device)
{
	struct dm_geometry geometry;
	struct dm_segment_pm *segment = &sb->segments[0];

	memset(sb, 0, sizeof(*sb));
	sb->magic = DM_SUPERBLOCK_MAGIC;
	sb->layout_version = DM_LAYOUT_VERSION;
	sb->bytes = DM_SUPERBLOCK_BYTES;
	sb->sequence = 1;
	sb->span_bytes = options->span_bytes;
	sb->extent_bytes = DM_EXTENT_BYTES;
	sb->incompat = DM_INCOMPAT_REDO;
	sb->chunk_extents = choose_chunk(device->size_bytes);
	sb->class_scheme = 1;
	sb->unit_bytes = device->align_bytes;
	sb->coherence =
		(uint8_t)(options->coherence != DMEM_COHERENCE_DEFAULT ? options->coherence : device->coherence_default);
	sb->atomics = (uint8_t)(options->atomics != DMEM_ATOMICS_DEFAULT ? options->atomics : device->atomics_default);
	sb->granule_bytes = sb->coherence == DMEM_COHERENCE_COHERENT ? 16 : 64;
	sb->lease_ms = options->lease_ms != 0 ? options->lease_ms : 1000;
	sb->beat_ms = options->beat_ms != 0 ? options->beat_ms : sb->lease_ms < 200 ? sb->lease_ms / 2 : 100;
	sb->mode = options->mode != 0 ? options->mode : 0600;
	sb->created_s = (uint64_t)time(NULL);
	sb->device_count = 1;
	sb->segment_count = 1;
	choose_tables(sb, options);
	segment->extents = device->size_bytes >> DM_EXTENT_SHIFT;
	segment->state = DM_SEGMENT_ACTIVE;
	dm_geometry_init(&geometry, sb->chunk_extents, sb->granule_bytes);
	if (!(device->caps & DM_CAP_MAPS) && sb->coherence == DMEM_COHERENCE_COHERENT)
		return dm_fail(DMEM_E_OPTION, "%s: its members work on copies, so it can't be coherent: leave ?coherence= out",
		               device->name);
	if (sb->atomics == DMEM_ATOMICS_DELEGATE && sb->coherence == DMEM_COHERENCE_COHERENT)
		return dm_fail(DMEM_E_OPTION,
		               "%s: delegated atomics are for memory that is not coherent, where processors' own do not do: say "
		               "?coherence=noncoherent too, or leave ?atomics= out",
		               device->name);
	if (!dm_geometry_lay_out(&geometry, sb->static_bytes, segment))
		return dm_fail(DMEM_E_TOO_SMALL,
		               "%s: %" PRIu64
		               " bytes have no room for memory beside the tables for %u members: make it larger, or "
		               "ask for fewer ?members=",
		               device->name, device->size_bytes, sb->members_max);
	return 0;
}

/* Space for everything that is read before somebody leases a chunk. */
static int reserve_tables(struct dm_device *device, const struct dm_superblock_pm *sb)
{
	struct dm_geometry geometry;
	struct dm_geometry_arrays arrays;

	dm_geometry_init(&geometry, sb->chunk_extents, sb->granule_bytes);
	dm_geometry_arrays(&geometry, sb->segments[0].data_extents, &arrays);
	if (!(device->caps & DM_CAP_RESERVES))
		return 0;
	return device->transport->region.reserve(device, 0, sb->segments[0].metadata_off + arrays.extent_locals);
}

/* The registry gives out multiples of 2 MiB; a device with pages of 1 GiB wants more. */
static int check_base(const struct dm_device *device, uint64_t base)
{
	if (dm_is_aligned(base, device->align_bytes))
		return 0;
	return dm_fail(DMEM_E_OPTION,
	               "%s can't be mapped at 0x%" PRIx64 ": its alignment is %" PRIu64 " MiB; ask for a base that is a "
	               "multiple of that, with ?base=",
	               device->name, base, device->align_bytes / DM_MIB);
}

static int format_device(struct dm_device *device, const struct dmem_create_options *options)
{
	struct dm_superblock_pm *sb = malloc(sizeof(*sb));
	uint8_t device_uuid[16];
	uint8_t pool_uuid[16];
	uint64_t base = 0;
	int rc;

	if (sb == NULL)
		return dm_fail(-ENOMEM, "no memory to format %s", device->name);
	rc = dm_layout_uuid(pool_uuid);
	if (rc == 0)
		rc = dm_layout_uuid(device_uuid);
	if (rc == 0)
		rc = lay_out(sb, options, device);
	if (rc)
		goto err_free;
	rc = dm_registry_claim(options->base, options->span_bytes, pool_uuid, device->name, &base);
	if (rc)
		goto err_free;
	DM_CRASH_POINT(CREATE_REGISTERED);
	sb->base = base;
	memcpy(sb->pool_uuid, pool_uuid, sizeof(sb->pool_uuid));
	dm_layout_device(sb, 0, device, device_uuid);
	rc = check_base(device, base);
	if (rc == 0)
		rc = reserve_tables(device, sb);
	if (rc == 0)
		rc = dm_layout_clear(device, &sb->segments[0]);
	if (rc == 0)
		rc = dm_superblock_check(sb, device->name);
	if (rc == 0)
		rc = dm_superblock_write(device, 0, sb);
	if (rc == 0)
		DM_CRASH_POINT(CREATE_FORMATTED);
	if (rc == 0)
		rc = device->transport->region.commit(device);
	if (rc && dm_registry_release(pool_uuid) != 0)
		dm_log(DMEM_LOG_WARNING, "the window of %s stays in the registry until the next creation", device->name);
err_free:
	free(sb);
	return rc;
}

int dmem_pool_create(const char *uri_text, const struct dmem_create_options *options)
{
	struct dmem_create_options merged;
	struct dm_device *device = NULL;
	struct dm_uri *uri;
	int rc;

	if (uri_text == NULL)
		return dm_fail(-EINVAL, "dmem_pool_create() wants a URI");
	uri = malloc(sizeof(*uri));
	if (uri == NULL)
		return dm_fail(-ENOMEM, "no memory to create %s", uri_text);
	rc = dm_uri_parse(uri_text, uri);
	if (rc == 0)
		rc = dm_uri_create_options(uri, options, &merged);
	if (rc == 0)
		rc = check_modes(&merged, uri_text);
	if (rc == 0)
		rc = choose_sizes(uri, &merged, uri_text);
	if (rc == 0)
		rc = dm_transport_create(uri, merged.size_bytes, merged.mode != 0 ? merged.mode : 0600, &device);
	if (rc)
		goto err_free;
	rc = format_device(device, &merged);
	device->transport->region.close(device);
err_free:
	free(uri);
	return rc;
}

/* --- destroy --- */

static bool somebody_joins(struct dmem_pool *pool)
{
	struct dm_member_view view;

	for (uint32_t slot = dm_members_next_used(pool->members, DM_NO_SLOT); slot != DM_NO_SLOT;
	     slot = dm_members_next_used(pool->members, slot))
		if (dm_members_view(pool->members, slot, &view) == 0 && view.state == DM_MEMBER_JOINING)
			return true;
	return false;
}

/* A joiner may have died before it said who it is; then our agent frees its slot after a lease, counted in its own beats: on a
 * busy machine those come late, and we wait for them. */
static void wait_for_joiners(struct dmem_pool *pool)
{
	const struct dm_members *members = pool->members;
	const uint64_t *beats = &members->table[members->slot].beat.beats; /* our own line */
	uint64_t enough = __atomic_load_n(beats, __ATOMIC_RELAXED) + members->lease_ms / members->beat_ms + 4;
	uint64_t deadline = dm_clock_now_ns() + JOINERS_WAIT_NS + members->lease_ms * DM_NS_PER_MS;

	while (somebody_joins(pool) && __atomic_load_n(beats, __ATOMIC_RELAXED) < enough && dm_clock_now_ns() < deadline)
		dm_clock_sleep_ns(DM_NS_PER_MS);
}

/* Refuse while somebody is attached.  Dead members of this host are recovered by attaching, and don't count. */
static int check_unused(struct dmem_pool *pool)
{
	uint32_t self = pool->members->slot;
	unsigned recovered;
	int rc;

	wait_for_joiners(pool);
	rc = dm_members_recover_gone(pool->members, &recovered);
	for (uint32_t slot = dm_members_next_used(pool->members, DM_NO_SLOT); rc == 0 && slot != DM_NO_SLOT;
	     slot = dm_members_next_used(pool->members, slot)) {
		struct dm_member_view view;

		if (slot == self || dm_members_view(pool->members, slot, &view) != 0)
			continue;
		rc = dm_fail(DMEM_E_BUSY, "%s: member %u (%.16s, pid %d on %.47s) is attached: end it, then destroy the pool",
		             pool->window->devices[0]->name, slot, view.identity.program, view.identity.pid,
		             view.names.host_name);
	}
	return rc;
}

static int remove_further_devices(struct dmem_pool *pool)
{
	int rc = 0;

	for (uint32_t i = 1; rc == 0 && i < pool->window->device_count; i++) {
		struct dm_uri *uri = malloc(sizeof(*uri));

		if (uri == NULL)
			return dm_fail(-ENOMEM, "no memory to destroy %s", pool->window->devices[i]->name);
		rc = dm_uri_parse(pool->window->devices[i]->name, uri);
		if (rc == 0)
			rc = pool->window->devices[i]->transport->region.destroy(uri);
		free(uri);
	}
	return rc;
}

/* The first device goes first: from then on there is no pool. */
static int destroy_attached(struct dmem_pool *pool, const struct dm_uri *uri)
{
	int rc;

	if (pool->references > 1)
		return dm_fail(DMEM_E_BUSY, "%s is attached by this process: detach it, then destroy it",
		               pool->window->devices[0]->name);
	rc = check_unused(pool);
	if (rc == 0)
		rc = pool->window->devices[0]->transport->region.destroy(uri);
	if (rc == 0)
		rc = remove_further_devices(pool);
	if (rc == 0)
		rc = dm_registry_release(pool->window->superblock.pool_uuid);
	return rc;
}

int dmem_pool_destroy(const char *uri_text)
{
	struct dmem_pool *pool;
	struct dm_uri *uri;
	int rc;

	if (uri_text == NULL)
		return dm_fail(-EINVAL, "dmem_pool_destroy() wants a URI");
	uri = malloc(sizeof(*uri));
	if (uri == NULL)
		return dm_fail(-ENOMEM, "no memory to destroy %s", uri_text);
	rc = dm_uri_parse(uri_text, uri);
	if (rc == 0)
		rc = dmem_pool_attach(uri_text, NULL, &pool);
	if (rc)
		goto err_free;
	rc = destroy_attached(pool, uri);
	(void)dmem_pool_detach(pool);
err_free:
	free(uri);
	return rc;
}
