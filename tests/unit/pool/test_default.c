/* SPDX-License-Identifier: Apache-2.0 */
/* test_default.c: the pool of the malloc-shaped calls. */
#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <errno.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include "lib/child.h"
#include "lib/scratch.h"

TestSuite(default_pool, .init = scratch_begin, .fini = scratch_end);

Test(default_pool, the_variable_names_it)
{
	struct dmem_location location = {.struct_bytes = sizeof(location)};
	struct dmem_pool *pool;
	void *block;

	scratch_create("mine", "size=16M&members=16");
	setenv("DMEM_POOL", scratch_uri("mine", NULL), 1);
	block = dmem_alloc_shared(100);
	cr_assert(ne(ptr, block, NULL), "%s", dmem_last_error());
	pool = dmem_default_pool();
	cr_assert(zero(int, dmem_locate(block, &location)));
	cr_expect(eq(ptr, location.pool, pool));
	cr_expect(eq(ptr, scratch_attach("mine"), pool));
	dmem_free(block);
}

Test(default_pool, every_tier_of_it_works)
{
	void *blocks[4];

	scratch_create("mine", "size=64M&members=16");
	setenv("DMEM_POOL", scratch_uri("mine", NULL), 1);
	blocks[0] = dmem_alloc_shared(1000);
	blocks[1] = dmem_alloc_pool(1000);
	blocks[2] = dmem_alloc_local(1000);
	blocks[3] = dmem_alloc(1000);
	for (unsigned i = 0; i < 4; i++) {
		cr_assert(ne(ptr, blocks[i], NULL), "%u: %s", i, dmem_last_error());
		cr_expect(ge(sz, dmem_usable_size(blocks[i]), 1000));
		memset(blocks[i], (int)i, 1000);
		cr_expect(eq(int, dmem_is_pool_private(blocks[i]), i == 1));
		blocks[i] = dmem_realloc(blocks[i], 50000);
		cr_assert(ne(ptr, blocks[i], NULL));
		cr_expect(eq(int, ((char *)blocks[i])[999], (int)i));
		dmem_free(blocks[i]);
	}
}

Test(default_pool, a_name_of_nothing_says_why_and_is_tried_again)
{
	setenv("DMEM_POOL", scratch_uri("nothing", NULL), 1);
	errno = 0;
	cr_expect(zero(ptr, dmem_default_pool()));
	cr_expect(eq(int, errno, ENOENT));
	cr_expect(scratch_says(scratch_path("nothing")), "%s", dmem_last_error());
	errno = 0;
	cr_expect(zero(ptr, dmem_alloc_shared(10)));
	cr_expect(eq(int, errno, ENOENT));
	cr_expect(ne(int, access(scratch_path("nothing"), F_OK), 0), "a pool that was named must not be made");
	scratch_create("nothing", "size=16M&members=16");
	cr_expect(ne(ptr, dmem_alloc_shared(10), NULL), "%s", dmem_last_error());
}

Test(default_pool, nonsense_in_the_variable_is_refused)
{
	setenv("DMEM_POOL", "what?", 1);
	errno = 0;
	cr_expect(zero(ptr, dmem_alloc_shared(10)));
	cr_expect(eq(int, errno, EINVAL));
	cr_expect(scratch_says("what?") || scratch_says("what"), "%s", dmem_last_error());
}

Test(default_pool, after_its_detach_it_is_attached_again)
{
	struct dmem_pool *first;

	scratch_create("mine", "size=16M&members=16");
	setenv("DMEM_POOL", scratch_uri("mine", NULL), 1);
	first = dmem_default_pool();
	cr_assert(zero(int, dmem_pool_detach(first)));
	cr_expect(ne(ptr, dmem_alloc_shared(10), NULL), "%s", dmem_last_error());
	cr_expect(ne(ptr, dmem_default_pool(), first));
}

/* With a /dev/shm of its own, so that the user's pool is not touched. */
static int without_variable(void *unused)
{
	struct stat status;
	char path[64];

	(void)unused;
	if (unshare(CLONE_NEWNS) != 0 || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) != 0 ||
	    mount("none", "/dev/shm", "tmpfs", 0, "size=64m") != 0)
		return 77;
	unsetenv("DMEM_REGISTRY");
	scratch_clear_window();
	snprintf(path, sizeof(path), "/dev/shm/dmem-%u", (unsigned)geteuid());
	if (dmem_alloc_shared(100) == NULL)
		return 1;
	return stat(path, &status) == 0 && (status.st_mode & 0777) == 0600 ? 0 : 2;
}

Test(default_pool, without_the_variable_it_is_made_for_its_owner_only)
{
	int ended = child_run(without_variable, NULL);

	if (ended == 77)
		cr_skip_test("a mount namespace of its own is not allowed here");
	cr_expect(zero(int, ended));
}
