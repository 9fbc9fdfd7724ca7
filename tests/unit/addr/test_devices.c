/* SPDX-License-Identifier: Apache-2.0 */
/* test_devices.c: pools of several devices: found by identity, wherever they are. */
#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "addr/superblock_layout.h"
#include "base/arith.h"
#include "lib/child.h"
#include "lib/scratch.h"

TestSuite(devices, .init = scratch_begin, .fini = scratch_end);

/* A pool "p" with a second device "q", in which lies a block with the root "far"; detached. */
static void make_pool_of_two(void)
{
	struct dmem_pool *pool = scratch_pool("p", "size=16M&members=16");
	struct dmem_location location = {.struct_bytes = sizeof(location)};
	char *block = NULL;

	cr_assert(zero(int, dmem_pool_add(pool, scratch_uri("q", "size=64M"))), "%s", dmem_last_error());
	for (unsigned i = 0; i < 32 && location.device != 1; i++) {
		block = dmem_alloc_ex(pool, 2 * DM_MIB, NULL);
		cr_assert(block != NULL && dmem_locate(block, &location) == 0, "%s", dmem_last_error());
	}
	cr_assert(eq(u32, location.device, 1));
	strcpy(block, "on the second device");
	cr_assert(zero(int, dmem_root_set(pool, "far", block)));
	cr_assert(zero(int, dmem_pool_detach(pool)));
}

static void expect_far_block(struct dmem_pool *pool)
{
	char *block = dmem_root_get(pool, "far");

	cr_assert(ne(ptr, block, NULL), "%s", dmem_last_error());
	cr_expect(eq(str, block, "on the second device"));
	cr_expect(zero(int, dmem_pool_validate(pool, NULL, NULL)), "%s", dmem_last_error());
}

Test(devices, a_second_device_is_found_where_it_was)
{
	struct dmem_pool_info info = {.struct_bytes = sizeof(info)};
	struct dmem_pool *pool;

	make_pool_of_two();
	pool = scratch_attach("p");
	expect_far_block(pool);
	cr_assert(zero(int, dmem_pool_info(pool, &info)));
	cr_expect(eq(u32, info.devices, 2));
	cr_expect(eq(u64, info.size_bytes, 80 * DM_MIB));
}

Test(devices, a_device_that_moved_is_named_by_the_uri)
{
	struct dmem_pool *pool;
	char keys[300];

	make_pool_of_two();
	cr_assert(zero(int, rename(scratch_path("q"), scratch_path("moved"))));
	cr_expect(eq(int, dmem_pool_attach(scratch_uri("p", NULL), NULL, &pool), DMEM_E_DEVICE));
	cr_expect(scratch_says(scratch_path("q")) && scratch_says("?device="), "%s", dmem_last_error());
	snprintf(keys, sizeof(keys), "device=%s", scratch_uri("moved", NULL));
	cr_assert(zero(int, dmem_pool_attach(scratch_uri("p", keys), NULL, &pool)), "%s", dmem_last_error());
	expect_far_block(pool);
}

Test(devices, a_device_that_moved_is_named_by_the_options)
{
	struct dmem_attach_options options = DMEM_ATTACH_OPTIONS_DEFAULT;
	const char *devices[] = {scratch_uri("nothing", NULL), scratch_uri("moved", NULL), NULL};
	struct dmem_pool *pool;

	make_pool_of_two();
	cr_assert(zero(int, rename(scratch_path("q"), scratch_path("moved"))));
	options.devices = devices;
	cr_assert(zero(int, dmem_pool_attach(scratch_uri("p", NULL), &options, &pool)), "%s", dmem_last_error());
	expect_far_block(pool);
}

Test(devices, the_device_of_another_pool_is_refused)
{
	struct dmem_pool *pool;
	struct dmem_pool *other;

	make_pool_of_two();
	other = scratch_pool("o", "size=16M&members=16");
	cr_assert(zero(int, dmem_pool_add(other, scratch_uri("oq", "size=64M"))));
	cr_assert(zero(int, rename(scratch_path("oq"), scratch_path("q"))));
	cr_expect(eq(int, dmem_pool_attach(scratch_uri("p", NULL), NULL, &pool), DMEM_E_DEVICE));
	cr_expect(scratch_says(scratch_path("q")), "%s", dmem_last_error());
}

Test(devices, a_further_device_is_no_way_to_attach_the_pool)
{
	struct dmem_pool *pool;

	make_pool_of_two();
	cr_expect(eq(int, dmem_pool_attach(scratch_uri("q", NULL), NULL, &pool), DMEM_E_DEVICE));
	cr_expect(scratch_says("first device"), "%s", dmem_last_error());
}

Test(devices, a_missing_device_is_named_and_the_pool_is_left_as_it_was)
{
	struct dmem_pool *pool;

	make_pool_of_two();
	cr_assert(zero(int, rename(scratch_path("q"), scratch_path("away"))));
	cr_expect(eq(int, dmem_pool_attach(scratch_uri("p", NULL), NULL, &pool), DMEM_E_DEVICE));
	cr_assert(zero(int, rename(scratch_path("away"), scratch_path("q"))));
	expect_far_block(scratch_attach("p"));
}

Test(devices, a_truncated_device_is_refused_as_lost)
{
	struct dmem_pool *pool;

	make_pool_of_two();
	cr_assert(zero(int, truncate(scratch_path("q"), 8 * DM_MIB)));
	cr_expect(eq(int, dmem_pool_attach(scratch_uri("p", NULL), NULL, &pool), DMEM_E_LOST));
	cr_expect(scratch_says(scratch_path("q")) && scratch_says("truncated"), "%s", dmem_last_error());
}

Test(devices, adding_refuses_what_cannot_be_added)
{
	struct dmem_pool *pool = scratch_pool("p", "size=16M&members=16&span=128M");

	cr_expect(eq(int, dmem_pool_add(pool, scratch_uri("q", NULL)), DMEM_E_OPTION), "no size");
	cr_expect(eq(int, dmem_pool_add(pool, scratch_uri("q", "size=1G")), DMEM_E_OPTION), "beyond the span");
	cr_expect(scratch_says("span"), "%s", dmem_last_error());
	cr_expect(eq(int, dmem_pool_add(pool, scratch_uri("q", "size=2M")), DMEM_E_TOO_SMALL));
	cr_expect(eq(int, dmem_pool_add(pool, scratch_uri("p", "size=64M")), -EEXIST));
	cr_expect(eq(int, dmem_pool_add(pool, "carrier-pigeon:/x"), DMEM_E_URI));
	cr_expect(eq(int, dmem_pool_add(pool, NULL), -EINVAL));
	cr_expect(ne(int, access(scratch_path("q"), F_OK), 0), "a refused device left a file");
	cr_expect(zero(int, dmem_pool_validate(pool, NULL, NULL)));
}

Test(devices, destroying_a_pool_removes_all_its_devices)
{
	make_pool_of_two();
	cr_assert(zero(int, dmem_pool_destroy(scratch_uri("p", NULL))), "%s", dmem_last_error());
	cr_expect(ne(int, access(scratch_path("p"), F_OK), 0));
	cr_expect(ne(int, access(scratch_path("q"), F_OK), 0));
}
