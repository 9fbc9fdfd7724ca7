/* SPDX-License-Identifier: Apache-2.0 */
/* boost.cpp: Boost.Interprocess managed_shared_memory, mapped at one address in every process. */
#include <boost/interprocess/managed_shared_memory.hpp>
#include <cstdio>
#include <exception>
#include <new>

extern "C" {
#include "alloc/work.h"
}

namespace ipc = boost::interprocess;

static ipc::managed_shared_memory *memory;
static void *const address = reinterpret_cast<void *>(0x500000000000);
static constexpr std::size_t bytes = std::size_t{1} << 30;

extern "C" int work_boost_create(const char *name)
{
	try {
		ipc::managed_shared_memory made(ipc::create_only, name, bytes, address);
	} catch (const std::exception &error) {
		std::fprintf(stderr, "bench_alloc: Boost.Interprocess: %s\n", error.what());
		return -1;
	}
	return 0;
}

extern "C" void work_boost_remove(const char *name)
{
	ipc::shared_memory_object::remove(name);
}

static int boost_begin(const char *where)
{
	try {
		memory = new ipc::managed_shared_memory(ipc::open_only, where, address);
	} catch (const std::exception &error) {
		std::fprintf(stderr, "bench_alloc: Boost.Interprocess: %s\n", error.what());
		return -1;
	}
	return 0;
}

static void *boost_alloc(std::size_t size)
{
	return memory->allocate(size, std::nothrow);
}

static void boost_free(void *block)
{
	if (block != nullptr)
		memory->deallocate(block);
}

static void boost_end()
{
	delete memory;
}

extern "C" {
extern const struct work_allocator work_boost;
const struct work_allocator work_boost = {
	"Boost.Interprocess", boost_begin, boost_alloc, boost_free, boost_end, nullptr};
}
