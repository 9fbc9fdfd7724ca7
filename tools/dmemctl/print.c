/* SPDX-License-Identifier: Apache-2.0 */
/* print.c: values as people read them, and strings made harmless. */
#include "dmemctl/print.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/arith.h"

const char *ctl_print_size(char text[CTL_TEXT_BYTES], uint64_t bytes)
{
	static const char units[][4] = {"B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"};
	size_t unit = 0;
	double value;

	while (unit + 1 < DM_ARRAY_LENGTH(units) && bytes >> (10 * (unit + 1)) != 0)
		unit++;
	value = (double)bytes / (double)(UINT64_C(1) << (10 * unit));
	if (dm_is_aligned(bytes, UINT64_C(1) << (10 * unit)))
		snprintf(text, CTL_TEXT_BYTES, "%" PRIu64 " %s", bytes >> (10 * unit), units[unit]);
	else
		snprintf(text, CTL_TEXT_BYTES, "%.*f %s", value < 9.995 ? 2 : value < 99.95 ? 1 : 0, value, units[unit]);
	return text;
}

const char *ctl_print_percent(char text[CTL_TEXT_BYTES], uint64_t part, uint64_t whole)
{
	double percent;

	if (whole == 0)
		return "-";
	percent = 100.0 * (double)part / (double)whole;
	if (part != 0 && percent < 0.05)
		return "< 0.1 %";
	snprintf(text, CTL_TEXT_BYTES, "%.1f %%", percent);
	return text;
}

const char *ctl_print_number(char text[CTL_TEXT_BYTES], uint64_t number)
{
	snprintf(text, CTL_TEXT_BYTES, "%" PRIu64, number);
	return text;
}

const char *ctl_print_address(char text[CTL_TEXT_BYTES], uint64_t address)
{
	snprintf(text, CTL_TEXT_BYTES, "0x%" PRIx64, address);
	return text;
}

const char *ctl_print_uuid(char text[CTL_TEXT_BYTES], const uint8_t uuid[16])
{
	size_t at = 0;

	for (size_t i = 0; i < 16; i++) {
		if (i == 4 || i == 6 || i == 8 || i == 10)
			text[at++] = '-';
		at += (size_t)snprintf(text + at, CTL_TEXT_BYTES - at, "%02x", uuid[i]);
	}
	return text;
}

const char *ctl_print_ms(char text[CTL_TEXT_BYTES], uint64_t ms)
{
	if (ms < 1000)
		snprintf(text, CTL_TEXT_BYTES, "%" PRIu64 " ms", ms);
	else
		snprintf(text, CTL_TEXT_BYTES, "%g s", (double)ms / 1000);
	return text;
}

/* Length of the well-formed UTF-8 sequence at `s` that is no control character; 0 when there is none (RFC 3629). */
static size_t utf8_length(const unsigned char *s)
{
	static const uint32_t least[] = {0, 0, 0x80, 0x800, 0x10000};
	size_t length = s[0] < 0x80 ? 1 : s[0] >= 0xf0 ? 4 : s[0] >= 0xe0 ? 3 : 2;
	uint32_t point = length == 1 ? s[0] : s[0] & (0x7fu >> length);

	if ((s[0] >= 0x80 && s[0] < 0xc2) || s[0] > 0xf4)
		return 0;
	for (size_t i = 1; i < length; i++) {
		if ((s[i] & 0xc0) != 0x80)
			return 0;
		point = point << 6 | (s[i] & 0x3f);
	}
	if (point < least[length] || point > 0x10ffff || (point >= 0xd800 && point < 0xe000))
		return 0;
	return point < 0x20 || (point >= 0x7f && point < 0xa0) ? 0 : length;
}

const char *ctl_print_clean(char *clean, size_t bytes, const char *text, bool utf8)
{
	const unsigned char *from = (const unsigned char *)text;
	size_t at = 0;

	while (*from != 0) {
		size_t length = utf8_length(from);

		if (length > 1 && !utf8)
			length = 0;
		if (at + (length != 0 ? length : 4) >= bytes)
			break;
		if (length != 0) {
			memcpy(clean + at, from, length);
			at += length;
			from += length;
		} else {
			at += (size_t)snprintf(clean + at, bytes - at, "\\x%02x", *from++);
		}
	}
	clean[at] = '\0';
	return clean;
}

size_t ctl_print_columns(const char *text)
{
	size_t columns = 0;

	for (; *text != '\0'; text++)
		columns += ((unsigned char)*text & 0xc0) != 0x80;
	return columns;
}
