/* SPDX-License-Identifier: Apache-2.0 */
/* error.h: how the library says what went wrong: a code for the caller, a sentence for people. */
#ifndef DM_BASE_ERROR_H
#define DM_BASE_ERROR_H

#include "dmem/error.h"

/*
 * Record a failure and return its code: `return dm_fail(-ENOENT, "no pool at %s: create it with ...", path);`
 * The sentence goes to dmem_last_error() of this thread and to the log callback as DMEM_LOG_ERROR.  Sets errno to
 * dm_error_errno(code).  Allocates nothing.
 */
int dm_fail(int code, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* The same sentence for dmem_last_error(), without the log: for failures that the library itself recovers from. */
int dm_fail_quietly(int code, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* Say something that is not the failure of a call.  Preserves errno, allocates nothing. */
void dm_log(enum dmem_log_level level, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* The errno that the malloc-shaped calls set for a code: -errno as it is, DMEM_E_* mapped (EBADF, EIO, EINVAL, ...). */
int dm_error_errno(int code);

#endif
