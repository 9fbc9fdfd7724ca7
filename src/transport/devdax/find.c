/* SPDX-License-Identifier: Apache-2.0 */
/*
 * find.c: which DAX device a name means, and whether a pool can be put on it.
 *
 * A serial number leads to a memory device, that to the region that decodes it, that to the DAX device on the region.  Where a
 * step has no answer or more than one, the message lists what is there and says how to name or to make it.
 */
#include <ctype.h>
#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/arith.h"
#include "base/error.h"
#include "transport/devdax/discover.h"

#define LIST_BYTES 400
#define ALIGN_MIN  (2 * DM_MIB)

/* Add to a text of at most `bytes`; what does not fit is left out. */
__attribute__((format(printf, 3, 4))) static void append(char *text, size_t bytes, const char *format, ...)
{
	size_t length = strlen(text);
	va_list arguments;

	va_start(arguments, format);
	vsnprintf(text + length, bytes - length, format, arguments);
	va_end(arguments);
}

const char *dm_discover_list_daxes(const struct dm_found *found, char *text, size_t bytes)
{
	text[0] = '\0';
	for (size_t i = 0; i < found->dax_count; i++)
		append(text, bytes, "%s%s (%s, %" PRIu64 " MiB)", i > 0 ? ", " : "", found->daxes[i].path,
		       dm_discover_mode_name(found->daxes[i].mode), found->daxes[i].size_bytes / DM_MIB);
	return found->dax_count > 0 ? text : "none";
}

static const char *list_memdevs(const struct dm_found *found, char *text, size_t bytes)
{
	text[0] = '\0';
	for (size_t i = 0; i < found->memdev_count; i++)
		append(text, bytes, "%s%s (serial 0x%" PRIx64 ", %" PRIu64 " MiB)", i > 0 ? ", " : "", found->memdevs[i].name,
		       found->memdevs[i].serial,
		       (found->memdevs[i].volatile_bytes + found->memdevs[i].persistent_bytes) / DM_MIB);
	return found->memdev_count > 0 ? text : "none";
}

static const char *list_regions(const struct dm_found *found, char *text, size_t bytes)
{
	text[0] = '\0';
	for (size_t i = 0; i < found->region_count; i++)
		append(text, bytes, "%s%s (%" PRIu64 " MiB)", i > 0 ? ", " : "", found->regions[i].name,
		       found->regions[i].size_bytes / DM_MIB);
	return found->region_count > 0 ? text : "none";
}

static bool region_has(const struct dm_found_region *region, const char *memdev)
{
	for (unsigned i = 0; i < region->target_count; i++) {
		if (strcmp(region->targets[i], memdev) == 0)
			return true;
	}
	return false;
}

static int find_memdev(const struct dm_found *found, uint64_t serial, const struct dm_found_memdev **memdev)
{
	const struct dm_found_memdev *match = NULL;
	char list[LIST_BYTES];

	for (size_t i = 0; i < found->memdev_count; i++) {
		if (found->memdevs[i].serial != serial)
			continue;
		if (match != NULL)
			return dm_fail(DMEM_E_DEVICE,
			               "cxl:0x%" PRIx64 " means %s and %s, whose serial numbers are equal: name the region "
			               "instead, as in cxl:region0; regions here: %s",
			               serial, match->name, found->memdevs[i].name, list_regions(found, list, sizeof(list)));
		match = &found->memdevs[i];
	}
	if (match == NULL)
		return dm_fail(
			-ENOENT, "no CXL memory device has the serial number 0x%" PRIx64 " (%" PRIu64 "); memory devices here: %s",
			serial, serial, list_memdevs(found, list, sizeof(list)));
	*memdev = match;
	return 0;
}

static int find_region_of(const struct dm_found *found, const struct dm_found_memdev *memdev,
                          const struct dm_found_region **region)
{
	const struct dm_found_region *match = NULL;
	char list[LIST_BYTES];

	for (size_t i = 0; i < found->region_count; i++) {
		if (!region_has(&found->regions[i], memdev->name))
			continue;
		if (match != NULL)
			return dm_fail(DMEM_E_DEVICE,
			               "cxl:0x%" PRIx64 " is %s, which has more than one region: name one, as in cxl:%s; "
			               "regions here: %s",
			               memdev->serial, memdev->name, match->name, list_regions(found, list, sizeof(list)));
		match = &found->regions[i];
	}
	if (match == NULL)
		return dm_fail(-ENOENT,
		               "the CXL memory device %s (serial 0x%" PRIx64 ") is in no region, so its memory has no "
		               "addresses: make one with 'cxl create-region'; regions here: %s",
		               memdev->name, memdev->serial, list_regions(found, list, sizeof(list)));
	*region = match;
	return 0;
}

static int find_region_named(const struct dm_found *found, const char *name, const struct dm_found_region **region)
{
	char list[LIST_BYTES];

	for (size_t i = 0; i < found->region_count; i++) {
		if (strcmp(found->regions[i].name, name) == 0) {
			*region = &found->regions[i];
			return 0;
		}
	}
	return dm_fail(-ENOENT, "there is no CXL region %.40s; regions here: %s", name,
	               list_regions(found, list, sizeof(list)));
}

static int find_dax_on(const struct dm_found *found, const struct dm_found_region *region,
                       const struct dm_found_dax **dax)
{
	const struct dm_found_dax *match = NULL;
	char list[LIST_BYTES];

	for (size_t i = 0; i < found->dax_count; i++) {
		if (strcmp(found->daxes[i].region, region->name) != 0)
			continue;
		if (match != NULL)
			return dm_fail(DMEM_E_DEVICE,
			               "more than one DAX device lies on %s: name one, as in dax:%s; DAX devices here: %s",
			               region->name, match->path, dm_discover_list_daxes(found, list, sizeof(list)));
		match = &found->daxes[i];
	}
	if (match == NULL)
		return dm_fail(-ENOENT,
		               "no DAX device lies on %s (%s): enable the region ('cxl enable-region %s'), or make the device "
		               "('daxctl create-device'); DAX devices here: %s",
		               region->name, region->enabled ? "enabled" : "not enabled", region->name,
		               dm_discover_list_daxes(found, list, sizeof(list)));
	*dax = match;
	return 0;
}

/* "region" and digits. */
static bool names_region(const char *word)
{
	return strncmp(word, "region", 6) == 0 && word[6] != '\0' && strspn(word + 6, "0123456789") == strlen(word + 6);
}

static bool parse_serial(const char *word, uint64_t *serial)
{
	char *end;

	if (!isdigit((unsigned char)word[0]))
		return false;
	errno = 0;
	*serial = strtoull(word, &end, word[0] == '0' && tolower((unsigned char)word[1]) == 'x' ? 16 : 10);
	return errno == 0 && *end == '\0';
}

int dm_discover_find(const struct dm_found *found, const char *word, const struct dm_found_dax **dax)
{
	const struct dm_found_memdev *memdev = NULL;
	const struct dm_found_region *region = NULL;
	char list[LIST_BYTES];
	uint64_t serial;
	int err;

	if (names_region(word)) {
		err = find_region_named(found, word, &region);
	} else if (parse_serial(word, &serial)) {
		err = find_memdev(found, serial, &memdev);
		if (err == 0)
			err = find_region_of(found, memdev, &region);
	} else {
		err = dm_fail(DMEM_E_URI,
		              "cxl:%.40s is neither a region (cxl:region0) nor a serial number (cxl:1234, cxl:0x4d2); memory "
		              "devices here: %s",
		              word, list_memdevs(found, list, sizeof(list)));
	}
	return err != 0 ? err : find_dax_on(found, region, dax);
}

int dm_discover_check(const struct dm_found_dax *dax)
{
	if (dax->mode == DM_FOUND_SYSTEM_RAM)
		return dm_fail(DMEM_E_UNSUPPORTED,
		               "%s is in mode system-ram: the kernel uses it as ordinary memory; make it a device "
		               "with 'daxctl reconfigure-device -m devdax -f %s'",
		               dax->path, dax->name);
	if (dax->mode == DM_FOUND_DISABLED)
		return dm_fail(DMEM_E_UNSUPPORTED,
		               "%s is disabled: no driver has it; enable it with 'daxctl reconfigure-device -m devdax "
		               "%s' (driver device_dax)",
		               dax->path, dax->name);
	if (!dm_is_power_of_two(dax->align_bytes) || dax->align_bytes < ALIGN_MIN)
		return dm_fail(DMEM_E_UNSUPPORTED,
		               "%s has an alignment of %" PRIu64 " bytes: pools need 2 MiB or 1 GiB; make it again with "
		               "'ndctl create-namespace -m devdax -a 2M', or 'daxctl create-device -a 2M'",
		               dax->path, dax->align_bytes);
	return 0;
}
