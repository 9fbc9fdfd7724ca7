/* SPDX-License-Identifier: Apache-2.0 */
/* region.c: making, naming, opening, mapping and removing devices. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/arith.h"
#include "conformance/conformance.h"

#define UNIT (2 * DM_MIB)

CONFORMANCE_TEST(region, opening_what_is_not_there_fails_and_names_it)
{
	struct dm_device *device = NULL;

	if (conformance_in_place(c))
		return;
	cr_expect(eq(int, dm_transport_open(&c->uri, &device), -ENOENT));
	cr_expect(eq(ptr, device, NULL));
	cr_expect(ne(ptr, strstr(dmem_last_error(), c->uri.path), NULL), "%s", dmem_last_error());
}

CONFORMANCE_TEST(region, a_device_has_no_name_before_commit)
{
	struct dm_device *other = NULL;

	if (conformance_in_place(c))
		return;
	cr_assert(zero(int, dm_transport_create(&c->uri, 2 * UNIT, 0600, &c->device)), "%s", dmem_last_error());
	cr_expect(eq(int, dm_transport_open(&c->uri, &other), -ENOENT));
	cr_assert(zero(int, c->transport->region.commit(c->device)), "%s", dmem_last_error());
	other = conformance_open(c);
	cr_expect(eq(u64, other->size_bytes, 2 * UNIT));
	c->transport->region.close(other);
}

CONFORMANCE_TEST(region, a_device_that_was_not_committed_disappears)
{
	struct dm_device *device = NULL;

	if (conformance_in_place(c))
		return;
	cr_assert(zero(int, dm_transport_create(&c->uri, UNIT, 0600, &device)), "%s", dmem_last_error());
	c->transport->region.close(device);
	cr_expect(eq(int, dm_transport_open(&c->uri, &device), -ENOENT));
	conformance_make(c, 1);
}

CONFORMANCE_TEST(region, a_taken_name_is_refused_at_once)
{
	struct dm_device *second = NULL;

	if (conformance_in_place(c))
		return;
	conformance_make(c, 1);
	cr_expect(eq(int, dm_transport_create(&c->uri, UNIT, 0600, &second), -EEXIST));
	cr_expect(eq(ptr, second, NULL));
}

CONFORMANCE_TEST(region, of_two_creators_one_wins_the_commit)
{
	struct dm_device *second = NULL;
	uint64_t bytes = 0;

	if (conformance_in_place(c))
		return;
	cr_assert(zero(int, dm_transport_create(&c->uri, UNIT, 0600, &c->device)), "%s", dmem_last_error());
	cr_assert(zero(int, dm_transport_create(&c->uri, 2 * UNIT, 0600, &second)), "%s", dmem_last_error());
	cr_expect(zero(int, c->transport->region.commit(second)), "%s", dmem_last_error());
	cr_expect(eq(int, c->transport->region.commit(c->device), -EEXIST));
	c->transport->region.close(c->device);
	/* The loser's end leaves the winner's device alone. */
	c->device = conformance_open(c);
	cr_expect(zero(int, c->transport->region.size(c->device, &bytes)));
	cr_expect(eq(u64, bytes, 2 * UNIT));
	c->transport->region.close(second);
}

static int create_once(struct conformance *c, uint64_t units)
{
	struct dm_device *device;
	int err = dm_transport_create(&c->uri, units * UNIT, 0600, &device);

	if (err != 0)
		return err == -EEXIST ? 1 : 2;
	err = c->transport->region.commit(device);
	c->transport->region.close(device);
	return err == 0 ? 0 : err == -EEXIST ? 1 : 2;
}

CONFORMANCE_TEST(region, of_many_creating_processes_exactly_one_wins)
{
	int pids[8], winners = 0;

	if (conformance_in_place(c))
		return;
	for (unsigned i = 0; i < DM_ARRAY_LENGTH(pids); i++) {
		pids[i] = fork();
		if (pids[i] == 0)
			_exit(create_once(c, 1));
	}
	for (unsigned i = 0; i < DM_ARRAY_LENGTH(pids); i++) {
		int status = conformance_join(pids[i]);

		cr_expect(status == 0 || status == 1, "child %u: status %d", i, status);
		winners += status == 0;
	}
	cr_expect(eq(int, winners, 1));
	c->device = conformance_open(c);
}

CONFORMANCE_TEST(region, a_creator_that_died_leaves_nothing_in_the_way)
{
	struct dm_device *device;
	int pid = fork();

	if (pid == 0)
		_exit(dm_transport_create(&c->uri, UNIT, 0600, &device) == 0 ? 7 : 8);
	cr_assert(eq(int, conformance_join(pid), 7));
	conformance_make(c, 1);
}

CONFORMANCE_TEST(region, impossible_sizes_are_refused)
{
	static const uint64_t sizes[] = {0, 1, 4096, UNIT - 1, UNIT + 4096, UINT64_MAX, UINT64_MAX - UNIT + 1,
	                                 UINT64_C(1) << 63};

	for (size_t i = 0; i < DM_ARRAY_LENGTH(sizes); i++) {
		struct dm_device *device = NULL;
		int err = dm_transport_create(&c->uri, sizes[i], 0600, &device);

		cr_expect(lt(int, err, 0), "%s: %llu bytes", c->backend->name, (unsigned long long)sizes[i]);
		cr_expect(eq(ptr, device, NULL));
	}
	cr_expect(eq(int, c->transport->region.destroy(&c->uri), -ENOENT));
}

CONFORMANCE_TEST(region, a_device_says_what_it_is)
{
	conformance_make(c, 3);
	cr_expect(eq(u64, c->device->size_bytes, 3 * UNIT));
	cr_expect(ge(u64, c->device->align_bytes, 2 * DM_MIB));
	cr_expect(dm_is_power_of_two(c->device->align_bytes));
	cr_expect(ne(int, (int)c->device->coherence_default, DMEM_COHERENCE_DEFAULT));
	cr_expect(ne(int, (int)c->device->atomics_default, DMEM_ATOMICS_DEFAULT));
	cr_expect(ge(int, c->device->node, -1));
	cr_expect(zero(int, strncmp(c->device->name, c->text, sizeof(c->device->name) - 1)));
	cr_expect(eq(ptr, (void *)c->device->transport, (void *)c->transport));
}

CONFORMANCE_TEST(region, a_committed_device_is_not_committed_again)
{
	conformance_make(c, 1);
	cr_expect(lt(int, c->transport->region.commit(c->device), 0));
}

CONFORMANCE_TEST(region, memory_lives_until_the_last_user_closes)
{
	char *address;
	struct dm_device *other = NULL;

	if (conformance_in_place(c))
		return;
	conformance_make(c, 1);
	address = conformance_map(c->device, UNIT);
	address[5] = 42;
	cr_assert(zero(int, c->transport->region.destroy(&c->uri)), "%s", dmem_last_error());
	cr_expect(eq(int, dm_transport_open(&c->uri, &other), -ENOENT));
	cr_expect(eq(int, address[5], 42));
	cr_expect(zero(int, c->transport->health.probe(c->device)));
	cr_expect(eq(int, c->transport->region.destroy(&c->uri), -ENOENT));
	/* The name is free for another device. */
	cr_expect(zero(int, create_once(c, 2)));
}

CONFORMANCE_TEST(region, new_memory_reads_as_zeros)
{
	char *address;

	conformance_make(c, 2);
	if ((c->device->caps & DM_CAP_ZEROED) == 0)
		return;
	address = conformance_map(c->device, 2 * UNIT);
	cr_expect(conformance_all(address, 0, 2 * UNIT));
}

CONFORMANCE_TEST(region, a_part_of_a_device_is_mapped_where_it_is_asked_for)
{
	struct dm_device *device;
	char *whole, *part;
	uint64_t marker = 0x1122334455667788;

	conformance_make(c, 4);
	device = c->device;
	whole = conformance_map(device, 4 * UNIT);
	part = whole + 3 * UNIT;
	/* Device extent 1 shown at the place of extent 3, as a moved extent would be. */
	cr_assert(zero(int, c->transport->region.map(device, UNIT, UNIT, part)), "%s", dmem_last_error());
	memcpy(whole + UNIT + 64, &marker, sizeof(marker));
	if ((device->caps & DM_CAP_MAPS) == 0) { /* two copies of one memory */
		conformance_publish(device, whole, UNIT + 64, sizeof(marker));
		cr_assert(zero(int, c->transport->data.refresh(device, UNIT + 64, part + 64, sizeof(marker))));
	}
	cr_expect(zero(int, memcmp(part + 64, &marker, sizeof(marker))));
	cr_expect(conformance_all(whole + 2 * UNIT, 0, UNIT));
}

CONFORMANCE_TEST(region, mappings_that_cannot_be_are_refused)
{
	uint64_t unit;
	char *address;

	conformance_make(c, 2);
	unit = conformance_unit(c);
	address = conformance_map(c->device, 2 * UNIT);
	address[0] = 1;
	cr_expect(lt(int, c->transport->region.map(c->device, 0, 0, address), 0));
	cr_expect(lt(int, c->transport->region.map(c->device, 4096, unit, address), 0));
	cr_expect(lt(int, c->transport->region.map(c->device, 0, unit - 4096, address), 0));
	cr_expect(lt(int, c->transport->region.map(c->device, 0, unit, address + 4096), 0));
	cr_expect(lt(int, c->transport->region.map(c->device, 2 * UNIT, unit, address), 0));
	cr_expect(lt(int, c->transport->region.map(c->device, 0, 64 * UNIT, address), 0));
	cr_expect(lt(int, c->transport->region.map(c->device, UINT64_MAX - unit + 1, unit, address), 0));
	/* What was mapped is still there. */
	cr_expect(eq(int, address[0], 1));
}

CONFORMANCE_TEST(region, handles_are_not_inherited_by_other_programs)
{
	struct dm_device *device;
	char command[128] = "";

	conformance_make(c, 1);
	device = conformance_open(c);
	strcat(command, "ls -l /proc/self/fd | grep -q dmem-conformance");
	cr_expect(ne(int, system(command), 0));
	c->transport->region.close(device);
}
