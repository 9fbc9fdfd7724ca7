/* SPDX-License-Identifier: Apache-2.0 */
/*
 * bootstrap.c: blocks for calls that come before the shim is ready: from the dynamic linker before the environment is
 * known, and from dlsym() while the shim looks for what it needs.  They are few and never given back.
 *
 * Each block has its size in the 16 bytes before it.
 */
#include <stdatomic.h>

#include "shim.h"

#define BUFFER_BYTES (64u << 10)
#define HEADER_BYTES 16u

static _Alignas(64) char buffer[BUFFER_BYTES];
static _Atomic size_t used;

void *shim_bootstrap_alloc(size_t bytes, size_t alignment)
{
	size_t before = atomic_load_explicit(&used, memory_order_relaxed);
	size_t start, at, end;

	if (alignment < HEADER_BYTES)
		alignment = HEADER_BYTES;
	do {
		if (bytes > BUFFER_BYTES || alignment > BUFFER_BYTES)
			goto elsewhere;
		start = (uintptr_t)buffer + before + HEADER_BYTES;
		start = (start + alignment - 1) & ~(alignment - 1);
		at = start - (uintptr_t)buffer;
		end = at + bytes;
		if (end > BUFFER_BYTES)
			goto elsewhere;
	} while (!atomic_compare_exchange_weak_explicit(&used, &before, end, memory_order_relaxed, memory_order_relaxed));
	*(size_t *)(void *)(buffer + at - HEADER_BYTES) = bytes;
	return buffer + at;
elsewhere:
	return __libc_memalign(alignment, bytes);
}

bool shim_bootstrap_contains(const void *block)
{
	return (uintptr_t)block - (uintptr_t)buffer < BUFFER_BYTES;
}

size_t shim_bootstrap_usable(const void *block)
{
	return *(const size_t *)(const void *)((const char *)block - HEADER_BYTES);
}
