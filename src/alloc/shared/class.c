/* SPDX-License-Identifier: Apache-2.0 */
/* class.c: the table of size classes (class.h). */
#include "alloc/shared/class.h"

#include <string.h>

#include "alloc/shared/heap_layout.h"
#include "base/arith.h"

static uint32_t choose_units(uint32_t block_bytes)
{
	uint32_t best = DM_UNITS_PER_EXTENT;
	uint64_t best_waste = UINT64_MAX;

	for (uint32_t units = 1; units <= DM_UNITS_PER_EXTENT; units++) {
		uint64_t bytes = (uint64_t)units * DM_UNIT_BYTES;
		uint64_t waste;

		if (bytes < block_bytes)
			continue;
		waste = (bytes % block_bytes) * 1024 / bytes;
		if (waste <= 1024 / 16)
			return units;
		if (waste < best_waste) {
			best_waste = waste;
			best = units;
		}
	}
	return best;
}

static void fill_class(struct dm_class *class, uint32_t block_bytes)
{
	class->block_bytes = block_bytes;
	class->units = choose_units(block_bytes);
	class->blocks = class->units * DM_UNIT_BYTES / block_bytes;
	class->bit_words = (class->blocks + 63) / 64;
	class->freed_words = (class->blocks + DM_FREED_BITS - 1) / DM_FREED_BITS;
	class->reciprocal = (UINT64_C(1) << DM_RECIPROCAL_SHIFT) / block_bytes + 1;
}

void dm_classes_init(struct dm_classes *classes, uint32_t granule_bytes)
{
	uint32_t step = granule_bytes;
	uint32_t class = 0;

	memset(classes, 0, sizeof(*classes));
	classes->granule_bytes = granule_bytes;
	classes->granule_shift = (uint32_t)__builtin_ctz(granule_bytes);
	classes->small_bytes = 1024 * granule_bytes;
	for (uint32_t bytes = granule_bytes; bytes <= DM_CLASS_BYTES_MAX; bytes += step) {
		fill_class(&classes->classes[classes->count++], bytes);
		if (bytes >= 8 * granule_bytes && dm_is_power_of_two(bytes))
			step = bytes / 4;
	}
	for (uint32_t granules = 0; granules < DM_ARRAY_LENGTH(classes->small); granules++) {
		while (classes->classes[class].block_bytes < granules * granule_bytes)
			class ++;
		classes->small[granules] = (uint8_t) class;
	}
}

uint32_t dm_class_search(const struct dm_classes *classes, uint64_t bytes, uint64_t alignment)
{
	uint32_t class;

	if (bytes > DM_CLASS_BYTES_MAX || alignment > DM_UNIT_BYTES)
		return DM_CLASS_NONE;
	if (bytes <= classes->small_bytes) {
		class = dm_class_small(classes, bytes);
	} else {
		class = classes->small[1024];
		while (classes->classes[class].block_bytes < bytes)
			class ++;
	}
	for (; class < classes->count; class ++)
		if (dm_is_aligned(classes->classes[class].block_bytes, alignment))
			return class;
	return DM_CLASS_NONE;
}
