// SPDX-License-Identifier: Apache-2.0
// containers.cc: new and delete, aligned and not, through libstdc++; exceptions; an allocation that can't be had.
#include <cstdint>
#include <iostream>
#include <limits>
#include <map>
#include <memory>
#include <new>
#include <numeric>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

struct alignas(256) Wide {
	char bytes[256];
};

static unsigned long churn(unsigned seed)
{
	std::map<std::string, std::vector<unsigned>> map;
	unsigned long sum = 0;

	for (unsigned i = 0; i < 20000; i++) {
		seed = seed * 1664525u + 1013904223u;
		map["key " + std::to_string(seed % 5000)].push_back(i);
		if (seed % 7 == 0)
			map.erase(map.begin());
	}
	for (const auto &entry : map)
		sum = std::accumulate(entry.second.begin(), entry.second.end(), sum) + entry.first.size();
	return sum;
}

int main()
{
	std::vector<std::thread> threads;
	std::vector<unsigned long> sums(4);
	std::vector<std::unique_ptr<Wide>> wides;
	volatile std::size_t huge = std::numeric_limits<std::ptrdiff_t>::max();
	int failures = 0;

	for (unsigned i = 0; i < 4; i++)
		threads.emplace_back([i, &sums] { sums[i] = churn(i); });
	for (auto &thread : threads)
		thread.join();
	for (int i = 0; i < 20000; i++) {
		wides.push_back(std::make_unique<Wide>());
		failures += reinterpret_cast<std::uintptr_t>(wides.back().get()) % 256 != 0;
	}
	try {
		::operator delete(::operator new(huge));
		failures++;
	} catch (const std::bad_alloc &) {
	}
	try {
		throw std::runtime_error(std::string(100000, 'x'));
	} catch (const std::runtime_error &error) {
		failures += std::string(error.what()).size() != 100000;
	}
	for (auto sum : sums)
		std::cout << sum << '\n';
	return failures != 0;
}
