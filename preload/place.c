/* SPDX-License-Identifier: Apache-2.0 */
/*
 * place.c: where a block goes, and whose it is.
 *
 * Local while the bytes in local memory are under DMEM_LOCAL_MAX, then the pool.  With the limit unset nothing is
 * counted and libdmem is never called.  Whose a block is, its address tells: private pool memory has a range of its own.
 *
 * libdmem's own blocks are always local: of calls that the shim made (inside), of its threads, and of calls that come
 * from its code.  Otherwise an allocation inside of an attach would wait for the attach.
 */
#include <dlfcn.h>
#include <errno.h>
#include <link.h>
#include <stdatomic.h>
#include <string.h>
#include <unistd.h>

#include "base/arith.h"
#include "dmem/dmem.h"
#include "shim.h"

#define LOCAL_OVERHEAD   8u    /* glibc's header before each block */
#define RETRY_FULL_AFTER 4096u /* allocations that stay local after the pool was full */

enum { SHIM_COLD, SHIM_STARTING, SHIM_READY };

static _Atomic int state;
static struct shim_settings settings;
static bool counting;                        /* a limit or the report asks for it */
static size_t (*real_usable)(void *block);   /* glibc's malloc_usable_size */
static uintptr_t library_first, library_end; /* libdmem's code and data */

static _Thread_local __attribute__((tls_model("initial-exec"))) int inside;

static _Atomic int64_t local_bytes, local_peak, pool_bytes, pool_peak;
static _Atomic uint64_t local_blocks, pool_blocks, fallbacks; /* allocated so far */
static _Atomic bool pool_used;                                /* there may be blocks in the pool */
static _Atomic bool pool_off;                                 /* it can't be had: not asked again */
static _Atomic bool warned;
static _Atomic uint32_t pool_pause; /* allocations until a full pool is asked again */

extern char **environ;

static int note_library(struct dl_phdr_info *info, size_t bytes, void *inside_address)
{
	(void)bytes;
	for (int i = 0; i < info->dlpi_phnum; i++) {
		const uintptr_t first = info->dlpi_addr + info->dlpi_phdr[i].p_vaddr;
		const uintptr_t end = first + info->dlpi_phdr[i].p_memsz;

		if (info->dlpi_phdr[i].p_type == PT_LOAD && (info->dlpi_phdr[i].p_flags & PF_X) &&
		    (uintptr_t)inside_address >= first && (uintptr_t)inside_address < end) {
			library_first = first;
			library_end = end;
			return 1;
		}
	}
	return 0;
}

static void start(void)
{
	const int errno_before = errno;
	void *version = dlsym(RTLD_DEFAULT, "dmem_version"); /* its address proper, not a stub of ours */

	*(void **)&real_usable = dlsym(RTLD_NEXT, "malloc_usable_size"); /* as dlsym(3) says it */
	shim_settings_read(&settings);
	if (version)
		dl_iterate_phdr(note_library, version);
	if (!real_usable)
		settings = (struct shim_settings){.local_bytes_max = UINT64_MAX};
	if (settings.stats) /* by the time of the report many programs have closed stderr */
		shim_keep_stderr();
	counting = settings.stats || settings.local_bytes_max != UINT64_MAX;
	errno = errno_before;
}

/* False while somebody is at it, this thread included, and before the C library knows the environment. */
static bool make_ready(void)
{
	int expected = SHIM_COLD;

	if (!environ)
		return false;
	if (!atomic_compare_exchange_strong(&state, &expected, SHIM_STARTING))
		return expected == SHIM_READY;
	start();
	/* Pairs with the acquire in is_ready(). */
	atomic_store_explicit(&state, SHIM_READY, memory_order_release);
	return true;
}

static inline bool is_ready(void)
{
	return __builtin_expect(atomic_load_explicit(&state, memory_order_acquire) == SHIM_READY, 1) || make_ready();
}

bool shim_is_library_call(const void *caller)
{
	return inside || (uintptr_t)caller - library_first < library_end - library_first;
}

void shim_stay_local(void)
{
	inside++;
}

static void count(_Atomic int64_t *bytes, _Atomic int64_t *peak, int64_t change)
{
	const int64_t now = atomic_fetch_add_explicit(bytes, change, memory_order_relaxed) + change;
	int64_t before = atomic_load_explicit(peak, memory_order_relaxed);

	while (now > before &&
	       !atomic_compare_exchange_weak_explicit(peak, &before, now, memory_order_relaxed, memory_order_relaxed))
		;
}

static int64_t local_cost(void *block)
{
	return (int64_t)(real_usable(block) + LOCAL_OVERHEAD);
}

static void *local_alloc(size_t bytes, size_t alignment, bool zeroed)
{
	void *block;

	if (alignment > 16)
		block = __libc_memalign(alignment, bytes);
	else
		block = zeroed ? __libc_calloc(1, bytes) : __libc_malloc(bytes);
	if (block && zeroed && alignment > 16)
		memset(block, 0, bytes);
	if (block && counting) {
		count(&local_bytes, &local_peak, local_cost(block));
		atomic_fetch_add_explicit(&local_blocks, 1, memory_order_relaxed);
	}
	return block;
}

static bool has_room(size_t bytes)
{
	const int64_t now = atomic_load_explicit(&local_bytes, memory_order_relaxed);

	return dm_range_inside(now < 0 ? 0 : (uint64_t)now, bytes, settings.local_bytes_max);
}

static void warn_once(const char *why)
{
	if (!atomic_exchange(&warned, true))
		shim_say("%s[%d]: no memory from the pool, using local memory instead: %s", shim_program_name(), (int)getpid(),
		         why);
}

/* The pool gave nothing: decide whether and when to ask it again. */
static void pool_failed(struct dmem_pool *pool)
{
	warn_once(dmem_last_error());
	atomic_fetch_add_explicit(&fallbacks, 1, memory_order_relaxed);
	if (pool)
		atomic_store_explicit(&pool_pause, RETRY_FULL_AFTER, memory_order_relaxed);
	else
		atomic_store(&pool_off, true);
}

static bool pool_is_open(void)
{
	uint32_t pause = atomic_load_explicit(&pool_pause, memory_order_relaxed);

	if (atomic_load_explicit(&pool_off, memory_order_relaxed))
		return false;
	if (!pause)
		return true;
	atomic_compare_exchange_strong_explicit(&pool_pause, &pause, pause - 1, memory_order_relaxed, memory_order_relaxed);
	return false;
}

static void *pool_alloc(size_t bytes, size_t alignment, bool zeroed)
{
	struct dmem_alloc_options options = DMEM_ALLOC_OPTIONS_DEFAULT;
	const int errno_before = errno;
	struct dmem_pool *pool;
	void *block = NULL;

	options.tier = DMEM_TIER_POOL;
	options.zeroed = zeroed;
	options.alignment_bytes = alignment > 16 ? alignment : 16;
	inside++;
	pool = dmem_default_pool();
	if (pool)
		block = dmem_alloc_ex(pool, bytes, &options);
	if (block) {
		atomic_store_explicit(&pool_used, true, memory_order_relaxed);
		atomic_fetch_add_explicit(&pool_blocks, 1, memory_order_relaxed);
		if (settings.stats)
			count(&pool_bytes, &pool_peak, (int64_t)dmem_usable_size(block));
	} else {
		pool_failed(pool);
	}
	inside--;
	errno = errno_before;
	return block;
}

void *shim_alloc(size_t bytes, size_t alignment, bool zeroed, const void *caller)
{
	void *block;

	if (!is_ready())
		return shim_bootstrap_alloc(bytes, alignment); /* static memory: zero already, and never used twice */
	if (settings.local_bytes_max == UINT64_MAX || has_room(bytes) || shim_is_library_call(caller) ||
	    alignment > DM_GIB || bytes > DM_TIB || !pool_is_open())
		return local_alloc(bytes, alignment, zeroed);
	block = pool_alloc(bytes, alignment, zeroed);
	return block ? block : local_alloc(bytes, alignment, zeroed);
}

static bool is_in_pool(const void *block)
{
	return atomic_load_explicit(&pool_used, memory_order_relaxed) && dmem_is_pool_private(block);
}

static void pool_free(void *block)
{
	inside++;
	if (settings.stats)
		count(&pool_bytes, &pool_peak, -(int64_t)dmem_usable_size(block));
	dmem_free(block);
	atomic_store_explicit(&pool_pause, 0, memory_order_relaxed);
	inside--;
}

void shim_free(void *block)
{
	if (!block || shim_bootstrap_contains(block))
		return;
	if (is_in_pool(block)) {
		pool_free(block);
		return;
	}
	if (counting)
		count(&local_bytes, &local_peak, -local_cost(block));
	__libc_free(block);
}

size_t shim_usable(void *block)
{
	size_t bytes;

	if (!block)
		return 0;
	if (shim_bootstrap_contains(block))
		return shim_bootstrap_usable(block);
	if (!is_in_pool(block))
		return is_ready() && real_usable ? real_usable(block) : 0;
	inside++;
	bytes = dmem_usable_size(block);
	inside--;
	return bytes;
}

static void *move(void *block, size_t usable, size_t bytes, const void *caller)
{
	void *moved = shim_alloc(bytes, 0, false, caller);

	if (!moved)
		return NULL;
	memcpy(moved, block, usable < bytes ? usable : bytes);
	shim_free(block);
	return moved;
}

static void *realloc_in_pool(void *block, size_t bytes, const void *caller)
{
	const size_t usable = shim_usable(block);

	if (!usable) {
		errno = EINVAL; /* not the start of a live block */
		return NULL;
	}
	if (bytes <= usable && bytes >= usable / 4)
		return block;
	return move(block, usable, bytes, caller);
}

/* `block` is not NULL and `bytes` not 0. */
void *shim_realloc(void *block, size_t bytes, const void *caller)
{
	int64_t cost_before;
	size_t usable;
	void *moved;

	if (shim_bootstrap_contains(block))
		return move(block, shim_bootstrap_usable(block), bytes, caller);
	if (is_in_pool(block))
		return realloc_in_pool(block, bytes, caller);
	if (!is_ready() || !counting)
		return __libc_realloc(block, bytes);
	usable = real_usable(block);
	if (bytes > usable && !has_room(bytes - usable))
		return move(block, usable, bytes, caller);
	cost_before = local_cost(block);
	moved = __libc_realloc(block, bytes);
	if (moved)
		count(&local_bytes, &local_peak, local_cost(moved) - cost_before);
	return moved;
}

/* A program may never allocate, and still be asked for its report. */
__attribute__((constructor)) static void start_at_load(void)
{
	(void)is_ready();
}

__attribute__((destructor)) static void report(void)
{
	if (!settings.stats)
		return;
	shim_say("%s[%d]: local %lld KiB (peak %lld KiB, %llu blocks), pool %lld KiB (peak %lld KiB, %llu blocks), "
	         "%llu times the pool had nothing",
	         shim_program_name(), (int)getpid(), (long long)(local_bytes / 1024), (long long)(local_peak / 1024),
	         (unsigned long long)local_blocks, (long long)(pool_bytes / 1024), (long long)(pool_peak / 1024),
	         (unsigned long long)pool_blocks, (unsigned long long)fallbacks);
}
