/* SPDX-License-Identifier: Apache-2.0 */
/* scratch.c: see scratch.h. */
#include "lib/scratch.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "addr/window.h"
#include "lib/arena.h"

#define NAMES 8

static char folder[64];

static void give_up(const char *what)
{
	fprintf(stderr, "scratch: %s: %s; %s\n", what, strerror(errno), dmem_last_error());
	_exit(99);
}

static int remove_entry(const char *path, const struct stat *status, int type, struct FTW *where)
{
	(void)status;
	(void)type;
	(void)where;
	return remove(path) != 0 && errno != ENOENT;
}

static void remove_folder(const char *path)
{
	nftw(path, remove_entry, 16, FTW_DEPTH | FTW_PHYS | FTW_MOUNT);
}

static void remove_left_behind(void)
{
	DIR *stream = opendir("/dev/shm");
	struct dirent *entry;

	while (stream != NULL && (entry = readdir(stream)) != NULL) {
		char path[300];
		int pid;

		if (sscanf(entry->d_name, "dmem-unit-%d-", &pid) != 1 || kill(pid, 0) == 0 || errno != ESRCH)
			continue;
		snprintf(path, sizeof(path), "/dev/shm/%s", entry->d_name);
		remove_folder(path);
	}
	if (stream != NULL)
		closedir(stream);
}

void scratch_begin_bare(void)
{
	remove_left_behind();
	snprintf(folder, sizeof(folder), "/dev/shm/dmem-unit-%d-XXXXXX", (int)getpid());
	if (mkdtemp(folder) == NULL)
		give_up("no folder in /dev/shm");
	setenv("DMEM_REGISTRY", scratch_path("registry"), 1);
	unsetenv("DMEM_POOL");
	unsetenv("DMEM_HOST_ID");
}

void scratch_begin(void)
{
	char line[128];

	scratch_begin_bare();
	snprintf(line, sizeof(line), "0x%" PRIx64 " 0x%" PRIx64 " 00 no-boot 1 file:criterion\n", DM_WINDOW_FIRST,
	         SCRATCH_FIRST - DM_WINDOW_FIRST);
	scratch_write("registry", 0, line, strlen(line));
	arena_register(scratch_path("registry"));
}

void scratch_end(void)
{
	remove_folder(folder);
}

void scratch_clear_window(void)
{
	FILE *maps = fopen("/proc/self/maps", "re");
	uint64_t start;
	uint64_t end;

	while (maps != NULL && fscanf(maps, "%" SCNx64 "-%" SCNx64 "%*[^\n]", &start, &end) == 2)
		if (start < DM_WINDOW_END && end > DM_WINDOW_FIRST)
			munmap((void *)(uintptr_t)start, end - start);
	if (maps != NULL)
		fclose(maps);
}

const char *scratch_path(const char *name)
{
	static char paths[NAMES][512];
	static unsigned next;
	char *path = paths[next++ % NAMES];

	snprintf(path, sizeof(paths[0]), "%s/%s", folder, name);
	return path;
}

const char *scratch_scheme(void)
{
	const char *scheme = getenv("DMEM_TEST_SCHEME");

	if (scheme == NULL || scheme[0] == 0 || strcmp(scheme, "file-delegate") == 0)
		return "file";
	return strcmp(scheme, "sim-delegate") == 0 ? "sim" : scheme;
}

const char *scratch_mode_keys(void)
{
	const char *scheme = getenv("DMEM_TEST_SCHEME");

	if (scheme != NULL && strcmp(scheme, "file-delegate") == 0)
		return "&coherence=noncoherent&atomics=delegate";
	return scheme != NULL && strcmp(scheme, "sim-delegate") == 0 ? "&atomics=delegate" : "";
}

bool scratch_is_coherent(void)
{
	const char *scheme = getenv("DMEM_TEST_SCHEME");

	return scheme == NULL || scheme[0] == 0 || strcmp(scheme, "file") == 0;
}

const char *scratch_uri(const char *name, const char *keys)
{
	static char uris[NAMES][1024];
	static unsigned next;
	char *uri = uris[next++ % NAMES];

	const char *mode = scratch_mode_keys();

	if (keys != NULL && (strstr(keys, "atomics=") != NULL || strstr(keys, "coherence=") != NULL))
		mode = "";
	snprintf(uri, sizeof(uris[0]), "%s:%s/%s%s%s%s", scratch_scheme(), folder, name, keys == NULL && mode[0] == 0 ? "" : "?",
	         keys == NULL ? "" : keys, keys == NULL && mode[0] != 0 ? mode + 1 : mode);
	return uri;
}

void scratch_create(const char *name, const char *keys)
{
	if (dmem_pool_create(scratch_uri(name, keys), NULL) != 0)
		give_up("no pool");
}

struct dmem_pool *scratch_attach(const char *name)
{
	struct dmem_pool *pool;

	if (dmem_pool_attach(scratch_uri(name, NULL), NULL, &pool) != 0)
		give_up("the pool can't be attached");
	return pool;
}

struct dmem_pool *scratch_pool(const char *name, const char *keys)
{
	scratch_create(name, keys);
	return scratch_attach(name);
}

void scratch_read(const char *name, uint64_t offset, void *bytes, size_t count)
{
	int fd = open(scratch_path(name), O_RDONLY | O_CLOEXEC);

	if (fd < 0 || pread(fd, bytes, count, (off_t)offset) != (ssize_t)count)
		give_up("the file can't be read");
	close(fd);
}

void scratch_write(const char *name, uint64_t offset, const void *bytes, size_t count)
{
	int fd = open(scratch_path(name), O_WRONLY | O_CREAT | O_CLOEXEC, 0600);

	if (fd < 0 || pwrite(fd, bytes, count, (off_t)offset) != (ssize_t)count)
		give_up("the file can't be written");
	close(fd);
}

bool scratch_says(const char *word)
{
	return strstr(dmem_last_error(), word) != NULL;
}

void scratch_note_finding(void *context, const char *sentence)
{
	struct scratch_findings *findings = context;

	findings->count++;
	snprintf(findings->last, sizeof(findings->last), "%s", sentence);
}

/* splitmix64 */
uint64_t scratch_random(uint64_t *state)
{
	uint64_t z = *state += UINT64_C(0x9e3779b97f4a7c15);

	z = (z ^ z >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
	z = (z ^ z >> 27) * UINT64_C(0x94d049bb133111eb);
	return z ^ z >> 31;
}
