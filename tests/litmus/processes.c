/* SPDX-License-Identifier: Apache-2.0 */
/* processes.c: shapes in which members come and go: clauses M6, M10, F4, F6 and D1.  Few runs: each makes a member. */
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include "lib/scratch.h"
#include "litmus/litmus.h"

/*
 * The data lies in another page than the flags: waiting for a member to come or go is long, and lines of the page that is
 * looked at move meanwhile, as if they were refreshed.
 */
enum { DATA = 64, OTHER = 68, FLAG = 16, BACK = 17 };
#define FLAGS (LINE_BIT(FLAG) | LINE_BIT(BACK))

static void attach_again(struct litmus_run *run)
{
	MUST(dmem_pool_detach(run->pool));
	run->pool = scratch_attach(run->name);
}

/* --- detaching publishes what the member stored --- */

static void detach_writer(struct litmus_run *run)
{
	line_of(run, DATA)[0] = run->value;
	line_of(run, OTHER)[5] = run->value;
	if (!left_out(run, PUBLISH))
		attach_again(run);
	set_flag(word_of(run, FLAG), run->value);
}

static void detach_reader(struct litmus_run *run)
{
	await_flag(word_of(run, FLAG), run->value);
	step_refresh(run, line_of(run, DATA), LITMUS_LINE);
	step_refresh(run, line_of(run, OTHER), LITMUS_LINE);
	run->seen[0] = line_of(run, DATA)[0] == run->value ? line_of(run, OTHER)[5] : line_of(run, DATA)[0];
}

/* --- a new member needs no refresh: here the attach is what a refresh is elsewhere --- */

static void attach_writer(struct litmus_run *run)
{
	line_of(run, DATA)[0] = run->value;
	step_publish(run, line_of(run, DATA), 8);
	set_flag(word_of(run, FLAG), run->value);
}

static void attach_reader(struct litmus_run *run)
{
	await_flag(word_of(run, FLAG), run->value);
	if (!left_out(run, REFRESH))
		attach_again(run);
	run->seen[0] = line_of(run, DATA)[0];
}

/* --- a child of fork() sees its parent's stores, published or not, joins by its first call, and publishes its own --- */

static void start_child(struct litmus_run *run, void (*body)(struct litmus_run *run))
{
	pid_t pid = fork();
	int status = 0;

	MUST(pid);
	if (pid == 0) {
		body(run);
		MUST(dmem_pool_detach(run->pool));
		_exit(0);
	}
	if (waitpid(pid, &status, 0) != pid || (WIFEXITED(status) && WEXITSTATUS(status) != 0))
		MUST(-1);
}

static void child_of_fork(struct litmus_run *run)
{
	run->seen[0] = line_of(run, OTHER)[0]; /* read before it is a member */
	refresh(line_of(run, DATA), 8);        /* the first call: it joins, and becomes the writer of the line */
	line_of(run, DATA)[0] = run->value;
	step_publish(run, line_of(run, DATA), 8);
	set_flag(word_of(run, FLAG), run->value);
	await_flag(word_of(run, BACK), run->value);
}

static void fork_writer(struct litmus_run *run)
{
	line_of(run, OTHER)[0] = run->value; /* not published */
	start_child(run, child_of_fork);
}

static void fork_reader(struct litmus_run *run)
{
	await_flag(word_of(run, FLAG), run->value);
	step_refresh(run, line_of(run, DATA), 8);
	run->seen[0] = line_of(run, DATA)[0];
	set_flag(word_of(run, BACK), run->value);
}

/* --- a child uses and frees a block of its parent's --- */

static void child_that_frees(struct litmus_run *run)
{
	volatile uint64_t *block = (volatile uint64_t *)(uintptr_t)line_of(run, DATA)[0];

	refresh(block, 64);
	run->seen[0] = block[0];
	block[1] = run->value;
	step_publish(run, block, 64);
	tell_block(word_of(run, FLAG), (const void *)(uintptr_t)block);
	await_flag(word_of(run, BACK), run->value);
	dmem_free((void *)(uintptr_t)block);
}

static void block_writer(struct litmus_run *run)
{
	uint64_t *block = MUST_HAVE(dmem_alloc_ex(run->pool, 64, NULL));

	*(volatile uint64_t *)block = run->value;
	publish(block, 64);
	line_of(run, DATA)[0] = (uint64_t)(uintptr_t)block; /* for the child alone */
	start_child(run, child_that_frees);
}

static void block_reader(struct litmus_run *run)
{
	volatile uint64_t *block = await_block(word_of(run, FLAG));

	step_refresh(run, block, 64);
	run->seen[0] = block[0] == run->value ? block[1] : block[0];
	set_flag(word_of(run, BACK), run->value);
}

/* --- what a killed member had published stays --- */

static void child_that_dies(struct litmus_run *run)
{
	refresh(line_of(run, DATA), 8);
	line_of(run, DATA)[0] = run->value;
	step_publish(run, line_of(run, DATA), 8);
	kill(getpid(), SIGKILL);
}

static void death_writer(struct litmus_run *run)
{
	start_child(run, child_that_dies);
	set_flag(word_of(run, FLAG), run->value);
}

static void death_reader(struct litmus_run *run)
{
	await_flag(word_of(run, FLAG), run->value);
	step_refresh(run, line_of(run, DATA), 8);
	run->seen[0] = line_of(run, DATA)[0];
}

const struct litmus_shape litmus_processes[] = {
	{"M6", "detaching_publishes", detach_writer, detach_reader, reader_is_stale, PUBLISH | REFRESH, FLAGS, 20},
	{"M10", "attaching_refreshes", attach_writer, attach_reader, reader_is_stale, PUBLISH | REFRESH, FLAGS, 20},
	{"F4", "the_child_sees_and_publishes", fork_writer, fork_reader, either_is_stale, PUBLISH | REFRESH, FLAGS, 20},
	{"F6", "the_child_frees_its_parents_block", block_writer, block_reader, either_is_stale, PUBLISH | REFRESH, FLAGS, 20},
	{"D1", "published_and_killed", death_writer, death_reader, reader_is_stale, PUBLISH | REFRESH, FLAGS, 40},
	{0},
};
