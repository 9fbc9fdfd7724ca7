/* SPDX-License-Identifier: Apache-2.0 */
/* pool.c: which pool is meant, and attaching to it for a look. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "dmemctl/ctl.h"
#include "dmemctl/print.h"
#include "transport/uri.h"

const char *ctl_uri(struct ctl *ctl, bool from_operand)
{
	const char *pool = getenv("DMEM_POOL");

	if (from_operand)
		return ctl->operands[0];
	if (pool != NULL && pool[0] != '\0')
		return pool;
	/* What dmem_default_pool() uses; asking that itself would create the pool that was only to be looked at. */
	snprintf(ctl->default_uri, sizeof(ctl->default_uri), "file:/dev/shm/dmem-%u", (unsigned)geteuid());
	return ctl->default_uri;
}

int ctl_uri_with_options(struct ctl *ctl, const char *uri, char **joined)
{
	size_t bytes = strlen(uri) + 1;
	char separator = strchr(uri, '?') != NULL ? '&' : '?';
	char *at;

	for (int i = 0; i < CTL_OPTIONS; i++)
		if (ctl_given(ctl, (enum ctl_option_id)i) && ctl_options[i].value != NULL)
			bytes += strlen(ctl_options[i].name) + strlen(ctl->values[i]) + 2;
	*joined = malloc(bytes);
	if (*joined == NULL)
		return ctl_refused(ctl, -ENOMEM);
	at = stpcpy(*joined, uri);
	for (int i = 0; i < CTL_OPTIONS; i++) {
		if (!ctl_given(ctl, (enum ctl_option_id)i) || ctl_options[i].value == NULL)
			continue;
		if (strpbrk(ctl->values[i], "?&%#=") != NULL) {
			free(*joined);
			return ctl_usage(ctl, "--%s can't be \"%s\": give %s", ctl_options[i].name, ctl->values[i],
			                 ctl_options[i].value);
		}
		at += sprintf(at, "%c%s=%s", separator, ctl_options[i].name, ctl->values[i]);
		separator = '&';
	}
	return CTL_OK;
}

int ctl_uri_check(struct ctl *ctl, const char *uri)
{
	struct dmem_create_options merged;
	struct dm_uri parsed;

	if (dm_uri_parse(uri, &parsed) != 0 || dm_uri_create_options(&parsed, NULL, &merged) != 0)
		return ctl_usage(ctl, "%s", dmem_last_error());
	return CTL_OK;
}

int ctl_pool_open(struct ctl *ctl, const char *uri, struct ctl_pool *pool)
{
	struct dmem_pool_info info = {.struct_bytes = 0};
	int result = ctl_uri_check(ctl, uri);
	int code;

	if (result != CTL_OK)
		return result;
	code = dmem_pool_attach(uri, NULL, &pool->pool);
	if (code != 0)
		return ctl_refused(ctl, code);
	info.struct_bytes = sizeof(info);
	code = dmem_pool_info(pool->pool, &info);
	if (code != 0) {
		result = ctl_refused(ctl, code);
		dmem_pool_detach(pool->pool);
		return result;
	}
	pool->info = info;
	ctl_print_clean(pool->info.uri, sizeof(pool->info.uri), info.uri, ctl_terminal_utf8());
	return CTL_OK;
}

void ctl_pool_close(struct ctl_pool *pool)
{
	dmem_pool_detach(pool->pool);
}

const char *ctl_coherence_name(enum dmem_coherence coherence)
{
	switch (coherence) {
	case DMEM_COHERENCE_COHERENT:
		return "coherent";
	case DMEM_COHERENCE_NONCOHERENT:
		return "noncoherent";
	case DMEM_COHERENCE_PAGED:
		return "paged";
	default:
		return "unknown";
	}
}

const char *ctl_atomics_name(enum dmem_atomics atomics)
{
	switch (atomics) {
	case DMEM_ATOMICS_CPU:
		return "cpu";
	case DMEM_ATOMICS_DELEGATE:
		return "delegate";
	case DMEM_ATOMICS_REMOTE:
		return "remote";
	default:
		return "unknown";
	}
}
