/* SPDX-License-Identifier: Apache-2.0 */
/*
 * coherent.h: the data operations of backends whose memory every member maps directly and whose caches the hardware keeps
 * coherent: publish is a release fence, refresh an acquire fence, atomics are the processor's.  The signatures are those
 * of struct dm_data_ops.
 */
#ifndef DM_TRANSPORT_COHERENT_H
#define DM_TRANSPORT_COHERENT_H

#include <stddef.h>
#include <stdint.h>

struct dm_device;

int dm_coherent_publish(struct dm_device *device, uint64_t offset, void *address, size_t bytes);
int dm_coherent_refresh(struct dm_device *device, uint64_t offset, void *address, size_t bytes);
int dm_coherent_publish_all(struct dm_device *device);
int dm_coherent_refresh_all(struct dm_device *device);

/* -EINVAL for a width that is not 4 or 8 and for a word that is not aligned to it; `previous` may be NULL. */
int dm_coherent_load(struct dm_device *device, uint64_t offset, void *address, unsigned width, uint64_t *value);
int dm_coherent_store(struct dm_device *device, uint64_t offset, void *address, unsigned width, uint64_t value);
int dm_coherent_exchange(struct dm_device *device, uint64_t offset, void *address, unsigned width, uint64_t value,
                         uint64_t *previous);
int dm_coherent_cas(struct dm_device *device, uint64_t offset, void *address, unsigned width, uint64_t expected,
                    uint64_t desired, uint64_t *previous);
int dm_coherent_add(struct dm_device *device, uint64_t offset, void *address, unsigned width, uint64_t addend,
                    uint64_t *previous);

#endif
