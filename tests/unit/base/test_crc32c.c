/* SPDX-License-Identifier: Apache-2.0 */
/* test_crc32c.c: the vectors of RFC 3720 appendix B.4, and both implementations against each other. */
#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <string.h>

#include "base/arith.h"
#include "base/crc32c.h"

static void expect(const void *data, size_t bytes, uint32_t crc)
{
	cr_expect(eq(u32, dm_crc32c(data, bytes), crc));
	cr_expect(eq(u32, dm_crc32c_portable(data, bytes), crc));
}

Test(crc32c, vectors_of_the_standard)
{
	static const unsigned char scsi_read[48] = {
		0x01, 0xc0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x14, 0, 0, 0, 0, 0, 0x04, 0,
		0, 0, 0, 0x14, 0, 0, 0, 0x18, 0x28, 0, 0, 0, 0, 0, 0, 0, 0x02, 0, 0, 0, 0, 0, 0, 0,
	};
	unsigned char bytes[32];

	expect("", 0, 0);
	expect("123456789", 9, 0xe3069283);
	memset(bytes, 0, sizeof(bytes));
	expect(bytes, 32, 0x8a9136aa);
	memset(bytes, 0xff, sizeof(bytes));
	expect(bytes, 32, 0x62a8ab43);
	for (int i = 0; i < 32; i++)
		bytes[i] = (unsigned char)i;
	expect(bytes, 32, 0x46dd794e);
	for (int i = 0; i < 32; i++)
		bytes[i] = (unsigned char)(31 - i);
	expect(bytes, 32, 0x113fdb5c);
	expect(scsi_read, sizeof(scsi_read), 0xd9963a56);
}

Test(crc32c, both_implementations_agree_at_every_length_and_alignment)
{
	unsigned char bytes[300];
	uint32_t state = 1;

	for (size_t i = 0; i < sizeof(bytes); i++) {
		state = state * 1664525 + 1013904223;
		bytes[i] = (unsigned char)(state >> 24);
	}
	for (size_t start = 0; start < 16; start++) {
		for (size_t length = 0; length + start <= sizeof(bytes); length++)
			cr_assert(eq(u32, dm_crc32c(bytes + start, length), dm_crc32c_portable(bytes + start, length)));
	}
}

Test(crc32c, every_flipped_bit_shows)
{
	unsigned char bytes[64] = {1, 2, 3};
	uint32_t crc = dm_crc32c(bytes, sizeof(bytes));

	for (size_t bit = 0; bit < sizeof(bytes) * 8; bit++) {
		bytes[bit / 8] ^= (unsigned char)(1 << (bit % 8));
		cr_expect(ne(u32, dm_crc32c(bytes, sizeof(bytes)), crc), "bit %zu", bit);
		bytes[bit / 8] ^= (unsigned char)(1 << (bit % 8));
	}
}
