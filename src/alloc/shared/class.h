/* SPDX-License-Identifier: Apache-2.0 */
/*
 * class.h: size classes (class scheme 1 of the superblock; a change needs a new scheme number).
 *
 * Multiples of the granule up to 8 granules, then four classes to each doubling, up to 1 MiB: 16, 32, ... 128, 160, 192, 224,
 * 256, 320, ... with 16-byte granules; 64, 128, ... 512, 640, ... with 64-byte granules.  A slab of a class takes the
 * fewest units that waste at most a sixteenth at its end, or as little as any number of units can.
 */
#ifndef DM_ALLOC_SHARED_CLASS_H
#define DM_ALLOC_SHARED_CLASS_H

#include <stdint.h>

#define DM_CLASSES_MAX      64u
#define DM_CLASS_BYTES_MAX  (1u << 20)
#define DM_CLASS_NONE       UINT32_MAX
#define DM_RECIPROCAL_SHIFT 42u

struct dm_class {
	uint32_t block_bytes;
	uint32_t units;       /* of a slab */
	uint32_t blocks;      /* in a slab */
	uint32_t bit_words;   /* 64-bit words of free bits */
	uint32_t freed_words; /* tagged words */
	uint64_t reciprocal;  /* (delta * reciprocal) >> 42 == delta / block_bytes for delta up to 2 MiB */
};

struct dm_classes {
	uint32_t granule_bytes;
	uint32_t granule_shift;
	uint32_t small_bytes; /* up to here `small` knows the class */
	uint32_t count;
	struct dm_class classes[DM_CLASSES_MAX];
	uint8_t small[DM_CLASS_BYTES_MAX / 1024 + 1]; /* class of n granules, n <= 1024 */
};

void dm_classes_init(struct dm_classes *classes, uint32_t granule_bytes);

uint32_t dm_class_search(const struct dm_classes *classes, uint64_t bytes, uint64_t alignment);

/* The class for up to small_bytes. */
static inline uint32_t dm_class_small(const struct dm_classes *classes, uint64_t bytes)
{
	return classes->small[(bytes + classes->granule_bytes - 1) >> classes->granule_shift];
}

/* The smallest class for `bytes` whose blocks are all aligned to `alignment` (a power of two); DM_CLASS_NONE when the block
 * wants extents of its own. */
static inline uint32_t dm_class_for(const struct dm_classes *classes, uint64_t bytes, uint64_t alignment)
{
	if (__builtin_expect(bytes <= classes->small_bytes && alignment <= classes->granule_bytes, 1))
		return dm_class_small(classes, bytes);
	return dm_class_search(classes, bytes, alignment);
}

#endif
