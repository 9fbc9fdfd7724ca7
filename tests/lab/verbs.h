/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the two ends of lab_verbs share: the served memory.
 *
 *      0  counter     every client adds to it with FAA
 *     64  lock        0 free, else the client's number; taken and freed with CAS
 *    128  guarded     incremented with READ and WRITE under the lock
 *    192  barrier     FAA by every client, before it adds and before it locks
 *   4096  the server's pattern, READ by every client
 *   8192  a page for every client, WRITTEN by it, checked by the server's CPU
 */
#ifndef LAB_VERBS_H
#define LAB_VERBS_H

#include <stddef.h>
#include <stdint.h>

#define COUNTER_OFF 0
#define LOCK_OFF 64
#define GUARDED_OFF 128
#define BARRIER_OFF 192
#define PATTERN_BYTES 4096
#define SERVER_PATTERN_OFF 4096
#define CLIENT_PATTERN_OFF(client) (8192 + (uint64_t)(client) * PATTERN_BYTES)
#define CLIENTS_MAX 16

/* For so many FAA a client takes the lock once. */
#define LOCK_PART 3
#define SERVED_BYTES ((size_t)2 << 20)

/* More retries than 6 are none at all on soft-RoCE: 7 retries for ever. */
#define RETRIES 6
#define DEADLINE_MS 20000

/* The server's answer to a connection. */
struct welcome {
	uint64_t address;
	uint32_t rkey;
	uint32_t bytes;
};

static inline uint64_t pattern_word(uint64_t seed, size_t i)
{
	return (seed * 1000003 + i) * UINT64_C(0x9e3779b97f4a7c15);
}

static inline void pattern_fill(void *memory, uint64_t seed)
{
	uint64_t *words = memory;

	for (size_t i = 0; i < PATTERN_BYTES / sizeof(*words); i++)
		words[i] = pattern_word(seed, i);
}

static inline int pattern_holds(const void *memory, uint64_t seed)
{
	const uint64_t *words = memory;

	for (size_t i = 0; i < PATTERN_BYTES / sizeof(*words); i++) {
		if (words[i] != pattern_word(seed, i))
			return 0;
	}
	return 1;
}

#endif
