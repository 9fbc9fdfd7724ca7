/* SPDX-License-Identifier: Apache-2.0 */
/*
 * conformance.h: one suite for every transport.
 *
 * A backend joins by an entry in backends.c.  Each CONFORMANCE_TEST runs once for each backend that this machine has;
 * `c->uri` names a device that does not exist yet.  What a test leaves is removed when it ends, failed or not.
 * Operations a backend does not have are left out by asking its capabilities, never by its name.
 */
#ifndef TESTS_CONFORMANCE_CONFORMANCE_H
#define TESTS_CONFORMANCE_CONFORMANCE_H

#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <criterion/parameterized.h>
#include <stdbool.h>
#include <stdint.h>

#include "dmem/error.h"
#include "transport/transport.h"

struct conformance_backend {
	const char *name;
	/* True when this machine can run it.  NULL: every machine can. */
	bool (*available)(void);
	/* A URI of a device that does not exist; different in each call. */
	void (*make_uri)(char *uri, size_t bytes);
	/* Remove the device and everything a broken test may have left of it. */
	void (*clean)(const struct dm_uri *uri);
	/* Cut the device short, as an accident outside the library would.  NULL: cannot happen to this backend. */
	void (*truncate)(const struct dm_uri *uri, uint64_t bytes);
	/* How large its devices can be, in units of 2 MiB; 0: larger than any test asks for. */
	uint64_t units_max;
	/* No line moves but by publish and refresh, so that what was not published can be seen to be missing. */
	bool still;
	/* Its devices are there before they are created and after they are destroyed, so names come and go with nothing. */
	bool in_place;
};

extern const struct conformance_backend conformance_backends[];
extern const size_t conformance_backend_count;

/* What a test works with; one test at a time in a process. */
struct conformance {
	const struct conformance_backend *backend;
	const struct dm_transport *transport;
	char text[512];
	struct dm_uri uri;
	struct dm_device *device;
};

void conformance_begin(const size_t *index);
void conformance_end(void);
extern struct conformance conformance_state;
struct criterion_test_params conformance_parameters(void);

/* Multiples of the backend's alignment, so that devices with 1 GiB pages take part. */
uint64_t conformance_unit(struct conformance *c);
/* c->device becomes a created and committed device of `units` units. */
void conformance_make(struct conformance *c, uint64_t units);
/* Open it once more, as another process would. */
struct dm_device *conformance_open(struct conformance *c);
/* Map all of a device at an address of the test's choice; never fails (it fails the test). */
void *conformance_map(struct dm_device *device, uint64_t bytes);
/* Run `body` in a child that has opened and mapped the device by itself.  Returns its pid. */
typedef int (*conformance_body)(struct dm_device *device, void *address, uint64_t argument);
int conformance_fork(struct conformance *c, uint64_t bytes, conformance_body body, uint64_t argument);
/* The child's exit status, or 1000 + signal. */
int conformance_join(int pid);
/* Publish, or refresh, a part of a device that is mapped from its start at `address`; fails the test when it can't. */
void conformance_publish(struct dm_device *device, void *address, uint64_t offset, size_t bytes);
void conformance_refresh(struct dm_device *device, void *address, uint64_t offset, size_t bytes);
/* True for a backend whose devices do not come and go with their names: asked by tests of just that. */
bool conformance_in_place(struct conformance *c);
/* True when the range reads as the byte, with a look at every byte. */
bool conformance_all(const void *address, unsigned char byte, size_t bytes);

#define CONFORMANCE_TEST(topic, test)                                                        \
	static void topic##_##test(struct conformance *c);                                       \
	ParameterizedTestParameters(conformance_##topic, test)                                   \
	{                                                                                        \
		return conformance_parameters();                                                     \
	}                                                                                        \
	ParameterizedTest(const size_t *index, conformance_##topic, test, .fini = conformance_end) \
	{                                                                                        \
		conformance_begin(index);                                                            \
		topic##_##test(&conformance_state);                                                  \
	}                                                                                        \
	static void topic##_##test(struct conformance *c)

#endif
