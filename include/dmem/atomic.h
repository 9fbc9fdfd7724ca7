/* SPDX-License-Identifier: Apache-2.0 */
/*
 * atomic.h: single words that members on different hosts change at the same time.
 *
 * Results come through out-parameters, because a remote pool can fail.  A 64-byte line that holds an atomic word is
 * touched by nothing but these calls, by any member (memory model, clause A1): in pools that are not coherent, a plain
 * store to the line would be lost or would destroy the word.  A u32 word shares its aligned 8 bytes only with other
 * atomic words.  A word outside every attached pool is treated as ordinary memory of this process.
 */
#ifndef DMEM_ATOMIC_H
#define DMEM_ATOMIC_H

#include <stdint.h>

#include "dmem/version.h"

#ifdef __cplusplus
extern "C" {
#endif

/**
 * dmem_atomic_load_u32() - read an atomic word of 32 bits.
 * @word: the word, aligned to 4 bytes.
 * @value: [out] what it held.
 *
 * Returns:    0; -EINVAL the word is NULL or not aligned to 4 bytes; DMEM_E_DETACHED, DMEM_E_LOST, DMEM_E_FENCED;
 *             remote pools also -EIO (nothing was done) and DMEM_E_IN_DOUBT (it may have been done).
 * Threads:    safe from any thread of any member.
 * Blocks:     never on another member, except in a pool with delegated atomics, while its arbiter is being replaced.
 * Visibility: acquire: what was published before the store that wrote the value is visible after a refresh.
 * On failure: the value is not written.
 * Crash:      changes nothing.
 * Source:     docs/memory-model.md; C17 section 7.17.
 */
DMEM_API DMEM_MUST_CHECK int dmem_atomic_load_u32(const uint32_t *word, uint32_t *value);

/**
 * dmem_atomic_load_u64() - read an atomic word of 64 bits.
 * @word: the word, aligned to 8 bytes.
 * @value: [out] what it held.
 *
 * Returns:    0; -EINVAL the word is NULL or not aligned to 8 bytes; DMEM_E_DETACHED, DMEM_E_LOST, DMEM_E_FENCED;
 *             remote pools also -EIO (nothing was done) and DMEM_E_IN_DOUBT (it may have been done).
 * Threads:    safe from any thread of any member.
 * Blocks:     never on another member, except in a pool with delegated atomics, while its arbiter is being replaced.
 * Visibility: acquire: what was published before the store that wrote the value is visible after a refresh.
 * On failure: the value is not written.
 * Crash:      changes nothing.
 * Source:     docs/memory-model.md; C17 section 7.17.
 */
DMEM_API DMEM_MUST_CHECK int dmem_atomic_load_u64(const uint64_t *word, uint64_t *value);

/**
 * dmem_atomic_store_u32() - write an atomic word of 32 bits.
 * @word: the word, aligned to 4 bytes.
 * @value: what it shall hold.
 *
 * Returns:    0; -EINVAL the word is NULL or not aligned to 4 bytes; DMEM_E_DETACHED, DMEM_E_LOST, DMEM_E_FENCED;
 *             remote pools also -EIO (nothing was done) and DMEM_E_IN_DOUBT (it may have been done).
 * Threads:    safe from any thread of any member.
 * Blocks:     never on another member, except in a pool with delegated atomics, while its arbiter is being replaced.
 * Visibility: release: what this thread published before is visible to whoever reads the value.
 * On failure: nothing was stored, unless DMEM_E_IN_DOUBT.
 * Crash:      the store took place whole or not at all.
 * Source:     docs/memory-model.md; C17 section 7.17.
 */
DMEM_API DMEM_MUST_CHECK int dmem_atomic_store_u32(uint32_t *word, uint32_t value);

/**
 * dmem_atomic_store_u64() - write an atomic word of 64 bits.
 * @word: the word, aligned to 8 bytes.
 * @value: what it shall hold.
 *
 * Returns:    0; -EINVAL the word is NULL or not aligned to 8 bytes; DMEM_E_DETACHED, DMEM_E_LOST, DMEM_E_FENCED;
 *             remote pools also -EIO (nothing was done) and DMEM_E_IN_DOUBT (it may have been done).
 * Threads:    safe from any thread of any member.
 * Blocks:     never on another member, except in a pool with delegated atomics, while its arbiter is being replaced.
 * Visibility: release: what this thread published before is visible to whoever reads the value.
 * On failure: nothing was stored, unless DMEM_E_IN_DOUBT.
 * Crash:      the store took place whole or not at all.
 * Source:     docs/memory-model.md; C17 section 7.17.
 */
DMEM_API DMEM_MUST_CHECK int dmem_atomic_store_u64(uint64_t *word, uint64_t value);

/**
 * dmem_atomic_exchange_u32() - write an atomic word and learn what it held of 32 bits.
 * @word: the word, aligned to 4 bytes.
 * @value: what it shall hold.
 * @previous: [out] what it held before; may be NULL.
 *
 * Returns:    0; -EINVAL the word is NULL or not aligned to 4 bytes; DMEM_E_DETACHED, DMEM_E_LOST, DMEM_E_FENCED;
 *             remote pools also -EIO (nothing was done) and DMEM_E_IN_DOUBT (it may have been done).
 * Threads:    safe from any thread of any member.
 * Blocks:     never on another member, except in a pool with delegated atomics, while its arbiter is being replaced.
 * Visibility: acquire and release.
 * On failure: nothing was stored, unless DMEM_E_IN_DOUBT.
 * Crash:      the exchange took place whole or not at all.
 * Source:     docs/memory-model.md; C17 section 7.17.
 */
DMEM_API DMEM_MUST_CHECK int dmem_atomic_exchange_u32(uint32_t *word, uint32_t value, uint32_t *previous);

/**
 * dmem_atomic_exchange_u64() - write an atomic word and learn what it held of 64 bits.
 * @word: the word, aligned to 8 bytes.
 * @value: what it shall hold.
 * @previous: [out] what it held before; may be NULL.
 *
 * Returns:    0; -EINVAL the word is NULL or not aligned to 8 bytes; DMEM_E_DETACHED, DMEM_E_LOST, DMEM_E_FENCED;
 *             remote pools also -EIO (nothing was done) and DMEM_E_IN_DOUBT (it may have been done).
 * Threads:    safe from any thread of any member.
 * Blocks:     never on another member, except in a pool with delegated atomics, while its arbiter is being replaced.
 * Visibility: acquire and release.
 * On failure: nothing was stored, unless DMEM_E_IN_DOUBT.
 * Crash:      the exchange took place whole or not at all.
 * Source:     docs/memory-model.md; C17 section 7.17.
 */
DMEM_API DMEM_MUST_CHECK int dmem_atomic_exchange_u64(uint64_t *word, uint64_t value, uint64_t *previous);

/**
 * dmem_atomic_cas_u32() - write an atomic word if it still holds an expected value of 32 bits.
 * @word: the word, aligned to 4 bytes.
 * @expected: what it must hold for the store to take place.
 * @desired: what it shall hold then.
 * @previous: [out] what it held; the store took place if and only if this equals @expected.
 *
 * Returns:    0; -EINVAL the word is NULL or not aligned to 4 bytes; DMEM_E_DETACHED, DMEM_E_LOST, DMEM_E_FENCED;
 *             remote pools also -EIO (nothing was done) and DMEM_E_IN_DOUBT (it may have been done).
 * Threads:    safe from any thread of any member.
 * Blocks:     never on another member, except in a pool with delegated atomics, while its arbiter is being replaced.
 * Visibility: acquire and release.
 * On failure: nothing was stored, unless DMEM_E_IN_DOUBT.
 * Crash:      the store took place whole or not at all.
 * Source:     docs/memory-model.md; C17 section 7.17.
 */
DMEM_API DMEM_MUST_CHECK int dmem_atomic_cas_u32(uint32_t *word, uint32_t expected, uint32_t desired, uint32_t *previous);

/**
 * dmem_atomic_cas_u64() - write an atomic word if it still holds an expected value of 64 bits.
 * @word: the word, aligned to 8 bytes.
 * @expected: what it must hold for the store to take place.
 * @desired: what it shall hold then.
 * @previous: [out] what it held; the store took place if and only if this equals @expected.
 *
 * Returns:    0; -EINVAL the word is NULL or not aligned to 8 bytes; DMEM_E_DETACHED, DMEM_E_LOST, DMEM_E_FENCED;
 *             remote pools also -EIO (nothing was done) and DMEM_E_IN_DOUBT (it may have been done).
 * Threads:    safe from any thread of any member.
 * Blocks:     never on another member, except in a pool with delegated atomics, while its arbiter is being replaced.
 * Visibility: acquire and release.
 * On failure: nothing was stored, unless DMEM_E_IN_DOUBT.
 * Crash:      the store took place whole or not at all.
 * Source:     docs/memory-model.md; C17 section 7.17.
 */
DMEM_API DMEM_MUST_CHECK int dmem_atomic_cas_u64(uint64_t *word, uint64_t expected, uint64_t desired, uint64_t *previous);

/**
 * dmem_atomic_add_u32() - add to an atomic word of 32 bits.
 * @word: the word, aligned to 4 bytes.
 * @addend: added modulo 2 to the word size; a negative number is its two's complement.
 * @previous: [out] what it held before; may be NULL.
 *
 * Returns:    0; -EINVAL the word is NULL or not aligned to 4 bytes; DMEM_E_DETACHED, DMEM_E_LOST, DMEM_E_FENCED;
 *             remote pools also -EIO (nothing was done) and DMEM_E_IN_DOUBT (it may have been done).
 * Threads:    safe from any thread of any member.
 * Blocks:     never on another member, except in a pool with delegated atomics, while its arbiter is being replaced.
 * Visibility: acquire and release.
 * On failure: nothing was added, unless DMEM_E_IN_DOUBT: then it may have been, so do not repeat it blindly.
 * Crash:      the addition took place whole or not at all.
 * Source:     docs/memory-model.md; C17 section 7.17.
 */
DMEM_API DMEM_MUST_CHECK int dmem_atomic_add_u32(uint32_t *word, uint32_t addend, uint32_t *previous);

/**
 * dmem_atomic_add_u64() - add to an atomic word of 64 bits.
 * @word: the word, aligned to 8 bytes.
 * @addend: added modulo 2 to the word size; a negative number is its two's complement.
 * @previous: [out] what it held before; may be NULL.
 *
 * Returns:    0; -EINVAL the word is NULL or not aligned to 8 bytes; DMEM_E_DETACHED, DMEM_E_LOST, DMEM_E_FENCED;
 *             remote pools also -EIO (nothing was done) and DMEM_E_IN_DOUBT (it may have been done).
 * Threads:    safe from any thread of any member.
 * Blocks:     never on another member, except in a pool with delegated atomics, while its arbiter is being replaced.
 * Visibility: acquire and release.
 * On failure: nothing was added, unless DMEM_E_IN_DOUBT: then it may have been, so do not repeat it blindly.
 * Crash:      the addition took place whole or not at all.
 * Source:     docs/memory-model.md; C17 section 7.17.
 */
DMEM_API DMEM_MUST_CHECK int dmem_atomic_add_u64(uint64_t *word, uint64_t addend, uint64_t *previous);

#ifdef __cplusplus
}
#endif
#endif
