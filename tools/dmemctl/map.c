/* SPDX-License-Identifier: Apache-2.0 */
/* map.c: the command that shows what fills a pool, and the gathering of extents into cells. */
#include "dmemctl/map.h"

#include <errno.h>
#include <stdlib.h>

#include "base/arith.h"
#include "dmemctl/ctl.h"
#include "dmemctl/json.h"
#include "dmemctl/print.h"

const char *const ctl_kind_names[CTL_KINDS] = {
	[DM_KIND_FREE] = "free",       [DM_KIND_LEASED] = "leased", [DM_KIND_METADATA] = "metadata",
	[DM_KIND_SLABS] = "slabs",     [DM_KIND_RUN] = "run",       [DM_KIND_PRIVATE] = "private",
	[DM_KIND_QUARANTINED] = "quarantined",
};

static uint64_t capacity(const struct ctl_map *map)
{
	return map->cell_count * map->extents_per_cell;
}

bool ctl_map_init(struct ctl_map *map, uint64_t extents, uint64_t extent_bytes, uint32_t columns)
{
	*map = (struct ctl_map){.columns = columns,
	                        .cell_count = (size_t)columns * CTL_MAP_ROWS,
	                        .extents_per_cell = 1,
	                        .extents = extents,
	                        .extent_bytes = extent_bytes};
	while (capacity(map) < extents)
		map->extents_per_cell *= 2;
	map->cells = calloc(map->cell_count, sizeof(*map->cells));
	return map->cells != NULL;
}

/* Let each cell stand for twice as many extents, by merging neighbours. */
static void halve(struct ctl_map *map)
{
	for (size_t i = 0; i < map->cell_count; i++) {
		struct ctl_cell cell = map->cells[i];

		map->cells[i] = (struct ctl_cell){{0}};
		for (int kind = 0; kind < CTL_KINDS; kind++)
			map->cells[i / 2].extents[kind] += cell.extents[kind];
	}
	map->extents_per_cell *= 2;
}

void ctl_map_add(struct ctl_map *map, const struct dm_inspect_extent *extent)
{
	struct ctl_totals *totals;

	if ((unsigned)extent->kind >= CTL_KINDS || extent->index > UINT64_MAX / 2 / map->extent_bytes)
		return;
	/* A pool whose window has gaps reaches further than its capacity. */
	if (extent->index >= map->extents)
		map->extents = extent->index + 1;
	while (extent->index >= capacity(map))
		halve(map);
	map->cells[extent->index / map->extents_per_cell].extents[extent->kind]++;
	totals = &map->totals[extent->kind];
	totals->extents++;
	totals->runs += extent->run_extents != 0;
	totals->blocks_live += extent->blocks_live;
	totals->bytes_live += extent->bytes_live;
	totals->bytes_waiting += extent->bytes_waiting;
	map->moved += extent->moved != 0;
}

void ctl_map_fini(struct ctl_map *map)
{
	free(map->cells);
}

/* Neighbours that are alike make one entry of the document. */
struct ranges {
	struct ctl_map map;
	struct json_object *list; /* NULL: only the map is filled */
	struct dm_inspect_extent first;
	uint64_t count;
	uint64_t blocks_live, bytes_live, bytes_waiting;
};

static void end_range(struct ranges *ranges)
{
	struct json_object *json;

	if (ranges->count == 0)
		return;
	json = ctl_json_object();
	ctl_json_number(json, "first", ranges->first.index);
	ctl_json_number(json, "count", ranges->count);
	ctl_json_text(json, "kind", ctl_kind_names[ranges->first.kind]);
	ctl_json_number(json, "device", ranges->first.device);
	if (ranges->first.owner != UINT32_MAX)
		ctl_json_number(json, "owner", ranges->first.owner);
	else
		ctl_json_null(json, "owner");
	ctl_json_number(json, "blocks_live", ranges->blocks_live);
	ctl_json_number(json, "bytes_live", ranges->bytes_live);
	ctl_json_number(json, "bytes_waiting", ranges->bytes_waiting);
	ctl_json_flag(json, "moved", ranges->first.moved != 0);
	ctl_json_append(ranges->list, json);
	ranges->count = 0;
}

/* Does `extent` go on where the range ends?  The head of a run begins a range of its own. */
static bool continues(const struct ranges *ranges, const struct dm_inspect_extent *extent)
{
	return ranges->count != 0 && extent->index == ranges->first.index + ranges->count &&
	       extent->kind == ranges->first.kind && extent->device == ranges->first.device &&
	       extent->owner == ranges->first.owner && extent->run_extents == 0 &&
	       (extent->moved != 0) == (ranges->first.moved != 0);
}

static int take_extent(void *context, const struct dm_inspect_extent *extent)
{
	struct ranges *ranges = context;

	if ((unsigned)extent->kind >= CTL_KINDS)
		return 0;
	ctl_map_add(&ranges->map, extent);
	if (ranges->list == NULL)
		return 0;
	if (!continues(ranges, extent)) {
		end_range(ranges);
		ranges->first = *extent;
		ranges->blocks_live = ranges->bytes_live = ranges->bytes_waiting = 0;
	}
	ranges->count++;
	ranges->blocks_live += extent->blocks_live;
	ranges->bytes_live += extent->bytes_live;
	ranges->bytes_waiting += extent->bytes_waiting;
	return 0;
}

static struct json_object *totals_json(const struct ctl_map *map)
{
	struct json_object *kinds = ctl_json_object();

	for (int kind = 0; kind < CTL_KINDS; kind++) {
		struct json_object *json = ctl_json_object();

		ctl_json_number(json, "extents", map->totals[kind].extents);
		ctl_json_number(json, "bytes", map->totals[kind].extents * map->extent_bytes);
		ctl_json_number(json, "runs", map->totals[kind].runs);
		ctl_json_number(json, "blocks_live", map->totals[kind].blocks_live);
		ctl_json_number(json, "bytes_live", map->totals[kind].bytes_live);
		ctl_json_number(json, "bytes_waiting", map->totals[kind].bytes_waiting);
		ctl_json_put(kinds, ctl_kind_names[kind], json);
	}
	return kinds;
}

static int print_map_json(const struct ctl *ctl, const struct ctl_pool *pool, struct ranges *ranges, int code)
{
	struct json_object *json = ctl_json_object();

	end_range(ranges);
	ctl_json_text(json, "uri", pool->info.uri);
	ctl_json_address(json, "base", pool->info.base);
	ctl_json_number(json, "size_bytes", pool->info.size_bytes);
	ctl_json_number(json, "extent_bytes", pool->info.extent_bytes);
	ctl_json_number(json, "moved", ranges->map.moved);
	ctl_json_put(json, "kinds", totals_json(&ranges->map));
	ctl_json_put(json, "ranges", ranges->list);
	return ctl_finish(ctl, json, code);
}

int ctl_run_map(struct ctl *ctl)
{
	uint32_t width = ctl_terminal_width();
	struct ranges ranges = {.count = 0};
	struct ctl_pool pool;
	int result = ctl_pool_open(ctl, ctl_uri(ctl, ctl->operand_count == 1), &pool);
	uint64_t extent_bytes;
	int code;

	if (result != CTL_OK)
		return result;
	extent_bytes = pool.info.extent_bytes != 0 ? pool.info.extent_bytes : 2 * DM_MIB;
	if (!ctl_map_init(&ranges.map, pool.info.size_bytes / extent_bytes, extent_bytes, ctl_map_columns(width))) {
		result = ctl_refused(ctl, -ENOMEM);
		goto out;
	}
	if (ctl_given(ctl, CTL_JSON))
		ranges.list = ctl_json_array();
	code = dm_inspect_extents(pool.pool, take_extent, &ranges);
	ranges.map.totals[DM_KIND_FREE].extents = pool.info.free_bytes / extent_bytes;
	if (ranges.list != NULL) {
		result = print_map_json(ctl, &pool, &ranges, code);
	} else {
		ctl_map_draw(&ranges.map, width);
		result = ctl_finish(ctl, NULL, code);
	}
	ctl_map_fini(&ranges.map);
out:
	ctl_pool_close(&pool);
	return result;
}
