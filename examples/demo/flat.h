/* SPDX-License-Identifier: Apache-2.0 */
/*
 * flat.h: the same index as a stream of bytes, which is what a program has to make of it when the other one can't reach
 * its memory.
 *
 *	header | file, path | file, path | ... | term, text, posting, posting, ... | term, text, ...
 *
 * Made to be hard to beat: fixed-size records in the machine's own byte order, hashes and all counts sent along, so
 * that the receiver parses nothing, computes no hash, searches no chain, sizes its buckets once and allocates each list
 * in one piece.  Both sides work through buffers of a megabyte, so that serializing, sending and rebuilding overlap.
 */
#ifndef DEMO_FLAT_H
#define DEMO_FLAT_H

#include <stdint.h>

#include "index.h"

/* Send an index through a connected stream socket.  The caller's view of the nodes must be current.  0 or -errno;
 * *sent_bytes (may be NULL) is what the stream took. */
int flat_send(int fd, const struct index_root *root, uint64_t *sent_bytes);

/* Receive one and build it anew in the writer's memory.  0, -errno, or -EPROTO for a stream that is no index. */
int flat_receive(int fd, const struct index_memory *memory, struct index_writer *writer);

#endif
