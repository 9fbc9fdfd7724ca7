/* SPDX-License-Identifier: Apache-2.0 */
/* test_transport.c: finding backends, completing their tables, and what missing operations do. */
#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <string.h>

#include "base/error.h"
#include "transport/file/file.h"
#include "transport/transport.h"

static struct dm_transport bare(void)
{
	struct dm_transport backend = {.scheme = "bare"};

	backend.region.open = dm_transport_file.region.open;
	backend.region.close = dm_transport_file.region.close;
	backend.region.size = dm_transport_file.region.size;
	backend.region.map = dm_transport_file.region.map;
	backend.data.read = dm_transport_file.data.read;
	backend.data.write = dm_transport_file.data.write;
	backend.health.probe = dm_transport_file.health.probe;
	return backend;
}

static void expect_message(const char *word)
{
	cr_expect(ne(ptr, (void *)strstr(dmem_last_error(), word), NULL), "%s", dmem_last_error());
}

Test(transport, known_schemes_are_found_and_others_are_told_apart)
{
	static const char *const left_out[] = {"rdma", "tcp",
#ifndef DM_WITH_DAX
	                                       "dax", "cxl",
#endif
	};
	const struct dm_transport *transport = NULL;

	cr_assert(zero(int, dm_transport_find("file", &transport)));
	cr_expect(zero(int, strcmp(transport->scheme, "file")));
#ifdef DM_WITH_DAX
	cr_assert(zero(int, dm_transport_find("dax", &transport)));
	cr_expect(zero(int, strcmp(transport->scheme, "dax")));
	cr_assert(zero(int, dm_transport_find("cxl", &transport)));
	cr_expect(zero(int, strcmp(transport->scheme, "cxl")));
#endif
	transport = NULL;
	for (size_t i = 0; i < sizeof(left_out) / sizeof(left_out[0]); i++) {
		cr_expect(eq(int, dm_transport_find(left_out[i], &transport), DMEM_E_UNSUPPORTED));
		expect_message(left_out[i]);
	}
	cr_expect(eq(int, dm_transport_find("http", &transport), DMEM_E_URI));
	expect_message("rdma");
	cr_expect(eq(int, dm_transport_find("", &transport), DMEM_E_URI));
	cr_expect(eq(ptr, (void *)transport, NULL));
}

#define EXPECT_REFUSED(table, operation)                                                         \
	do {                                                                                         \
		struct dm_transport backend = (table), complete = {.scheme = "untouched"};               \
		backend.operation = NULL;                                                                \
		cr_expect(eq(int, dm_transport_complete(&backend, &complete), DMEM_E_OPTION), #operation); \
		expect_message(strrchr(#operation, '.') + 1);                                            \
		cr_expect(zero(int, strcmp(complete.scheme, "untouched")));                              \
	} while (0)

Test(transport, a_backend_without_a_mandatory_operation_is_refused)
{
	struct dm_transport nameless = bare(), complete;

	EXPECT_REFUSED(bare(), region.open);
	EXPECT_REFUSED(bare(), region.close);
	EXPECT_REFUSED(bare(), region.size);
	EXPECT_REFUSED(bare(), region.map);
	EXPECT_REFUSED(bare(), data.read);
	EXPECT_REFUSED(bare(), data.write);
	EXPECT_REFUSED(bare(), health.probe);
	nameless.scheme = NULL;
	cr_expect(eq(int, dm_transport_complete(&nameless, &complete), DMEM_E_OPTION));
}

Test(transport, a_backend_with_part_of_a_group_is_refused)
{
	EXPECT_REFUSED(dm_transport_file, region.create);
	EXPECT_REFUSED(dm_transport_file, region.commit);
	EXPECT_REFUSED(dm_transport_file, region.destroy);
	EXPECT_REFUSED(dm_transport_file, region.reserve);
	EXPECT_REFUSED(dm_transport_file, region.release);
	EXPECT_REFUSED(dm_transport_file, data.load);
	EXPECT_REFUSED(dm_transport_file, data.store);
	EXPECT_REFUSED(dm_transport_file, data.exchange);
	EXPECT_REFUSED(dm_transport_file, data.cas);
	EXPECT_REFUSED(dm_transport_file, data.add);
}

Test(transport, missing_operations_say_that_they_are_unsupported)
{
	struct dm_transport backend = bare(), t;
	struct dm_device device = {.transport = &t, .name = "bare:thing"}, *made = NULL;
	struct dm_uri uri = {.scheme = "bare", .path = "thing"};
	uint64_t word = 5, out = 6;

	cr_assert(zero(int, dm_transport_complete(&backend, &t)));
	cr_expect(eq(int, t.region.create(&uri, 1, 0600, &made), DMEM_E_UNSUPPORTED));
	expect_message("bare:thing");
	cr_expect(eq(int, t.region.destroy(&uri), DMEM_E_UNSUPPORTED));
	cr_expect(eq(int, t.region.commit(&device), DMEM_E_UNSUPPORTED));
	cr_expect(eq(int, t.region.grow(&device, 1), DMEM_E_UNSUPPORTED));
	expect_message("bare:thing cannot grow");
	cr_expect(eq(int, t.region.reserve(&device, 0, 1), DMEM_E_UNSUPPORTED));
	cr_expect(eq(int, t.region.release(&device, 0, 1), DMEM_E_UNSUPPORTED));
	cr_expect(eq(int, t.data.publish(&device, 0, &word, 8), DMEM_E_UNSUPPORTED));
	cr_expect(eq(int, t.data.refresh(&device, 0, &word, 8), DMEM_E_UNSUPPORTED));
	cr_expect(eq(int, t.data.handoff(&device, 0, &word, 8), DMEM_E_UNSUPPORTED));
	cr_expect(eq(int, t.data.publish_all(&device), DMEM_E_UNSUPPORTED));
	cr_expect(eq(int, t.data.refresh_all(&device), DMEM_E_UNSUPPORTED));
	cr_expect(eq(int, t.data.load(&device, 0, &word, 8, &out), DMEM_E_UNSUPPORTED));
	cr_expect(eq(int, t.data.store(&device, 0, &word, 8, 9), DMEM_E_UNSUPPORTED));
	cr_expect(eq(int, t.data.exchange(&device, 0, &word, 8, 9, &out), DMEM_E_UNSUPPORTED));
	cr_expect(eq(int, t.data.cas(&device, 0, &word, 8, 5, 9, &out), DMEM_E_UNSUPPORTED));
	cr_expect(eq(int, t.data.add(&device, 0, &word, 8, 9, &out), DMEM_E_UNSUPPORTED));
	cr_expect(eq(u64, word, 5));
	cr_expect(eq(u64, out, 6));
	cr_expect(eq(ptr, made, NULL));
}

static int known_capacity(const struct dm_uri *uri, uint64_t *bytes)
{
	(void)uri;
	*bytes = 7;
	return 0;
}

Test(transport, a_backend_without_a_capacity_has_any)
{
	const struct dm_transport *transport;
	struct dm_uri uri = {.scheme = "file", .path = "/dev/shm/not-there"};
	uint64_t bytes = 5;

	cr_assert(zero(int, dm_transport_find("file", &transport)));
	cr_expect(zero(int, transport->region.capacity(&uri, &bytes)));
	cr_expect(zero(u64, bytes));
}

Test(transport, operations_a_backend_has_are_kept)
{
	struct dm_transport backend = dm_transport_file, complete;

	backend.region.capacity = known_capacity;
	cr_assert(zero(int, dm_transport_complete(&backend, &complete)));
	cr_expect(zero(int, memcmp(&complete, &backend, sizeof(complete))));
}
