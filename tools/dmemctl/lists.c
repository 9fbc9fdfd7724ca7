/* SPDX-License-Identifier: Apache-2.0 */
/* lists.c: members and roots: tables of what a pool knows. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/arith.h"
#include "dmemctl/ctl.h"
#include "dmemctl/json.h"
#include "dmemctl/print.h"

/* A walk that fills a table, or a JSON array. */
struct walk {
	const struct ctl *ctl;
	const struct dmem_pool_info *info;
	struct ctl_table table;
	struct json_object *list; /* NULL: the table is filled */
};

static void walk_init(struct walk *walk, const struct ctl *ctl, const struct ctl_pool *pool, const char *const *titles,
                      size_t columns)
{
	*walk = (struct walk){.ctl = ctl, .info = &pool->info};
	ctl_table_init(&walk->table, titles, columns);
	if (ctl_given(ctl, CTL_JSON))
		walk->list = ctl_json_array();
}

/* Print what the walk gathered before it ended with `code`, and release it. */
static int walk_print(struct walk *walk, const char *key, const char *nothing, int code)
{
	struct json_object *json = NULL;
	int result;

	if (walk->list != NULL) {
		json = ctl_json_object();
		ctl_json_text(json, "uri", walk->info->uri);
		ctl_json_put(json, key, walk->list);
	} else if (walk->table.rows == 0 && code == 0) {
		printf("%s\n", nothing);
	} else {
		ctl_table_print(&walk->table, 0);
	}
	result = ctl_finish(walk->ctl, json, code);
	if (walk->table.failed) {
		fprintf(stderr, "dmemctl: out of memory: the list is not complete\n");
		result = CTL_REFUSED;
	}
	ctl_table_fini(&walk->table);
	return result;
}

static const char *const member_titles[] = {
	">SLOT", "STATE", "ALIVE", "HOST", ">PID", "PROGRAM", ">BEATS", ">CHUNKS", ">LEASED",
};
#define MEMBER_COLUMNS DM_ARRAY_LENGTH(member_titles)

static const char *const root_titles[] = {"NAME", ">ADDRESS", ">OFFSET", ">INTO THE WINDOW"};
#define ROOT_COLUMNS DM_ARRAY_LENGTH(root_titles)

static const char *alive_name(int alive)
{
	return alive > 0 ? "yes" : alive == 0 ? "no" : "unknown";
}

static struct json_object *member_json(const struct dm_inspect_member *member, bool self)
{
	struct json_object *json = ctl_json_object();

	ctl_json_number(json, "slot", member->slot);
	ctl_json_number(json, "incarnation", member->incarnation);
	ctl_json_text(json, "state", member->state);
	ctl_json_uuid(json, "host", member->host);
	ctl_json_text(json, "host_name", member->host_name);
	ctl_json_flag(json, "same_host", member->same_host != 0);
	if (member->alive < 0)
		ctl_json_null(json, "alive");
	else
		ctl_json_flag(json, "alive", member->alive != 0);
	ctl_json_signed(json, "pid", member->pid);
	ctl_json_text(json, "program", member->program);
	ctl_json_number(json, "beats", member->beats);
	ctl_json_number(json, "chunks", member->chunks);
	ctl_json_number(json, "leased_bytes", member->leased_bytes);
	ctl_json_flag(json, "self", self);
	return json;
}

static int take_member(void *context, const struct dm_inspect_member *member)
{
	struct walk *walk = context;
	char slot[CTL_TEXT_BYTES], pid[CTL_TEXT_BYTES], beats[CTL_TEXT_BYTES], chunks[CTL_TEXT_BYTES];
	char leased[CTL_TEXT_BYTES];
	const char *row[MEMBER_COLUMNS];
	bool self = member->slot == walk->info->self && member->incarnation == walk->info->self_incarnation;

	if (self && !ctl_given(walk->ctl, CTL_ALL))
		return 0;
	if (walk->list != NULL) {
		ctl_json_append(walk->list, member_json(member, self));
		return 0;
	}
	snprintf(pid, sizeof(pid), "%" PRId32, member->pid);
	row[0] = ctl_print_number(slot, member->slot);
	row[1] = member->state;
	row[2] = alive_name(member->alive);
	row[3] = member->host_name;
	row[4] = pid;
	row[5] = self ? "dmemctl (this one)" : member->program;
	row[6] = ctl_print_number(beats, member->beats);
	row[7] = ctl_print_number(chunks, member->chunks);
	row[8] = ctl_print_size(leased, member->leased_bytes);
	ctl_table_row(&walk->table, row);
	return 0;
}

int ctl_run_members(struct ctl *ctl)
{
	struct ctl_pool pool;
	struct walk walk;
	int result = ctl_pool_open(ctl, ctl_uri(ctl, ctl->operand_count == 1), &pool);
	int code;

	if (result != CTL_OK)
		return result;
	walk_init(&walk, ctl, &pool, member_titles, MEMBER_COLUMNS);
	code = dm_inspect_members(pool.pool, take_member, &walk);
	result = walk_print(&walk, "members", "no members: nobody has the pool attached", code);
	ctl_pool_close(&pool);
	return result;
}

static int take_root(void *context, const struct dm_inspect_root *root)
{
	struct walk *walk = context;
	char address[CTL_TEXT_BYTES], offset[CTL_TEXT_BYTES], human[CTL_TEXT_BYTES];
	const char *row[ROOT_COLUMNS];
	struct json_object *json;

	if (walk->list == NULL) {
		row[0] = root->name;
		row[1] = ctl_print_address(address, walk->info->base + root->offset);
		row[2] = ctl_print_address(offset, root->offset);
		row[3] = ctl_print_size(human, root->offset);
		ctl_table_row(&walk->table, row);
		return 0;
	}
	json = ctl_json_object();
	ctl_json_text(json, "name", root->name);
	ctl_json_address(json, "address", walk->info->base + root->offset);
	ctl_json_number(json, "offset", root->offset);
	ctl_json_append(walk->list, json);
	return 0;
}

int ctl_run_roots(struct ctl *ctl)
{
	struct ctl_pool pool;
	struct walk walk;
	int result = ctl_pool_open(ctl, ctl_uri(ctl, ctl->operand_count == 1), &pool);
	int code;

	if (result != CTL_OK)
		return result;
	walk_init(&walk, ctl, &pool, root_titles, ROOT_COLUMNS);
	code = dm_inspect_roots(pool.pool, take_root, &walk);
	result = walk_print(&walk, "roots", "no roots: no object has a name (dmem_root_set() gives one)", code);
	ctl_pool_close(&pool);
	return result;
}
