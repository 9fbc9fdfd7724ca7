/* SPDX-License-Identifier: Apache-2.0 */
/*
 * test_allocator.cpp: containers of the standard library in a pool, used by two programs.
 *
 * The second program is this one, started anew ("member URI"), with another default pool: it shares nothing with the
 * first but the name of the pool.  Exit status 0: all cases passed.
 */
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <ctime>
#include <map>
#include <memory>
#include <scoped_allocator>
#include <string>
#include <unordered_map>
#include <vector>

#include "dmem/allocator.hpp"
#include "dmem/error.h"

extern "C" {
#include "inspect.h"
#include "lib/scratch.h"
}

#define CHECK(condition)                                                                                               \
	do {                                                                                                               \
		if (!(condition)) {                                                                                            \
			std::fprintf(stderr, "%s:%d: %s; %s\n", __FILE__, __LINE__, #condition, dmem_last_error());                \
			std::exit(1);                                                                                              \
		}                                                                                                              \
	} while (0)

namespace {

constexpr unsigned count = 2000; /* elements that each of the two adds */
constexpr unsigned wait_s = 60;

using shared_string = std::basic_string<char, std::char_traits<char>, dmem::allocator<char>>;
using shared_numbers = std::vector<std::uint64_t, dmem::allocator<std::uint64_t>>;
template <class T> using scoped = std::scoped_allocator_adaptor<dmem::allocator<T>>;
using shared_index = std::map<shared_string, shared_numbers, std::less<>,
                              scoped<std::pair<const shared_string, shared_numbers>>>;
using shared_names = std::unordered_map<std::uint64_t, shared_string, std::hash<std::uint64_t>, std::equal_to<>,
                                        scoped<std::pair<const std::uint64_t, shared_string>>>;

static_assert(std::atomic<std::uint32_t>::is_always_lock_free, "the turn is shared between processes");

/* What lives behind the root. */
struct library {
	explicit library(const dmem::allocator<char> &from) : title(from), numbers(from), index(from), names(from)
	{
	}

	std::atomic<std::uint32_t> turn{0}; /* 0 the first's, 1 the second's, 2 the first's again */
	shared_string title;
	shared_numbers numbers;
	shared_index index;
	shared_names names;
};

bool wait_for_turn(const library *books, std::uint32_t turn)
{
	const struct timespec ms = {0, 1000000};

	for (unsigned waited = 0; waited < wait_s * 1000; waited++) {
		if (books->turn.load(std::memory_order_acquire) == turn)
			return true;
		nanosleep(&ms, nullptr);
	}
	return false;
}

/* Too long for the room inside of a string object. */
std::string name_of(std::uint64_t number)
{
	return "a name that is too long to lie inside of its object, number " + std::to_string(number);
}

void add(library *books, std::uint64_t first)
{
	for (std::uint64_t i = first; i < first + count; i++) {
		shared_string key(name_of(i % 100).c_str(), books->title.get_allocator());

		books->numbers.push_back(i);
		books->index[key].push_back(i);
		books->names.emplace(i, name_of(i).c_str());
	}
}

/* Everything from 0 to `end` is there, in the pool, and nothing else. */
void read_all(struct dmem_pool *pool, const library *books, std::uint64_t end)
{
	std::uint64_t indexed = 0;

	CHECK(books->numbers.size() == end && books->names.size() == end && books->index.size() == 100);
	CHECK(dmem_pool_of(books->numbers.data()) == pool);
	for (std::uint64_t i = 0; i < end; i++) {
		CHECK(books->numbers[i] == i);
		CHECK(books->names.at(i) == name_of(i).c_str());
		CHECK(dmem_pool_of(books->names.at(i).data()) == pool);
	}
	for (const auto &[name, numbers] : books->index) {
		CHECK(dmem_pool_of(name.data()) == pool && dmem_pool_of(numbers.data()) == pool);
		for (std::uint64_t number : numbers)
			CHECK(name == name_of(number % 100).c_str());
		indexed += numbers.size();
	}
	CHECK(indexed == end);
}

/* --- what is in the pool --- */

int count_blocks(void *context, const struct dm_inspect_extent *extent)
{
	/* One that was freed by another member and waits for its owner is free. */
	*static_cast<std::uint64_t *>(context) += extent->kind == DM_KIND_RUN && extent->run_extents > 0 ? 1 : extent->blocks_live;
	return 0;
}

std::uint64_t blocks_in(struct dmem_pool *pool)
{
	std::uint64_t blocks = 0;

	CHECK(dm_inspect_extents(pool, count_blocks, &blocks) == 0);
	return blocks;
}

void check_pool(struct dmem_pool *pool)
{
	struct scratch_findings findings = {};
	struct dmem_pool_info info = {};

	if (dmem_pool_validate(pool, scratch_note_finding, &findings) != 0) {
		std::fprintf(stderr, "finding: %s\n", findings.last);
		CHECK(!"the pool is valid");
	}
	info.struct_bytes = sizeof(info);
	CHECK(dmem_pool_info(pool, &info) == 0 && info.bad_frees == 0);
}

/* --- two programs --- */

int member(const char *uri)
{
	struct dmem_pool *pool, *other = dmem_default_pool();
	library *books;

	CHECK(dmem_pool_attach(uri, nullptr, &pool) == 0);
	CHECK(other != nullptr && other != pool);
	books = static_cast<library *>(dmem_root_get(pool, "library"));
	CHECK(books != nullptr && wait_for_turn(books, 1));

	CHECK(books->title == "begun by the first of the two programs, in a string that is long");
	CHECK(books->title.get_allocator().pool() == pool);
	read_all(pool, books, count);
	add(books, count);
	books->title.assign("continued by the second of the two programs, in a string that is longer than the one before");
	books->turn.store(2, std::memory_order_release);
	CHECK(wait_for_turn(books, 3));
	CHECK(blocks_in(other) == 0);
	CHECK(dmem_pool_detach(pool) == 0);
	return 0;
}

pid_t start_member(const char *uri, const char *default_uri)
{
	pid_t child = fork();

	CHECK(child >= 0);
	if (child == 0) {
		setenv("DMEM_POOL", default_uri, 1);
		execl("/proc/self/exe", "member", "member", uri, static_cast<char *>(nullptr));
		_exit(98);
	}
	return child;
}

void a_second_program_uses_the_containers_of_the_first()
{
	struct dmem_pool *pool = scratch_pool("shared", "size=128M");
	std::string uri = scratch_uri("shared", nullptr);
	std::uint64_t before = blocks_in(pool);
	dmem::allocator<library> place(pool);
	library *books = new (place.allocate(1)) library(place);
	int status;
	pid_t child;

	scratch_create("other", "size=64M");
	CHECK(dmem_pool_of(books) == pool);
	CHECK(dmem_root_set(pool, "library", books) == 0);
	child = start_member(uri.c_str(), scratch_uri("other", nullptr));
	books->title = "begun by the first of the two programs, in a string that is long";
	add(books, 0);
	books->turn.store(1, std::memory_order_release);
	CHECK(wait_for_turn(books, 2));

	CHECK(books->title == "continued by the second of the two programs, in a string that is longer than the one before");
	read_all(pool, books, 2 * count);
	check_pool(pool);
	books->turn.store(3, std::memory_order_release);
	CHECK(waitpid(child, &status, 0) == child && WIFEXITED(status) && WEXITSTATUS(status) == 0);

	CHECK(blocks_in(pool) > before + 4 * count);
	CHECK(dmem_root_set(pool, "library", nullptr) == 0);
	books->~library();
	place.deallocate(books, 1);
	CHECK(blocks_in(pool) == before);
	check_pool(pool);
	CHECK(dmem_pool_detach(pool) == 0);
}

/* --- one program --- */

void an_allocator_survives_a_detach_and_a_new_attach()
{
	struct dmem_pool *pool = scratch_pool("again", "size=64M");
	dmem::allocator<int> ints(pool);
	int *block;

	CHECK(dmem_pool_detach(pool) == 0);
	CHECK(ints.pool() == nullptr && errno == EINVAL);
	try {
		block = ints.allocate(1);
		CHECK(!"memory of a pool that is not attached");
	} catch (const std::bad_alloc &) {
	}
	try {
		dmem::allocator<int> late(pool);
		CHECK(!"an allocator of a detached pool");
	} catch (const std::bad_alloc &) {
	}
	pool = scratch_attach("again");
	block = ints.allocate(1);
	CHECK(ints.pool() == pool && dmem_pool_of(block) == pool);
	ints.deallocate(block, 1);
	CHECK(dmem_pool_detach(pool) == 0);
}

void a_full_pool_and_an_overflow_are_bad_alloc()
{
	struct dmem_pool *pool = scratch_pool("full", "size=32M");
	std::uint64_t before = blocks_in(pool);
	bool thrown = false;

	{
		shared_numbers numbers{dmem::allocator<std::uint64_t>(pool)};
		try {
			for (std::uint64_t i = 0; i < (UINT64_C(64) << 20); i++)
				numbers.push_back(i);
		} catch (const std::bad_alloc &) {
			thrown = true;
		}
		CHECK(thrown && numbers.size() > 100000);
		for (std::uint64_t i = 0; i < numbers.size(); i++)
			CHECK(numbers[i] == i);
	}
	CHECK(blocks_in(pool) == before);

	thrown = false;
	try {
		(void)dmem::allocator<std::uint64_t>(pool).allocate(SIZE_MAX / 8 + 2); /* 8 bytes, if it wrapped round */
	} catch (const std::bad_array_new_length &) {
		thrown = true;
	}
	CHECK(thrown && blocks_in(pool) == before);
	check_pool(pool);
	CHECK(dmem_pool_detach(pool) == 0);
}

struct alignas(256) wide {
	char bytes[300];
};

struct alignas(1 << 18) page {
	char bytes[1 << 18];
};

void over_aligned_types_are_aligned()
{
	struct dmem_pool *pool = scratch_pool("wide", "size=128M");
	std::uint64_t before = blocks_in(pool);

	{
		std::map<int, wide, std::less<>, dmem::allocator<std::pair<const int, wide>>> map{
			dmem::allocator<std::pair<const int, wide>>(pool)};
		std::vector<wide, dmem::allocator<wide>> vector{dmem::allocator<wide>(pool)};

		for (int i = 0; i < 100; i++) {
			std::memset(map[i].bytes, i, sizeof(wide::bytes));
			vector.emplace_back();
			CHECK(reinterpret_cast<std::uintptr_t>(&map[i]) % 256 == 0);
			CHECK(reinterpret_cast<std::uintptr_t>(&vector.back()) % 256 == 0);
		}
		for (int i = 0; i < 100; i++)
			CHECK(map[i].bytes[0] == i && map[i].bytes[299] == i);
	}
	CHECK(blocks_in(pool) == before);

	/* Between blocks that are no multiple of its size, a page does not lie right by chance each time. */
	{
		std::vector<std::vector<page, dmem::allocator<page>>> pages;
		std::vector<std::vector<char, dmem::allocator<char>>> others;

		for (int i = 0; i < 20; i++) {
			others.emplace_back(200000, 'o', dmem::allocator<char>(pool));
			pages.emplace_back(1, dmem::allocator<page>(pool));
			CHECK(reinterpret_cast<std::uintptr_t>(pages.back().data()) % sizeof(page) == 0);
		}
	}
	CHECK(blocks_in(pool) == before);
	CHECK(dmem_pool_detach(pool) == 0);
}

void containers_keep_their_pools()
{
	struct dmem_pool *a = scratch_pool("a", "size=64M"), *b = scratch_pool("b", "size=64M");
	dmem::allocator<int> from_a(a), from_b(b);
	using ints = std::vector<int, dmem::allocator<int>>;

	CHECK(from_a != from_b && from_a == dmem::allocator<int>(a) && from_a == dmem::allocator<char>(from_a));
	CHECK(from_a.pool() == a && from_b.pool() == b);
	{
		ints in_a({1, 2, 3}, from_a), in_b(from_b), copy(in_a);

		in_b = in_a;
		CHECK(in_b == in_a && dmem_pool_of(in_b.data()) == b && dmem_pool_of(copy.data()) == a);
		in_b = std::move(copy); /* between pools: element by element */
		CHECK(in_b == in_a && dmem_pool_of(in_b.data()) == b && in_b.get_allocator() == from_b);
		const int *elements = in_a.data();
		ints moved(from_a);
		moved = std::move(in_a); /* in one pool: taken over */
		CHECK(moved.data() == elements);
	}
	CHECK(blocks_in(a) == 0 && blocks_in(b) == 0);
	CHECK(dmem_pool_detach(a) == 0 && dmem_pool_detach(b) == 0);
}

void no_pool_means_the_default_pool()
{
	scratch_create("default", "size=64M");
	setenv("DMEM_POOL", scratch_uri("default", nullptr), 1);
	struct dmem_pool *pool = dmem_default_pool();
	dmem::allocator<int> unnamed, null(nullptr), named(pool);

	CHECK(pool != nullptr && unnamed.pool() == pool && unnamed == named && null == named);
	CHECK(dmem::memory_resource() == dmem::memory_resource(pool));
	CHECK(dmem_pool_detach(pool) == 0);
	unsetenv("DMEM_POOL");
}

void pmr_containers_keep_their_elements_in_the_pool()
{
	struct dmem_pool *pool = scratch_pool("pmr", "size=64M"), *other = scratch_pool("pmr2", "size=64M");
	dmem::memory_resource resource(pool), same(pool), different(other);

	CHECK(resource == same && resource != different && resource != *std::pmr::new_delete_resource());
	CHECK(resource.pool() == pool);
	{
		std::pmr::map<std::pmr::string, std::pmr::vector<wide>> map(&resource);

		for (int i = 0; i < 200; i++)
			map[std::pmr::string(name_of(i % 20), &resource)].emplace_back().bytes[0] = static_cast<char>(i % 20);
		CHECK(map.size() == 20);
		for (const auto &[name, wides] : map) {
			CHECK(wides.size() == 10 && name == name_of(static_cast<unsigned char>(wides[3].bytes[0])).c_str());
			CHECK(dmem_pool_of(name.data()) == pool && dmem_pool_of(wides.data()) == pool);
			CHECK(reinterpret_cast<std::uintptr_t>(wides.data()) % 256 == 0);
		}
	}
	CHECK(blocks_in(pool) == 0 && blocks_in(other) == 0);
	bool thrown = false;
	try {
		(void)resource.allocate(UINT64_C(1) << 40);
	} catch (const std::bad_alloc &) {
		thrown = true;
	}
	CHECK(thrown);
	check_pool(pool);
	CHECK(dmem_pool_detach(pool) == 0 && dmem_pool_detach(other) == 0);
}

/* --- dmem_pool_of(), dmem_pool_base() --- */

void addresses_tell_their_pool()
{
	struct dmem_pool *pool = scratch_pool("of", "size=64M");
	struct dmem_pool_info info = {};
	char *base = static_cast<char *>(dmem_pool_base(pool));
	int local = 0;

	info.struct_bytes = sizeof(info);
	CHECK(dmem_pool_info(pool, &info) == 0);
	CHECK(reinterpret_cast<std::uintptr_t>(base) == info.base);
	CHECK(dmem_pool_of(base) == pool && dmem_pool_of(base + info.span_bytes - 1) == pool);
	for (const void *outside : {static_cast<const void *>(base - 1), static_cast<const void *>(base + info.span_bytes),
	                            static_cast<const void *>(&local), static_cast<const void *>(nullptr)}) {
		errno = 0;
		CHECK(dmem_pool_of(outside) == nullptr && errno == EINVAL && scratch_says("no pool"));
	}
	errno = 0;
	CHECK(dmem_pool_base(nullptr) == nullptr && errno == EINVAL);
	CHECK(dmem_pool_detach(pool) == 0);
	errno = 0;
	CHECK(dmem_pool_of(base) == nullptr && errno == EINVAL);
	errno = 0;
	CHECK(dmem_pool_base(pool) == nullptr && errno == EBADF);
}

struct test {
	const char *name;
	void (*run)();
};
#define TEST(name) {#name, name}
const test tests[] = {
	TEST(a_second_program_uses_the_containers_of_the_first),
	TEST(an_allocator_survives_a_detach_and_a_new_attach),
	TEST(a_full_pool_and_an_overflow_are_bad_alloc),
	TEST(over_aligned_types_are_aligned),
	TEST(containers_keep_their_pools),
	TEST(no_pool_means_the_default_pool),
	TEST(pmr_containers_keep_their_elements_in_the_pool),
	TEST(addresses_tell_their_pool),
};

/* Each in a process of its own. */
bool passes(const test &one)
{
	int status = 0;
	pid_t child = fork();

	if (child == 0) {
		scratch_begin();
		alarm(2 * wait_s);
		one.run();
		scratch_end();
		std::exit(0);
	}
	return child > 0 && waitpid(child, &status, 0) == child && WIFEXITED(status) && WEXITSTATUS(status) == 0;
}

} // namespace

int main(int argc, char **argv)
{
	int failed = 0;

	if (argc == 3 && std::strcmp(argv[1], "member") == 0)
		return member(argv[2]);
	for (const test &one : tests) {
		bool passed = passes(one);

		std::printf("%s %s\n", passed ? "ok" : "not ok", one.name);
		std::fflush(stdout);
		failed += !passed;
	}
	return failed == 0 ? 0 : 1;
}
