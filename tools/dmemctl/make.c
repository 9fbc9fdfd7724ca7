/* SPDX-License-Identifier: Apache-2.0 */
/* make.c: create, grow, add, destroy: the commands that change which memory a pool has. */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/arith.h"
#include "dmemctl/ctl.h"
#include "dmemctl/json.h"
#include "dmemctl/print.h"
#include "transport/uri.h"

static void print_created(const struct dmem_pool_info *info)
{
	char a[CTL_TEXT_BYTES], b[CTL_TEXT_BYTES];

	printf("created   %s\n", info->uri);
	printf("uuid      %s\n", ctl_print_uuid(a, info->uuid));
	printf("size      %s\n", ctl_print_size(a, info->size_bytes));
	printf("window    %s", ctl_print_address(a, info->base));
	printf(" to %s, span %s\n", ctl_print_address(a, info->base + info->span_bytes),
	       ctl_print_size(b, info->span_bytes));
	printf("mode      %s, atomics by %s\n", ctl_coherence_name(info->coherence), ctl_atomics_name(info->atomics));
	printf("members   %" PRIu32 " at most, lease %s, beat %s\n", info->members_max, ctl_print_ms(a, info->lease_ms),
	       ctl_print_ms(b, info->beat_ms));
	printf("\nUse it:   export DMEM_POOL=%s\n", info->uri);
}

static struct json_object *created_json(const struct dmem_pool_info *info)
{
	struct json_object *json = ctl_json_object();

	ctl_json_text(json, "uri", info->uri);
	ctl_json_uuid(json, "uuid", info->uuid);
	ctl_json_number(json, "size_bytes", info->size_bytes);
	ctl_json_address(json, "base", info->base);
	ctl_json_address(json, "end", info->base + info->span_bytes);
	ctl_json_number(json, "span_bytes", info->span_bytes);
	ctl_json_text(json, "coherence", ctl_coherence_name(info->coherence));
	ctl_json_text(json, "atomics", ctl_atomics_name(info->atomics));
	ctl_json_number(json, "lease_ms", info->lease_ms);
	ctl_json_number(json, "beat_ms", info->beat_ms);
	ctl_json_number(json, "members_max", info->members_max);
	return json;
}

int ctl_run_create(struct ctl *ctl)
{
	struct ctl_pool pool;
	char *uri;
	int result = ctl_uri_with_options(ctl, ctl_uri(ctl, ctl->operand_count == 1), &uri);
	int code;

	if (result != CTL_OK)
		return result;
	result = ctl_uri_check(ctl, uri);
	if (result != CTL_OK)
		goto out;
	code = dmem_pool_create(uri, NULL);
	if (code != 0) {
		result = ctl_refused(ctl, code);
		goto out;
	}
	/* What was chosen where nothing was said is in the pool itself. */
	result = ctl_pool_open(ctl, uri, &pool);
	if (result != CTL_OK) {
		fprintf(stderr, "dmemctl: the pool was created, but can't be looked at\n");
		goto out;
	}
	if (ctl_given(ctl, CTL_JSON))
		result = ctl_finish(ctl, created_json(&pool.info), 0);
	else
		print_created(&pool.info);
	ctl_pool_close(&pool);
out:
	free(uri);
	return result;
}

/* Print what the pool has now that it had `before`, after grow or add of `what`. */
static int print_larger(struct ctl *ctl, struct ctl_pool *pool, uint64_t before, const char *device)
{
	struct dmem_pool_info info = {.struct_bytes = sizeof(info)};
	char a[CTL_TEXT_BYTES], b[CTL_TEXT_BYTES], c[CTL_TEXT_BYTES];
	struct json_object *json;
	int code = dmem_pool_info(pool->pool, &info);

	if (code != 0)
		return ctl_refused(ctl, code);
	if (!ctl_given(ctl, CTL_JSON)) {
		if (device != NULL)
			printf("added %s to %s: ", device, pool->info.uri);
		else
			printf("grew %s: ", pool->info.uri);
		printf("%s before, %s now, %s of it free\n", ctl_print_size(a, before), ctl_print_size(b, info.size_bytes),
		       ctl_print_size(c, info.free_bytes));
		return CTL_OK;
	}
	json = ctl_json_object();
	ctl_json_text(json, "uri", pool->info.uri);
	if (device != NULL)
		ctl_json_text(json, "device", device);
	ctl_json_number(json, "size_before_bytes", before);
	ctl_json_number(json, "size_bytes", info.size_bytes);
	ctl_json_number(json, "free_bytes", info.free_bytes);
	ctl_json_number(json, "devices", info.devices);
	ctl_json_number(json, "segments", info.segments);
	return ctl_finish(ctl, json, 0);
}

static int first_device_size(void *context, const struct dm_inspect_device *device)
{
	*(uint64_t *)context = device->size_bytes;
	return 1;
}

/* The size of the first device that is asked for: "2G", or "+1G" for more than it has. */
static int wanted_size(struct ctl *ctl, struct ctl_pool *pool, const char *text, uint64_t bytes, uint64_t *wanted)
{
	uint64_t size = 0;
	int code;

	*wanted = bytes;
	if (text[0] != '+')
		return CTL_OK;
	code = dm_inspect_devices(pool->pool, first_device_size, &size);
	if (code < 0)
		return ctl_refused(ctl, code);
	if (!dm_add(size, bytes, wanted))
		return ctl_usage(ctl, "SIZE \"%s\" is more than 64 bits can count: give less", text);
	return CTL_OK;
}

int ctl_run_grow(struct ctl *ctl)
{
	const char *text = ctl->operands[ctl->operand_count - 1];
	struct ctl_pool pool;
	uint64_t bytes;
	int result, code;

	if (strchr(text, ':') != NULL)
		return ctl_usage(ctl, "grow wants a size after \"%s\": usage: dmemctl grow [URI] SIZE", text);
	if (dm_uri_parse_size(text + (text[0] == '+'), "SIZE", &bytes) != 0)
		return ctl_usage(ctl, "%s", dmem_last_error());
	if (bytes == 0)
		return ctl_usage(ctl, "SIZE \"%s\" is nothing: give the new size of the first device, or +MORE", text);
	result = ctl_pool_open(ctl, ctl_uri(ctl, ctl->operand_count == 2), &pool);
	if (result != CTL_OK)
		return result;
	result = wanted_size(ctl, &pool, text, bytes, &bytes);
	if (result == CTL_OK) {
		code = dmem_pool_grow(pool.pool, bytes);
		result = code == 0 ? print_larger(ctl, &pool, pool.info.size_bytes, NULL) : ctl_refused(ctl, code);
	}
	ctl_pool_close(&pool);
	return result;
}

int ctl_run_add(struct ctl *ctl)
{
	const char *device = ctl->operands[ctl->operand_count - 1];
	struct ctl_pool pool;
	char *uri;
	int result = ctl_uri_with_options(ctl, device, &uri);
	int code;

	if (result != CTL_OK)
		return result;
	result = ctl_uri_check(ctl, uri);
	if (result != CTL_OK)
		goto out;
	result = ctl_pool_open(ctl, ctl_uri(ctl, ctl->operand_count == 2), &pool);
	if (result != CTL_OK)
		goto out;
	code = dmem_pool_add(pool.pool, uri);
	result = code == 0 ? print_larger(ctl, &pool, pool.info.size_bytes, device) : ctl_refused(ctl, code);
	ctl_pool_close(&pool);
out:
	free(uri);
	return result;
}

int ctl_run_destroy(struct ctl *ctl)
{
	const char *uri = ctl->operands[0];
	struct json_object *json;
	int result = ctl_uri_check(ctl, uri);
	int code;

	if (result != CTL_OK)
		return result;
	code = dmem_pool_destroy(uri);
	if (code != 0)
		return ctl_refused(ctl, code);
	if (!ctl_given(ctl, CTL_JSON)) {
		printf("destroyed %s\n", uri);
		return CTL_OK;
	}
	json = ctl_json_object();
	ctl_json_text(json, "uri", uri);
	ctl_json_flag(json, "destroyed", true);
	return ctl_finish(ctl, json, 0);
}

/* --- evict, dead --- */

static int change_member(struct ctl *ctl, bool dead)
{
	const char *text = ctl->operands[ctl->operand_count - 1];
	char *end = NULL;
	unsigned long slot = strtoul(text, &end, 10);
	struct json_object *json;
	struct ctl_pool pool;
	int result, code;

	if (*text < '0' || *text > '9' || *end != '\0' || slot >= UINT32_MAX)
		return ctl_usage(ctl, "'%s' is no slot: dmemctl members shows them", text);
	result = ctl_pool_open(ctl, ctl_uri(ctl, ctl->operand_count == 2), &pool);
	if (result != CTL_OK)
		return result;
	code = dm_inspect_evict(pool.pool, (uint32_t)slot, dead);
	if (code != 0) {
		result = ctl_refused(ctl, code);
	} else if (!ctl_given(ctl, CTL_JSON)) {
		printf("member %lu is %s\n", slot, dead ? "dead, and what it had is taken over" : "fenced");
	} else {
		json = ctl_json_object();
		ctl_json_number(json, "slot", slot);
		ctl_json_text(json, "state", dead ? "dead" : "fenced");
		result = ctl_finish(ctl, json, 0);
	}
	ctl_pool_close(&pool);
	return result;
}

int ctl_run_evict(struct ctl *ctl)
{
	return change_member(ctl, false);
}

int ctl_run_dead(struct ctl *ctl)
{
	return change_member(ctl, true);
}
