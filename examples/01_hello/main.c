/* SPDX-License-Identifier: Apache-2.0 */
/* 01_hello: one process stores a string in a pool, another finds it by its name, at the same address. */
#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <dmem/dmem.h>

#define GREETING "hello from another process"
#define GREETING_BYTES sizeof(GREETING)

static int complain(const char *what, int error)
{
	fprintf(stderr, "%s: %s\n%s\n", what, dmem_strerror(error), dmem_last_error());
	return 1;
}

/* In the child.  It attaches by itself; nothing but the pool's name has been handed to it. */
static int listen_to(const char *uri)
{
	struct dmem_pool *pool;
	const char *greeting;
	int error = dmem_pool_attach(uri, NULL, &pool);

	if (error)
		return complain("listener: attach", error);
	greeting = dmem_root_get(pool, "greeting");
	if (!greeting)
		return complain("listener: root", -errno);
	error = dmem_refresh(greeting, GREETING_BYTES); /* before the first look at what somebody else wrote */
	if (error)
		return complain("listener: refresh", error);
	printf("listener %d reads \"%s\" at %p\n", (int)getpid(), greeting, (const void *)greeting);
	error = strcmp(greeting, GREETING) != 0;
	return dmem_pool_detach(pool) || error;
}

static int speak(struct dmem_pool *pool)
{
	char *greeting = dmem_alloc_ex(pool, GREETING_BYTES, NULL);
	int error;

	if (!greeting)
		return complain("speaker: allocation", -errno);
	memcpy(greeting, GREETING, GREETING_BYTES);
	error = dmem_publish(greeting, GREETING_BYTES); /* after the last store, before anybody is told */
	if (!error)
		error = dmem_root_set(pool, "greeting", greeting);
	if (error)
		return complain("speaker: root", error);
	printf("speaker  %d stored \"%s\" at %p\n", (int)getpid(), greeting, (void *)greeting);
	return 0;
}

/* Create, speak in this process, listen in another. */
int main(void)
{
	struct dmem_pool *pool;
	int error, status = 1;
	char uri[64];
	pid_t child;

	setvbuf(stdout, NULL, _IOLBF, 0);
	snprintf(uri, sizeof(uri), "file:/dev/shm/dmem-hello.%d?size=64M", (int)getpid());
	error = dmem_pool_create(uri, NULL);
	if (error)
		return complain("create", error);

	error = dmem_pool_attach(uri, NULL, &pool);
	if (!error) {
		status = speak(pool);
		dmem_pool_detach(pool); /* what is shared stays in the pool */
	} else {
		complain("speaker: attach", error);
	}
	child = status == 0 ? fork() : -1;
	if (child == 0)
		_exit(listen_to(uri));
	if (child < 0 || waitpid(child, &status, 0) != child)
		status = 1;

	error = dmem_pool_destroy(uri);
	if (error)
		return complain("destroy", error);
	printf("%s\n", status == 0 ? "the same string, at the same address" : "the listener did not get the greeting");
	return status == 0 ? 0 : 1;
}
