/* SPDX-License-Identifier: Apache-2.0 */
/* inspect.c: info, validate, fsck, and the snapshots that dmemctl shows (inspect.h). */
#include "inspect.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "addr/superblock.h"
#include "alloc/shared/walk.h"
#include "base/error.h"
#include "pool.h"
#include "roots.h"

/* --- info --- */

struct chunk_counts {
	uint64_t data_extents;
	uint64_t free_chunks;
	uint64_t chunks;
};

static int count_chunks(struct dmem_pool *pool, struct chunk_counts *counts)
{
	struct dm_window *window = pool->window;
	uint32_t segments = atomic_load_explicit(&window->segment_count, memory_order_acquire);
	uint32_t per_chunk = pool->shared->geometry.chunk_extents;
	int rc = 0;

	for (uint32_t i = 0; rc == 0 && i < segments; i++) {
		const struct dm_segment *segment = &window->segments[i];

		if (!dm_shared_segment_fits(pool->shared, segment))
			continue;
		counts->data_extents += segment->data_extents;
		for (uint64_t chunk = 0; rc == 0 && chunk < segment->data_extents / per_chunk; chunk++) {
			uint64_t word;

			rc = dm_word_load(window, &dm_geometry_chunk_atomic(window, &pool->shared->geometry, segment, chunk)->owner,
			                  &word);
			counts->chunks++;
			counts->free_chunks += rc == 0 && dm_chunk_owner_state(word) == DM_CHUNK_FREE;
		}
	}
	return rc;
}

static uint32_t count_members(struct dmem_pool *pool)
{
	uint32_t live = 0;

	for (uint32_t slot = dm_members_next_used(pool->members, DM_NO_SLOT); slot != DM_NO_SLOT;
	     slot = dm_members_next_used(pool->members, slot)) {
		struct dm_member_view view;

		live += dm_members_view(pool->members, slot, &view) == 0 && view.state == DM_MEMBER_LIVE;
	}
	return live;
}

static int count_root(void *context, const char *name, uint64_t offset)
{
	(void)name;
	(void)offset;
	(*(uint32_t *)context)++;
	return 0;
}

static void fill_identity(struct dmem_pool *pool, struct dmem_pool_info *info)
{
	const struct dm_superblock_pm *sb = &pool->window->superblock;

	snprintf(info->uri, sizeof(info->uri), "%.255s", pool->window->devices[0]->name);
	memcpy(info->uuid, sb->pool_uuid, sizeof(info->uuid));
	info->layout_version = sb->layout_version;
	info->granule_bytes = sb->granule_bytes;
	info->base = sb->base;
	info->span_bytes = sb->span_bytes;
	for (uint32_t i = 0; i < sb->device_count; i++)
		info->size_bytes += sb->devices[i].size_bytes;
	info->extent_bytes = sb->extent_bytes;
	info->chunk_bytes = (uint64_t)sb->chunk_extents * sb->extent_bytes;
	info->unit_bytes = sb->unit_bytes;
	info->coherence = sb->coherence;
	info->atomics = sb->atomics;
	info->lease_ms = sb->lease_ms;
	info->beat_ms = sb->beat_ms;
	info->devices = sb->device_count;
	info->segments = sb->segment_count;
	info->members_max = sb->members_max;
}

static int count_quarantined(void *context, const struct dm_walk_extent *extent)
{
	*(uint32_t *)context += extent->kind == DM_EXTENT_QUARANTINED;
	return 0;
}

int dmem_pool_info(struct dmem_pool *pool, struct dmem_pool_info *result)
{
	struct dmem_pool_info info = {.struct_bytes = 0};
	struct chunk_counts counts = {.chunks = 0};
	struct dm_walk walk = {.extent = count_quarantined, .context = &info.quarantined};
	uint64_t damaged;
	int rc = dm_pool_check(pool);

	if (rc)
		return rc;
	if (result == NULL || result->struct_bytes == 0)
		return dm_fail(DMEM_E_OPTION, "dmem_pool_info() wants an info whose struct_bytes is set");
	pthread_mutex_lock(&pool->window->lock);
	fill_identity(pool, &info);
	pthread_mutex_unlock(&pool->window->lock);
	rc = count_chunks(pool, &counts);
	if (rc == 0)
		rc = dm_roots_each(pool, count_root, &info.roots, &damaged);
	if (rc == 0)
		rc = dm_walk_pool(pool->shared, &walk);
	if (rc)
		return rc;
	info.metadata_bytes = info.size_bytes - counts.data_extents * DM_EXTENT_BYTES;
	info.free_bytes = counts.free_chunks * info.chunk_bytes;
	info.leased_bytes = (counts.chunks - counts.free_chunks) * info.chunk_bytes;
	info.members = count_members(pool);
	info.self = pool->members->slot;
	info.self_incarnation = pool->members->incarnation;
	info.bad_frees = atomic_load(&pool->shared->bad_frees);
	info.struct_bytes = result->struct_bytes;
	memcpy(result, &info, result->struct_bytes < sizeof(info) ? result->struct_bytes : sizeof(info));
	return 0;
}

/* --- validate --- */

static int ignore_root(void *context, const char *name, uint64_t offset)
{
	(void)context;
	(void)name;
	(void)offset;
	return 0;
}

int dmem_pool_validate(struct dmem_pool *pool, dmem_finding_fn callback, void *context)
{
	struct dm_walk walk = {.finding = callback, .context = context};
	struct dm_superblock_pm *sb;
	uint64_t damaged = 0;
	int rc = dm_pool_check(pool);

	if (rc)
		return rc;
	sb = malloc(sizeof(*sb));
	if (sb == NULL)
		return dm_fail(-ENOMEM, "no memory to validate %s", pool->window->devices[0]->name);
	rc = dm_superblock_read(pool->window->devices[0], sb, NULL);
	free(sb);
	if (rc == 0)
		rc = dm_walk_tables(pool->shared, &walk);
	if (rc == 0)
		rc = dm_walk_pool(pool->shared, &walk);
	if (rc == 0)
		rc = dm_roots_each(pool, ignore_root, NULL, &damaged);
	if (rc == 0 && damaged > 0 && callback != NULL)
		callback(context, "entries of the root directory are damaged");
	if (rc == 0 && (damaged > 0 || walk.findings > 0))
		rc = dm_fail(DMEM_E_CORRUPT, "%s: %" PRIu64 " findings", pool->window->devices[0]->name,
		             walk.findings + damaged);
	return rc;
}

/* --- snapshots for dmemctl --- */

struct member_use {
	uint64_t chunks[DM_MEMBERS_MAX];
	uint64_t extents[DM_MEMBERS_MAX];
	uint32_t per_chunk;
};

static int count_use(void *context, const struct dm_walk_extent *extent)
{
	struct member_use *use = context;

	if (extent->owner >= DM_MEMBERS_MAX)
		return 0;
	use->chunks[extent->owner] += extent->index % use->per_chunk == 0;
	use->extents[extent->owner] += extent->kind != DM_EXTENT_FREE;
	return 0;
}

static const char *state_name(enum dm_member_state state)
{
	static const char *const names[] = {"free", "joining", "live", "fenced", "dead", "recovering", "leaving"};

	return (unsigned)state < DM_ARRAY_LENGTH(names) ? names[state] : "unknown";
}

static void describe_member(const struct dm_member_view *view, const struct member_use *use,
                            struct dm_inspect_member *member)
{
	*member = (struct dm_inspect_member){.slot = view->slot,
	                                     .incarnation = view->incarnation,
	                                     .same_host = view->same_host,
	                                     .alive = dm_members_alive(view),
	                                     .pid = view->identity.pid,
	                                     .beats = view->beat.beats,
	                                     .chunks = use->chunks[view->slot],
	                                     .leased_bytes = use->extents[view->slot] * DM_EXTENT_BYTES};
	snprintf(member->state, sizeof(member->state), "%s", state_name(view->state));
	memcpy(member->host, view->identity.host, sizeof(member->host));
	snprintf(member->host_name, sizeof(member->host_name), "%s", view->names.host_name);
	snprintf(member->program, sizeof(member->program), "%.16s", view->identity.program);
}

int dm_inspect_members(struct dmem_pool *pool, int (*each)(void *, const struct dm_inspect_member *), void *context)
{
	struct member_use *use;
	struct dm_walk walk = {.extent = count_use};
	int rc = dm_pool_check(pool);

	if (rc)
		return rc;
	use = calloc(1, sizeof(*use));
	if (use == NULL)
		return dm_fail(-ENOMEM, "no memory to list the members");
	use->per_chunk = pool->shared->geometry.chunk_extents;
	walk.context = use;
	rc = dm_walk_pool(pool->shared, &walk);
	for (uint32_t slot = 0; rc == 0 && slot < pool->members->slots_max; slot++) {
		struct dm_inspect_member member;
		struct dm_member_view view;

		if (dm_members_view(pool->members, slot, &view) != 0)
			continue;
		describe_member(&view, use, &member);
		rc = each(context, &member);
	}
	free(use);
	return rc;
}

int dm_inspect_evict(struct dmem_pool *pool, uint32_t slot, bool dead)
{
	struct dm_member_view view;
	int rc = dm_pool_check(pool);

	if (rc)
		return rc;
	rc = slot < pool->members->slots_max ? dm_members_view(pool->members, slot, &view) : -ENOENT;
	if (rc == -ENOENT || (rc == 0 && view.state == DM_MEMBER_JOINING))
		return dm_fail(-ENOENT, "%s has no member in slot %u: see 'dmemctl members'", pool->window->devices[0]->name,
		               slot);
	if (rc)
		return rc;
	if (dead && view.state != DM_MEMBER_RECOVERING && dm_members_alive(&view) == 1)
		return dm_fail(DMEM_E_BUSY, "member %u is process %d of this host, which runs: end it, or evict it", slot,
		               (int)view.identity.pid);
	if (dead)
		return dm_members_declare_dead(pool->members, &view);
	return dm_member_word_has_rights(view.word) ? dm_members_fence(pool->members, &view) : 0;
}

struct root_walk {
	int (*each)(void *, const struct dm_inspect_root *);
	void *context;
};

static int show_root(void *context, const char *name, uint64_t offset)
{
	const struct root_walk *walk = context;
	struct dm_inspect_root root = {.offset = offset};

	snprintf(root.name, sizeof(root.name), "%s", name);
	return walk->each(walk->context, &root);
}

int dm_inspect_roots(struct dmem_pool *pool, int (*each)(void *, const struct dm_inspect_root *), void *context)
{
	struct root_walk walk = {.each = each, .context = context};
	uint64_t damaged;
	int rc = dm_pool_check(pool);

	return rc ? rc : dm_roots_each(pool, show_root, &walk, &damaged);
}

static int show_device(struct dmem_pool *pool, const struct dm_superblock_pm *sb, uint32_t index,
                       int (*each)(void *, const struct dm_inspect_device *), void *context)
{
	const struct dm_device_pm *entry = &sb->devices[index];
	struct dm_inspect_device device = {.index = index,
	                                   .size_bytes = entry->size_bytes,
	                                   .align_bytes = entry->align_bytes,
	                                   .memory_type = entry->memory_type,
	                                   .distance_ns = entry->distance_ns,
	                                   .node = pool->window->devices[index]->node};

	memcpy(device.uuid, entry->uuid, sizeof(device.uuid));
	snprintf(device.name, sizeof(device.name), "%.255s", pool->window->devices[index]->name);
	return each(context, &device);
}

int dm_inspect_devices(struct dmem_pool *pool, int (*each)(void *, const struct dm_inspect_device *), void *context)
{
	struct dm_superblock_pm *sb;
	uint32_t count;
	int rc = dm_pool_check(pool);

	if (rc)
		return rc;
	sb = malloc(sizeof(*sb));
	if (sb == NULL)
		return dm_fail(-ENOMEM, "no memory to look at the devices of %s", pool->window->devices[0]->name);
	pthread_mutex_lock(&pool->window->lock);
	*sb = pool->window->superblock;
	count = pool->window->device_count;
	pthread_mutex_unlock(&pool->window->lock);
	for (uint32_t i = 0; rc == 0 && i < count; i++)
		rc = show_device(pool, sb, i, each, context);
	free(sb);
	return rc;
}

struct extent_walk {
	struct dmem_pool *pool;
	int (*each)(void *, const struct dm_inspect_extent *);
	void *context;
	uint32_t segment; /* the next whose metadata is to be shown */
	int rc;
};

static enum dm_inspect_kind inspect_kind(enum dm_extent_kind kind)
{
	switch (kind) {
	case DM_EXTENT_FREE:
		return DM_KIND_LEASED;
	case DM_EXTENT_SLABS:
		return DM_KIND_SLABS;
	case DM_EXTENT_RUN:
		return DM_KIND_RUN;
	case DM_EXTENT_CONTINUED:
		return DM_KIND_LEASED; /* a mark that counts for nothing */
	case DM_EXTENT_PRIVATE:
		return DM_KIND_PRIVATE;
	default:
		return DM_KIND_QUARANTINED;
	}
}

/* Metadata of the segments that begin before `limit` and were not shown yet. */
static void show_metadata(struct extent_walk *walk, uint64_t limit)
{
	struct dm_window *window = walk->pool->window;
	uint32_t segments = atomic_load_explicit(&window->segment_count, memory_order_acquire);

	for (; walk->rc == 0 && walk->segment < segments && window->segments[walk->segment].window_first < limit;
	     walk->segment++) {
		const struct dm_segment *segment = &window->segments[walk->segment];

		for (uint64_t index = segment->window_first; walk->rc == 0 && index < segment->data_first; index++) {
			struct dm_inspect_extent extent = {
				.index = index, .kind = DM_KIND_METADATA, .device = segment->device, .owner = DM_NO_SLOT};

			walk->rc = walk->each(walk->context, &extent);
		}
	}
}

static int show_extent(void *context, const struct dm_walk_extent *from)
{
	struct extent_walk *walk = context;
	struct dm_inspect_extent extent = {.index = from->index,
	                                   .kind = inspect_kind(from->kind),
	                                   .device = from->device,
	                                   .owner = from->owner,
	                                   .run_extents = from->run_extents,
	                                   .blocks_live = from->blocks_live,
	                                   .bytes_live = from->bytes_live,
	                                   .bytes_waiting = from->bytes_waiting};

	show_metadata(walk, from->index);
	if (walk->rc == 0)
		walk->rc = walk->each(walk->context, &extent);
	return walk->rc;
}

int dm_inspect_extents(struct dmem_pool *pool, int (*each)(void *, const struct dm_inspect_extent *), void *context)
{
	struct extent_walk walk = {.pool = pool, .each = each, .context = context};
	struct dm_walk pool_walk = {.extent = show_extent, .context = &walk};
	int rc = dm_pool_check(pool);

	if (rc == 0)
		rc = dm_walk_pool(pool->shared, &pool_walk);
	if (rc == 0)
		show_metadata(&walk, UINT64_MAX);
	return rc ? rc : walk.rc;
}

static int add_slab(void *context, const struct dm_walk_slab *slab)
{
	struct dm_inspect_class *classes = context;

	classes[slab->class_index].slabs++;
	classes[slab->class_index].blocks += slab->blocks;
	classes[slab->class_index].blocks_live += slab->blocks_live;
	classes[slab->class_index].blocks_waiting += slab->blocks_waiting;
	return 0;
}

int dm_inspect_classes(struct dmem_pool *pool, int (*each)(void *, const struct dm_inspect_class *), void *context)
{
	struct dm_inspect_class classes[DM_CLASSES_MAX] = {{.slabs = 0}};
	struct dm_walk walk = {.slab = add_slab, .context = classes};
	int rc = dm_pool_check(pool);

	if (rc == 0)
		rc = dm_walk_pool(pool->shared, &walk);
	for (uint32_t i = 0; rc == 0 && i < pool->shared->classes.count; i++) {
		classes[i].block_bytes = pool->shared->classes.classes[i].block_bytes;
		if (classes[i].slabs > 0)
			rc = each(context, &classes[i]);
	}
	return rc;
}

/* --- fsck --- */

static int fsck_superblocks(const struct dm_uri *uri, int repair, dmem_finding_fn callback, void *context)
{
	struct dm_superblock_pm *sb = malloc(sizeof(*sb));
	struct dm_superblock_state state;
	struct dm_device *device;
	char sentence[128];
	int rc;

	if (sb == NULL)
		return dm_fail(-ENOMEM, "no memory to check %s:%s", uri->scheme, uri->path);
	rc = dm_transport_open(uri, &device);
	if (rc)
		goto err_free;
	rc = dm_superblock_read(device, sb, &state);
	for (unsigned i = 0; i < DM_SUPERBLOCK_COPIES && rc == 0; i++) {
		if (state.whole[i])
			continue;
		snprintf(sentence, sizeof(sentence), "superblock copy %u is damaged%s", i,
		         repair ? ", it is repaired from the other" : "");
		if (callback != NULL)
			callback(context, sentence);
	}
	if (rc == 0 && state.whole[0] && state.whole[1] && !state.equal && callback != NULL)
		callback(context, "the superblock copies differ: a writer died between them");
	if (rc == 0)
		rc = !state.equal;
	device->transport->region.close(device);
err_free:
	free(sb);
	return rc;
}

int dm_inspect_fsck(const char *uri_text, int repair, dmem_finding_fn callback, void *context)
{
	struct dm_uri *uri = malloc(sizeof(*uri));
	struct dmem_pool *pool;
	unsigned recovered = 0;
	int damage;
	int rc;

	if (uri == NULL)
		return dm_fail(-ENOMEM, "no memory to check %s", uri_text);
	rc = dm_uri_parse(uri_text, uri);
	damage = rc ? rc : fsck_superblocks(uri, repair, callback, context);
	free(uri);
	if (damage < 0)
		return damage;
	if (damage == 1 && !repair) /* attaching would mend it */
		return dm_fail_quietly(DMEM_E_CORRUPT,
		                       "%s: a superblock copy is damaged: repair it with 'dmemctl fsck --repair'", uri_text);
	rc = dmem_pool_attach(uri_text, NULL, &pool);
	if (rc)
		return rc;
	rc = dm_members_recover_gone(pool->members, &recovered);
	if (rc == 0)
		rc = dmem_pool_validate(pool, callback, context);
	(void)dmem_pool_detach(pool);
	return rc ? rc : damage;
}
