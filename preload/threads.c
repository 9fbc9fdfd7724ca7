/* SPDX-License-Identifier: Apache-2.0 */
/* threads.c: threads that libdmem starts allocate locally for all their life: a pool's agent that waited for the pool
 * would wait for itself. */
#include <dlfcn.h>
#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>

#include "shim.h"

typedef int (*create_fn)(pthread_t *, const pthread_attr_t *, void *(*)(void *), void *);

struct own_thread {
	void *(*run)(void *);
	void *argument;
};

static void *run_locally(void *context)
{
	const struct own_thread thread = *(struct own_thread *)context;

	__libc_free(context);
	shim_stay_local();
	return thread.run(thread.argument);
}

int pthread_create(pthread_t *id, const pthread_attr_t *attributes, void *(*run)(void *), void *argument)
{
	static _Atomic(create_fn) found;
	create_fn create = atomic_load_explicit(&found, memory_order_relaxed);
	struct own_thread *thread;
	int code;

	if (!create) {
		*(void **)&create = dlsym(RTLD_NEXT, "pthread_create"); /* as dlsym(3) says it */
		if (!create)
			return EAGAIN;
		atomic_store_explicit(&found, create, memory_order_relaxed);
	}
	if (!shim_is_library_call(__builtin_return_address(0)))
		return create(id, attributes, run, argument);
	thread = __libc_malloc(sizeof(*thread));
	if (!thread)
		return EAGAIN;
	*thread = (struct own_thread){.run = run, .argument = argument};
	code = create(id, attributes, run_locally, thread);
	if (code)
		__libc_free(thread);
	return code;
}
