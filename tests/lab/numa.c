/* SPDX-License-Identifier: Apache-2.0 */
/*
 * lab_numa NODE: does memory really lie where the kernel is told to put it?
 *
 * Takes pages on NODE with mbind, writes them, asks move_pages where they are, moves them to node 0 and back, and compares the
 * bytes each time.  Plain system calls: libnuma would hide which of them does what.
 *
 * Exit status: 0 all held, 1 something did not, 2 a call failed.
 */
#include <errno.h>
#include <linux/mempolicy.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#define PAGES 16
#define NODES_MAX 64

static unsigned char *memory;
static size_t page_bytes;

static int give_up(const char *what)
{
	fprintf(stderr, "lab_numa: %s: %s\n", what, strerror(errno));
	return 2;
}

static int take_on(int node)
{
	unsigned long mask = 1UL << node;

	page_bytes = (size_t)sysconf(_SC_PAGESIZE);
	memory = mmap(NULL, PAGES * page_bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (memory == MAP_FAILED)
		return give_up("mmap");
	if (syscall(SYS_mbind, memory, PAGES * page_bytes, MPOL_BIND, &mask, (unsigned long)NODES_MAX + 1, 0U) != 0)
		return give_up("mbind");
	for (size_t i = 0; i < PAGES; i++)
		memset(memory + i * page_bytes, (int)(i + 1), page_bytes);
	return 0;
}

/* Are all pages on `node`, with the bytes that they had?  `to` moves them before, unless it is negative. */
static int check(int node, int to)
{
	void *pages[PAGES];
	int nodes[PAGES], status[PAGES];

	for (size_t i = 0; i < PAGES; i++) {
		pages[i] = memory + i * page_bytes;
		nodes[i] = to;
		status[i] = -1;
	}
	if (to >= 0 && syscall(SYS_move_pages, 0, (unsigned long)PAGES, pages, nodes, status, MPOL_MF_MOVE) < 0)
		return give_up("move_pages");
	if (syscall(SYS_move_pages, 0, (unsigned long)PAGES, pages, NULL, status, 0) != 0)
		return give_up("move_pages without nodes");
	for (size_t i = 0; i < PAGES; i++) {
		const unsigned char *page = memory + i * page_bytes;

		if (status[i] != node) {
			printf("page %zu is on node %d, not on %d\n", i, status[i], node);
			return 1;
		}
		if (page[0] != i + 1 || memcmp(page, page + 1, page_bytes - 1) != 0) {
			printf("page %zu on node %d lost its bytes\n", i, node);
			return 1;
		}
	}
	return 0;
}

int main(int argc, char **argv)
{
	int node = argc == 2 ? atoi(argv[1]) : -1;
	int status;

	if (node < 0 || node >= NODES_MAX) {
		fputs("usage: lab_numa NODE\n", stderr);
		return 2;
	}
	status = take_on(node);
	status = status ? status : check(node, -1);
	status = status ? status : check(0, 0);
	status = status ? status : check(node, node);
	if (status == 0)
		printf("%d pages: taken on node %d, moved to node 0 and back, bytes kept\n", PAGES, node);
	return status;
}
