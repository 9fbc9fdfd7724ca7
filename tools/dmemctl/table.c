/* SPDX-License-Identifier: Apache-2.0 */
/* table.c: tables whose columns are as wide as their longest cell. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "dmemctl/print.h"

static bool flush_right(const char *title)
{
	return title[0] == '>';
}

static const char *title_text(const char *title)
{
	return flush_right(title) ? title + 1 : title;
}

void ctl_table_init(struct ctl_table *table, const char *const *titles, size_t columns)
{
	*table = (struct ctl_table){.titles = titles, .columns = columns};
}

static bool make_room(struct ctl_table *table)
{
	size_t room = table->rows_room == 0 ? 16 : 2 * table->rows_room;
	char **cells;

	if (table->rows < table->rows_room)
		return true;
	cells = reallocarray(table->cells, room * table->columns, sizeof(*cells));
	if (cells == NULL)
		return false;
	table->cells = cells;
	table->rows_room = room;
	return true;
}

static char *copy_clean(const char *text)
{
	size_t bytes = 4 * strlen(text) + 1; /* each byte may become \xNN */
	char *clean = malloc(bytes);

	if (clean != NULL)
		ctl_print_clean(clean, bytes, text, ctl_terminal_utf8());
	return clean;
}

void ctl_table_row(struct ctl_table *table, const char *const *cells)
{
	char **row;

	if (!make_room(table)) {
		table->failed = true;
		return;
	}
	row = table->cells + table->rows * table->columns;
	for (size_t i = 0; i < table->columns; i++) {
		row[i] = copy_clean(cells[i]);
		if (row[i] == NULL) {
			while (i-- > 0)
				free(row[i]);
			table->failed = true;
			return;
		}
	}
	table->rows++;
}

static void print_row(const struct ctl_table *table, const char *const *cells, const size_t *widths, unsigned indent)
{
	printf("%*s", (int)indent, "");
	for (size_t i = 0; i < table->columns; i++) {
		const char *text = cells != NULL ? cells[i] : title_text(table->titles[i]);
		int padding = (int)(widths[i] - ctl_print_columns(text));

		if (flush_right(table->titles[i]))
			printf("%*s%s", padding, "", text);
		else if (i + 1 < table->columns)
			printf("%s%*s", text, padding, "");
		else
			fputs(text, stdout);
		fputs(i + 1 < table->columns ? "  " : "\n", stdout);
	}
}

void ctl_table_print(const struct ctl_table *table, unsigned indent)
{
	size_t widths[CTL_TABLE_COLUMNS_MAX];

	for (size_t i = 0; i < table->columns; i++) {
		widths[i] = ctl_print_columns(title_text(table->titles[i]));
		for (size_t row = 0; row < table->rows; row++) {
			size_t width = ctl_print_columns(table->cells[row * table->columns + i]);

			if (width > widths[i])
				widths[i] = width;
		}
	}
	print_row(table, NULL, widths, indent);
	for (size_t row = 0; row < table->rows; row++)
		print_row(table, (const char *const *)table->cells + row * table->columns, widths, indent);
}

void ctl_table_fini(struct ctl_table *table)
{
	for (size_t i = 0; i < table->rows * table->columns; i++)
		free(table->cells[i]);
	free(table->cells);
}
