/* SPDX-License-Identifier: Apache-2.0 */
/* test_superblock.c: two copies, one or both of them damaged; pools of other versions; files that are no pools. */
#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "addr/superblock.h"
#include "base/arith.h"
#include "base/crc32c.h"
#include "base/error.h"
#include "inspect.h"
#include "lib/child.h"
#include "lib/scratch.h"

#define COPY(i) ((uint64_t)(i) * DM_SUPERBLOCK_BYTES)

TestSuite(superblock, .init = scratch_begin, .fini = scratch_end);

static void damage(unsigned copy)
{
	uint8_t byte;

	scratch_read("p", COPY(copy) + 300, &byte, 1);
	byte ^= 0x10;
	scratch_write("p", COPY(copy) + 300, &byte, 1);
}

static int attach_and_detach(void)
{
	struct dmem_pool *pool;
	int rc = dmem_pool_attach(scratch_uri("p", NULL), NULL, &pool);

	return rc ? rc : dmem_pool_detach(pool);
}

static int read_state(struct dm_superblock_state *state)
{
	static struct dm_superblock_pm superblock;
	struct dm_device *device;
	struct dm_uri uri;
	int rc = dm_uri_parse(scratch_uri("p", NULL), &uri);

	if (rc == 0)
		rc = dm_transport_open(&uri, &device);
	if (rc)
		return rc;
	rc = dm_superblock_read(device, &superblock, state);
	device->transport->region.close(device);
	return rc;
}

/* Write both copies with a change that `change` makes, and a CRC that is right. */
static void rewrite(void (*change)(struct dm_superblock_pm *))
{
	static struct dm_superblock_pm superblock;

	for (unsigned i = 0; i < DM_SUPERBLOCK_COPIES; i++) {
		scratch_read("p", COPY(i), &superblock, sizeof(superblock));
		change(&superblock);
		superblock.crc = dm_crc32c(&superblock, offsetof(struct dm_superblock_pm, crc));
		scratch_write("p", COPY(i), &superblock, sizeof(superblock));
	}
}

Test(superblock, both_copies_are_whole_and_equal_after_creation)
{
	struct dm_superblock_state state;

	scratch_create("p", "size=8M&members=16");
	cr_assert(zero(int, read_state(&state)), "%s", dmem_last_error());
	cr_expect(state.whole[0] && state.whole[1] && state.equal);
}

Test(superblock, attach_repairs_a_damaged_copy_from_the_other)
{
	for (unsigned copy = 0; copy < 2; copy++) {
		struct dm_superblock_state state;

		if (copy == 0)
			scratch_create("p", "size=8M&members=16");
		damage(copy);
		cr_assert(zero(int, read_state(&state)), "%s", dmem_last_error());
		cr_expect(not(state.whole[copy]));
		cr_assert(zero(int, attach_and_detach()), "%s", dmem_last_error());
		cr_assert(zero(int, read_state(&state)), "%s", dmem_last_error());
		cr_expect(state.whole[0] && state.whole[1] && state.equal, "copy %u was not repaired", copy);
	}
}

Test(superblock, fsck_looks_at_a_damaged_copy_and_repairs_it_only_when_told)
{
	struct scratch_findings findings = {0};
	struct dm_superblock_state state;
	const char *uri = scratch_uri("p", NULL);

	scratch_create("p", "size=8M&members=16");
	damage(0);
	cr_expect(eq(int, dm_inspect_fsck(uri, 0, scratch_note_finding, &findings), DMEM_E_CORRUPT));
	cr_expect(eq(u32, findings.count, 1), "%s", findings.last);
	cr_expect(strstr(findings.last, "copy 0") != NULL, "%s", findings.last);
	cr_expect(scratch_says("--repair"), "%s", dmem_last_error());
	cr_assert(zero(int, read_state(&state)));
	cr_expect(not(state.whole[0]), "looking repaired it");
	cr_expect(eq(int, dm_inspect_fsck(uri, 1, scratch_note_finding, &findings), 1));
	cr_assert(zero(int, read_state(&state)));
	cr_expect(state.whole[0] && state.equal);
	cr_expect(zero(int, dm_inspect_fsck(uri, 0, NULL, NULL)));
}

Test(superblock, two_damaged_copies_are_refused_and_left_alone)
{
	uint8_t before[2 * DM_SUPERBLOCK_BYTES];
	uint8_t after[2 * DM_SUPERBLOCK_BYTES];

	scratch_create("p", "size=8M&members=16");
	damage(0);
	damage(1);
	scratch_read("p", 0, before, sizeof(before));
	cr_expect(eq(int, attach_and_detach(), DMEM_E_CORRUPT));
	cr_expect(scratch_says(scratch_path("p")) && scratch_says("restore"), "%s", dmem_last_error());
	cr_expect(eq(int, dm_inspect_fsck(scratch_uri("p", NULL), 1, NULL, NULL), DMEM_E_CORRUPT));
	cr_expect(eq(int, dmem_pool_destroy(scratch_uri("p", NULL)), DMEM_E_CORRUPT));
	scratch_read("p", 0, after, sizeof(after));
	cr_expect(zero(int, memcmp(before, after, sizeof(before))));
}

Test(superblock, the_newer_of_two_whole_copies_is_taken)
{
	static struct dm_superblock_pm superblock;
	struct dm_superblock_state state;

	scratch_create("p", "size=8M&members=16");
	scratch_read("p", COPY(1), &superblock, sizeof(superblock));
	superblock.sequence += 5;
	superblock.lease_ms = 1234;
	superblock.crc = dm_crc32c(&superblock, offsetof(struct dm_superblock_pm, crc));
	scratch_write("p", COPY(1), &superblock, sizeof(superblock));
	cr_assert(zero(int, attach_and_detach()), "%s", dmem_last_error());
	cr_assert(zero(int, read_state(&state)));
	cr_expect(state.equal);
	scratch_read("p", COPY(0), &superblock, sizeof(superblock));
	cr_expect(eq(u32, superblock.lease_ms, 1234));
}

Test(superblock, a_file_without_the_magic_is_no_pool_and_is_left_alone)
{
	static char text[64 * 1024];

	memset(text, 'a', sizeof(text));
	scratch_write("p", 0, text, sizeof(text));
	cr_expect(eq(int, attach_and_detach(), DMEM_E_NOT_POOL));
	cr_expect(scratch_says("dmemctl create"), "%s", dmem_last_error());
	cr_expect(eq(int, dmem_pool_destroy(scratch_uri("p", NULL)), DMEM_E_NOT_POOL));
	cr_expect(zero(int, access(scratch_path("p"), F_OK)), "destroy removed a file that is not a pool");
}

Test(superblock, a_short_or_empty_file_is_no_pool)
{
	scratch_write("p", 0, "", 0);
	cr_expect(eq(int, attach_and_detach(), DMEM_E_NOT_POOL));
	scratch_write("p", 0, "DMEMPOOL", 8);
	cr_expect(eq(int, attach_and_detach(), DMEM_E_NOT_POOL));
	cr_expect(scratch_says("8 bytes"), "%s", dmem_last_error());
}

static void make_newer(struct dm_superblock_pm *superblock)
{
	superblock->layout_version = DM_LAYOUT_VERSION + 1;
}

static void add_incompat(struct dm_superblock_pm *superblock)
{
	superblock->incompat = UINT64_C(1) << 40;
}

static void add_ro_compat(struct dm_superblock_pm *superblock)
{
	superblock->ro_compat = UINT64_C(1) << 3;
}

static void add_compat(struct dm_superblock_pm *superblock)
{
	superblock->compat = UINT64_C(1) << 7;
}

Test(superblock, a_newer_layout_is_refused_with_its_number)
{
	scratch_create("p", "size=8M&members=16");
	rewrite(make_newer);
	cr_expect(eq(int, attach_and_detach(), DMEM_E_VERSION));
	cr_expect(scratch_says("version 2") && scratch_says("newer"), "%s", dmem_last_error());
}

Test(superblock, an_unknown_incompatible_feature_is_refused)
{
	scratch_create("p", "size=8M&members=16");
	rewrite(add_incompat);
	cr_expect(eq(int, attach_and_detach(), DMEM_E_VERSION));
	cr_expect(scratch_says("0x10000000000"), "%s", dmem_last_error());
}

Test(superblock, an_unknown_read_only_compatible_feature_is_refused)
{
	scratch_create("p", "size=8M&members=16");
	rewrite(add_ro_compat);
	cr_expect(eq(int, attach_and_detach(), DMEM_E_VERSION));
	cr_expect(scratch_says("0x8"), "%s", dmem_last_error());
}

Test(superblock, an_unknown_compatible_feature_changes_nothing)
{
	scratch_create("p", "size=8M&members=16");
	rewrite(add_compat);
	cr_expect(zero(int, attach_and_detach()), "%s", dmem_last_error());
}
