/* SPDX-License-Identifier: Apache-2.0 */
/*
 * test_flipped_bits.c: every bit of what the library keeps in a pool, flipped in turn: no crash, whatever a member does then.
 *
 * Descriptors carry a check, so their damage is always told, and no live block is touched.  Other words can take any value,
 * so all that is asked is that nobody crashes; of those bits a fifth is tried, with DMEM_TEST_FULL all.
 * Every flip is tried by a process of its own on a file of its own.
 */
#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/arith.h"
#include "image.h"
#include "inspect.h"
#include "lib/child.h"
#include "lib/scratch.h"

#define WORKERS 6u

/* How a child ended. */
enum verdict { CLEAN = 0, REFUSED = 1, FOUND = 2, TOUCHED = 3, STUCK = 4 };

struct flip {
	const struct image *image;
	const struct place *place;
	uint32_t bit;
	char name[32];
};

struct result {
	unsigned flips;
	unsigned bad;
	char first[256];
};

TestSuite(flipped_bits, .init = scratch_begin, .fini = scratch_end);

static int count_any(void *count)
{
	++*(unsigned *)count;
	return 0;
}

static int count_member(void *count, const struct dm_inspect_member *member)
{
	(void)member;
	return count_any(count);
}

static int count_extent(void *count, const struct dm_inspect_extent *extent)
{
	(void)extent;
	return count_any(count);
}

static int count_class(void *count, const struct dm_inspect_class *class)
{
	(void)class;
	return count_any(count);
}

static int count_root(void *count, const struct dm_inspect_root *root)
{
	(void)root;
	return count_any(count);
}

static bool untouched(const struct image *image)
{
	for (unsigned i = 0; i < IMAGE_BLOCKS; i++) {
		const char *block = image->blocks[i];

		for (unsigned k = 0; block != NULL && k < 16; k++)
			if (block[k] != (char)i || block[image->bytes[i] - 1 - k] != (char)i)
				return false;
		for (size_t at = 0; block != NULL && at < image->bytes[i]; at += IMAGE_STEP)
			if (block[at] != (char)i)
				return false;
	}
	return true;
}

static void look_at_everything(struct dmem_pool *pool, const struct image *image)
{
	struct dmem_location location = {.struct_bytes = sizeof(location)};
	struct dmem_pool_info info = {.struct_bytes = sizeof(info)};
	unsigned count = 0;

	(void)!dmem_pool_info(pool, &info);
	(void)dm_inspect_members(pool, count_member, &count);
	(void)dm_inspect_extents(pool, count_extent, &count);
	(void)dm_inspect_classes(pool, count_class, &count);
	(void)dm_inspect_roots(pool, count_root, &count);
	(void)dmem_root_get(pool, "directory");
	for (unsigned i = 0; i < IMAGE_BLOCKS; i++) {
		(void)dmem_usable_size(image->blocks[i]);
		(void)!dmem_locate(image->blocks[i], &location);
	}
}

/* Take some of what is free, of the sizes that the image holds, and write to all of it. */
static void use_what_is_free(struct dmem_pool *pool)
{
	static const struct {
		size_t bytes;
		unsigned count;
	} wanted[] = {{100, 300}, {150, 300}, {5000, 20}, {300000, 8}, {DM_MIB, 2}, {3 * DM_MIB, 2}, {5 * DM_MIB, 1}};

	for (unsigned i = 0; i < DM_ARRAY_LENGTH(wanted); i++) {
		for (unsigned k = 0; k < wanted[i].count; k++) {
			char *block = dmem_alloc_ex(pool, wanted[i].bytes, NULL);

			/* live blocks have their marks at starts of blocks, and large blocks start where units do */
			for (size_t at = 0; block != NULL && at < wanted[i].bytes; at += wanted[i].bytes < 6000 ? 16 : IMAGE_STEP)
				block[at] = 0x77;
			if (k % 3 == 0)
				dmem_free(block);
		}
	}
}

static void free_all(const struct image *image)
{
	for (unsigned i = 0; i < IMAGE_BLOCKS; i++) {
		dmem_free(image->blocks[i] == NULL ? NULL : image->blocks[i] + 16);
		dmem_free(image->blocks[i]);
	}
}

/* Attach the damaged pool and do everything with it. */
static int use_damaged(void *argument)
{
	const struct flip *flip = argument;
	struct dmem_pool *pool;
	enum verdict verdict = CLEAN;

	if (dmem_pool_attach(scratch_uri(flip->name, NULL), NULL, &pool) != 0)
		return REFUSED;
	if (dmem_pool_validate(pool, NULL, NULL) != 0)
		verdict = FOUND;
	look_at_everything(pool, flip->image);
	use_what_is_free(pool);
	if (flip->place->kind == PLACE_DESCRIPTOR && !untouched(flip->image))
		return TOUCHED;
	free_all(flip->image);
	use_what_is_free(pool);
	(void)!dmem_pool_validate(pool, NULL, NULL);
	(void)!dmem_root_set(pool, "another", NULL);
	return dmem_pool_detach(pool) == 0 ? (int)verdict : (int)STUCK;
}

static bool is_fine(const struct flip *flip, int ended)
{
	return ended == REFUSED || ended == FOUND || (ended == CLEAN && flip->place->kind == PLACE_WORD);
}

static void try_flip(struct flip *flip, struct result *result)
{
	uint64_t at = flip->place->offset + flip->bit / 8;
	uint8_t byte;
	int ended;

	image_write(flip->name);
	scratch_read(flip->name, at, &byte, 1);
	byte ^= (uint8_t)(1u << flip->bit % 8);
	scratch_write(flip->name, at, &byte, 1);
	ended = child_run(use_damaged, flip);
	result->flips++;
	if (is_fine(flip, ended))
		return;
	if (result->bad++ == 0)
		snprintf(result->first, sizeof(result->first), "%s (kind %d, offset 0x%lx), bit %u: ended with %d", flip->place->name,
		         (int)flip->place->kind, (unsigned long)flip->place->offset, flip->bit, ended);
}

struct work {
	const struct image *image;
	struct result *result;
	unsigned worker;
	uint32_t start; /* of words that can take any value: the first bit, and the step to the next */
	uint32_t step;
};

static int work(void *argument)
{
	const struct work *work = argument;
	struct flip flip = {.image = work->image};
	uint32_t number = 0;

	alarm(110);
	snprintf(flip.name, sizeof(flip.name), "flip-%u", work->worker);
	for (unsigned i = 0; i < work->image->place_count; i++) {
		flip.place = &work->image->places[i];
		bool all = flip.place->kind == PLACE_DESCRIPTOR;

		for (flip.bit = all ? 0 : work->start; flip.bit < flip.place->bits; flip.bit += all ? 1 : work->step)
			if (number++ % WORKERS == work->worker)
				try_flip(&flip, work->result);
	}
	unlink(scratch_path(flip.name));
	return 0;
}

static void expect_no_crash(bool killed)
{
	struct result *results = child_shared(WORKERS * sizeof(*results));
	struct image *image = image_make("image", killed);
	bool full = getenv("DMEM_TEST_FULL") != NULL;
	struct work works[WORKERS];
	pid_t pids[WORKERS];
	unsigned flips = 0;

	for (unsigned i = 0; i < WORKERS; i++) {
		works[i] = (struct work){.image = image, .result = &results[i], .worker = i,
		                         .start = full ? 0 : killed, .step = full ? 1 : 5};
		pids[i] = child_start(work, &works[i]);
	}
	for (unsigned i = 0; i < WORKERS; i++) {
		cr_expect(zero(int, child_wait(pids[i])), "a worker did not finish");
		cr_expect(zero(u32, results[i].bad), "%s", results[i].first);
		flips += results[i].flips;
	}
	cr_expect(gt(u32, flips, 500), "only %u flips were tried", flips);
}

Test(flipped_bits, nobody_crashes_on_a_pool_whose_members_left)
{
	expect_no_crash(false);
}

Test(flipped_bits, nobody_crashes_on_a_pool_whose_members_were_killed)
{
	expect_no_crash(true);
}

Test(flipped_bits, the_undamaged_image_is_clean)
{
	for (unsigned killed = 0; killed < 2; killed++) {
		struct place nothing = {.kind = PLACE_DESCRIPTOR};
		struct flip flip = {.name = "copy", .place = &nothing};

		flip.image = image_make(killed ? "image-1" : "image-0", killed);
		image_write("copy");
		cr_expect(eq(int, child_run(use_damaged, &flip), CLEAN), "killed %u", killed);
	}
}
