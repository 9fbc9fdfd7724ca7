/* SPDX-License-Identifier: Apache-2.0 */
/* obituary.h: telling the layers above, and through them the program, who has died. */
#ifndef DM_FAILURE_OBITUARY_H
#define DM_FAILURE_OBITUARY_H

#include "failure/members.h"

/* Called from the teller's thread, without locks. */
typedef void (*dm_obituary_fn)(void *context, uint32_t slot, uint32_t incarnation, bool fenced);

struct dm_obituary;

/* A thread that tells `tell` of each member that loses its rights from now on, once, after the repair.  0, -ENOMEM, -EAGAIN. */
int dm_obituary_start(struct dm_members *members, dm_obituary_fn tell, void *context, struct dm_obituary **obituary);

/* Waits for a call that is under way.  NULL is fine. */
void dm_obituary_stop(struct dm_obituary *obituary);

#endif
