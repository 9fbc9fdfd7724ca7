/* SPDX-License-Identifier: Apache-2.0 */
/* backends.c: the backends that take part in the conformance suite.  Add yours at the end of the list. */
#include <glob.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "conformance/conformance.h"

static void file_uri(const char *directory, char *uri, size_t bytes)
{
	static unsigned serial;

	snprintf(uri, bytes, "file:%s/dmem-conformance-%d-%u", directory, (int)getpid(), serial++);
}

/* The file and its temporary forms. */
static void file_clean(const struct dm_uri *uri)
{
	char pattern[DM_URI_PATH_BYTES + 8];
	glob_t found;

	snprintf(pattern, sizeof(pattern), "%s*", uri->path);
	if (glob(pattern, 0, NULL, &found) == 0) {
		for (size_t i = 0; i < found.gl_pathc; i++)
			unlink(found.gl_pathv[i]);
		globfree(&found);
	}
}

static void file_truncate(const struct dm_uri *uri, uint64_t bytes)
{
	if (truncate(uri->path, (off_t)bytes) != 0)
		abort();
}

static void tmpfs_uri(char *uri, size_t bytes)
{
	file_uri("/dev/shm", uri, bytes);
}

/* Whatever file system the tests run on. */
static void disk_uri(char *uri, size_t bytes)
{
	char directory[256];

	if (getcwd(directory, sizeof(directory)) == NULL)
		abort();
	file_uri(directory, uri, bytes);
}

/* A mounted hugetlbfs with at least 8 free pages.  Saying where it is promises that it works. */
static bool hugetlbfs_available(void)
{
	return getenv("DMEM_TEST_HUGETLBFS") != NULL;
}

static void hugetlbfs_uri(char *uri, size_t bytes)
{
	file_uri(getenv("DMEM_TEST_HUGETLBFS"), uri, bytes);
}

const struct conformance_backend conformance_backends[] = {
	{"file on tmpfs", NULL, tmpfs_uri, file_clean, file_truncate},
	{"file on disk", NULL, disk_uri, file_clean, file_truncate},
	{"file on hugetlbfs", hugetlbfs_available, hugetlbfs_uri, file_clean, file_truncate},
};

const size_t conformance_backend_count = sizeof(conformance_backends) / sizeof(conformance_backends[0]);
