/* SPDX-License-Identifier: Apache-2.0 */
/*
 * uri.c: see uri.h.
 *
 *   uri   = scheme ":" path [ "?" key "=" value *( "&" key "=" value ) ]
 *
 * A path is taken as it is (no percent-decoding; it ends at the first '?').  A device= value is percent-decoded, because
 * it is itself a URI and may hold '?' and '&'.  Values are parsed in uri_value.c.
 */
#include "transport/uri.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>

#include "base/arith.h"
#include "base/error.h"
#include "transport/uri_value.h"

/* Longest piece of somebody's text that a message repeats. */
#define SHOWN 200

#define SCHEMES "file, sim, dax, cxl, rdma, tcp"

enum path_kind {
	PATH_ABSOLUTE, /* /dev/shm/name */
	PATH_WORD,     /* a serial number or a region name */
	PATH_NETWORK,  /* //host:port/name */
};

static const struct scheme {
	const char *name;
	enum path_kind path;
	const char *example;
} schemes[] = {
	{"file", PATH_ABSOLUTE, "file:/dev/shm/name"},   {"sim", PATH_ABSOLUTE, "sim:/dev/shm/name"},
	{"dax", PATH_ABSOLUTE, "dax:/dev/dax0.0"},       {"cxl", PATH_WORD, "cxl:region0"},
	{"rdma", PATH_NETWORK, "rdma://host:7420/name"}, {"tcp", PATH_NETWORK, "tcp://host:7420/name"},
};

static const struct scheme *scheme_find(const char *name, size_t length)
{
	for (size_t i = 0; i < DM_ARRAY_LENGTH(schemes); i++) {
		if (strlen(schemes[i].name) == length && memcmp(schemes[i].name, name, length) == 0)
			return &schemes[i];
	}
	return NULL;
}

int dm_uri_scheme_known(const char *name, size_t length)
{
	return scheme_find(name, length) != NULL;
}

static int parse_scheme(const char *text, const struct scheme **scheme)
{
	size_t length = strcspn(text, ":/?");

	if (text[0] == '\0')
		return dm_fail(DMEM_E_URI, "the pool URI is empty: write for example \"file:/dev/shm/name\"");
	if (text[0] == '/')
		return dm_fail(DMEM_E_URI, "\"%.*s\" has no scheme: write \"file:%.*s\"", SHOWN, text, SHOWN, text);
	if (text[length] != ':')
		return dm_fail(DMEM_E_URI, "\"%.*s\" has no scheme: write SCHEME:PATH; schemes are %s", SHOWN, text, SCHEMES);
	*scheme = scheme_find(text, length);
	if (*scheme == NULL)
		return dm_fail(DMEM_E_URI, "unknown scheme \"%.*s\" in \"%.*s\": schemes are %s",
		               (int)(length < SHOWN ? length : SHOWN), text, SHOWN, text, SCHEMES);
	return 0;
}

/* "///dir/name", as other programs write file URIs, becomes "/dir/name". */
static int check_absolute(const struct scheme *scheme, char *path)
{
	size_t length = strlen(path);

	if (path[0] != '/')
		return dm_fail(DMEM_E_URI, "the path \"%.*s\" is relative: %s: wants an absolute one, as in \"%s\"", SHOWN,
		               path, scheme->name, scheme->example);
	if (path[1] == '/' && path[2] != '/')
		return dm_fail(DMEM_E_URI, "\"%s:%.*s\" names a host: %s: is on this machine and takes none, as in \"%s\"",
		               scheme->name, SHOWN, path, scheme->name, scheme->example);
	if (path[1] == '/')
		memmove(path, path + 2, length - 1);
	if (path[strlen(path) - 1] == '/')
		return dm_fail(DMEM_E_URI, "the path \"%.*s\" ends in '/', a directory: name a file, as in \"%s\"", SHOWN, path,
		               scheme->example);
	return 0;
}

static int check_word(const struct scheme *scheme, const char *path)
{
	for (const char *at = path; *at != '\0'; at++) {
		if (!isalnum((unsigned char)*at) && strchr("._-", *at) == NULL)
			return dm_fail(DMEM_E_URI, "\"%.*s\" is neither a serial number nor a region: write for example \"%s\"",
			               SHOWN, path, scheme->example);
	}
	return 0;
}

static int check_network(const struct scheme *scheme, const char *path)
{
	const char *name = strncmp(path, "//", 2) == 0 ? strchr(path + 2, '/') : NULL;
	const char *colon = name != NULL ? memrchr(path + 2, ':', (size_t)(name - path - 2)) : NULL;
	char *end;
	unsigned long port;

	if (colon == NULL || colon == path + 2)
		return dm_fail(DMEM_E_URI, "\"%s:%.*s\" lacks a host, a port or a name: write for example \"%s\"", scheme->name,
		               SHOWN, path, scheme->example);
	port = isdigit((unsigned char)colon[1]) ? strtoul(colon + 1, &end, 10) : 0;
	if (port == 0 || port > 65535 || end != name)
		return dm_fail(DMEM_E_URI, "the port in \"%s:%.*s\" is not a number from 1 to 65535: write for example \"%s\"",
		               scheme->name, SHOWN, path, scheme->example);
	if (name[1] == '\0')
		return dm_fail(DMEM_E_URI, "\"%s:%.*s\" names no pool on that host: write for example \"%s\"", scheme->name,
		               SHOWN, path, scheme->example);
	return 0;
}

static int parse_path(const struct scheme *scheme, const char *text, size_t length, struct dm_uri *uri)
{
	if (length == 0)
		return dm_fail(DMEM_E_URI, "nothing follows \"%s:\": write for example \"%s\"", scheme->name, scheme->example);
	if (length >= sizeof(uri->path))
		return dm_fail(DMEM_E_URI, "the path \"%.*s...\" has %zu bytes: at most %zu are possible", 60, text, length,
		               sizeof(uri->path) - 1);
	memcpy(uri->path, text, length);
	uri->path[length] = '\0';
	switch (scheme->path) {
	case PATH_ABSOLUTE:
		return check_absolute(scheme, uri->path);
	case PATH_WORD:
		return check_word(scheme, uri->path);
	default:
		return check_network(scheme, uri->path);
	}
}

/* "key=value" of `length` bytes. */
static int parse_pair(const char *text, size_t length, uint32_t *seen, struct dm_uri *uri)
{
	const char *equals = memchr(text, '=', length);
	size_t key_length = equals != NULL ? (size_t)(equals - text) : length;
	int shown = (int)(key_length < SHOWN ? key_length : SHOWN);
	const struct dm_uri_key *key = dm_uri_key_find(text, key_length);
	char value[DM_URI_VALUE_BYTES];
	size_t value_length;
	uint32_t bit;

	if (length == 0)
		return dm_fail(DMEM_E_URI, "a key is missing after '?' or '&': keys are %s", DM_URI_KEYS);
	if (key == NULL)
		return dm_fail(DMEM_E_URI, "unknown key \"%.*s\": keys are %s", shown, text, DM_URI_KEYS);
	bit = UINT32_C(1) << dm_uri_key_index(key);
	if ((*seen & bit) != 0 && !key->repeats)
		return dm_fail(DMEM_E_URI, "the key \"%s\" stands twice: say it once", key->name);
	*seen |= bit;
	value_length = equals != NULL ? length - key_length - 1 : 0;
	if (value_length == 0)
		return dm_fail(DMEM_E_OPTION, "the key \"%s\" has no value: write %s=%s", key->name, key->name, key->accepted);
	if (value_length >= sizeof(value))
		return dm_fail(DMEM_E_OPTION, "the value of \"%s\" has %zu bytes: write %s=%s", key->name, value_length,
		               key->name, key->accepted);
	memcpy(value, equals + 1, value_length);
	value[value_length] = '\0';
	return key->parse(key, value, uri);
}

static int parse_keys(const char *text, struct dm_uri *uri)
{
	uint32_t seen = 0;
	int err;

	for (;;) {
		size_t length = strcspn(text, "&");

		err = parse_pair(text, length, &seen, uri);
		if (err != 0 || text[length] == '\0')
			return err;
		text += length + 1;
	}
}

static int parse_all(const char *text, struct dm_uri *uri)
{
	const struct scheme *scheme;
	const char *path;
	size_t length;
	int err;

	err = parse_scheme(text, &scheme);
	if (err != 0)
		return err;
	strcpy(uri->scheme, scheme->name);
	path = text + strlen(scheme->name) + 1;
	length = strcspn(path, "?");
	err = parse_path(scheme, path, length, uri);
	if (err != 0 || path[length] == '\0')
		return err;
	return parse_keys(path + length + 1, uri);
}

int dm_uri_parse(const char *text, struct dm_uri *uri)
{
	struct dm_uri parsed;
	int err;

	if (text == NULL)
		return dm_fail(DMEM_E_URI, "the pool URI is NULL: give for example \"file:/dev/shm/name\"");
	memset(&parsed, 0, sizeof(parsed));
	err = parse_all(text, &parsed);
	if (err == 0)
		*uri = parsed;
	return err;
}
