/* SPDX-License-Identifier: Apache-2.0 */
/* uri.h: pool URIs: "scheme:path?key=value&key=value", and what their keys say. */
#ifndef DM_TRANSPORT_URI_H
#define DM_TRANSPORT_URI_H

#include <stdint.h>

#include "dmem/pool.h"

#define DM_URI_PATH_BYTES  4096
#define DM_URI_DEVICES_MAX 32

/* A parsed URI.  `create` and `attach` hold what its keys say and zeros elsewhere. */
struct dm_uri {
	char scheme[16];
	char path[DM_URI_PATH_BYTES]; /* file: an absolute path; rdma, tcp: //host:port/name */
	char require[16];             /* "" for no demand */
	struct dmem_create_options create;
	enum dmem_fault_mode fault;
	unsigned device_count; /* "device=URI" keys, percent-decoded */
	char devices[4][256];
};

/*
 * Parse `text`.  Fails with DMEM_E_URI (no scheme, an unknown one, an empty or relative path, an unknown key, a key that
 * stands twice) or DMEM_E_OPTION (a value that is not understood or out of its range); the message names the part and
 * what is accepted.  `uri` is written only on success.
 */
int dm_uri_parse(const char *text, struct dm_uri *uri);

/* Parse "4096", "64K", "1G", "2.5T", "0x200000000000"; powers of 1024; 0 or DMEM_E_OPTION.  `what` names the value in the
 * message. */
int dm_uri_parse_size(const char *text, const char *what, uint64_t *bytes);

/* Options of a creation: what the URI says, then what `options` says, zeros elsewhere.  DMEM_E_OPTION for values that
 * cannot be (struct_bytes 0, unknown enumerators, members_max out of range, lease below two beats ...). */
int dm_uri_create_options(const struct dm_uri *uri, const struct dmem_create_options *options,
                          struct dmem_create_options *merged);

#endif
