/* SPDX-License-Identifier: Apache-2.0 */
/* forks.c: parent and child go their own ways after fork(), while other threads store and allocate. */
#include <pthread.h>
#include <spawn.h>
#include <stdatomic.h>
#include <stdint.h>
#include <sys/wait.h>
#include <unistd.h>

#include "expect.h"

#define ROUNDS    40
#define FAR_BYTES (4u << 20)

extern char **environ;

static _Atomic int stop;
static volatile uint64_t *first, *second;

/* `first` runs ahead of `second` by one at most: any moment shows that, a copy made bit by bit would not. */
static void *store_in_order(void *unused)
{
	for (uint64_t i = 1; !stop; i++) {
		*first = i;
		*second = i;
	}
	return unused;
}

static void *allocate(void *seed)
{
	unsigned state = (unsigned)(uintptr_t)seed;

	while (!stop) {
		size_t bytes = 1 + (size_t)rand_r(&state) % 60000;
		char *block = malloc(bytes);

		EXPECT(block);
		memset(block, 1, bytes);
		free(block);
	}
	return NULL;
}

static void child(char *mine, char *large, FILE *file)
{
	uint64_t a = *first, b = *second;
	char *fresh;

	EXPECT(a == b || a == b + 1);
	EXPECT(*first == a && *second == b);
	EXPECT(!strcmp(mine, "parent") && large[FAR_BYTES - 1] == 'p');
	strcpy(mine, "child");
	memset(large, 'c', FAR_BYTES);
	fresh = malloc(100000);
	EXPECT(fresh);
	memset(fresh, 'f', 100000);
	mine = realloc(mine, 5000);
	EXPECT(mine && !strcmp(mine, "child"));
	fprintf(file, "child\n");
	EXPECT(fclose(file) == 0);
	free(large);
	free(mine);
	free(fresh);
	_exit(0);
}

static void one_round(void)
{
	char *mine = malloc(100), *large = malloc(FAR_BYTES);
	FILE *file = tmpfile();
	int status;
	pid_t pid;

	EXPECT(mine && large && file);
	expect_place(mine);
	strcpy(mine, "parent");
	memset(large, 'p', FAR_BYTES);
	pid = fork();
	EXPECT(pid >= 0);
	if (pid == 0)
		child(mine, large, file);
	strcpy(mine, "still");
	memset(large, 's', FAR_BYTES);
	EXPECT(waitpid(pid, &status, 0) == pid && WIFEXITED(status) && WEXITSTATUS(status) == 0);
	EXPECT(!strcmp(mine, "still") && large[0] == 's' && large[FAR_BYTES - 1] == 's');
	fclose(file);
	free(mine);
	free(large);
}

static void spawn_one(void)
{
	char *arguments[] = {(char *)"true", NULL};
	int status;
	pid_t pid;

	EXPECT(posix_spawnp(&pid, "true", NULL, NULL, arguments, environ) == 0);
	EXPECT(waitpid(pid, &status, 0) == pid && status == 0);
}

int main(void)
{
	pthread_t threads[3];
	char *kept;

	fill_local_memory();
	kept = malloc(FAR_BYTES + 8192);
	EXPECT(kept);
	first = (uint64_t *)(void *)kept;
	second = (uint64_t *)(void *)(kept + FAR_BYTES);
	*first = *second = 0;
	EXPECT(pthread_create(&threads[0], NULL, store_in_order, NULL) == 0);
	for (uintptr_t i = 1; i < 3; i++)
		EXPECT(pthread_create(&threads[i], NULL, allocate, (void *)i) == 0);
	for (int i = 0; i < ROUNDS; i++) {
		one_round();
		if (i % 10 == 0)
			spawn_one();
	}
	stop = 1;
	for (int i = 0; i < 3; i++)
		pthread_join(threads[i], NULL);
	free(kept);
	puts("forks are well");
	return 0;
}
