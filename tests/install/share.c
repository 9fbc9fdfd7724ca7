/* SPDX-License-Identifier: Apache-2.0 */
/* Twenty lines outside the tree: "share write" builds a list in the default pool, "share read" walks it elsewhere. */
#include <dmem/dmem.h>
#include <stdio.h>
struct node { long value; struct node *next; };
int main(int argc, char **argv)
{
	struct dmem_pool *pool = dmem_default_pool();
	struct node *head = NULL, *node;
	long sum = 0;
	for (long i = 1; pool && argc > 1 && *argv[1] == 'w' && i <= 100; i++, head = node) {
		if (!(node = dmem_alloc_shared(sizeof(*node)))) return fprintf(stderr, "%s\n", dmem_last_error()), 1;
		*node = (struct node){.value = i, .next = head};
		if (dmem_publish(node, sizeof(*node))) return fprintf(stderr, "%s\n", dmem_last_error()), 1;
	}
	if (head ? dmem_root_set(pool, "list", head) : !(head = pool ? dmem_root_get(pool, "list") : NULL))
		return fprintf(stderr, "%s\n", dmem_last_error()), 1;
	for (node = head; node && !dmem_refresh(node, sizeof(*node)); node = node->next)
		sum += printf("%p\n", (void *)node) ? node->value : 0;
	printf("sum %ld\n", sum);
}
