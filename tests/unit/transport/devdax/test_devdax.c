/* SPDX-License-Identifier: Apache-2.0 */
/*
 * test_devdax.c: what the dax: backend does with an open device, over ordinary memory: a memfd is mapped as a DAX device is, and
 * a folder with "size" and "driver" stands for what the kernel says of it.  Real devices are in tests/lab.
 */
#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/arith.h"
#include "base/error.h"
#include "layout.h"
#include "transport/pool_mark.h"
#include "transport/transport.h"

#ifdef DM_WITH_DAX

#include "transport/devdax/dax_device.h"
#include "transport/devdax/devdax.h"

#define UNIT (2 * DM_MIB)
#define UNITS 8u

static char folder[64];
static int memory = -1;

static void kernel_says(uint64_t bytes)
{
	char path[96];
	FILE *file;

	snprintf(path, sizeof(path), "%s/size", folder);
	file = fopen(path, "w");
	cr_assert(ne(ptr, file, NULL));
	fprintf(file, "%llu\n", (unsigned long long)bytes);
	fclose(file);
}

static void set_up(void)
{
	char path[96];
	unsigned char *all;

	strcpy(folder, "/dev/shm/dmem-dax-XXXXXX");
	cr_assert(ne(ptr, mkdtemp(folder), NULL));
	snprintf(path, sizeof(path), "%s/driver", folder);
	cr_assert(zero(int, symlink("/dev/shm", path)));
	kernel_says(UNITS * UNIT);
	memory = memfd_create("dax", 0);
	cr_assert(zero(int, ftruncate(memory, UNITS * UNIT)));
	/* As a device that somebody else has used. */
	all = mmap(NULL, UNITS * UNIT, PROT_READ | PROT_WRITE, MAP_SHARED, memory, 0);
	cr_assert(all != MAP_FAILED);
	memset(all, 0xee, UNITS * UNIT);
	munmap(all, UNITS * UNIT);
}

static void tear_down(void)
{
	char command[128];

	close(memory);
	snprintf(command, sizeof(command), "rm -rf %s", folder);
	cr_expect(zero(int, system(command)));
}

TestSuite(devdax, .init = set_up, .fini = tear_down);

/* A handle as dm_dax_open() makes it, by a description of its own, so that locks between handles count. */
static struct dm_dax *open_device(uint64_t align)
{
	struct dm_found_dax facts = {.name = "dax9.9", .size_bytes = UNITS * UNIT, .align_bytes = align, .node = 3,
	                             .mode = DM_FOUND_DEVDAX};
	const struct dm_transport *transport;
	struct dm_dax *dax = NULL;
	int fd;

	snprintf(facts.path, sizeof(facts.path), "/proc/%d/fd/%d", (int)getpid(), memory);
	fd = open(facts.path, O_RDWR | O_CLOEXEC);
	cr_assert(ge(int, fd, 0));
	cr_assert(zero(int, dm_dax_new("dax:/dev/dax9.9", folder, &facts, fd, &dax)), "%s", dmem_last_error());
	cr_assert(zero(int, dm_transport_find("dax", &transport)));
	dax->device.transport = transport;
	return dax;
}

static void close_device(struct dm_dax *dax)
{
	dax->device.transport->region.close(&dax->device);
}

static void expect_message(const char *word)
{
	cr_expect(ne(ptr, (void *)strstr(dmem_last_error(), word), NULL), "\"%s\" is not in: %s", word, dmem_last_error());
}

static bool all_bytes(struct dm_dax *dax, uint64_t offset, uint64_t bytes, unsigned char byte)
{
	unsigned char *copy = malloc(bytes);
	bool equal = copy != NULL && dm_dax_read(&dax->device, offset, copy, bytes) == 0;

	for (uint64_t i = 0; equal && i < bytes; i++)
		equal = copy[i] == byte;
	free(copy);
	return equal;
}

static void put_mark(struct dm_dax *dax, unsigned piece)
{
	uint64_t mark = DM_POOL_MARK;

	cr_assert(zero(int, dm_dax_write(&dax->device, (uint64_t)piece * DM_POOL_MARK_PIECE_BYTES, &mark, sizeof(mark))));
}

Test(devdax, a_device_says_what_it_is)
{
	struct dm_dax *dax = open_device(UNIT);

	cr_expect(eq(u64, dax->device.size_bytes, UNITS * UNIT));
	cr_expect(eq(u64, dax->device.align_bytes, UNIT));
	cr_expect(eq(int, (int)dax->device.caps, DM_CAP_MAPS));
	cr_expect(eq(int, (int)dax->device.coherence_default, DMEM_COHERENCE_NONCOHERENT));
	cr_expect(eq(int, (int)dax->device.atomics_default, DMEM_ATOMICS_CPU));
	cr_expect(eq(int, dax->device.node, 3));
	cr_expect(ge(int, dm_dax_fd(dax), 512));
	close_device(dax);
	/* What does not fill a unit can't be mapped. */
	dax = open_device(4 * UNIT);
	cr_expect(eq(u64, dax->device.size_bytes, UNITS * UNIT));
	close_device(dax);
}

Test(devdax, reading_and_writing_go_through_the_lines)
{
	struct dm_dax *dax = open_device(UNIT);
	char in[300], out[300];

	memset(out, 7, sizeof(out));
	cr_assert(zero(int, dm_dax_write(&dax->device, UNIT - 100, out, sizeof(out))), "%s", dmem_last_error());
	/* 28 bytes before the first of the lines up to 200 behind the boundary: 2 + 4 lines. */
	cr_expect(eq(u64, dax->flushes.dropped, 6));
	cr_expect(eq(u64, dax->flushes.fences_written, 1));
	cr_assert(zero(int, dm_dax_read(&dax->device, UNIT - 100, in, sizeof(in))), "%s", dmem_last_error());
	cr_expect(zero(int, memcmp(in, out, sizeof(in))));
	cr_expect(eq(u64, dax->flushes.dropped, 12));
	cr_expect(eq(u64, dax->flushes.fences_dropped, 1));
	cr_expect(all_bytes(dax, UNIT - 200, 100, 0xee));
	cr_expect(all_bytes(dax, UNIT + 200, 100, 0xee));
	cr_expect(eq(int, dm_dax_read(&dax->device, UNITS * UNIT - 10, in, 20), -EINVAL));
	cr_expect(eq(int, dm_dax_write(&dax->device, UINT64_MAX, in, 20), -EINVAL));
	close_device(dax);
}

Test(devdax, line_operations_of_a_mapping_are_counted)
{
	struct dm_dax *dax = open_device(UNIT);
	const struct dm_transport *t = dax->device.transport;
	char *range = mmap(NULL, 4 * UNIT, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	char *at = (char *)dm_align_down((uintptr_t)range + UNIT - 1, UNIT);
	struct dm_flush_count *count = &dax->flushes;

	cr_assert(range != MAP_FAILED);
	cr_assert(zero(int, t->region.map(&dax->device, UNIT, 2 * UNIT, at)), "%s", dmem_last_error());
	cr_expect(eq(int, (unsigned char)at[5], 0xee));
	at[5] = 1;
	cr_expect(zero(int, t->data.publish(&dax->device, UNIT, at, 130)));
	cr_expect(eq(u64, count->written + count->dropped, 3));
	cr_expect(zero(int, t->data.refresh(&dax->device, UNIT, at, 130)));
	cr_expect(eq(u64, count->written + count->dropped, 6));
	cr_expect(zero(int, t->data.handoff(&dax->device, UNIT, at, 130)));
	cr_expect(eq(u64, count->written + count->dropped, 9));
	cr_expect(eq(u64, count->fences_written, 2));
	cr_expect(eq(u64, count->fences_dropped, 1));
	/* Mapped once more in the same place: it is still gone over once. */
	cr_assert(zero(int, t->region.map(&dax->device, 3 * UNIT, UNIT, at)), "%s", dmem_last_error());
	cr_expect(zero(int, t->data.publish_all(&dax->device)));
	cr_expect(eq(u64, count->written + count->dropped, 9 + 2 * UNIT / 64));
	cr_expect(zero(int, t->data.refresh_all(&dax->device)));
	cr_expect(eq(u64, count->written + count->dropped, 9 + 4 * UNIT / 64));
	cr_expect(eq(u64, count->fences_dropped, 2));
	munmap(range, 4 * UNIT);
	close_device(dax);
}

Test(devdax, mappings_that_cannot_be_are_refused)
{
	struct dm_dax *dax = open_device(2 * UNIT);
	const struct dm_region_ops *region = &dax->device.transport->region;
	char *at = (char *)UINT64_C(0x300000000000);

	cr_expect(eq(int, region->map(&dax->device, 0, UNIT, at), -EINVAL));
	expect_message("0x400000");
	cr_expect(eq(int, region->map(&dax->device, UNIT, 2 * UNIT, at), -EINVAL));
	cr_expect(eq(int, region->map(&dax->device, 0, 2 * UNIT, at + UNIT), -EINVAL));
	cr_expect(eq(int, region->map(&dax->device, 0, 0, at), -EINVAL));
	cr_expect(eq(int, region->map(&dax->device, 0, (UNITS + 2) * UNIT, at), -EINVAL));
	close_device(dax);
}

Test(devdax, a_claim_takes_whole_units_of_what_is_there)
{
	struct dm_dax *dax = open_device(2 * UNIT);
	uint64_t bytes = 0;

	cr_expect(eq(int, dm_dax_claim(dax, 0), DMEM_E_OPTION));
	cr_expect(eq(int, dm_dax_claim(dax, 3 * UNIT), DMEM_E_OPTION));
	expect_message("4 MiB");
	cr_expect(eq(int, dm_dax_claim(dax, (UNITS + 2) * UNIT), -ENOSPC));
	expect_message("16 MiB");
	cr_assert(zero(int, dm_dax_claim(dax, 4 * UNIT)), "%s", dmem_last_error());
	cr_expect(eq(u64, dax->device.size_bytes, 4 * UNIT));
	cr_expect(zero(int, dax->device.transport->region.size(&dax->device, &bytes)));
	cr_expect(eq(u64, bytes, 4 * UNIT));
	cr_expect(eq(int, dm_dax_write(&dax->device, 4 * UNIT, &bytes, 8), -EINVAL));
	cr_expect(zero(int, dm_dax_commit(&dax->device)));
	cr_expect(eq(int, dm_dax_commit(&dax->device), -EINVAL));
	close_device(dax);
}

Test(devdax, a_device_with_either_mark_is_taken_until_it_is_destroyed)
{
	for (unsigned piece = 0; piece < DM_POOL_MARK_PIECES; piece++) {
		struct dm_dax *dax = open_device(UNIT);

		put_mark(dax, piece);
		cr_expect(eq(int, dm_dax_claim(dax, UNIT), -EEXIST));
		expect_message("dmemctl destroy dax:/dev/dax9.9");
		cr_expect(eq(u64, dax->device.size_bytes, UNITS * UNIT));
		cr_assert(zero(int, dm_dax_unmark(dax)), "%s", dmem_last_error());
		cr_expect(all_bytes(dax, 0, DM_POOL_MARK_PIECES * DM_POOL_MARK_PIECE_BYTES, 0));
		cr_expect(all_bytes(dax, DM_POOL_MARK_PIECES * DM_POOL_MARK_PIECE_BYTES, 4096, 0xee));
		cr_expect(eq(int, dm_dax_unmark(dax), -ENOENT));
		cr_expect(zero(int, dm_dax_claim(dax, UNIT)), "%s", dmem_last_error());
		close_device(dax);
	}
}

Test(devdax, of_two_creators_one_waits_for_the_end_of_the_other)
{
	struct dm_dax *first = open_device(UNIT), *second = open_device(UNIT);

	cr_assert(zero(int, dm_dax_claim(first, UNIT)), "%s", dmem_last_error());
	cr_expect(eq(int, dm_dax_claim(second, UNIT), -EEXIST));
	expect_message("another process");
	/* One that gives up or dies leaves nothing in the way. */
	close_device(first);
	cr_expect(zero(int, dm_dax_claim(second, UNIT)), "%s", dmem_last_error());
	cr_expect(zero(int, dm_dax_commit(&second->device)));
	first = open_device(UNIT);
	cr_expect(zero(int, dm_dax_claim(first, UNIT)), "%s", dmem_last_error());
	close_device(first);
	close_device(second);
}

Test(devdax, formatting_clears_what_the_library_keeps_and_nothing_else)
{
	struct dm_dax *dax = open_device(UNIT);
	struct dm_segment_pm segment = {.window_first = 100, .device_first = 0, .data_first = 102, .extents = 8};

	cr_assert(zero(int, dm_layout_clear(&dax->device, &segment)), "%s", dmem_last_error());
	cr_expect(all_bytes(dax, 0, 2 * UNIT, 0));
	cr_expect(all_bytes(dax, 2 * UNIT, 6 * UNIT, 0xee));
	segment.device_first = 4;
	cr_assert(zero(int, dm_layout_clear(&dax->device, &segment)), "%s", dmem_last_error());
	cr_expect(all_bytes(dax, 2 * UNIT, 2 * UNIT, 0xee));
	cr_expect(all_bytes(dax, 4 * UNIT, 2 * UNIT, 0));
	cr_expect(all_bytes(dax, 6 * UNIT, 2 * UNIT, 0xee));
	/* A device that reads as zeros is not written to. */
	dax->device.caps |= DM_CAP_ZEROED;
	segment.device_first = 6;
	cr_expect(zero(int, dm_layout_clear(&dax->device, &segment)));
	cr_expect(all_bytes(dax, 6 * UNIT, 2 * UNIT, 0xee));
	close_device(dax);
}

Test(devdax, a_device_that_lost_its_driver_or_its_size_is_lost)
{
	struct dm_dax *dax = open_device(UNIT);
	const struct dm_transport *t = dax->device.transport;
	char path[96];
	uint64_t bytes = 0;

	cr_expect(zero(int, t->health.probe(&dax->device)));
	kernel_says(UNIT);
	cr_expect(eq(int, t->health.probe(&dax->device), DMEM_E_LOST));
	expect_message("driver");
	cr_expect(zero(int, t->region.size(&dax->device, &bytes)));
	cr_expect(eq(u64, bytes, UNIT));
	kernel_says(UNITS * UNIT);
	cr_expect(zero(int, t->health.probe(&dax->device)));
	snprintf(path, sizeof(path), "%s/driver", folder);
	cr_assert(zero(int, unlink(path)));
	cr_expect(eq(int, t->health.probe(&dax->device), DMEM_E_LOST));
	cr_expect(eq(int, t->health.probe(&dax->device), DMEM_E_LOST));
	close_device(dax);
}

Test(devdax, a_descriptor_that_the_program_closed_is_never_written_through)
{
	struct dm_dax *dax = open_device(UNIT);
	int ours = dm_dax_fd(dax), strangers = open("/dev/null", O_RDWR);
	uint64_t value = 0x1122334455667788, back = 0;

	cr_assert(ge(int, dup2(strangers, ours), 0)); /* the number belongs to another file now */
	cr_expect(zero(int, dm_dax_write(&dax->device, 64, &value, sizeof(value))), "%s", dmem_last_error());
	cr_expect(zero(int, dm_dax_read(&dax->device, 64, &back, sizeof(back))));
	cr_expect(eq(u64, back, value));
	cr_expect(ne(int, dm_dax_fd(dax), ours));
	/* And what is not ours is not closed. */
	close_device(dax);
	cr_expect(ge(int, fcntl(ours, F_GETFD), 0));
	close(ours);
	close(strangers);
}

Test(devdax, a_device_that_cannot_be_opened_again_is_refused)
{
	struct dm_dax *dax = open_device(UNIT);
	uint64_t value = 0;

	strcpy(dax->path, "/dev/null");
	close(dm_dax_fd(dax));
	cr_expect(eq(int, dm_dax_read(&dax->device, 0, &value, sizeof(value)), -EBADF));
	cr_expect(eq(int, dm_dax_claim(dax, UNIT), -EBADF));
	close_device(dax);
}

#else

Test(devdax, is_left_out_of_this_build)
{
	const struct dm_transport *transport;

	cr_expect(eq(int, dm_transport_find("dax", &transport), DMEM_E_UNSUPPORTED));
}

#endif
