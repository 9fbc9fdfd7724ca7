/* SPDX-License-Identifier: Apache-2.0 */
/* commands.c: the table of commands and options; --help is made from it. */
#include <string.h>

#include "dmemctl/ctl.h"

const struct ctl_option ctl_options[CTL_OPTIONS] = {
	[CTL_SIZE] = {"size", 0, "SIZE", "capacity: 64M, 1G, 2.5T; powers of 1024"},
	[CTL_BASE] = {"base", 0, "ADDRESS", "where the window begins in every process: 0x200000000000"},
	[CTL_SPAN] = {"span", 0, "SIZE", "how large the pool may ever grow: address space, not memory"},
	[CTL_COHERENCE] = {"coherence", 0, "coherent|noncoherent", "does a store of one host reach the others by itself?"},
	[CTL_ATOMICS] = {"atomics", 0, "cpu|delegate", "who carries out atomic operations"},
	[CTL_LEASE] = {"lease", 0, "TIME", "a host that is silent this long is fenced: 1s, 500ms"},
	[CTL_BEAT] = {"beat", 0, "TIME", "how often members show that they live: 100ms"},
	[CTL_MODE] = {"mode", 0, "OCTAL", "permission bits of a pool file: 0600, 0660"},
	[CTL_MEMBERS] = {"members", 0, "N", "how many processes can be attached at a time: 16 to 4096"},
	[CTL_REPAIR] = {"repair", 0, NULL, "put right what can be put right without losing data"},
	[CTL_ALL] = {"all", 'a', NULL, "count and list this tool as well, which is a member while it looks"},
	[CTL_JSON] = {"json", 'j', NULL, "one JSON document on stdout, an \"error\" in it on failure"},
	[CTL_VERBOSE] = {"verbose", 'v', NULL, "show on stderr what the library reports meanwhile"},
	[CTL_HELP] = {"help", 'h', NULL, "teach; after a command, teach that command"},
	[CTL_VERSION] = {"version", 'V', NULL, "say which version this is"},
};

#define CREATE_OPTIONS                                                                                               \
	(CTL_BIT(CTL_SIZE) | CTL_BIT(CTL_BASE) | CTL_BIT(CTL_SPAN) | CTL_BIT(CTL_COHERENCE) | CTL_BIT(CTL_ATOMICS) | \
	 CTL_BIT(CTL_LEASE) | CTL_BIT(CTL_BEAT) | CTL_BIT(CTL_MODE) | CTL_BIT(CTL_MEMBERS))

const struct ctl_command ctl_commands[] = {
	{"create", "[URI]", 0, 1, CREATE_OPTIONS, ctl_run_create, "make a pool",
	 "Makes a pool and says what was made.  The file is sparse: it takes space as memory is used.  Nothing that exists\n"
	 "is overwritten.  The window is the range of addresses at which every process will see the pool; it is chosen now\n"
	 "and never moves.  Each option can as well stand in the URI, as a key: file:/dev/shm/a?size=1G.\n"
	 "\n"
	 "  dmemctl create file:/dev/shm/a --size 1G\n"
	 "  dmemctl create file:/dev/shm/big --size 64G --span 1T      (room to grow to 1 TiB later)\n"
	 "  dmemctl create file:/mnt/pool/b --size 8G --mode 0660 --members 512\n"
	 "  dmemctl create --size 4G                                   (the default pool of this user)\n"},
	{"info", "[URI]", 0, 1, CTL_BIT(CTL_ALL), ctl_run_info, "what a pool is and how full it is",
	 "Shows identity, window, space, devices, and for each size class of the shared allocator how many of its blocks\n"
	 "are in use, wait to be collected by their owner, or are wasted.\n"
	 "\n"
	 "  dmemctl info file:/dev/shm/a\n"
	 "  dmemctl info                                               (the pool that DMEM_POOL names)\n"
	 "  dmemctl info --json | jq .free_bytes\n"},
	{"members", "[URI]", 0, 1, CTL_BIT(CTL_ALL), ctl_run_members, "who has the pool attached",
	 "Lists the processes that have the pool attached, on every host: state, host, process, heartbeats and how much\n"
	 "memory they lease.  ALIVE says what can be told from here: \"unknown\" for processes on other hosts.\n"
	 "\n"
	 "  dmemctl members file:/dev/shm/a\n"
	 "  dmemctl members --json | jq '.members[] | select(.alive == false)'\n"},
	{"map", "[URI]", 0, 1, 0, ctl_run_map, "draw what fills a pool",
	 "Draws the pool in the terminal, one mark for a group of extents (of 2 MiB), as wide as the terminal (or COLUMNS)\n"
	 "and at most 24 rows, then what each kind takes.  Colours only on a terminal, and not with NO_COLOR set.\n"
	 "\n"
	 "  free         nobody has it               metadata     the library's own\n"
	 "  leased       a member's, nothing in it   slabs        small and medium shared blocks\n"
	 "  run          large shared blocks         private      private memory of one member\n"
	 "  quarantined  failed a check, or waits until a fenced member is known to be dead\n"
	 "\n"
	 "  dmemctl map file:/dev/shm/a\n"
	 "  watch -n 1 dmemctl map file:/dev/shm/a\n"
	 "  dmemctl map --json | jq .kinds.slabs\n"},
	{"roots", "[URI]", 0, 1, 0, ctl_run_roots, "the named objects of a pool",
	 "Lists the names that dmem_root_set() gave, with the address of the object, equal in every process, and its\n"
	 "distance from the beginning of the window.\n"
	 "\n"
	 "  dmemctl roots file:/dev/shm/a\n"},
	{"fsck", "[URI]", 0, 1, CTL_BIT(CTL_REPAIR), ctl_run_fsck, "check a pool, and repair it",
	 "Checks every structure of a pool, which may be in use or too damaged to attach, and prints each finding.  Without\n"
	 "--repair damage is left as it is.  (What members left behind that died is taken over in any case, as by every\n"
	 "process that attaches.)  Exit code 0: clean.  1: something was found, and with --repair perhaps repaired, the last\n"
	 "line says so; run it again to see a 0.  3: there is no such pool, or it can't be opened.\n"
	 "\n"
	 "  dmemctl fsck file:/dev/shm/a\n"
	 "  dmemctl fsck file:/dev/shm/a --repair\n"
	 "  dmemctl fsck --json | jq -r .findings[]\n"},
	{"grow", "[URI] SIZE", 1, 2, 0, ctl_run_grow, "make the first device of a pool larger",
	 "Gives the pool's first device a new size, or with a + before it that much more, while members use the pool.\n"
	 "\n"
	 "  dmemctl grow file:/dev/shm/a 2G\n"
	 "  dmemctl grow file:/dev/shm/a +512M\n"
	 "  dmemctl grow +512M                                         (the pool that DMEM_POOL names)\n"},
	{"add", "[URI] DEVICE-URI", 1, 2, CTL_BIT(CTL_SIZE), ctl_run_add, "add a device to a pool",
	 "Adds another device's memory to the pool, while members use it.  A file is created for it.\n"
	 "\n"
	 "  dmemctl add file:/dev/shm/a file:/mnt/huge/a2 --size 4G\n"
	 "  dmemctl add file:/mnt/huge/a2 --size 4G                    (to the pool that DMEM_POOL names)\n"},
	{"evict", "[URI] SLOT", 1, 2, 0, ctl_run_evict, "go on without a member that does not answer",
	 "Fences the member of a slot: its locks are released, nobody waits for it any more, its own calls are refused.  On this\n"
	 "host it is cut off first, so that no later store of its reaches the pool.  Its memory waits until it ends, or until it is\n"
	 "said to be dead.  Members that are silent for a lease are fenced without this.\n"
	 "\n"
	 "  dmemctl evict file:/dev/shm/a 3\n"},
	{"dead", "[URI] SLOT", 1, 2, 0, ctl_run_dead, "say that a member of another host does not run any more",
	 "Says that the member of a slot has ended, which can't be seen from here: its host is off, or its process is gone.  What\n"
	 "it had is taken over.  If it runs all the same, it and others will use the same memory.  Refused for a process of this\n"
	 "host that runs.\n"
	 "\n"
	 "  dmemctl dead file:/dev/shm/a 3\n"},
	{"destroy", "URI", 1, 1, 0, ctl_run_destroy, "remove a pool and all that is in it",
	 "Removes a pool.  It asks nothing, and there is no way back; so it wants the pool named and never takes the default.\n"
	 "A pool that a living process has attached is not removed: dmemctl members says who has it.\n"
	 "\n"
	 "  dmemctl destroy file:/dev/shm/a\n"},
	{"devices", "", 0, 0, 0, ctl_run_devices, "the CXL and DAX devices of this machine",
	 "Lists the CXL memory devices and regions that libcxl sees and the DAX devices that libdaxctl sees.  A pool can be put\n"
	 "on a DAX device in mode devdax; the last column of the tables says by which URI.\n"
	 "\n"
	 "  dmemctl devices\n"
	 "  dmemctl create dax:/dev/dax0.0\n"
	 "  dmemctl create cxl:region0 --coherence coherent\n"
	 "  dmemctl devices --json | jq '.dax[] | select(.mode == \"devdax\") | .path'\n"},
	{NULL, NULL, 0, 0, 0, NULL, NULL, NULL},
};

const struct ctl_command *ctl_command_find(const char *name)
{
	for (const struct ctl_command *command = ctl_commands; command->name != NULL; command++)
		if (strcmp(command->name, name) == 0)
			return command;
	return NULL;
}
