/* SPDX-License-Identifier: Apache-2.0 */
/* uri_size.c: sizes as people write them; see dm_uri_parse_size() in uri.h. */
#include <ctype.h>
#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "base/arith.h"
#include "base/error.h"
#include "transport/uri.h"

/* Up to a million parts of a TiB: the product stays below 2^60. */
#define FRACTION_DIGITS_MAX 6

/* "", "K", "KB", "KiB" and so on, in any case; "B" alone is bytes. */
static bool parse_suffix(const char *text, uint64_t *unit)
{
	static const struct {
		char letter;
		uint64_t bytes;
	} units[] = {{'k', DM_KIB}, {'m', DM_MIB}, {'g', DM_GIB}, {'t', DM_TIB}};

	*unit = 1;
	for (size_t i = 0; i < DM_ARRAY_LENGTH(units); i++) {
		if (tolower((unsigned char)text[0]) == units[i].letter) {
			*unit = units[i].bytes;
			text++;
			break;
		}
	}
	return text[0] == '\0' || strcasecmp(text, "b") == 0 || (*unit > 1 && strcasecmp(text, "ib") == 0);
}

/* The digits after the point, as `part` of `whole` (a power of ten). */
static bool parse_fraction(const char **text, uint64_t *part, uint64_t *whole)
{
	int digits = 0;

	*part = 0;
	*whole = 1;
	if (**text != '.')
		return true;
	for ((*text)++; isdigit((unsigned char)**text); (*text)++) {
		if (++digits > FRACTION_DIGITS_MAX)
			return false;
		*part = *part * 10 + (uint64_t)(**text - '0');
		*whole *= 10;
	}
	return digits > 0;
}

static bool parse_integer(const char **text, int base, uint64_t *value)
{
	char *end;

	if (!isxdigit((unsigned char)**text) || (base == 10 && !isdigit((unsigned char)**text)))
		return false;
	errno = 0;
	*value = strtoull(*text, &end, base);
	*text = end;
	return errno == 0;
}

static bool parse_hexadecimal(const char *text, uint64_t *bytes)
{
	const char *at = text + 2;

	/* strtoull() would take a second "0x". */
	return !(at[0] == '0' && tolower((unsigned char)at[1]) == 'x') && parse_integer(&at, 16, bytes) && *at == '\0';
}

static bool parse_decimal(const char *text, uint64_t *bytes)
{
	uint64_t value, part, whole, unit;

	if (!parse_integer(&text, 10, &value) || !parse_fraction(&text, &part, &whole) || !parse_suffix(text, &unit))
		return false;
	if (whole > 1 && unit == 1)
		return false; /* a piece of a byte */
	return dm_multiply(value, unit, &value) && dm_add(value, part * unit / whole, bytes);
}

int dm_uri_parse_size(const char *text, const char *what, uint64_t *bytes)
{
	uint64_t parsed = 0;
	bool understood;

	if (text[0] == '0' && tolower((unsigned char)text[1]) == 'x')
		understood = parse_hexadecimal(text, &parsed);
	else
		understood = parse_decimal(text, &parsed);
	if (!understood)
		return dm_fail(DMEM_E_OPTION,
		               "%s \"%.100s\" is not a size below 2^64: write bytes, or a number with K, M, G or T "
		               "(powers of 1024), as in 4096, 64K, 2.5G or 0x200000",
		               what, text);
	*bytes = parsed;
	return 0;
}
