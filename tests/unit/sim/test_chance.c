/* SPDX-License-Identifier: Apache-2.0 */
/* test_chance.c: lines that move by themselves: that they do, when, and that no store is lost in it. */
#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/arith.h"
#include "base/stop.h"
#include "dmem/error.h"
#include "lib/child.h"
#include "transport/sim/sim.h"

#define UNIT (2 * DM_MIB)
#define LINE 64

static struct dm_uri uri;

static void set_up(void)
{
	dm_stop_take_part(); /* Criterion blocks all signals, and threads inherit that */
	memset(&uri, 0, sizeof(uri));
	strcpy(uri.scheme, "sim");
	snprintf(uri.path, sizeof(uri.path), "/dev/shm/dmem-chance-%d", (int)getpid());
}

static void tear_down(void)
{
	unlink(uri.path);
}

TestSuite(sim_chance, .init = set_up, .fini = tear_down, .timeout = 280);

static struct dm_device *make(const char *seed, const char *rate)
{
	struct dm_device *device = NULL;

	setenv("DMEM_SIM_SEED", seed, 1);
	setenv("DMEM_SIM_RATE", rate, 1);
	if (dm_transport_create(&uri, UNIT, 0600, &device) != 0 || device->transport->region.commit(device) != 0)
		abort();
	return device;
}

static char *map(struct dm_device *device)
{
	char *range = mmap(NULL, 2 * UNIT, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	uint64_t start;

	if (range == MAP_FAILED || !dm_align_up((uintptr_t)range, UNIT, &start) ||
	    device->transport->region.map(device, 0, UNIT, (char *)(uintptr_t)start) != 0)
		abort();
	return (char *)(uintptr_t)start;
}

/* Dirty lines beside one that operations are about: which of them came out is a picture of all random numbers. */
static uint64_t picture(const char *seed, const char *rate)
{
	struct dm_device *device = make(seed, rate);
	char *at = map(device);
	uint64_t lines = 0;

	for (unsigned i = 1; i < 64; i++)
		at[i * LINE] = 1;
	for (unsigned i = 0; i < 40; i++)
		if (device->transport->data.publish(device, 0, at, 1) != 0)
			abort();
	for (unsigned i = 1; i < 64; i++) {
		char byte;

		if (device->transport->data.read(device, i * LINE, &byte, 1) != 0)
			abort();
		lines |= (uint64_t)byte << i;
	}
	device->transport->region.close(device);
	unlink(uri.path);
	return lines;
}

static int picture_of_seed(void *argument)
{
	uint64_t *result = argument;

	*result = picture(*result == 1 ? "1" : "2", "16");
	return 0;
}

static uint64_t picture_in_child(uint64_t seed)
{
	uint64_t *result = child_shared(sizeof(*result));

	*result = seed;
	cr_assert(zero(int, child_run(picture_of_seed, result)));
	return *result;
}

Test(sim_chance, the_same_seed_does_the_same_and_another_one_something_else)
{
	uint64_t first = picture_in_child(1);

	cr_expect(ne(u64, first, 0), "no line was written back");
	cr_expect(ne(u64, first, UINT64_MAX - 1), "all lines were written back");
	cr_expect(eq(u64, picture_in_child(1), first));
	cr_expect(ne(u64, picture_in_child(2), first));
}

Test(sim_chance, nothing_moves_at_rate_zero)
{
	cr_expect(eq(u64, picture("1", "0"), 0));
}

Test(sim_chance, numbers_that_are_none_are_refused)
{
	static const char *const texts[] = {"x", "-1", "1x", "99999999999999999999999"};

	for (size_t i = 0; i < DM_ARRAY_LENGTH(texts); i++) {
		struct dm_device *device = NULL;

		setenv("DMEM_SIM_RATE", texts[i], 1);
		cr_expect(eq(int, dm_transport_create(&uri, UNIT, 0600, &device), DMEM_E_OPTION), "%s", texts[i]);
		cr_expect(ne(ptr, strstr(dmem_last_error(), "DMEM_SIM_RATE"), NULL));
	}
}

/* --- stores of other threads --- */

static struct dm_device *shared_device;
static char *shared_at;
static _Atomic bool done;

/* Two words of one line that are stored one after the other: the first is never behind the second by more than that. */
static void *store_pairs(void *argument)
{
	volatile uint64_t *line = argument;

	for (uint64_t i = 1; !done; i++) {
		line[0] = i;
		line[7] = i;
		if (line[0] != i || line[7] != i)
			return argument; /* a store was lost */
	}
	return NULL;
}

Test(sim_chance, no_line_is_torn_and_no_store_lost_while_threads_store)
{
	struct dm_sim_counts counts;
	pthread_t threads[2];
	void *lost[2];

	shared_device = make("3", "1");
	shared_at = map(shared_device);
	for (unsigned i = 0; i < 2; i++)
		cr_assert(zero(int, pthread_create(&threads[i], NULL, store_pairs, shared_at + (i + 1) * LINE)));
	for (unsigned i = 0; i < 300; i++) {
		uint64_t line[8];

		cr_assert(zero(int, shared_device->transport->data.publish(shared_device, 0, shared_at, 1)));
		for (unsigned of = 1; of < 3; of++) {
			cr_assert(zero(int, shared_device->transport->data.read(shared_device, of * LINE, line, LINE)));
			cr_assert(line[0] == line[7] || line[0] == line[7] + 1, "line %u was torn", of);
		}
	}
	done = true;
	for (unsigned i = 0; i < 2; i++) {
		cr_assert(zero(int, pthread_join(threads[i], &lost[i])));
		cr_expect(zero(ptr, lost[i]));
	}
	dm_sim_count(&counts);
	cr_expect(gt(u64, counts.written_back, 20), "%llu disturbances, %llu stops failed", (unsigned long long)counts.disturbances,
	          (unsigned long long)counts.stops_failed);
	shared_device->transport->region.close(shared_device);
}

/* --- atomic words --- */

Test(sim_chance, a_plain_publish_of_a_line_with_an_atomic_word_is_counted_and_not_carried_out)
{
	struct dm_device *device = make("1", "0");
	const struct dm_data_ops *data = &device->transport->data;
	struct dm_sim_counts before;
	struct dm_sim_counts after;
	char *at = map(device);
	uint64_t value = 0;

	dm_sim_count(&before);
	cr_assert(zero(int, data->store(device, LINE, at + LINE, 8, 77)));
	memset(at, 1, 3 * LINE);
	cr_assert(zero(int, data->publish(device, 0, at, 3 * LINE)));
	cr_assert(zero(int, data->load(device, LINE, at + LINE, 8, &value)));
	cr_expect(eq(u64, value, 77));
	dm_sim_count(&after);
	cr_expect(gt(u64, after.violations, before.violations));
	cr_assert(zero(int, data->read(device, 2 * LINE, &value, 8)));
	cr_expect(eq(u64, value, UINT64_C(0x0101010101010101)), "its neighbours are published");
	device->transport->region.close(device);
}

/* --- stopping --- */

static _Atomic uint64_t spins;

static void *spin(void *argument)
{
	(void)argument;
	while (!done)
		spins++;
	return NULL;
}

Test(sim_chance, stopped_threads_do_not_run_and_go_on_afterwards)
{
	pthread_t thread;
	uint64_t seen;

	cr_assert(zero(int, pthread_create(&thread, NULL, spin, NULL)));
	for (unsigned i = 0; i < 100; i++) {
		/* a thread of Criterion's blocks the signal, and runs now and then */
		for (unsigned tries = 0; dm_stop_others() != 0; tries++) {
			cr_assert(lt(u32, tries, 1000));
			usleep(1000);
		}
		seen = spins;
		for (volatile unsigned wait = 0; wait < 100000; wait++)
			;
		cr_expect(eq(u64, spins, seen));
		dm_stop_release();
		while (spins == seen)
			usleep(100);
	}
	done = true;
	pthread_join(thread, NULL);
}
