/* SPDX-License-Identifier: Apache-2.0 */
/*
 * ctl.h: what the files of dmemctl share.
 *
 * A command is one function that gets the parsed command line, prints to stdout and returns the exit code.  It gathers
 * first and prints then, so that with --json stdout holds exactly one document whatever happens.
 */
#ifndef DMEMCTL_CTL_H
#define DMEMCTL_CTL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "dmem/dmem.h"
#include "inspect.h"

/* What the program's exit code says. */
enum ctl_exit {
	CTL_OK = 0,           /* done, and what was asked about is in order */
	CTL_NOT_IN_ORDER = 1, /* what was asked about is damaged or lost */
	CTL_USAGE = 2,        /* the command line can't be understood: no pool was touched */
	CTL_REFUSED = 3,      /* the system or the pool refused */
};

/* Options with a value, then switches; the order is that of ctl_options[]. */
enum ctl_option_id {
	CTL_SIZE,
	CTL_BASE,
	CTL_SPAN,
	CTL_COHERENCE,
	CTL_ATOMICS,
	CTL_LEASE,
	CTL_BEAT,
	CTL_MODE,
	CTL_MEMBERS,
	CTL_REPAIR,
	CTL_ALL,
	CTL_JSON,
	CTL_VERBOSE,
	CTL_HELP,
	CTL_VERSION,
	CTL_OPTIONS,
};
#define CTL_BIT(option) (UINT32_C(1) << (option))

struct ctl_option {
	const char *name;  /* without the dashes; a value's option is also a key of the URI with this name */
	char letter;       /* short form, or 0 */
	const char *value; /* what its value is called in the help; NULL for a switch */
	const char *text;
};

#define CTL_OPERANDS_MAX 2

/* One command line, parsed. */
struct ctl {
	const struct ctl_command *command;
	const char *values[CTL_OPTIONS]; /* of options that were given; "" for switches; NULL for the others */
	const char *operands[CTL_OPERANDS_MAX];
	int operand_count;
	char default_uri[4400]; /* room for ctl_default_uri() */
};

struct ctl_command {
	const char *name;
	const char *operands;       /* for the usage line */
	int operands_min, operands_max;
	uint32_t options;           /* CTL_BIT of those it takes besides the common ones */
	int (*run)(struct ctl *);   /* returns enum ctl_exit */
	const char *summary;        /* one line */
	const char *text;           /* what it does, and examples */
};

extern const struct ctl_option ctl_options[CTL_OPTIONS];
extern const struct ctl_command ctl_commands[]; /* ends with a NULL name */
#define CTL_COMMON (CTL_BIT(CTL_JSON) | CTL_BIT(CTL_VERBOSE) | CTL_BIT(CTL_HELP))

/* commands.c, help.c */
const struct ctl_command *ctl_command_find(const char *name);
void ctl_help_general(void);
void ctl_help_command(const struct ctl_command *command);

/* The commands. */
int ctl_run_create(struct ctl *ctl);
int ctl_run_info(struct ctl *ctl);
int ctl_run_members(struct ctl *ctl);
int ctl_run_map(struct ctl *ctl);
int ctl_run_roots(struct ctl *ctl);
int ctl_run_fsck(struct ctl *ctl);
int ctl_run_grow(struct ctl *ctl);
int ctl_run_add(struct ctl *ctl);
int ctl_run_destroy(struct ctl *ctl);
int ctl_run_evict(struct ctl *ctl);
int ctl_run_dead(struct ctl *ctl);
int ctl_run_devices(struct ctl *ctl);

/* pool.c: URIs and the pool that is looked at. */

struct ctl_pool {
	struct dmem_pool *pool;
	struct dmem_pool_info info; /* its uri is harmless to print */
};

static inline bool ctl_given(const struct ctl *ctl, enum ctl_option_id option)
{
	return ctl->values[option] != NULL;
}

/* The first operand when it is a URI, else what DMEM_POOL says, else the library's default pool. */
const char *ctl_uri(struct ctl *ctl, bool from_operand);

/* `uri` with each given option that has a value as a key behind it, malloc'ed in `joined`. */
int ctl_uri_with_options(struct ctl *ctl, const char *uri, char **joined);

/* CTL_OK when `uri` can be understood; else the failure was reported and its exit code is returned. */
int ctl_uri_check(struct ctl *ctl, const char *uri);

/* Attach for looking and get the info; failures are reported. */
int ctl_pool_open(struct ctl *ctl, const char *uri, struct ctl_pool *pool);
void ctl_pool_close(struct ctl_pool *pool);

const char *ctl_coherence_name(enum dmem_coherence coherence);
const char *ctl_atomics_name(enum dmem_atomics atomics);

/* report.c: failures.  Each prints one line to stderr and, with --json, the error document. */

/* The command line is wrong. */
int ctl_usage(const struct ctl *ctl, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* The library's latest failure with `code`; the exit code that belongs to it. */
int ctl_refused(const struct ctl *ctl, int code);
/* The same for a failure after which something can be shown: with --json the error joins the document `json`, which is
 * printed and released.  `code` 0 prints just the document. */
struct json_object;
int ctl_finish(const struct ctl *ctl, struct json_object *json, int code);
/* CTL_OK when everything that was printed has arrived. */
int ctl_flush(int exit_code);

#endif
