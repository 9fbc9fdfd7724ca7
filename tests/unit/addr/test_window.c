/* SPDX-License-Identifier: Apache-2.0 */
/* test_window.c: what stands in a window's way, several pools, and the same pool several times. */
#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>

#include "addr/window.h"
#include "base/arith.h"
#include "lib/child.h"
#include "lib/scratch.h"

#define KEYS "size=8M&members=16"

TestSuite(window, .init = scratch_begin, .fini = scratch_end);

static int attach(const char *name, struct dmem_pool **pool)
{
	return dmem_pool_attach(scratch_uri(name, NULL), NULL, pool);
}

static uint64_t base_of(const char *name)
{
	struct dmem_pool_info info = {.struct_bytes = sizeof(info)};
	struct dmem_pool *pool = scratch_attach(name);

	cr_assert(zero(int, dmem_pool_info(pool, &info)));
	cr_assert(zero(int, dmem_pool_detach(pool)));
	return info.base;
}

Test(window, a_mapping_of_a_file_in_the_way_is_named_and_left_alone)
{
	struct dmem_pool *pool = (struct dmem_pool *)1;
	uint64_t base;
	char *taken;
	int fd;

	scratch_create("p", KEYS);
	scratch_write("obstacle", 0, "here", 4);
	fd = open(scratch_path("obstacle"), O_RDWR);
	base = base_of("p");
	taken = mmap((void *)(base + DM_GIB), 4096, PROT_READ, MAP_SHARED | MAP_FIXED_NOREPLACE, fd, 0);
	cr_assert(eq(ptr, taken, (void *)(base + DM_GIB)));
	cr_expect(eq(int, attach("p", &pool), DMEM_E_WINDOW));
	cr_expect(scratch_says(scratch_path("obstacle")) && scratch_says("?base="), "%s", dmem_last_error());
	cr_expect(eq(ptr, pool, (struct dmem_pool *)1), "written on failure");
	cr_expect(zero(int, memcmp(taken, "here", 4)));
	munmap(taken, 4096);
	cr_expect(zero(int, attach("p", &pool)), "%s", dmem_last_error());
}

Test(window, an_anonymous_mapping_in_the_way_is_named_by_its_addresses)
{
	struct dmem_pool *pool;
	char expected[80];
	uint64_t base;
	void *taken;

	scratch_create("p", KEYS);
	base = base_of("p");
	taken = mmap((void *)base, DM_MIB, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0);
	cr_assert(eq(ptr, taken, (void *)base));
	snprintf(expected, sizeof(expected), "anonymous mapping at 0x%llx-0x%llx", (unsigned long long)base,
	         (unsigned long long)(base + DM_MIB));
	cr_expect(eq(int, attach("p", &pool), DMEM_E_WINDOW));
	cr_expect(scratch_says(expected), "%s", dmem_last_error());
}

#ifndef __SANITIZE_ADDRESS__ /* which needs more address space than the limit */
static int attach_with_little_room(void *unused)
{
	struct rlimit limit = {.rlim_cur = 16 * DM_GIB, .rlim_max = 16 * DM_GIB};
	struct dmem_pool *pool;
	int rc;

	(void)unused;
	if (setrlimit(RLIMIT_AS, &limit) != 0)
		return 77;
	rc = attach("p", &pool);
	return rc == -ENOMEM && scratch_says("ulimit -v") && scratch_says("span") ? 0 : 1;
}

Test(window, a_limit_on_address_space_is_named_with_the_cure)
{
	scratch_create("p", KEYS);
	cr_expect(zero(int, child_run(attach_with_little_room, NULL)));
}
#endif

Test(window, two_pools_are_attached_side_by_side)
{
	struct dmem_pool *a = scratch_pool("a", KEYS);
	struct dmem_pool *b = scratch_pool("b", KEYS);
	struct dmem_location location = {.struct_bytes = sizeof(location)};
	char *of_a = dmem_alloc_ex(a, 100, NULL);
	char *of_b = dmem_alloc_ex(b, 100, NULL);

	cr_assert(of_a != NULL && of_b != NULL, "%s", dmem_last_error());
	cr_assert(zero(int, dmem_locate(of_a, &location)));
	cr_expect(eq(ptr, location.pool, a));
	cr_assert(zero(int, dmem_locate(of_b, &location)));
	cr_expect(eq(ptr, location.pool, b));
	cr_expect(eq(int, dmem_root_set(a, "x", of_b), DMEM_E_FOREIGN));
	cr_expect(zero(int, dmem_pool_detach(a)));
	memset(of_b, 1, 100);
	dmem_free(of_b);
	cr_expect(zero(int, dmem_pool_validate(b, NULL, NULL)));
}

Test(window, the_same_pool_gives_the_same_handle_and_counts)
{
	struct dmem_pool *first = scratch_pool("p", KEYS);
	struct dmem_pool *second;
	struct dmem_pool_info info = {.struct_bytes = sizeof(info)};

	cr_assert(zero(int, attach("p", &second)));
	cr_expect(eq(ptr, first, second));
	cr_assert(zero(int, dmem_pool_info(first, &info)));
	cr_expect(eq(u32, info.members, 1));
	cr_expect(zero(int, dmem_pool_detach(first)));
	cr_expect(ne(ptr, dmem_alloc_ex(second, 8, NULL), NULL), "one of two detaches detached it");
	cr_expect(zero(int, dmem_pool_detach(second)));
	cr_expect(eq(int, dmem_pool_detach(second), DMEM_E_DETACHED));
	cr_expect(zero(ptr, dmem_alloc_ex(second, 8, NULL)));
}

Test(window, one_process_can_attach_64_pools_and_no_more)
{
	struct dmem_pool *pools[65];
	char name[16];

	for (unsigned i = 0; i < 65; i++) {
		snprintf(name, sizeof(name), "p%u", i);
		scratch_create(name, KEYS);
	}
	for (unsigned i = 0; i < 64; i++) {
		snprintf(name, sizeof(name), "p%u", i);
		cr_assert(zero(int, attach(name, &pools[i])), "%u: %s", i, dmem_last_error());
	}
	cr_expect(eq(int, attach("p64", &pools[64]), -EMFILE));
	cr_expect(scratch_says("64") && scratch_says("detach"), "%s", dmem_last_error());
	cr_expect(zero(int, dmem_pool_detach(pools[7])));
	cr_expect(zero(int, attach("p64", &pools[64])), "%s", dmem_last_error());
	cr_expect(ne(ptr, dmem_alloc_ex(pools[64], 8, NULL), NULL));
}

Test(window, a_pool_is_attached_and_detached_many_times_at_the_same_address)
{
	char *block = NULL;

	scratch_create("p", KEYS);
	for (unsigned i = 0; i < 100; i++) {
		struct dmem_pool *pool = scratch_attach("p");

		if (block == NULL)
			block = dmem_alloc_ex(pool, 64, NULL);
		else
			cr_assert(eq(chr, *block, (char)(i - 1)));
		*block = (char)i;
		cr_assert(zero(int, dmem_pool_detach(pool)));
	}
}

Test(window, require_refuses_another_transport)
{
	struct dmem_attach_options options = DMEM_ATTACH_OPTIONS_DEFAULT;
	struct dmem_pool *pool;

	scratch_create("p", KEYS);
	options.require = "rdma";
	cr_expect(eq(int, dmem_pool_attach(scratch_uri("p", NULL), &options, &pool), DMEM_E_OPTION));
	cr_expect(scratch_says("rdma"), "%s", dmem_last_error());
	cr_expect(eq(int, dmem_pool_attach(scratch_uri("p", "require=dax"), NULL, &pool), DMEM_E_OPTION));
	options.require = "file";
	cr_expect(zero(int, dmem_pool_attach(scratch_uri("p", NULL), &options, &pool)));
}
