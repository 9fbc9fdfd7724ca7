/* SPDX-License-Identifier: Apache-2.0 */
/*
 * dax_data.c: bytes of a DAX device, and lines of its mappings.
 *
 * The device has no read() and write(), so bytes go through a mapping of their own.  Whether other hosts' caches are kept
 * coherent is the pool's business and not known here: every line that is read is dropped first, every line that is written is
 * dropped afterwards, so the bytes are right in either case.  Pools that are declared coherent never call the line operations.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "base/arith.h"
#include "base/error.h"
#include "transport/devdax/dax_device.h"

/* A shared mapping of the units that hold the range. */
struct passage {
	char *mapping;
	uint64_t bytes;
	char *at; /* of the range's first byte */
};

static int passage_open(struct dm_dax *dax, const char *what, uint64_t offset, uint64_t bytes, struct passage *passage)
{
	uint64_t align = dax->device.align_bytes;
	uint64_t first = dm_align_down(offset, align);
	uint64_t last = dm_align_down(offset + bytes - 1, align);
	int fd = dm_dax_fd(dax);
	void *mapping;

	if (fd < 0)
		return fd;
	mapping = mmap(NULL, last + align - first, PROT_READ | PROT_WRITE, MAP_SHARED, fd, (off_t)first);
	if (mapping == MAP_FAILED)
		return dm_fail(-errno, "cannot %s %" PRIu64 " bytes at offset %" PRIu64 " of %s: it can't be mapped: %s", what,
		               bytes, offset, dax->path, dmem_strerror(-errno));
	*passage =
		(struct passage){.mapping = mapping, .bytes = last + align - first, .at = (char *)mapping + (offset - first)};
	return 0;
}

static void passage_close(struct passage *passage)
{
	munmap(passage->mapping, passage->bytes);
}

int dm_dax_read(struct dm_device *device, uint64_t offset, void *buffer, size_t bytes)
{
	struct dm_dax *dax = dm_dax_of(device);
	struct passage passage;
	int err = dm_dax_check_range(dax, "read", offset, bytes);

	if (err != 0 || bytes == 0)
		return err;
	err = passage_open(dax, "read", offset, bytes, &passage);
	if (err != 0)
		return err;
	dm_flush_refresh(&dax->flushes, passage.at, bytes);
	memcpy(buffer, passage.at, bytes);
	passage_close(&passage);
	return 0;
}

int dm_dax_write(struct dm_device *device, uint64_t offset, const void *buffer, size_t bytes)
{
	struct dm_dax *dax = dm_dax_of(device);
	struct passage passage;
	int err = dm_dax_check_range(dax, "write", offset, bytes);

	if (err != 0 || bytes == 0)
		return err;
	err = passage_open(dax, "write", offset, bytes, &passage);
	if (err != 0)
		return err;
	memcpy(passage.at, buffer, bytes);
	dm_flush_handoff(&dax->flushes, passage.at, bytes);
	passage_close(&passage);
	return 0;
}

int dm_dax_publish(struct dm_device *device, uint64_t offset, void *address, size_t bytes)
{
	(void)offset;
	dm_flush_publish(&dm_dax_of(device)->flushes, address, bytes);
	return 0;
}

int dm_dax_refresh(struct dm_device *device, uint64_t offset, void *address, size_t bytes)
{
	(void)offset;
	dm_flush_refresh(&dm_dax_of(device)->flushes, address, bytes);
	return 0;
}

int dm_dax_handoff(struct dm_device *device, uint64_t offset, void *address, size_t bytes)
{
	(void)offset;
	dm_flush_handoff(&dm_dax_of(device)->flushes, address, bytes);
	return 0;
}

int dm_dax_note_mapping(struct dm_dax *dax, void *address, uint64_t bytes)
{
	struct dm_dax_mapping *note = atomic_load_explicit(&dax->mappings, memory_order_acquire);

	/* mapped again over itself, or over a part of it: all of it is flushed in any case */
	for (; note != NULL; note = note->next) {
		if (dm_range_inside((uint64_t)((uintptr_t)address - (uintptr_t)note->address), bytes, note->bytes))
			return 0;
	}
	note = malloc(sizeof(*note));
	if (note == NULL)
		return dm_fail(-ENOMEM, "no memory to remember a mapping of %s", dax->path);
	note->address = address;
	note->bytes = bytes;
	note->next = atomic_load_explicit(&dax->mappings, memory_order_relaxed);
	/* pairs with the acquires here and in all_mappings() */
	while (!atomic_compare_exchange_weak_explicit(&dax->mappings, &note->next, note, memory_order_release,
	                                              memory_order_relaxed))
		;
	return 0;
}

void dm_dax_forget_mappings(struct dm_dax *dax)
{
	struct dm_dax_mapping *note = atomic_exchange(&dax->mappings, NULL);

	while (note != NULL) {
		struct dm_dax_mapping *next = note->next;

		free(note);
		note = next;
	}
}

static int all_mappings(struct dm_dax *dax, void (*flush)(struct dm_flush_count *, const void *, size_t))
{
	for (struct dm_dax_mapping *note = atomic_load_explicit(&dax->mappings, memory_order_acquire); note != NULL;
	     note = note->next)
		flush(&dax->flushes, note->address, note->bytes);
	return 0;
}

/* Nobody knows which lines are dirty: the cost grows with the size of what is mapped. */
int dm_dax_publish_all(struct dm_device *device)
{
	return all_mappings(dm_dax_of(device), dm_flush_publish);
}

int dm_dax_refresh_all(struct dm_device *device)
{
	return all_mappings(dm_dax_of(device), dm_flush_refresh);
}
