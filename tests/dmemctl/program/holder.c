/* SPDX-License-Identifier: Apache-2.0 */
/*
 * holder.c: a member for dmemctl to look at: holder URI.  Attaches, fills the pool with blocks of several kinds, names two
 * of them, prints their addresses and waits until its standard input ends.
 */
#include <dmem/dmem.h>
#include <stdio.h>

static int fill(struct dmem_pool *pool)
{
	struct dmem_alloc_options private_pool = DMEM_ALLOC_OPTIONS_DEFAULT;
	void *small = NULL, *large, *own;

	private_pool.tier = DMEM_TIER_POOL;
	for (int i = 0; i < 2000; i++) {
		small = dmem_alloc_ex(pool, 64, NULL);
		if (small == NULL || dmem_alloc_ex(pool, 1000, NULL) == NULL)
			return 1;
	}
	large = dmem_alloc_ex(pool, 9u << 20, NULL);
	own = dmem_alloc_ex(pool, 5u << 20, &private_pool);
	if (large == NULL || own == NULL)
		return 1;
	if (dmem_root_set(pool, "small", small) != 0 || dmem_root_set(pool, "large", large) != 0)
		return 1;
	printf("small %p\nlarge %p\nready\n", small, large);
	return fflush(stdout) == 0 ? 0 : 1;
}

int main(int argc, char **argv)
{
	struct dmem_pool *pool;

	if (argc != 2 || dmem_pool_attach(argv[1], NULL, &pool) != 0 || fill(pool) != 0) {
		fprintf(stderr, "holder: %s\n", dmem_last_error());
		return 1;
	}
	while (getchar() != EOF)
		continue;
	return dmem_pool_detach(pool) == 0 ? 0 : 1;
}
