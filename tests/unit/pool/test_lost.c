/* SPDX-License-Identifier: Apache-2.0 */
/* test_lost.c: memory that goes away under an attached member, and a file system that is full. */
#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <errno.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "base/arith.h"
#include "lib/child.h"
#include "lib/scratch.h"

#define NO_ROOT 77

TestSuite(lost, .init = scratch_begin, .fini = scratch_end);

static struct dmem_pool *pool;

static bool says_lost(void *unused)
{
	struct dmem_pool_info info = {.struct_bytes = sizeof(info)};

	(void)unused;
	return dmem_pool_info(pool, &info) == DMEM_E_LOST;
}

/* Every call, some of them before anybody has noticed. */
static int use_truncated(void *length)
{
	struct dmem_location location = {.struct_bytes = sizeof(location)};
	char *small;
	char *large;

	pool = scratch_attach("p");
	small = dmem_alloc_ex(pool, 100, NULL);
	large = dmem_alloc_ex(pool, 5 * DM_MIB, NULL);
	if (small == NULL || large == NULL || truncate(scratch_path("p"), *(off_t *)length) != 0)
		return 1;
	for (unsigned i = 0; i < 1000; i++)
		(void)dmem_alloc_ex(pool, 16 + i * 16, NULL);
	(void)dmem_usable_size(large);
	dmem_free(small);
	dmem_free(large);
	(void)!dmem_pool_validate(pool, NULL, NULL);
	(void)!dmem_root_set(pool, "x", small);
	if (!wait_until(says_lost, NULL, 3000))
		return 2;
	errno = 0;
	if (dmem_alloc_ex(pool, 100, NULL) != NULL || errno != EIO)
		return 3;
	if (dmem_root_set(pool, "x", small) != DMEM_E_LOST || dmem_root_get(pool, "x") != NULL || errno != EIO)
		return 4;
	if (dmem_publish(small, 8) != DMEM_E_LOST || dmem_locate(small, &location) != DMEM_E_LOST)
		return 5;
	if (dmem_pool_validate(pool, NULL, NULL) != DMEM_E_LOST || dmem_pool_grow(pool, DM_GIB) != DMEM_E_LOST)
		return 6;
	dmem_free(small);
	if (dmem_usable_size(small) != 0 || !scratch_says(scratch_path("p")) || !scratch_says("restore"))
		return 7;
	return dmem_pool_detach(pool) == 0 ? 0 : 8;
}

Test(lost, a_pool_truncated_behind_its_metadata_is_lost_and_nobody_crashes)
{
	off_t length = 10 * (off_t)DM_MIB;

	scratch_create("p", "size=64M&members=16&beat=20&lease=3000");
	cr_expect(zero(int, child_run(use_truncated, &length)));
}

Test(lost, a_pool_truncated_to_nothing_is_lost_and_nobody_crashes)
{
	off_t length = 0;

	scratch_create("p", "size=64M&members=16&beat=20&lease=3000");
	cr_expect(zero(int, child_run(use_truncated, &length)));
}

Test(lost, a_truncated_pool_is_refused_by_the_next_attach)
{
	scratch_create("p", "size=64M&members=16");
	cr_assert(zero(int, truncate(scratch_path("p"), 32 * (off_t)DM_MIB)));
	cr_expect(eq(int, dmem_pool_attach(scratch_uri("p", NULL), NULL, &pool), DMEM_E_LOST));
	cr_expect(scratch_says("truncated") && scratch_says("restore"), "%s", dmem_last_error());
}

static bool own_tmpfs(const char *size)
{
	char options[32];

	snprintf(options, sizeof(options), "size=%s", size);
	return unshare(CLONE_NEWNS) == 0 && mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) == 0 &&
	       mount("none", scratch_path("small"), "tmpfs", 0, options) == 0;
}

/* Fill until ENOMEM, write to all of it. */
static unsigned fill_and_touch(size_t bytes, char **blocks, unsigned max)
{
	unsigned count = 0;

	errno = 0;
	while (count < max && (blocks[count] = dmem_alloc_ex(pool, bytes, NULL)) != NULL)
		memset(blocks[count++], 0x33, bytes);
	return errno == ENOMEM ? count : 0;
}

static int fill_small_file_system(void *bytes)
{
	static char *blocks[100000];
	size_t size = *(size_t *)bytes;
	unsigned first;
	struct scratch_findings findings = {0};

	if (!own_tmpfs("24m"))
		return NO_ROOT;
	scratch_create("small/p", "size=1G&members=16");
	pool = scratch_attach("small/p");
	first = fill_and_touch(size, blocks, DM_ARRAY_LENGTH(blocks));
	if (first == 0 || first * size < 8 * DM_MIB)
		return 1;
	if (dmem_pool_validate(pool, scratch_note_finding, &findings) != 0)
		return 2;
	for (unsigned round = 0; round < 2; round++) {
		for (unsigned i = 0; i < first; i++) {
			if (blocks[i][0] != 0x33 || blocks[i][size - 1] != 0x33)
				return 3;
			dmem_free(blocks[i]);
		}
		if (fill_and_touch(size, blocks, DM_ARRAY_LENGTH(blocks)) < first)
			return 4;
	}
	if (dmem_root_set(pool, "x", blocks[0]) != 0)
		return 5;
	return dmem_pool_detach(pool) == 0 ? 0 : 6;
}

static void expect_full_is_enomem(size_t bytes)
{
	int ended;

	cr_assert(zero(int, mkdir(scratch_path("small"), 0700)));
	ended = child_run(fill_small_file_system, &bytes);
	if (ended == NO_ROOT)
		cr_skip_test("a mount namespace of its own is not allowed here");
	cr_expect(zero(int, ended));
}

Test(lost, a_full_file_system_is_enomem_and_works_again_after_frees_of_small_blocks)
{
	expect_full_is_enomem(500);
}

Test(lost, a_full_file_system_is_enomem_and_works_again_after_frees_of_middle_blocks)
{
	expect_full_is_enomem(100000);
}

Test(lost, a_full_file_system_is_enomem_and_works_again_after_frees_of_runs)
{
	expect_full_is_enomem(4 * DM_MIB);
}

static int create_without_room(void *unused)
{
	int rc;

	(void)unused;
	if (!own_tmpfs("256k"))
		return NO_ROOT;
	rc = dmem_pool_create(scratch_uri("small/p", "size=1G"), NULL);
	return rc == -ENOSPC && scratch_says("room") && access(scratch_path("small/p"), F_OK) != 0 ? 0 : 1;
}

Test(lost, a_file_system_without_room_for_the_tables_refuses_the_creation)
{
	int ended;

	cr_assert(zero(int, mkdir(scratch_path("small"), 0700)));
	ended = child_run(create_without_room, NULL);
	if (ended == NO_ROOT)
		cr_skip_test("a mount namespace of its own is not allowed here");
	cr_expect(zero(int, ended), "%s", dmem_last_error());
}
