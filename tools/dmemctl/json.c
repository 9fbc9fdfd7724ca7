/* SPDX-License-Identifier: Apache-2.0 */
#include "dmemctl/json.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "dmem/error.h"
#include "dmemctl/print.h"

/* A value of a document could not be allocated. */
static bool json_failed;

static struct json_object *made(struct json_object *value)
{
	if (value == NULL)
		json_failed = true;
	return value;
}

struct json_object *ctl_json_object(void)
{
	return made(json_object_new_object());
}

struct json_object *ctl_json_array(void)
{
	return made(json_object_new_array());
}

void ctl_json_put(struct json_object *object, const char *key, struct json_object *value)
{
	if (object == NULL || json_object_object_add(object, key, value) != 0) {
		json_failed = true;
		json_object_put(value);
	}
}

void ctl_json_append(struct json_object *array, struct json_object *value)
{
	if (array == NULL || json_object_array_add(array, value) != 0) {
		json_failed = true;
		json_object_put(value);
	}
}

void ctl_json_number(struct json_object *object, const char *key, uint64_t number)
{
	ctl_json_put(object, key, made(json_object_new_uint64(number)));
}

void ctl_json_signed(struct json_object *object, const char *key, int64_t number)
{
	ctl_json_put(object, key, made(json_object_new_int64(number)));
}

void ctl_json_flag(struct json_object *object, const char *key, bool flag)
{
	ctl_json_put(object, key, made(json_object_new_boolean(flag)));
}

void ctl_json_null(struct json_object *object, const char *key)
{
	ctl_json_put(object, key, NULL);
}

void ctl_json_text(struct json_object *object, const char *key, const char *text)
{
	size_t bytes = 4 * strlen(text) + 1; /* each byte may become \xNN */
	char *clean = malloc(bytes);

	if (clean == NULL) {
		json_failed = true;
		return;
	}
	ctl_json_put(object, key, made(json_object_new_string(ctl_print_clean(clean, bytes, text, true))));
	free(clean);
}

void ctl_json_address(struct json_object *object, const char *key, uint64_t address)
{
	char text[CTL_TEXT_BYTES];

	ctl_json_text(object, key, ctl_print_address(text, address));
}

void ctl_json_uuid(struct json_object *object, const char *key, const uint8_t uuid[16])
{
	char text[CTL_TEXT_BYTES];

	ctl_json_text(object, key, ctl_print_uuid(text, uuid));
}

static const char *error_name(int code)
{
	const char *name;

	switch (code) {
#define ERROR_NAME(error, value, error_class, text) \
	case error:                                 \
		return #error;
		DMEM_ERROR_LIST(ERROR_NAME)
#undef ERROR_NAME
	default:
		name = strerrorname_np(-code);
		return name != NULL ? name : "unknown";
	}
}

struct json_object *ctl_json_error(int code, const char *message)
{
	struct json_object *error = ctl_json_object();

	ctl_json_signed(error, "code", code);
	ctl_json_text(error, "name", error_name(code));
	ctl_json_text(error, "message", message);
	return error;
}

bool ctl_json_print(struct json_object *document)
{
	const char *text = NULL;

	if (!json_failed)
		text = json_object_to_json_string_ext(document, JSON_C_TO_STRING_PRETTY | JSON_C_TO_STRING_NOSLASHESCAPE |
		                                                        JSON_C_TO_STRING_SPACED);
	if (text != NULL)
		puts(text);
	json_object_put(document);
	return text != NULL;
}
