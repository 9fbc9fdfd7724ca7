/* SPDX-License-Identifier: Apache-2.0 */
/* check.c: fsck. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "dmemctl/ctl.h"
#include "dmemctl/json.h"
#include "dmemctl/print.h"

struct findings {
	uint64_t count;
	struct json_object *list; /* NULL: they are printed as they come */
};

static void take_finding(void *context, const char *finding)
{
	struct findings *findings = context;
	char clean[4096];

	findings->count++;
	if (findings->list != NULL)
		ctl_json_append(findings->list,
		                json_object_new_string(ctl_print_clean(clean, sizeof(clean), finding, true)));
	else
		printf("%s\n", ctl_print_clean(clean, sizeof(clean), finding, ctl_terminal_utf8()));
}

static const char *state_name(int code)
{
	return code == 0 ? "clean" : code > 0 ? "repaired" : "damaged";
}

static void print_verdict(const struct ctl *ctl, const char *uri, int code, const struct findings *findings)
{
	char number[CTL_TEXT_BYTES];

	snprintf(number, sizeof(number), "%" PRIu64 " finding%s", findings->count, findings->count == 1 ? "" : "s");
	if (code == 0)
		printf("%s: clean\n", uri);
	else if (code > 0)
		printf("%s: damage was repaired (%s)\n", uri, number);
	else if (ctl_given(ctl, CTL_REPAIR))
		printf("%s: DAMAGED (%s): what stands above can't be repaired without losing data; save what can "
		       "still be read, and make the pool anew\n",
		       uri, number);
	else
		printf("%s: DAMAGED (%s): dmemctl fsck --repair puts right what can be\n", uri, number);
}

int ctl_run_fsck(struct ctl *ctl)
{
	const char *uri = ctl_uri(ctl, ctl->operand_count == 1);
	struct findings findings = {.count = 0};
	struct json_object *json;
	int result = ctl_uri_check(ctl, uri);
	int code;

	if (result != CTL_OK)
		return result;
	if (ctl_given(ctl, CTL_JSON))
		findings.list = ctl_json_array();
	code = dm_inspect_fsck(uri, ctl_given(ctl, CTL_REPAIR), take_finding, &findings);
	if (code < 0 && code != DMEM_E_CORRUPT) {
		json_object_put(findings.list);
		return ctl_refused(ctl, code);
	}
	if (code < 0 && findings.count == 0)
		take_finding(&findings, dmem_last_error());
	if (findings.list == NULL) {
		print_verdict(ctl, uri, code, &findings);
		return code == 0 ? CTL_OK : CTL_NOT_IN_ORDER;
	}
	json = ctl_json_object();
	ctl_json_text(json, "uri", uri);
	ctl_json_flag(json, "repair", ctl_given(ctl, CTL_REPAIR));
	ctl_json_text(json, "state", state_name(code));
	ctl_json_put(json, "findings", findings.list);
	result = ctl_finish(ctl, json, 0);
	return result == CTL_OK && code != 0 ? CTL_NOT_IN_ORDER : result;
}
