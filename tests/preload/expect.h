/* SPDX-License-Identifier: Apache-2.0 */
/* expect.h: what the programs that run under the shim have in common.  They know nothing of libdmem but one function's
 * name, to see where their blocks are; and behave the same without the shim. */
#ifndef DM_TESTS_PRELOAD_EXPECT_H
#define DM_TESTS_PRELOAD_EXPECT_H

#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define EXPECT(condition)                                                           \
	do {                                                                            \
		if (!(condition)) {                                                         \
			fprintf(stderr, "%s:%d: not so: %s\n", __FILE__, __LINE__, #condition); \
			exit(1);                                                                \
		}                                                                           \
	} while (0)

/* 1: in the pool; 0: local, or no shim. */
static inline int is_in_pool(const void *block)
{
	static int (*ask)(const void *);
	static int looked;

	if (!looked)
		*(void **)&ask = dlsym(RTLD_DEFAULT, "dmem_is_pool_private");
	looked = 1;
	return ask && ask(block);
}

/* Blocks that use up a DMEM_LOCAL_MAX of 1M: what is allocated afterwards is in the pool, when there is one. */
static inline void fill_local_memory(void)
{
	static void *volatile fill[4096];

	for (size_t i = 0; i < sizeof(fill) / sizeof(fill[0]); i++)
		EXPECT((fill[i] = malloc(i % 8 ? 16 : 4000)) != NULL);
}

/* Are blocks where this run wants them? */
static inline void expect_place(const void *block)
{
	const char *wanted = getenv("EXPECT_POOL");

	if (wanted)
		EXPECT(is_in_pool(block) == atoi(wanted));
}

#endif
