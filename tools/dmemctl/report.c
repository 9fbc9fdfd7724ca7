/* SPDX-License-Identifier: Apache-2.0 */
/* report.c: how dmemctl says that something failed. */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "dmemctl/ctl.h"
#include "dmemctl/json.h"
#include "dmemctl/print.h"

#define MESSAGE_BYTES 8192

static void print_line(const char *message)
{
	char clean[MESSAGE_BYTES];

	fprintf(stderr, "dmemctl: %s\n", ctl_print_clean(clean, sizeof(clean), message, ctl_terminal_utf8()));
}

/* What the library said last, or what the code means in general. */
static const char *sentence(int code)
{
	const char *message = dmem_last_error();

	return message[0] != '\0' ? message : dmem_strerror(code);
}

static int exit_of(int code)
{
	switch (code) {
	case 0:
		return CTL_OK;
	case DMEM_E_CORRUPT:
	case DMEM_E_LOST:
		return CTL_NOT_IN_ORDER;
	default:
		return CTL_REFUSED;
	}
}

static void print_error_document(int code, const char *message)
{
	struct json_object *json = ctl_json_object();

	ctl_json_put(json, "error", ctl_json_error(code, message));
	ctl_json_print(json);
}

int ctl_usage(const struct ctl *ctl, const char *format, ...)
{
	char message[MESSAGE_BYTES];
	va_list arguments;

	va_start(arguments, format);
	vsnprintf(message, sizeof(message), format, arguments);
	va_end(arguments);
	print_line(message);
	if (ctl_given(ctl, CTL_JSON))
		print_error_document(DMEM_E_OPTION, message);
	return CTL_USAGE;
}

int ctl_refused(const struct ctl *ctl, int code)
{
	print_line(sentence(code));
	if (ctl_given(ctl, CTL_JSON))
		print_error_document(code, sentence(code));
	return exit_of(code);
}

int ctl_finish(const struct ctl *ctl, struct json_object *json, int code)
{
	if (code != 0) {
		print_line(sentence(code));
		if (json != NULL)
			ctl_json_put(json, "error", ctl_json_error(code, sentence(code)));
	}
	if (ctl_given(ctl, CTL_JSON) && !ctl_json_print(json)) {
		print_line("out of memory while the document was made: free some, or ask for less");
		return CTL_REFUSED;
	}
	return exit_of(code);
}

int ctl_flush(int exit_code)
{
	if (fflush(stdout) == 0 && !ferror(stdout))
		return exit_code;
	print_line("the output could not be written: is its disk full, or its reader gone?");
	return exit_code != CTL_OK ? exit_code : CTL_REFUSED;
}
