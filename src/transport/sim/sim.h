/* SPDX-License-Identifier: Apache-2.0 */
/* sim.h: the `sim:` backend: hosts whose caches are not coherent, played by the processes of one machine. */
#ifndef DM_TRANSPORT_SIM_SIM_H
#define DM_TRANSPORT_SIM_SIM_H

#include "transport/transport.h"

#define DM_SIM_BYTES_MAX (UINT64_C(64) << 20)

extern const struct dm_transport dm_transport_sim;

/* What happened in this process so far, over all sim: devices. */
struct dm_sim_counts {
	uint64_t violations;   /* plain stores to lines that hold atomic words (memory model, clause A1) */
	uint64_t disturbances; /* moments at which lines moved by themselves */
	uint64_t written_back; /* lines that did, from here */
	uint64_t read_again;   /* lines that did, to here */
	uint64_t stops_failed; /* disturbances left out, because a thread did not stop */
};
void dm_sim_count(struct dm_sim_counts *counts);

#endif
