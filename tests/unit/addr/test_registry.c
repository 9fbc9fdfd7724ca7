/* SPDX-License-Identifier: Apache-2.0 */
/* test_registry.c: which window a new pool gets. */
#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "addr/registry.h"
#include "addr/window.h"
#include "base/arith.h"
#include "lib/child.h"
#include "lib/scratch.h"

#define SPAN (64 * DM_GIB)

TestSuite(registry, .init = scratch_begin_bare, .fini = scratch_end);

static int claim(uint8_t number, uint64_t wanted, uint64_t span, uint64_t *base)
{
	uint8_t uuid[16] = {number};
	char name[32];

	snprintf(name, sizeof(name), "claimed-%u", number);
	return dm_registry_claim(wanted, span, uuid, scratch_uri(name, NULL), base);
}

/* Lines of files that are not there are dropped when their creator is gone; these tests' creator runs. */
Test(registry, ranges_are_given_from_the_lowest_in_steps_of_the_span)
{
	uint64_t base = 0;

	for (uint8_t i = 0; i < 5; i++) {
		cr_assert(zero(int, claim(i, 0, SPAN, &base)), "%s", dmem_last_error());
		cr_expect(eq(u64, base, DM_WINDOW_FIRST + i * SPAN));
	}
}

Test(registry, a_larger_span_starts_at_a_multiple_of_itself)
{
	uint64_t base = 0;

	cr_assert(zero(int, claim(1, 0, SPAN, &base)));
	cr_assert(zero(int, claim(2, 0, DM_TIB, &base)));
	cr_expect(eq(u64, base, DM_WINDOW_FIRST + DM_TIB));
	cr_assert(zero(int, claim(3, 0, SPAN, &base)));
	cr_expect(eq(u64, base, DM_WINDOW_FIRST + SPAN));
}

Test(registry, an_explicit_base_is_given_exactly)
{
	uint64_t base = 0;

	cr_assert(zero(int, claim(1, UINT64_C(0x300000200000), SPAN, &base)));
	cr_expect(eq(u64, base, UINT64_C(0x300000200000)));
}

Test(registry, an_overlap_is_refused_and_named)
{
	uint64_t base = 0;

	cr_assert(zero(int, claim(1, DM_WINDOW_FIRST, SPAN, &base)));
	base = 7;
	cr_expect(eq(int, claim(2, DM_WINDOW_FIRST + SPAN - DM_EXTENT_BYTES, SPAN, &base), DMEM_E_WINDOW));
	cr_expect(scratch_says("claimed-1") && scratch_says("another base"), "%s", dmem_last_error());
	cr_expect(eq(u64, base, 7), "written on failure");
	cr_expect(zero(int, claim(3, DM_WINDOW_FIRST + SPAN, SPAN, &base)), "neighbours do not overlap");
}

Test(registry, a_released_range_is_given_again)
{
	uint8_t first[16] = {1};
	uint64_t base = 0;

	cr_assert(zero(int, claim(1, 0, SPAN, &base)));
	cr_assert(zero(int, claim(2, 0, SPAN, &base)));
	cr_assert(zero(int, dm_registry_release(first)));
	cr_expect(zero(int, dm_registry_release(first)), "a line that is not there is fine");
	cr_assert(zero(int, claim(3, 0, SPAN, &base)));
	cr_expect(eq(u64, base, DM_WINDOW_FIRST));
}

static uint64_t base_of(const char *name)
{
	static struct dm_superblock_pm superblock;

	scratch_read(name, 0, &superblock, sizeof(superblock));
	return superblock.base;
}

static int destroy(void *name)
{
	scratch_clear_window();
	return dmem_pool_destroy(scratch_uri(name, NULL)) != 0;
}

Test(registry, destroying_a_pool_gives_its_window_back)
{
	scratch_create("a", "size=8M&members=16");
	cr_assert(zero(int, child_run(destroy, "a")));
	scratch_create("b", "size=8M&members=16");
	cr_expect(eq(u64, base_of("b"), DM_WINDOW_FIRST));
}

static int claim_and_end(void *name)
{
	uint8_t uuid[16] = {9};
	uint64_t base;

	return dm_registry_claim(0, SPAN, uuid, scratch_uri(name, NULL), &base) != 0;
}

Test(registry, lines_of_pools_that_are_gone_are_dropped)
{
	uint64_t base = 0;

	cr_assert(zero(int, child_run(claim_and_end, "gone")));
	cr_assert(zero(int, claim(1, 0, SPAN, &base)));
	cr_expect(eq(u64, base, DM_WINDOW_FIRST));
}

Test(registry, lines_of_pools_that_exist_are_kept)
{
	uint64_t base = 0;

	scratch_write("here", 0, "x", 1);
	cr_assert(zero(int, child_run(claim_and_end, "here")));
	cr_assert(zero(int, claim(1, 0, SPAN, &base)));
	cr_expect(eq(u64, base, DM_WINDOW_FIRST + SPAN));
}

/* A line of this boot whose creator is gone. */
static void write_line(uint64_t base, const char *uri)
{
	FILE *boot_file = fopen("/proc/sys/kernel/random/boot_id", "r");
	char boot[40] = "";
	char line[512];

	cr_assert(boot_file != NULL && fscanf(boot_file, "%39s", boot) == 1);
	fclose(boot_file);
	snprintf(line, sizeof(line), "0x%" PRIx64 " 0x%" PRIx64 " 0a %s 4194303 %s\n", base, SPAN, boot, uri);
	scratch_write("registry", 0, line, strlen(line));
}

Test(registry, the_line_of_a_pool_whose_name_was_cut_is_kept)
{
	char uri[256] = "file:/dev/shm/";
	uint64_t base = 0;

	memset(uri + strlen(uri), 'x', sizeof(uri) - 1 - strlen(uri));
	write_line(DM_WINDOW_FIRST, uri);
	cr_assert(zero(int, claim(1, 0, SPAN, &base)), "%s", dmem_last_error());
	cr_expect(eq(u64, base, DM_WINDOW_FIRST + SPAN), "the window of a pool that may well exist was given away");
}

Test(registry, a_line_of_another_machine_is_kept)
{
	const char line[] = "0x200000000000 0x1000000000 01 another-boot 1 file:/nowhere\n";
	uint64_t base = 0;

	scratch_write("registry", 0, line, strlen(line));
	cr_assert(zero(int, claim(1, 0, SPAN, &base)), "%s", dmem_last_error());
	cr_expect(eq(u64, base, DM_WINDOW_FIRST + SPAN));
}

Test(registry, a_damaged_line_is_named_and_nothing_is_changed)
{
	const char line[] = "this is no line\n";
	char after[sizeof(line)] = "";
	uint64_t base = 0;

	scratch_write("registry", 0, line, strlen(line));
	cr_expect(eq(int, claim(1, 0, SPAN, &base), DMEM_E_REGISTRY));
	cr_expect(scratch_says("this is no line") && scratch_says("registry"), "%s", dmem_last_error());
	scratch_read("registry", 0, after, strlen(line));
	cr_expect(eq(str, after, line));
	cr_expect(eq(int, dmem_pool_create(scratch_uri("p", "size=8M"), NULL), DMEM_E_REGISTRY));
	cr_expect(ne(int, access(scratch_path("p"), F_OK), 0), "a failed creation left a file");
}

Test(registry, a_registry_that_cannot_be_written_is_named_with_the_cure)
{
	uint64_t base;

	cr_assert(zero(int, mkdir(scratch_path("folder"), 0700)));
	setenv("DMEM_REGISTRY", scratch_path("folder"), 1);
	cr_expect(eq(int, claim(1, 0, SPAN, &base), DMEM_E_REGISTRY));
	cr_expect(scratch_says("DMEM_REGISTRY") && scratch_says("folder"), "%s", dmem_last_error());
	setenv("DMEM_REGISTRY", "/no/such/folder/registry", 1);
	cr_expect(eq(int, claim(1, 0, SPAN, &base), DMEM_E_REGISTRY));
	cr_expect(scratch_says("No such file"), "%s", dmem_last_error());
}

/* As a user that owns nothing here, in a child. */
static int claim_as_nobody(void *unused)
{
	char expected[64];
	uint64_t base;

	(void)unused;
	unsetenv("DMEM_REGISTRY");
	if (setresuid(54321, 54321, 54321) != 0)
		return 77;
	if (claim(1, 0, SPAN, &base) != 0)
		return 1;
	snprintf(expected, sizeof(expected), "/dev/shm/dmem-registry-%u", 54321u);
	return unlink(expected) == 0 ? 0 : 2;
}

Test(registry, without_the_variable_the_registry_is_the_users_own_in_dev_shm)
{
	if (geteuid() != 0)
		cr_skip_test("only root can be somebody else");
	cr_expect(zero(int, child_run(claim_as_nobody, NULL)));
}

Test(registry, names_with_blanks_are_refused)
{
	uint8_t uuid[16] = {1};
	uint64_t base;

	cr_expect(eq(int, dm_registry_claim(0, SPAN, uuid, "file:/dev/shm/a b", &base), DMEM_E_URI));
}

static int create_ten(void *index)
{
	int failures = 0;

	for (unsigned i = 0; i < 10; i++) {
		char name[32];

		snprintf(name, sizeof(name), "both-%u-%u", *(unsigned *)index, i);
		failures += dmem_pool_create(scratch_uri(name, "size=8M&members=16"), NULL) != 0;
	}
	return failures;
}

static int compare_bases(const void *a, const void *b)
{
	uint64_t left = *(const uint64_t *)a;
	uint64_t right = *(const uint64_t *)b;

	return left < right ? -1 : left > right;
}

Test(registry, two_creators_at_once_get_different_windows)
{
	unsigned indexes[2] = {0, 1};
	uint64_t bases[20];
	pid_t pids[2];

	for (unsigned i = 0; i < 2; i++)
		pids[i] = child_start(create_ten, &indexes[i]);
	for (unsigned i = 0; i < 2; i++)
		cr_assert(zero(int, child_wait(pids[i])));
	for (unsigned i = 0; i < 20; i++) {
		char name[32];

		snprintf(name, sizeof(name), "both-%u-%u", i / 10, i % 10);
		bases[i] = base_of(name);
	}
	qsort(bases, 20, sizeof(bases[0]), compare_bases);
	for (unsigned i = 0; i < 20; i++)
		cr_expect(eq(u64, bases[i], DM_WINDOW_FIRST + i * SPAN), "the lowest free range was not taken");
}

static int attach_largest(void *unused)
{
	struct dmem_pool_info info = {.struct_bytes = sizeof(info)};
	struct dmem_pool *pool;

	(void)unused;
	scratch_clear_window();
	pool = scratch_attach("p");
	if (dmem_pool_info(pool, &info) != 0 || info.span_bytes != DM_SPAN_BYTES_MAX)
		return 1;
	return dmem_alloc_ex(pool, 1000, NULL) == NULL || dmem_pool_detach(pool) != 0;
}

Test(registry, the_largest_span_can_be_created_and_attached)
{
	scratch_create("p", "size=1G&span=52T");
	cr_expect(eq(u64, base_of("p"), DM_WINDOW_FIRST));
	cr_expect(zero(int, child_run(attach_largest, NULL)));
	cr_expect(eq(int, dmem_pool_create(scratch_uri("q", "size=1G"), NULL), DMEM_E_WINDOW), "nothing is left beside it");
	cr_expect(scratch_says("smaller span"), "%s", dmem_last_error());
}

Test(registry, a_span_that_is_too_large_is_refused)
{
	cr_expect(eq(int, dmem_pool_create(scratch_uri("p", "size=1G&span=53T"), NULL), DMEM_E_OPTION));
	cr_expect(scratch_says("52T"), "%s", dmem_last_error());
	cr_expect(eq(int, dmem_pool_create(scratch_uri("p", "size=1G&span=512M"), NULL), DMEM_E_OPTION));
	cr_expect(ne(int, access(scratch_path("p"), F_OK), 0));
}
