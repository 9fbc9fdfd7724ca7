/* SPDX-License-Identifier: Apache-2.0 */
/*
 * fence.h: cutting a member of this host off, so that none of its later stores reaches the pool.
 *
 * fence.c opens with how it works and what it can't do.
 */
#ifndef DM_FAILURE_FENCE_H
#define DM_FAILURE_FENCE_H

#include "failure/members.h"

/* Let other processes cut this one off: installs the handler (the one that was there before is called for signals that are not
 * ours) and enters the member that we are.  0, or -errno: then nobody can cut us off, and we see it on our own beat. */
int dm_fence_enter(struct dm_members *members);

/* On return no handler works on the members' window any more. */
void dm_fence_leave(struct dm_members *members);

/*
 * Cut a member of this host off.  0: none of its threads will run one instruction of the program with the pool in reach; but
 * for those that block the signal.  1: the same, but it could not be watched within 20 ms.  -ESRCH: it is gone.  -EPERM,
 * -ENOTSUP (it does not take the signal), other -errno: it could not be told.  Bounded.
 */
int dm_fence_cut_off(struct dm_members *members, const struct dm_member_view *view);

/* Is a member of this host stopped, by a signal or a debugger?  If not, it hangs or gets no time of the processor. */
bool dm_fence_is_stopped(const struct dm_member_view *view);

#endif
