/* SPDX-License-Identifier: Apache-2.0 */
/*
 * dax_open.c: find the device that a URI means, see that it is one that a pool can be on, open it.
 *
 * What is trusted is the number of the device node, never its name: the node's number is looked up among the DAX devices that
 * libdaxctl knows, before the open, and compared again after it.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "base/error.h"
#include "transport/devdax/dax_device.h"

#define LIST_BYTES 400

static int say_no_node(const struct dm_found *found, const char *path, int err)
{
	char list[LIST_BYTES];

	if (err == -EACCES)
		return dm_fail(err, "%s cannot be reached: user %u lacks search permission (x) on its folder", path, geteuid());
	return dm_fail(err, "there is no device %s (%s): look at the path; DAX devices here: %s", path, dmem_strerror(err),
	               dm_discover_list_daxes(found, list, sizeof(list)));
}

/* The device behind the path of a "dax:" URI. */
static int find_by_path(const struct dm_found *found, const char *path, struct dm_found_dax *facts)
{
	char list[LIST_BYTES];
	struct stat status;

	if (stat(path, &status) != 0)
		return say_no_node(found, path, -errno);
	if (!S_ISCHR(status.st_mode))
		return dm_fail(DMEM_E_UNSUPPORTED, "%s is %s, and no DAX device: %s; DAX devices here: %s", path,
		               S_ISREG(status.st_mode)   ? "a regular file"
		               : S_ISBLK(status.st_mode) ? "a block device"
		               : S_ISDIR(status.st_mode) ? "a directory"
		                                         : "no character device",
		               S_ISREG(status.st_mode) ? "name a pool in a file as file:"
		               : S_ISBLK(status.st_mode)
		                   ? "make a namespace in mode devdax of it ('ndctl create-namespace -f -m devdax "
		                     "-e NAMESPACE')"
		                   : "name a device such as /dev/dax0.0",
		               dm_discover_list_daxes(found, list, sizeof(list)));
	for (size_t i = 0; i < found->dax_count; i++) {
		if (makedev(found->daxes[i].major, found->daxes[i].minor) != status.st_rdev)
			continue;
		*facts = found->daxes[i];
		if (strlen(path) >= sizeof(facts->path))
			return dm_fail(-ENAMETOOLONG, "%.100s... is too long for the name of a device: use %s", path, facts->path);
		strcpy(facts->path, path);
		return 0;
	}
	return dm_fail(DMEM_E_UNSUPPORTED,
	               "%s is a character device (%u:%u), but none of the dax subsystem: DAX devices here: %s; "
	               "make one with 'daxctl reconfigure-device -m devdax' or 'ndctl create-namespace -m devdax'",
	               path, major(status.st_rdev), minor(status.st_rdev),
	               dm_discover_list_daxes(found, list, sizeof(list)));
}

/* The device that a URI of either scheme means, checked. */
static int find_device(const struct dm_uri *uri, struct dm_found_dax *facts)
{
	struct dm_found found = {.dax_count = 0};
	const struct dm_found_dax *dax;
	int err = dm_discover_dax(&found);

	if (err == 0 && strcmp(uri->scheme, "cxl") == 0) {
		err = dm_discover_cxl(&found);
		if (err == 0)
			err = dm_discover_find(&found, uri->path, &dax);
		if (err == 0)
			*facts = *dax;
	} else if (err == 0) {
		err = find_by_path(&found, uri->path, facts);
	}
	if (err == 0)
		err = dm_discover_check(facts);
	dm_discover_free(&found);
	return err;
}

static int say_not_opened(const char *path, int err)
{
	switch (-err) {
	case EACCES:
	case EPERM:
		return dm_fail(
			err,
			"%s cannot be opened: user %u needs read and write permission on it: chown or chmod it (a rule of "
			"udev makes that last), or run as its owner",
			path, geteuid());
	case ENXIO:
		return dm_fail(DMEM_E_UNSUPPORTED, "%s has no driver: 'daxctl reconfigure-device -m devdax' gives it one",
		               path);
	case EMFILE:
		return dm_fail(err, "%s cannot be opened: this process has as many open files as it may (see ulimit -n)", path);
	default:
		return dm_fail(err, "%s cannot be opened: %s", path, dmem_strerror(err));
	}
}

int dm_dax_capacity(const struct dm_uri *uri, uint64_t *bytes)
{
	struct dm_found_dax facts;
	int err = find_device(uri, &facts);

	if (err == 0)
		*bytes = facts.size_bytes & ~(facts.align_bytes - 1);
	return err;
}

int dm_dax_open(const struct dm_uri *uri, struct dm_device **device)
{
	char name[sizeof((*device)->name)], sysfs[96];
	struct dm_found_dax facts;
	struct stat status;
	struct dm_dax *dax;
	int err = find_device(uri, &facts);
	int fd;

	if (err != 0)
		return err;
	fd = open(facts.path, O_RDWR | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
	if (fd < 0)
		return say_not_opened(facts.path, -errno);
	if (fstat(fd, &status) != 0 || !S_ISCHR(status.st_mode) || status.st_rdev != makedev(facts.major, facts.minor)) {
		err = dm_fail(DMEM_E_UNSUPPORTED, "%s became another device while it was opened: try again", facts.path);
		goto err_close;
	}
	/* Cut when longer, as the contract says; the precision keeps the compiler from asking. */
	snprintf(name, sizeof(name), "%s:%.230s", uri->scheme, uri->path);
	snprintf(sysfs, sizeof(sysfs), "/sys/dev/char/%u:%u", facts.major, facts.minor);
	err = dm_dax_new(name, sysfs, &facts, fd, &dax);
	if (err != 0)
		goto err_close;
	*device = &dax->device;
	return 0;

err_close:
	close(fd);
	return err;
}
