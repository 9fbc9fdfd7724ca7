/* SPDX-License-Identifier: Apache-2.0 */
/* test_flush.c: which lines are written back and dropped, with how many fences, by each instruction that is here. */
#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/arith.h"
#include "base/error.h"
#include "transport/flush.h"

static const char *const instructions[] = {"clwb", "clflushopt", "clflush", "dc"};

/* Call `body` once for each instruction that this processor has; at least one. */
static void with_each_instruction(void (*body)(void))
{
	unsigned ran = 0;

	for (size_t i = 0; i < DM_ARRAY_LENGTH(instructions); i++) {
		if (dm_flush_pretend(instructions[i]) != 0)
			continue;
		cr_assert(zero(int, strcmp(dm_flush_instruction(), instructions[i])));
		body();
		ran++;
	}
	cr_expect(gt(uint, ran, 0));
}

static void count_lines_of_ranges(void)
{
	static _Alignas(4096) char memory[4096];
	static const struct {
		size_t offset, bytes;
		uint64_t lines;
	} ranges[] = {{0, 0, 0},   {0, 1, 1},    {0, 64, 1},   {0, 65, 2},      {63, 1, 1},
	              {63, 2, 2},  {1, 64, 2},   {1, 127, 2},  {1, 128, 3},     {0, 4096, 64},
	              {64, 64, 1}, {128, 63, 1}, {70, 200, 4}, {4095, 1, 1}};

	for (size_t i = 0; i < DM_ARRAY_LENGTH(ranges); i++) {
		uint64_t lines = ranges[i].lines, calls = lines > 0 ? 1 : 0;
		struct dm_flush_count count = {0};

		dm_flush_publish(&count, memory + ranges[i].offset, ranges[i].bytes);
		cr_expect(eq(u64, count.written + count.dropped, lines), "publish of range %zu", i);
		cr_expect(eq(u64, count.written, strcmp(dm_flush_instruction(), "clwb") == 0 ||
		             strcmp(dm_flush_instruction(), "dc") == 0 ? lines : 0));
		cr_expect(eq(u64, count.fences_written, calls));
		cr_expect(zero(u64, count.fences_dropped));
		memset(&count, 0, sizeof(count));
		dm_flush_refresh(&count, memory + ranges[i].offset, ranges[i].bytes);
		cr_expect(eq(u64, count.dropped, lines), "refresh of range %zu", i);
		cr_expect(zero(u64, count.written));
		cr_expect(eq(u64, count.fences_dropped, calls));
		cr_expect(zero(u64, count.fences_written));
		memset(&count, 0, sizeof(count));
		dm_flush_handoff(&count, memory + ranges[i].offset, ranges[i].bytes);
		cr_expect(eq(u64, count.dropped, lines), "handoff of range %zu", i);
		cr_expect(zero(u64, count.written));
		cr_expect(eq(u64, count.fences_written, calls));
		cr_expect(zero(u64, count.fences_dropped));
	}
}

Test(flush, each_line_that_a_range_touches_is_flushed_once_and_fenced_once)
{
	with_each_instruction(count_lines_of_ranges);
}

static void carry_bytes(void)
{
	int fd = memfd_create("flush", 0);
	char *a, *b;

	cr_assert(zero(int, ftruncate(fd, 8192)));
	a = mmap(NULL, 8192, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	b = mmap(NULL, 8192, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	cr_assert(a != MAP_FAILED && b != MAP_FAILED);
	for (unsigned round = 1; round < 50; round++) {
		memset(a + 100, (int)round, 5000);
		dm_flush_publish(NULL, a + 100, 5000);
		dm_flush_refresh(NULL, b + 100, 5000);
		cr_assert(eq(int, b[100], (int)round));
		cr_assert(zero(int, memcmp(b + 100, a + 100, 5000)));
		b[200] = (char)(round + 1);
		dm_flush_handoff(NULL, b + 200, 1);
		cr_assert(eq(int, a[200], (int)round + 1));
	}
	/* What stands beside the range is as it was. */
	cr_expect(zero(int, a[99]));
	cr_expect(zero(int, a[5100]));
	munmap(a, 8192);
	munmap(b, 8192);
	close(fd);
}

Test(flush, bytes_are_what_they_were_after_each_operation)
{
	with_each_instruction(carry_bytes);
}

Test(flush, an_instruction_that_nobody_has_is_not_pretended)
{
	cr_expect(eq(int, dm_flush_pretend("wbinvd"), -EINVAL));
	cr_expect(ne(ptr, (void *)strstr(dmem_last_error(), "wbinvd"), NULL), "%s", dmem_last_error());
}
