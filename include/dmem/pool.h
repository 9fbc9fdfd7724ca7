/* SPDX-License-Identifier: Apache-2.0 */
/*
 * pool.h: make, attach, look at and remove pools, and give objects in them names.
 *
 * A pool is named by a URI: "file:/dev/shm/name"; "dax:/dev/dax0.0", a DAX device; "cxl:region0" or "cxl:SERIAL", a DAX device
 * found on the CXL bus.  What the option structs say can also be said there, as "?key=value&key=value"; a value in the URI
 * wins over the struct.  Keys: size, base, span, members, coherence, atomics, lease, beat, mode (used when a pool is
 * created, checked for form when it is attached), fault, require, device (used when it is attached).  Sizes take the
 * suffixes K, M, G, T (powers of 1024).
 */
#ifndef DMEM_POOL_H
#define DMEM_POOL_H

#include <stddef.h>
#include <stdint.h>

#include "dmem/version.h"

#ifdef __cplusplus
extern "C" {
#endif

/* A pool that this process has attached.  A handle stays valid as a handle for ever: after the last detach, calls that
 * are given it return DMEM_E_DETACHED. */
struct dmem_pool;

/* How a store of one host reaches another (docs/memory-model.md). */
enum dmem_coherence {
	DMEM_COHERENCE_DEFAULT = 0,     /* what the transport declares */
	DMEM_COHERENCE_COHERENT = 1,    /* one machine, or hardware that keeps hosts coherent */
	DMEM_COHERENCE_NONCOHERENT = 2, /* members flush and invalidate lines */
	DMEM_COHERENCE_PAGED = 3,       /* members cache pages of a remote pool */
};

/* Who carries out atomic operations. */
enum dmem_atomics {
	DMEM_ATOMICS_DEFAULT = 0,  /* what the transport declares */
	DMEM_ATOMICS_CPU = 1,      /* the processor of the caller */
	DMEM_ATOMICS_DELEGATE = 2, /* an arbiter host, asked through request lines */
	DMEM_ATOMICS_REMOTE = 3,   /* the memory node */
};

/* What dmem_pool_create() may be told.  Zero in any field means the default. */
struct dmem_create_options {
	size_t struct_bytes;           /* sizeof(struct dmem_create_options) */
	uint64_t size_bytes;           /* capacity; default: half of the machine's memory (sparse), or the whole device */
	uint64_t base;                 /* window base, a multiple of 2 MiB; default: the lowest free range of the registry */
	uint64_t span_bytes;           /* address space the pool may ever fill; default: 4 x size, at least 64 GiB */
	enum dmem_coherence coherence; /* default: what the transport declares */
	enum dmem_atomics atomics;     /* default: what the transport declares */
	uint32_t lease_ms;             /* a host that is silent this long is fenced; default 1000 */
	uint32_t beat_ms;              /* heartbeat period; default 100 */
	uint32_t mode;                 /* permission bits of a pool file; default 0600 */
	uint32_t members_max;          /* member slots, 16 to 4096; default by size */
};
#define DMEM_CREATE_OPTIONS_DEFAULT {.struct_bytes = sizeof(struct dmem_create_options)}

/* How page faults of paged memory are served. */
enum dmem_fault_mode {
	DMEM_FAULT_DEFAULT = 0, /* the handler thread */
	DMEM_FAULT_HANDLER = 1, /* transparent to system calls */
	DMEM_FAULT_INLINE = 2,  /* in the faulting thread: faster, but system calls on absent pages fail with EFAULT */
};

/* What dmem_pool_attach() may be told.  Zero in any field means the default. */
struct dmem_attach_options {
	size_t struct_bytes;        /* sizeof(struct dmem_attach_options) */
	enum dmem_fault_mode fault; /* only for paged pools */
	const char *require;        /* "file", "dax", "rdma", ...: refuse any other transport; NULL for no demand */
	const char *const *devices; /* URIs of the pool's further devices where their recorded paths are stale; NULL-terminated */
};
#define DMEM_ATTACH_OPTIONS_DEFAULT {.struct_bytes = sizeof(struct dmem_attach_options)}

/* What a pool is and how full it is.  Set struct_bytes before the call. */
struct dmem_pool_info {
	size_t struct_bytes;           /* sizeof(struct dmem_pool_info) */
	char uri[256];                 /* of the first device, without keys */
	uint8_t uuid[16];              /* identity of the pool */
	uint32_t layout_version;       /* of the on-pool structures */
	uint32_t granule_bytes;        /* every block is a multiple of this and starts at a multiple of it */
	uint64_t base;                 /* address of the window, the same in every member */
	uint64_t span_bytes;           /* length of the window */
	uint64_t size_bytes;           /* capacity of all devices */
	uint64_t metadata_bytes;       /* of it, held by the library's structures */
	uint64_t leased_bytes;         /* extents that hold blocks or are leased to a member */
	uint64_t free_bytes;           /* extents nobody has leased */
	uint64_t extent_bytes;         /* 2 MiB */
	uint64_t chunk_bytes;          /* what a member leases at a time */
	uint64_t unit_bytes;           /* smallest piece that can be moved or lost: max(2 MiB, device alignment) */
	enum dmem_coherence coherence; /* as recorded in the pool */
	enum dmem_atomics atomics;     /* as recorded in the pool */
	uint32_t lease_ms;             /* as recorded in the pool */
	uint32_t beat_ms;              /* as recorded in the pool */
	uint32_t devices;              /* number of devices */
	uint32_t segments;             /* number of contiguous pieces of capacity */
	uint32_t members;              /* members that are attached now */
	uint32_t members_max;          /* member slots */
	uint32_t self;                 /* this member's slot */
	uint32_t self_incarnation;     /* and its incarnation */
	uint32_t roots;                /* named objects */
	uint32_t quarantined;          /* extents that failed a check and are not used any more */
	uint64_t bad_frees;            /* invalid frees this member was asked for and refused */
};

/**
 * dmem_pool_create() - format a new pool.
 * @uri:     where; "file:/path?size=1G".  Copied.
 * @options: what it shall be, or NULL for the defaults.
 *
 * The pool appears whole: a member that attaches at any moment finds either nothing or a finished pool.  A file is
 * sparse: its space is reserved when memory is leased, so a full file system shows as ENOMEM at an allocation.  A device is
 * there already: the pool takes all of it, or the size that is asked for, a multiple of its alignment.  Create a pool on a
 * device from one host only: two hosts that do it at the same time do not see each other.
 *
 * Returns:    0; -EEXIST there is a file of that name, or a pool on the device (it is left alone); DMEM_E_URI;
 *             DMEM_E_OPTION; DMEM_E_TOO_SMALL; DMEM_E_WINDOW the asked-for base overlaps another pool's window, or no range is
 *             free; DMEM_E_REGISTRY; -ENOENT, -EACCES, -ENOSPC, ... from the file system; DMEM_E_UNSUPPORTED no such
 *             transport in this build.
 * Threads:    safe from any thread.
 * Blocks:     while another process holds the registry's lock; takes some milliseconds.
 * Visibility: the finished pool is visible to every later attach.
 * On failure: nothing is left behind.
 * Crash:      may leave a file "PATH.new.PID" and a registry line; the next creation clears both.
 * Source:     docs/layout.md; docs/design/0002-window.md.
 */
DMEM_API DMEM_MUST_CHECK int dmem_pool_create(const char *uri, const struct dmem_create_options *options);

/**
 * dmem_pool_attach() - map a pool at its window and join it as a member.
 * @uri:     where it is.  Copied.
 * @options: how, or NULL for the defaults.
 * @pool:    [out] the pool; untouched on failure.  Release with dmem_pool_detach().
 *
 * Attaching a pool that this process has attached already gives the same handle and counts; each attach wants its
 * detach.  The cost does not depend on the pool's size.
 *
 * Returns:    0; -ENOENT; -EACCES; -EROFS the file may not be written; DMEM_E_URI; DMEM_E_OPTION; DMEM_E_NOT_POOL;
 *             DMEM_E_VERSION; DMEM_E_CORRUPT both superblocks are damaged; DMEM_E_WINDOW something else is mapped in the
 *             pool's window (dmem_last_error() names it); DMEM_E_MEMBERS; DMEM_E_DEVICE; DMEM_E_LOST a device is shorter than
 *             the pool; -ENOMEM; -EMFILE; -EDEADLK called from inside an attach or detach of this thread.
 * Threads:    safe from any thread.
 * Blocks:     never on another member.
 * Visibility: everything published before is visible here.
 * On failure: no effect on the pool or the process.
 * Crash:      a member that dies inside is found and its slot freed by any other member, or by the next to attach.
 * Source:     docs/architecture.md; docs/failure-model.md.
 */
DMEM_API DMEM_MUST_CHECK int dmem_pool_attach(const char *uri, const struct dmem_attach_options *options,
                                              struct dmem_pool **pool);

/**
 * dmem_pool_detach() - leave a pool and unmap it.
 * @pool: an attached pool.
 *
 * Shared blocks stay in the pool; blocks of dmem_alloc_pool() go back to it.  With the last detach of this process its
 * addresses become invalid here; other members are not affected.
 *
 * Returns:    0; DMEM_E_DETACHED it is detached already.
 * Threads:    safe from any thread; no other thread of this process may be inside a call on the pool, or use its memory.
 * Blocks:     until the member's agent thread has stopped.
 * Visibility: publishes everything this member stored.
 * On failure: nothing has changed.
 * Crash:      as a death outside: other members take over what this one had leased.
 * Source:     docs/failure-model.md.
 */
DMEM_API int dmem_pool_detach(struct dmem_pool *pool);

/**
 * dmem_pool_destroy() - remove a pool and its window from the registry.
 * @uri: where it is.
 *
 * A file is removed.  A device stays, and its superblocks are overwritten; what else was in the pool is still on it.
 *
 * Returns:    0; -ENOENT; -EACCES; DMEM_E_URI; DMEM_E_NOT_POOL the file is not a pool (it is left alone); DMEM_E_BUSY a
 *             member is attached (dead members do not count).
 * Threads:    safe from any thread.
 * Blocks:     while another process holds the registry's lock.
 * Visibility: later attaches fail with -ENOENT.
 * On failure: nothing has changed.
 * Crash:      may leave the registry line of a pool that is gone; the next creation clears it.
 * Source:     docs/design/0002-window.md.
 */
DMEM_API DMEM_MUST_CHECK int dmem_pool_destroy(const char *uri);

/**
 * dmem_pool_grow() - make the pool's first device larger while members use it.
 * @pool:       an attached pool.
 * @size_bytes: the device's new size; more than it has, within the pool's span.
 *
 * Every live member maps the new memory and says so before it is used.
 *
 * Returns:    0; DMEM_E_OPTION not larger, or beyond the span; -ENOSPC no room for a further segment; DMEM_E_BUSY a
 *             member has not answered yet: the memory is added, and used as soon as it does; DMEM_E_DETACHED;
 *             DMEM_E_UNSUPPORTED the device cannot grow.
 * Threads:    safe from any thread of any member.
 * Blocks:     until every live member has answered, at most some heartbeats.
 * Visibility: the new capacity is visible to all members.
 * On failure: the pool is as it was, except with DMEM_E_BUSY.
 * Crash:      the segment is there whole or not at all; a file that is longer than its segments is harmless.
 * Source:     docs/design/0003-growth.md.
 */
DMEM_API DMEM_MUST_CHECK int dmem_pool_grow(struct dmem_pool *pool, uint64_t size_bytes);

/**
 * dmem_pool_add() - add a device to a pool while members use it.
 * @pool: an attached pool.
 * @uri:  the device; a file is created with the size its "size" key says, a DAX device is taken whole without that key.
 *
 * Returns:    0; -EEXIST; DMEM_E_URI; DMEM_E_TOO_SMALL; DMEM_E_OPTION beyond the span; -ENOSPC the device table is full;
 *             DMEM_E_BUSY (as dmem_pool_grow()); DMEM_E_DETACHED; -EACCES, ... from the file system.
 * Threads:    safe from any thread of any member.
 * Blocks:     until every live member has answered, at most some heartbeats.
 * Visibility: the new capacity is visible to all members.
 * On failure: the pool is as it was, except with DMEM_E_BUSY.
 * Crash:      the device is in the pool's table whole or not at all.
 * Source:     docs/design/0003-growth.md.
 */
DMEM_API DMEM_MUST_CHECK int dmem_pool_add(struct dmem_pool *pool, const char *uri);

/**
 * dmem_pool_info() - what a pool is and how full it is.
 * @pool: an attached pool.
 * @info: [out] filled up to its struct_bytes, which the caller sets.
 *
 * Returns:    0; DMEM_E_OPTION struct_bytes is 0; DMEM_E_DETACHED; DMEM_E_LOST.
 * Threads:    safe from any thread.
 * Blocks:     never on another member; walks the chunk table.
 * Visibility: a snapshot; numbers may change while it is taken.
 * On failure: @info is untouched.
 * Crash:      changes nothing.
 * Source:     none.
 */
DMEM_API DMEM_MUST_CHECK int dmem_pool_info(struct dmem_pool *pool, struct dmem_pool_info *info);

/* One finding of dmem_pool_validate(): a sentence that names the structure, its place and what is wrong. */
typedef void (*dmem_finding_fn)(void *context, const char *finding);

/**
 * dmem_pool_validate() - check every structure of a pool against its invariants.
 * @pool:     an attached pool; other members may be using it.
 * @callback: called with each finding; NULL to count only.
 * @context:  handed to the callback.
 *
 * Returns:    0 nothing is wrong; DMEM_E_CORRUPT something is; DMEM_E_DETACHED; DMEM_E_LOST.
 * Threads:    safe from any thread.
 * Blocks:     never on another member; walks all metadata of memory that is leased.
 * Visibility: refreshes what it reads.
 * On failure: the pool is not changed.
 * Crash:      changes nothing.
 * Source:     docs/layout.md.
 */
DMEM_API DMEM_MUST_CHECK int dmem_pool_validate(struct dmem_pool *pool, dmem_finding_fn callback, void *context);

/**
 * dmem_default_pool() - the pool that the malloc-shaped calls use.
 *
 * The first call attaches the pool that DMEM_POOL names; with DMEM_POOL unset, "file:/dev/shm/dmem-UID", which is created
 * when it is not there.
 *
 * Returns:    the pool; NULL with errno when it can't be had (dmem_last_error() says why), and the next call tries again.
 * Threads:    safe from any thread.
 * Blocks:     as dmem_pool_attach().
 * Visibility: as dmem_pool_attach().
 * On failure: as dmem_pool_attach().
 * Crash:      as dmem_pool_attach().
 * Source:     docs/architecture.md.
 */
DMEM_API struct dmem_pool *dmem_default_pool(void);

/**
 * dmem_pool_of() - the attached pool whose window an address lies in.
 * @address: any address; interior pointers are fine, and so is the base of a window.
 *
 * Handles of pools are private to a process, addresses are not: something that lives in a pool and has to find it again in
 * every member keeps dmem_pool_base(), and asks here.
 *
 * Returns:    the pool; NULL with errno EINVAL (the address is in no attached pool; blocks of dmem_alloc_pool() and
 *             dmem_alloc_local() are in none).
 * Threads:    safe from any thread; takes no lock.
 * Blocks:     never.
 * Visibility: none.
 * On failure: NULL.
 * Crash:      changes nothing.
 * Source:     docs/design/0002-window.md.
 */
DMEM_API struct dmem_pool *dmem_pool_of(const void *address);

/**
 * dmem_pool_base() - where a pool's window starts, in every member: what dmem_pool_of() finds the pool by.
 * @pool: an attached pool.
 *
 * The base in struct dmem_pool_info, without a look at how full the pool is.
 *
 * Returns:    the address of the window's first byte, which is not to be read or written; NULL with errno EINVAL (@pool is
 *             NULL), EBADF (detached), EIO (the pool's memory was lost), or why a child of fork() could not join.
 * Threads:    safe from any thread.
 * Blocks:     never on another member.
 * Visibility: none.
 * On failure: NULL.
 * Crash:      changes nothing.
 * Source:     docs/design/0002-window.md.
 */
DMEM_API void *dmem_pool_base(struct dmem_pool *pool);

#define DMEM_ROOT_NAME_BYTES_MAX 63 /* longest name of a root, without the final zero */

/**
 * dmem_root_set() - give an object a name that every member can look up.
 * @pool:   an attached pool.
 * @name:   1 to 63 bytes.
 * @object: an address inside the pool; replaces what the name meant before; NULL removes the name.
 *
 * Returns:    0; DMEM_E_NAME; DMEM_E_FOREIGN the object is not in this pool; -ENOENT removal of a name that is not
 *             there; -ENOSPC the root directory is full; DMEM_E_DETACHED; DMEM_E_LOST; -ETIMEDOUT the directory's lock
 *             is held by a live member that does not go on.
 * Threads:    safe from any thread of any member.
 * Blocks:     while another member changes the directory; a dead one is replaced.
 * Visibility: release: what was published before is visible to whoever gets the root and refreshes.
 * On failure: the name means what it meant before.
 * Crash:      the name means the old object or the new one.
 * Source:     docs/layout.md.
 */
DMEM_API DMEM_MUST_CHECK int dmem_root_set(struct dmem_pool *pool, const char *name, void *object);

/**
 * dmem_root_get() - the object that has a name.
 * @pool: an attached pool.
 * @name: 1 to 63 bytes.
 *
 * Returns:    its address; NULL with errno ENOENT (no such name), EINVAL (name empty or too long), EBADF (detached),
 *             EIO (the pool's memory was lost or the directory is damaged).
 * Threads:    safe from any thread of any member; does not lock.
 * Blocks:     never on another member.
 * Visibility: acquire; refresh the object before its first use when the pool is not coherent.
 * On failure: NULL.
 * Crash:      changes nothing.
 * Source:     docs/layout.md.
 */
DMEM_API void *dmem_root_get(struct dmem_pool *pool, const char *name);

#ifdef __cplusplus
}
#endif
#endif
