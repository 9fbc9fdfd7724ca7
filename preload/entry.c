/* SPDX-License-Identifier: Apache-2.0 */
/*
 * entry.c: the malloc family, as programs and libstdc++ call it.
 *
 * What glibc does where the standard leaves it open, this does too: malloc(0) gives a block of its own, realloc(p, 0)
 * frees, an alignment of memalign() and aligned_alloc() is rounded up to a power of two.
 */
#include <errno.h>
#include <malloc.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/arith.h"
#include "shim.h"

#define ALIGNMENT_MAX (UINT64_C(1) << 62)

void cfree(void *block);
void free_sized(void *block, size_t bytes);
void free_aligned_sized(void *block, size_t alignment, size_t bytes);

void *malloc(size_t bytes)
{
	return shim_alloc(bytes, 0, false, __builtin_return_address(0));
}

void *calloc(size_t count, size_t bytes)
{
	uint64_t total;

	if (!dm_multiply(count, bytes, &total)) {
		errno = ENOMEM;
		return NULL;
	}
	return shim_alloc(total, 0, true, __builtin_return_address(0));
}

static void *realloc_for(void *block, size_t bytes, const void *caller)
{
	if (!block)
		return shim_alloc(bytes, 0, false, caller);
	if (bytes)
		return shim_realloc(block, bytes, caller);
	shim_free(block);
	return NULL;
}

void *realloc(void *block, size_t bytes)
{
	return realloc_for(block, bytes, __builtin_return_address(0));
}

void *reallocarray(void *block, size_t count, size_t bytes)
{
	uint64_t total;

	if (!dm_multiply(count, bytes, &total)) {
		errno = ENOMEM;
		return NULL;
	}
	return realloc_for(block, total, __builtin_return_address(0));
}

void free(void *block)
{
	shim_free(block);
}

void cfree(void *block)
{
	shim_free(block);
}

void free_sized(void *block, size_t bytes)
{
	(void)bytes;
	shim_free(block);
}

void free_aligned_sized(void *block, size_t alignment, size_t bytes)
{
	(void)alignment;
	(void)bytes;
	shim_free(block);
}

int posix_memalign(void **block, size_t alignment, size_t bytes)
{
	const int errno_before = errno;
	void *made;

	if (!dm_is_power_of_two(alignment) || alignment % sizeof(void *))
		return EINVAL;
	made = shim_alloc(bytes, alignment, false, __builtin_return_address(0));
	errno = errno_before;
	if (!made)
		return ENOMEM;
	*block = made;
	return 0;
}

static void *aligned_for(size_t alignment, size_t bytes, const void *caller)
{
	if (alignment > ALIGNMENT_MAX) {
		errno = EINVAL;
		return NULL;
	}
	return shim_alloc(bytes, dm_power_of_two_up(alignment ? alignment : 1), false, caller);
}

void *memalign(size_t alignment, size_t bytes)
{
	return aligned_for(alignment, bytes, __builtin_return_address(0));
}

void *aligned_alloc(size_t alignment, size_t bytes)
{
	return aligned_for(alignment, bytes, __builtin_return_address(0));
}

void *valloc(size_t bytes)
{
	return aligned_for((size_t)sysconf(_SC_PAGESIZE), bytes, __builtin_return_address(0));
}

void *pvalloc(size_t bytes)
{
	const size_t page = (size_t)sysconf(_SC_PAGESIZE);
	uint64_t rounded;

	if (!dm_align_up(bytes, page, &rounded)) {
		errno = ENOMEM;
		return NULL;
	}
	return aligned_for(page, rounded ? rounded : page, __builtin_return_address(0));
}

size_t malloc_usable_size(void *block)
{
	return shim_usable(block);
}
