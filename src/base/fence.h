/* SPDX-License-Identifier: Apache-2.0 */
/*
 * fence.h: every fence and cache instruction of the library, under a name that says what it is for.
 *
 * Sources: C17 section 7.17.4; Intel SDM vol. 2 (CLWB, CLFLUSHOPT, CLFLUSH, SFENCE, MFENCE); Arm ARM section D7.5
 * (DC CVAC, DC CIVAC, DSB).  Which of the instructions on lines a processor has is asked in transport/flush.c.
 */
#ifndef DM_BASE_FENCE_H
#define DM_BASE_FENCE_H

#include <stdatomic.h>
#include <stdint.h>

/* Before a store that tells others that earlier stores are complete.  Pairs with dm_fence_observe(). */
static inline void dm_fence_publish(void)
{
	atomic_thread_fence(memory_order_release);
}

/* After a load that told us that another member's stores are complete.  Pairs with dm_fence_publish(). */
static inline void dm_fence_observe(void)
{
	atomic_thread_fence(memory_order_acquire);
}

/* Between a store of ours and a load of what another may have stored at the same time (Dekker's pattern). */
static inline void dm_fence_full(void)
{
	atomic_thread_fence(memory_order_seq_cst);
}

/* Keeps the compiler from moving a store to the pool across the point where this process may die.  The processor is not
 * concerned: what a killed process has stored, in program order, others see. */
static inline void dm_fence_crash_order(void)
{
	atomic_signal_fence(memory_order_seq_cst);
}

/* In a loop that waits for another thread. */
static inline void dm_spin_pause(void)
{
#if defined(__x86_64__)
	__builtin_ia32_pause();
#elif defined(__aarch64__)
	__asm__ volatile("yield");
#endif
}

/*
 * Lines of pools that hosts share without hardware coherence.  `line` is any address in a line of this process that is
 * mapped.  On x86-64 none of the first two is ordered with later stores or loads before one of the two fences behind them;
 * dm_line_drop_in_order() is, with stores and with others of its kind.  On arm64 the names are two instructions.
 */
#if defined(__x86_64__)

/* Bring what we stored in the line to memory; the line may stay in the cache.  Wants CLWB. */
static inline void dm_line_write_back(const void *line)
{
	__asm__ volatile("clwb %0" : "+m"(*(volatile char *)(uintptr_t)line));
}

/* The same, and forget the line: the next load asks the memory.  Wants CLFLUSHOPT. */
static inline void dm_line_drop(const void *line)
{
	__asm__ volatile("clflushopt %0" : "+m"(*(volatile char *)(uintptr_t)line));
}

/* The same with the instruction that every x86-64 processor has, which waits for its predecessors. */
static inline void dm_line_drop_in_order(const void *line)
{
	__asm__ volatile("clflush %0" : "+m"(*(volatile char *)(uintptr_t)line));
}

/* After the write-backs, before the store that tells others of them.  Pairs with dm_fence_lines_dropped() of the reader. */
static inline void dm_fence_lines_written(void)
{
	__asm__ volatile("sfence" ::: "memory");
}

/* After the drops, before the loads that must find what others wrote: a load may pass a flush that only a store fence
 * follows.  Pairs with dm_fence_lines_written() of the writer. */
static inline void dm_fence_lines_dropped(void)
{
	__asm__ volatile("mfence" ::: "memory");
}

#elif defined(__aarch64__)

static inline void dm_line_write_back(const void *line)
{
	__asm__ volatile("dc cvac, %0" : : "r"(line) : "memory");
}

static inline void dm_line_drop(const void *line)
{
	__asm__ volatile("dc civac, %0" : : "r"(line) : "memory");
}

static inline void dm_line_drop_in_order(const void *line)
{
	__asm__ volatile("dc civac, %0" : : "r"(line) : "memory");
}

/* The whole system, not the inner domain: other hosts are outside of that. */
static inline void dm_fence_lines_written(void)
{
	__asm__ volatile("dsb sy" ::: "memory");
}

static inline void dm_fence_lines_dropped(void)
{
	__asm__ volatile("dsb sy" ::: "memory");
}

#else
#error "libdmem does not know how this processor writes back and drops lines of its cache: name the instructions here"
#endif

#endif
