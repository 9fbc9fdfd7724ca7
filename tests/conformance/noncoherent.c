/* SPDX-License-Identifier: Apache-2.0 */
/*
 * noncoherent.c: what holds for memory whose members have caches that nobody keeps equal.  Two handles of one device in one
 * process are two members.
 */
#include <string.h>

#include "base/arith.h"
#include "conformance/conformance.h"

#define UNIT (2 * DM_MIB)
#define LINE 64

struct two {
	struct dm_device *device[2];
	char *at[2];
};

/* False when this backend is coherent, or its lines move by themselves although the test needs them to stay. */
static bool two_members(struct conformance *c, struct two *two, bool still)
{
	conformance_make(c, 1);
	if (c->device->coherence_default != DMEM_COHERENCE_NONCOHERENT || (still && !c->backend->still))
		return false;
	two->device[0] = c->device;
	two->device[1] = conformance_open(c);
	for (unsigned i = 0; i < 2; i++)
		two->at[i] = conformance_map(two->device[i], UNIT);
	return true;
}

static void end_two(struct two *two)
{
	two->device[1]->transport->region.close(two->device[1]);
}

CONFORMANCE_TEST(noncoherent, a_store_that_was_not_published_is_not_seen)
{
	struct two two;

	if (!two_members(c, &two, true))
		return;
	two.at[0][4096] = 1;
	conformance_refresh(two.device[1], two.at[1], 4096, 1);
	cr_expect(eq(int, two.at[1][4096], 0));
	conformance_publish(two.device[0], two.at[0], 4096, 1);
	conformance_refresh(two.device[1], two.at[1], 4096, 1);
	cr_expect(eq(int, two.at[1][4096], 1));
	end_two(&two);
}

CONFORMANCE_TEST(noncoherent, what_was_published_is_not_seen_without_a_refresh)
{
	struct two two;

	if (!two_members(c, &two, true))
		return;
	two.at[0][4096] = 1;
	conformance_publish(two.device[0], two.at[0], 4096, 1);
	cr_expect(eq(int, two.at[1][4096], 0));
	conformance_refresh(two.device[1], two.at[1], 4096, 1);
	cr_expect(eq(int, two.at[1][4096], 1));
	end_two(&two);
}

CONFORMANCE_TEST(noncoherent, a_member_sees_its_own_stores)
{
	struct two two;

	if (!two_members(c, &two, false))
		return;
	for (unsigned i = 0; i < 2000; i++) {
		unsigned at = 4096 + i % 32 * LINE;

		two.at[0][at] = (char)i;
		conformance_refresh(two.device[1], two.at[1], at, 1);
		conformance_refresh(two.device[0], two.at[0], 4096 + (i + 1) % 32 * LINE, 1);
		cr_assert(eq(int, two.at[0][at], (char)i), "round %u", i);
	}
	end_two(&two);
}

CONFORMANCE_TEST(noncoherent, lines_beside_a_published_one_stay_as_they_are)
{
	struct two two;

	if (!two_members(c, &two, true))
		return;
	memset(two.at[0] + 4096, 1, 3 * LINE);
	conformance_publish(two.device[0], two.at[0], 4096 + LINE, LINE);
	memset(two.at[1] + 4096, 2, LINE);
	memset(two.at[1] + 4096 + 2 * LINE, 2, LINE);
	conformance_publish(two.device[1], two.at[1], 4096, LINE);
	conformance_publish(two.device[1], two.at[1], 4096 + 2 * LINE, LINE);
	for (unsigned i = 0; i < 2; i++) {
		conformance_refresh(two.device[i], two.at[i], 4096, 3 * LINE);
		cr_expect(conformance_all(two.at[i] + 4096, 2, LINE));
		cr_expect(conformance_all(two.at[i] + 4096 + LINE, 1, LINE));
		cr_expect(conformance_all(two.at[i] + 4096 + 2 * LINE, 2, LINE));
	}
	end_two(&two);
}

CONFORMANCE_TEST(noncoherent, a_line_moves_whole_whatever_part_is_named)
{
	struct two two;

	if (!two_members(c, &two, true))
		return;
	memset(two.at[0] + 4096, 3, 2 * LINE);
	/* One byte of each, across the border. */
	conformance_publish(two.device[0], two.at[0], 4096 + LINE - 1, 2);
	conformance_refresh(two.device[1], two.at[1], 4096 + LINE - 1, 2);
	cr_expect(conformance_all(two.at[1] + 4096, 3, 2 * LINE));
	end_two(&two);
}

/* Why there is one writer to a line: what it does not know of, it overwrites. */
CONFORMANCE_TEST(noncoherent, two_writers_of_one_line_destroy_each_others_stores)
{
	struct two two;

	if (!two_members(c, &two, true))
		return;
	two.at[0][4096] = 1;
	two.at[1][4097] = 2;
	conformance_publish(two.device[0], two.at[0], 4096, 1);
	conformance_publish(two.device[1], two.at[1], 4097, 1);
	conformance_refresh(two.device[0], two.at[0], 4096, 2);
	cr_expect(eq(int, two.at[0][4096], 0));
	cr_expect(eq(int, two.at[0][4097], 2));
	end_two(&two);
}

CONFORMANCE_TEST(noncoherent, a_refresh_drops_what_was_not_published)
{
	struct two two;

	if (!two_members(c, &two, true))
		return;
	two.at[0][4096] = 1;
	conformance_refresh(two.device[0], two.at[0], 4096, 1);
	cr_expect(eq(int, two.at[0][4096], 0));
	end_two(&two);
}

CONFORMANCE_TEST(noncoherent, a_handed_off_line_is_never_written_back)
{
	struct two two;

	if (!two_members(c, &two, false))
		return;
	for (unsigned i = 1; i < 500; i++) {
		unsigned giver = i % 2;

		conformance_refresh(two.device[giver], two.at[giver], 4096, LINE);
		cr_assert(conformance_all(two.at[giver] + 4096, (unsigned char)(i - 1), LINE), "round %u", i);
		memset(two.at[giver] + 4096, (int)(unsigned char)i, LINE);
		cr_assert(zero(int, two.device[giver]->transport->data.handoff(two.device[giver], 4096, two.at[giver] + 4096, LINE)));
	}
	end_two(&two);
}

CONFORMANCE_TEST(noncoherent, atomic_words_need_neither_publish_nor_refresh)
{
	const struct dm_data_ops *data = &c->transport->data;
	uint64_t value = 0;
	struct two two;

	if (!two_members(c, &two, false))
		return;
	cr_assert(zero(int, data->add(two.device[0], 4096, two.at[0] + 4096, 8, 5, NULL)));
	cr_assert(zero(int, data->load(two.device[1], 4096, two.at[1] + 4096, 8, &value)));
	cr_expect(eq(u64, value, 5));
	/* And the copies of their line do not come back over them. */
	cr_assert(zero(int, data->publish_all(two.device[1])));
	for (unsigned i = 0; i < 200; i++)
		conformance_refresh(two.device[1], two.at[1], 8192, 1);
	cr_assert(zero(int, data->load(two.device[0], 4096, two.at[0] + 4096, 8, &value)));
	cr_expect(eq(u64, value, 5));
	end_two(&two);
}
