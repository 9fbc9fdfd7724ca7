/* SPDX-License-Identifier: Apache-2.0 */
/*
 * fault.h: named places where a test may kill the process or make a call fail.
 *
 * All points stand in fault_points.def, so that a test can loop over them.  In the library that ships, DM_FAULT_POINT()
 * is nothing; in dmem_testing (compiled with DM_FAULT_INJECTION) it counts.  A test arms one point: it fires
 * when it has been passed `countdown` times, once.
 */
#ifndef DM_BASE_FAULT_H
#define DM_BASE_FAULT_H

#include <stdbool.h>

enum dm_fault_id {
#define DM_FAULT_ENUM(name, what) DM_FAULT_##name,
#include "base/fault_points.def"
#undef DM_FAULT_ENUM
	DM_FAULT_COUNT
};

enum dm_fault_action {
	DM_FAULT_KILL, /* raise(SIGKILL): as a death of the process at this instruction */
	DM_FAULT_STOP, /* raise(SIGSTOP): as a process that is stopped here for a while */
	DM_FAULT_FAIL, /* DM_FAULT_POINT() is true: the code takes its error path, where it has one */
};

#ifdef DM_FAULT_INJECTION
/* Arm one point for this process (and the children it forks); countdown 1 is the next passage. */
void dm_fault_arm(enum dm_fault_id id, enum dm_fault_action action, unsigned countdown);
void dm_fault_disarm(void);
const char *dm_fault_name(enum dm_fault_id id);
/* How often this process has passed the point since the start. */
unsigned long dm_fault_passages(enum dm_fault_id id);
bool dm_fault_reached(enum dm_fault_id id);
#define DM_FAULT_POINT(name) dm_fault_reached(DM_FAULT_##name)
#else
#define DM_FAULT_POINT(name) false
#endif

/* A point that can only kill or stop. */
#define DM_CRASH_POINT(name) ((void)DM_FAULT_POINT(name))

#endif
