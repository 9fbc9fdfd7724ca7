/* SPDX-License-Identifier: Apache-2.0 */
/* devices.c: what libcxl and libdaxctl see of this machine. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/arith.h"
#include "dmemctl/ctl.h"
#include "dmemctl/json.h"
#include "dmemctl/print.h"
#include "transport/devdax/discover.h"
#include "transport/transport.h"

#ifdef DM_WITH_DAX

static const char *const memdev_titles[] = {"CXL MEMORY", "HOST", "SERIAL", ">VOLATILE", ">PERSISTENT", ">NODE", "URI"};
static const char *const region_titles[] = {"CXL REGION", ">SIZE", "STATE", "DEVICES", "URI"};
static const char *const dax_titles[] = {"DAX DEVICE", ">SIZE", ">ALIGN", "MODE", ">NODE", "CXL REGION", "URI"};

static const char *node_text(char text[CTL_TEXT_BYTES], int node)
{
	if (node < 0)
		return "-";
	snprintf(text, CTL_TEXT_BYTES, "%d", node);
	return text;
}

static const char *targets_text(const struct dm_found_region *region, char *text, size_t bytes)
{
	size_t length = 0;

	text[0] = '\0';
	for (unsigned i = 0; i < region->target_count && length < bytes; i++)
		length += (size_t)snprintf(text + length, bytes - length, "%s%s", i > 0 ? " " : "", region->targets[i]);
	return text;
}

/* Print a table that was filled, or what there is instead, and release it; false when rows are missing. */
static bool finish_table(struct ctl_table *table, const char *nothing)
{
	bool whole = !table->failed;

	if (table->rows > 0)
		ctl_table_print(table, 0);
	else
		printf("%s\n", nothing);
	ctl_table_fini(table);
	return whole;
}

static bool print_memdevs(const struct dm_found *found)
{
	char serial[CTL_TEXT_BYTES], ram[CTL_TEXT_BYTES], pmem[CTL_TEXT_BYTES], node[CTL_TEXT_BYTES], uri[CTL_TEXT_BYTES];
	struct ctl_table table;

	ctl_table_init(&table, memdev_titles, DM_ARRAY_LENGTH(memdev_titles));
	for (size_t i = 0; i < found->memdev_count; i++) {
		const struct dm_found_memdev *memdev = &found->memdevs[i];
		const char *row[DM_ARRAY_LENGTH(memdev_titles)] = {
			memdev->name, memdev->host, serial, ctl_print_size(ram, memdev->volatile_bytes),
			ctl_print_size(pmem, memdev->persistent_bytes), node_text(node, memdev->node), uri,
		};

		snprintf(serial, sizeof(serial), "0x%" PRIx64, memdev->serial);
		snprintf(uri, sizeof(uri), "cxl:0x%" PRIx64, memdev->serial);
		ctl_table_row(&table, row);
	}
	return finish_table(&table, "no CXL memory devices");
}

static bool print_regions(const struct dm_found *found)
{
	char targets[DM_FOUND_TARGETS_MAX * DM_FOUND_NAME_BYTES], size[CTL_TEXT_BYTES], uri[CTL_TEXT_BYTES];
	struct ctl_table table;

	ctl_table_init(&table, region_titles, DM_ARRAY_LENGTH(region_titles));
	for (size_t i = 0; i < found->region_count; i++) {
		const struct dm_found_region *region = &found->regions[i];
		const char *row[DM_ARRAY_LENGTH(region_titles)] = {
			region->name, ctl_print_size(size, region->size_bytes), region->enabled ? "enabled" : "disabled",
			targets_text(region, targets, sizeof(targets)), uri,
		};

		snprintf(uri, sizeof(uri), "cxl:%s", region->name);
		ctl_table_row(&table, row);
	}
	return finish_table(&table, "no CXL regions");
}

static bool print_daxes(const struct dm_found *found)
{
	char size[CTL_TEXT_BYTES], align[CTL_TEXT_BYTES], node[CTL_TEXT_BYTES], uri[80];
	struct ctl_table table;

	ctl_table_init(&table, dax_titles, DM_ARRAY_LENGTH(dax_titles));
	for (size_t i = 0; i < found->dax_count; i++) {
		const struct dm_found_dax *dax = &found->daxes[i];
		const char *row[DM_ARRAY_LENGTH(dax_titles)] = {
			dax->name, ctl_print_size(size, dax->size_bytes), ctl_print_size(align, dax->align_bytes),
			dm_discover_mode_name(dax->mode), node_text(node, dax->node), dax->region[0] != '\0' ? dax->region : "-", uri,
		};

		if (dax->mode == DM_FOUND_DEVDAX)
			snprintf(uri, sizeof(uri), "dax:%s", dax->path);
		else
			strcpy(uri, "- (the mode is not devdax)");
		ctl_table_row(&table, row);
	}
	return finish_table(&table, "no DAX devices");
}

static struct json_object *memdevs_json(const struct dm_found *found)
{
	struct json_object *list = ctl_json_array();

	for (size_t i = 0; i < found->memdev_count; i++) {
		struct json_object *json = ctl_json_object();

		ctl_json_text(json, "name", found->memdevs[i].name);
		ctl_json_text(json, "host", found->memdevs[i].host);
		ctl_json_number(json, "serial", found->memdevs[i].serial);
		ctl_json_number(json, "volatile_bytes", found->memdevs[i].volatile_bytes);
		ctl_json_number(json, "persistent_bytes", found->memdevs[i].persistent_bytes);
		ctl_json_signed(json, "node", found->memdevs[i].node);
		ctl_json_append(list, json);
	}
	return list;
}

static struct json_object *regions_json(const struct dm_found *found)
{
	struct json_object *list = ctl_json_array();

	for (size_t i = 0; i < found->region_count; i++) {
		const struct dm_found_region *region = &found->regions[i];
		struct json_object *json = ctl_json_object(), *targets = ctl_json_array();

		ctl_json_text(json, "name", region->name);
		ctl_json_number(json, "size_bytes", region->size_bytes);
		ctl_json_flag(json, "enabled", region->enabled);
		for (unsigned target = 0; target < region->target_count; target++)
			ctl_json_append(targets, json_object_new_string(region->targets[target]));
		ctl_json_put(json, "devices", targets);
		ctl_json_append(list, json);
	}
	return list;
}

static struct json_object *daxes_json(const struct dm_found *found)
{
	struct json_object *list = ctl_json_array();

	for (size_t i = 0; i < found->dax_count; i++) {
		const struct dm_found_dax *dax = &found->daxes[i];
		struct json_object *json = ctl_json_object();

		ctl_json_text(json, "name", dax->name);
		ctl_json_text(json, "path", dax->path);
		ctl_json_number(json, "size_bytes", dax->size_bytes);
		ctl_json_number(json, "align_bytes", dax->align_bytes);
		ctl_json_text(json, "mode", dm_discover_mode_name(dax->mode));
		ctl_json_signed(json, "node", dax->node);
		if (dax->region[0] != '\0')
			ctl_json_text(json, "region", dax->region);
		else
			ctl_json_null(json, "region");
		ctl_json_append(list, json);
	}
	return list;
}

static int print_lists(const struct ctl *ctl, const struct dm_found *found)
{
	struct json_object *json;
	bool whole;

	if (ctl_given(ctl, CTL_JSON)) {
		json = ctl_json_object();
		ctl_json_put(json, "memdevs", memdevs_json(found));
		ctl_json_put(json, "regions", regions_json(found));
		ctl_json_put(json, "dax", daxes_json(found));
		return ctl_finish(ctl, json, 0);
	}
	whole = print_memdevs(found);
	putchar('\n');
	whole = print_regions(found) && whole;
	putchar('\n');
	whole = print_daxes(found) && whole;
	if (!whole)
		fprintf(stderr, "dmemctl: out of memory: the lists are not complete\n");
	return whole ? CTL_OK : CTL_REFUSED;
}

int ctl_run_devices(struct ctl *ctl)
{
	struct dm_found found = {.dax_count = 0};
	int code = dm_discover_cxl(&found);
	int result;

	if (code == 0)
		code = dm_discover_dax(&found);
	result = code == 0 ? print_lists(ctl, &found) : ctl_refused(ctl, code);
	dm_discover_free(&found);
	return result;
}

#else

int ctl_run_devices(struct ctl *ctl)
{
	const struct dm_transport *transport;

	return ctl_refused(ctl, dm_transport_find("dax", &transport));
}

#endif
