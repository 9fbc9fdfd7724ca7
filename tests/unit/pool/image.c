/* SPDX-License-Identifier: Apache-2.0 */
/* image.c: see image.h. */
#include "image.h"

#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/arith.h"
#include "lib/child.h"
#include "lib/scratch.h"
#include "pool.h"
#include "root_layout.h"

#define PAGE_BYTES 4096u
#define PAGES_MAX  4096u

static struct page {
	uint64_t offset;
	char data[PAGE_BYTES];
} *pages;
static unsigned page_count;
static uint64_t file_bytes;

struct making {
	const char *name;
	bool killed;
	struct image *image;
};

static void add_place(struct image *image, const char *name, enum place_kind kind, const struct dm_window *window,
                      const void *word, uint32_t bits)
{
	if (image->place_count == IMAGE_PLACES)
		abort();
	image->places[image->place_count++] =
		(struct place){.name = name, .kind = kind, .offset = dm_window_offset(window, word), .bits = bits};
}

static void add_block_places(struct image *image, struct dmem_pool *pool, const char *what, const void *block)
{
	struct dm_shared *shared = pool->shared;
	uint64_t offset = dm_window_offset(pool->window, block);
	const struct dm_segment *segment = &pool->window->segments[0];
	uint64_t extent = (offset >> DM_EXTENT_SHIFT) - segment->data_first;
	uint32_t unit = (uint32_t)(offset >> DM_UNIT_SHIFT) % DM_UNITS_PER_EXTENT;
	struct dm_extent_pm *local = dm_geometry_extent(pool->window, &shared->geometry, segment, extent);
	struct dm_slab_pm *slab = dm_geometry_slab(pool->window, &shared->geometry, segment, extent, unit);
	struct dm_chunk_atomic_pm *chunk =
		dm_geometry_chunk_atomic(pool->window, &shared->geometry, segment, extent / shared->geometry.chunk_extents);
	bool in_slab = dmem_usable_size(block) <= DM_CLASS_BYTES_MAX;

	(void)what;
	add_place(image, what, PLACE_DESCRIPTOR, pool->window, &local->desc, 64);
	add_place(image, what, PLACE_WORD, pool->window, &chunk->owner, 64);
	add_place(image, what, PLACE_WORD, pool->window, &chunk->freed, 64);
	if (!in_slab)
		return;
	add_place(image, what, PLACE_DESCRIPTOR, pool->window, &slab->desc, 64);
	add_place(image, what, PLACE_WORD, pool->window, &slab->owner, 64);
	add_place(image, what, PLACE_WORD, pool->window,
	          dm_geometry_freed(pool->window, &shared->geometry, segment, extent, unit), 64);
	add_place(image, what, PLACE_WORD, pool->window,
	          &dm_geometry_extent_atomic(pool->window, &shared->geometry, segment, extent)->pending, 64);
}

static void add_pool_places(struct image *image, struct dmem_pool *pool)
{
	const struct dm_superblock_pm *sb = &pool->window->superblock;
	struct dm_root_pm *roots = dm_window_at(pool->window, sb->root_off);
	struct dm_member_pm *member = &pool->members->table[pool->members->slot];

	add_place(image, "heap owner", PLACE_WORD, pool->window, &pool->shared->heap_owners[pool->shared->heaps->id].word, 64);
	add_place(image, "member state", PLACE_WORD, pool->window, &member->state.word, 64);
	add_place(image, "member identity", PLACE_WORD, pool->window, &member->identity, 512);
	add_place(image, "member beat", PLACE_WORD, pool->window, &member->beat, 256);
	add_place(image, "administration lock", PLACE_WORD, pool->window, &pool->members->admin->lock, 32);
	add_place(image, "sequence", PLACE_WORD, pool->window, &pool->members->admin->sequence, 64);
	for (uint32_t i = 0; i < sb->roots_max; i++)
		if (strcmp(roots[i].name, "directory") == 0)
			add_place(image, "root", PLACE_WORD, pool->window, &roots[i], 128 * 5);
}

static void make_blocks(struct image *image, struct dmem_pool *pool)
{
	for (unsigned i = 0; i < IMAGE_BLOCKS; i++) {
		size_t bytes = i < 60 ? 100 + i : i < 70 ? 5000 : i < 76 ? 300000 : i < 78 ? 3 * DM_MIB : 5 * DM_MIB;
		char *block = dmem_alloc_ex(pool, bytes, NULL);

		if (block == NULL)
			abort();
		memset(block, (int)i, 16);
		memset(block + bytes - 16, (int)i, 16);
		for (size_t at = 0; at < bytes; at += IMAGE_STEP)
			block[at] = (char)i;
		image->blocks[i] = block;
		image->bytes[i] = bytes;
	}
}

static int free_some(void *argument)
{
	struct making *making = argument;
	struct dmem_pool *pool = scratch_attach(making->name);

	for (unsigned i = 0; i < 60; i += 5)
		dmem_free(making->image->blocks[i]);
	if (dmem_usable_size(making->image->blocks[1]) == 0)
		return 1;
	return dmem_pool_detach(pool) != 0;
}

static int make(void *argument)
{
	struct making *making = argument;
	struct image *image = making->image;
	struct dmem_alloc_options private = {.struct_bytes = sizeof(private), .tier = DMEM_TIER_POOL};
	struct dmem_pool *pool = scratch_attach(making->name);

	make_blocks(image, pool);
	if (dmem_alloc_ex(pool, 100000, &private) == NULL || dmem_root_set(pool, "directory", image->blocks[0]) != 0)
		return 1;
	add_block_places(image, pool, "small slab", image->blocks[1]);
	add_block_places(image, pool, "slab of several units", image->blocks[72]);
	add_block_places(image, pool, "run in a chunk", image->blocks[77]);
	add_block_places(image, pool, "run over chunks", image->blocks[79]);
	add_pool_places(image, pool);
	if (child_run(free_some, making) != 0)
		return 2;
	for (unsigned i = 0; i < 60; i += 5)
		image->blocks[i] = NULL;
	if (making->killed)
		raise(SIGKILL);
	return dmem_pool_detach(pool) != 0;
}

struct image *image_make(const char *name, bool killed)
{
	struct making making = {.name = name, .killed = killed, .image = child_shared(sizeof(struct image))};
	int ended;

	scratch_create(name, IMAGE_KEYS);
	ended = child_run(make, &making);
	if (ended != (killed ? CHILD_SIGNAL + SIGKILL : 0)) {
		fprintf(stderr, "the image could not be made: %d\n", ended);
		abort();
	}
	image_keep(name);
	return making.image;
}

static bool is_zero(const char *data)
{
	return data[0] == 0 && memcmp(data, data + 1, PAGE_BYTES - 1) == 0;
}

void image_keep(const char *name)
{
	int fd = open(scratch_path(name), O_RDONLY | O_CLOEXEC);
	off_t end;

	free(pages);
	pages = calloc(PAGES_MAX, sizeof(*pages));
	page_count = 0;
	if (fd < 0 || pages == NULL)
		abort();
	file_bytes = (uint64_t)lseek(fd, 0, SEEK_END);
	for (off_t at = lseek(fd, 0, SEEK_DATA); at >= 0; at = lseek(fd, end, SEEK_DATA)) {
		end = lseek(fd, at, SEEK_HOLE);
		for (; at < end; at += PAGE_BYTES) {
			struct page *page = &pages[page_count];

			if (page_count == PAGES_MAX || pread(fd, page->data, PAGE_BYTES, at) != PAGE_BYTES)
				abort();
			page->offset = (uint64_t)at;
			page_count += !is_zero(page->data);
		}
	}
	close(fd);
}

void image_write(const char *name)
{
	int fd = open(scratch_path(name), O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);

	if (fd < 0 || ftruncate(fd, (off_t)file_bytes) != 0)
		abort();
	for (unsigned i = 0; i < page_count; i++)
		if (pwrite(fd, pages[i].data, PAGE_BYTES, (off_t)pages[i].offset) != PAGE_BYTES)
			abort();
	close(fd);
}
