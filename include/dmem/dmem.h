/* SPDX-License-Identifier: Apache-2.0 */
/* dmem.h: all of libdmem's public API. */
#ifndef DMEM_DMEM_H
#define DMEM_DMEM_H

#include "dmem/alloc.h"
#include "dmem/atomic.h"
#include "dmem/coherence.h"
#include "dmem/error.h"
#include "dmem/members.h"
#include "dmem/mutex.h"
#include "dmem/pool.h"
#include "dmem/version.h"
#include "dmem/wait.h"

#endif
