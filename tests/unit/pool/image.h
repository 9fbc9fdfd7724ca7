/* SPDX-License-Identifier: Apache-2.0 */
/*
 * image.h: a pool with data in it, and where its words lie, so that each of them can be damaged.
 *
 * Two images: one whose members detached, and one whose members were killed.  Both hold: small blocks, blocks in slabs of several
 * units, a run inside a chunk, a run over several chunks, private memory, blocks that another member freed, and roots.
 */
#ifndef DM_TESTS_POOL_IMAGE_H
#define DM_TESTS_POOL_IMAGE_H

#include <stdbool.h>
#include <stdint.h>

#include "dmem/dmem.h"

#define IMAGE_BLOCKS 80u
#define IMAGE_STEP   65536u
#define IMAGE_PLACES 32u
#define IMAGE_KEYS   "size=1G&members=16&beat=10&lease=200"

enum place_kind {
	PLACE_DESCRIPTOR, /* checked: the damage is always found, and what lives is not touched */
	PLACE_WORD,       /* a word whose every value is possible: no crash, but it can't be known to be wrong */
};

struct place {
	const char *name;
	enum place_kind kind;
	uint64_t offset; /* in the file */
	uint32_t bits;
};

/* In memory that parent and children share. */
struct image {
	char *blocks[IMAGE_BLOCKS]; /* live; these bytes of block i are (char)i: first and last 16, and each 64 Ki-th */
	size_t bytes[IMAGE_BLOCKS];
	struct place places[IMAGE_PLACES];
	unsigned place_count;
};

/* Make the pool `name`, with its members killed or detached. */
struct image *image_make(const char *name, bool killed);

/* Keep the pages of the file that hold something; write them to another file of that length. */
void image_keep(const char *name);
void image_write(const char *name);

#endif
