/* SPDX-License-Identifier: Apache-2.0 */
/* process.c: the processes of a crash test, and their account of what is alive (crash.h). */
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/arith.h"
#include "crash/crash.h"
#include "lib/arena.h"
#include "lib/scratch.h"

#define PROCESS_SECONDS_MAX 60 /* then SIGALRM ends it, and the test fails */

struct dmem_pool *crash_pool;
enum crash_role crash_self;

void crash_fail(struct crash *c, const char *format, ...)
{
	va_list arguments;

	if (c->failure[0] != '\0')
		return;
	va_start(arguments, format);
	vsnprintf(c->failure, sizeof(c->failure), format, arguments);
	va_end(arguments);
}

struct crash *crash_begin(void)
{
	static unsigned number;
	struct crash *c = mmap(NULL, sizeof(*c), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);

	if (c == MAP_FAILED)
		abort();
	snprintf(c->path, sizeof(c->path), "/dev/shm/dmem-crash-%d-%u", (int)getpid(), number);
	snprintf(c->uri, sizeof(c->uri), "%s:%s", scratch_scheme(), c->path);
	snprintf(c->registry, sizeof(c->registry), "/dev/shm/dmem-crashreg-%d-%u", (int)getpid(), number);
	snprintf(c->extra, sizeof(c->extra), "/dev/shm/dmem-crash-%d-%u.extra", (int)getpid(), number++);
	arena_register(c->registry);
	setenv("DMEM_REGISTRY", c->registry, 1);
	return c;
}

void crash_end(struct crash *c)
{
	crash_remove_pool(c);
	(void)unlink(c->registry);
	munmap(c, sizeof(*c));
}

/* 2 extents a chunk, so that runs of a few megabytes reach over chunks; few tables, so that repairs are quick. */
void crash_new_pool(struct crash *c)
{
	crash_new_pool_of(c, 8 * DM_GIB);
}

void crash_new_pool_of(struct crash *c, uint64_t size_bytes)
{
	char uri[CRASH_PATH_BYTES + 128];

	c->size_bytes = size_bytes;
	c->bystanders = 0;
	c->failure[0] = '\0';
	atomic_store(&c->blocks_used, 0);
	memset(c->blocks, 0, sizeof(c->blocks));
	memset(c->notes, 0, sizeof(c->notes));
	atomic_store(&c->slots, 0);
	memset(&c->partner, 0, sizeof(c->partner));
	sem_init(&c->partner.asked, 1, 0);
	sem_init(&c->partner.answered, 1, 0);
	sem_init(&c->victim_waits, 1, 0);
	sem_init(&c->victim_goes, 1, 0);
	sem_init(&c->heir_waits, 1, 0);
	sem_init(&c->heir_goes, 1, 0);
	snprintf(uri, sizeof(uri), "%s?size=%llu&members=64&beat=10ms&lease=%s%s", c->uri,
	         (unsigned long long)size_bytes, c->lease != NULL ? c->lease : "100ms", scratch_mode_keys());
	if (dmem_pool_create(uri, NULL) != 0)
		crash_fail(c, "create: %s", dmem_last_error());
}

void crash_remove_pool(struct crash *c)
{
	if (access(c->path, F_OK) == 0 && dmem_pool_destroy(c->uri) != 0) {
		crash_fail(c, "destroy: %s", dmem_last_error());
		(void)unlink(c->path);
	}
	(void)unlink(c->extra);
}

void crash_attach(struct crash *c)
{
	int rc = dmem_pool_attach(c->uri, NULL, &crash_pool);

	if (rc == 0)
		return;
	crash_fail(c, "attach: %s", dmem_last_error());
	_exit(1);
}

/* --- blocks --- */

/* Both ends of a block carry its address: what was given to somebody else meanwhile shows. */
static void sign(void *block, size_t bytes)
{
	uint64_t mark = (uint64_t)(uintptr_t)block * UINT64_C(0x9e3779b97f4a7c15);

	memcpy(block, &mark, sizeof(mark));
	memcpy((char *)block + bytes - sizeof(mark), &mark, sizeof(mark));
}

uint32_t crash_alloc_as(struct crash *c, enum crash_role role, size_t bytes, size_t alignment)
{
	struct dmem_alloc_options options = DMEM_ALLOC_OPTIONS_DEFAULT;
	struct crash_note *note = &c->notes[role];
	uint32_t index = atomic_fetch_add(&c->blocks_used, 1);
	void *block;

	options.alignment_bytes = alignment;
	if (index >= CRASH_BLOCKS_MAX) {
		crash_fail(c, "the life allocates more blocks than the account holds");
		_exit(1);
	}
	atomic_store(&note->address, 0);
	atomic_store(&note->op, CRASH_ALLOC);
	block = dmem_alloc_ex(crash_pool, bytes, &options);
	if (block == NULL) {
		crash_fail(c, "allocation of %zu bytes: %s", bytes, dmem_last_error());
		_exit(1);
	}
	atomic_store(&note->address, (uint64_t)(uintptr_t)block);
	sign(block, bytes);
	c->blocks[index].bytes = bytes;
	atomic_store(&c->blocks[index].address, (uint64_t)(uintptr_t)block);
	atomic_store(&note->op, CRASH_NOTHING);
	return index;
}

uint32_t crash_alloc(struct crash *c, size_t bytes)
{
	return crash_alloc_as(c, crash_self, bytes, 0);
}

void crash_free_as(struct crash *c, enum crash_role role, uint32_t index)
{
	struct crash_note *note = &c->notes[role];
	uint64_t address = atomic_load(&c->blocks[index].address);

	if (address == 0)
		return;
	atomic_store(&note->address, address);
	atomic_store(&note->op, CRASH_FREE);
	atomic_store(&c->blocks[index].address, 0);
	dmem_free((void *)(uintptr_t)address);
	atomic_store(&note->op, CRASH_NOTHING);
}

void crash_free(struct crash *c, uint32_t index)
{
	crash_free_as(c, crash_self, index);
}

void *crash_address(struct crash *c, uint32_t index)
{
	return (void *)(uintptr_t)atomic_load(&c->blocks[index].address);
}

/* --- slots --- */

/* Between the marks that both ends of a block of the account carry. */
void crash_open_slots(struct crash *c)
{
	void **slots = (void **)crash_address(c, crash_alloc(c, (CRASH_SLOTS + 16) * sizeof(void *))) + 8;

	memset(slots, 0, CRASH_SLOTS * sizeof(void *));
	if (dmem_publish(slots, CRASH_SLOTS * sizeof(void *)) != 0)
		crash_fail(c, "slots: %s", dmem_last_error());
	atomic_store(&c->slots, (uint64_t)(uintptr_t)slots);
}

static void **slot_at(struct crash *c, uint32_t slot)
{
	return (void **)(uintptr_t)atomic_load(&c->slots) + slot;
}

void crash_alloc_to(struct crash *c, uint32_t slot, size_t bytes)
{
	if (dmem_alloc_shared_to(slot_at(c, slot), bytes) != 0)
		crash_fail(c, "allocation of %zu bytes to slot %u: %s", bytes, slot, dmem_last_error());
}

void crash_free_from(struct crash *c, uint32_t slot)
{
	if (dmem_free_from(slot_at(c, slot)) != 0)
		crash_fail(c, "free from slot %u: %s", slot, dmem_last_error());
}

void *crash_slot(struct crash *c, uint32_t slot)
{
	if (atomic_load(&c->slots) == 0)
		return NULL;
	if (dmem_refresh(slot_at(c, slot), sizeof(void *)) != 0)
		crash_fail(c, "slot %u: %s", slot, dmem_last_error());
	return *slot_at(c, slot);
}

/* --- processes --- */

static unsigned long passages_before[DM_FAULT_COUNT];

static void start_counting(void)
{
	for (int i = 0; i < DM_FAULT_COUNT; i++)
		passages_before[i] = dm_fault_passages((enum dm_fault_id)i);
}

static void note_passages(struct crash *c)
{
	for (int i = 0; i < DM_FAULT_COUNT; i++)
		c->passages[i] = dm_fault_passages((enum dm_fault_id)i) - passages_before[i];
}

static void become(enum crash_role role)
{
	crash_self = role;
	crash_pool = NULL;
	alarm(PROCESS_SECONDS_MAX);
	start_counting();
}

pid_t crash_fork(struct crash *c, enum crash_role role, crash_life life)
{
	pid_t pid = fork();

	if (pid != 0)
		return pid;
	become(role);
	life(c);
	if (role == CRASH_VICTIM)
		note_passages(c);
	_exit(c->failure[0] != '\0');
}

pid_t crash_fork_armed(struct crash *c, crash_life life, enum dm_fault_id point, unsigned countdown)
{
	pid_t pid = fork();

	if (pid != 0)
		return pid;
	become(CRASH_VICTIM);
	dm_fault_arm(point, DM_FAULT_KILL, countdown);
	life(c);
	_exit(c->failure[0] != '\0');
}

int crash_wait(pid_t pid)
{
	int status;

	if (pid < 0 || waitpid(pid, &status, 0) != pid)
		return 255;
	return WIFSIGNALED(status) ? -WTERMSIG(status) : WEXITSTATUS(status);
}

/* --- the partner --- */

/* The victim is stopped and can't collect what is freed of it now; so its recoverer has to. */
static void arm_and_take_over(struct crash *c)
{
	crash_free_late(c);
	start_counting();
	if (c->partner.countdown > 0)
		dm_fault_arm(c->partner.point, DM_FAULT_KILL, c->partner.countdown);
	sem_post(&c->partner.answered);
	crash_take_over(c);
	note_passages(c);
	_exit(c->failure[0] != '\0');
}

static void serve(struct crash *c)
{
	crash_attach(c);
	sem_post(&c->partner.answered);
	for (;;) {
		while (sem_wait(&c->partner.asked) != 0)
			continue;
		switch (c->partner.request) {
		case CRASH_REQUEST_FREE:
			crash_free(c, (uint32_t)c->partner.argument);
			break;
		case CRASH_REQUEST_ALLOC:
			c->partner.argument = crash_alloc(c, c->partner.argument);
			break;
		case CRASH_REQUEST_ARM:
			arm_and_take_over(c);
			break;
		case CRASH_REQUEST_CHECK:
			crash_check(c);
			sem_post(&c->partner.answered);
			return;
		}
		sem_post(&c->partner.answered);
	}
}

pid_t crash_fork_partner(struct crash *c)
{
	pid_t pid = crash_fork(c, CRASH_PARTNER, serve);

	while (sem_wait(&c->partner.answered) != 0)
		continue;
	c->partner.pid = pid;
	return pid;
}

uint64_t crash_ask(struct crash *c, enum crash_request request, uint64_t argument)
{
	if (c->partner.pid == 0)
		return 0;
	c->partner.request = request;
	c->partner.argument = argument;
	sem_post(&c->partner.asked);
	while (sem_wait(&c->partner.answered) != 0)
		continue;
	return c->partner.argument;
}

static void wait_and_check(struct crash *c)
{
	crash_attach(c);
	sem_post(&c->heir_waits);
	while (sem_wait(&c->heir_goes) != 0)
		continue;
	crash_check(c);
}

pid_t crash_fork_heir_that_waits(struct crash *c)
{
	pid_t pid = crash_fork(c, CRASH_HEIR, wait_and_check);

	while (sem_wait(&c->heir_waits) != 0)
		continue;
	return pid;
}
