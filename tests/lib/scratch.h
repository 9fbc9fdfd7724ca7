/* SPDX-License-Identifier: Apache-2.0 */
/*
 * scratch.h: a folder of the test process's own in /dev/shm, with a registry of windows of its own in it.
 *
 * Nothing of the user is touched: DMEM_REGISTRY points into the folder, DMEM_POOL and DMEM_HOST_ID are unset.  Folders that
 * tests left which crashed are removed by the next test.  Failures of the helpers end the process with a message.
 */
#ifndef DM_TESTS_LIB_SCRATCH_H
#define DM_TESTS_LIB_SCRATCH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "dmem/dmem.h"

void scratch_begin(void);
void scratch_end(void);

/*
 * Criterion maps its arena at a random address where the library's windows are by default, mostly from 32 to 68 TiB.
 * The registry therefore says that this range is taken, and what is mapped above it: pools of tests lie elsewhere.
 * scratch_begin_bare() gives an empty registry, for tests that create without attaching, or attach after
 * scratch_clear_window() in a child.
 */
#define SCRATCH_FIRST UINT64_C(0x440000000000)
void scratch_begin_bare(void);
void scratch_clear_window(void);

/* "/dev/shm/dmem-unit-PID-x/NAME", and the same as "file:...?KEYS" (`keys` may be NULL).  A few results live at a time.
 * DMEM_TEST_SCHEME says what kind of pools: file (the default), sim (up to 64 MiB), sim-delegate (the same with
 * ?atomics=delegate), file-delegate (noncoherent with delegated atomics, for what does not fit into sim:). */
const char *scratch_scheme(void);
/* "" or "&KEY=VALUE...", which scratch_uri() adds unless the keys say so themselves. */
const char *scratch_mode_keys(void);
bool scratch_is_coherent(void);
const char *scratch_path(const char *name);
const char *scratch_uri(const char *name, const char *keys);

/* Make a pool; attach one; both.  They end the process when that fails. */
void scratch_create(const char *name, const char *keys);
struct dmem_pool *scratch_attach(const char *name);
struct dmem_pool *scratch_pool(const char *name, const char *keys);

/* Change bytes of a file. */
void scratch_read(const char *name, uint64_t offset, void *bytes, size_t count);
void scratch_write(const char *name, uint64_t offset, const void *bytes, size_t count);

/* The latest failure's sentence names this. */
bool scratch_says(const char *word);

/* Findings of validate and fsck, counted; the last one is kept. */
struct scratch_findings {
	unsigned count;
	char last[256];
};
void scratch_note_finding(void *findings, const char *sentence);

/* A small generator whose numbers depend on the seed only. */
uint64_t scratch_random(uint64_t *state);

#endif
