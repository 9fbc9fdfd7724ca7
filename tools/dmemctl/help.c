/* SPDX-License-Identifier: Apache-2.0 */
/* help.c: what --help prints. */
#include <stdio.h>

#include "dmemctl/ctl.h"

static void print_options(uint32_t options)
{
	for (int i = 0; i < CTL_OPTIONS; i++) {
		const struct ctl_option *option = &ctl_options[i];
		char left[64];

		if ((options & CTL_BIT(i)) == 0)
			continue;
		snprintf(left, sizeof(left), "%s%s%s", option->name, option->value != NULL ? " " : "",
		         option->value != NULL ? option->value : "");
		if (option->letter != 0)
			printf("  -%c, --%-28s  %s\n", option->letter, left, option->text);
		else
			printf("      --%-28s  %s\n", left, option->text);
	}
}

static void print_uris(void)
{
	puts("A pool is named by a URI: file:/dev/shm/NAME, or a file on any other file system; dax:/dev/dax0.0, a DAX device;\n"
	     "cxl:region0 or cxl:SERIAL, one on the CXL bus.  Where URI may be left out, the environment's DMEM_POOL names the\n"
	     "pool, and without it the default pool of this user is meant, file:/dev/shm/dmem-UID.");
}

void ctl_help_general(void)
{
	puts("dmemctl makes, shows, checks, enlarges and removes pools of libdmem.\n"
	     "\n"
	     "usage: dmemctl COMMAND [URI] [OPTION...]\n"
	     "\n"
	     "commands");
	for (const struct ctl_command *command = ctl_commands; command->name != NULL; command++)
		printf("  %-8s %-16s  %s\n", command->name, command->operands, command->summary);
	puts("\noptions that every command takes");
	print_options(CTL_COMMON | CTL_BIT(CTL_VERSION));
	putchar('\n');
	print_uris();
	puts("\n"
	     "a first session\n"
	     "  dmemctl create file:/dev/shm/first --size 1G     make a pool of 1 GiB\n"
	     "  export DMEM_POOL=file:/dev/shm/first             let programs, and dmemctl, use it\n"
	     "  dmemctl info                                     what it is, how full it is\n"
	     "  dmemctl map                                      what fills it\n"
	     "  dmemctl destroy file:/dev/shm/first              remove it\n"
	     "\n"
	     "exit codes\n"
	     "  0  done, and what was asked about is in order\n"
	     "  1  the pool is damaged, or memory of it was lost\n"
	     "  2  the command line can't be understood; no pool was touched\n"
	     "  3  the system or the pool refused\n"
	     "\n"
	     "dmemctl COMMAND --help explains a command, with examples.");
}

void ctl_help_command(const struct ctl_command *command)
{
	printf("dmemctl %s: %s\n\nusage: dmemctl %s%s%s [OPTION...]\n\n%s\noptions\n", command->name, command->summary,
	       command->name, command->operands[0] != '\0' ? " " : "", command->operands, command->text);
	print_options(command->options | CTL_COMMON);
	putchar('\n');
	print_uris();
}
