/* SPDX-License-Identifier: Apache-2.0 */
/* test_bad_input.c: what can be wrong about a URI, a file or an option: the code, the thing's name, the cure, nothing lost. */
#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <errno.h>
#include <sched.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/arith.h"
#include "lib/child.h"
#include "lib/scratch.h"

#define KEYS    "size=8M&members=16"
#define NO_ROOT 77

TestSuite(bad_input, .init = scratch_begin, .fini = scratch_end);

static int create(const char *uri)
{
	return dmem_pool_create(uri, NULL);
}

static int attach(const char *uri)
{
	struct dmem_pool *pool;

	return dmem_pool_attach(uri, NULL, &pool);
}

Test(bad_input, an_unknown_scheme_is_refused_with_those_there_are)
{
	cr_expect(eq(int, create("carrier-pigeon:/x"), DMEM_E_URI));
	cr_expect(scratch_says("file"), "%s", dmem_last_error());
	cr_expect(eq(int, attach("/dev/shm/x"), DMEM_E_URI));
	cr_expect(eq(int, dmem_pool_destroy("x"), DMEM_E_URI));
}

Test(bad_input, an_unknown_key_is_refused_with_those_there_are)
{
	cr_expect(eq(int, create(scratch_uri("p", "sise=8M")), DMEM_E_URI));
	cr_expect(scratch_says("sise") && scratch_says("size"), "%s", dmem_last_error());
	cr_expect(eq(int, attach(scratch_uri("p", "colour=red")), DMEM_E_URI));
}

Test(bad_input, a_value_that_is_not_understood_is_named)
{
	cr_expect(eq(int, create(scratch_uri("p", "size=big")), DMEM_E_OPTION));
	cr_expect(scratch_says("big"), "%s", dmem_last_error());
	cr_expect(eq(int, create(scratch_uri("p", "size=8M&members=5000")), DMEM_E_OPTION));
	cr_expect(eq(int, create(scratch_uri("p", "size=8M&base=0x1000")), DMEM_E_OPTION));
	cr_expect(ne(int, access(scratch_path("p"), F_OK), 0));
}

Test(bad_input, null_arguments_are_refused)
{
	struct dmem_pool *pool;

	cr_expect(eq(int, create(NULL), -EINVAL));
	cr_expect(eq(int, dmem_pool_attach(NULL, NULL, &pool), -EINVAL));
	cr_expect(eq(int, dmem_pool_attach("file:/x", NULL, NULL), -EINVAL));
	cr_expect(eq(int, dmem_pool_destroy(NULL), -EINVAL));
	cr_expect(eq(int, dmem_pool_detach(NULL), -EINVAL));
	cr_expect(eq(int, dmem_pool_validate(NULL, NULL, NULL), -EINVAL));
	cr_expect(eq(int, dmem_pool_grow(NULL, DM_GIB), -EINVAL));
	cr_expect(eq(int, dmem_pool_add(NULL, "file:/x"), -EINVAL));
}

Test(bad_input, options_without_their_size_are_refused)
{
	struct dmem_create_options for_create = {.size_bytes = 8 * DM_MIB};
	struct dmem_attach_options for_attach = {.require = "file"};
	struct dmem_pool_info info = {.struct_bytes = 0};
	struct dmem_pool *pool;

	cr_expect(eq(int, dmem_pool_create(scratch_uri("p", NULL), &for_create), DMEM_E_OPTION));
	cr_expect(scratch_says("DMEM_CREATE_OPTIONS_DEFAULT"), "%s", dmem_last_error());
	pool = scratch_pool("p", KEYS);
	cr_expect(eq(int, dmem_pool_attach(scratch_uri("p", NULL), &for_attach, &pool), DMEM_E_OPTION));
	cr_expect(eq(int, dmem_pool_info(pool, &info), DMEM_E_OPTION));
	cr_expect(eq(int, dmem_pool_info(pool, NULL), DMEM_E_OPTION));
}

Test(bad_input, a_file_that_is_not_there_is_named_with_the_command_that_makes_it)
{
	cr_expect(eq(int, attach(scratch_uri("nobody", NULL)), -ENOENT));
	cr_expect(scratch_says(scratch_path("nobody")) && scratch_says("dmemctl create"), "%s", dmem_last_error());
	cr_expect(eq(int, dmem_pool_destroy(scratch_uri("nobody", NULL)), -ENOENT));
	cr_expect(eq(int, create(scratch_uri("no/folder", "size=8M")), -ENOENT));
}

Test(bad_input, a_name_that_is_taken_is_left_alone)
{
	char text[8] = "";

	scratch_write("p", 0, "precious", 8);
	cr_expect(eq(int, create(scratch_uri("p", KEYS)), -EEXIST));
	scratch_read("p", 0, text, 8);
	cr_expect(zero(int, memcmp(text, "precious", 8)));
}

Test(bad_input, sizes_that_cannot_be_are_refused)
{
	struct dmem_create_options options = DMEM_CREATE_OPTIONS_DEFAULT;

	options.size_bytes = UINT64_MAX;
	cr_expect(eq(int, dmem_pool_create(scratch_uri("p", NULL), &options), DMEM_E_OPTION));
	cr_expect(scratch_says("52T"), "%s", dmem_last_error());
	options.size_bytes = 1;
	cr_expect(eq(int, dmem_pool_create(scratch_uri("p", NULL), &options), DMEM_E_TOO_SMALL));
	cr_expect(scratch_says("8M"), "%s", dmem_last_error());
	options.size_bytes = 8 * DM_MIB;
	options.span_bytes = UINT64_MAX;
	cr_expect(eq(int, dmem_pool_create(scratch_uri("p", NULL), &options), DMEM_E_OPTION));
	cr_expect(eq(int, create(scratch_uri("p", "size=0")), DMEM_E_OPTION));
	cr_expect(eq(int, create(scratch_uri("p", "size=99999999T")), DMEM_E_OPTION));
	cr_expect(eq(int, create(scratch_uri("p", "size=8M&members=4096")), DMEM_E_TOO_SMALL), "no room beside the tables");
	cr_expect(scratch_says("members"), "%s", dmem_last_error());
	cr_expect(ne(int, access(scratch_path("p"), F_OK), 0));
}

Test(bad_input, the_smallest_pool_works)
{
	struct dmem_pool *pool = scratch_pool("p", KEYS);
	void *block = dmem_alloc_ex(pool, 100, NULL);

	cr_expect(ne(ptr, block, NULL));
	dmem_free(block);
	cr_expect(zero(int, dmem_pool_validate(pool, NULL, NULL)));
}

Test(bad_input, windows_that_cannot_be_are_refused)
{
	struct dmem_create_options options = DMEM_CREATE_OPTIONS_DEFAULT;

	options.size_bytes = 8 * DM_MIB;
	options.base = UINT64_C(1) << 47;
	cr_expect(eq(int, dmem_pool_create(scratch_uri("p", NULL), &options), DMEM_E_OPTION));
	options.base = UINT64_MAX & ~(2 * DM_MIB - 1);
	cr_expect(eq(int, dmem_pool_create(scratch_uri("p", NULL), &options), DMEM_E_OPTION));
	options.base = 4 * DM_MIB;
	cr_expect(eq(int, dmem_pool_create(scratch_uri("p", NULL), &options), DMEM_E_OPTION));
	options.base = 12345;
	cr_expect(eq(int, dmem_pool_create(scratch_uri("p", NULL), &options), DMEM_E_OPTION));
}

static int as_nobody(void *name)
{
	struct dmem_pool *pool;
	int rc;

	if (setresuid(54321, 54321, 54321) != 0)
		return NO_ROOT;
	rc = dmem_pool_attach(scratch_uri(name, NULL), NULL, &pool);
	if (rc != -EACCES || !scratch_says(scratch_path(name)) || !scratch_says("chmod"))
		return 1;
	rc = create(scratch_uri("mine", KEYS));
	return rc == -EACCES && scratch_says("permission") ? 0 : 2;
}

Test(bad_input, without_permission_the_user_and_the_cure_are_named)
{
	if (geteuid() != 0)
		cr_skip_test("only root can be somebody else");
	scratch_create("p", KEYS);
	cr_assert(zero(int, chmod(scratch_path("."), 0755)));
	cr_expect(zero(int, child_run(as_nobody, "p")));
}

Test(bad_input, a_file_that_may_only_be_read_is_refused)
{
	if (geteuid() != 0)
		cr_skip_test("only root can be somebody else");
	scratch_create("p", KEYS);
	cr_assert(zero(int, chmod(scratch_path("."), 0755)));
	cr_assert(zero(int, chmod(scratch_path("p"), 0444)));
	cr_expect(zero(int, child_run(as_nobody, "p")));
}

static int on_read_only_mount(void *unused)
{
	const char *folder = scratch_path("mount");

	(void)unused;
	if (unshare(CLONE_NEWNS) != 0 || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) != 0 ||
	    mount("none", folder, "tmpfs", 0, "size=64m") != 0)
		return NO_ROOT;
	scratch_create("mount/p", KEYS);
	if (mount(NULL, folder, NULL, MS_REMOUNT | MS_RDONLY, NULL) != 0)
		return NO_ROOT;
	if (attach(scratch_uri("mount/p", NULL)) != -EROFS || !scratch_says("read-only"))
		return 1;
	return create(scratch_uri("mount/q", KEYS)) == -EROFS ? 0 : 2;
}

Test(bad_input, a_read_only_file_system_is_named)
{
	int ended;

	cr_assert(zero(int, mkdir(scratch_path("mount"), 0700)));
	ended = child_run(on_read_only_mount, NULL);
	if (ended == NO_ROOT)
		cr_skip_test("a mount namespace of its own is not allowed here");
	cr_expect(zero(int, ended));
}

Test(bad_input, destroying_a_pool_in_use_is_refused)
{
	struct dmem_pool *pool = scratch_pool("p", KEYS);

	cr_expect(eq(int, dmem_pool_destroy(scratch_uri("p", NULL)), DMEM_E_BUSY));
	cr_expect(scratch_says("detach"), "%s", dmem_last_error());
	cr_expect(zero(int, access(scratch_path("p"), F_OK)));
	cr_expect(zero(int, dmem_pool_detach(pool)));
	cr_expect(zero(int, dmem_pool_destroy(scratch_uri("p", NULL))), "%s", dmem_last_error());
}
