/* SPDX-License-Identifier: Apache-2.0 */
/* test_roots.c: names of objects. */
#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/arith.h"
#include "inspect.h"
#include "lib/child.h"
#include "lib/scratch.h"

static struct dmem_pool *pool;
static char *block;

static void set_up(void)
{
	scratch_begin();
	pool = scratch_pool("p", "size=16M&members=16");
	block = dmem_alloc_ex(pool, 4096, NULL);
	cr_assert(ne(ptr, block, NULL));
}

TestSuite(roots, .init = set_up, .fini = scratch_end);

Test(roots, a_name_means_its_latest_object)
{
	cr_expect(zero(int, dmem_root_set(pool, "x", block)));
	cr_expect(eq(ptr, dmem_root_get(pool, "x"), block));
	cr_expect(zero(int, dmem_root_set(pool, "x", block + 64)));
	cr_expect(eq(ptr, dmem_root_get(pool, "x"), block + 64));
	cr_expect(zero(int, dmem_root_set(pool, "x", NULL)));
	errno = 0;
	cr_expect(zero(ptr, dmem_root_get(pool, "x")));
	cr_expect(eq(int, errno, ENOENT));
}

Test(roots, removing_what_is_not_there_says_so)
{
	cr_expect(eq(int, dmem_root_set(pool, "nobody", NULL), -ENOENT));
	cr_expect(scratch_says("nobody"), "%s", dmem_last_error());
}

Test(roots, names_that_are_empty_or_too_long_are_refused)
{
	char name[65];

	memset(name, 'n', 64);
	name[64] = 0;
	cr_expect(eq(int, dmem_root_set(pool, "", block), DMEM_E_NAME));
	cr_expect(eq(int, dmem_root_set(pool, NULL, block), DMEM_E_NAME));
	cr_expect(eq(int, dmem_root_set(pool, name, block), DMEM_E_NAME));
	cr_expect(scratch_says("63"), "%s", dmem_last_error());
	errno = 0;
	cr_expect(zero(ptr, dmem_root_get(pool, name)));
	cr_expect(eq(int, errno, EINVAL));
	errno = 0;
	cr_expect(zero(ptr, dmem_root_get(pool, "")));
	cr_expect(eq(int, errno, EINVAL));
	name[63] = 0;
	cr_expect(zero(int, dmem_root_set(pool, name, block)), "63 bytes are allowed");
	cr_expect(eq(ptr, dmem_root_get(pool, name), block));
}

Test(roots, names_of_63_bytes_that_differ_at_the_end_are_two)
{
	char name[64];

	memset(name, 'n', 63);
	name[63] = 0;
	cr_expect(zero(int, dmem_root_set(pool, name, block)));
	name[62] = 'm';
	cr_expect(zero(ptr, dmem_root_get(pool, name)));
}

Test(roots, objects_outside_the_pool_are_refused)
{
	struct dmem_pool_info info = {.struct_bytes = sizeof(info)};
	int local;

	cr_assert(zero(int, dmem_pool_info(pool, &info)));
	cr_expect(eq(int, dmem_root_set(pool, "x", &local), DMEM_E_FOREIGN));
	cr_expect(eq(int, dmem_root_set(pool, "x", (void *)info.base), DMEM_E_FOREIGN), "the superblock is no object");
	cr_expect(eq(int, dmem_root_set(pool, "x", (void *)(info.base + info.span_bytes)), DMEM_E_FOREIGN));
	cr_expect(zero(ptr, dmem_root_get(pool, "x")));
}

Test(roots, the_directory_is_full_exactly_at_its_limit)
{
	struct dmem_pool *big = scratch_pool("big", "size=1G&members=16");
	struct dmem_pool_info info = {.struct_bytes = sizeof(info)};
	void *object = dmem_alloc_ex(big, 64, NULL);
	unsigned stored = 0;
	char name[32];
	int rc = 0;

	for (unsigned i = 0; i < 5000 && rc == 0; i++) {
		snprintf(name, sizeof(name), "root-%u", i);
		rc = dmem_root_set(big, name, object);
		stored += rc == 0;
	}
	cr_expect(eq(int, rc, -ENOSPC));
	cr_expect(eq(u32, stored, 4096));
	cr_expect(scratch_says("4096") && scratch_says("remove some"), "%s", dmem_last_error());
	cr_assert(zero(int, dmem_pool_info(big, &info)));
	cr_expect(eq(u32, info.roots, 4096));
	cr_expect(eq(ptr, dmem_root_get(big, "root-17"), object));
	cr_expect(zero(int, dmem_root_set(big, "root-17", NULL)));
	cr_expect(zero(int, dmem_root_set(big, "another", object)), "a removed name makes room");
	cr_expect(zero(int, dmem_pool_validate(big, NULL, NULL)));
}

Test(roots, names_are_found_after_others_before_them_are_removed)
{
	char name[32];

	for (unsigned i = 0; i < 128; i++) {
		snprintf(name, sizeof(name), "n%u", i);
		cr_assert(zero(int, dmem_root_set(pool, name, block + i)));
	}
	for (unsigned i = 0; i < 128; i += 2) {
		snprintf(name, sizeof(name), "n%u", i);
		cr_assert(zero(int, dmem_root_set(pool, name, NULL)));
	}
	for (unsigned i = 1; i < 128; i += 2) {
		snprintf(name, sizeof(name), "n%u", i);
		cr_expect(eq(ptr, dmem_root_get(pool, name), block + i));
	}
}

static int replace_often(void *unused)
{
	struct dmem_pool *own = scratch_attach("p");
	char name[32];

	(void)unused;
	for (unsigned i = 0; i < 2000; i++) {
		snprintf(name, sizeof(name), "changing-%u", i % 7);
		if (dmem_root_set(own, name, i % 3 ? block + i : NULL) != 0 && i % 3)
			return 1;
	}
	return 0;
}

Test(roots, a_reader_never_sees_a_name_with_the_object_of_another)
{
	pid_t writer;

	cr_assert(zero(int, dmem_root_set(pool, "constant", block + 1)));
	writer = child_start(replace_often, NULL);
	for (unsigned i = 0; i < 20000; i++)
		cr_assert(eq(ptr, dmem_root_get(pool, "constant"), block + 1));
	cr_expect(zero(int, child_wait(writer)));
	cr_expect(zero(int, dmem_pool_validate(pool, NULL, NULL)));
}
