/* SPDX-License-Identifier: Apache-2.0 */
/*
 * sim.c: the `sim:` backend: its handle, and its table of operations.
 *
 * A sim: device is a pool file (transport/file/) whose members don't look at it directly: making, opening, growing, space and
 * bytes are the file's; mapping, publishing, refreshing and atomics are of this folder.
 */
#include "transport/sim/sim.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/arith.h"
#include "base/error.h"
#include "base/memfault.h"
#include "transport/file/file.h"
#include "transport/sim/sim_device.h"

/* Runs in signal context.  The file became shorter: zeros take the place of the page, so that the operation comes to its end,
 * and says so. */
static bool on_shared_fault(void *context, int signal_number, const siginfo_t *info, uintptr_t address)
{
	struct dm_sim *sim = context;

	(void)info;
	if (signal_number != SIGBUS)
		return false;
	atomic_store_explicit(&sim->lost, true, memory_order_relaxed);
	return mmap((void *)dm_align_down(address, DM_SIM_PAGE_BYTES), DM_SIM_PAGE_BYTES, PROT_READ | PROT_WRITE,
	            MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0) != MAP_FAILED;
}

static int too_large(const char *name, uint64_t bytes)
{
	return dm_fail(DMEM_E_OPTION,
	               "%s: a sim: pool of %llu bytes is too large, because every member has a copy of it: at most 64 "
	               "MiB, as in ?size=64M",
	               name, (unsigned long long)bytes);
}

static int reserve_shared(struct dm_sim *sim)
{
	uint64_t align = sim->device.align_bytes;
	uint64_t start;
	void *at = mmap(NULL, DM_SIM_BYTES_MAX + align, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	if (at == MAP_FAILED || !dm_align_up((uintptr_t)at, align, &start))
		return dm_fail(-ENOMEM, "no addresses for a second mapping of %s", sim->device.name);
	sim->reservation = at;
	sim->shared = (char *)(uintptr_t)start;
	return dm_memfault_register((uintptr_t)sim->shared, DM_SIM_BYTES_MAX, on_shared_fault, sim);
}

/* A handle over an open file; takes the file over on success. */
static int make_handle(struct dm_device *file, struct dm_device **device)
{
	struct dm_sim *sim;
	int rc = 0;

	if (file->align_bytes != 2 * DM_MIB)
		return dm_fail(DMEM_E_UNSUPPORTED, "%s is on a hugetlbfs with pages larger than 2 MiB: put it in /dev/shm",
		               file->name);
	sim = calloc(1, sizeof(*sim));
	if (sim == NULL)
		return dm_fail(-ENOMEM, "no memory for a handle of %s", file->name);
	sim->file = file;
	sim->pid = getpid();
	sim->device = *file;
	sim->device.transport = &dm_transport_sim;
	sim->device.caps = file->caps & ~(uint32_t)DM_CAP_MAPS;
	sim->device.coherence_default = DMEM_COHERENCE_NONCOHERENT;
	sim->device.atomics_default = DMEM_ATOMICS_CPU;
	rc = dm_sim_chance_init(sim);
	if (rc == 0)
		rc = reserve_shared(sim);
	if (rc) {
		if (sim->reservation != NULL)
			munmap(sim->reservation, DM_SIM_BYTES_MAX + sim->device.align_bytes);
		free(sim);
		return rc;
	}
	*device = &sim->device;
	return 0;
}

static int sim_open(const struct dm_uri *uri, struct dm_device **device)
{
	const struct dm_transport *files;
	struct dm_device *file;
	int rc = dm_transport_find("file", &files);

	if (rc == 0)
		rc = files->region.open(uri, &file);
	if (rc)
		return rc;
	file->transport = files;
	rc = file->size_bytes > DM_SIM_BYTES_MAX ? too_large(file->name, file->size_bytes) : make_handle(file, device);
	if (rc)
		files->region.close(file);
	return rc;
}

static int sim_create(const struct dm_uri *uri, uint64_t size_bytes, uint32_t mode, struct dm_device **device)
{
	const struct dm_transport *files;
	struct dm_device *file;
	int rc;

	if (size_bytes > DM_SIM_BYTES_MAX)
		return too_large(uri->path, size_bytes);
	rc = dm_transport_find("file", &files);
	if (rc == 0)
		rc = files->region.create(uri, size_bytes, mode, &file);
	if (rc)
		return rc;
	file->transport = files;
	rc = make_handle(file, device);
	if (rc)
		files->region.close(file);
	return rc;
}

static int sim_commit(struct dm_device *device)
{
	struct dm_device *file = dm_sim_of(device)->file;

	return file->transport->region.commit(file);
}

static int sim_destroy(const struct dm_uri *uri)
{
	return dm_transport_file.region.destroy(uri);
}

static void sim_close(struct dm_device *device)
{
	struct dm_sim *sim = dm_sim_of(device);

	dm_memfault_unregister((uintptr_t)sim->shared, on_shared_fault);
	munmap(sim->reservation, DM_SIM_BYTES_MAX + device->align_bytes);
	for (uint32_t i = 0; i < sim->twin_count; i++)
		munmap(sim->twins[i].address, sim->twins[i].bytes);
	sim->file->transport->region.close(sim->file);
	free(sim);
}

static int sim_size(struct dm_device *device, uint64_t *bytes)
{
	struct dm_device *file = dm_sim_of(device)->file;

	return file->transport->region.size(file, bytes);
}

/* The window holds copies already: what publish and atomics reach is cut off. */
static int sim_isolate(struct dm_device *device, uint64_t offset, uint64_t bytes, void *address)
{
	struct dm_sim *sim = dm_sim_of(device);

	(void)address;
	return sim->file->transport->region.isolate(sim->file, offset, bytes, sim->shared + offset);
}

static int sim_grow(struct dm_device *device, uint64_t size_bytes)
{
	struct dm_sim *sim = dm_sim_of(device);
	int rc;

	if (size_bytes > DM_SIM_BYTES_MAX)
		return too_large(device->name, size_bytes);
	rc = sim->file->transport->region.grow(sim->file, size_bytes);
	if (rc == 0)
		dm_device_learn_bytes(&sim->device, size_bytes);
	return rc;
}

static int sim_reserve(struct dm_device *device, uint64_t offset, uint64_t bytes)
{
	struct dm_device *file = dm_sim_of(device)->file;

	return file->transport->region.reserve(file, offset, bytes);
}

static int sim_release(struct dm_device *device, uint64_t offset, uint64_t bytes)
{
	struct dm_sim *sim = dm_sim_of(device);
	int rc = sim->file->transport->region.release(sim->file, offset, bytes);

	if (rc)
		return rc;
	dm_sim_enter(sim);
	dm_sim_forget_range(sim, offset, bytes);
	return dm_sim_leave(sim);
}

static int sim_exclude(struct dm_device *device, uint32_t number, int *fd)
{
	struct dm_device *file = dm_sim_of(device)->file;

	return file->transport->region.exclude(file, number, fd);
}

static int sim_read(struct dm_device *device, uint64_t offset, void *buffer, size_t bytes)
{
	struct dm_device *file = dm_sim_of(device)->file;

	return file->transport->data.read(file, offset, buffer, bytes);
}

static int sim_write(struct dm_device *device, uint64_t offset, const void *buffer, size_t bytes)
{
	struct dm_device *file = dm_sim_of(device)->file;

	return file->transport->data.write(file, offset, buffer, bytes);
}

static int sim_probe(struct dm_device *device)
{
	struct dm_sim *sim = dm_sim_of(device);
	int rc = sim->file->transport->health.probe(sim->file);

	if (rc == 0 && atomic_load_explicit(&sim->lost, memory_order_relaxed))
		rc = dm_fail_quietly(DMEM_E_LOST, "%s was truncated while in use: what lay behind is lost", device->name);
	return rc;
}

const struct dm_transport dm_transport_sim = {
	.scheme = "sim",
	.region =
		{
			.open = sim_open,
			.create = sim_create,
			.commit = sim_commit,
			.destroy = sim_destroy,
			.close = sim_close,
			.size = sim_size,
			.map = dm_sim_map,
			.isolate = sim_isolate,
			.grow = sim_grow,
			.reserve = sim_reserve,
			.release = sim_release,
			.exclude = sim_exclude,
		},
	.data =
		{
			.read = sim_read,
			.write = sim_write,
			.publish = dm_sim_publish,
			.refresh = dm_sim_refresh,
			.handoff = dm_sim_handoff,
			.publish_all = dm_sim_publish_all,
			.refresh_all = dm_sim_refresh_all,
			.load = dm_sim_load,
			.store = dm_sim_store,
			.exchange = dm_sim_exchange,
			.cas = dm_sim_cas,
			.add = dm_sim_add,
		},
	.health =
		{
			.probe = sim_probe,
		},
};
