/* SPDX-License-Identifier: Apache-2.0 */
/*
 * library.c: see library.h.
 *
 * A library that was loaded stays: its functions may be in use in another thread.  A failure is not remembered, so that the
 * package can be installed while the program runs.
 */
#include "transport/devdax/library.h"

#include <assert.h>
#include <dlfcn.h>
#include <pthread.h>
#include <stdbool.h>

#include "base/arith.h"
#include "base/error.h"

static_assert(sizeof(void *) == sizeof(void (*)(void)), "dlsym() gives addresses of functions as pointers to data");

#define NAME(function) #function,
static const char *const daxctl_names[] = {DM_DAXCTL_FUNCTIONS(NAME)};
static const char *const cxl_names[] = {DM_CXL_FUNCTIONS(NAME)};
#undef NAME

static_assert(sizeof(struct dm_daxctl) == sizeof(daxctl_names), "one pointer a name, in the same order");
static_assert(sizeof(struct dm_cxl) == sizeof(cxl_names), "one pointer a name, in the same order");

/* A table, to its users a struct of typed functions, to the loader an array of addresses. */
static union {
	struct dm_daxctl functions;
	void *addresses[DM_ARRAY_LENGTH(daxctl_names)];
} daxctl;

static union {
	struct dm_cxl functions;
	void *addresses[DM_ARRAY_LENGTH(cxl_names)];
} cxl;

static bool daxctl_there, cxl_there; /* under `lock` */
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

int dm_library_load(const char *file, const char *package, const char *const *names, size_t count, void **table)
{
	void *handle = dlopen(file, RTLD_NOW | RTLD_LOCAL);

	if (handle == NULL) {
		const char *reason = dlerror();

		return dm_fail(DMEM_E_UNSUPPORTED,
		               "%s, which dax: and cxl: need, can't be loaded (%s): install it (Debian: "
		               "apt-get install %s)",
		               file, reason != NULL ? reason : "no reason given", package);
	}
	for (size_t i = 0; i < count; i++) {
		table[i] = dlsym(handle, names[i]);
		if (table[i] == NULL) {
			dlclose(handle);
			return dm_fail(DMEM_E_UNSUPPORTED,
			               "%s has no function %s: it is older than libdmem needs: install a newer one "
			               "(Debian: package %s, version 76 or later)",
			               file, names[i], package);
		}
	}
	return 0;
}

int dm_library_daxctl(const struct dm_daxctl **library)
{
	int err = 0;

	pthread_mutex_lock(&lock);
	if (!daxctl_there)
		err = dm_library_load("libdaxctl.so.1", "libdaxctl1", daxctl_names, DM_ARRAY_LENGTH(daxctl_names),
		                      daxctl.addresses);
	daxctl_there = daxctl_there || err == 0;
	pthread_mutex_unlock(&lock);
	if (err == 0)
		*library = &daxctl.functions;
	return err;
}

int dm_library_cxl(const struct dm_cxl **library)
{
	int err = 0;

	pthread_mutex_lock(&lock);
	if (!cxl_there)
		err = dm_library_load("libcxl.so.1", "libcxl1", cxl_names, DM_ARRAY_LENGTH(cxl_names), cxl.addresses);
	cxl_there = cxl_there || err == 0;
	pthread_mutex_unlock(&lock);
	if (err == 0)
		*library = &cxl.functions;
	return err;
}
