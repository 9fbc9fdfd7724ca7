/* SPDX-License-Identifier: Apache-2.0 */
/* info.c: everything that is known about a pool as a whole. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/arith.h"
#include "dmemctl/ctl.h"
#include "dmemctl/json.h"
#include "dmemctl/print.h"

static const char *const device_titles[] = {
	">#", "DEVICE", ">SIZE", ">UNIT", "MEMORY", ">DISTANCE", ">NODE", "UUID",
};
#define DEVICE_COLUMNS DM_ARRAY_LENGTH(device_titles)

static const char *const class_titles[] = {
	">BLOCK", ">SLABS", ">BLOCKS", ">IN USE", ">USED", ">WAITING", ">WASTE", ">OF BLOCKS",
};
#define CLASS_COLUMNS DM_ARRAY_LENGTH(class_titles)

static const char *memory_type_name(uint32_t type)
{
	static const char *const names[] = {"unknown", "DRAM", "CXL", "persistent", "remote"};

	return names[type < DM_ARRAY_LENGTH(names) ? type : 0];
}

/* Members without this tool, unless --all counts it in. */
static uint32_t members_shown(const struct ctl *ctl, const struct dmem_pool_info *info)
{
	return info->members != 0 && !ctl_given(ctl, CTL_ALL) ? info->members - 1 : info->members;
}

/* --- For people --- */

static int take_device_row(void *context, const struct dm_inspect_device *device)
{
	char index[CTL_TEXT_BYTES], size[CTL_TEXT_BYTES], align[CTL_TEXT_BYTES], uuid[CTL_TEXT_BYTES];
	char distance[CTL_TEXT_BYTES] = "-", node[CTL_TEXT_BYTES] = "-";
	const char *row[DEVICE_COLUMNS];

	if (device->distance_ns != 0)
		snprintf(distance, sizeof(distance), "%" PRIu32 " ns", device->distance_ns);
	if (device->node >= 0)
		snprintf(node, sizeof(node), "%d", device->node);
	row[0] = ctl_print_number(index, device->index);
	row[1] = device->name;
	row[2] = ctl_print_size(size, device->size_bytes);
	row[3] = ctl_print_size(align, device->align_bytes);
	row[4] = memory_type_name(device->memory_type);
	row[5] = distance;
	row[6] = node;
	row[7] = ctl_print_uuid(uuid, device->uuid);
	ctl_table_row(context, row);
	return 0;
}

static int take_class_row(void *context, const struct dm_inspect_class *class)
{
	char size[CTL_TEXT_BYTES], slabs[CTL_TEXT_BYTES], live[CTL_TEXT_BYTES], used[CTL_TEXT_BYTES];
	char waiting[CTL_TEXT_BYTES], waste[CTL_TEXT_BYTES], percent[CTL_TEXT_BYTES], capacity[CTL_TEXT_BYTES];
	uint64_t taken = class->blocks_live + class->blocks_waiting;
	uint64_t unused = class->blocks > taken ? class->blocks - taken : 0;
	const char *row[CLASS_COLUMNS];

	row[0] = ctl_print_size(size, class->block_bytes);
	row[1] = ctl_print_number(slabs, class->slabs);
	row[2] = ctl_print_number(capacity, class->blocks);
	row[3] = ctl_print_number(live, class->blocks_live);
	row[4] = ctl_print_size(used, class->blocks_live * class->block_bytes);
	row[5] = ctl_print_size(waiting, class->blocks_waiting * class->block_bytes);
	row[6] = ctl_print_size(waste, unused * class->block_bytes);
	row[7] = ctl_print_percent(percent, unused, class->blocks);
	ctl_table_row(context, row);
	return 0;
}

static void print_share(const char *what, uint64_t bytes, uint64_t whole, const char *meaning)
{
	char size[CTL_TEXT_BYTES], percent[CTL_TEXT_BYTES];

	printf("  %-10s  %9s  %7s   %s\n", what, ctl_print_size(size, bytes), ctl_print_percent(percent, bytes, whole),
	       meaning);
}

static void print_pool(const struct ctl *ctl, const struct dmem_pool_info *info)
{
	char a[CTL_TEXT_BYTES], b[CTL_TEXT_BYTES];

	printf("pool         %s\n", info->uri);
	printf("uuid         %s\n", ctl_print_uuid(a, info->uuid));
	printf("layout       version %" PRIu32 "\n", info->layout_version);
	printf("coherence    %s, atomics by %s\n", ctl_coherence_name(info->coherence), ctl_atomics_name(info->atomics));
	printf("window       %s to ", ctl_print_address(a, info->base));
	printf("%s, span %s\n", ctl_print_address(a, info->base + info->span_bytes), ctl_print_size(b, info->span_bytes));
	printf("members      %" PRIu32 " of %" PRIu32, members_shown(ctl, info), info->members_max);
	printf(" (lease %s, beat %s)\n", ctl_print_ms(a, info->lease_ms), ctl_print_ms(b, info->beat_ms));
	if (ctl_given(ctl, CTL_ALL))
		printf("this tool    slot %" PRIu32 ", incarnation %" PRIu32 ", bad frees %" PRIu64 "\n", info->self,
		       info->self_incarnation, info->bad_frees);
	printf("roots        %" PRIu32 "\n", info->roots);
	printf("extents      %s each", ctl_print_size(a, info->extent_bytes));
	printf("; leased %s at a time", ctl_print_size(a, info->chunk_bytes));
	printf("; moved or lost %s at a time\n", ctl_print_size(a, info->unit_bytes));
	printf("blocks       multiples of %s\n", ctl_print_size(a, info->granule_bytes));
	printf("\nspace        %s in %" PRIu32 " segment%s on %" PRIu32 " device%s\n", ctl_print_size(a, info->size_bytes),
	       info->segments, info->segments == 1 ? "" : "s", info->devices, info->devices == 1 ? "" : "s");
	print_share("metadata", info->metadata_bytes, info->size_bytes, "the library's own structures");
	print_share("leased", info->leased_bytes, info->size_bytes, "extents that hold blocks or are leased to a member");
	print_share("free", info->free_bytes, info->size_bytes, "extents that nobody has leased");
	if (info->quarantined != 0)
		printf("\nquarantined  %" PRIu32 " extent%s failed a check: dmemctl fsck says what is wrong\n",
		       info->quarantined, info->quarantined == 1 ? "" : "s");
}

static int print_info(struct ctl *ctl, const struct ctl_pool *pool)
{
	struct ctl_table devices, classes;
	int code;

	ctl_table_init(&devices, device_titles, DEVICE_COLUMNS);
	ctl_table_init(&classes, class_titles, CLASS_COLUMNS);
	code = dm_inspect_devices(pool->pool, take_device_row, &devices);
	if (code == 0)
		code = dm_inspect_classes(pool->pool, take_class_row, &classes);
	print_pool(ctl, &pool->info);
	if (devices.rows != 0) {
		printf("\ndevices\n");
		ctl_table_print(&devices, 2);
	}
	if (classes.rows != 0) {
		printf("\nsize classes (waiting: freed by others, not yet collected; waste: blocks nobody uses)\n");
		ctl_table_print(&classes, 2);
	}
	if (code == 0 && (devices.failed || classes.failed))
		fprintf(stderr, "dmemctl: out of memory: the tables are not complete\n");
	ctl_table_fini(&classes);
	ctl_table_fini(&devices);
	return ctl_finish(ctl, NULL, code);
}

/* --- For programs --- */

static int take_device_json(void *context, const struct dm_inspect_device *device)
{
	struct json_object *json = ctl_json_object();

	ctl_json_number(json, "index", device->index);
	ctl_json_uuid(json, "uuid", device->uuid);
	ctl_json_text(json, "name", device->name);
	ctl_json_number(json, "size_bytes", device->size_bytes);
	ctl_json_number(json, "align_bytes", device->align_bytes);
	ctl_json_text(json, "memory_type", memory_type_name(device->memory_type));
	if (device->distance_ns != 0)
		ctl_json_number(json, "distance_ns", device->distance_ns);
	else
		ctl_json_null(json, "distance_ns");
	if (device->node >= 0)
		ctl_json_signed(json, "node", device->node);
	else
		ctl_json_null(json, "node");
	ctl_json_append(context, json);
	return 0;
}

static int take_class_json(void *context, const struct dm_inspect_class *class)
{
	struct json_object *json = ctl_json_object();

	ctl_json_number(json, "block_bytes", class->block_bytes);
	ctl_json_number(json, "slabs", class->slabs);
	ctl_json_number(json, "blocks", class->blocks);
	ctl_json_number(json, "blocks_live", class->blocks_live);
	ctl_json_number(json, "blocks_waiting", class->blocks_waiting);
	ctl_json_append(context, json);
	return 0;
}

static struct json_object *pool_json(const struct ctl *ctl, const struct dmem_pool_info *info)
{
	struct json_object *json = ctl_json_object();
	struct json_object *self = ctl_json_object();

	ctl_json_text(json, "uri", info->uri);
	ctl_json_uuid(json, "uuid", info->uuid);
	ctl_json_number(json, "layout_version", info->layout_version);
	ctl_json_text(json, "coherence", ctl_coherence_name(info->coherence));
	ctl_json_text(json, "atomics", ctl_atomics_name(info->atomics));
	ctl_json_address(json, "base", info->base);
	ctl_json_address(json, "end", info->base + info->span_bytes);
	ctl_json_number(json, "span_bytes", info->span_bytes);
	ctl_json_number(json, "size_bytes", info->size_bytes);
	ctl_json_number(json, "metadata_bytes", info->metadata_bytes);
	ctl_json_number(json, "leased_bytes", info->leased_bytes);
	ctl_json_number(json, "free_bytes", info->free_bytes);
	ctl_json_number(json, "granule_bytes", info->granule_bytes);
	ctl_json_number(json, "extent_bytes", info->extent_bytes);
	ctl_json_number(json, "chunk_bytes", info->chunk_bytes);
	ctl_json_number(json, "unit_bytes", info->unit_bytes);
	ctl_json_number(json, "segments", info->segments);
	ctl_json_number(json, "members", members_shown(ctl, info));
	ctl_json_number(json, "members_max", info->members_max);
	ctl_json_number(json, "lease_ms", info->lease_ms);
	ctl_json_number(json, "beat_ms", info->beat_ms);
	ctl_json_number(json, "roots", info->roots);
	ctl_json_number(json, "quarantined", info->quarantined);
	ctl_json_number(self, "slot", info->self);
	ctl_json_number(self, "incarnation", info->self_incarnation);
	ctl_json_number(self, "bad_frees", info->bad_frees);
	ctl_json_put(json, "self", self);
	return json;
}

static int print_info_json(struct ctl *ctl, const struct ctl_pool *pool)
{
	struct json_object *json = pool_json(ctl, &pool->info);
	struct json_object *devices = ctl_json_array();
	struct json_object *classes = ctl_json_array();
	int code = dm_inspect_devices(pool->pool, take_device_json, devices);

	if (code == 0)
		code = dm_inspect_classes(pool->pool, take_class_json, classes);
	ctl_json_put(json, "devices", devices);
	ctl_json_put(json, "classes", classes);
	return ctl_finish(ctl, json, code);
}

int ctl_run_info(struct ctl *ctl)
{
	struct ctl_pool pool;
	int result = ctl_pool_open(ctl, ctl_uri(ctl, ctl->operand_count == 1), &pool);

	if (result != CTL_OK)
		return result;
	result = ctl_given(ctl, CTL_JSON) ? print_info_json(ctl, &pool) : print_info(ctl, &pool);
	ctl_pool_close(&pool);
	return result;
}
