/* SPDX-License-Identifier: Apache-2.0 */
/* greedy.c: takes more than a small pool has, and more again in a child: every byte must be there. */
#include <sys/wait.h>
#include <unistd.h>

#include "expect.h"

#define BLOCKS 3000
#define BYTES  50000

static char *blocks[BLOCKS];

static void take_all(void)
{
	for (int i = 0; i < BLOCKS; i++) {
		EXPECT((blocks[i] = malloc(BYTES)) != NULL);
		memset(blocks[i], i, BYTES);
	}
}

static void give_all(void)
{
	for (int i = 0; i < BLOCKS; i++) {
		EXPECT(blocks[i][0] == (char)i && blocks[i][BYTES - 1] == (char)i);
		free(blocks[i]);
	}
}

int main(void)
{
	int status;
	pid_t pid;

	take_all();
	pid = fork();
	EXPECT(pid >= 0);
	if (pid == 0) {
		give_all();
		take_all();
		_exit(0);
	}
	EXPECT(waitpid(pid, &status, 0) == pid && status == 0);
	give_all();
	take_all();
	give_all();
	puts("greed is well");
	return 0;
}
