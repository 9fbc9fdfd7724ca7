/* SPDX-License-Identifier: Apache-2.0 */
/*
 * local.h: local memory: the C library's allocator behind a record of live blocks.
 *
 * The record is why a foreign, interior or freed pointer is refused here and never reaches the C library, which would
 * abort.  It asks glibc by its own names, so a malloc that was put before it (the shim's) is not asked.
 */
#ifndef DM_ALLOC_PRIVATE_LOCAL_H
#define DM_ALLOC_PRIVATE_LOCAL_H

#include <stdbool.h>
#include <stddef.h>

/* `alignment` is a power of two up to 1 GiB, or 0 for 16.  NULL with errno ENOMEM or EINVAL. */
void *dm_local_alloc(size_t bytes, size_t alignment, bool zeroed);

/* 0, or DMEM_E_FOREIGN, DMEM_E_INTERIOR or DMEM_E_DOUBLE_FREE (for the latest frees): then nothing has changed. */
int dm_local_free(void *block);

/* 0 when `block` is not the start of a live block. */
size_t dm_local_usable(const void *block);

/* Does the address lie in a live block?  Looks at all of them when it is not the start of one. */
bool dm_local_contains(const void *address);

/* For fork.c: hold the record still. */
void dm_local_fork_lock(void);
void dm_local_fork_unlock(void);

#endif
