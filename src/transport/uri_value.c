/* SPDX-License-Identifier: Apache-2.0 */
/*
 * uri_value.c: what may stand behind each key of a pool URI, and the same checks for what a program says in
 * struct dmem_create_options.
 *
 * Zero means "default" in the option structs, so a key that says zero is refused rather than ignored.
 */
#include "transport/uri_value.h"

#include <ctype.h>
#include <errno.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include "base/arith.h"
#include "base/error.h"

#define MEMBERS_MIN        16
#define MEMBERS_LIMIT      4096
#define BEAT_MS_LIMIT      60000
#define LEASE_MS_LIMIT     3600000
#define BEAT_MS_DEFAULT    100
#define LEASE_MS_DEFAULT   1000
#define BASE_ALIGN         (2 * DM_MIB)
#define STRUCT_BYTES_LIMIT 4096

static int refuse(const struct dm_uri_key *key, const char *value)
{
	return dm_fail(DMEM_E_OPTION, "%s=%.100s is not possible: write %s=%s", key->name, value, key->name, key->accepted);
}

static int parse_positive_size(const struct dm_uri_key *key, const char *value, uint64_t *bytes)
{
	uint64_t parsed;
	int err = dm_uri_parse_size(value, key->name, &parsed);

	if (err != 0)
		return err;
	if (parsed == 0)
		return refuse(key, value);
	*bytes = parsed;
	return 0;
}

static int parse_size(const struct dm_uri_key *key, const char *value, struct dm_uri *uri)
{
	return parse_positive_size(key, value, &uri->create.size_bytes);
}

static int parse_span(const struct dm_uri_key *key, const char *value, struct dm_uri *uri)
{
	return parse_positive_size(key, value, &uri->create.span_bytes);
}

static int parse_base(const struct dm_uri_key *key, const char *value, struct dm_uri *uri)
{
	uint64_t base = 0;
	int err = parse_positive_size(key, value, &base);

	if (err != 0)
		return err;
	if (!dm_is_aligned(base, BASE_ALIGN))
		return refuse(key, value);
	uri->create.base = base;
	return 0;
}

/* A decimal number without sign; `rest` is what follows it. */
static bool parse_number(const char *value, uint32_t *number, const char **rest)
{
	unsigned long long parsed;
	char *end;

	if (!isdigit((unsigned char)value[0]))
		return false;
	errno = 0;
	parsed = strtoull(value, &end, 10);
	if (errno != 0 || parsed > UINT32_MAX)
		return false;
	*number = (uint32_t)parsed;
	*rest = end;
	return true;
}

static int parse_members(const struct dm_uri_key *key, const char *value, struct dm_uri *uri)
{
	const char *rest;
	uint32_t number;

	if (!parse_number(value, &number, &rest) || *rest != '\0' || number < MEMBERS_MIN || number > MEMBERS_LIMIT)
		return refuse(key, value);
	uri->create.members_max = number;
	return 0;
}

/* "250", "250ms" or "2s". */
static int parse_duration(const struct dm_uri_key *key, const char *value, uint32_t limit_ms, uint32_t *ms)
{
	const char *rest;
	uint32_t number;

	if (!parse_number(value, &number, &rest) || number == 0)
		return refuse(key, value);
	if (strcmp(rest, "s") == 0 && number <= limit_ms / 1000)
		number *= 1000;
	else if (*rest != '\0' && strcmp(rest, "ms") != 0)
		return refuse(key, value);
	if (number > limit_ms)
		return refuse(key, value);
	*ms = number;
	return 0;
}

static int parse_lease(const struct dm_uri_key *key, const char *value, struct dm_uri *uri)
{
	return parse_duration(key, value, LEASE_MS_LIMIT, &uri->create.lease_ms);
}

static int parse_beat(const struct dm_uri_key *key, const char *value, struct dm_uri *uri)
{
	return parse_duration(key, value, BEAT_MS_LIMIT, &uri->create.beat_ms);
}

/* Permission bits a pool file can have: its owner must be able to attach. */
static bool mode_possible(uint32_t mode)
{
	return mode <= 0777 && (mode & 0600) == 0600;
}

static int parse_mode(const struct dm_uri_key *key, const char *value, struct dm_uri *uri)
{
	size_t digits = strspn(value, "01234567");
	unsigned long mode;

	if (digits == 0 || digits > 5 || value[digits] != '\0')
		return refuse(key, value);
	mode = strtoul(value, NULL, 8);
	if (!mode_possible((uint32_t)mode))
		return refuse(key, value);
	uri->create.mode = (uint32_t)mode;
	return 0;
}

/* The position of `value` in a NULL-terminated list of words, counted from 1; 0 when it is none of them. */
static int word_index(const char *const *words, const char *value)
{
	for (int i = 0; words[i] != NULL; i++) {
		if (strcmp(words[i], value) == 0)
			return i + 1;
	}
	return 0;
}

static int parse_coherence(const struct dm_uri_key *key, const char *value, struct dm_uri *uri)
{
	static const char *const words[] = {"coherent", "noncoherent", "paged", NULL};
	int index = word_index(words, value);

	if (index == 0)
		return refuse(key, value);
	uri->create.coherence = (enum dmem_coherence)index;
	return 0;
}

static int parse_atomics(const struct dm_uri_key *key, const char *value, struct dm_uri *uri)
{
	static const char *const words[] = {"cpu", "delegate", "remote", NULL};
	int index = word_index(words, value);

	if (index == 0)
		return refuse(key, value);
	uri->create.atomics = (enum dmem_atomics)index;
	return 0;
}

static int parse_fault(const struct dm_uri_key *key, const char *value, struct dm_uri *uri)
{
	static const char *const words[] = {"handler", "inline", NULL};
	int index = word_index(words, value);

	if (index == 0)
		return refuse(key, value);
	uri->fault = (enum dmem_fault_mode)index;
	return 0;
}

static int parse_require(const struct dm_uri_key *key, const char *value, struct dm_uri *uri)
{
	if (!dm_uri_scheme_known(value, strlen(value)))
		return refuse(key, value);
	strcpy(uri->require, value);
	return 0;
}

static int hex_digit(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	if (c >= 'a' && c <= 'f')
		return c - 'a' + 10;
	return c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

/* False when a '%' is not followed by two hexadecimal digits, for "%00", and when the result doesn't fit. */
static bool percent_decode(const char *value, char *decoded, size_t bytes)
{
	size_t length = 0;

	while (*value != '\0') {
		char c = *value++;

		if (c == '%') {
			int high = hex_digit(value[0]);
			int low = high < 0 ? -1 : hex_digit(value[1]);

			if (low < 0 || high * 16 + low == 0)
				return false;
			c = (char)(high * 16 + low);
			value += 2;
		}
		if (length + 1 >= bytes)
			return false;
		decoded[length++] = c;
	}
	decoded[length] = '\0';
	return true;
}

static int parse_device(const struct dm_uri_key *key, const char *value, struct dm_uri *uri)
{
	char decoded[sizeof(uri->devices[0])];

	if (uri->device_count == DM_ARRAY_LENGTH(uri->devices))
		return dm_fail(
			DMEM_E_OPTION,
			"a URI can name %zu further devices: give more in dmem_attach_options, or as recorded in the pool",
			DM_ARRAY_LENGTH(uri->devices));
	if (!percent_decode(value, decoded, sizeof(decoded)))
		return refuse(key, value);
	if (!dm_uri_scheme_known(decoded, strcspn(decoded, ":")) || strchr(decoded, ':') == NULL)
		return refuse(key, value);
	strcpy(uri->devices[uri->device_count++], decoded);
	return 0;
}

static const struct dm_uri_key keys[] = {
	{"size", "SIZE, as in 64M, 1G or 2.5T", parse_size, false},
	{"base", "ADDRESS, a multiple of 2 MiB, as in 0x200000000000", parse_base, false},
	{"span", "SIZE, as in 64G or 4T", parse_span, false},
	{"members", "a number from 16 to 4096", parse_members, false},
	{"coherence", "coherent, noncoherent or paged", parse_coherence, false},
	{"atomics", "cpu, delegate or remote", parse_atomics, false},
	{"lease", "milliseconds up to 3600000, as in 1000, 1000ms or 1s", parse_lease, false},
	{"beat", "milliseconds up to 60000, as in 100 or 100ms", parse_beat, false},
	{"mode", "octal permissions that let the owner read and write, as in 0600 or 0660", parse_mode, false},
	{"fault", "handler or inline", parse_fault, false},
	{"require", "file, sim, dax, cxl, rdma or tcp", parse_require, false},
	{"device", "a URI of up to 255 bytes, with %3F for '?' and %26 for '&'", parse_device, true},
};

const struct dm_uri_key *dm_uri_key_find(const char *name, size_t length)
{
	for (size_t i = 0; i < DM_ARRAY_LENGTH(keys); i++) {
		if (strlen(keys[i].name) == length && memcmp(keys[i].name, name, length) == 0)
			return &keys[i];
	}
	return NULL;
}

unsigned dm_uri_key_index(const struct dm_uri_key *key)
{
	return (unsigned)(key - keys);
}

/* The part of `options` that both sides know, zeros elsewhere. */
static int options_copy(const struct dmem_create_options *options, struct dmem_create_options *copy)
{
	size_t theirs;

	memset(copy, 0, sizeof(*copy));
	if (options == NULL)
		return 0;
	theirs = options->struct_bytes;
	if (theirs < sizeof(theirs) || theirs > STRUCT_BYTES_LIMIT)
		return dm_fail(DMEM_E_OPTION,
		               "dmem_create_options.struct_bytes is %zu: start from DMEM_CREATE_OPTIONS_DEFAULT (%zu)", theirs,
		               sizeof(*options));
	for (size_t i = sizeof(*options); i < theirs; i++) {
		if (((const unsigned char *)options)[i] != 0)
			return dm_fail(DMEM_E_OPTION,
			               "dmem_create_options has an option that libdmem %s does not know: use the "
			               "library the program was compiled for",
			               dmem_version());
	}
	memcpy(copy, options, theirs < sizeof(*copy) ? theirs : sizeof(*copy));
	return 0;
}

static int options_check_place(const struct dmem_create_options *options)
{
	if (!dm_is_aligned(options->base, BASE_ALIGN))
		return dm_fail(DMEM_E_OPTION, "base %#llx is not a multiple of 2 MiB: use 0 to have one chosen",
		               (unsigned long long)options->base);
	if (options->mode != 0 && !mode_possible(options->mode))
		return dm_fail(DMEM_E_OPTION,
		               "mode %#o does not let the owner read and write, or has bits above 0777: use 0600",
		               options->mode);
	if (options->members_max != 0 && (options->members_max < MEMBERS_MIN || options->members_max > MEMBERS_LIMIT))
		return dm_fail(DMEM_E_OPTION, "members_max %u is not possible: use %d to %d", options->members_max, MEMBERS_MIN,
		               MEMBERS_LIMIT);
	return 0;
}

static int options_check(const struct dmem_create_options *options)
{
	uint32_t lease_ms = options->lease_ms != 0 ? options->lease_ms : LEASE_MS_DEFAULT;
	uint32_t beat_ms = options->beat_ms != 0 ? options->beat_ms : BEAT_MS_DEFAULT;

	if ((unsigned)options->coherence > DMEM_COHERENCE_PAGED)
		return dm_fail(DMEM_E_OPTION, "coherence %d is none of enum dmem_coherence: use 0 for the transport's own",
		               (int)options->coherence);
	if ((unsigned)options->atomics > DMEM_ATOMICS_REMOTE)
		return dm_fail(DMEM_E_OPTION, "atomics %d is none of enum dmem_atomics: use 0 for the transport's own",
		               (int)options->atomics);
	if (beat_ms > BEAT_MS_LIMIT || lease_ms > LEASE_MS_LIMIT)
		return dm_fail(DMEM_E_OPTION, "a lease of %u ms with a beat of %u ms is too long: use at most %d and %d",
		               lease_ms, beat_ms, LEASE_MS_LIMIT, BEAT_MS_LIMIT);
	if (lease_ms / 2 < beat_ms)
		return dm_fail(DMEM_E_OPTION,
		               "a lease of %u ms is shorter than two beats of %u ms: a live host would be fenced; "
		               "make lease longer or beat shorter",
		               lease_ms, beat_ms);
	return options_check_place(options);
}

int dm_uri_create_options(const struct dm_uri *uri, const struct dmem_create_options *options,
                          struct dmem_create_options *merged)
{
	const struct dmem_create_options *said = &uri->create;
	struct dmem_create_options result;
	int err = options_copy(options, &result);

	if (err != 0)
		return err;
	result.struct_bytes = sizeof(result);
#define SAID_WINS(field) result.field = said->field != 0 ? said->field : result.field
	SAID_WINS(size_bytes);
	SAID_WINS(base);
	SAID_WINS(span_bytes);
	SAID_WINS(coherence);
	SAID_WINS(atomics);
	SAID_WINS(lease_ms);
	SAID_WINS(beat_ms);
	SAID_WINS(mode);
	SAID_WINS(members_max);
#undef SAID_WINS
	err = options_check(&result);
	if (err == 0)
		*merged = result;
	return err;
}
