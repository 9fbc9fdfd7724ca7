/* SPDX-License-Identifier: Apache-2.0 */
/*
 * map_draw.c: the picture of a pool.
 *
 * A cell shows what most of its extents that are not free hold: a full mark when they are at least half of it, a light one
 * when less.  One quarantined extent marks its cell, so that damage can't hide in the crowd.
 */
#include <inttypes.h>
#include <stdio.h>

#include "base/arith.h"
#include "dmemctl/map.h"
#include "dmemctl/print.h"

#define LABEL_COLUMNS 11u /* "  1.25 GiB " before each row */

/* How a kind is drawn: [0] light, [1] full. */
struct mark {
	const char *utf8[2];
	const char *ascii[2];
	const char *colour; /* SGR parameters */
};

static const struct mark marks[CTL_KINDS] = {
	[DM_KIND_FREE] = {{"·", "·"}, {".", "."}, "90"},
	[DM_KIND_LEASED] = {{"░", "▒"}, {"l", "L"}, "36"},
	[DM_KIND_METADATA] = {{"□", "■"}, {"m", "M"}, "35"},
	[DM_KIND_SLABS] = {{"▄", "█"}, {"s", "S"}, "32"},
	[DM_KIND_RUN] = {{"▂", "▆"}, {"r", "R"}, "34"},
	[DM_KIND_PRIVATE] = {{"◇", "◆"}, {"p", "P"}, "33"},
	[DM_KIND_QUARANTINED] = {{"!", "!"}, {"!", "!"}, "1;31"},
};

static const char *mark_text(enum dm_inspect_kind kind, bool full)
{
	return ctl_terminal_utf8() ? marks[kind].utf8[full] : marks[kind].ascii[full];
}

/* Print one mark, changing the colour when the kind is not the previous one. */
static void print_mark(enum dm_inspect_kind kind, bool full, int *previous)
{
	if (*previous != (int)kind && ctl_terminal_colours())
		printf("\033[%sm", marks[kind].colour);
	*previous = (int)kind;
	fputs(mark_text(kind, full), stdout);
}

static void end_marks(int *previous)
{
	if (*previous >= 0 && ctl_terminal_colours())
		fputs("\033[0m", stdout);
	*previous = -1;
}

static enum dm_inspect_kind cell_kind(const struct ctl_cell *cell, uint64_t *used)
{
	enum dm_inspect_kind most = DM_KIND_FREE;

	*used = 0;
	for (int kind = DM_KIND_FREE + 1; kind < CTL_KINDS; kind++) {
		*used += cell->extents[kind];
		if (cell->extents[kind] > (most == DM_KIND_FREE ? 0 : cell->extents[most]))
			most = (enum dm_inspect_kind)kind;
	}
	return cell->extents[DM_KIND_QUARANTINED] != 0 ? DM_KIND_QUARANTINED : most;
}

static void draw_cell(const struct ctl_map *map, uint64_t at, int *previous)
{
	uint64_t begin = at * map->extents_per_cell;
	uint64_t here = map->extents - begin < map->extents_per_cell ? map->extents - begin : map->extents_per_cell;
	uint64_t used;
	enum dm_inspect_kind kind = cell_kind(&map->cells[at], &used);

	print_mark(kind, 2 * used >= here, previous);
}

uint32_t ctl_map_columns(uint32_t width)
{
	uint32_t columns = width - LABEL_COLUMNS;

	/* A multiple of eight, so that rows begin at offsets one can remember. */
	return columns < 8 ? columns : columns / 8 * 8;
}

static void draw_cells(const struct ctl_map *map)
{
	uint64_t cells = dm_divide_up(map->extents, map->extents_per_cell);
	char label[CTL_TEXT_BYTES];
	int previous = -1;

	for (uint64_t at = 0; at < cells; at++) {
		if (at % map->columns == 0)
			printf("%*s ", (int)LABEL_COLUMNS - 1,
			       ctl_print_size(label, at * map->extents_per_cell * map->extent_bytes));
		draw_cell(map, at, &previous);
		if ((at + 1) % map->columns == 0 || at + 1 == cells) {
			end_marks(&previous);
			putchar('\n');
		}
	}
}

static bool has_light_mark(enum dm_inspect_kind kind)
{
	return kind != DM_KIND_FREE && kind != DM_KIND_QUARANTINED;
}

/* What else is known of a kind; "" when nothing is. */
static const char *detail(char text[2 * CTL_TEXT_BYTES], enum dm_inspect_kind kind, const struct ctl_totals *totals)
{
	char live[CTL_TEXT_BYTES], waiting[CTL_TEXT_BYTES];

	text[0] = '\0';
	if (kind == DM_KIND_SLABS && totals->extents != 0)
		snprintf(text, 2 * CTL_TEXT_BYTES, "%" PRIu64 " blocks, %s in use, %s waiting", totals->blocks_live,
		         ctl_print_size(live, totals->bytes_live), ctl_print_size(waiting, totals->bytes_waiting));
	else if (totals->runs != 0)
		snprintf(text, 2 * CTL_TEXT_BYTES, "%" PRIu64 " run%s", totals->runs, totals->runs == 1 ? "" : "s");
	return text;
}

static void draw_legend(const struct ctl_map *map, uint32_t width)
{
	char size[CTL_TEXT_BYTES], percent[CTL_TEXT_BYTES], more[2 * CTL_TEXT_BYTES], cell[CTL_TEXT_BYTES];
	uint64_t whole = 0;
	int previous = -1;

	for (int kind = 0; kind < CTL_KINDS; kind++)
		whole += map->totals[kind].extents;
	printf("\n1 cell = %" PRIu64 " extent%s = %s", map->extents_per_cell, map->extents_per_cell == 1 ? "" : "s",
	       ctl_print_size(cell, map->extents_per_cell * map->extent_bytes));
	puts(map->extents_per_cell == 1 ? "" : width < 70 ? "" : "; the light mark: less than half of it is in use");
	for (int kind = 0; kind < CTL_KINDS; kind++) {
		const struct ctl_totals *totals = &map->totals[kind];

		if (totals->extents == 0 && kind != DM_KIND_FREE)
			continue;
		print_mark((enum dm_inspect_kind)kind, true, &previous);
		if (map->extents_per_cell != 1 && has_light_mark((enum dm_inspect_kind)kind))
			print_mark((enum dm_inspect_kind)kind, false, &previous);
		end_marks(&previous);
		if (map->extents_per_cell != 1 && !has_light_mark((enum dm_inspect_kind)kind))
			putchar(' ');
		detail(more, (enum dm_inspect_kind)kind, totals);
		printf(" %-11s %9s", ctl_kind_names[kind], ctl_print_size(size, totals->extents * map->extent_bytes));
		if (width >= 40)
			printf(" %7s", ctl_print_percent(percent, totals->extents, whole));
		if (width >= 90 && more[0] != '\0')
			printf("   %s", more);
		putchar('\n');
	}
	if (map->moved != 0)
		printf("%" PRIu64 " extent%s moved\n", map->moved, map->moved == 1 ? " was" : "s were");
}

void ctl_map_draw(const struct ctl_map *map, uint32_t width)
{
	draw_cells(map);
	draw_legend(map, width);
}
