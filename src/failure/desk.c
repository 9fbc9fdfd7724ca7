/* SPDX-License-Identifier: Apache-2.0 */
/*
 * desk.c: taking a desk, without atomic operations and before anybody can be asked.
 *
 * Where the pool's devices belong to one machine, its kernel decides: a lock on a byte of the device, which ends with the
 * process (dm_region_ops.exclude).  Elsewhere a desk is claimed in time (Fischer's rule): write the holder line, wait a
 * lease, and see that it is still ours and that nobody has beaten there meanwhile.  A claimer that slept between its look and
 * its write finds the owner's beats and goes elsewhere, and the owner writes its line again; an owner that slept for a
 * lease finds another one's beats in its office line, and is evicted.
 *
 * A desk is given back by zeroing the holder line.  A dead holder's desk is taken as it is: what it had asked for is
 * overwritten by the next holder's requests, whose sequence numbers go on from there.
 *
 * Source: Lamport, A Fast Mutual Exclusion Algorithm (1987), for Fischer's rule.
 */
#include <errno.h>
#include <string.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/crc32c.h"
#include "base/error.h"
#include "base/fault.h"
#include "failure/delegate.h"

#define LINE_BYTES 64u
#define CRC_OFF    60u

void dm_line_seal(void *line)
{
	uint32_t crc = dm_crc32c(line, CRC_OFF);

	memcpy((char *)line + CRC_OFF, &crc, sizeof(crc));
}

bool dm_line_whole(const void *line)
{
	uint32_t crc;

	memcpy(&crc, (const char *)line + CRC_OFF, sizeof(crc));
	return crc == dm_crc32c(line, CRC_OFF);
}

int dm_desk_read_holder(struct dm_delegate *d, uint32_t desk, struct dm_desk_holder_pm *holder)
{
	const struct dm_desk_holder_pm *line = &d->desks[desk].holder;
	int rc = dm_window_refresh(d->window, line, sizeof(*line));

	if (rc)
		return rc;
	*holder = *line;
	return dm_line_whole(holder) && holder->pid > 0 && holder->nonce != 0 ? 0 : -ENOENT;
}

static bool same_host(const struct dm_delegate *d, const struct dm_desk_holder_pm *holder)
{
	return memcmp(holder->host, d->host.id, sizeof(holder->host)) == 0 &&
	       holder->pid_namespace == d->host.pid_namespace;
}

bool dm_desk_holder_gone(const struct dm_delegate *d, const struct dm_desk_holder_pm *holder)
{
	if (!same_host(d, holder))
		return false;
	return dm_host_process_alive(holder->pid, holder->start_ticks) == 0 ||
	       (holder->thread != 0 && !dm_host_thread_alive(holder->pid, (pid_t)holder->thread));
}

int dm_desk_write_holder(struct dm_delegate *d, uint32_t thread)
{
	struct dm_desk_holder_pm holder = {.pid_namespace = d->host.pid_namespace,
	                                   .start_ticks = dm_host_start_ticks(d->pid),
	                                   .nonce = d->nonce,
	                                   .pid = d->pid,
	                                   .thread = thread};

	memcpy(holder.host, d->host.id, sizeof(holder.host));
	dm_line_seal(&holder);
	d->desks[d->desk].holder = holder;
	return dm_window_publish(d->window, &d->desks[d->desk].holder, LINE_BYTES);
}

/* Go on where the earlier holders of the desk stopped. */
static int settle(struct dm_delegate *d)
{
	struct dm_desk_pm *desk = &d->desks[d->desk];
	int rc = dm_window_refresh(d->window, desk, sizeof(*desk));

	if (rc)
		return rc;
	d->term = dm_line_whole(&desk->office) ? desk->office.term : 0;
	d->beats = dm_line_whole(&desk->office) ? desk->office.beats : 0;
	for (unsigned lane = 0; lane < DM_DESK_LANES; lane++) {
		if (dm_line_whole(&desk->requests[lane]) && desk->requests[lane].sequence > d->sequence)
			d->sequence = desk->requests[lane].sequence;
		if (dm_line_whole(&desk->replies[lane]) && desk->replies[lane].sequence > d->sequence)
			d->sequence = desk->replies[lane].sequence;
	}
	return dm_office_write(d, DM_OFFICE_NONE);
}

/* A program may close descriptors that it did not open, and have others under their numbers. */
static bool mark_is_ours(const struct dm_delegate *d)
{
	struct stat status;

	return d->desk_fd >= 0 && fstat(d->desk_fd, &status) == 0 && status.st_dev == d->mark_device &&
	       status.st_ino == d->mark_inode;
}

void dm_desk_close_mark(struct dm_delegate *d)
{
	if (mark_is_ours(d))
		close(d->desk_fd);
	d->desk_fd = -1;
}

static void note_mark(struct dm_delegate *d)
{
	struct stat status;

	if (fstat(d->desk_fd, &status) != 0)
		return;
	d->mark_device = status.st_dev;
	d->mark_inode = status.st_ino;
}

/* False: somebody else has it by now. */
static bool mark_again(struct dm_delegate *d)
{
	struct dm_device *device = d->window->devices[0];

	if (device->transport->region.exclude(device, d->desk, &d->desk_fd) != 0)
		return false;
	note_mark(d);
	return true;
}

static int claim_by_kernel(struct dm_delegate *d)
{
	struct dm_device *device = d->window->devices[0];
	int rc = -EAGAIN;

	for (uint32_t desk = 0; rc == -EAGAIN && desk < d->desks_max; desk++) {
		rc = device->transport->region.exclude(device, desk, &d->desk_fd);
		if (rc == 0)
			d->desk = desk;
	}
	if (rc == -EAGAIN)
		return dm_fail(DMEM_E_MEMBERS, "%s has %u desks for atomic operations, and all are in use: detach some members",
		               device->name, d->desks_max);
	d->marked = rc == 0;
	if (d->marked)
		note_mark(d);
	return rc ? rc : dm_desk_write_holder(d, 0);
}

/* -EAGAIN: somebody has it, or was faster. */
static int claim_in_time(struct dm_delegate *d, uint32_t desk)
{
	struct dm_desk_office_pm *office = &d->desks[desk].office;
	struct dm_desk_office_pm before;
	struct dm_desk_holder_pm holder;
	int rc = dm_desk_read_holder(d, desk, &holder);

	if (rc == 0 && !dm_desk_holder_gone(d, &holder))
		return -EAGAIN;
	if (rc == 0 || rc == -ENOENT)
		rc = dm_window_refresh(d->window, office, LINE_BYTES);
	if (rc)
		return rc;
	before = *office;
	d->desk = desk;
	rc = dm_desk_write_holder(d, 0);
	if (rc)
		return rc;
	dm_clock_sleep_ns(d->lease_ms * DM_NS_PER_MS);
	rc = dm_desk_read_holder(d, desk, &holder);
	if (rc == 0)
		rc = dm_window_refresh(d->window, office, LINE_BYTES);
	if (rc == 0 && (holder.nonce != d->nonce || memcmp(&before, office, LINE_BYTES) != 0))
		rc = -EAGAIN;
	return rc == -ENOENT ? -EAGAIN : rc;
}

/* Where several claim at a time, they start at different desks; the next round may take a desk whose holder's host died: its
 * beats have not changed for a lease. */
static int claim_any_in_time(struct dm_delegate *d)
{
	uint32_t first = (uint32_t)(d->nonce % 8);

	for (uint32_t i = 0; i < d->desks_max; i++) {
		int rc = claim_in_time(d, (first + i) % d->desks_max);

		if (rc != -EAGAIN)
			return rc;
	}
	return dm_fail(DMEM_E_MEMBERS, "%s has %u desks for atomic operations, and none is free: detach some members",
	               d->window->devices[0]->name, d->desks_max);
}

int dm_desk_claim(struct dm_delegate *d)
{
	int rc;

	if (getrandom(&d->nonce, sizeof(d->nonce), 0) != sizeof(d->nonce))
		return dm_fail(-errno, "no random number for a desk: %s", strerror(errno));
	d->nonce |= 1;
	rc = DM_FAULT_POINT(DESK_WANTED) ? DMEM_E_UNSUPPORTED : claim_by_kernel(d);
	if (rc == DMEM_E_UNSUPPORTED)
		rc = claim_any_in_time(d);
	if (rc)
		return rc;
	DM_CRASH_POINT(DESK_CLAIMED);
	return settle(d);
}

bool dm_desk_keep(struct dm_delegate *d)
{
	const struct dm_desk_office_pm *office = &d->desks[d->desk].office;
	struct dm_desk_holder_pm holder;
	int rc;

	if (d->marked && !mark_is_ours(d) && !mark_again(d))
		return false;
	if (d->marked)
		return true;
	rc = dm_desk_read_holder(d, d->desk, &holder);
	if ((rc != 0 && rc != -ENOENT) || (rc == 0 && holder.nonce == d->nonce))
		return true;
	rc = dm_window_refresh(d->window, office, LINE_BYTES);
	if (rc == 0 && dm_line_whole(office) && office->nonce != d->nonce)
		return false;
	return dm_desk_write_holder(d, (uint32_t)gettid()) == 0;
}

void dm_desk_give_back(struct dm_delegate *d)
{
	memset(&d->desks[d->desk].holder, 0, LINE_BYTES);
	if (dm_window_publish(d->window, &d->desks[d->desk].holder, LINE_BYTES) != 0)
		dm_log(DMEM_LOG_WARNING, "desk %u could not be given back: %s", d->desk, dmem_last_error());
}
