/* SPDX-License-Identifier: Apache-2.0 */
/* test_error.c: codes, classes, the sentence of a failure, and the log. */
#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/arith.h"
#include "base/error.h"

static const struct {
	int code;
	enum dmem_error_class error_class;
} classes[] = {
#define ROW(name, number, error_class, text) {name, error_class},
	DMEM_ERROR_LIST(ROW)
#undef ROW
	{0, DMEM_CLASS_OK},
	{7, DMEM_CLASS_OK},
	{-EAGAIN, DMEM_CLASS_RETRY},
	{-ETIMEDOUT, DMEM_CLASS_RETRY},
	{-ENOENT, DMEM_CLASS_ENVIRONMENT},
	{-EACCES, DMEM_CLASS_ENVIRONMENT},
	{-ENOSPC, DMEM_CLASS_ENVIRONMENT},
	{-EROFS, DMEM_CLASS_ENVIRONMENT},
	{-EINVAL, DMEM_CLASS_BUG},
	{-4000, DMEM_CLASS_BUG},
	{-4999, DMEM_CLASS_BUG},
	{-123456, DMEM_CLASS_BUG},
	{INT32_MIN, DMEM_CLASS_BUG},
};

Test(error, every_code_has_its_class)
{
	for (size_t i = 0; i < DM_ARRAY_LENGTH(classes); i++)
		cr_expect(eq(int, (int)dmem_error_class(classes[i].code), (int)classes[i].error_class), "code %d",
		          classes[i].code);
}

Test(error, every_code_has_a_text_of_its_own)
{
	static const int codes[] = {
#define CODE(name, number, error_class, text) name,
		DMEM_ERROR_LIST(CODE)
#undef CODE
	};

	for (size_t i = 0; i < DM_ARRAY_LENGTH(codes); i++) {
		cr_expect(ne(int, strcmp(dmem_strerror(codes[i]), "unknown error"), 0), "code %d", codes[i]);
		for (size_t j = 0; j < i; j++) {
			cr_expect(ne(int, codes[i], codes[j]));
			cr_expect(ne(int, strcmp(dmem_strerror(codes[i]), dmem_strerror(codes[j])), 0));
		}
	}
	cr_expect(zero(int, strcmp(dmem_strerror(-ENOENT), strerror(ENOENT))));
	cr_expect(zero(int, strcmp(dmem_strerror(0), strerror(0))));
}

Test(error, values_that_are_no_codes_are_unknown)
{
	static const int codes[] = {1, INT32_MAX, -4000, -4999, -6000, INT32_MIN};

	for (size_t i = 0; i < DM_ARRAY_LENGTH(codes); i++)
		cr_expect(zero(int, strcmp(dmem_strerror(codes[i]), "unknown error")), "code %d", codes[i]);
}

Test(error, every_code_maps_to_an_errno)
{
	for (size_t i = 0; i < DM_ARRAY_LENGTH(classes); i++) {
		int number = dm_error_errno(classes[i].code);

		if (classes[i].code >= 0)
			cr_expect(zero(int, number));
		else
			cr_expect(number > 0 && number < 4096, "code %d", classes[i].code);
	}
	cr_expect(eq(int, dm_error_errno(-ENOSPC), ENOSPC));
	cr_expect(eq(int, dm_error_errno(DMEM_E_DETACHED), EBADF));
	cr_expect(eq(int, dm_error_errno(DMEM_E_LOST), EIO));
	cr_expect(eq(int, dm_error_errno(DMEM_E_DOUBLE_FREE), EINVAL));
}

struct heard {
	unsigned count;
	enum dmem_log_level level;
	char message[2048];
};

static void hear(void *context, enum dmem_log_level level, const char *message)
{
	struct heard *heard = context;

	heard->count++;
	heard->level = level;
	snprintf(heard->message, sizeof(heard->message), "%s", message);
	errno = EDOM; /* as a callback that does something may */
}

Test(error, a_failure_is_kept_logged_and_in_errno)
{
	struct heard heard = {0};

	cr_expect(zero(int, strcmp(dmem_last_error(), "")));
	dmem_set_log(hear, &heard);
	cr_expect(eq(int, dm_fail(DMEM_E_WINDOW, "window %#x is taken by %s", 0x20, "libx"), DMEM_E_WINDOW));
	cr_expect(eq(int, errno, EADDRINUSE));
	cr_expect(zero(int, strcmp(dmem_last_error(), "window 0x20 is taken by libx")));
	cr_expect(zero(int, strcmp(heard.message, dmem_last_error())));
	cr_expect(eq(int, (int)heard.level, DMEM_LOG_ERROR));
	cr_expect(eq(int, (int)heard.count, 1));
}

Test(error, a_quiet_failure_is_kept_and_not_logged)
{
	struct heard heard = {0};

	dmem_set_log(hear, &heard);
	cr_expect(eq(int, dm_fail_quietly(-ENOENT, "nothing at %d", 5), -ENOENT));
	cr_expect(eq(int, errno, ENOENT));
	cr_expect(zero(int, strcmp(dmem_last_error(), "nothing at 5")));
	cr_expect(zero(int, (int)heard.count));
}

Test(error, the_log_preserves_errno_and_the_last_failure)
{
	struct heard heard = {0};

	dm_fail_quietly(-EIO, "before");
	dmem_set_log(hear, &heard);
	errno = EPIPE;
	dm_log(DMEM_LOG_WARNING, "slot %d", 3);
	cr_expect(eq(int, errno, EPIPE));
	cr_expect(zero(int, strcmp(heard.message, "slot 3")));
	cr_expect(eq(int, (int)heard.level, DMEM_LOG_WARNING));
	cr_expect(zero(int, strcmp(dmem_last_error(), "before")));
	dmem_set_log(NULL, NULL);
	dm_log(DMEM_LOG_INFO, "nobody hears");
	cr_expect(eq(int, (int)heard.count, 1));
}

Test(error, a_failure_may_quote_the_one_before)
{
	dm_fail_quietly(-EIO, "the cause");
	dm_fail_quietly(DMEM_E_DEVICE, "the device is missing: %s", dmem_last_error());
	cr_expect(zero(int, strcmp(dmem_last_error(), "the device is missing: the cause")));
}

Test(error, a_sentence_that_is_too_long_says_that_it_was_cut)
{
	char text[5000];
	size_t length;

	memset(text, 'x', sizeof(text) - 1);
	text[sizeof(text) - 1] = '\0';
	dm_fail_quietly(-EINVAL, "%s", text);
	length = strlen(dmem_last_error());
	cr_expect(length > 500 && length < sizeof(text));
	cr_expect(zero(int, strcmp(dmem_last_error() + length - 3, "...")));
}

static void *fail_elsewhere(void *argument)
{
	(void)argument;
	dm_fail_quietly(-EPERM, "of the other thread");
	return NULL;
}

Test(error, threads_do_not_see_each_others_failures)
{
	pthread_t thread;

	dm_fail_quietly(-EIO, "of this thread");
	cr_assert(zero(int, pthread_create(&thread, NULL, fail_elsewhere, NULL)));
	pthread_join(thread, NULL);
	cr_expect(zero(int, strcmp(dmem_last_error(), "of this thread")));
}

static _Atomic unsigned mismatches, matches;
static _Atomic bool stop;
static int even_marks[64], odd_marks[64];

static void hear_even(void *context, enum dmem_log_level level, const char *message)
{
	(void)level, (void)message;
	if ((int *)context >= even_marks && (int *)context < even_marks + 64)
		matches++;
	else
		mismatches++;
}

static void hear_odd(void *context, enum dmem_log_level level, const char *message)
{
	(void)level, (void)message;
	if ((int *)context >= odd_marks && (int *)context < odd_marks + 64)
		matches++;
	else
		mismatches++;
}

static void *swap_sinks(void *argument)
{
	(void)argument;
	for (unsigned i = 0; !stop; i++) {
		if (i % 2 == 0)
			dmem_set_log(hear_even, &even_marks[i % 64]);
		else
			dmem_set_log(hear_odd, &odd_marks[i % 64]);
	}
	return NULL;
}

Test(error, a_callback_never_gets_the_context_of_another)
{
	pthread_t threads[2];

	for (int i = 0; i < 2; i++)
		cr_assert(zero(int, pthread_create(&threads[i], NULL, swap_sinks, NULL)));
	while (matches + mismatches < 200000)
		dm_log(DMEM_LOG_INFO, "x");
	stop = true;
	for (int i = 0; i < 2; i++)
		pthread_join(threads[i], NULL);
	cr_expect(zero(int, (int)mismatches));
}

Test(error, a_child_can_set_its_log_whatever_the_parents_threads_did)
{
	pthread_t thread;

	cr_assert(zero(int, pthread_create(&thread, NULL, swap_sinks, NULL)));
	for (int i = 0; i < 50; i++) {
		int status, pid = fork();

		if (pid == 0) {
			struct heard heard = {0};

			alarm(10);
			dmem_set_log(hear, &heard);
			dm_log(DMEM_LOG_INFO, "here");
			_exit(heard.count == 1 ? 0 : 1);
		}
		cr_assert(eq(int, waitpid(pid, &status, 0), pid));
		cr_expect(zero(int, status));
	}
	stop = true;
	pthread_join(thread, NULL);
}
