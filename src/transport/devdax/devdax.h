/* SPDX-License-Identifier: Apache-2.0 */
/* devdax.h: the `dax:` and `cxl:` backends: a pool on a DAX character device, named by its path or found on the CXL bus. */
#ifndef DM_TRANSPORT_DEVDAX_DEVDAX_H
#define DM_TRANSPORT_DEVDAX_DEVDAX_H

#include "transport/transport.h"

extern const struct dm_transport dm_transport_dax;
extern const struct dm_transport dm_transport_cxl;

#endif
