/* SPDX-License-Identifier: Apache-2.0 */
/*
 * sim_map.c: giving a member its own copy of a part of the device, at the address where it wants it.
 *
 * The own copy is anonymous memory: a killed member's unpublished lines are gone with it, and a child of fork() has a copy of
 * its own.  Holes of the sparse file are skipped: they are zeros on both sides, and touching them would take space.
 */
#include <errno.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/arith.h"
#include "base/error.h"
#include "transport/file/file_device.h"
#include "transport/sim/sim_device.h"

#define OWN_FLAGS (MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE)

bool dm_sim_next_data(const struct dm_sim *sim, uint64_t at, uint64_t end, uint64_t *data, uint64_t *data_end)
{
	int fd = dm_file_of(sim->file)->fd;
	off_t found = lseek(fd, (off_t)at, SEEK_DATA);

	if (found < 0 && errno == ENXIO)
		return false;
	if (found < 0) { /* a file system that can't tell: everything is data */
		*data = at;
		*data_end = end;
		return at < end;
	}
	*data = dm_align_down((uint64_t)found, DM_SIM_PAGE_BYTES);
	if (*data < at)
		*data = at;
	found = lseek(fd, found, SEEK_HOLE);
	*data_end = found < 0 || (uint64_t)found > end ? end : dm_align_down((uint64_t)found, DM_SIM_PAGE_BYTES);
	if (*data_end <= *data) /* a hole that does not start at a page: the page has data */
		*data_end = *data + DM_SIM_PAGE_BYTES;
	return *data < end;
}

static int check_map(struct dm_sim *sim, uint64_t offset, uint64_t bytes, const void *address)
{
	if (!dm_is_aligned((uintptr_t)address, sim->device.align_bytes))
		return dm_fail(-EINVAL, "%s cannot be mapped at %p: that is no multiple of %#llx", sim->device.name, address,
		               (unsigned long long)sim->device.align_bytes);
	if (!dm_range_inside(offset, bytes, DM_SIM_BYTES_MAX))
		return dm_fail(-EINVAL, "%s cannot be mapped from %#llx, %#llx bytes: a sim: pool ends at 64 MiB",
		               sim->device.name, (unsigned long long)offset, (unsigned long long)bytes);
	return 0;
}

/* Read the file into a fresh, zeroed copy. */
static int read_copy(struct dm_sim *sim, uint64_t offset, uint64_t bytes, char *copy)
{
	uint64_t end = offset + bytes;
	uint64_t data;
	uint64_t data_end;
	int rc = 0;

	for (uint64_t at = offset; rc == 0 && dm_sim_next_data(sim, at, end, &data, &data_end); at = data_end)
		rc = sim->file->transport->data.read(sim->file, data, copy + (data - offset), data_end - data);
	return rc;
}

/* The same into the member's own copy; untouched pages stay untouched. */
static void copy_pages(char *to, const char *from, uint64_t bytes)
{
	static const char zeros[DM_SIM_PAGE_BYTES];

	for (uint64_t page = 0; page < bytes; page += DM_SIM_PAGE_BYTES)
		if (memcmp(from + page, zeros, DM_SIM_PAGE_BYTES) != 0)
			memcpy(to + page, from + page, DM_SIM_PAGE_BYTES);
}

/* What was mapped in a range of addresses before is there no more; what lies beside it stays. */
static void cut_views(struct dm_sim *sim, const char *start, uint64_t bytes)
{
	for (uint32_t i = 0, count = sim->view_count; i < count; i++) {
		struct dm_sim_view *view = &sim->views[i];
		struct dm_sim_view after = *view;
		uint64_t skip;

		if (view->bytes == 0 || start >= view->own + view->bytes || view->own >= start + bytes)
			continue;
		skip = (uint64_t)(start + bytes - view->own);
		if (skip < view->bytes) { /* what lies behind becomes a view of its own */
			after.own += skip;
			after.twin += skip;
			after.offset += skip;
			after.bytes -= skip;
		} else {
			after.bytes = 0;
		}
		view->bytes = start > view->own ? (uint64_t)(start - view->own) : 0;
		if (after.bytes > 0)
			sim->views[sim->view_count++] = after;
	}
}

static void enlist_view(struct dm_sim *sim, const struct dm_sim_view *view)
{
	uint32_t kept = 0;

	cut_views(sim, view->own, view->bytes);
	for (uint32_t i = 0; i < sim->view_count; i++)
		if (sim->views[i].bytes > 0)
			sim->views[kept++] = sim->views[i];
	sim->views[kept++] = *view;
	sim->view_count = kept;
	sim->twins[sim->twin_count++] = (struct dm_sim_twin){.address = view->twin, .bytes = view->bytes};
}

/* Under the lock. */
static int map_view(struct dm_sim *sim, const struct dm_sim_view *view)
{
	/* one more view, and what it cuts out of the others: each can fall in two */
	if (sim->view_count * 2 + 1 >= DM_SIM_VIEWS_MAX || sim->twin_count == DM_SIM_VIEWS_MAX)
		return -EMFILE;
	if (mmap(view->own, view->bytes, PROT_READ | PROT_WRITE, OWN_FLAGS | MAP_FIXED, -1, 0) == MAP_FAILED)
		return -errno;
	copy_pages(view->own, view->twin, view->bytes);
	enlist_view(sim, view);
	return 0;
}

int dm_sim_map(struct dm_device *device, uint64_t offset, uint64_t bytes, void *address)
{
	struct dm_sim *sim = dm_sim_of(device);
	struct dm_sim_view view = {.offset = offset, .bytes = bytes, .own = address};
	int rc = check_map(sim, offset, bytes, address);

	/* the file knows what of it can be mapped; mapped twice it is the same */
	if (rc == 0)
		rc = sim->file->transport->region.map(sim->file, offset, bytes, sim->shared + offset);
	if (rc)
		return rc;
	view.twin = mmap(NULL, bytes, PROT_READ | PROT_WRITE, OWN_FLAGS, -1, 0);
	if (view.twin == MAP_FAILED)
		return dm_fail(-errno, "no memory for a copy of %s", device->name);
	rc = read_copy(sim, offset, bytes, view.twin);
	if (rc)
		goto err_unmap;
	dm_forklock_lock(&sim->lock);
	rc = map_view(sim, &view);
	dm_forklock_unlock(&sim->lock);
	if (rc == 0)
		return 0;
	rc = dm_fail(rc, "%s cannot be mapped at %p: %s", device->name, address, dmem_strerror(rc));
err_unmap:
	munmap(view.twin, bytes);
	return rc;
}

static void zero_page(char *own, char *twin)
{
	static const char zeros[DM_SIM_PAGE_BYTES];

	if (memcmp(own, zeros, DM_SIM_PAGE_BYTES) != 0)
		memset(own, 0, DM_SIM_PAGE_BYTES);
	if (memcmp(twin, zeros, DM_SIM_PAGE_BYTES) != 0)
		memset(twin, 0, DM_SIM_PAGE_BYTES);
}

void dm_sim_forget_range(struct dm_sim *sim, uint64_t offset, uint64_t bytes)
{
	for (uint64_t page = offset; page < offset + bytes; page += DM_SIM_PAGE_BYTES) {
		/* 64 lines of a page, one word of the bitmap */
		sim->atomic_lines[page / DM_SIM_PAGE_BYTES] = 0;
		for (uint32_t i = 0; i < sim->view_count; i++) {
			struct dm_sim_view *view = &sim->views[i];

			if (page - view->offset < view->bytes)
				zero_page(view->own + (page - view->offset), view->twin + (page - view->offset));
		}
	}
}

void dm_sim_settle_child(struct dm_sim *sim)
{
	for (uint32_t i = 0; i < sim->view_count; i++) {
		struct dm_sim_view *view = &sim->views[i];

		for (uint64_t page = 0; page < view->bytes; page += DM_SIM_PAGE_BYTES)
			if (memcmp(view->own + page, view->twin + page, DM_SIM_PAGE_BYTES) != 0)
				memcpy(view->twin + page, view->own + page, DM_SIM_PAGE_BYTES);
	}
	sim->pid = getpid();
}
