/* SPDX-License-Identifier: Apache-2.0 */
/* clock.h: time of this host.  Clocks of two hosts are never compared. */
#ifndef DM_BASE_CLOCK_H
#define DM_BASE_CLOCK_H

#include <stdint.h>

#define DM_NS_PER_MS UINT64_C(1000000)
#define DM_NS_PER_S  UINT64_C(1000000000)

/* Nanoseconds since some moment; goes on while the machine is suspended (CLOCK_BOOTTIME). */
uint64_t dm_clock_now_ns(void);

/* Sleep for at least this long, signals or not. */
void dm_clock_sleep_ns(uint64_t ns);

#endif
