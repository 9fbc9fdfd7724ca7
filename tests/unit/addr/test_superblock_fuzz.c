/* SPDX-License-Identifier: Apache-2.0 */
/* test_superblock_fuzz.c: superblocks with flipped bits, and hostile ones whose checksum is right: never a crash. */
#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "addr/superblock.h"
#include "base/arith.h"
#include "base/crc32c.h"
#include "base/error.h"
#include "lib/child.h"
#include "lib/scratch.h"

#define ROUNDS 20000u
#define ATTACH_EVERY 50u
#define BITS (DM_SUPERBLOCK_COPIES * DM_SUPERBLOCK_BYTES * 8u)
#define FLIP_ATTACH_EVERY 997u

TestSuite(superblock_fuzz, .init = scratch_begin, .fini = scratch_end);

static struct dm_superblock_pm good;

static void make_pool(void)
{
	scratch_create("p", "size=8M&members=16");
	scratch_read("p", 0, &good, sizeof(good));
}

static uint32_t crc_of(const struct dm_superblock_pm *superblock)
{
	return dm_crc32c(superblock, offsetof(struct dm_superblock_pm, crc));
}

/* In a child: attach, use the pool a little.  0, or 1 for a refusal. */
static int attach_and_use(void *argument)
{
	struct scratch_findings findings = {0};
	struct dmem_pool *pool;
	void *block;

	(void)argument;
	if (dmem_pool_attach(scratch_uri("p", NULL), NULL, &pool) != 0)
		return dmem_last_error()[0] != 0 ? 1 : 2;
	block = dmem_alloc_ex(pool, 100, NULL);
	if (block != NULL)
		memset(block, 1, 100);
	(void)dmem_root_get(pool, "nobody");
	(void)!dmem_pool_validate(pool, scratch_note_finding, &findings);
	dmem_free(block);
	return dmem_pool_detach(pool) == 0 ? 0 : 3;
}

/* A whole copy that says the same as the good one, and nothing else, may be accepted. */
static bool copy_is_whole(const struct dm_superblock_pm *copy)
{
	return copy->magic == DM_SUPERBLOCK_MAGIC && copy->crc == crc_of(copy);
}

Test(superblock_fuzz, every_flipped_bit_of_a_copy_is_found)
{
	static struct dm_superblock_pm copy;
	uint8_t *bytes = (uint8_t *)&copy;

	make_pool();
	copy = good;
	for (uint32_t bit = 0; bit < DM_SUPERBLOCK_BYTES * 8; bit++) {
		bytes[bit / 8] ^= (uint8_t)(1u << bit % 8);
		cr_expect(not(copy_is_whole(&copy)), "bit %u", bit);
		(void)dm_superblock_check(&copy, "a flipped bit");
		bytes[bit / 8] ^= (uint8_t)(1u << bit % 8);
	}
	cr_expect(copy_is_whole(&copy));
}

Test(superblock_fuzz, reading_survives_every_flipped_bit_of_either_copy)
{
	static struct dm_superblock_pm found;
	struct dm_superblock_state state;
	struct dm_device *device;
	struct dm_uri uri;

	make_pool();
	cr_assert(zero(int, dm_uri_parse(scratch_uri("p", NULL), &uri)));
	cr_assert(zero(int, dm_transport_open(&uri, &device)));
	for (uint32_t bit = 0; bit < BITS; bit += 7) {
		uint8_t byte;
		uint8_t flipped;

		cr_assert(zero(int, device->transport->data.read(device, bit / 8, &byte, 1)));
		flipped = byte ^ (uint8_t)(1u << bit % 8);
		cr_assert(zero(int, device->transport->data.write(device, bit / 8, &flipped, 1)));
		cr_assert(zero(int, dm_superblock_read(device, &found, &state)), "bit %u: %s", bit, dmem_last_error());
		cr_assert(not(state.equal), "bit %u", bit);
		cr_assert(eq(u64, found.base, good.base), "bit %u", bit);
		cr_assert(zero(int, device->transport->data.write(device, bit / 8, &byte, 1)));
	}
	device->transport->region.close(device);
}

Test(superblock_fuzz, attach_survives_flipped_bits_and_puts_them_right)
{
	static struct dm_superblock_pm copies[2];

	make_pool();
	for (uint32_t bit = 0; bit < BITS; bit += FLIP_ATTACH_EVERY) {
		uint8_t byte;

		scratch_read("p", bit / 8, &byte, 1);
		byte ^= (uint8_t)(1u << bit % 8);
		scratch_write("p", bit / 8, &byte, 1);
		cr_assert(zero(int, child_run(attach_and_use, NULL)), "bit %u", bit);
		scratch_read("p", 0, copies, sizeof(copies));
		cr_assert(copy_is_whole(&copies[0]) && copy_is_whole(&copies[1]), "bit %u was not repaired", bit);
	}
}

static const uint64_t limits[] = {0, 1, 2, 15, 16, 31, 32, 33, 63, 64, 95, 96, 97, 4095, 4096, 4097, 65536, 65537,
                                  UINT32_MAX, UINT64_C(1) << 32, UINT64_C(1) << 47, INT64_MAX, UINT64_C(1) << 63,
                                  UINT64_MAX - 4095, UINT64_MAX};

/* Most changes go where the numbers are, few into the reserved parts. */
static size_t choose_place(uint64_t *seed)
{
	switch (scratch_random(seed) % 8) {
	case 0:
		return scratch_random(seed) % (DM_SUPERBLOCK_BYTES - 8);
	case 1:
		return offsetof(struct dm_superblock_pm, devices) + scratch_random(seed) % sizeof(struct dm_device_pm) / 8 * 8;
	case 2:
	case 3:
		return offsetof(struct dm_superblock_pm, segments) + scratch_random(seed) % sizeof(struct dm_segment_pm) / 8 * 8;
	default:
		return scratch_random(seed) % 200 / 4 * 4;
	}
}

static void mutate(struct dm_superblock_pm *superblock, uint64_t *seed)
{
	uint8_t *bytes = (uint8_t *)superblock;

	for (uint64_t changes = 1 + scratch_random(seed) % 3; changes > 0; changes--) {
		size_t at = choose_place(seed);
		uint64_t value;

		memcpy(&value, bytes + at, sizeof(value));
		switch (scratch_random(seed) % 4) {
		case 0:
			value ^= UINT64_C(1) << scratch_random(seed) % 64;
			break;
		case 1:
			value += scratch_random(seed) % 16 - 8;
			break;
		case 2:
			value = scratch_random(seed);
			break;
		default:
			value = limits[scratch_random(seed) % DM_ARRAY_LENGTH(limits)];
			break;
		}
		memcpy(bytes + at, &value, scratch_random(seed) % 2 ? 8 : 4);
	}
	superblock->magic = DM_SUPERBLOCK_MAGIC;
	superblock->crc = crc_of(superblock);
}

static void write_copies(struct dm_superblock_pm *superblock)
{
	scratch_write("p", 0, superblock, sizeof(*superblock));
	scratch_write("p", DM_SUPERBLOCK_BYTES, superblock, sizeof(*superblock));
}

Test(superblock_fuzz, hostile_superblocks_with_a_right_checksum_are_refused_or_usable)
{
	static struct dm_superblock_pm hostile;
	unsigned attached = 0;
	uint64_t seed = 42;

	make_pool();
	for (unsigned round = 0; round < ROUNDS; round++) {
		uint64_t of_round = seed + round;
		bool passes;

		hostile = good;
		mutate(&hostile, &of_round);
		passes = dm_superblock_check(&hostile, "hostile") == 0;
		if (round % ATTACH_EVERY != 0 && !(passes && round % 10 == 0))
			continue;
		write_copies(&hostile);
		int rc = child_run(attach_and_use, NULL);
		cr_assert(rc == 0 || rc == 1, "round %u ended with %d", round, rc);
		cr_assert(passes || rc == 1, "round %u: attached what the check refuses", round);
		attached += rc == 0;
	}
	cr_expect(gt(u32, attached, 0), "nothing was ever attached: the test tests nothing");
}

static uint64_t *const_fields(struct dm_superblock_pm *superblock, unsigned index)
{
	uint64_t *fields[] = {&superblock->base, &superblock->span_bytes, &superblock->unit_bytes, &superblock->admin_off,
	                      &superblock->member_off, &superblock->heap_off, &superblock->root_off, &superblock->static_bytes,
	                      &superblock->devices[0].size_bytes, &superblock->devices[0].align_bytes,
	                      &superblock->segments[0].window_first, &superblock->segments[0].extents,
	                      &superblock->segments[0].device_first, &superblock->segments[0].metadata_off,
	                      &superblock->segments[0].data_first, &superblock->segments[0].data_extents};

	return index < DM_ARRAY_LENGTH(fields) ? fields[index] : NULL;
}

Test(superblock_fuzz, every_number_at_its_limits_is_refused_or_usable)
{
	static struct dm_superblock_pm hostile;

	make_pool();
	for (unsigned field = 0; const_fields(&hostile, field) != NULL; field++) {
		for (unsigned i = 0; i < DM_ARRAY_LENGTH(limits); i++) {
			hostile = good;
			*const_fields(&hostile, field) = limits[i];
			hostile.crc = crc_of(&hostile);
			write_copies(&hostile);
			int rc = child_run(attach_and_use, NULL);
			cr_expect(rc == 0 || rc == 1, "field %u, limit %u: ended with %d", field, i, rc);
		}
	}
}
