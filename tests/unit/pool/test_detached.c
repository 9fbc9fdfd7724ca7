/* SPDX-License-Identifier: Apache-2.0 */
/* test_detached.c: every call on a handle, or on an address, of a pool that was detached. */
#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <errno.h>
#include <string.h>

#include "base/arith.h"
#include "inspect.h"
#include "lib/scratch.h"

static struct dmem_pool *pool;
static char *block;
static char *large;

static void set_up(void)
{
	scratch_begin();
	pool = scratch_pool("p", "size=16M&members=16");
	block = dmem_alloc_ex(pool, 100, NULL);
	large = dmem_alloc_ex(pool, 3 * DM_MIB, NULL);
	cr_assert(block != NULL && large != NULL);
	cr_assert(zero(int, dmem_pool_detach(pool)));
}

TestSuite(detached, .init = set_up, .fini = scratch_end);

Test(detached, calls_on_the_handle_say_so)
{
	struct dmem_pool_info info = {.struct_bytes = sizeof(info)};

	cr_expect(eq(int, dmem_pool_detach(pool), DMEM_E_DETACHED));
	cr_expect(eq(int, dmem_pool_info(pool, &info), DMEM_E_DETACHED));
	cr_expect(eq(int, dmem_pool_validate(pool, NULL, NULL), DMEM_E_DETACHED));
	cr_expect(eq(int, dmem_pool_grow(pool, DM_GIB), DMEM_E_DETACHED));
	cr_expect(eq(int, dmem_pool_add(pool, scratch_uri("q", "size=8M")), DMEM_E_DETACHED));
	cr_expect(eq(int, dmem_root_set(pool, "x", block), DMEM_E_DETACHED));
	cr_expect(eq(int, dmem_publish_all(pool), DMEM_E_DETACHED));
	cr_expect(eq(int, dmem_refresh_all(pool), DMEM_E_DETACHED));
	cr_expect(scratch_says("attach it again"), "%s", dmem_last_error());
}

Test(detached, calls_that_give_pointers_set_ebadf)
{
	struct dmem_alloc_options private = DMEM_ALLOC_OPTIONS_DEFAULT;

	private.tier = DMEM_TIER_POOL;
	errno = 0;
	cr_expect(zero(ptr, dmem_root_get(pool, "x")));
	cr_expect(eq(int, errno, EBADF));
	errno = 0;
	cr_expect(zero(ptr, dmem_alloc_ex(pool, 100, NULL)));
	cr_expect(eq(int, errno, EBADF));
	errno = 0;
	cr_expect(zero(ptr, dmem_alloc_ex(pool, 100, &private)));
	cr_expect(eq(int, errno, EBADF));
}

Test(detached, calls_on_its_addresses_refuse_them)
{
	struct dmem_location location = {.struct_bytes = sizeof(location)};

	dmem_free(block);
	dmem_free(large);
	cr_expect(zero(sz, dmem_usable_size(block)));
	cr_expect(zero(sz, dmem_usable_size(large)));
	cr_expect(eq(int, dmem_locate(block, &location), DMEM_E_FOREIGN));
	cr_expect(eq(int, dmem_publish(block, 100), DMEM_E_FOREIGN));
	cr_expect(eq(int, dmem_refresh(block, 100), DMEM_E_FOREIGN));
	cr_expect(eq(int, dmem_handoff(block, 100), DMEM_E_FOREIGN));
	cr_expect(zero(int, dmem_is_pool_private(block)));
	errno = 0;
	cr_expect(zero(ptr, dmem_realloc(block, 200)));
	cr_expect(eq(int, errno, EINVAL));
}

static int none(void *context, const struct dm_inspect_extent *extent)
{
	(void)extent;
	++*(int *)context;
	return 0;
}

Test(detached, looking_inside_is_refused)
{
	int seen = 0;

	cr_expect(eq(int, dm_inspect_extents(pool, none, &seen), DMEM_E_DETACHED));
	cr_expect(zero(int, seen));
}

Test(detached, attaching_again_gives_another_handle_and_the_blocks)
{
	struct dmem_pool *again = scratch_attach("p");

	cr_expect(ne(ptr, again, pool));
	cr_expect(eq(int, dmem_root_set(pool, "x", block), DMEM_E_DETACHED), "the old handle came to life");
	cr_expect(ge(sz, dmem_usable_size(block), 100));
	dmem_free(block);
	dmem_free(large);
	cr_expect(zero(int, dmem_pool_validate(again, NULL, NULL)));
}
