/* SPDX-License-Identifier: Apache-2.0 */
/*
 * error.c: see error.h and dmem/error.h.
 *
 * Invariants: nothing here allocates, prints or blocks on another thread, except that two calls of dmem_set_log() wait
 * for each other.  A reader of the log sink never sees the callback of one dmem_set_log() with the context of another,
 * and never waits for a writer, not even for one that is gone since a fork.
 */
#include "base/error.h"

#include <errno.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include "base/forklock.h"

#define MESSAGE_BYTES 1024
#define ERRNO_LIMIT   4096 /* the kernel's MAX_ERRNO + 1 */

/*
 * Log sinks: sink_current counts dmem_set_log() calls, sinks[sink_current % SINKS] is the one in force.  A writer fills
 * the next slot and then counts up.  A reader copies a slot and looks at the count again: while it has moved by less than
 * SINKS - 1, nobody has begun to write that slot anew.
 */
#define SINKS 8

struct log_sink {
	_Atomic(dmem_log_fn) callback;
	_Atomic(void *) context;
};

static struct log_sink sinks[SINKS];
static _Atomic unsigned long sink_current;
static struct dm_forklock sink_lock;

static _Thread_local char last_error[MESSAGE_BYTES];

const char *dmem_strerror(int code)
{
	const char *text;

	switch (code) {
#define ERROR_TEXT(name, number, error_class, sentence) \
	case name:                                          \
		return sentence;
		DMEM_ERROR_LIST(ERROR_TEXT)
#undef ERROR_TEXT
	default:
		break;
	}
	if (code <= -ERRNO_LIMIT || code > 0)
		return "unknown error";
	text = strerrordesc_np(-code);
	return text != NULL ? text : "unknown error";
}

static enum dmem_error_class class_of_errno(int number)
{
	switch (number) {
	case EAGAIN:
	case EBUSY:
	case EINTR:
	case ETIMEDOUT:
		return DMEM_CLASS_RETRY;
	case E2BIG:
	case EBADF:
	case EDOM:
	case EFAULT:
	case EINVAL:
	case ENAMETOOLONG:
	case ENOTSUP:
	case EOVERFLOW:
	case ERANGE:
		return DMEM_CLASS_BUG;
	case EOWNERDEAD:
		return DMEM_CLASS_DATA_LOST;
	default:
		/* Whatever else a system call says has its cause outside: files, permissions, limits, hardware. */
		return strerrordesc_np(number) != NULL ? DMEM_CLASS_ENVIRONMENT : DMEM_CLASS_BUG;
	}
}

enum dmem_error_class dmem_error_class(int code)
{
	if (code >= 0)
		return DMEM_CLASS_OK;
	switch (code) {
#define ERROR_CLASS(name, number, error_class, sentence) \
	case name:                                           \
		return error_class;
		DMEM_ERROR_LIST(ERROR_CLASS)
#undef ERROR_CLASS
	default:
		return code > -ERRNO_LIMIT ? class_of_errno(-code) : DMEM_CLASS_BUG;
	}
}

int dm_error_errno(int code)
{
	if (code >= 0)
		return 0;
	if (code > -ERRNO_LIMIT)
		return -code;
	switch (code) {
	case DMEM_E_DETACHED:
		return EBADF;
	case DMEM_E_CORRUPT:
	case DMEM_E_IN_DOUBT:
	case DMEM_E_LOST:
	case DMEM_E_REGISTRY:
		return EIO;
	case DMEM_E_VERSION:
	case DMEM_E_UNSUPPORTED:
		return ENOTSUP;
	case DMEM_E_WINDOW:
		return EADDRINUSE;
	case DMEM_E_OWNER_DEAD:
		return EOWNERDEAD;
	case DMEM_E_NOT_RECOVERABLE:
	case DMEM_E_BROKEN:
		return ENOTRECOVERABLE;
	case DMEM_E_FENCED:
		return ESTALE;
	case DMEM_E_MEMBERS:
		return EUSERS;
	case DMEM_E_BUSY:
		return EBUSY;
	case DMEM_E_DEVICE:
		return ENODEV;
	default:
		return EINVAL;
	}
}

const char *dmem_last_error(void)
{
	return last_error;
}

void dmem_set_log(dmem_log_fn callback, void *context)
{
	unsigned long next;
	struct log_sink *sink;

	dm_forklock_lock(&sink_lock);
	next = atomic_load_explicit(&sink_current, memory_order_relaxed) + 1;
	sink = &sinks[next % SINKS];
	/* Orders the count that a reader checks before the stores that would spoil what it copied: pairs with the acquire
	 * fence in sink_get(). */
	atomic_thread_fence(memory_order_release);
	atomic_store_explicit(&sink->callback, callback, memory_order_relaxed);
	atomic_store_explicit(&sink->context, context, memory_order_relaxed);
	/* Release: pairs with the first load in sink_get(). */
	atomic_store_explicit(&sink_current, next, memory_order_release);
	dm_forklock_unlock(&sink_lock);
}

static dmem_log_fn sink_get(void **context)
{
	unsigned long before, after;
	dmem_log_fn callback;
	struct log_sink *sink;

	do {
		before = atomic_load_explicit(&sink_current, memory_order_acquire);
		sink = &sinks[before % SINKS];
		callback = atomic_load_explicit(&sink->callback, memory_order_relaxed);
		*context = atomic_load_explicit(&sink->context, memory_order_relaxed);
		atomic_thread_fence(memory_order_acquire);
		after = atomic_load_explicit(&sink_current, memory_order_relaxed);
	} while (after - before >= SINKS - 1);
	return callback;
}

static void sink_send(enum dmem_log_level level, const char *message)
{
	void *context;
	dmem_log_fn callback = sink_get(&context);

	if (callback != NULL)
		callback(context, level, message);
}

/* Format into a buffer of MESSAGE_BYTES; a sentence that is cut ends in "...". */
__attribute__((format(printf, 2, 0))) static void compose(char *message, const char *format, va_list arguments)
{
	int length = vsnprintf(message, MESSAGE_BYTES, format, arguments);

	if (length < 0)
		snprintf(message, MESSAGE_BYTES, "(a message that could not be formatted)");
	else if (length >= MESSAGE_BYTES)
		memcpy(message + MESSAGE_BYTES - 4, "...", 4);
}

/* Through a buffer of its own, because the arguments may contain dmem_last_error(). */
__attribute__((format(printf, 1, 0))) static void remember(const char *format, va_list arguments)
{
	char message[MESSAGE_BYTES];

	compose(message, format, arguments);
	memcpy(last_error, message, strlen(message) + 1);
}

int dm_fail(int code, const char *format, ...)
{
	va_list arguments;

	va_start(arguments, format);
	remember(format, arguments);
	va_end(arguments);
	sink_send(DMEM_LOG_ERROR, last_error);
	errno = dm_error_errno(code);
	return code;
}

int dm_fail_quietly(int code, const char *format, ...)
{
	va_list arguments;

	va_start(arguments, format);
	remember(format, arguments);
	va_end(arguments);
	errno = dm_error_errno(code);
	return code;
}

void dm_log(enum dmem_log_level level, const char *format, ...)
{
	int saved_errno = errno;
	char message[MESSAGE_BYTES];
	va_list arguments;

	va_start(arguments, format);
	compose(message, format, arguments);
	va_end(arguments);
	sink_send(level, message);
	errno = saved_errno;
}
