/* SPDX-License-Identifier: Apache-2.0 */
/* space.c: growing devices, taking and giving back space. */
#include <errno.h>
#include <string.h>

#include "base/arith.h"
#include "conformance/conformance.h"

#define UNIT (2 * DM_MIB)

CONFORMANCE_TEST(space, a_grown_device_keeps_its_contents_and_has_zeros_behind)
{
	struct dm_device *device;
	uint64_t bytes = 0;
	char *address;

	conformance_make(c, 1);
	device = c->device;
	if ((device->caps & DM_CAP_GROWS) == 0) {
		cr_expect(eq(int, c->transport->region.grow(device, 2 * UNIT), DMEM_E_UNSUPPORTED));
		return;
	}
	address = conformance_map(device, UNIT);
	memset(address, 7, UNIT);
	conformance_publish(device, address, 0, UNIT);
	cr_assert(zero(int, c->transport->region.grow(device, 3 * UNIT)), "%s", dmem_last_error());
	cr_expect(zero(int, c->transport->region.size(device, &bytes)));
	cr_expect(eq(u64, bytes, 3 * UNIT));
	address = conformance_map(device, 3 * UNIT);
	cr_expect(conformance_all(address, 7, UNIT));
	cr_expect(conformance_all(address + UNIT, 0, 2 * UNIT));
	cr_expect(zero(int, c->transport->health.probe(device)));
}

CONFORMANCE_TEST(space, growing_never_makes_a_device_shorter)
{
	struct dm_device *other;
	uint64_t bytes = 0;

	conformance_make(c, 4);
	if ((c->device->caps & DM_CAP_GROWS) == 0)
		return;
	cr_expect(zero(int, c->transport->region.grow(c->device, 2 * UNIT)), "%s", dmem_last_error());
	cr_expect(zero(int, c->transport->region.size(c->device, &bytes)));
	cr_expect(eq(u64, bytes, 4 * UNIT));
	/* A member that opened the device when it was shorter knows less, and does no harm. */
	other = conformance_open(c);
	cr_assert(zero(int, c->transport->region.grow(c->device, 6 * UNIT)), "%s", dmem_last_error());
	cr_expect(zero(int, other->transport->region.grow(other, 5 * UNIT)), "%s", dmem_last_error());
	cr_expect(zero(int, c->transport->region.size(c->device, &bytes)));
	cr_expect(eq(u64, bytes, 6 * UNIT));
	c->transport->region.close(other);
}

static int grow_step_by_step(struct dm_device *device, void *address, uint64_t units)
{
	(void)address;
	for (uint64_t i = 1; i <= units; i++) {
		if (device->transport->region.grow(device, i * UNIT) != 0)
			return 1;
		if (device->transport->health.probe(device) != 0)
			return 2;
	}
	return 0;
}

CONFORMANCE_TEST(space, processes_that_grow_a_device_together_never_lose_any_of_it)
{
	uint64_t steps = c->backend->units_max != 0 ? c->backend->units_max - 3 : 100;
	uint64_t bytes = 0;
	int pids[4];

	conformance_make(c, 1);
	if ((c->device->caps & DM_CAP_GROWS) == 0)
		return;
	for (unsigned i = 0; i < DM_ARRAY_LENGTH(pids); i++)
		pids[i] = conformance_fork(c, UNIT, grow_step_by_step, steps + i);
	for (unsigned i = 0; i < DM_ARRAY_LENGTH(pids); i++)
		cr_expect(zero(int, conformance_join(pids[i])));
	cr_expect(zero(int, c->transport->region.size(c->device, &bytes)));
	cr_expect(eq(u64, bytes, (steps + 3) * UNIT));
}

CONFORMANCE_TEST(space, impossible_growth_is_refused_and_changes_nothing)
{
	uint64_t bytes = 0;

	conformance_make(c, 1);
	cr_expect(lt(int, c->transport->region.grow(c->device, UNIT + 4096), 0));
	cr_expect(lt(int, c->transport->region.grow(c->device, UINT64_MAX), 0));
	cr_expect(lt(int, c->transport->region.grow(c->device, UINT64_MAX - UNIT + 1), 0));
	cr_expect(zero(int, c->transport->region.size(c->device, &bytes)));
	cr_expect(eq(u64, bytes, UNIT));
}

CONFORMANCE_TEST(space, reserving_keeps_contents)
{
	struct dm_device *device;
	char *address;

	conformance_make(c, 3);
	device = c->device;
	if ((device->caps & DM_CAP_RESERVES) == 0)
		return;
	address = conformance_map(device, 3 * UNIT);
	memset(address + UNIT / 2, 9, UNIT);
	conformance_publish(device, address, UNIT / 2, UNIT);
	cr_assert(zero(int, c->transport->region.reserve(device, 0, 2 * UNIT)), "%s", dmem_last_error());
	conformance_refresh(device, address, 0, 3 * UNIT);
	cr_expect(conformance_all(address, 0, UNIT / 2));
	cr_expect(conformance_all(address + UNIT / 2, 9, UNIT));
	cr_expect(conformance_all(address + UNIT / 2 + UNIT, 0, UNIT / 2));
	/* Again: what has space keeps it. */
	cr_expect(zero(int, c->transport->region.reserve(device, 0, 2 * UNIT)));
	cr_expect(conformance_all(address + UNIT / 2, 9, UNIT));
}

CONFORMANCE_TEST(space, released_memory_reads_as_zeros_and_its_neighbours_stay)
{
	struct dm_device *device;
	char *address;

	conformance_make(c, 3);
	device = c->device;
	if ((device->caps & DM_CAP_RESERVES) == 0)
		return;
	address = conformance_map(device, 3 * UNIT);
	memset(address, 5, 3 * UNIT);
	conformance_publish(device, address, 0, 3 * UNIT);
	cr_assert(zero(int, c->transport->region.release(device, UNIT, UNIT)), "%s", dmem_last_error());
	conformance_refresh(device, address, 0, 3 * UNIT);
	cr_expect(conformance_all(address, 5, UNIT));
	cr_expect(conformance_all(address + UNIT, 0, UNIT));
	cr_expect(conformance_all(address + 2 * UNIT, 5, UNIT));
	/* And is usable again. */
	cr_expect(zero(int, c->transport->region.reserve(device, UNIT, UNIT)));
	memset(address + UNIT, 6, UNIT);
	cr_expect(conformance_all(address + UNIT, 6, UNIT));
}

CONFORMANCE_TEST(space, ranges_outside_the_device_are_refused)
{
	uint64_t bytes = 0;

	conformance_make(c, 2);
	cr_expect(lt(int, c->transport->region.reserve(c->device, UNIT, 2 * UNIT), 0));
	cr_expect(lt(int, c->transport->region.reserve(c->device, UINT64_MAX - UNIT + 1, UNIT), 0));
	cr_expect(lt(int, c->transport->region.release(c->device, 2 * UNIT, UNIT), 0));
	cr_expect(lt(int, c->transport->region.release(c->device, 0, UINT64_MAX), 0));
	cr_expect(zero(int, c->transport->region.size(c->device, &bytes)));
	cr_expect(eq(u64, bytes, 2 * UNIT));
}
