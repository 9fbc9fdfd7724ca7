/* SPDX-License-Identifier: Apache-2.0 */
/*
 * shim.h: the parts of the malloc shim.
 *
 *   entry.c      the functions that programs call
 *   place.c      where a block goes, and whose it is
 *   settings.c   what the environment says
 *   bootstrap.c  blocks for calls that come before the shim is ready
 *   threads.c    libdmem's own threads, which stay local
 */
#ifndef DMEM_PRELOAD_SHIM_H
#define DMEM_PRELOAD_SHIM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct shim_settings {
	uint64_t local_bytes_max; /* UINT64_MAX: everything is local, and the pool is never touched */
	bool stats;               /* say at exit where memory was */
};

/* settings.c.  Everything is local in a program that runs with more rights than its caller (AT_SECURE), or is excluded. */
void shim_settings_read(struct shim_settings *settings);
/* One line on stderr with the shim's name before it; allocates nothing and preserves errno. */
void shim_say(const char *format, ...) __attribute__((format(printf, 1, 2)));
/* Say it on a copy of stderr from now on. */
void shim_keep_stderr(void);
const char *shim_program_name(void);

/* bootstrap.c.  Blocks are never given back. */
void *shim_bootstrap_alloc(size_t bytes, size_t alignment);
bool shim_bootstrap_contains(const void *block);
size_t shim_bootstrap_usable(const void *block);

/* place.c.  `caller` is the return address of the program's call.  `alignment` is a power of two; up to 16 for none. */
void *shim_alloc(size_t bytes, size_t alignment, bool zeroed, const void *caller);
void *shim_realloc(void *block, size_t bytes, const void *caller);
void shim_free(void *block);
size_t shim_usable(void *block);

/* place.c: is this call libdmem's own, by thread or by caller? */
bool shim_is_library_call(const void *caller);
/* This thread's blocks are local from now on. */
void shim_stay_local(void);

/* glibc's allocator under the names that nobody interposes. */
void *__libc_malloc(size_t bytes);
void *__libc_calloc(size_t count, size_t bytes);
void *__libc_realloc(void *block, size_t bytes);
void *__libc_memalign(size_t alignment, size_t bytes);
void __libc_free(void *block);

#endif
