/* SPDX-License-Identifier: Apache-2.0 */
/* file.h: the `file:` backend: a pool in a file of tmpfs, hugetlbfs or any other file system that can map it shared. */
#ifndef DM_TRANSPORT_FILE_FILE_H
#define DM_TRANSPORT_FILE_FILE_H

#include "transport/transport.h"

extern const struct dm_transport dm_transport_file;

#endif
