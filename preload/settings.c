/* SPDX-License-Identifier: Apache-2.0 */
/* settings.c: what the environment says, read once. */
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/prctl.h>
#include <unistd.h>

#include "base/arith.h"
#include "shim.h"

#define HIGH_FD    200 /* clear of the numbers that shells and their scripts use */
#define NAME_BYTES 16  /* of a thread, with the final zero */

static char own_name[NAME_BYTES];
static int said_to = STDERR_FILENO;

void shim_say(const char *format, ...)
{
	static const char prefix[] = "libdmem_preload: ";
	const int errno_before = errno;
	char line[512];
	size_t length = sizeof(prefix) - 1;
	va_list arguments;
	int more;

	memcpy(line, prefix, length);
	va_start(arguments, format);
	more = vsnprintf(line + length, sizeof(line) - length - 1, format, arguments);
	va_end(arguments);
	if (more > 0)
		length += (size_t)more < sizeof(line) - length - 1 ? (size_t)more : sizeof(line) - length - 2;
	line[length++] = '\n';
	if (write(said_to, line, length) < 0) { /* nobody to tell */
	}
	errno = errno_before;
}

void shim_keep_stderr(void)
{
	const int copy = fcntl(STDERR_FILENO, F_DUPFD_CLOEXEC, HIGH_FD);

	if (copy >= 0)
		said_to = copy;
}

const char *shim_program_name(void)
{
	return own_name;
}

/* "64K", "1M", "2G", "1T" or plain bytes.  False: it is none of these. */
static bool parse_size(const char *text, uint64_t *bytes)
{
	static const char suffixes[] = "KMGT";
	uint64_t value = 0, unit = 1;
	const char *suffix;

	if (*text < '0' || *text > '9')
		return false;
	for (; *text >= '0' && *text <= '9'; text++)
		if (!dm_multiply(value, 10, &value) || !dm_add(value, (uint64_t)(*text - '0'), &value))
			return false;
	if (*text) {
		suffix = strchr(suffixes, *text >= 'a' && *text <= 'z' ? *text - 'a' + 'A' : *text);
		if (!suffix || text[1])
			return false;
		unit <<= 10 * (suffix - suffixes + 1);
	}
	return dm_multiply(value, unit, bytes);
}

static const char *base_name(const char *path)
{
	const char *slash = path ? strrchr(path, '/') : NULL;

	return slash ? slash + 1 : path;
}

static bool is_listed(const char *list, const char *name)
{
	const size_t length = name ? strlen(name) : 0;

	while (length && list && *list) {
		const size_t item = strcspn(list, ",");

		if (item == length && !memcmp(list, name, length))
			return true;
		list += item + (list[item] == ',');
	}
	return false;
}

static bool is_excluded(void)
{
	const char *list = getenv("DMEM_PRELOAD_EXCLUDE");
	const char *path = (const char *)getauxval(AT_EXECFN);

	return is_listed(list, own_name) || is_listed(list, base_name(path)) ||
	       is_listed(list, program_invocation_short_name);
}

void shim_settings_read(struct shim_settings *settings)
{
	const char *text;

	*settings = (struct shim_settings){.local_bytes_max = UINT64_MAX};
	prctl(PR_GET_NAME, own_name);
	if (getauxval(AT_SECURE) || is_excluded())
		return;
	text = getenv("DMEM_STATS");
	settings->stats = text && !strcmp(text, "1");
	text = getenv("DMEM_LOCAL_MAX");
	if (text && *text && !parse_size(text, &settings->local_bytes_max)) {
		settings->local_bytes_max = UINT64_MAX;
		shim_say("DMEM_LOCAL_MAX=%s is not a size like 512M: all memory is local", text);
	}
}
