/* SPDX-License-Identifier: Apache-2.0 */
/* print.h: values, tables and the terminal, for people. */
#ifndef DMEMCTL_PRINT_H
#define DMEMCTL_PRINT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define CTL_TEXT_BYTES 64 /* enough for each of the short forms below */

/* "512 B", "1.5 GiB": three digits at most, exact where that is possible. */
const char *ctl_print_size(char text[CTL_TEXT_BYTES], uint64_t bytes);
/* "12.3 %", "< 0.1 %"; "-" of nothing. */
const char *ctl_print_percent(char text[CTL_TEXT_BYTES], uint64_t part, uint64_t whole);
const char *ctl_print_number(char text[CTL_TEXT_BYTES], uint64_t number);
/* "0x200000000000" */
const char *ctl_print_address(char text[CTL_TEXT_BYTES], uint64_t address);
/* Canonical, 36 characters. */
const char *ctl_print_uuid(char text[CTL_TEXT_BYTES], const uint8_t uuid[16]);
/* "250 ms", "1 s", "1.5 s" */
const char *ctl_print_ms(char text[CTL_TEXT_BYTES], uint64_t ms);

/*
 * Copy `text` so that it can go to a terminal or into JSON: control characters and bytes that are not UTF-8 become \xNN,
 * and so does everything beyond ASCII when `utf8` is false.  Names in a pool come from anybody.  Cut to `bytes`.
 */
const char *ctl_print_clean(char *clean, size_t bytes, const char *text, bool utf8);

/* How many columns `text` (clean) takes. */
size_t ctl_print_columns(const char *text);

/* The terminal; the locale must have been set. */
bool ctl_terminal_utf8(void);
bool ctl_terminal_colours(void);
unsigned ctl_terminal_width(void);

/* A table: titles, then rows of cells, printed with columns as wide as they must be. */

#define CTL_TABLE_COLUMNS_MAX 10

struct ctl_table {
	const char *const *titles; /* a leading '>' sets the column flush right */
	size_t columns;
	char **cells;              /* rows x columns */
	size_t rows, rows_room;
	bool failed;               /* out of memory: the table lacks rows */
};

void ctl_table_init(struct ctl_table *table, const char *const *titles, size_t columns);
/* Copies `columns` strings, cleaned. */
void ctl_table_row(struct ctl_table *table, const char *const *cells);
/* Print, indented by `indent`. */
void ctl_table_print(const struct ctl_table *table, unsigned indent);
void ctl_table_fini(struct ctl_table *table);

#endif
