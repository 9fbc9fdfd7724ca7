/* SPDX-License-Identifier: Apache-2.0 */
/* data.c: bytes with and without the mapping, and their way from one process to another. */
#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "base/arith.h"
#include "base/clock.h"
#include "conformance/conformance.h"

#define UNIT (2 * DM_MIB)

CONFORMANCE_TEST(data, what_is_written_is_read_at_any_offset)
{
	static const struct {
		uint64_t offset;
		size_t bytes;
	} ranges[] = {{0, 1}, {0, 4096}, {1, 7}, {4095, 2}, {UNIT - 3, 6}, {UNIT, 64}, {2 * UNIT - 1, 1}, {100, 0}};
	unsigned char out[4096], in[4096];

	conformance_make(c, 2);
	for (size_t i = 0; i < DM_ARRAY_LENGTH(ranges); i++) {
		for (size_t b = 0; b < ranges[i].bytes; b++)
			out[b] = (unsigned char)(b * 7 + i + 1);
		memset(in, 0, sizeof(in));
		cr_expect(zero(int, c->transport->data.write(c->device, ranges[i].offset, out, ranges[i].bytes)), "%s",
		          dmem_last_error());
		cr_expect(zero(int, c->transport->data.read(c->device, ranges[i].offset, in, ranges[i].bytes)), "%s",
		          dmem_last_error());
		cr_expect(zero(int, memcmp(in, out, ranges[i].bytes)), "range %zu", i);
	}
}

CONFORMANCE_TEST(data, what_was_never_written_reads_as_zeros)
{
	unsigned char in[4096];

	conformance_make(c, 1);
	if ((c->device->caps & DM_CAP_ZEROED) == 0)
		return;
	memset(in, 1, sizeof(in));
	cr_assert(zero(int, c->transport->data.read(c->device, UNIT / 2, in, sizeof(in))), "%s", dmem_last_error());
	cr_expect(conformance_all(in, 0, sizeof(in)));
}

CONFORMANCE_TEST(data, reads_and_writes_outside_the_device_are_refused)
{
	char buffer[64];
	uint64_t bytes = 0;

	conformance_make(c, 1);
	memset(buffer, 3, sizeof(buffer));
	cr_expect(lt(int, c->transport->data.read(c->device, UNIT - 32, buffer, 64), 0));
	cr_expect(lt(int, c->transport->data.write(c->device, UNIT - 32, buffer, 64), 0));
	cr_expect(lt(int, c->transport->data.write(c->device, UNIT, buffer, 1), 0));
	cr_expect(lt(int, c->transport->data.read(c->device, UINT64_MAX, buffer, 64), 0));
	cr_expect(lt(int, c->transport->data.write(c->device, UINT64_MAX - 10, buffer, 64), 0));
	cr_expect(conformance_all(buffer, 3, sizeof(buffer)));
	cr_expect(zero(int, c->transport->region.size(c->device, &bytes)));
	cr_expect(eq(u64, bytes, UNIT));
}

CONFORMANCE_TEST(data, mapping_and_device_show_the_same_bytes)
{
	struct dm_device *device;
	char *address, in[8];

	conformance_make(c, 1);
	device = c->device;
	address = conformance_map(device, UNIT);
	cr_assert(zero(int, c->transport->data.write(device, 4096, "written", 8)), "%s", dmem_last_error());
	cr_expect(zero(int, c->transport->data.refresh(device, 4096, address + 4096, 8)));
	cr_expect(zero(int, strcmp(address + 4096, "written")));
	strcpy(address + 8192, "stored!");
	cr_expect(zero(int, c->transport->data.publish(device, 8192, address + 8192, 8)));
	cr_expect(zero(int, c->transport->data.read(device, 8192, in, 8)));
	cr_expect(zero(int, strcmp(in, "stored!")));
}

/* Ping-pong over two words in lines of their own, with the payload between. */
enum { TO_CHILD = 0, TO_PARENT = 64, PAYLOAD = 4096, PAYLOAD_BYTES = 1024, ROUNDS = 200 };

static int wait_for(struct dm_device *device, char *address, uint64_t offset, uint64_t wanted)
{
	uint64_t deadline = dm_clock_now_ns() + 30 * DM_NS_PER_S, value = 0;

	while (value != wanted) {
		if (device->transport->data.load(device, offset, address + offset, 8, &value) != 0 ||
		    dm_clock_now_ns() > deadline)
			return 1;
		usleep(0);
	}
	return 0;
}

static int send_payload(struct dm_device *device, char *address, unsigned char byte, uint64_t flag, uint64_t round)
{
	memset(address + PAYLOAD, byte, PAYLOAD_BYTES);
	if (device->transport->data.handoff(device, PAYLOAD, address + PAYLOAD, PAYLOAD_BYTES) != 0)
		return 1;
	return device->transport->data.store(device, flag, address + flag, 8, round) != 0;
}

static int receive_payload(struct dm_device *device, char *address, unsigned char byte, uint64_t flag, uint64_t round)
{
	if (wait_for(device, address, flag, round) != 0)
		return 1;
	if (device->transport->data.refresh(device, PAYLOAD, address + PAYLOAD, PAYLOAD_BYTES) != 0)
		return 1;
	return !conformance_all(address + PAYLOAD, byte, PAYLOAD_BYTES);
}

static int answer_rounds(struct dm_device *device, void *address, uint64_t rounds)
{
	for (uint64_t round = 1; round <= rounds; round++) {
		if (receive_payload(device, address, (unsigned char)round, TO_CHILD, round) != 0)
			return 1;
		if (send_payload(device, address, (unsigned char)(round + 100), TO_PARENT, round) != 0)
			return 2;
	}
	return 0;
}

CONFORMANCE_TEST(data, two_processes_see_what_the_other_published)
{
	char *address;
	int pid;

	conformance_make(c, 1);
	address = conformance_map(c->device, UNIT);
	pid = conformance_fork(c, UNIT, answer_rounds, ROUNDS);
	for (uint64_t round = 1; round <= ROUNDS; round++) {
		cr_assert(zero(int, send_payload(c->device, address, (unsigned char)round, TO_CHILD, round)));
		cr_assert(zero(int, receive_payload(c->device, address, (unsigned char)(round + 100), TO_PARENT, round)),
		          "round %llu", (unsigned long long)round);
	}
	cr_expect(zero(int, conformance_join(pid)));
}

static int publish_everything(struct dm_device *device, void *address, uint64_t bytes)
{
	memset((char *)address + PAYLOAD, 0x5a, bytes);
	return device->transport->data.publish_all(device);
}

CONFORMANCE_TEST(data, publish_all_and_refresh_all_carry_every_range)
{
	char *address;

	conformance_make(c, 1);
	address = conformance_map(c->device, UNIT);
	cr_expect(zero(int, conformance_join(conformance_fork(c, UNIT, publish_everything, UNIT / 2))));
	cr_assert(zero(int, c->transport->data.refresh_all(c->device)), "%s", dmem_last_error());
	cr_expect(conformance_all(address + PAYLOAD, 0x5a, UNIT / 2));
	cr_expect(conformance_all(address, 0, PAYLOAD));
}

static int store_and_die(struct dm_device *device, void *address, uint64_t offset)
{
	char *at = (char *)address + offset;

	strcpy(at, "left behind");
	return device->transport->data.publish(device, offset, at, 12);
}

CONFORMANCE_TEST(data, what_a_process_published_outlives_it)
{
	char in[12] = "";

	conformance_make(c, 1);
	cr_expect(zero(int, conformance_join(conformance_fork(c, UNIT, store_and_die, 777))));
	cr_expect(zero(int, c->transport->data.read(c->device, 777, in, sizeof(in))));
	cr_expect(zero(int, strcmp(in, "left behind")));
}
