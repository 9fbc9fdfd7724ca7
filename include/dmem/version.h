/* SPDX-License-Identifier: Apache-2.0 */
/* version.h: which libdmem this is, at compile time and at run time. */
#ifndef DMEM_VERSION_H
#define DMEM_VERSION_H

#define DMEM_VERSION_MAJOR 0
#define DMEM_VERSION_MINOR 1
#define DMEM_VERSION_PATCH 0
#define DMEM_VERSION_STRING "0.1.0"

#if defined(__GNUC__)
#define DMEM_API __attribute__((visibility("default")))
#define DMEM_MUST_CHECK __attribute__((warn_unused_result))
#else
#define DMEM_API
#define DMEM_MUST_CHECK
#endif

#ifdef __cplusplus
extern "C" {
#endif

/**
 * dmem_version() - the version of the library that is running.
 *
 * Returns:    "MAJOR.MINOR.PATCH", a static string.
 * Threads:    safe from any thread and from signal handlers.
 * Blocks:     never.
 * Visibility: none.
 * On failure: cannot fail.
 * Crash:      touches no pool.
 * Source:     none.
 */
DMEM_API const char *dmem_version(void);

#ifdef __cplusplus
}
#endif
#endif
