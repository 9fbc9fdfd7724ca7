/* SPDX-License-Identifier: Apache-2.0 */
/* roots.h: walking the root directory, for info, fsck and dmemctl. */
#ifndef DM_ROOTS_H
#define DM_ROOTS_H

#include <stdint.h>

struct dmem_pool;

/* Every root; a value other than 0 from `each` ends the walk.  `damaged` counts entries that failed their check. */
int dm_roots_each(struct dmem_pool *pool, int (*each)(void *, const char *name, uint64_t offset), void *context,
                  uint64_t *damaged);

#endif
