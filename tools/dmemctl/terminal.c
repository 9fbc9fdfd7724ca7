/* SPDX-License-Identifier: Apache-2.0 */
/* terminal.c: how wide the output may be, which characters it understands, and whether it may be coloured. */
#include <langinfo.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "dmemctl/print.h"

#define WIDTH_DEFAULT 80u
#define WIDTH_LEAST 20u
#define WIDTH_MOST 400u

bool ctl_terminal_utf8(void)
{
	return strcmp(nl_langinfo(CODESET), "UTF-8") == 0;
}

/* https://no-color.org: set and not empty means none. */
bool ctl_terminal_colours(void)
{
	const char *no_color = getenv("NO_COLOR");
	const char *term = getenv("TERM");

	if (no_color != NULL && no_color[0] != '\0')
		return false;
	if (term == NULL || strcmp(term, "dumb") == 0)
		return false;
	return isatty(STDOUT_FILENO) == 1;
}

unsigned ctl_terminal_width(void)
{
	const char *columns = getenv("COLUMNS");
	unsigned long width = 0;
	struct winsize size;
	char *end;

	if (columns != NULL && columns[0] >= '0' && columns[0] <= '9') {
		width = strtoul(columns, &end, 10);
		if (*end != '\0')
			width = 0;
	}
	if (width == 0 && ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) == 0)
		width = size.ws_col;
	if (width == 0)
		width = WIDTH_DEFAULT;
	if (width < WIDTH_LEAST)
		return WIDTH_LEAST;
	return width < WIDTH_MOST ? (unsigned)width : WIDTH_MOST;
}
