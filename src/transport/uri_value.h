/* SPDX-License-Identifier: Apache-2.0 */
/* uri_value.h: the keys of pool URIs; between uri.c and uri_value.c only. */
#ifndef DM_TRANSPORT_URI_VALUE_H
#define DM_TRANSPORT_URI_VALUE_H

#include <stdbool.h>
#include <stddef.h>

#include "transport/uri.h"

/* Longest value with its final zero: a device URI with every byte percent-encoded. */
#define DM_URI_VALUE_BYTES 768

#define DM_URI_KEYS "size, base, span, members, coherence, atomics, lease, beat, mode, fault, require, device"

struct dm_uri_key {
	const char *name;
	const char *accepted; /* for messages: what may stand after '=' */
	int (*parse)(const struct dm_uri_key *key, const char *value, struct dm_uri *uri);
	bool repeats;
};

const struct dm_uri_key *dm_uri_key_find(const char *name, size_t length);
unsigned dm_uri_key_index(const struct dm_uri_key *key);

/* In uri.c. */
int dm_uri_scheme_known(const char *name, size_t length);

#endif
