/* SPDX-License-Identifier: Apache-2.0 */
/* threads.c: many threads that come and go free each other's blocks. */
#include <pthread.h>
#include <stdatomic.h>
#include <stdint.h>

#include "expect.h"

#define THREADS     8
#define GENERATIONS 6
#define SLOTS       512
#define STEPS       20000

/* A slot holds a block or nothing; whoever swaps a block out owns it. */
static _Atomic(uint32_t *) slots[SLOTS];

static uint32_t *make(uint32_t words)
{
	uint32_t *block = malloc(words * sizeof(*block));

	EXPECT(block);
	for (uint32_t i = 0; i < words; i++)
		block[i] = words;
	return block;
}

static void check_and_free(uint32_t *block)
{
	uint32_t words = block ? block[0] : 0;

	for (uint32_t i = 0; i < words; i++)
		EXPECT(block[i] == words);
	free(block);
}

static void *run(void *seed)
{
	unsigned state = (unsigned)(uintptr_t)seed;

	for (int i = 0; i < STEPS; i++) {
		uint32_t words = 1 + (uint32_t)rand_r(&state) % (i % 500 ? 300u : 50000u);

		check_and_free(atomic_exchange(&slots[rand_r(&state) % SLOTS], i % 3 ? make(words) : NULL));
	}
	return NULL;
}

int main(void)
{
	pthread_t threads[THREADS];
	void *probe;

	fill_local_memory();
	probe = malloc(1000);
	expect_place(probe);
	free(probe);
	for (uintptr_t g = 0; g < GENERATIONS; g++) {
		for (uintptr_t i = 0; i < THREADS; i++)
			EXPECT(pthread_create(&threads[i], NULL, run, (void *)(g * THREADS + i + 1)) == 0);
		for (int i = 0; i < THREADS; i++)
			pthread_join(threads[i], NULL);
	}
	for (int i = 0; i < SLOTS; i++)
		check_and_free(slots[i]);
	puts("threads are well");
	return 0;
}
