/* SPDX-License-Identifier: Apache-2.0 */
/* test_uri.c: what URIs mean, and that each bad one is refused with its code and a word that helps. */
#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <stdlib.h>
#include <string.h>

#include "base/arith.h"
#include "base/error.h"
#include "transport/uri.h"

static struct dm_uri uri;

static const struct {
	const char *text, *scheme, *path;
} good[] = {
	{"file:/dev/shm/x", "file", "/dev/shm/x"},
	{"file:///dev/shm/x", "file", "/dev/shm/x"},
	{"file:/a b/c%20:&=", "file", "/a b/c%20:&="},
	{"sim:/dev/shm/x", "sim", "/dev/shm/x"},
	{"dax:/dev/dax0.0", "dax", "/dev/dax0.0"},
	{"cxl:region0", "cxl", "region0"},
	{"cxl:0x12ab", "cxl", "0x12ab"},
	{"rdma://node1:7420/pool", "rdma", "//node1:7420/pool"},
	{"tcp://[fe80::1]:65535/a/b", "tcp", "//[fe80::1]:65535/a/b"},
};

Test(uri, good_ones_are_split_into_scheme_and_path)
{
	for (size_t i = 0; i < DM_ARRAY_LENGTH(good); i++) {
		cr_assert(zero(int, dm_uri_parse(good[i].text, &uri)), "%s", dmem_last_error());
		cr_expect(zero(int, strcmp(uri.scheme, good[i].scheme)));
		cr_expect(zero(int, strcmp(uri.path, good[i].path)), "%s", uri.path);
		cr_expect(zero(u64, uri.create.size_bytes));
		cr_expect(zero(int, (int)uri.device_count));
		cr_expect(zero(int, strcmp(uri.require, "")));
	}
}

static const struct {
	const char *text;
	int code;
	const char *word; /* must stand in the message */
} bad[] = {
	{NULL, DMEM_E_URI, "NULL"},
	{"", DMEM_E_URI, "file:/dev/shm/name"},
	{"/dev/shm/x", DMEM_E_URI, "file:/dev/shm/x"},
	{"pool", DMEM_E_URI, "schemes are file, sim, dax, cxl, rdma, tcp"},
	{":/x", DMEM_E_URI, "schemes are"},
	{"http://x/y", DMEM_E_URI, "\"http\""},
	{"FILE:/x", DMEM_E_URI, "schemes are"},
	{"files:/x", DMEM_E_URI, "schemes are"},
	{"fil:/x", DMEM_E_URI, "schemes are"},
	{"?size=1G", DMEM_E_URI, "scheme"},
	{"file:", DMEM_E_URI, "nothing follows"},
	{"file:?size=1G", DMEM_E_URI, "nothing follows"},
	{"file:x", DMEM_E_URI, "relative"},
	{"file:./x", DMEM_E_URI, "relative"},
	{"file://host/x", DMEM_E_URI, "host"},
	{"file:/", DMEM_E_URI, "directory"},
	{"file:///", DMEM_E_URI, "directory"},
	{"file:/dev/shm/", DMEM_E_URI, "directory"},
	{"dax:dax0.0", DMEM_E_URI, "dax:/dev/dax0.0"},
	{"cxl:a/b", DMEM_E_URI, "cxl:region0"},
	{"rdma:host", DMEM_E_URI, "rdma://host"},
	{"tcp:/host:1/x", DMEM_E_URI, "tcp://host"},
	{"tcp://host/x", DMEM_E_URI, "port"},
	{"tcp://:1/x", DMEM_E_URI, "host"},
	{"tcp://host:0/x", DMEM_E_URI, "port"},
	{"tcp://host:65536/x", DMEM_E_URI, "port"},
	{"tcp://host:12a/x", DMEM_E_URI, "port"},
	{"tcp://host:-1/x", DMEM_E_URI, "port"},
	{"tcp://host:1/", DMEM_E_URI, "names no pool"},
	{"tcp://host:1", DMEM_E_URI, "tcp://host"},
	{"file:/x?", DMEM_E_URI, "keys are size, base, span, members"},
	{"file:/x?&size=1G", DMEM_E_URI, "keys are"},
	{"file:/x?size=1G&", DMEM_E_URI, "keys are"},
	{"file:/x?siz=1G", DMEM_E_URI, "\"siz\""},
	{"file:/x?sizes=1G", DMEM_E_URI, "keys are"},
	{"file:/x?=1", DMEM_E_URI, "keys are"},
	{"file:/x?size=1G&size=1G", DMEM_E_URI, "twice"},
	{"file:/x?size", DMEM_E_OPTION, "size=SIZE"},
	{"file:/x?size=", DMEM_E_OPTION, "size=SIZE"},
	{"file:/x?size=0", DMEM_E_OPTION, "size=0"},
	{"file:/x?size=big", DMEM_E_OPTION, "big"},
	{"file:/x?size=-1G", DMEM_E_OPTION, "-1G"},
	{"file:/x?size=1X", DMEM_E_OPTION, "K, M, G or T"},
	{"file:/x?size=16777216T", DMEM_E_OPTION, "2^64"},
	{"file:/x?size=18446744073709551616", DMEM_E_OPTION, "2^64"},
	{"file:/x?base=0", DMEM_E_OPTION, "base"},
	{"file:/x?base=0x200000000001", DMEM_E_OPTION, "2 MiB"},
	{"file:/x?span=0", DMEM_E_OPTION, "span"},
	{"file:/x?members=15", DMEM_E_OPTION, "16 to 4096"},
	{"file:/x?members=4097", DMEM_E_OPTION, "16 to 4096"},
	{"file:/x?members=99999999999999999999", DMEM_E_OPTION, "16 to 4096"},
	{"file:/x?members=1K", DMEM_E_OPTION, "16 to 4096"},
	{"file:/x?coherence=yes", DMEM_E_OPTION, "noncoherent"},
	{"file:/x?coherence=COHERENT", DMEM_E_OPTION, "noncoherent"},
	{"file:/x?atomics=nic", DMEM_E_OPTION, "delegate"},
	{"file:/x?fault=later", DMEM_E_OPTION, "inline"},
	{"file:/x?require=http", DMEM_E_OPTION, "rdma"},
	{"file:/x?require=fil", DMEM_E_OPTION, "rdma"},
	{"file:/x?lease=0", DMEM_E_OPTION, "lease"},
	{"file:/x?lease=1h", DMEM_E_OPTION, "milliseconds"},
	{"file:/x?lease=3600001", DMEM_E_OPTION, "3600000"},
	{"file:/x?lease=4294967s", DMEM_E_OPTION, "3600000"},
	{"file:/x?beat=61s", DMEM_E_OPTION, "60000"},
	{"file:/x?beat=-5", DMEM_E_OPTION, "milliseconds"},
	{"file:/x?mode=0888", DMEM_E_OPTION, "octal"},
	{"file:/x?mode=rw", DMEM_E_OPTION, "octal"},
	{"file:/x?mode=0", DMEM_E_OPTION, "owner"},
	{"file:/x?mode=0400", DMEM_E_OPTION, "owner"},
	{"file:/x?mode=04600", DMEM_E_OPTION, "octal"},
	{"file:/x?mode=666666666666666666666", DMEM_E_OPTION, "octal"},
	{"file:/x?device=", DMEM_E_OPTION, "device"},
	{"file:/x?device=/y", DMEM_E_OPTION, "URI"},
	{"file:/x?device=file", DMEM_E_OPTION, "URI"},
	{"file:/x?device=http:/y", DMEM_E_OPTION, "URI"},
	{"file:/x?device=file:%2", DMEM_E_OPTION, "URI"},
	{"file:/x?device=file:%G1", DMEM_E_OPTION, "URI"},
	{"file:/x?device=file:/a%00b", DMEM_E_OPTION, "URI"},
	{"file:/x?device=file:/1&device=file:/2&device=file:/3&device=file:/4&device=file:/5", DMEM_E_OPTION, "4 further"},
};

Test(uri, bad_ones_are_refused_with_a_word_that_helps)
{
	for (size_t i = 0; i < DM_ARRAY_LENGTH(bad); i++) {
		const char *shown = bad[i].text != NULL ? bad[i].text : "(null)";

		memset(&uri, 0x5a, sizeof(uri));
		cr_expect(eq(int, dm_uri_parse(bad[i].text, &uri), bad[i].code), "%s: %s", shown, dmem_last_error());
		cr_expect(ne(ptr, (void *)strstr(dmem_last_error(), bad[i].word), NULL), "%s: %s", shown, dmem_last_error());
		for (size_t b = 0; b < sizeof(uri); b++)
			cr_assert(eq(int, ((unsigned char *)&uri)[b], 0x5a), "%s: written in spite of the failure", shown);
	}
}

Test(uri, every_key_arrives)
{
	cr_assert(zero(int, dm_uri_parse("file:/x?size=1G&base=0x200000000000&span=2T&members=64&coherence=noncoherent&"
	                                 "atomics=delegate&lease=2s&beat=50ms&mode=0660&fault=inline&require=file&"
	                                 "device=file:/y%3Fsize%3D1G%26mode=0600&device=dax:/dev/dax1.0", &uri)), "%s",
	          dmem_last_error());
	cr_expect(eq(u64, uri.create.size_bytes, DM_GIB));
	cr_expect(eq(u64, uri.create.base, UINT64_C(0x200000000000)));
	cr_expect(eq(u64, uri.create.span_bytes, 2 * DM_TIB));
	cr_expect(eq(int, (int)uri.create.members_max, 64));
	cr_expect(eq(int, (int)uri.create.coherence, DMEM_COHERENCE_NONCOHERENT));
	cr_expect(eq(int, (int)uri.create.atomics, DMEM_ATOMICS_DELEGATE));
	cr_expect(eq(int, (int)uri.create.lease_ms, 2000));
	cr_expect(eq(int, (int)uri.create.beat_ms, 50));
	cr_expect(eq(int, (int)uri.create.mode, 0660));
	cr_expect(eq(int, (int)uri.fault, DMEM_FAULT_INLINE));
	cr_expect(zero(int, strcmp(uri.require, "file")));
	cr_expect(eq(int, (int)uri.device_count, 2));
	cr_expect(zero(int, strcmp(uri.devices[0], "file:/y?size=1G&mode=0600")), "%s", uri.devices[0]);
	cr_expect(zero(int, strcmp(uri.devices[1], "dax:/dev/dax1.0")));
}

Test(uri, lengths_are_bounded)
{
	static char text[20000];
	size_t room = sizeof(uri.path) - 1;

	strcpy(text, "file:/");
	memset(text + 6, 'a', room - 1);
	cr_expect(zero(int, dm_uri_parse(text, &uri)));
	cr_expect(eq(sz, strlen(uri.path), room));
	memset(text + 6, 'a', sizeof(text) - 7);
	cr_expect(eq(int, dm_uri_parse(text, &uri), DMEM_E_URI));
	memset(text, 'a', sizeof(text) - 1);
	cr_expect(eq(int, dm_uri_parse(text, &uri), DMEM_E_URI));
	memcpy(text, "file:/x?", 8);
	cr_expect(eq(int, dm_uri_parse(text, &uri), DMEM_E_URI));
	memcpy(text, "file:/x?size=", 13);
	cr_expect(eq(int, dm_uri_parse(text, &uri), DMEM_E_OPTION));
	memcpy(text, "file:/x?device=file:/", 21);
	cr_expect(eq(int, dm_uri_parse(text, &uri), DMEM_E_OPTION));
	text[15 + 255] = '\0';
	cr_expect(zero(int, dm_uri_parse(text, &uri)), "%s", dmem_last_error());
	text[15 + 255] = 'a';
	text[15 + 256] = '\0';
	cr_expect(eq(int, dm_uri_parse(text, &uri), DMEM_E_OPTION));
}

static const struct {
	const char *text;
	uint64_t bytes;
} sizes[] = {
	{"0", 0}, {"1", 1}, {"4096", 4096}, {"64K", 65536}, {"64k", 65536}, {"64KB", 65536}, {"64KiB", 65536},
	{"1G", DM_GIB}, {"2.5T", 5 * DM_TIB / 2}, {"0.5M", DM_MIB / 2}, {"1.000001M", DM_MIB + 1}, {"10B", 10},
	{"0x200000000000", UINT64_C(0x200000000000)}, {"0XfF", 255}, {"18446744073709551615", UINT64_MAX},
	{"16777215T", 16777215 * DM_TIB}, {"010", 10},
};

Test(uri, sizes_are_understood)
{
	for (size_t i = 0; i < DM_ARRAY_LENGTH(sizes); i++) {
		uint64_t bytes = 1;

		cr_expect(zero(int, dm_uri_parse_size(sizes[i].text, "size", &bytes)), "%s", sizes[i].text);
		cr_expect(eq(u64, bytes, sizes[i].bytes), "%s", sizes[i].text);
	}
}

Test(uri, what_is_no_size_is_refused_and_named)
{
	static const char *const texts[] = {"", " 1", "1 ", "+1", "-1", "K", ".5G", "1.G", "1.5", "1.5B", "1.5.5G", "1GG", "1Gi",
	                                    "1Q", "0x", "0xG", "0x0x1", "0x1K", "0x10000000000000000", "1.0000001G", "1e9",
	                                    "18446744073709551616", "16777216T", "nan", "1\n"};

	for (size_t i = 0; i < DM_ARRAY_LENGTH(texts); i++) {
		uint64_t bytes = 77;

		cr_expect(eq(int, dm_uri_parse_size(texts[i], "the span", &bytes), DMEM_E_OPTION), "\"%s\"", texts[i]);
		cr_expect(eq(u64, bytes, 77));
		cr_expect(ne(ptr, (void *)strstr(dmem_last_error(), "the span"), NULL));
	}
}

Test(uri, what_the_uri_says_wins_over_the_struct)
{
	struct dmem_create_options options = DMEM_CREATE_OPTIONS_DEFAULT, merged;

	options.size_bytes = 1;
	options.members_max = 32;
	options.mode = 0640;
	cr_assert(zero(int, dm_uri_parse("file:/x?size=1G&mode=0600", &uri)));
	cr_assert(zero(int, dm_uri_create_options(&uri, &options, &merged)), "%s", dmem_last_error());
	cr_expect(eq(u64, merged.size_bytes, DM_GIB));
	cr_expect(eq(int, (int)merged.mode, 0600));
	cr_expect(eq(int, (int)merged.members_max, 32));
	cr_expect(eq(sz, merged.struct_bytes, sizeof(merged)));
	cr_expect(zero(u64, merged.base));
	cr_assert(zero(int, dm_uri_create_options(&uri, NULL, &merged)));
	cr_expect(zero(int, (int)merged.members_max));
}

/* Each row spoils one field. */
static void spoil(struct dmem_create_options *options, size_t row)
{
	switch (row) {
	case 0: options->struct_bytes = 0; break;
	case 1: options->struct_bytes = 3; break;
	case 2: options->struct_bytes = SIZE_MAX; break;
	case 3: options->base = 4096; break;
	case 4: options->coherence = (enum dmem_coherence)4; break;
	case 5: options->atomics = (enum dmem_atomics)77; break;
	case 6: options->members_max = 15; break;
	case 7: options->members_max = 4097; break;
	case 8: options->mode = 0400; break;
	case 9: options->mode = 07600; break;
	case 10: options->lease_ms = 199; break;
	case 11: options->beat_ms = 501; break;
	case 12: options->lease_ms = UINT32_MAX; break;
	case 13: options->beat_ms = UINT32_MAX; options->lease_ms = UINT32_MAX; break;
	default: options->coherence = (enum dmem_coherence)-1; break;
	}
}

Test(uri, options_that_cannot_be_are_refused)
{
	cr_assert(zero(int, dm_uri_parse("file:/x", &uri)));
	for (size_t row = 0; row < 15; row++) {
		struct dmem_create_options options = DMEM_CREATE_OPTIONS_DEFAULT, merged = {.mode = 7};

		spoil(&options, row);
		cr_expect(eq(int, dm_uri_create_options(&uri, &options, &merged), DMEM_E_OPTION), "row %zu", row);
		cr_expect(eq(int, (int)merged.mode, 7));
	}
}

Test(uri, a_lease_in_the_uri_and_a_beat_in_the_struct_are_checked_together)
{
	struct dmem_create_options options = DMEM_CREATE_OPTIONS_DEFAULT, merged;

	options.beat_ms = 300;
	cr_assert(zero(int, dm_uri_parse("file:/x?lease=500", &uri)));
	cr_expect(eq(int, dm_uri_create_options(&uri, &options, &merged), DMEM_E_OPTION));
	options.beat_ms = 250;
	cr_expect(zero(int, dm_uri_create_options(&uri, &options, &merged)));
}

Test(uri, programs_of_another_version_may_have_a_shorter_or_longer_struct)
{
	struct {
		struct dmem_create_options options;
		uint64_t later;
	} longer = {.options.struct_bytes = sizeof(longer), .options.mode = 0640};
	struct dmem_create_options merged;

	cr_assert(zero(int, dm_uri_parse("file:/x", &uri)));
	cr_expect(zero(int, dm_uri_create_options(&uri, &longer.options, &merged)));
	longer.later = 1;
	cr_expect(eq(int, dm_uri_create_options(&uri, &longer.options, &merged), DMEM_E_OPTION));
	longer.options.struct_bytes = offsetof(struct dmem_create_options, mode);
	cr_expect(zero(int, dm_uri_create_options(&uri, &longer.options, &merged)));
	cr_expect(zero(int, (int)merged.mode));
}
