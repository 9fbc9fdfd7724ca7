/* SPDX-License-Identifier: Apache-2.0 */
/* 04_std_containers: a std::map in a pool. One process counts words in it, another reads it and counts on. */
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <functional>
#include <map>
#include <new>
#include <scoped_allocator>
#include <sstream>
#include <stdexcept>
#include <string>
#include <utility>

#include <dmem/allocator.hpp>
#include <dmem/dmem.h>

/* The key's letters lie in the pool too: the adaptor gives the map's allocator to what the map holds. */
using word = std::basic_string<char, std::char_traits<char>, dmem::allocator<char>>;
using entry = std::pair<const word, unsigned>;
using words = std::map<word, unsigned, std::less<>, std::scoped_allocator_adaptor<dmem::allocator<entry>>>;

static void check(const char *what, int error)
{
	if (error)
		throw std::runtime_error(std::string(what) + ": " + dmem_strerror(error) + ": " + dmem_last_error());
}

/* A pool that is attached for as long as this lives. */
class attachment {
public:
	explicit attachment(const char *uri)
	{
		check("attach", dmem_pool_attach(uri, nullptr, &pool));
	}

	~attachment()
	{
		dmem_pool_detach(pool);
	}

	attachment(const attachment &) = delete;
	attachment &operator=(const attachment &) = delete;

	struct dmem_pool *pool;
};

static void count(words &counts, const char *text)
{
	std::istringstream stream(text);
	std::string next;

	while (stream >> next)
		counts[word(next.begin(), next.end(), counts.get_allocator())]++;
}

/* After the last change, before anybody is told; here the other is told by the root, or by the end of the process. */
static void count_and_publish(struct dmem_pool *pool, words &counts, const char *text)
{
	count(counts, text);
	check("publish", dmem_publish_all(pool));
}

static void print(const char *who, const words &counts)
{
	std::printf("%-6s %d finds, at %p:", who, static_cast<int>(getpid()), static_cast<const void *>(&counts));
	for (const auto &[text, times] : counts)
		std::printf(" %s=%u", text.c_str(), times);
	std::printf("\n");
}

/* In the child.  It attaches by itself; nothing but the pool's name has been handed to it. */
static void second(const char *uri)
{
	attachment attached(uri);

	words *counts = static_cast<words *>(dmem_root_get(attached.pool, "words"));
	if (counts == nullptr)
		check("second: root", -errno);
	check("second: refresh", dmem_refresh_all(attached.pool)); /* before the first look at what somebody else wrote */
	print("second", *counts);
	count_and_publish(attached.pool, *counts, "the map grows from the second process too");
}

static bool run_second(const char *uri)
{
	pid_t child = fork();
	int status;

	if (child == 0) {
		try {
			second(uri);
			std::fflush(stdout);
			_exit(0);
		} catch (const std::exception &error) {
			std::fprintf(stderr, "%s\n%s\n", error.what(), dmem_last_error());
			_exit(1);
		}
	}
	return child > 0 && waitpid(child, &status, 0) == child && status == 0;
}

static void first(const char *uri)
{
	attachment attached(uri);
	struct dmem_pool *pool = attached.pool;

	dmem::allocator<words> place(pool);
	words *counts = new (place.allocate(1)) words(place); /* the map itself lies in the pool, as all that it holds */
	count_and_publish(pool, *counts, "the first process puts the map into the pool");
	check("first: root", dmem_root_set(pool, "words", counts));

	if (!run_second(uri))
		throw std::runtime_error("the second process failed");

	check("first: refresh", dmem_refresh_all(pool));
	print("first", *counts);
	if (counts->size() != 11 || counts->at(word("the", place)) != 5)
		throw std::runtime_error("not all words were counted");

	check("first: root", dmem_root_set(pool, "words", nullptr));
	counts->~words(); /* frees what both have allocated */
	place.deallocate(counts, 1);
}

int main()
{
	std::string uri = "file:/dev/shm/dmem-std-containers." + std::to_string(getpid()) + "?size=64M";
	int status = 0;

	std::setvbuf(stdout, nullptr, _IOLBF, 0);
	try {
		check("create", dmem_pool_create(uri.c_str(), nullptr));
		first(uri.c_str());
	} catch (const std::exception &error) {
		std::fprintf(stderr, "%s\n%s\n", error.what(), dmem_last_error());
		status = 1;
	}
	if (dmem_pool_destroy(uri.c_str()) != 0)
		status = 1;
	return status;
}
