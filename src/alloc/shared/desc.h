/* SPDX-License-Identifier: Apache-2.0 */
/*
 * desc.h: descriptor words: what an extent or a unit is, in one store, with a check.
 *
 * | kind 4 | check 8 | argument 52 |.  The check is a CRC-8 (polynomial 0x07) over the rest of the word and the number of
 * what it describes: it finds every single flipped bit, and a word that was copied to another place.
 */
#ifndef DM_ALLOC_SHARED_DESC_H
#define DM_ALLOC_SHARED_DESC_H

#include <stdbool.h>
#include <stdint.h>

#define DM_DESC_KIND_MASK      UINT64_C(0xf)
#define DM_DESC_CHECK_SHIFT    4
#define DM_DESC_ARGUMENT_SHIFT 12
#define DM_CONTINUED_SHIFT     26
#define DM_CONTINUED_MASK      ((UINT64_C(1) << DM_CONTINUED_SHIFT) - 1)

/* The word that says `kind` and `argument` of number `index`. */
uint64_t dm_desc_make(unsigned kind, uint64_t argument, uint64_t index);

/* Take a word apart; false when its check is wrong.  All zero is kind 0, argument 0. */
bool dm_desc_read(uint64_t word, uint64_t index, unsigned *kind, uint64_t *argument);

#endif
