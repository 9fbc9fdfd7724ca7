/* SPDX-License-Identifier: Apache-2.0 */
/* test_find.c: which device a serial number or region means; what is said when none or several are meant; the loader. */
#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <errno.h>
#include <string.h>

#include "base/arith.h"
#include "base/error.h"
#include "transport/devdax/discover.h"
#include "transport/transport.h"

#ifdef DM_WITH_DAX

#include "transport/devdax/library.h"

static struct dm_found_memdev memdevs[] = {
	{.name = "mem0", .host = "0000:35:00.0", .serial = 0xdead1, .volatile_bytes = 256 * DM_MIB, .node = 0},
	{.name = "mem1", .host = "0000:36:00.0", .serial = 77, .volatile_bytes = 512 * DM_MIB, .node = 1},
	{.name = "mem2", .host = "0000:37:00.0", .serial = 5, .node = -1},
	{.name = "mem3", .host = "0000:38:00.0", .serial = 5, .node = -1},
	{.name = "mem4", .host = "0000:39:00.0", .serial = 1000, .node = -1},
};
static struct dm_found_region regions[] = {
	{.name = "region0", .size_bytes = 256 * DM_MIB, .enabled = true, .target_count = 1, .targets = {"mem0"}},
	{.name = "region10", .size_bytes = 512 * DM_MIB, .enabled = true, .target_count = 2, .targets = {"mem1", "mem4"}},
	{.name = "region3", .size_bytes = 64 * DM_MIB, .enabled = false, .target_count = 1, .targets = {"mem4"}},
	{.name = "region4", .size_bytes = 64 * DM_MIB, .enabled = false, .target_count = 0},
	{.name = "region5", .size_bytes = 64 * DM_MIB, .enabled = true, .target_count = 0},
};
static struct dm_found_dax daxes[] = {
	{.name = "dax0.0", .path = "/dev/dax0.0", .region = "region0", .size_bytes = 256 * DM_MIB, .align_bytes = 2 * DM_MIB,
	 .mode = DM_FOUND_DEVDAX},
	{.name = "dax10.0", .path = "/dev/dax10.0", .region = "region10", .size_bytes = 512 * DM_MIB, .align_bytes = 2 * DM_MIB,
	 .mode = DM_FOUND_SYSTEM_RAM},
	{.name = "dax1.0", .path = "/dev/dax1.0", .region = "", .size_bytes = 512 * DM_MIB, .align_bytes = 2 * DM_MIB,
	 .mode = DM_FOUND_DEVDAX},
	{.name = "dax5.0", .path = "/dev/dax5.0", .region = "region5", .size_bytes = 32 * DM_MIB, .align_bytes = 2 * DM_MIB,
	 .mode = DM_FOUND_DEVDAX},
	{.name = "dax5.1", .path = "/dev/dax5.1", .region = "region5", .size_bytes = 32 * DM_MIB, .align_bytes = 2 * DM_MIB,
	 .mode = DM_FOUND_DISABLED},
};
static const struct dm_found found = {
	.memdevs = memdevs, .memdev_count = DM_ARRAY_LENGTH(memdevs), .regions = regions,
	.region_count = DM_ARRAY_LENGTH(regions), .daxes = daxes, .dax_count = DM_ARRAY_LENGTH(daxes),
};
static const struct dm_found nothing;

static void expect_message(const char *word)
{
	cr_expect(ne(ptr, (void *)strstr(dmem_last_error(), word), NULL), "\"%s\" is not in: %s", word, dmem_last_error());
}

static void expect_found(const char *word, const char *name)
{
	const struct dm_found_dax *dax = NULL;

	cr_assert(zero(int, dm_discover_find(&found, word, &dax)), "%s: %s", word, dmem_last_error());
	cr_expect(zero(int, strcmp(dax->name, name)), "%s is %s", word, dax->name);
}

static void expect_refused(const struct dm_found *among, const char *word, int code)
{
	const struct dm_found_dax *dax = NULL;

	cr_expect(eq(int, dm_discover_find(among, word, &dax), code), "%s: %s", word, dmem_last_error());
	cr_expect(eq(ptr, (void *)dax, NULL));
}

Test(find, a_region_is_found_by_its_whole_name)
{
	expect_found("region0", "dax0.0");
	expect_found("region10", "dax10.0");
	expect_refused(&found, "region1", -ENOENT);
	expect_message("region10 (512 MiB)");
	expect_refused(&nothing, "region0", -ENOENT);
	expect_message("regions here: none");
}

Test(find, a_serial_number_is_decimal_or_hexadecimal)
{
	expect_found("0xdead1", "dax0.0");
	expect_found("0XDEAD1", "dax0.0");
	expect_found("912081", "dax0.0");
	expect_found("77", "dax10.0");
	expect_refused(&found, "0x77", -ENOENT);
	expect_message("mem1 (serial 0x4d, 512 MiB)");
	expect_refused(&nothing, "77", -ENOENT);
	expect_message("memory devices here: none");
}

Test(find, what_is_neither_is_refused_with_what_is_there)
{
	static const char *const words[] = {"mem0", "region", "regionA", "region1x", "0x", "77x", "dax0.0", "0x1ffffffffffffffff",
	                                    "99999999999999999999"};

	for (size_t i = 0; i < DM_ARRAY_LENGTH(words); i++)
		expect_refused(&found, words[i], DMEM_E_URI);
	expect_message("mem0 (serial 0xdead1, 256 MiB)");
}

Test(find, what_means_several_devices_is_refused_and_told_apart)
{
	expect_refused(&found, "5", DMEM_E_DEVICE);
	expect_message("mem2 and mem3");
	expect_refused(&found, "1000", DMEM_E_DEVICE);
	expect_message("more than one region");
	expect_message("cxl:region10");
	expect_refused(&found, "region5", DMEM_E_DEVICE);
	expect_message("dax:/dev/dax5.0");
	expect_message("/dev/dax5.1 (disabled, 32 MiB)");
}

Test(find, a_step_without_an_answer_says_how_to_make_one)
{
	struct dm_found few = found;

	expect_refused(&found, "region4", -ENOENT);
	expect_message("cxl enable-region region4");
	expect_message("not enabled");
	few.region_count = 1;
	expect_refused(&few, "77", -ENOENT);
	expect_message("cxl create-region");
	expect_message("mem1");
}

Test(find, only_a_character_device_with_whole_extents_can_hold_a_pool)
{
	struct dm_found_dax dax = daxes[0];

	cr_expect(zero(int, dm_discover_check(&dax)));
	dax.align_bytes = DM_GIB;
	cr_expect(zero(int, dm_discover_check(&dax)));
	dax.align_bytes = 4096;
	cr_expect(eq(int, dm_discover_check(&dax), DMEM_E_UNSUPPORTED));
	expect_message("-a 2M");
	dax.align_bytes = 3 * DM_MIB;
	cr_expect(eq(int, dm_discover_check(&dax), DMEM_E_UNSUPPORTED));
	cr_expect(eq(int, dm_discover_check(&daxes[1]), DMEM_E_UNSUPPORTED));
	expect_message("daxctl reconfigure-device -m devdax -f dax10.0");
	cr_expect(eq(int, dm_discover_check(&daxes[4]), DMEM_E_UNSUPPORTED));
	expect_message("disabled");
}

Test(find, long_lists_are_cut)
{
	static struct dm_found_dax many[100];
	const struct dm_found crowd = {.daxes = many, .dax_count = DM_ARRAY_LENGTH(many)};
	char text[64];

	for (size_t i = 0; i < DM_ARRAY_LENGTH(many); i++)
		many[i] = daxes[0];
	cr_expect(eq(sz, strlen(dm_discover_list_daxes(&crowd, text, sizeof(text))), sizeof(text) - 1));
}

Test(library, a_missing_library_names_its_package)
{
	static const char *const names[] = {"daxctl_new"};
	void *table[1] = {NULL};

	cr_expect(eq(int, dm_library_load("libdaxctl-not-there.so.1", "libdaxctl1", names, 1, table), DMEM_E_UNSUPPORTED));
	expect_message("libdaxctl-not-there.so.1");
	expect_message("apt-get install libdaxctl1");
}

Test(library, a_library_without_a_function_is_too_old)
{
	static const char *const names[] = {"malloc", "no_such_function_at_all"};
	void *table[2] = {NULL, NULL};

	cr_expect(eq(int, dm_library_load("libc.so.6", "libcxl1", names, 2, table), DMEM_E_UNSUPPORTED));
	expect_message("no_such_function_at_all");
	expect_message("libcxl1");
}

Test(library, what_this_machine_has_is_listed_without_a_failure)
{
	struct dm_found here = {.dax_count = 0};

	cr_expect(zero(int, dm_discover_cxl(&here)), "%s", dmem_last_error());
	cr_expect(zero(int, dm_discover_dax(&here)), "%s", dmem_last_error());
	for (size_t i = 0; i < here.dax_count; i++)
		cr_expect(zero(int, strncmp(here.daxes[i].path, "/dev/dax", 8)));
	dm_discover_free(&here);
	cr_expect(zero(sz, here.dax_count + here.memdev_count + here.region_count));
	cr_expect(eq(ptr, here.daxes, NULL));
}

static void expect_open_refused(const char *text, int code, const char *word)
{
	struct dm_device *device = NULL;
	struct dm_uri uri;

	cr_assert(zero(int, dm_uri_parse(text, &uri)));
	cr_expect(eq(int, dm_transport_open(&uri, &device), code), "%s: %s", text, dmem_last_error());
	expect_message(word);
	cr_expect(eq(int, dm_transport_create(&uri, 64 * DM_MIB, 0600, &device), code));
	cr_expect(eq(ptr, device, NULL));
}

Test(find, what_is_no_dax_device_is_refused_with_the_cure)
{
	expect_open_refused("dax:/dev/null", DMEM_E_UNSUPPORTED, "daxctl reconfigure-device -m devdax");
	expect_open_refused("dax:/dev/dax777.777", -ENOENT, "/dev/dax777.777");
	expect_open_refused("dax:/etc/passwd", DMEM_E_UNSUPPORTED, "file:");
	expect_open_refused("dax:/dev", DMEM_E_UNSUPPORTED, "a directory");
	expect_open_refused("cxl:region777", -ENOENT, "region777");
	expect_open_refused("cxl:0x7777777777777", -ENOENT, "0x7777777777777");
	expect_open_refused("cxl:mem0", DMEM_E_URI, "serial number");
}

#else

Test(find, a_build_without_dax_says_so)
{
	const struct dm_transport *transport;

	cr_expect(eq(int, dm_transport_find("dax", &transport), DMEM_E_UNSUPPORTED));
	cr_expect(eq(int, dm_transport_find("cxl", &transport), DMEM_E_UNSUPPORTED));
}

#endif
