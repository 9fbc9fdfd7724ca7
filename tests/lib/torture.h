/* SPDX-License-Identifier: Apache-2.0 */
/* torture.h: what the programs of tests/torture share. */
#ifndef DM_TESTS_TORTURE_H
#define DM_TESTS_TORTURE_H

#include <stdbool.h>
#include <stdint.h>

/* The next choice from 0 to limit - 1; `state` starts as the seed. */
uint32_t torture_random(uint64_t *state, uint32_t limit);

/* The number behind option `name`. */
uint64_t torture_option(int argc, char **argv, const char *name, uint64_t otherwise);

/* Run `part` in a process of its own and wait for it; false when that died. */
bool torture_in_child(void (*part)(void));

#endif
