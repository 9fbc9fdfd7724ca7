/* SPDX-License-Identifier: Apache-2.0 */
/* arena.c: see arena.h. */
#include "lib/arena.h"

#include <inttypes.h>
#include <stdio.h>
#include <unistd.h>

#include "addr/window.h"

void arena_register(const char *registry)
{
	FILE *maps = fopen("/proc/self/maps", "re");
	FILE *lines = fopen(registry, "ae");
	uint64_t start;
	uint64_t end;

	if (maps == NULL || lines == NULL) {
		perror("arena_register");
		_exit(99);
	}
	while (fscanf(maps, "%" SCNx64 "-%" SCNx64 "%*[^\n]", &start, &end) == 2)
		if (start < DM_WINDOW_END && end > DM_WINDOW_FIRST)
			fprintf(lines, "0x%" PRIx64 " 0x%" PRIx64 " 00 no-boot 1 file:mapped\n", start, end - start);
	fclose(lines);
	fclose(maps);
}
