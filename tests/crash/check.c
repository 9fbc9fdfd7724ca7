/* SPDX-License-Identifier: Apache-2.0 */
/*
 * check.c: what a survivor finds after a death (crash.h).
 *
 * The account says which blocks are alive for sure, and which thread died inside which operation.  The pool must hold the
 * first, and of the second at most one block a thread; when the account's blocks are freed and everybody has left, every
 * chunk must be free again, but for those that hold a block that was lost.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/arith.h"
#include "crash/crash.h"
#include "lib/survey.h"
#include "pool.h"

#define PATIENCE_SECONDS 10u

bool crash_wait_for_members(struct crash *c, unsigned members)
{
	if (survey_wait_for_members(crash_pool, members, PATIENCE_SECONDS))
		return true;
	crash_fail(c, "after %u s there are still %u members, where %u live", PATIENCE_SECONDS, survey_members(crash_pool), members);
	return false;
}

static void tell_finding(void *context, const char *finding)
{
	crash_fail(context, "validate: %s", finding);
}

static void validate(struct crash *c, const char *when)
{
	int rc = dmem_pool_validate(crash_pool, tell_finding, c);

	if (rc)
		crash_fail(c, "validate %s: %s", when, dmem_strerror(rc));
}

/* --- counting --- */

static struct survey count(struct crash *c)
{
	struct survey survey;

	if (survey_count(crash_pool, &survey) != 0)
		crash_fail(c, "the pool can't be walked: %s", dmem_last_error());
	return survey;
}

static uint64_t known_blocks(struct crash *c)
{
	uint64_t known = 0;

	for (uint32_t i = 0; i < CRASH_BLOCKS_MAX; i++)
		known += atomic_load(&c->blocks[i].address) != 0;
	for (uint32_t i = 0; i < CRASH_SLOTS; i++)
		known += crash_slot(c, i) != NULL;
	return known;
}

static unsigned in_doubt(struct crash *c)
{
	unsigned threads = 0;

	for (unsigned i = 0; i < CRASH_THREADS; i++)
		threads += atomic_load(&c->notes[i].op) != CRASH_NOTHING;
	return threads;
}

void crash_adopt_all(struct crash *c)
{
	if (!survey_adopt_all(crash_pool))
		crash_fail(c, "an orphaned chunk can't be leased");
}

/* --- the parts of the check --- */

static void check_blocks(struct crash *c)
{
	for (uint32_t i = 0; i < CRASH_BLOCKS_MAX; i++) {
		uint64_t address = atomic_load(&c->blocks[i].address);
		uint64_t mark = address * UINT64_C(0x9e3779b97f4a7c15);
		uint64_t bytes = c->blocks[i].bytes;

		if (address == 0)
			continue;
		if (dmem_usable_size((void *)(uintptr_t)address) < bytes)
			crash_fail(c, "block %u of %llu bytes is not alive any more", i, (unsigned long long)bytes);
		else if (memcmp((void *)(uintptr_t)address, &mark, 8) != 0 ||
		         memcmp((char *)(uintptr_t)address + bytes - 8, &mark, 8) != 0)
			crash_fail(c, "block %u of %llu bytes has lost its contents", i, (unsigned long long)bytes);
	}
}

static void check_slots(struct crash *c)
{
	for (uint32_t i = 0; i < CRASH_SLOTS; i++)
		if (crash_slot(c, i) != NULL && dmem_usable_size(crash_slot(c, i)) == 0)
			crash_fail(c, "slot %u holds a block that is not alive", i);
}

static void free_slots(struct crash *c)
{
	for (uint32_t i = 0; i < CRASH_SLOTS; i++)
		if (crash_slot(c, i) != NULL)
			crash_free_from(c, i);
}

static void use_memory(struct crash *c)
{
	static const size_t sizes[] = {16, 100, 3000, 60000, 200000, 900000, 3000000, 9000000};
	uint32_t indexes[3 * DM_ARRAY_LENGTH(sizes)];
	unsigned used = 0;

	for (unsigned round = 0; round < 3; round++)
		for (unsigned i = 0; i < DM_ARRAY_LENGTH(sizes); i++)
			indexes[used++] = crash_alloc(c, sizes[i]);
	check_blocks(c);
	while (used > 0)
		crash_free(c, indexes[--used]);
}

static void use_roots(struct crash *c)
{
	uint32_t index = crash_alloc(c, 64);
	void *object = crash_address(c, index);

	if (dmem_root_set(crash_pool, "survivor", object) != 0 || dmem_root_get(crash_pool, "survivor") != object ||
	    dmem_root_set(crash_pool, "survivor", NULL) != 0 || dmem_root_get(crash_pool, "survivor") != NULL)
		crash_fail(c, "roots can't be used: %s", dmem_last_error());
	crash_free(c, index);
}

static void use_growth(struct crash *c)
{
	struct dmem_pool_info info = {.struct_bytes = sizeof(info)};
	uint64_t free_before;
	int rc = dmem_pool_info(crash_pool, &info);

	free_before = info.free_bytes;
	c->size_bytes = crash_pool->window->devices[0]->size_bytes;
	if (rc == 0)
		rc = dmem_pool_grow(crash_pool, c->size_bytes + 64 * DM_MIB);
	if (rc == 0)
		rc = dmem_pool_info(crash_pool, &info);
	if (rc || info.free_bytes < free_before + 32 * DM_MIB)
		crash_fail(c, "the pool can't grow: %s", rc ? dmem_last_error() : "nothing was added");
}

/* What was in doubt and is there is freed now; gives how many blocks are lost. */
static uint64_t settle_doubts(struct crash *c)
{
	uint64_t live = count(c).blocks;
	uint64_t known = known_blocks(c);
	unsigned doubts = in_doubt(c);

	if (live < known || live > known + doubts)
		crash_fail(c, "%llu blocks are alive, where %llu are known and %u are in doubt", (unsigned long long)live,
		           (unsigned long long)known, doubts);
	for (unsigned i = 0; i < CRASH_THREADS; i++) {
		void *address = (void *)(uintptr_t)atomic_load(&c->notes[i].address);

		if (atomic_load(&c->notes[i].op) == CRASH_FREE && dmem_usable_size(address) > 0) {
			dmem_free(address);
			live--;
		}
	}
	return live - known;
}

static uint64_t heaps_in_use(void)
{
	uint64_t used = 0;

	for (uint32_t i = 1; i < crash_pool->shared->heaps_max; i++)
		used += __atomic_load_n(&crash_pool->shared->heap_owners[i].word, __ATOMIC_ACQUIRE) != 0;
	return used;
}

/* Everybody has left: all is free, but for what holds the `lost` blocks. */
static void check_empty(struct crash *c, uint64_t lost)
{
	struct dmem_pool_info info = {.struct_bytes = sizeof(info)};
	struct survey counts;

	crash_attach(c);
	validate(c, "of the emptied pool");
	counts = count(c);
	if (dmem_pool_info(crash_pool, &info) != 0)
		crash_fail(c, "info: %s", dmem_last_error());
	if (counts.blocks != lost)
		crash_fail(c, "%llu blocks are left in the emptied pool, where %llu were lost", (unsigned long long)counts.blocks,
		           (unsigned long long)lost);
	if (lost == 0 && (counts.extents != 0 || info.leased_bytes != 0))
		crash_fail(c, "the emptied pool has %llu extents in use and %llu bytes leased", (unsigned long long)counts.extents,
		           (unsigned long long)info.leased_bytes);
	if (lost > 0 && info.leased_bytes > lost * (9000000 / info.chunk_bytes + 2) * info.chunk_bytes)
		crash_fail(c, "%llu lost blocks hold %llu bytes", (unsigned long long)lost, (unsigned long long)info.leased_bytes);
	if (heaps_in_use() != 0)
		crash_fail(c, "%llu heap numbers are in use in a pool that nobody allocates from", (unsigned long long)heaps_in_use());
	if (info.members != 1 || info.quarantined != 0)
		crash_fail(c, "%u members and %u quarantined extents", info.members, info.quarantined);
	(void)dmem_pool_detach(crash_pool);
}

void crash_check(struct crash *c)
{
	uint64_t lost;

	if (crash_pool == NULL)
		crash_attach(c);
	if (!crash_wait_for_members(c, 1))
		return;
	validate(c, "after the repair");
	check_blocks(c);
	check_slots(c);
	if (count(c).private_extents != 0)
		crash_fail(c, "private memory of the dead is still there");
	use_memory(c);
	use_roots(c);
	use_growth(c);
	crash_adopt_all(c);
	validate(c, "after the adoption");
	lost = settle_doubts(c);
	check_blocks(c);
	check_slots(c);
	free_slots(c);
	atomic_store(&c->slots, 0);
	for (uint32_t i = 0; i < CRASH_BLOCKS_MAX; i++)
		crash_free(c, i);
	crash_adopt_all(c);
	validate(c, "before the survivor leaves");
	(void)dmem_pool_detach(crash_pool);
	check_empty(c, lost);
}
