/* SPDX-License-Identifier: Apache-2.0 */
/*
 * window.h: the interval of addresses at which a pool is mapped, equal in every member, and words and lines in it.
 *
 * address = base + window offset.  A segment says which device backs a run of window extents.  Everything above this
 * folder reads and writes the pool through addresses in the window, and says so with dm_window_publish() and
 * dm_window_refresh(); atomic words are touched by dm_word_*() only.  In coherent pools these are a fence and an
 * instruction; elsewhere they go to the transport.
 */
#ifndef DM_ADDR_WINDOW_H
#define DM_ADDR_WINDOW_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "addr/superblock_layout.h"
#include "base/arith.h"
#include "base/fence.h"
#include "transport/transport.h"

/* Where windows are put when nobody says: clear of PIE executables (0x55..), libraries and stacks (0x7f..), allocators'
 * hints (2 to 30 TiB), Go, and AddressSanitizer's shadow.  ThreadSanitizer leaves only a small range. */
#if defined(__SANITIZE_THREAD__)
#define DM_WINDOW_TSAN 1
#elif defined(__has_feature)
#if __has_feature(thread_sanitizer)
#define DM_WINDOW_TSAN 1
#endif
#endif
#ifdef DM_WINDOW_TSAN
#define DM_WINDOW_FIRST UINT64_C(0x7e8000000000)
#define DM_WINDOW_END   UINT64_C(0x7f0000000000)
#else
#define DM_WINDOW_FIRST UINT64_C(0x200000000000)
#define DM_WINDOW_END   UINT64_C(0x540000000000)
#endif
#define DM_SPAN_BYTES_MAX (UINT64_C(52) << 40) /* 32 TiB to 84 TiB: what can be reserved below the executables */

enum dm_window_cut_state { DM_WINDOW_WHOLE = 0, DM_WINDOW_CUTTING = 1, DM_WINDOW_CUT = 2 };

/* A segment, copied from a checked superblock. */
struct dm_segment {
	uint64_t window_first;
	uint64_t extents;
	uint64_t device_first;
	uint64_t metadata_off;
	uint64_t data_first;
	uint64_t data_extents;
	uint32_t device;
	_Atomic uint32_t state; /* enum dm_segment_state */
};

/* Who carries out operations on words where neither processor nor transport does; installed by failure/delegate.c. */
enum dm_word_op { DM_WORD_STORE = 0, DM_WORD_EXCHANGE = 1, DM_WORD_CAS = 2, DM_WORD_ADD = 3 };
struct dm_word_ops {
	int (*load)(void *context, const void *word, unsigned width, uint64_t *value);
	/* `expected` is for cas only; `previous` may be NULL. */
	int (*change)(void *context, enum dm_word_op op, void *word, unsigned width, uint64_t operand, uint64_t expected,
	              uint64_t *previous);
	/* While it is held, no line of a word is between its store and its publish. */
	void (*hold)(void *context, bool hold);
};

struct dm_window {
	uint64_t base;
	uint64_t span_bytes;
	bool coherent;                   /* fences are enough, and atomics are the processor's */
	const struct dm_word_ops *words; /* NULL: the transport's atomics */
	void *words_context;
	_Atomic unsigned cut;           /* enum dm_window_cut_state: calls return DMEM_E_FENCED unless it is 0 */
	_Atomic bool lost;              /* memory of a device is gone: calls return DMEM_E_LOST */
	_Atomic uint32_t segment_count; /* grows; entries below it are constant but for their state */
	struct dm_segment segments[DM_SEGMENTS_MAX];
	struct dm_device *devices[DM_DEVICES_MAX];
	uint32_t device_count;              /* under `lock` */
	pthread_mutex_t lock;               /* of reload: superblock, devices and segments */
	struct dm_superblock_pm superblock; /* the newest that was read; under `lock`; what never changes, without */
	bool repair_wanted;                 /* a superblock copy was damaged or older when it was read */
};

/* Reserve a pool's window, map its segments.  `require`, `devices`: as in dmem_attach_options. */
int dm_window_open(const struct dm_uri *uri, const char *require, const char *const *devices,
                   struct dm_window **window);

/* Unmap everything and close the devices. */
void dm_window_close(struct dm_window *window);

/* Read the superblock again and map the segments that are new.  Gives the sequence that is mapped now. */
int dm_window_reload(struct dm_window *window, uint64_t *sequence);

/* A copy of the newest superblock that was read, and its sequence. */
void dm_window_superblock(struct dm_window *window, struct dm_superblock_pm *copy);
uint64_t dm_window_sequence(struct dm_window *window);

/* Cut this process off: on return no store of any of its threads reaches the pool any more, whatever they are doing.  Stores go
 * to copies of its own.  For signal handlers too, and for several threads at a time.  There is no way back but closing. */
void dm_window_cut(struct dm_window *window);

/* Ask every device whether its memory is all there; sets `lost`. */
int dm_window_probe(struct dm_window *window);

/* After fork, in the child: locks that other threads held are free. */
void dm_window_after_fork(struct dm_window *window);

/* The segment whose data or metadata holds this window extent; NULL when none does. */
const struct dm_segment *dm_window_segment(const struct dm_window *window, uint64_t extent);

/* Device, and offset in it, of a window offset; DMEM_E_FOREIGN when no segment holds it.  `run_bytes`, when not NULL, gets how
 * far the segment goes on. */
int dm_window_translate(struct dm_window *window, uint64_t offset, uint32_t *device, uint64_t *device_offset,
                        uint64_t *run_bytes);

/* Take space, or give it back, for a range of window offsets. */
int dm_window_reserve(struct dm_window *window, uint64_t offset, uint64_t bytes);
int dm_window_release(struct dm_window *window, uint64_t offset, uint64_t bytes);

static inline void *dm_window_at(const struct dm_window *window, uint64_t offset)
{
	return (void *)(uintptr_t)(window->base + offset);
}

static inline bool dm_window_contains(const struct dm_window *window, const void *address)
{
	return (uint64_t)(uintptr_t)address - window->base < window->span_bytes;
}

static inline uint64_t dm_window_offset(const struct dm_window *window, const void *address)
{
	return (uint64_t)(uintptr_t)address - window->base;
}

enum dm_window_lines_op { DM_LINES_PUBLISH, DM_LINES_REFRESH, DM_LINES_HANDOFF };

/* The way through the transport, for pools that are not coherent. */
int dm_window_lines(struct dm_window *window, enum dm_window_lines_op op, const void *address, size_t bytes);
int dm_word_slow_load(struct dm_window *window, const void *word, unsigned width, uint64_t *value);
int dm_word_slow_store(struct dm_window *window, void *word, unsigned width, uint64_t value);
int dm_word_slow_exchange(struct dm_window *window, void *word, unsigned width, uint64_t value, uint64_t *previous);
int dm_word_slow_cas(struct dm_window *window, void *word, unsigned width, uint64_t expected, uint64_t desired,
                     uint64_t *previous);
int dm_word_slow_add(struct dm_window *window, void *word, unsigned width, uint64_t addend, uint64_t *previous);

/* Make our stores to these lines visible to whoever refreshes them.  Pairs with dm_window_refresh() of the reader. */
static inline int dm_window_publish(struct dm_window *window, const void *address, size_t bytes)
{
	if (__builtin_expect(window->coherent, 1)) {
		dm_fence_publish();
		return 0;
	}
	return dm_window_lines(window, DM_LINES_PUBLISH, address, bytes);
}

/* Forget what we know of these lines.  Pairs with dm_window_publish() of the writer. */
static inline int dm_window_refresh(struct dm_window *window, const void *address, size_t bytes)
{
	if (__builtin_expect(window->coherent, 1)) {
		dm_fence_observe();
		return 0;
	}
	return dm_window_lines(window, DM_LINES_REFRESH, address, bytes);
}

static inline int dm_word_load(struct dm_window *window, const uint64_t *word, uint64_t *value)
{
	if (__builtin_expect(window->coherent, 1)) {
		*value = __atomic_load_n(word, __ATOMIC_ACQUIRE);
		return 0;
	}
	return dm_word_slow_load(window, word, 8, value);
}

static inline int dm_word_store(struct dm_window *window, uint64_t *word, uint64_t value)
{
	if (__builtin_expect(window->coherent, 1)) {
		__atomic_store_n(word, value, __ATOMIC_RELEASE);
		return 0;
	}
	return dm_word_slow_store(window, word, 8, value);
}

/* The store took place if and only if *previous == expected. */
static inline int dm_word_cas(struct dm_window *window, uint64_t *word, uint64_t expected, uint64_t desired,
                              uint64_t *previous)
{
	if (__builtin_expect(window->coherent, 1)) {
		*previous = expected;
		__atomic_compare_exchange_n(word, previous, desired, false, __ATOMIC_ACQ_REL, __ATOMIC_ACQUIRE);
		return 0;
	}
	return dm_word_slow_cas(window, word, 8, expected, desired, previous);
}

#endif
