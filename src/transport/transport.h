/* SPDX-License-Identifier: Apache-2.0 */
/*
 * transport.h: the contract between the library and the places where pool memory can be.
 *
 * A backend is one folder with three small tables: region (name, size, mapping), data (bytes and words), health.
 * Missing operations are filled in from one nosys table when the backend is registered, so callers never test for NULL;
 * operations that only make sense together (create/commit/destroy, reserve/release, the five atomics) are all given
 * or all missing.
 *
 * For every operation: it may be called from any thread; no lock of the library is held that the operation could need;
 * it never calls back into the library; it returns 0 or a negative code and has described a failure with dm_fail();
 * out-parameters are written only on success.  `offset` counts bytes from the start of the device.  `address` is where
 * the byte at `offset` is mapped in this process.
 */
#ifndef DM_TRANSPORT_TRANSPORT_H
#define DM_TRANSPORT_TRANSPORT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "dmem/pool.h"
#include "transport/uri.h"

struct dm_transport;

/* What a device can do; set by open and create. */
enum dm_device_caps {
	DM_CAP_ZEROED = 1 << 0,   /* memory that was never written reads as zeros */
	DM_CAP_GROWS = 1 << 1,    /* grow works */
	DM_CAP_RESERVES = 1 << 2, /* space is taken when reserve says so; without it everything is there from the start */
	DM_CAP_MAPS = 1 << 3,     /* map gives direct access to the device's memory */
};

/* An open device.  Backends embed it as the first member of their own structure. */
struct dm_device {
	const struct dm_transport *transport;
	uint64_t size_bytes;  /* capacity as far as it is known: see dm_device_bytes(); size() asks again */
	uint64_t align_bytes; /* mappings start and end at multiples of it: 2 MiB, or 1 GiB; a power of two */
	uint32_t caps;        /* enum dm_device_caps */
	enum dmem_coherence coherence_default; /* what pools on this device are when nobody says */
	enum dmem_atomics atomics_default;
	int node;       /* NUMA node, -1 when not known */
	char name[256]; /* the device's URI without keys, for messages and hints; truncated when longer */
};

/* The known capacity of a device that several threads use: one may grow it, or learn that others did. */
static inline uint64_t dm_device_bytes(const struct dm_device *device)
{
	return __atomic_load_n(&device->size_bytes, __ATOMIC_RELAXED);
}

static inline void dm_device_learn_bytes(struct dm_device *device, uint64_t bytes)
{
	uint64_t known = dm_device_bytes(device);

	while (bytes > known &&
	       !__atomic_compare_exchange_n(&device->size_bytes, &known, bytes, true, __ATOMIC_RELAXED, __ATOMIC_RELAXED))
		;
}

struct dm_region_ops {
	/* Open an existing device for reading and writing.  -ENOENT, -EACCES, -EROFS, DMEM_E_UNSUPPORTED (not a kind of
	 * file that can hold a pool), -EMFILE.  Never creates. */
	int (*open)(const struct dm_uri *uri, struct dm_device **device);
	/* How much a device has that is there before any pool is made on it; 0 where create makes devices of any size. */
	int (*capacity)(const struct dm_uri *uri, uint64_t *bytes);
	/* Make a device of `size_bytes` (a multiple of 2 MiB) under a temporary name, readable as zeros where it has
	 * DM_CAP_ZEROED.  -EEXIST when the final name is taken.  Cleans up temporary names of creators that are dead.
	 * A device that is there before is taken as it is: -EEXIST when it holds a pool (pool_mark.h), and the pool
	 * appears when its superblock is written. */
	int (*create)(const struct dm_uri *uri, uint64_t size_bytes, uint32_t mode, struct dm_device **device);
	/* Give a device from create its final name, in one step; -EEXIST when somebody was faster. */
	int (*commit)(struct dm_device *device);
	/* Remove the name of the device; memory goes when the last user closes it.  A device that was there before stays, and
	 * loses its marks; -ENOENT when it has none. */
	int (*destroy)(const struct dm_uri *uri);
	/* Release the handle.  A device from create that was not committed disappears. */
	void (*close)(struct dm_device *device);
	/* Ask for the present size. */
	int (*size)(struct dm_device *device, uint64_t *bytes);
	/* Map [offset, offset + bytes) at exactly `address`, over the reservation that is there; multiples of align_bytes.
	 * Without DM_CAP_MAPS: give memory there that holds this member's copy. */
	int (*map)(struct dm_device *device, uint64_t offset, uint64_t bytes, void *address);
	/* From here on what this process stores to a part that it has mapped at `address` stays in this process, and nothing else
	 * of it reaches the device.  Loads go on to see something: the device, or what was there.  Runs in a signal handler, in
	 * several threads at a time, and again; describes no failure.  Without the operation the mapping becomes read-only. */
	int (*isolate)(struct dm_device *device, uint64_t offset, uint64_t bytes, void *address);
	/* Make the device larger; at most what the caller asked.  -ENOSPC, -EFBIG. */
	int (*grow)(struct dm_device *device, uint64_t size_bytes);
	/* Take space for [offset, offset + bytes) now, so that no later store can fail; contents are kept.  -ENOSPC; after a
	 * failure some of the range may have space: release what is not in use. */
	int (*reserve)(struct dm_device *device, uint64_t offset, uint64_t bytes);
	/* Give space back; the range reads as zeros then, where the device has DM_CAP_ZEROED. */
	int (*release)(struct dm_device *device, uint64_t offset, uint64_t bytes);
	/* Be the only process of this machine that has mark `number` of the device, until *fd is closed, by its end at the latest.
	 * -EAGAIN: another has it.  DMEM_E_UNSUPPORTED, without a word: other machines may reach the device, and this one's
	 * kernel can't decide. */
	int (*exclude)(struct dm_device *device, uint32_t number, int *fd);
};

struct dm_data_ops {
	/* Copy bytes between the device and a buffer, without the mapping: used before there is one. */
	int (*read)(struct dm_device *device, uint64_t offset, void *buffer, size_t bytes);
	int (*write)(struct dm_device *device, uint64_t offset, const void *buffer, size_t bytes);
	/* dmem_publish(), dmem_refresh(), dmem_handoff() of a mapped range inside one device. */
	int (*publish)(struct dm_device *device, uint64_t offset, void *address, size_t bytes);
	int (*refresh)(struct dm_device *device, uint64_t offset, void *address, size_t bytes);
	int (*handoff)(struct dm_device *device, uint64_t offset, void *address, size_t bytes);
	int (*publish_all)(struct dm_device *device);
	int (*refresh_all)(struct dm_device *device);
	/* One word of `width` 4 or 8 bytes, aligned to it; values of width 4 in the low half.  load is acquire, store is
	 * release, the others are both.  -EIO: nothing was done.  DMEM_E_IN_DOUBT: it may have been done. */
	int (*load)(struct dm_device *device, uint64_t offset, void *address, unsigned width, uint64_t *value);
	int (*store)(struct dm_device *device, uint64_t offset, void *address, unsigned width, uint64_t value);
	int (*exchange)(struct dm_device *device, uint64_t offset, void *address, unsigned width, uint64_t value,
	                uint64_t *previous);
	int (*cas)(struct dm_device *device, uint64_t offset, void *address, unsigned width, uint64_t expected,
	           uint64_t desired, uint64_t *previous);
	int (*add)(struct dm_device *device, uint64_t offset, void *address, unsigned width, uint64_t addend,
	           uint64_t *previous);
};

struct dm_health_ops {
	/* 0 when the device's memory is all there; DMEM_E_LOST when it is not (truncated, evicted, node dead).  Cheap: asked
	 * on every heartbeat. */
	int (*probe)(struct dm_device *device);
};

/* A backend.  `scheme` is what stands before the colon. */
struct dm_transport {
	const char *scheme;
	struct dm_region_ops region;
	struct dm_data_ops data;
	struct dm_health_ops health;
};

/*
 * The backend of a scheme, its missing operations filled in.  DMEM_E_URI for a scheme nobody knows, DMEM_E_UNSUPPORTED for
 * one that this build leaves out.
 */
int dm_transport_find(const char *scheme, const struct dm_transport **transport);

/*
 * Open or create a device by its scheme, as the operations of the same name.  The device's `transport` is the completed
 * table, which a backend itself does not know: whoever calls region.open() or create() directly has to set it.
 */
int dm_transport_open(const struct dm_uri *uri, struct dm_device **device);
int dm_transport_create(const struct dm_uri *uri, uint64_t size_bytes, uint32_t mode, struct dm_device **device);

/* Complete a backend's tables: copies `backend` to `complete`, missing operations from the nosys table.  DMEM_E_OPTION
 * when a mandatory operation (open, close, size, map, probe, read, write) is missing or a group is incomplete. */
int dm_transport_complete(const struct dm_transport *backend, struct dm_transport *complete);

#endif
