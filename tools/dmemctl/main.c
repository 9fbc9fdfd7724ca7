/* SPDX-License-Identifier: Apache-2.0 */
/*
 * main.c: dmemctl, the tool that makes, shows, checks, enlarges and removes pools.
 *
 * This file turns the command line into a struct ctl and calls the command.  Options may stand anywhere, as "--name value"
 * or "--name=value"; "--" ends them.
 */
#include <locale.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>

#include "dmemctl/ctl.h"
#include "dmemctl/json.h"

static void print_log(void *context, enum dmem_log_level level, const char *message)
{
	static const char *const names[] = {"error", "warning", "info"};

	(void)context;
	fprintf(stderr, "dmemctl: %s: %s\n", names[level <= DMEM_LOG_INFO ? level : DMEM_LOG_INFO], message);
}

/* The option `argument` names, up to its "=" if any; CTL_OPTIONS when there is none. */
static enum ctl_option_id find_option(const char *argument)
{
	size_t length = strcspn(argument, "=");

	for (int i = 0; i < CTL_OPTIONS; i++) {
		const struct ctl_option *option = &ctl_options[i];

		if (option->letter != 0 && length == 2 && argument[0] == '-' && argument[1] == option->letter)
			return (enum ctl_option_id)i;
		if (strncmp(argument, "--", 2) == 0 && strlen(option->name) == length - 2 &&
		    strncmp(argument + 2, option->name, length - 2) == 0)
			return (enum ctl_option_id)i;
	}
	return CTL_OPTIONS;
}

/* Take the option at arguments[*at], and its value, which may be the next argument. */
static int take_option(struct ctl *ctl, char **arguments, int *at)
{
	const char *argument = arguments[*at];
	const char *value = strchr(argument, '=');
	enum ctl_option_id id = find_option(argument);

	if (id == CTL_OPTIONS)
		return ctl_usage(ctl, "there is no option \"%s\": see dmemctl %s%s--help", argument,
		                 ctl->command != NULL ? ctl->command->name : "", ctl->command != NULL ? " " : "");
	if (ctl_options[id].value == NULL) {
		if (value != NULL)
			return ctl_usage(ctl, "--%s takes no value: leave out \"%s\"", ctl_options[id].name, value);
		ctl->values[id] = "";
		return CTL_OK;
	}
	if (ctl_given(ctl, id))
		return ctl_usage(ctl, "--%s stands twice: say it once", ctl_options[id].name);
	value = value != NULL ? value + 1 : arguments[++*at];
	if (value == NULL || value[0] == '\0')
		return ctl_usage(ctl, "--%s wants a value: --%s %s", ctl_options[id].name, ctl_options[id].name,
		                 ctl_options[id].value);
	ctl->values[id] = value;
	return CTL_OK;
}

static int take_operand(struct ctl *ctl, const char *operand)
{
	if (ctl->command == NULL && !ctl_given(ctl, CTL_HELP) && strcmp(operand, "help") == 0) {
		ctl->values[CTL_HELP] = "";
		return CTL_OK;
	}
	if (ctl->command == NULL) {
		ctl->command = ctl_command_find(operand);
		if (ctl->command != NULL)
			return CTL_OK;
		return ctl_usage(ctl, "there is no command \"%s\": dmemctl --help lists them", operand);
	}
	if (ctl->operand_count == ctl->command->operands_max)
		return ctl_usage(ctl, "\"%s\" is one argument too many: usage: dmemctl %s %s", operand, ctl->command->name,
		                 ctl->command->operands);
	ctl->operands[ctl->operand_count++] = operand;
	return CTL_OK;
}

static int parse(struct ctl *ctl, char **arguments)
{
	bool options_end = false;
	int result = CTL_OK;

	for (int i = 1; arguments[i] != NULL && result == CTL_OK; i++) {
		if (options_end || arguments[i][0] != '-' || arguments[i][1] == '\0')
			result = take_operand(ctl, arguments[i]);
		else if (strcmp(arguments[i], "--") == 0)
			options_end = true;
		else
			result = take_option(ctl, arguments, &i);
		if (arguments[i] == NULL)
			break;
	}
	return result;
}

/* Is the command, which is there, complete, and are its options its own? */
static int check(const struct ctl *ctl)
{
	const struct ctl_command *command = ctl->command;

	for (int i = 0; i < CTL_OPTIONS; i++)
		if (ctl_given(ctl, (enum ctl_option_id)i) && ((command->options | CTL_COMMON) & CTL_BIT(i)) == 0)
			return ctl_usage(ctl, "%s takes no --%s: see dmemctl %s --help", command->name, ctl_options[i].name,
			                 command->name);
	if (ctl->operand_count < command->operands_min)
		return ctl_usage(ctl, "%s wants more: usage: dmemctl %s %s", command->name, command->name,
		                 command->operands);
	return CTL_OK;
}

static int print_version(const struct ctl *ctl)
{
	struct json_object *json;

	if (!ctl_given(ctl, CTL_JSON)) {
		printf("dmemctl %s (libdmem %s)\n", DMEM_VERSION_STRING, dmem_version());
		return CTL_OK;
	}
	json = ctl_json_object();
	ctl_json_text(json, "version", DMEM_VERSION_STRING);
	ctl_json_text(json, "library", dmem_version());
	return ctl_finish(ctl, json, 0);
}

static int run(struct ctl *ctl)
{
	int result;

	if (ctl_given(ctl, CTL_HELP)) {
		if (ctl->command != NULL)
			ctl_help_command(ctl->command);
		else
			ctl_help_general();
		return CTL_OK;
	}
	if (ctl_given(ctl, CTL_VERSION))
		return print_version(ctl);
	if (ctl->command == NULL)
		return ctl_usage(ctl, "which command? \"dmemctl info\" shows a pool, \"dmemctl --help\" lists the commands");
	result = check(ctl);
	if (result != CTL_OK)
		return result;
	if (ctl_given(ctl, CTL_VERBOSE))
		dmem_set_log(print_log, NULL);
	return ctl->command->run(ctl);
}

int main(int argc, char **argv)
{
	struct ctl ctl = {.operand_count = 0};
	int result;

	/* The decimal point stays a point: only which characters can be printed is the user's choice. */
	setlocale(LC_CTYPE, "");
	/* A reader that goes away must not kill a member: the write fails instead, and we detach. */
	signal(SIGPIPE, SIG_IGN);
	/* Before the rest, so that a command line that is wrong gets its error as it was asked for. */
	for (int i = 1; i < argc && strcmp(argv[i], "--") != 0; i++)
		if (strcmp(argv[i], "--json") == 0 || strcmp(argv[i], "-j") == 0)
			ctl.values[CTL_JSON] = "";
	result = parse(&ctl, argv);
	if (result == CTL_OK)
		result = run(&ctl);
	return ctl_flush(result);
}
