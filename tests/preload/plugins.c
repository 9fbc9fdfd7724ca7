/* SPDX-License-Identifier: Apache-2.0 */
/* plugins.c PLUGIN: libraries that are loaded late allocate too, and blocks cross their border both ways. */
#include "expect.h"

typedef char *(*doubled_fn)(char *taken);

int main(int count, char **arguments)
{
	char *text = NULL;

	EXPECT(count == 2);
	fill_local_memory();
	for (int round = 0; round < 50; round++) {
		void *library = dlopen(arguments[1], RTLD_NOW | RTLD_LOCAL);
		doubled_fn doubled;

		EXPECT(library);
		*(void **)&doubled = dlsym(library, "plugin_doubled");
		EXPECT(doubled);
		text = strdup("ab");
		for (int i = 0; i < 12; i++)
			EXPECT((text = doubled(text)) != NULL);
		EXPECT(dlclose(library) == 0);
		expect_place(text);
		EXPECT(strlen(text) == 8192 && text[8190] == 'a' && text[8191] == 'b');
		free(text);
	}
	puts("plugins are well");
	return 0;
}
