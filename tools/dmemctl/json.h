/* SPDX-License-Identifier: Apache-2.0 */
/* json.h: the documents of --json, over json-c.  Running out of memory is remembered and reported when the document is
 * printed, so that callers need not test each value. */
#ifndef DMEMCTL_JSON_H
#define DMEMCTL_JSON_H

#include <json-c/json.h>
#include <stdbool.h>
#include <stdint.h>

struct json_object *ctl_json_object(void);
struct json_object *ctl_json_array(void);
/* Takes over `value`. */
void ctl_json_put(struct json_object *object, const char *key, struct json_object *value);
void ctl_json_append(struct json_object *array, struct json_object *value);

void ctl_json_number(struct json_object *object, const char *key, uint64_t number);
void ctl_json_signed(struct json_object *object, const char *key, int64_t number);
void ctl_json_flag(struct json_object *object, const char *key, bool flag);
void ctl_json_null(struct json_object *object, const char *key);
void ctl_json_text(struct json_object *object, const char *key, const char *text);
/* "0x..." */
void ctl_json_address(struct json_object *object, const char *key, uint64_t address);
void ctl_json_uuid(struct json_object *object, const char *key, const uint8_t uuid[16]);

/* {"code":..., "name":"DMEM_E_URI", "message":"..."} */
struct json_object *ctl_json_error(int code, const char *message);

/* Print the document and release it; false when it could not be made whole. */
bool ctl_json_print(struct json_object *document);

#endif
