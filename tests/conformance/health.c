/* SPDX-License-Identifier: Apache-2.0 */
/* health.c: memory that goes away is noticed, and nothing brings back zeros in its place. */
#include <errno.h>
#include <string.h>

#include "base/arith.h"
#include "conformance/conformance.h"

#define UNIT (2 * DM_MIB)

CONFORMANCE_TEST(health, a_whole_device_is_healthy)
{
	conformance_make(c, 2);
	cr_expect(zero(int, c->transport->health.probe(c->device)));
}

CONFORMANCE_TEST(health, a_truncated_device_is_lost_to_every_operation)
{
	const struct dm_region_ops *region = &c->transport->region;
	char buffer[16] = "unchanged";
	uint64_t bytes = 0;
	void *address;

	conformance_make(c, 3);
	if (c->backend->truncate == NULL)
		return;
	address = conformance_map(c->device, 3 * UNIT);
	c->backend->truncate(&c->uri, UNIT);
	cr_expect(eq(int, c->transport->health.probe(c->device), DMEM_E_LOST));
	cr_expect(ne(ptr, strstr(dmem_last_error(), "truncated"), NULL), "%s", dmem_last_error());
	/* It is said as often as it is asked. */
	cr_expect(eq(int, c->transport->health.probe(c->device), DMEM_E_LOST));
	cr_expect(eq(int, region->map(c->device, 0, 3 * UNIT, address), DMEM_E_LOST));
	cr_expect(eq(int, c->transport->data.read(c->device, 2 * UNIT, buffer, sizeof(buffer)), DMEM_E_LOST));
	cr_expect(zero(int, strcmp(buffer, "unchanged")));
	cr_expect(eq(int, c->transport->data.write(c->device, 2 * UNIT, buffer, sizeof(buffer)), DMEM_E_LOST));
	if ((c->device->caps & DM_CAP_RESERVES) != 0)
		cr_expect(eq(int, region->reserve(c->device, UNIT, UNIT), DMEM_E_LOST));
	if ((c->device->caps & DM_CAP_GROWS) != 0)
		cr_expect(eq(int, region->grow(c->device, 4 * UNIT), DMEM_E_LOST));
	cr_expect(zero(int, region->size(c->device, &bytes)));
	cr_expect(eq(u64, bytes, UNIT));
	/* What is still there works. */
	cr_expect(zero(int, c->transport->data.read(c->device, 0, buffer, sizeof(buffer))));
}

CONFORMANCE_TEST(health, losing_what_another_member_added_is_noticed)
{
	struct dm_device *other;

	conformance_make(c, 1);
	if (c->backend->truncate == NULL || (c->device->caps & DM_CAP_GROWS) == 0)
		return;
	other = conformance_open(c);
	cr_assert(zero(int, other->transport->region.grow(other, 2 * UNIT)), "%s", dmem_last_error());
	c->transport->region.close(other);
	conformance_map(c->device, 2 * UNIT);
	cr_expect(zero(int, c->transport->health.probe(c->device)));
	c->backend->truncate(&c->uri, UNIT);
	cr_expect(eq(int, c->transport->health.probe(c->device), DMEM_E_LOST));
}
