/* SPDX-License-Identifier: Apache-2.0 */
/* backends.c: the backends that take part in the conformance suite.  Add yours at the end of the list. */
#include <fcntl.h>
#include <glob.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/arith.h"
#include "conformance/conformance.h"

#define DAX_BYTES (32 * 2 * DM_MIB) /* more than any test uses of a device that can't grow */

static void path_uri(const char *scheme, const char *directory, char *uri, size_t bytes)
{
	static unsigned serial;

	snprintf(uri, bytes, "%s:%s/dmem-conformance-%d-%u", scheme, directory, (int)getpid(), serial++);
}

static void file_uri(const char *directory, char *uri, size_t bytes)
{
	path_uri("file", directory, uri, bytes);
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

/* Hosts that are not coherent, of which nothing moves by itself. */
static void sim_still_uri(char *uri, size_t bytes)
{
	setenv("DMEM_SIM_RATE", "0", 1);
	path_uri("sim", "/dev/shm", uri, bytes);
}

/* And such where something moves at every second operation. */
static void sim_restless_uri(char *uri, size_t bytes)
{
	setenv("DMEM_SIM_RATE", "2", 1);
	path_uri("sim", "/dev/shm", uri, bytes);
}

/* A DAX device that nobody else uses; what is on it is lost.  Saying where it is promises that it works. */
static bool dax_available(void)
{
	return getenv("DMEM_TEST_DAX") != NULL;
}

/* There is one device for all tests: they take turns, and each finds the beginning of it without a pool and zeroed. */
static void dax_uri(char *uri, size_t bytes)
{
	int turn = open("/tmp/dmem-conformance-dax.lock", O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	int device = open(getenv("DMEM_TEST_DAX"), O_RDWR | O_CLOEXEC);
	void *start;

	if (turn < 0 || flock(turn, LOCK_EX) != 0 || device < 0)
		abort();
	start = mmap(NULL, DAX_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED, device, 0);
	if (start == MAP_FAILED)
		abort();
	memset(start, 0, DAX_BYTES);
	munmap(start, DAX_BYTES);
	close(device);
	snprintf(uri, bytes, "dax:%s", getenv("DMEM_TEST_DAX"));
}

static void dax_clean(const struct dm_uri *uri)
{
	const struct dm_transport *transport;

	if (dm_transport_find(uri->scheme, &transport) == 0)
		(void)transport->region.destroy(uri);
}

const struct conformance_backend conformance_backends[] = {
	{"file on tmpfs", NULL, tmpfs_uri, file_clean, file_truncate, 0, false, false},
	{"file on disk", NULL, disk_uri, file_clean, file_truncate, 0, false, false},
	{"file on hugetlbfs", hugetlbfs_available, hugetlbfs_uri, file_clean, file_truncate, 0, false, false},
	{"dax", dax_available, dax_uri, dax_clean, NULL, 32, false, true},
	{"sim where nothing moves by itself", NULL, sim_still_uri, file_clean, file_truncate, 32, true, false},
	{"sim where lines move by themselves", NULL, sim_restless_uri, file_clean, file_truncate, 32, false, false},
};

const size_t conformance_backend_count = sizeof(conformance_backends) / sizeof(conformance_backends[0]);
