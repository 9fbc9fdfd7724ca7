/* SPDX-License-Identifier: Apache-2.0 */
/* arena.h: keep pools of a test away from what is mapped where windows go by default: Criterion's arena lies at a random
 * address there, another one in each test process. */
#ifndef DM_TESTS_LIB_ARENA_H
#define DM_TESTS_LIB_ARENA_H

/* Enter every such mapping of this process in a registry of windows, as if it were a pool's.  Ends the process when that
 * fails. */
void arena_register(const char *registry);

#endif
