/* SPDX-License-Identifier: Apache-2.0 */
/* arith.h: arithmetic on sizes and offsets that says when it overflows. */
#ifndef DM_BASE_ARITH_H
#define DM_BASE_ARITH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define DM_KIB        (UINT64_C(1) << 10)
#define DM_MIB        (UINT64_C(1) << 20)
#define DM_GIB        (UINT64_C(1) << 30)
#define DM_TIB        (UINT64_C(1) << 40)
#define DM_LINE_BYTES 64u

#define DM_ARRAY_LENGTH(a) (sizeof(a) / sizeof((a)[0]))

static inline bool dm_is_power_of_two(uint64_t value)
{
	return value != 0 && (value & (value - 1)) == 0;
}

/* `alignment` is a power of two. */
static inline bool dm_is_aligned(uint64_t value, uint64_t alignment)
{
	return (value & (alignment - 1)) == 0;
}

static inline uint64_t dm_align_down(uint64_t value, uint64_t alignment)
{
	return value & ~(alignment - 1);
}

/* The next multiple of `alignment`, a power of two; false when it does not fit 64 bits. */
static inline bool dm_align_up(uint64_t value, uint64_t alignment, uint64_t *result)
{
	uint64_t sum;

	if (__builtin_add_overflow(value, alignment - 1, &sum))
		return false;
	*result = sum & ~(alignment - 1);
	return true;
}

static inline bool dm_add(uint64_t a, uint64_t b, uint64_t *result)
{
	return !__builtin_add_overflow(a, b, result);
}

static inline bool dm_multiply(uint64_t a, uint64_t b, uint64_t *result)
{
	return !__builtin_mul_overflow(a, b, result);
}

/* True when [offset, offset + bytes) lies inside [0, limit). */
static inline bool dm_range_inside(uint64_t offset, uint64_t bytes, uint64_t limit)
{
	return offset <= limit && bytes <= limit - offset;
}

static inline uint64_t dm_divide_up(uint64_t value, uint64_t divisor)
{
	return value / divisor + (value % divisor != 0);
}

/* The smallest power of two that is not below `value`, for 1 <= value <= 2^63. */
static inline uint64_t dm_power_of_two_up(uint64_t value)
{
	return value <= 1 ? 1 : UINT64_C(1) << (64 - __builtin_clzll(value - 1));
}

#endif
