/* SPDX-License-Identifier: Apache-2.0 */
/* atomics.c: words that several processes change at once. */
#include <errno.h>
#include <string.h>

#include "base/arith.h"
#include "conformance/conformance.h"

#define UNIT (2 * DM_MIB)
#define WORD 128
#define ADDS 20000

static const unsigned widths[] = {4, 8};

/* All bits that a word of this width has. */
static uint64_t mask_of(unsigned width)
{
	return width == 4 ? UINT32_MAX : UINT64_MAX;
}

CONFORMANCE_TEST(atomics, a_stored_value_is_loaded_in_every_bit)
{
	const struct dm_data_ops *data = &c->transport->data;
	char *address;

	conformance_make(c, 1);
	address = conformance_map(c->device, UNIT);
	for (size_t i = 0; i < DM_ARRAY_LENGTH(widths); i++) {
		for (unsigned bit = 0; bit < widths[i] * 8; bit++) {
			uint64_t value = 0;

			cr_assert(zero(int, data->store(c->device, WORD, address + WORD, widths[i], UINT64_C(1) << bit)));
			cr_assert(zero(int, data->load(c->device, WORD, address + WORD, widths[i], &value)));
			cr_assert(eq(u64, value, UINT64_C(1) << bit));
		}
	}
}

CONFORMANCE_TEST(atomics, a_word_of_four_bytes_leaves_its_neighbours_alone)
{
	const struct dm_data_ops *data = &c->transport->data;
	uint64_t before = 0, value = 0;
	char *address;

	conformance_make(c, 1);
	address = conformance_map(c->device, UNIT);
	cr_assert(zero(int, data->store(c->device, WORD, address + WORD, 8, UINT64_C(0x1111111122222222))));
	cr_expect(zero(int, data->exchange(c->device, WORD, address + WORD, 4, 0x33333333, &before)));
	cr_expect(eq(u64, before, 0x22222222));
	cr_expect(zero(int, data->add(c->device, WORD, address + WORD, 4, UINT32_MAX, &before)));
	cr_expect(eq(u64, before, 0x33333333));
	cr_expect(zero(int, data->load(c->device, WORD, address + WORD, 8, &value)));
	cr_expect(eq(u64, value, UINT64_C(0x1111111133333332)));
}

CONFORMANCE_TEST(atomics, exchange_gives_what_was_there)
{
	const struct dm_data_ops *data = &c->transport->data;
	char *address;

	conformance_make(c, 1);
	address = conformance_map(c->device, UNIT);
	for (size_t i = 0; i < DM_ARRAY_LENGTH(widths); i++) {
		uint64_t before = 1, all = mask_of(widths[i]);

		cr_assert(zero(int, data->store(c->device, WORD, address + WORD, widths[i], 0)));
		cr_expect(zero(int, data->exchange(c->device, WORD, address + WORD, widths[i], all, &before)));
		cr_expect(eq(u64, before, 0));
		cr_expect(zero(int, data->exchange(c->device, WORD, address + WORD, widths[i], 5, &before)));
		cr_expect(eq(u64, before, all));
	}
}

CONFORMANCE_TEST(atomics, cas_writes_only_over_the_expected_value)
{
	const struct dm_data_ops *data = &c->transport->data;
	char *address;

	conformance_make(c, 1);
	address = conformance_map(c->device, UNIT);
	for (size_t i = 0; i < DM_ARRAY_LENGTH(widths); i++) {
		uint64_t before = 0, value = 0, all = mask_of(widths[i]);

		cr_assert(zero(int, data->store(c->device, WORD, address + WORD, widths[i], 10)));
		cr_expect(zero(int, data->cas(c->device, WORD, address + WORD, widths[i], 11, 12, &before)));
		cr_expect(eq(u64, before, 10));
		cr_expect(zero(int, data->load(c->device, WORD, address + WORD, widths[i], &value)));
		cr_expect(eq(u64, value, 10));
		cr_expect(zero(int, data->cas(c->device, WORD, address + WORD, widths[i], 10, all, &before)));
		cr_expect(eq(u64, before, 10));
		cr_expect(zero(int, data->load(c->device, WORD, address + WORD, widths[i], &value)));
		cr_expect(eq(u64, value, all));
	}
}

CONFORMANCE_TEST(atomics, add_wraps_in_its_width)
{
	const struct dm_data_ops *data = &c->transport->data;
	char *address;

	conformance_make(c, 1);
	address = conformance_map(c->device, UNIT);
	for (size_t i = 0; i < DM_ARRAY_LENGTH(widths); i++) {
		uint64_t before = 0, value = 0, all = mask_of(widths[i]);

		cr_assert(zero(int, data->store(c->device, WORD, address + WORD, widths[i], all)));
		cr_expect(zero(int, data->add(c->device, WORD, address + WORD, widths[i], 3, &before)));
		cr_expect(eq(u64, before, all));
		cr_expect(zero(int, data->load(c->device, WORD, address + WORD, widths[i], &value)));
		cr_expect(eq(u64, value, 2));
	}
}

CONFORMANCE_TEST(atomics, words_that_are_none_are_refused_and_results_untouched)
{
	const struct dm_data_ops *data = &c->transport->data;
	static const struct {
		uint64_t offset;
		unsigned width;
	} words[] = {{0, 0}, {0, 1}, {0, 2}, {0, 3}, {0, 16}, {2, 4}, {4, 8}, {1, 8}, {7, 4}};
	char *address;

	conformance_make(c, 1);
	address = conformance_map(c->device, UNIT);
	for (size_t i = 0; i < DM_ARRAY_LENGTH(words); i++) {
		uint64_t at = words[i].offset, out = 99;
		unsigned width = words[i].width;

		cr_expect(eq(int, data->load(c->device, at, address + at, width, &out), -EINVAL), "word %zu", i);
		cr_expect(eq(int, data->store(c->device, at, address + at, width, 1), -EINVAL), "word %zu", i);
		cr_expect(eq(int, data->exchange(c->device, at, address + at, width, 1, &out), -EINVAL), "word %zu", i);
		cr_expect(eq(int, data->cas(c->device, at, address + at, width, 0, 1, &out), -EINVAL), "word %zu", i);
		cr_expect(eq(int, data->add(c->device, at, address + at, width, 1, &out), -EINVAL), "word %zu", i);
		cr_expect(eq(u64, out, 99));
	}
	cr_expect(conformance_all(address, 0, 64));
}

static int add_many(struct dm_device *device, void *address, uint64_t width)
{
	for (unsigned i = 0; i < ADDS; i++) {
		uint64_t before;

		if (device->transport->data.add(device, WORD, (char *)address + WORD, (unsigned)width, 1, &before) != 0)
			return 1;
	}
	return 0;
}

static int increment_by_cas(struct dm_device *device, void *address, uint64_t width)
{
	uint64_t seen = 0, before;

	for (unsigned done = 0; done < ADDS; seen = before) {
		if (device->transport->data.cas(device, WORD, (char *)address + WORD, (unsigned)width, seen, seen + 1,
		                                &before) != 0)
			return 1;
		done += before == seen;
	}
	return 0;
}

static void add_up(struct conformance *c, conformance_body body)
{
	char *address;

	conformance_make(c, 1);
	address = conformance_map(c->device, UNIT);
	for (size_t i = 0; i < DM_ARRAY_LENGTH(widths); i++) {
		uint64_t value = 0;
		int pids[3];

		cr_assert(zero(int, c->transport->data.store(c->device, WORD, address + WORD, widths[i], 0)));
		for (unsigned p = 0; p < DM_ARRAY_LENGTH(pids); p++)
			pids[p] = conformance_fork(c, UNIT, body, widths[i]);
		cr_expect(zero(int, body(c->device, address, widths[i])));
		for (unsigned p = 0; p < DM_ARRAY_LENGTH(pids); p++)
			cr_expect(zero(int, conformance_join(pids[p])));
		cr_expect(zero(int, c->transport->data.load(c->device, WORD, address + WORD, widths[i], &value)));
		cr_expect(eq(u64, value, 4 * ADDS));
	}
}

CONFORMANCE_TEST(atomics, additions_of_several_processes_add_up_exactly)
{
	add_up(c, add_many);
}

CONFORMANCE_TEST(atomics, increments_by_cas_of_several_processes_add_up_exactly)
{
	add_up(c, increment_by_cas);
}

/* Takes the ticket in the word until it gets 0; the sum of all tickets taken is checked by the parent. */
static int pass_tickets(struct dm_device *device, void *address, uint64_t start)
{
	uint64_t held = start;

	for (unsigned i = 0; i < ADDS; i++) {
		if (device->transport->data.exchange(device, WORD, (char *)address + WORD, 8, held, &held) != 0)
			return 101;
	}
	return (int)held;
}

CONFORMANCE_TEST(atomics, exchanged_values_are_never_lost_or_doubled)
{
	uint64_t value = 0;
	char *address;
	int pids[3], sum = 0;

	conformance_make(c, 1);
	address = conformance_map(c->device, UNIT);
	cr_assert(zero(int, c->transport->data.store(c->device, WORD, address + WORD, 8, 1)));
	for (unsigned p = 0; p < DM_ARRAY_LENGTH(pids); p++)
		pids[p] = conformance_fork(c, UNIT, pass_tickets, 2u << p);
	for (unsigned p = 0; p < DM_ARRAY_LENGTH(pids); p++)
		sum += conformance_join(pids[p]);
	cr_expect(zero(int, c->transport->data.load(c->device, WORD, address + WORD, 8, &value)));
	/* Powers of two: only all of them, once each, give this sum. */
	cr_expect(eq(int, sum + (int)value, 1 + 2 + 4 + 8));
}
