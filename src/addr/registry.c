/* SPDX-License-Identifier: Apache-2.0 */
/*
 * registry.c: the file of windows (registry.h).
 *
 * Protocol: lock the file (OFD lock: released with the descriptor, so also by death), make sure that the path still names
 * the locked file, read it whole, write the new contents to PATH.new, rename it over PATH.  Waiters then find that their
 * file is no longer the path's and open again.
 *
 * A line is dropped when it can't be a pool any more: its machine is this one in this boot, its file is gone, and
 * its creator is not alive.  Lines of other machines and of other kinds of pools are kept.
 */
#include "addr/registry.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "addr/window.h"
#include "base/arith.h"
#include "base/error.h"

#define REGISTRY_LINES_MAX 4096u
#define REGISTRY_URI_BYTES 256u

struct entry {
	uint64_t base;
	uint64_t span_bytes;
	char uuid[33];
	char boot_id[40];
	long pid;
	char uri[REGISTRY_URI_BYTES];
};

struct registry {
	char path[DM_URI_PATH_BYTES];
	int fd;
	size_t count;
	struct entry *entries; /* REGISTRY_LINES_MAX of them */
};

static void uuid_text(const uint8_t uuid[16], char text[33])
{
	for (unsigned i = 0; i < 16; i++)
		snprintf(text + 2 * (size_t)i, 3, "%02x", uuid[i]);
}

static void read_boot_id(char text[40])
{
	FILE *file = fopen("/proc/sys/kernel/random/boot_id", "re");

	if (file == NULL || fscanf(file, "%39s", text) != 1)
		snprintf(text, 40, "unknown");
	if (file != NULL)
		fclose(file);
}

static int unusable(const struct registry *registry, const char *doing)
{
	return dm_fail(DMEM_E_REGISTRY,
	               "the registry of windows %s can't be %s (%s): put it right, or name another with "
	               "DMEM_REGISTRY",
	               registry->path, doing, strerror(errno));
}

/* Open and lock; once more when the file was replaced while we waited. */
static int lock_file(struct registry *registry)
{
	struct flock lock = {.l_type = F_WRLCK, .l_whence = SEEK_SET};
	struct stat locked;
	struct stat named;

	for (;;) {
		registry->fd = open(registry->path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
		if (registry->fd < 0)
			return unusable(registry, "opened");
		while (fcntl(registry->fd, F_OFD_SETLKW, &lock) != 0)
			if (errno != EINTR) {
				int rc = unusable(registry, "locked");

				close(registry->fd);
				return rc;
			}
		if (fstat(registry->fd, &locked) == 0 && stat(registry->path, &named) == 0 && locked.st_ino == named.st_ino &&
		    locked.st_dev == named.st_dev)
			return 0;
		close(registry->fd);
	}
}

static bool parse_line(const char *line, struct entry *entry)
{
	return sscanf(line, "%" SCNx64 " %" SCNx64 " %32s %39s %ld %255s", &entry->base, &entry->span_bytes, entry->uuid,
	              entry->boot_id, &entry->pid, entry->uri) == 6 &&
	       entry->span_bytes != 0 && entry->base + entry->span_bytes > entry->base;
}

static int read_entries(struct registry *registry)
{
	FILE *file = fdopen(dup(registry->fd), "r");
	char line[512];
	int rc = 0;

	if (file == NULL)
		return unusable(registry, "read");
	while (rc == 0 && fgets(line, sizeof(line), file) != NULL) {
		if (line[0] == '#' || line[0] == '\n')
			continue;
		if (registry->count == REGISTRY_LINES_MAX)
			rc = dm_fail(DMEM_E_REGISTRY,
			             "the registry of windows %s has more than %u lines: take out those of pools that are gone",
			             registry->path, REGISTRY_LINES_MAX);
		else if (parse_line(line, &registry->entries[registry->count]))
			registry->count++;
		else
			rc = dm_fail(DMEM_E_REGISTRY,
			             "the registry of windows %s has a line that can't be understood: '%.60s': put it right "
			             "('base span uuid boot_id pid uri'), or take it out if its pool is gone",
			             registry->path, line);
	}
	fclose(file);
	return rc;
}

static int registry_open(struct registry *registry)
{
	const char *named = getenv("DMEM_REGISTRY");
	int rc;

	*registry = (struct registry){.fd = -1};
	if (named != NULL && named[0] != 0)
		rc = snprintf(registry->path, sizeof(registry->path) - 8, "%s", named);
	else
		rc = snprintf(registry->path, sizeof(registry->path) - 8, "/dev/shm/dmem-registry-%u", (unsigned)geteuid());
	if (rc >= (int)sizeof(registry->path) - 8)
		return dm_fail(DMEM_E_REGISTRY, "DMEM_REGISTRY is longer than %u bytes: use a shorter path",
		               DM_URI_PATH_BYTES - 8);
	registry->entries = calloc(REGISTRY_LINES_MAX, sizeof(struct entry));
	if (registry->entries == NULL)
		return dm_fail(-ENOMEM, "no memory to read the registry of windows %s", registry->path);
	rc = lock_file(registry);
	if (rc == 0)
		rc = read_entries(registry);
	if (rc && registry->fd >= 0)
		close(registry->fd);
	if (rc)
		free(registry->entries);
	return rc;
}

static void registry_close(struct registry *registry)
{
	close(registry->fd); /* unlocks */
	free(registry->entries);
}

static int write_lines(const struct registry *registry, FILE *file)
{
	fprintf(file, "# windows of dmem pools: base span uuid boot_id pid uri\n");
	for (size_t i = 0; i < registry->count; i++) {
		const struct entry *entry = &registry->entries[i];

		fprintf(file, "0x%" PRIx64 " 0x%" PRIx64 " %s %s %ld %s\n", entry->base, entry->span_bytes, entry->uuid,
		        entry->boot_id, entry->pid, entry->uri);
	}
	return fflush(file) == 0 && !ferror(file) ? 0 : -1;
}

static int registry_replace(const struct registry *registry)
{
	char fresh[DM_URI_PATH_BYTES + 8];
	struct stat old;
	FILE *file;
	int fd;

	snprintf(fresh, sizeof(fresh), "%s.new", registry->path);
	unlink(fresh); /* of somebody who died with the lock */
	fd = open(fresh, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	if (fd < 0)
		return unusable(registry, "written");
	if (fstat(registry->fd, &old) == 0 && fchmod(fd, old.st_mode & 0777) != 0)
		dm_log(DMEM_LOG_WARNING, "the registry of windows %s loses its permissions: %s", registry->path,
		       strerror(errno));
	file = fdopen(fd, "w");
	if (file == NULL || write_lines(registry, file) != 0 || rename(fresh, registry->path) != 0) {
		int rc = unusable(registry, "written");

		if (file != NULL)
			fclose(file);
		else
			close(fd);
		unlink(fresh);
		return rc;
	}
	fclose(file);
	return 0;
}

static bool is_gone(const struct entry *entry, const char *boot_id)
{
	if (strcmp(entry->boot_id, boot_id) != 0 || strncmp(entry->uri, "file:", 5) != 0)
		return false;
	if (strlen(entry->uri) ==
	    REGISTRY_URI_BYTES - 1) /* device names are cut at that length: nobody knows which file it was */
		return false;
	if (access(entry->uri + 5, F_OK) == 0 || errno != ENOENT)
		return false;
	return kill((pid_t)entry->pid, 0) != 0 && errno == ESRCH;
}

static void drop_gone(struct registry *registry, const char *boot_id)
{
	size_t kept = 0;

	for (size_t i = 0; i < registry->count; i++)
		if (!is_gone(&registry->entries[i], boot_id))
			registry->entries[kept++] = registry->entries[i];
	registry->count = kept;
}

static const struct entry *find_overlap(const struct registry *registry, uint64_t base, uint64_t span)
{
	for (size_t i = 0; i < registry->count; i++) {
		const struct entry *entry = &registry->entries[i];

		if (entry->base < base + span && base < entry->base + entry->span_bytes)
			return entry;
	}
	return NULL;
}

static int choose_base(const struct registry *registry, uint64_t wanted, uint64_t span, uint64_t *base)
{
	const struct entry *taken;
	uint64_t step = span;

	if (wanted != 0) {
		taken = find_overlap(registry, wanted, span);
		if (taken != NULL)
			return dm_fail(DMEM_E_WINDOW,
			               "the window 0x%" PRIx64 "-0x%" PRIx64 " overlaps that of %s (0x%" PRIx64 "-0x%" PRIx64
			               "): choose another base, or none",
			               wanted, wanted + span, taken->uri, taken->base, taken->base + taken->span_bytes);
		*base = wanted;
		return 0;
	}
	for (uint64_t at = DM_WINDOW_FIRST; dm_range_inside(at, span, DM_WINDOW_END); at += step) {
		if (find_overlap(registry, at, span) == NULL) {
			*base = at;
			return 0;
		}
	}
	return dm_fail(DMEM_E_WINDOW,
	               "no %" PRIu64 " GiB of addresses are free between 0x%" PRIx64 " and 0x%" PRIx64 " (%zu windows in "
	               "%s): destroy pools that are not needed, or create this one with a smaller span",
	               span / DM_GIB, DM_WINDOW_FIRST, DM_WINDOW_END, registry->count, registry->path);
}

int dm_registry_claim(uint64_t wanted, uint64_t span_bytes, const uint8_t uuid[16], const char *uri, uint64_t *base)
{
	struct registry registry;
	struct entry *entry;
	char boot_id[40];
	uint64_t chosen = 0;
	int rc = registry_open(&registry);

	if (rc)
		return rc;
	read_boot_id(boot_id);
	drop_gone(&registry, boot_id);
	rc = choose_base(&registry, wanted, span_bytes, &chosen);
	if (rc == 0 && registry.count == REGISTRY_LINES_MAX)
		rc = dm_fail(DMEM_E_REGISTRY, "the registry of windows %s is full: take out the lines of pools that are gone",
		             registry.path);
	if (rc == 0 && (strlen(uri) >= REGISTRY_URI_BYTES || strpbrk(uri, " \t\n") != NULL))
		rc = dm_fail(DMEM_E_URI,
		             "%s: the registry of windows takes names of at most %u bytes without blanks: use another name",
		             uri, REGISTRY_URI_BYTES - 1);
	if (rc == 0) {
		entry = &registry.entries[registry.count++];
		*entry = (struct entry){.base = chosen, .span_bytes = span_bytes, .pid = getpid()};
		uuid_text(uuid, entry->uuid);
		snprintf(entry->boot_id, sizeof(entry->boot_id), "%s", boot_id);
		snprintf(entry->uri, sizeof(entry->uri), "%s", uri);
		rc = registry_replace(&registry);
	}
	registry_close(&registry);
	if (rc == 0)
		*base = chosen;
	return rc;
}

int dm_registry_release(const uint8_t uuid[16])
{
	struct registry registry;
	char text[33];
	size_t kept = 0;
	int rc = registry_open(&registry);

	if (rc)
		return rc;
	uuid_text(uuid, text);
	for (size_t i = 0; i < registry.count; i++)
		if (strcmp(registry.entries[i].uuid, text) != 0)
			registry.entries[kept++] = registry.entries[i];
	if (kept != registry.count) {
		registry.count = kept;
		rc = registry_replace(&registry);
	}
	registry_close(&registry);
	return rc;
}
