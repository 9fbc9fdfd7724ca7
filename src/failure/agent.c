/* SPDX-License-Identifier: Apache-2.0 */
/*
 * agent.c: the thread that every member has: it beats, answers for new segments, and watches one other member.
 *
 * The members of one host and pid namespace form a ring in the order of their slots.  Each watches the next one through its
 * pidfd, so a death is noticed at once, by exactly one, and watching costs the same however many members there are.  When
 * the next one has died, it is recovered and the one after it is watched.  The ring is looked at again on every beat,
 * because members join.  A chain of deaths therefore unwinds from one survivor, and a pool all of whose members died is put
 * right by the next to attach.
 *
 * The agent does not wait for other members: a repair is bounded work, and takes locks that live threads of this process hold
 * briefly.  (One exception, after a table full of dead members was repaired by somebody without a slot who died too: then
 * the administration lock is asked for, which has a time limit.)
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/error.h"
#include "base/stop.h"
#include "failure/members.h"

#define AGENT_STACK_BYTES (256u * 1024u)

/* A program may close descriptors that it did not open, and have files of its own under their numbers by now: nothing is read,
 * written or closed here before it was recognised. */
static bool is_our_pipe(const struct dm_members *members, int fd)
{
	struct stat status;

	return fstat(fd, &status) == 0 && S_ISFIFO(status.st_mode) && status.st_ino == members->agent_wake_inode;
}

int dm_agent_open_pipe(struct dm_members *members)
{
	struct stat status;

	if (pipe2(members->agent_wake, O_CLOEXEC | O_NONBLOCK) != 0)
		return -errno;
	for (unsigned i = 0; i < 2; i++) {
		int high = fcntl(members->agent_wake[i], F_DUPFD_CLOEXEC, 512); /* out of the program's way */

		if (high < 0)
			continue;
		close(members->agent_wake[i]);
		members->agent_wake[i] = high;
	}
	if (fstat(members->agent_wake[0], &status) == 0)
		members->agent_wake_inode = status.st_ino;
	return 0;
}

void dm_agent_close(struct dm_members *members)
{
	for (unsigned i = 0; i < 2; i++)
		if (is_our_pipe(members, members->agent_wake[i]))
			close(members->agent_wake[i]);
	if (dm_host_is_pidfd(members->watched_pidfd, members->watched_pid))
		close(members->watched_pidfd);
}

static void stop_watching(struct dm_members *members)
{
	if (dm_host_is_pidfd(members->watched_pidfd, members->watched_pid))
		close(members->watched_pidfd);
	members->watched_pidfd = -1;
	members->watched_slot = DM_NO_SLOT;
}

static void free_joiner(struct dm_members *members, const struct dm_member_view *view)
{
	uint64_t freed = dm_member_word(DM_MEMBER_FREE, DM_NO_SLOT, view->incarnation);
	uint64_t seen;

	if (dm_word_cas(members->window, &members->table[view->slot].state.word, view->word, freed, &seen) == 0 &&
	    seen == view->word)
		dm_log(DMEM_LOG_INFO, "member slot %u was taken by a joiner that did not go on; it is free again", view->slot);
}

/* Is the joiner that this entry is about still there? */
static bool is_stuck(struct dm_members *members, const struct dm_stuck_joiner *stuck)
{
	uint64_t word;

	return dm_word_load(members->window, &members->table[stuck->slot].state.word, &word) == 0 && word == stuck->word;
}

/* A joiner that died between taking a slot and saying who it is has no pid to look at.  When its slot has not changed for a
 * lease, counted in our own beats, it is given back: it can't have done anything yet.  Many can die at a time: slots that
 * share an entry take turns. */
static void look_at_joiner(struct dm_members *members, const struct dm_member_view *view)
{
	struct dm_stuck_joiner *stuck = &members->stuck[view->slot % DM_STUCK_JOINERS];
	uint64_t beats = members->table[members->slot].beat.beats;

	if (dm_members_alive(view) == 0) {
		free_joiner(members, view);
		return;
	}
	if (stuck->word != view->word || stuck->slot != view->slot) {
		if (stuck->word == 0 || stuck->slot == view->slot || !is_stuck(members, stuck))
			*stuck = (struct dm_stuck_joiner){.word = view->word, .slot = view->slot, .since_beat = beats};
		return;
	}
	if (beats - stuck->since_beat <= members->lease_ms / members->beat_ms)
		return;
	free_joiner(members, view);
	stuck->word = 0;
}

/* True: this is the member to watch, the ring needs no further look. */
static bool look_at_member(struct dm_members *members, const struct dm_member_view *view)
{
	int fd;

	if (view->state == DM_MEMBER_JOINING)
		look_at_joiner(members, view);
	if (view->state == DM_MEMBER_DEAD || view->state == DM_MEMBER_RECOVERING) {
		unsigned recovered;

		(void)dm_members_recover_gone(members, &recovered);
		return false;
	}
	if (view->state == DM_MEMBER_FENCED && view->same_host && dm_members_alive(view) == 0)
		(void)dm_members_recover(members, view->slot, view->word);
	if ((view->state != DM_MEMBER_LIVE && view->state != DM_MEMBER_LEAVING) || !view->same_host)
		return false;
	/* its end wakes us; an exec() of its does not, and is looked for once a lease, because that costs several system calls */
	if (members->watched_slot == view->slot && members->watched_incarnation == view->incarnation &&
	    (members->beats_on_time % dm_members_lease_beats(members) != 0 || dm_members_alive(view) != 0))
		return true;
	fd = dm_members_alive(view) == 0 ? -ESRCH : dm_host_open_process(view->identity.pid, view->identity.start_ticks);
	if (fd == -ESRCH) {
		if (dm_members_recover(members, view->slot, view->word) != 0)
			dm_log(DMEM_LOG_WARNING, "member %u could not be recovered yet: %s", view->slot, dmem_last_error());
		return false;
	}
	stop_watching(members);
	members->watched_slot = view->slot;
	members->watched_incarnation = view->incarnation;
	members->watched_pid = view->identity.pid;
	members->watched_pidfd = fd; /* negative, when no pidfd can be had: then every beat looks again */
	if (fd < 0) {
		members->watched_slot = DM_NO_SLOT;
		return dm_members_alive(view) != 0;
	}
	return true;
}

static void look_around(struct dm_members *members)
{
	uint32_t start = members->slot;
	uint32_t slot = start;

	for (uint32_t steps = 0; steps <= members->slots_max; steps++) {
		struct dm_member_view view;

		slot = dm_members_next_used(members, slot);
		if (slot == DM_NO_SLOT)
			slot = dm_members_next_used(members, DM_NO_SLOT);
		if (slot == DM_NO_SLOT || slot == start)
			break;
		if (dm_members_view(members, slot, &view) == 0 && look_at_member(members, &view))
			return;
	}
	stop_watching(members); /* alone */
}

static void follow_growth(struct dm_members *members)
{
	struct dm_member_beat_pm *beat = &members->table[members->slot].beat;
	uint64_t sequence;

	if (dm_word_load(members->window, &members->admin->sequence, &sequence) != 0 || sequence <= beat->sequence_mapped)
		return;
	if (dm_window_reload(members->window, &sequence) != 0) {
		dm_log(DMEM_LOG_ERROR, "new memory of the pool can't be mapped here: %s", dmem_last_error());
		return;
	}
	/* pairs with the refresh in dm_members_view() of the one who waits */
	__atomic_store_n(&beat->sequence_mapped, sequence, __ATOMIC_RELEASE);
}

static void make_beat(struct dm_members *members)
{
	struct dm_member_beat_pm *beat = &members->table[members->slot].beat;

	follow_growth(members);
	__atomic_store_n(&beat->beats, beat->beats + 1, __ATOMIC_RELEASE);
	if (dm_window_publish(members->window, beat, sizeof(*beat)) != 0 ||
	    (beat->beats % 8 == 0 && dm_members_set_used(members, members->slot, true) != 0))
		dm_log(DMEM_LOG_ERROR, "the heartbeat could not be written: %s", dmem_last_error());
	dm_members_follow_deaths(members);
	if (!atomic_load_explicit(&members->window->lost, memory_order_relaxed))
		(void)dm_window_probe(members->window);
}

static void drain_pipe(struct dm_members *members)
{
	char bytes[64];

	if (is_our_pipe(members, members->agent_wake[0]) && read(members->agent_wake[0], bytes, sizeof(bytes)) < 0 &&
	    errno != EAGAIN)
		dm_log(DMEM_LOG_WARNING, "the agent's pipe failed: %s", strerror(errno));
}

static void sleep_until(struct dm_members *members, uint64_t wake_ns)
{
	struct pollfd polled[2] = {
		{.fd = is_our_pipe(members, members->agent_wake[0]) ? members->agent_wake[0] : -1, .events = POLLIN},
		{.fd = members->watched_pidfd, .events = POLLIN}};
	uint64_t now_ns = dm_clock_now_ns();
	struct timespec left = {0};

	if (now_ns < wake_ns) {
		left.tv_sec = (time_t)((wake_ns - now_ns) / DM_NS_PER_S);
		left.tv_nsec = (long)((wake_ns - now_ns) % DM_NS_PER_S);
	}
	if (ppoll(polled, 2, &left, NULL) <= 0)
		return;
	if (polled[0].revents)
		drain_pipe(members);
	if (polled[1].revents) {
		bool ours = dm_host_is_pidfd(members->watched_pidfd, members->watched_pid);

		stop_watching(members); /* the next look finds it gone, and recovers it */
		if (!ours)              /* or it opens another pidfd, but not at once again and again */
			dm_clock_sleep_ns(DM_NS_PER_MS);
	}
}

void dm_members_keep_beating(struct dm_members *members)
{
	uint64_t now_ns = dm_clock_now_ns();

	if (!members->agent_runs || !pthread_equal(pthread_self(), members->agent) || now_ns < members->next_beat_ns ||
	    dm_members_self(members) != 0)
		return;
	make_beat(members);
	members->next_beat_ns = now_ns + members->beat_ms * DM_NS_PER_MS;
}

/* One beat and what goes with it.  The first thing is whether the others have gone on without us: a host that was away, and whose
 * members nobody could cut off, does so itself. */
static void beat_and_watch(struct dm_members *members, uint64_t now_ns)
{
	uint64_t late_ns = now_ns - members->next_beat_ns;

	members->next_beat_ns = now_ns + members->beat_ms * DM_NS_PER_MS;
	if (dm_members_self(members) == DMEM_E_FENCED) {
		dm_members_wake_sleepers(members); /* who sleeps on something that will not come */
		return;
	}
	make_beat(members);
	if (!atomic_load_explicit(&members->window->lost, memory_order_relaxed))
		dm_members_watch(members, late_ns);
	for (unsigned i = 0; i < members->beat_task_count; i++)
		members->beat_tasks[i].task(members->beat_tasks[i].context);
}

static void *agent_main(void *argument)
{
	struct dm_members *members = argument;

	pthread_setname_np(pthread_self(), "dmem-agent");
	members->next_beat_ns = dm_clock_now_ns();
	__atomic_store_n(&members->table[members->slot].beat.agent_tid, (uint64_t)gettid(), __ATOMIC_RELEASE);
	while (!atomic_load_explicit(&members->agent_stop, memory_order_acquire)) {
		uint64_t now_ns = dm_clock_now_ns();

		if (now_ns >= members->next_beat_ns)
			beat_and_watch(members, now_ns);
		if (!atomic_load_explicit(&members->window->lost, memory_order_relaxed) &&
		    atomic_load_explicit(&members->window->cut, memory_order_relaxed) == DM_WINDOW_WHOLE)
			look_around(members);
		sleep_until(members, members->next_beat_ns);
	}
	stop_watching(members);
	return NULL;
}

int dm_members_start_agent(struct dm_members *members)
{
	pthread_attr_t attributes;
	sigset_t all;
	sigset_t before;
	int rc;

	atomic_store(&members->agent_stop, false);
	pthread_attr_init(&attributes);
	pthread_attr_setstacksize(&attributes, AGENT_STACK_BYTES);
	sigfillset(&all); /* the application's signals are for the application's threads; faults still arrive */
	sigdelset(&all, SIGSEGV);
	sigdelset(&all, SIGBUS);
	sigdelset(&all, DM_STOP_SIGNAL);
	sigdelset(&all, DM_FENCE_SIGNAL);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	rc = pthread_create(&members->agent, &attributes, agent_main, members);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	pthread_attr_destroy(&attributes);
	if (rc)
		return dm_fail(-rc, "the agent thread can't be started (%s): raise the limit on processes (ulimit -u)",
		               strerror(rc));
	members->agent_runs = true;
	return 0;
}

void dm_members_poke_agent(struct dm_members *members)
{
	/* without the pipe, the agent looks at its next beat */
	if (is_our_pipe(members, members->agent_wake[1]) && write(members->agent_wake[1], "", 1) < 0 && errno != EAGAIN)
		dm_log(DMEM_LOG_WARNING, "the agent could not be woken: %s", strerror(errno));
}

void dm_members_stop_agent(struct dm_members *members)
{
	if (!members->agent_runs)
		return;
	/* pairs with the acquire in agent_main() */
	atomic_store_explicit(&members->agent_stop, true, memory_order_release);
	dm_members_poke_agent(members);
	pthread_join(members->agent, NULL);
	members->agent_runs = false;
}
