/* SPDX-License-Identifier: Apache-2.0 */
/*
 * fence.h: every fence and cache instruction of the library, under a name that says what it is for.
 *
 * Sources: C17 section 7.17.4; Intel SDM vol. 2 (CLWB, CLFLUSHOPT, SFENCE, MFENCE); Arm ARM section D7.5 (DC CVAC,
 * DC CIVAC, DSB).  The flushes for pools that are not coherent belong here too when their transports arrive.
 */
#ifndef DM_BASE_FENCE_H
#define DM_BASE_FENCE_H

#include <stdatomic.h>

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

#endif
