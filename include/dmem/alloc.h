/* SPDX-License-Identifier: Apache-2.0 */
/*
 * alloc.h: memory.
 *
 *   dmem_alloc_shared()  in the pool; the address means the same object in every member on every host
 *   dmem_alloc_pool()    in the pool; private to this process, gone with it
 *   dmem_alloc_local()   in local memory
 *   dmem_alloc()         where it fits best; private to this process
 *
 * They use the default pool (dmem_default_pool()).  Each is freed with dmem_free(), which also takes blocks that another
 * member on another host allocated shared.  A size of 0 gives a block of the smallest size.  Blocks are aligned to 16
 * bytes at least; in pools that are not coherent to 64, and two shared blocks never share a 64-byte line there.
 */
#ifndef DMEM_ALLOC_H
#define DMEM_ALLOC_H

#include <stddef.h>
#include <stdint.h>

#include "dmem/version.h"

#ifdef __cplusplus
extern "C" {
#endif

struct dmem_pool;

/* Where memory is, or shall be. */
enum dmem_tier {
	DMEM_TIER_ANY = 0,    /* dmem_alloc_ex(): the default, shared */
	DMEM_TIER_LOCAL = 1,  /* this machine's own memory */
	DMEM_TIER_POOL = 2,   /* the pool, private to the process */
	DMEM_TIER_SHARED = 3, /* the pool, shared between members */
};

/* What dmem_alloc_ex() may be told.  Zero in any field means the default. */
struct dmem_alloc_options {
	size_t struct_bytes;    /* sizeof(struct dmem_alloc_options) */
	enum dmem_tier tier;    /* default: DMEM_TIER_SHARED */
	uint32_t zeroed;        /* not 0: the block reads as zeros */
	size_t alignment_bytes; /* a power of two up to 1 GiB; default 16 */
	uint32_t optional;      /* not 0: the block may be lost (later: DMEM_E_UNSUPPORTED in this version) */
	uint32_t reserved;      /* 0 */
	const void *near;       /* a block to be near to; a hint, which this version does not use */
};
#define DMEM_ALLOC_OPTIONS_DEFAULT {.struct_bytes = sizeof(struct dmem_alloc_options)}

/* Where an address is. */
struct dmem_location {
	size_t struct_bytes;         /* sizeof(struct dmem_location), set by the caller */
	enum dmem_tier tier;         /* local, pool or shared */
	uint32_t device;             /* index in the pool's device table */
	struct dmem_pool *pool;      /* NULL for local memory */
	uint64_t offset;             /* from the window's base: the same in every member */
	uint64_t device_offset;      /* where in the device the byte lies */
	int32_t node;                /* NUMA node of the memory, -1 when not known */
	uint32_t owner;              /* slot of the member that owns the chunk; UINT32_MAX when none does */
	uint32_t owner_incarnation;  /* its incarnation */
	uint32_t reserved;           /* 0 */
};

/**
 * dmem_alloc_shared() - allocate shared memory in the default pool.
 * @bytes: size; 0 gives a block of the smallest size.
 *
 * Returns:    the block; NULL with errno ENOMEM (the pool or its file system is full, or @bytes can't be had at all),
 *             or the reason the default pool can't be attached (dmem_last_error()).
 * Threads:    safe from any thread; not from signal handlers.
 * Blocks:     never on another member.
 * Visibility: the block is known to this member only until its address is published.
 * On failure: nothing has changed.
 * Crash:      a death inside loses at most this one block; a death before the address is stored loses this block.
 * Source:     docs/design/0004-shared-allocator.md.
 */
DMEM_API void *dmem_alloc_shared(size_t bytes);

/**
 * dmem_alloc_pool() - allocate memory in the default pool that is private to this process.
 * @bytes: size; 0 gives a block of the smallest size.
 *
 * Returns:    the block; NULL with errno, as dmem_alloc_shared().
 * Threads:    safe from any thread; not from signal handlers.
 * Blocks:     never on another member.
 * Visibility: other members must not use it; a child of fork() gets a copy of its own.
 * On failure: nothing has changed.
 * Crash:      all such memory of a process goes back to the pool when the process dies.
 * Source:     docs/design/0005-private-pool-memory.md.
 */
DMEM_API void *dmem_alloc_pool(size_t bytes);

/**
 * dmem_alloc_local() - allocate local memory.
 * @bytes: size; 0 gives a block of the smallest size.
 *
 * Returns:    the block; NULL with errno ENOMEM.
 * Threads:    safe from any thread; not from signal handlers.
 * Blocks:     never on another member.
 * Visibility: private to this process.
 * On failure: nothing has changed.
 * Crash:      gone with the process.
 * Source:     none.
 */
DMEM_API void *dmem_alloc_local(size_t bytes);

/**
 * dmem_alloc() - allocate private memory where it fits best.
 * @bytes: size; 0 gives a block of the smallest size.
 *
 * Returns:    the block; NULL with errno ENOMEM.
 * Threads:    safe from any thread; not from signal handlers.
 * Blocks:     never on another member.
 * Visibility: private to this process.
 * On failure: nothing has changed.
 * Crash:      gone with the process.
 * Source:     docs/architecture.md.
 */
DMEM_API void *dmem_alloc(size_t bytes);

/**
 * dmem_alloc_shared_to() - allocate shared memory and store its address in the pool, as one operation.
 * @slot: where the address goes: a pointer in an attached pool, aligned to 8 bytes.  The block comes from that pool.
 *        Until the call returns nobody else stores to it.
 * @bytes: size; 0 gives a block of the smallest size.
 *
 * Returns:    0; -EINVAL: @slot is not such a pointer; -ENOMEM: the pool is full, or this thread can have no heap;
 *             DMEM_E_* when the pool can't be used.
 * Threads:    safe from any thread, each with a slot of its own; not from signal handlers.
 * Blocks:     never on another member.
 * Visibility: the slot is published as by dmem_publish(); what the slot held before is overwritten.
 * On failure: nothing has changed.
 * Crash:      leaks nothing: after the repair of a death inside, the slot holds the block, or it holds what it held before
 *             and the block is free.
 * Source:     docs/design/0009-crash-safe-handover.md.
 */
DMEM_API int dmem_alloc_shared_to(void **slot, size_t bytes);

/**
 * dmem_free_from() - free the shared block whose address a slot holds, and clear the slot, as one operation.
 * @slot: as in dmem_alloc_shared_to(), in the block's pool; when it holds NULL nothing happens.
 *
 * Returns:    0; -EINVAL: @slot is not in a pool; DMEM_E_DOUBLE_FREE, DMEM_E_INTERIOR, DMEM_E_FOREIGN: it does not hold
 *             the start of a live shared block of its pool; -ENOMEM: this thread can have no heap; DMEM_E_CORRUPT.
 * Threads:    safe from any thread, each with a slot of its own; not from signal handlers.
 * Blocks:     never on another member.
 * Visibility: the slot is published as by dmem_publish().
 * On failure: nothing has changed; after an I/O failure of the pool the slot may be cleared and the block not free.
 * Crash:      leaks nothing: after the repair of a death inside, the slot holds the block, which is alive, or NULL, and the
 *             block is free.
 * Source:     docs/design/0009-crash-safe-handover.md.
 */
DMEM_API int dmem_free_from(void **slot);

/**
 * dmem_alloc_ex() - allocate with options.
 * @pool:    an attached pool; NULL for the default pool.
 * @bytes:   size; 0 gives a block of the smallest size.
 * @options: what is wanted, or NULL for shared memory with the defaults.
 *
 * Returns:    the block; NULL with errno ENOMEM; EINVAL (an alignment that is not a power of two or above 1 GiB, an
 *             unknown tier); ENOTSUP (optional memory); EBADF (the pool is detached); EIO (the pool's memory was lost).
 * Threads:    safe from any thread; not from signal handlers.
 * Blocks:     never on another member.
 * Visibility: as the call for the tier.
 * On failure: nothing has changed.
 * Crash:      as the call for the tier.
 * Source:     docs/design/0004-shared-allocator.md.
 */
DMEM_API void *dmem_alloc_ex(struct dmem_pool *pool, size_t bytes, const struct dmem_alloc_options *options);

/**
 * dmem_realloc() - change the size of a block.
 * @block: from any of the calls above, or NULL for dmem_alloc_shared().
 * @bytes: the new size; 0 gives a block of the smallest size (it does not free).
 *
 * The block stays where it is while the new size is from half of its usable size up to all of it, and stays in its pool and
 * tier when it moves.
 *
 * Returns:    the block; NULL with errno ENOMEM, or EINVAL for a pointer that is not the start of a live block.
 * Threads:    safe from any thread; nobody else may use the block meanwhile.
 * Blocks:     never on another member.
 * Visibility: the contents are copied by this member, without being published.
 * On failure: the old block is untouched.
 * Crash:      a death inside loses at most the new block; the old one is whole until it is freed.
 * Source:     docs/design/0004-shared-allocator.md.
 */
DMEM_API void *dmem_realloc(void *block, size_t bytes);

/**
 * dmem_free() - give a block back.
 * @block: from any of the calls above, allocated by any member; NULL does nothing.
 *
 * A pointer that is not the start of a live block is refused: logged, counted in dmem_pool_info, described by
 * dmem_last_error(), and nothing is changed.
 *
 * Returns:    nothing; errno is preserved.
 * Threads:    safe from any thread of any member; not from signal handlers.
 * Blocks:     never on another member.
 * Visibility: the caller's stores to the block need not be published.
 * On failure: nothing has changed.
 * Crash:      the block is free or it is not.
 * Source:     docs/design/0004-shared-allocator.md.
 */
DMEM_API void dmem_free(void *block);

/**
 * dmem_usable_size() - how many bytes a block really has.
 * @block: a live block, or NULL.
 *
 * Returns:    bytes, at least what was asked for; 0 for NULL and for pointers that are not the start of a live block.
 * Threads:    safe from any thread of any member.
 * Blocks:     never.
 * Visibility: none.
 * On failure: 0.
 * Crash:      changes nothing.
 * Source:     none.
 */
DMEM_API size_t dmem_usable_size(const void *block);

/**
 * dmem_is_pool_private() - does an address lie where private pool memory is?
 * @address: any address; interior pointers are fine.
 *
 * For allocators that are put before malloc and have to know whom a block belongs to, in a few nanoseconds.  It says
 * nothing about whether the address is in a live block: dmem_usable_size() does.
 *
 * Returns:    1 the address is in a range that only dmem_alloc_pool() gives blocks from, also in a child of fork() that
 *             inherited them; 0 it is not.
 * Threads:    safe from any thread and from signal handlers; takes no lock.
 * Blocks:     never.
 * Visibility: none.
 * On failure: cannot fail.
 * Crash:      changes nothing.
 * Source:     docs/design/0005-private-pool-memory.md.
 */
DMEM_API int dmem_is_pool_private(const void *address);

/**
 * dmem_locate() - where an address is.
 * @address:  any address; interior pointers are fine.
 * @location: [out] filled up to its struct_bytes, which the caller sets.
 *
 * Returns:    0; DMEM_E_FOREIGN the address is neither in an attached pool nor in a block of this library; DMEM_E_OPTION
 *             struct_bytes is 0; DMEM_E_LOST.
 * Threads:    safe from any thread.
 * Blocks:     never.
 * Visibility: a snapshot.
 * On failure: @location is untouched.
 * Crash:      changes nothing.
 * Source:     docs/layout.md.
 */
DMEM_API DMEM_MUST_CHECK int dmem_locate(const void *address, struct dmem_location *location);

#ifdef __cplusplus
}
#endif
#endif
