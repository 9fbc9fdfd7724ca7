/* SPDX-License-Identifier: Apache-2.0 */
/* test_arith.c: arithmetic at its edges. */
#include <criterion/criterion.h>
#include <criterion/new/assert.h>

#include "base/arith.h"

Test(arith, alignment_says_when_it_does_not_fit)
{
	uint64_t out = 77;

	cr_expect(dm_align_up(0, 4096, &out) && out == 0);
	cr_expect(dm_align_up(1, 4096, &out) && out == 4096);
	cr_expect(dm_align_up(4096, 4096, &out) && out == 4096);
	cr_expect(dm_align_up(UINT64_MAX - 4095, 4096, &out) && out == UINT64_MAX - 4095);
	out = 77;
	cr_expect(not(dm_align_up(UINT64_MAX, 4096, &out)));
	cr_expect(eq(u64, out, 77));
	cr_expect(eq(u64, dm_align_down(UINT64_MAX, DM_TIB), UINT64_MAX - DM_TIB + 1));
}

Test(arith, ranges_never_wrap)
{
	cr_expect(dm_range_inside(0, 0, 0));
	cr_expect(dm_range_inside(10, 0, 10));
	cr_expect(dm_range_inside(2, 8, 10));
	cr_expect(not(dm_range_inside(2, 9, 10)));
	cr_expect(not(dm_range_inside(11, 0, 10)));
	cr_expect(not(dm_range_inside(UINT64_MAX, 2, UINT64_MAX)));
	cr_expect(not(dm_range_inside(2, UINT64_MAX, UINT64_MAX)));
}

Test(arith, powers_of_two)
{
	cr_expect(not(dm_is_power_of_two(0)));
	cr_expect(dm_is_power_of_two(1));
	cr_expect(dm_is_power_of_two(UINT64_C(1) << 63));
	cr_expect(not(dm_is_power_of_two(UINT64_MAX)));
	cr_expect(eq(u64, dm_power_of_two_up(1), 1));
	cr_expect(eq(u64, dm_power_of_two_up(3), 4));
	cr_expect(eq(u64, dm_power_of_two_up(4), 4));
	cr_expect(eq(u64, dm_power_of_two_up((UINT64_C(1) << 62) + 1), UINT64_C(1) << 63));
}

Test(arith, sums_and_products_say_when_they_overflow)
{
	uint64_t out = 5;

	cr_expect(not(dm_add(UINT64_MAX, 1, &out)));
	cr_expect(dm_add(UINT64_MAX, 0, &out) && out == UINT64_MAX);
	cr_expect(not(dm_multiply(UINT64_C(1) << 32, UINT64_C(1) << 32, &out)));
	cr_expect(dm_multiply(UINT64_C(1) << 32, UINT64_C(1) << 31, &out) && out == UINT64_C(1) << 63);
	cr_expect(eq(u64, dm_divide_up(UINT64_MAX, 2), UINT64_C(1) << 63));
	cr_expect(eq(u64, dm_divide_up(0, 7), 0));
}
