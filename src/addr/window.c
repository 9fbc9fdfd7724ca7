/* SPDX-License-Identifier: Apache-2.0 */
/*
 * window.c: reserve the window, put the devices' segments into it, find the way back from an address to a device.
 *
 * The whole span is reserved without access first (MAP_FIXED_NOREPLACE: what is there already is never replaced), then each
 * segment is mapped over its part.  Segments only ever appear; readers go by segment_count (release/acquire), so that the
 * fault handler and the fast paths need no lock.
 *
 * Lock: `lock` orders reloads; nothing else is taken inside it.
 */
#include "addr/window.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "addr/superblock.h"
#include "base/error.h"
#include "base/memfault.h"

#define DM_PAGE_BYTES UINT64_C(4096)

/* Find who is in the way, for the message.  /proc/self/maps: start-end perms offset dev inode path. */
static void name_obstacle(uint64_t base, uint64_t bytes, char *name, size_t name_bytes)
{
	FILE *maps = fopen("/proc/self/maps", "re");
	char line[512];

	snprintf(name, name_bytes, "unknown");
	while (maps != NULL && fgets(line, sizeof(line), maps) != NULL) {
		uint64_t start;
		uint64_t end;
		int path = 0;

		if (sscanf(line, "%" SCNx64 "-%" SCNx64 " %*s %*s %*s %*s %n", &start, &end, &path) < 2)
			continue;
		if (start >= base + bytes || end <= base)
			continue;
		line[strcspn(line, "\n")] = 0;
		snprintf(name, name_bytes, "%s at 0x%" PRIx64 "-0x%" PRIx64,
		         path > 0 && line[path] ? line + path : "an anonymous mapping", start, end);
		break;
	}
	if (maps != NULL)
		fclose(maps);
}

static int reserve_span(struct dm_window *window, const char *pool)
{
	void *wanted = dm_window_at(window, 0);
	char obstacle[384];
	void *got = mmap(wanted, window->span_bytes, PROT_NONE,
	                 MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED_NOREPLACE, -1, 0);

	if (got == wanted)
		return 0;
	if (got != MAP_FAILED) { /* a kernel before 4.17 takes the address as a hint */
		munmap(got, window->span_bytes);
		errno = EEXIST;
	}
	if (errno != EEXIST)
		return dm_fail(-errno,
		               "%s: %" PRIu64 " GiB of addresses at 0x%" PRIx64 " can't be reserved (%s): "
		               "raise the limit on address space (ulimit -v), or create the pool with a smaller span",
		               pool, window->span_bytes / DM_GIB, window->base, strerror(errno));
	name_obstacle(window->base, window->span_bytes, obstacle, sizeof(obstacle));
	return dm_fail(DMEM_E_WINDOW,
	               "%s: the pool's window 0x%" PRIx64 "-0x%" PRIx64 " is taken by %s: attach before that is "
	               "mapped, or create the pool with another ?base=",
	               pool, window->base, window->base + window->span_bytes, obstacle);
}

/*
 * Runs in signal context, in a process that was cut off.  Where a device has no private mappings its memory was made read-only,
 * and a store gets a copy of the extent.  Two threads may do so at a time: the later copy stays.
 */
static bool keep_store_here(const struct dm_window *window, uint64_t address)
{
	const struct dm_segment *segment = dm_window_segment(window, (address - window->base) >> DM_EXTENT_SHIFT);
	char *place = (char *)dm_align_down(address, DM_EXTENT_BYTES);
	void *copy;

	if (segment == NULL || window->devices[segment->device]->align_bytes != DM_EXTENT_BYTES)
		return false;
	copy = mmap(NULL, DM_EXTENT_BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (copy == MAP_FAILED)
		return false;
	memcpy(copy, place, DM_EXTENT_BYTES);
	if (mremap(copy, DM_EXTENT_BYTES, DM_EXTENT_BYTES, MREMAP_MAYMOVE | MREMAP_FIXED, place) != MAP_FAILED)
		return true;
	munmap(copy, DM_EXTENT_BYTES);
	return false;
}

/* Runs in signal context.  A fault on the library's own structures must not kill the caller of a library function: it
 * gets zeros, which no check accepts, and `lost` is set.  A fault on the user's memory is not ours to hide. */
static bool on_memory_fault(void *context, int signal_number, const siginfo_t *info, uintptr_t address)
{
	struct dm_window *window = context;
	uint64_t offset = (uint64_t)address - window->base;
	const struct dm_segment *segment = dm_window_segment(window, offset >> DM_EXTENT_SHIFT);
	uint64_t page = segment == NULL ? DM_PAGE_BYTES : window->devices[segment->device]->align_bytes;
	void *zeros;

	(void)info;
	if (signal_number != SIGBUS)
		return atomic_load(&window->cut) != DM_WINDOW_WHOLE && keep_store_here(window, address);
	atomic_store_explicit(&window->lost, true, memory_order_relaxed);
	if (segment == NULL || (offset >> DM_EXTENT_SHIFT) >= segment->data_first)
		return false;
	if (page == DM_EXTENT_BYTES)
		page = DM_PAGE_BYTES;
	zeros = mmap((void *)dm_align_down(address, page), page, PROT_READ | PROT_WRITE,
	             MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
	if (zeros == MAP_FAILED && page == DM_PAGE_BYTES) /* huge pages are replaced whole */
		zeros = mmap((void *)dm_align_down(address, DM_EXTENT_BYTES), DM_EXTENT_BYTES, PROT_READ | PROT_WRITE,
		             MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
	return zeros != MAP_FAILED;
}

static int check_device_identity(struct dm_window *window, uint32_t index, struct dm_device *device)
{
	const struct dm_superblock_pm *pool = &window->superblock;
	struct dm_superblock_pm *own = malloc(sizeof(*own));
	int rc;

	if (own == NULL)
		return dm_fail(-ENOMEM, "no memory to read the superblocks of %s", device->name);
	rc = dm_superblock_read(device, own, NULL);
	if (rc == 0 && (memcmp(own->pool_uuid, pool->pool_uuid, 16) != 0 || own->device_index != index ||
	                memcmp(own->devices[index].uuid, pool->devices[index].uuid, 16) != 0))
		rc = dm_fail(DMEM_E_DEVICE, "%s is not device %" PRIu32 " of this pool: name the right one with ?device=URI",
		             device->name, index);
	if (rc == 0 && dm_device_bytes(device) < pool->devices[index].size_bytes)
		rc = dm_fail(DMEM_E_LOST,
		             "%s is %" PRIu64 " bytes long, the pool uses %" PRIu64 " of it: it was truncated, restore it",
		             device->name, dm_device_bytes(device), pool->devices[index].size_bytes);
	free(own);
	return rc;
}

static int open_uri(const char *text, struct dm_device **device)
{
	struct dm_uri *uri = malloc(sizeof(*uri));
	int rc;

	if (uri == NULL)
		return dm_fail(-ENOMEM, "no memory to open %s", text);
	rc = dm_uri_parse(text, uri);
	if (rc == 0)
		rc = dm_transport_open(uri, device);
	free(uri);
	return rc;
}

/* A further device: where it was seen last, or one of those the caller names, whichever carries its UUID. */
static int open_device(struct dm_window *window, uint32_t index, const char *const *candidates)
{
	struct dm_device *device = NULL;
	int rc = open_uri(window->superblock.devices[index].hint, &device);

	if (rc == 0)
		rc = check_device_identity(window, index, device);
	for (; rc && candidates != NULL && *candidates != NULL; candidates++) {
		if (device != NULL)
			device->transport->region.close(device);
		device = NULL;
		rc = open_uri(*candidates, &device);
		if (rc == 0)
			rc = check_device_identity(window, index, device);
	}
	if (rc && device != NULL)
		device->transport->region.close(device);
	if (rc == -ENOENT || rc == DMEM_E_URI || rc == DMEM_E_NOT_POOL)
		return dm_fail(DMEM_E_DEVICE,
		               "device %" PRIu32 " of %s was last seen as '%s' and is not there: name it with ?device=URI",
		               index, window->devices[0]->name, window->superblock.devices[index].hint);
	if (rc)
		return rc;
	window->devices[index] = device;
	window->device_count = index + 1;
	return 0;
}

/* Signal context.  Without access at all when the device can't do better. */
static void cut_segment(struct dm_window *window, const struct dm_segment *segment)
{
	struct dm_device *device = window->devices[segment->device];
	void *address = dm_window_at(window, segment->window_first << DM_EXTENT_SHIFT);
	uint64_t bytes = segment->extents << DM_EXTENT_SHIFT;

	if (device->transport->region.isolate(device, segment->device_first << DM_EXTENT_SHIFT, bytes, address) != 0)
		mprotect(address, bytes, PROT_NONE);
}

void dm_window_cut(struct dm_window *window)
{
	unsigned state = DM_WINDOW_WHOLE;
	uint32_t count;

	atomic_compare_exchange_strong(&window->cut, &state, DM_WINDOW_CUTTING);
	if (state == DM_WINDOW_CUT)
		return;
	/* another thread may be at it and not be done, or never go on: do it all again.  Pairs with the look in map_segment(). */
	count = atomic_load(&window->segment_count);
	for (uint32_t i = 0; i < count; i++)
		cut_segment(window, &window->segments[i]);
	atomic_store(&window->cut, DM_WINDOW_CUT);
}

static int map_segment(struct dm_window *window, uint32_t index)
{
	const struct dm_segment_pm *from = &window->superblock.segments[index];
	struct dm_segment *segment = &window->segments[index];
	struct dm_device *device = window->devices[from->device];
	int rc =
		device->transport->region.map(device, from->device_first << DM_EXTENT_SHIFT, from->extents << DM_EXTENT_SHIFT,
	                                  dm_window_at(window, from->window_first << DM_EXTENT_SHIFT));

	if (rc)
		return rc;
	segment->window_first = from->window_first;
	segment->extents = from->extents;
	segment->device_first = from->device_first;
	segment->metadata_off = from->metadata_off;
	segment->data_first = from->data_first;
	segment->data_extents = from->data_extents;
	segment->device = from->device;
	atomic_store_explicit(&segment->state, from->state, memory_order_relaxed);
	/* pairs with the acquire in dm_window_segment() */
	atomic_store(&window->segment_count, index + 1);
	if (atomic_load(&window->cut) != DM_WINDOW_WHOLE) /* pairs with the count in dm_window_cut() */
		cut_segment(window, segment);
	return 0;
}

/* Bring devices, segments and their states up to what window->superblock says.  Called with the lock, or alone. */
static int follow_superblock(struct dm_window *window, const char *const *candidates)
{
	const struct dm_superblock_pm *sb = &window->superblock;
	uint32_t known = atomic_load_explicit(&window->segment_count, memory_order_relaxed);
	int rc = 0;

	for (uint32_t i = window->device_count; rc == 0 && i < sb->device_count; i++)
		rc = open_device(window, i, candidates);
	for (uint32_t i = 0; rc == 0 && i < sb->segment_count; i++) {
		if (i >= known)
			rc = map_segment(window, i);
		else
			atomic_store_explicit(&window->segments[i].state, sb->segments[i].state, memory_order_relaxed);
	}
	return rc;
}

static int check_require(const struct dm_uri *uri, const char *require)
{
	if (require == NULL || require[0] == 0)
		require = uri->require;
	if (require[0] != 0 && strcmp(require, uri->scheme) != 0)
		return dm_fail(DMEM_E_OPTION,
		               "%s:%s: the transport is %s, but %s is required: name the pool by a URI of that kind",
		               uri->scheme, uri->path, uri->scheme, require);
	return 0;
}

/* Modes that the layout knows and this version does not carry out. */
static int check_mode(const struct dm_superblock_pm *sb, const char *name)
{
	if (sb->atomics == DMEM_ATOMICS_REMOTE || sb->coherence == DMEM_COHERENCE_PAGED)
		return dm_fail(
			DMEM_E_UNSUPPORTED,
			"%s: the pool's atomics are remote, or it is paged, which libdmem %s can't do: use a newer libdmem", name,
			dmem_version());
	return 0;
}

static int open_first_device(struct dm_window *window, const struct dm_uri *uri)
{
	struct dm_superblock_state state;
	int rc = dm_transport_open(uri, &window->devices[0]);

	if (rc)
		return rc;
	window->device_count = 1;
	rc = dm_superblock_read(window->devices[0], &window->superblock, &state);
	if (rc)
		return rc;
	if (window->superblock.device_index != 0)
		return dm_fail(DMEM_E_DEVICE, "%s is device %" PRIu32 " of a pool: attach the pool by its first device",
		               window->devices[0]->name, window->superblock.device_index);
	rc = check_mode(&window->superblock, window->devices[0]->name);
	if (rc)
		return rc;
	window->repair_wanted = !state.equal;
	if (window->devices[0]->size_bytes < window->superblock.devices[0].size_bytes)
		return dm_fail(
			DMEM_E_LOST, "%s is %" PRIu64 " bytes long, the pool uses %" PRIu64 " of it: it was truncated, restore it",
			window->devices[0]->name, window->devices[0]->size_bytes, window->superblock.devices[0].size_bytes);
	window->base = window->superblock.base;
	window->span_bytes = window->superblock.span_bytes;
	window->coherent =
		window->superblock.coherence == DMEM_COHERENCE_COHERENT && window->superblock.atomics == DMEM_ATOMICS_CPU;
	return 0;
}

static void close_devices(struct dm_window *window)
{
	for (uint32_t i = 0; i < DM_DEVICES_MAX; i++)
		if (window->devices[i] != NULL)
			window->devices[i]->transport->region.close(window->devices[i]);
}

int dm_window_open(const struct dm_uri *uri, const char *require, const char *const *devices, struct dm_window **result)
{
	struct dm_window *window = calloc(1, sizeof(*window));
	int rc;

	if (window == NULL)
		return dm_fail(-ENOMEM, "no memory to attach %s:%s", uri->scheme, uri->path);
	pthread_mutex_init(&window->lock, NULL);
	rc = check_require(uri, require);
	if (rc)
		goto err_free;
	rc = open_first_device(window, uri);
	if (rc)
		goto err_close;
	rc = reserve_span(window, window->devices[0]->name);
	if (rc)
		goto err_close;
	rc = follow_superblock(window, devices);
	if (rc)
		goto err_unmap;
	rc = dm_memfault_register(window->base, window->span_bytes, on_memory_fault, window);
	if (rc)
		goto err_unmap;
	*result = window;
	return 0;
err_unmap:
	munmap(dm_window_at(window, 0), window->span_bytes);
err_close:
	close_devices(window);
err_free:
	pthread_mutex_destroy(&window->lock);
	free(window);
	return rc;
}

void dm_window_close(struct dm_window *window)
{
	dm_memfault_unregister(window->base, on_memory_fault);
	munmap(dm_window_at(window, 0), window->span_bytes);
	close_devices(window);
	pthread_mutex_destroy(&window->lock);
	free(window);
}

/* What growth changes.  The rest is read without the lock, and stays as it was when the pool was attached. */
static void take_changes(struct dm_superblock_pm *superblock, const struct dm_superblock_pm *newer)
{
	superblock->sequence = newer->sequence;
	superblock->unit_bytes = newer->unit_bytes;
	superblock->device_count = newer->device_count;
	superblock->segment_count = newer->segment_count;
	memcpy(superblock->devices, newer->devices, sizeof(superblock->devices));
	memcpy(superblock->segments, newer->segments, sizeof(superblock->segments));
}

int dm_window_reload(struct dm_window *window, uint64_t *sequence)
{
	struct dm_superblock_pm *newer = malloc(sizeof(*newer));
	uint64_t size;
	int rc;

	if (newer == NULL)
		return dm_fail(-ENOMEM, "no memory to read the superblocks of %s", window->devices[0]->name);
	pthread_mutex_lock(&window->lock);
	rc = window->devices[0]->transport->region.size(window->devices[0], &size);
	if (rc == 0)
		dm_device_learn_bytes(window->devices[0], size);
	if (rc == 0)
		rc = dm_superblock_read(window->devices[0], newer, NULL);
	if (rc == 0 && (memcmp(newer->pool_uuid, window->superblock.pool_uuid, 16) != 0 || newer->base != window->base ||
	                newer->span_bytes != window->span_bytes))
		rc = dm_fail(DMEM_E_CORRUPT,
		             "%s: another pool's superblock lies where this pool's was: detach and look at it with "
		             "'dmemctl info'",
		             window->devices[0]->name);
	if (rc == 0 && newer->sequence > window->superblock.sequence) {
		take_changes(&window->superblock, newer);
		rc = follow_superblock(window, NULL);
	}
	*sequence = window->superblock.sequence;
	pthread_mutex_unlock(&window->lock);
	free(newer);
	return rc;
}

void dm_window_superblock(struct dm_window *window, struct dm_superblock_pm *copy)
{
	pthread_mutex_lock(&window->lock);
	*copy = window->superblock;
	pthread_mutex_unlock(&window->lock);
}

uint64_t dm_window_sequence(struct dm_window *window)
{
	uint64_t sequence;

	pthread_mutex_lock(&window->lock);
	sequence = window->superblock.sequence;
	pthread_mutex_unlock(&window->lock);
	return sequence;
}

int dm_window_probe(struct dm_window *window)
{
	int rc = 0;

	pthread_mutex_lock(&window->lock);
	for (uint32_t i = 0; rc == 0 && i < window->device_count; i++)
		rc = window->devices[i]->transport->health.probe(window->devices[i]);
	pthread_mutex_unlock(&window->lock);
	if (rc)
		atomic_store_explicit(&window->lost, true, memory_order_relaxed);
	return rc;
}

void dm_window_after_fork(struct dm_window *window)
{
	pthread_mutex_init(&window->lock, NULL);
}

const struct dm_segment *dm_window_segment(const struct dm_window *window, uint64_t extent)
{
	/* pairs with the release in map_segment() */
	uint32_t count = atomic_load_explicit(&window->segment_count, memory_order_acquire);

	for (uint32_t i = 0; i < count; i++) {
		const struct dm_segment *segment = &window->segments[i];

		if (extent - segment->window_first < segment->extents)
			return segment;
	}
	return NULL;
}

int dm_window_translate(struct dm_window *window, uint64_t offset, uint32_t *device, uint64_t *device_offset,
                        uint64_t *run_bytes)
{
	const struct dm_segment *segment = dm_window_segment(window, offset >> DM_EXTENT_SHIFT);
	uint64_t inside;

	if (segment == NULL)
		return dm_fail(DMEM_E_FOREIGN, "offset 0x%" PRIx64 " of the window belongs to no device of the pool", offset);
	inside = offset - (segment->window_first << DM_EXTENT_SHIFT);
	*device = segment->device;
	*device_offset = (segment->device_first << DM_EXTENT_SHIFT) + inside;
	if (run_bytes != NULL)
		*run_bytes = (segment->extents << DM_EXTENT_SHIFT) - inside;
	return 0;
}

/* Call `each` for every piece of a range that lies in one device. */
static int for_each_piece(struct dm_window *window, uint64_t offset, uint64_t bytes,
                          int (*each)(struct dm_device *, uint64_t device_offset, uint64_t offset, uint64_t bytes,
                                      void *),
                          void *context)
{
	while (bytes > 0) {
		uint64_t device_offset = 0;
		uint64_t piece = 0;
		uint32_t device = 0;
		int rc = dm_window_translate(window, offset, &device, &device_offset, &piece);

		if (rc)
			return rc;
		piece = piece < bytes ? piece : bytes;
		rc = each(window->devices[device], device_offset, offset, piece, context);
		if (rc)
			return rc;
		offset += piece;
		bytes -= piece;
	}
	return 0;
}

static int reserve_piece(struct dm_device *device, uint64_t device_offset, uint64_t offset, uint64_t bytes,
                         void *context)
{
	(void)offset;
	(void)context;
	return (device->caps & DM_CAP_RESERVES) ? device->transport->region.reserve(device, device_offset, bytes) : 0;
}

static int release_piece(struct dm_device *device, uint64_t device_offset, uint64_t offset, uint64_t bytes,
                         void *context)
{
	(void)offset;
	(void)context;
	return (device->caps & DM_CAP_RESERVES) ? device->transport->region.release(device, device_offset, bytes) : 0;
}

int dm_window_reserve(struct dm_window *window, uint64_t offset, uint64_t bytes)
{
	return for_each_piece(window, offset, bytes, reserve_piece, NULL);
}

int dm_window_release(struct dm_window *window, uint64_t offset, uint64_t bytes)
{
	return for_each_piece(window, offset, bytes, release_piece, NULL);
}

struct lines_call {
	struct dm_window *window;
	enum dm_window_lines_op op;
};

static int lines_piece(struct dm_device *device, uint64_t device_offset, uint64_t offset, uint64_t bytes, void *context)
{
	const struct lines_call *call = context;
	const struct dm_data_ops *data = &device->transport->data;
	void *address = dm_window_at(call->window, offset);

	switch (call->op) {
	case DM_LINES_PUBLISH:
		return data->publish(device, device_offset, address, bytes);
	case DM_LINES_REFRESH:
		return data->refresh(device, device_offset, address, bytes);
	default:
		return data->handoff(device, device_offset, address, bytes);
	}
}

int dm_window_lines(struct dm_window *window, enum dm_window_lines_op op, const void *address, size_t bytes)
{
	struct lines_call call = {.window = window, .op = op};

	return for_each_piece(window, dm_window_offset(window, address), bytes, lines_piece, &call);
}

static int word_place(struct dm_window *window, const void *word, struct dm_device **device, uint64_t *device_offset)
{
	uint32_t index = 0;
	int rc = dm_window_translate(window, dm_window_offset(window, word), &index, device_offset, NULL);

	if (rc == 0)
		*device = window->devices[index];
	return rc;
}

int dm_word_slow_load(struct dm_window *window, const void *word, unsigned width, uint64_t *value)
{
	struct dm_device *device = NULL;
	uint64_t offset = 0;
	int rc;

	if (window->words != NULL)
		return window->words->load(window->words_context, word, width, value);
	rc = word_place(window, word, &device, &offset);
	return rc ? rc : device->transport->data.load(device, offset, (void *)(uintptr_t)word, width, value);
}

static int change_word(struct dm_window *window, enum dm_word_op op, void *word, unsigned width, uint64_t operand,
                       uint64_t expected, uint64_t *previous)
{
	const struct dm_data_ops *data;
	struct dm_device *device = NULL;
	uint64_t offset = 0;
	int rc;

	if (window->words != NULL)
		return window->words->change(window->words_context, op, word, width, operand, expected, previous);
	rc = word_place(window, word, &device, &offset);
	if (rc)
		return rc;
	data = &device->transport->data;
	switch (op) {
	case DM_WORD_STORE:
		return data->store(device, offset, word, width, operand);
	case DM_WORD_EXCHANGE:
		return data->exchange(device, offset, word, width, operand, previous);
	case DM_WORD_CAS:
		return data->cas(device, offset, word, width, expected, operand, previous);
	default:
		return data->add(device, offset, word, width, operand, previous);
	}
}

int dm_word_slow_store(struct dm_window *window, void *word, unsigned width, uint64_t value)
{
	return change_word(window, DM_WORD_STORE, word, width, value, 0, NULL);
}

int dm_word_slow_exchange(struct dm_window *window, void *word, unsigned width, uint64_t value, uint64_t *previous)
{
	return change_word(window, DM_WORD_EXCHANGE, word, width, value, 0, previous);
}

int dm_word_slow_cas(struct dm_window *window, void *word, unsigned width, uint64_t expected, uint64_t desired,
                     uint64_t *previous)
{
	return change_word(window, DM_WORD_CAS, word, width, desired, expected, previous);
}

int dm_word_slow_add(struct dm_window *window, void *word, unsigned width, uint64_t addend, uint64_t *previous)
{
	return change_word(window, DM_WORD_ADD, word, width, addend, 0, previous);
}
