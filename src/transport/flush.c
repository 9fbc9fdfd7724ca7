/* SPDX-License-Identifier: Apache-2.0 */
/*
 * flush.c: see flush.h.
 *
 * Where clwb is missing, publishing drops the line as well; it is then read again from memory, which costs time only.
 * clflush is ordered with stores and with itself, so sfence is not needed behind it, but it costs next to nothing there.
 *
 * Sources: Intel SDM vol. 1 section 11.4.4 and vol. 2 (CPUID leaf 7: CLFLUSHOPT is EBX bit 23, CLWB is EBX bit 24); AMD APM
 * vol. 3; Linux arch/x86/include/asm/special_insns.h.
 */
#include "transport/flush.h"

#include <errno.h>
#include <pthread.h>
#include <string.h>
#if defined(__x86_64__)
#include <cpuid.h>
#endif

#include "base/arith.h"
#include "base/error.h"
#include "base/fence.h"

enum way { WAY_WRITE_BACK, WAY_DROP, WAY_DROP_IN_ORDER };

#if defined(__x86_64__)
static const char *const way_names[] = {"clwb", "clflushopt", "clflush"};
#else
static const char *const way_names[] = {"dc", "dc", "dc"};
#endif

static enum way way;      /* of this process, constant once it is chosen */
static enum way best_way; /* of the processor */
static pthread_once_t way_once = PTHREAD_ONCE_INIT;

static void choose_way(void)
{
#if defined(__x86_64__)
	unsigned eax, ebx, ecx, edx;

	best_way = WAY_DROP_IN_ORDER;
	if (__get_cpuid_count(7, 0, &eax, &ebx, &ecx, &edx) != 0)
		best_way = (ebx & bit_CLWB) != 0 ? WAY_WRITE_BACK : (ebx & bit_CLFLUSHOPT) != 0 ? WAY_DROP : WAY_DROP_IN_ORDER;
#else
	best_way = WAY_WRITE_BACK;
#endif
	way = best_way;
}

/* Call `instruction` for each line that the range touches; gives how many. */
#define EACH_LINE(instruction)                \
	for (; line < end; line += DM_LINE_BYTES) \
	instruction((const void *)line)

static uint64_t flush_lines(enum way with, const void *address, size_t bytes)
{
	uintptr_t line = (uintptr_t)dm_align_down((uintptr_t)address, DM_LINE_BYTES);
	uintptr_t end = (uintptr_t)address + bytes;
	uint64_t lines = (end - line + DM_LINE_BYTES - 1) / DM_LINE_BYTES;

	switch (with) {
	case WAY_WRITE_BACK:
		EACH_LINE(dm_line_write_back);
		break;
	case WAY_DROP:
		EACH_LINE(dm_line_drop);
		break;
	case WAY_DROP_IN_ORDER:
		EACH_LINE(dm_line_drop_in_order);
		break;
	}
	return lines;
}

static void add(_Atomic uint64_t *counter, uint64_t more)
{
	atomic_fetch_add_explicit(counter, more, memory_order_relaxed);
}

/* Every processor that has clwb has clflushopt. */
static enum way dropping_way(void)
{
	return way == WAY_WRITE_BACK ? WAY_DROP : way;
}

void dm_flush_publish(struct dm_flush_count *count, const void *address, size_t bytes)
{
	uint64_t lines;

	pthread_once(&way_once, choose_way);
	if (bytes == 0)
		return;
	lines = flush_lines(way, address, bytes);
	dm_fence_lines_written();
	if (count != NULL) {
		add(way == WAY_WRITE_BACK ? &count->written : &count->dropped, lines);
		add(&count->fences_written, 1);
	}
}

void dm_flush_refresh(struct dm_flush_count *count, const void *address, size_t bytes)
{
	uint64_t lines;

	pthread_once(&way_once, choose_way);
	if (bytes == 0)
		return;
	lines = flush_lines(dropping_way(), address, bytes);
	dm_fence_lines_dropped();
	if (count != NULL) {
		add(&count->dropped, lines);
		add(&count->fences_dropped, 1);
	}
}

void dm_flush_handoff(struct dm_flush_count *count, const void *address, size_t bytes)
{
	uint64_t lines;

	pthread_once(&way_once, choose_way);
	if (bytes == 0)
		return;
	lines = flush_lines(dropping_way(), address, bytes);
	dm_fence_lines_written();
	if (count != NULL) {
		add(&count->dropped, lines);
		add(&count->fences_written, 1);
	}
}

const char *dm_flush_instruction(void)
{
	pthread_once(&way_once, choose_way);
	return way_names[way];
}

int dm_flush_pretend(const char *instruction)
{
	pthread_once(&way_once, choose_way);
	for (size_t i = best_way; i < DM_ARRAY_LENGTH(way_names); i++) {
		if (strcmp(way_names[i], instruction) == 0) {
			way = (enum way)i;
			return 0;
		}
	}
	return dm_fail(-EINVAL, "this processor has no instruction \"%s\" for lines of its cache", instruction);
}
