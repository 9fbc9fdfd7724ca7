/* SPDX-License-Identifier: Apache-2.0 */
/* plugin.c: a library that plugins.c loads and unloads. */
#include <stdlib.h>
#include <string.h>

char *plugin_doubled(char *taken);

/* Frees what it is given, and gives what the caller frees. */
char *plugin_doubled(char *taken)
{
	const size_t length = strlen(taken);
	char *made = malloc(2 * length + 1);

	if (made) {
		memcpy(made, taken, length);
		memcpy(made + length, taken, length + 1);
	}
	free(taken);
	return made;
}
