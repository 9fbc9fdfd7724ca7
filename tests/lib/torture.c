/* SPDX-License-Identifier: Apache-2.0 */
/* torture.c: see torture.h. */
#include "lib/torture.h"

#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

uint32_t torture_random(uint64_t *state, uint32_t limit)
{
	*state = *state * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407); /* Knuth, MMIX */
	return (uint32_t)((*state >> 33) % limit);
}

uint64_t torture_option(int argc, char **argv, const char *name, uint64_t otherwise)
{
	for (int i = 1; i + 1 < argc; i++)
		if (strcmp(argv[i], name) == 0)
			return strtoull(argv[i + 1], NULL, 10);
	return otherwise;
}

bool torture_in_child(void (*part)(void))
{
	pid_t pid = fork();
	int status;

	if (pid == 0) {
		part();
		_exit(0);
	}
	return pid > 0 && waitpid(pid, &status, 0) == pid && WIFEXITED(status) && WEXITSTATUS(status) == 0;
}
