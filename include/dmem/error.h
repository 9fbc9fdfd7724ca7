/* SPDX-License-Identifier: Apache-2.0 */
/*
 * error.h: what can go wrong, in one list.
 *
 * Calls return 0 or a negative code.  Errors of the system pass through as -errno (-ENOENT, -EACCES, ...); the
 * library's own are DMEM_E_*, far below any errno.  The malloc-shaped calls return NULL and set errno instead.  Every
 * failure also leaves a sentence that names the thing, its value and the cure: dmem_last_error() for the calling
 * thread, and the log callback for whoever collects logs.  The library itself never prints, exits or aborts.
 */
#ifndef DMEM_ERROR_H
#define DMEM_ERROR_H

#include "dmem/version.h"

#ifdef __cplusplus
extern "C" {
#endif

/* X(name, code, class, text) */
#define DMEM_ERROR_LIST(X)                                                                                                 \
	X(DMEM_E_URI, -5001, DMEM_CLASS_BUG, "the pool URI cannot be understood")                                          \
	X(DMEM_E_NOT_POOL, -5002, DMEM_CLASS_ENVIRONMENT, "the file or device holds no dmem pool")                         \
	X(DMEM_E_VERSION, -5003, DMEM_CLASS_ENVIRONMENT, "the pool was made by a newer libdmem")                           \
	X(DMEM_E_CORRUPT, -5004, DMEM_CLASS_DATA_LOST, "the pool's metadata is damaged")                                   \
	X(DMEM_E_WINDOW, -5005, DMEM_CLASS_ENVIRONMENT, "the pool's address window is taken")                              \
	X(DMEM_E_TOO_SMALL, -5006, DMEM_CLASS_BUG, "the size is too small for a pool")                                     \
	X(DMEM_E_DETACHED, -5007, DMEM_CLASS_REATTACH, "the pool was detached")                                            \
	X(DMEM_E_LOST, -5008, DMEM_CLASS_DATA_LOST, "memory of the pool was lost")                                         \
	X(DMEM_E_OWNER_DEAD, -5009, DMEM_CLASS_DATA_LOST, "the previous owner died while it held the lock")                \
	X(DMEM_E_FENCED, -5010, DMEM_CLASS_REATTACH, "this member was fenced: the others have gone on without it")         \
	X(DMEM_E_IN_DOUBT, -5011, DMEM_CLASS_IN_DOUBT, "the connection broke before the result was known")                 \
	X(DMEM_E_FOREIGN, -5012, DMEM_CLASS_BUG, "the pointer does not belong to an attached pool")                        \
	X(DMEM_E_INTERIOR, -5013, DMEM_CLASS_BUG, "the pointer is not the start of a block")                               \
	X(DMEM_E_DOUBLE_FREE, -5014, DMEM_CLASS_BUG, "the block is free already")                                          \
	X(DMEM_E_MEMBERS, -5015, DMEM_CLASS_RETRY, "the pool's member table is full")                                      \
	X(DMEM_E_BUSY, -5016, DMEM_CLASS_RETRY, "the pool is in use by other members")                                     \
	X(DMEM_E_UNSUPPORTED, -5017, DMEM_CLASS_BUG, "this kind of pool cannot do that")                                   \
	X(DMEM_E_REGISTRY, -5018, DMEM_CLASS_ENVIRONMENT, "the registry of windows cannot be used")                        \
	X(DMEM_E_NAME, -5019, DMEM_CLASS_BUG, "the name is empty or too long")                                             \
	X(DMEM_E_OPTION, -5020, DMEM_CLASS_BUG, "an option has a value that cannot be used")                               \
	X(DMEM_E_DEVICE, -5021, DMEM_CLASS_ENVIRONMENT, "a device of the pool is missing or is another one")               \
	X(DMEM_E_NOT_RECOVERABLE, -5022, DMEM_CLASS_DATA_LOST, "the lock was given up after its owner had died")           \
	X(DMEM_E_BROKEN, -5023, DMEM_CLASS_DATA_LOST, "the barrier is broken: one of those who meet at it has died")

/* What a caller can do about an error. */
enum dmem_error_class {
	DMEM_CLASS_OK = 0,          /* not an error */
	DMEM_CLASS_RETRY = 1,       /* the same call may succeed later */
	DMEM_CLASS_REATTACH = 2,    /* attach again, then go on */
	DMEM_CLASS_DATA_LOST = 3,   /* data is gone or suspect: repair or rebuild it */
	DMEM_CLASS_IN_DOUBT = 4,    /* it is not known whether the operation took place */
	DMEM_CLASS_BUG = 5,         /* the arguments are wrong: change the program */
	DMEM_CLASS_ENVIRONMENT = 6, /* something outside the program has to be put right by its operator */
};

enum dmem_error {
#define DMEM_ERROR_ENUM(name, code, error_class, text) name = (code),
	DMEM_ERROR_LIST(DMEM_ERROR_ENUM)
#undef DMEM_ERROR_ENUM
};

enum dmem_log_level {
	DMEM_LOG_ERROR = 0,   /* a call failed, or memory was damaged or lost */
	DMEM_LOG_WARNING = 1, /* the library could go on, but somebody should look */
	DMEM_LOG_INFO = 2,    /* rare events worth knowing: joins, deaths, repairs, growth */
};

/* Receives one finished sentence without a newline.  Must not call back into libdmem. */
typedef void (*dmem_log_fn)(void *context, enum dmem_log_level level, const char *message);

/**
 * dmem_strerror() - the general meaning of a code.
 * @code: a value returned by a libdmem call: 0, -errno or DMEM_E_*.
 *
 * Returns:    a static string; "unknown error" for a value that is none of these.
 * Threads:    safe from any thread.
 * Blocks:     never.
 * Visibility: none.
 * On failure: cannot fail.
 * Crash:      touches no pool.
 * Source:     the list above.
 */
DMEM_API const char *dmem_strerror(int code);

/**
 * dmem_error_class() - what the caller of a failed call can do.
 * @code: a value returned by a libdmem call.
 *
 * Returns:    the class; DMEM_CLASS_OK for 0 and positive values, DMEM_CLASS_BUG for unknown ones.
 * Threads:    safe from any thread.
 * Blocks:     never.
 * Visibility: none.
 * On failure: cannot fail.
 * Crash:      touches no pool.
 * Source:     the list above.
 */
DMEM_API enum dmem_error_class dmem_error_class(int code);

/**
 * dmem_last_error() - the sentence that belongs to this thread's latest failure.
 *
 * Returns:    a string that names the thing, its value and the cure; "" when nothing has failed yet.  It lives until
 *             the thread's next failure.  A call that succeeds leaves it as it is.
 * Threads:    each thread has its own.
 * Blocks:     never.
 * Visibility: none.
 * On failure: cannot fail.
 * Crash:      touches no pool.
 * Source:     none.
 */
DMEM_API const char *dmem_last_error(void);

/**
 * dmem_set_log() - send the library's messages to a callback.
 * @callback: called with each message, from any thread including the library's own; NULL for silence (the default).
 * @context:  handed to the callback as it is.
 *
 * Returns:    nothing.
 * Threads:    safe from any thread; a message that is under way may still go to the previous callback.
 * Blocks:     never.
 * Visibility: none.
 * On failure: cannot fail.
 * Crash:      touches no pool.
 * Source:     none.
 */
DMEM_API void dmem_set_log(dmem_log_fn callback, void *context);

#ifdef __cplusplus
}
#endif
#endif
