/* SPDX-License-Identifier: Apache-2.0 */
/*
 * allocator.hpp: C++17: containers of the standard library in shared memory.
 *
 *   dmem::allocator<T>      an allocator for std::vector, std::map, std::basic_string, ...
 *   dmem::memory_resource   the same for the containers of std::pmr
 *
 * A container whose allocator is a dmem::allocator may itself live in the pool, behind a root, and every member uses
 * it there: all members map a pool at the same addresses, so the raw pointers inside hold in each of them, and the
 * allocator inside holds no handle (handles are private to a process) but the base of the pool's window, from which
 * each member finds its own handle.  Its blocks may be freed by any member.
 *
 *   using numbers = std::vector<int, dmem::allocator<int>>;
 *   dmem::allocator<numbers> place(pool);
 *   numbers *shared = new (place.allocate(1)) numbers(place);    // the object in the pool, and its elements too
 *   int rc = dmem_root_set(pool, "numbers", shared);             // another member gets it with dmem_root_get()
 *
 * What the caller sees to:
 *   - Containers do not lock.  Members that use one at the same time guard it, as threads of one process do.
 *   - Containers do not publish.  In a pool that is not coherent, a member calls dmem_publish_all() after its last
 *     change, before it tells anyone, and dmem_refresh_all() before its first look (docs/memory-model.md).
 *   - A member that dies while it changes a container leaves the container half changed; the pool itself stays whole.
 *   - Programs that share a container are built with the same standard library and the same options for its layout
 *     (_GLIBCXX_DEBUG, _GLIBCXX_USE_CXX11_ABI, ...), and agree on hashes and orders.
 *   - What is shared must hold no pointer to anything private: no virtual functions, no functions or function objects
 *     that keep pointers to code, no std::shared_ptr, no std::string of the usual allocator.  Containers of
 *     containers hand their allocator on with std::scoped_allocator_adaptor.
 *
 * A dmem::memory_resource has virtual functions and therefore stays in private memory, and so do the containers of
 * std::pmr, which point to it: their elements are in the pool, the containers are for this process only.
 *
 * Failures are std::bad_alloc; dmem_last_error() says why.
 */
#ifndef DMEM_ALLOCATOR_HPP
#define DMEM_ALLOCATOR_HPP

#include <cstddef>
#include <cstdint>
#include <limits>
#include <memory_resource>
#include <new>
#include <type_traits>

#include "dmem/alloc.h"
#include "dmem/pool.h"

namespace dmem {

namespace detail {

/* Base of the window of a pool, or of the default pool when there is none named. */
inline std::uint64_t base_of(struct dmem_pool *pool)
{
	void *base;

	if (pool == nullptr)
		pool = dmem_default_pool();
	base = pool == nullptr ? nullptr : dmem_pool_base(pool);
	if (base == nullptr)
		throw std::bad_alloc();
	return reinterpret_cast<std::uintptr_t>(base);
}

/* This process's handle of the pool; nullptr with errno when it has not attached it. */
inline struct dmem_pool *pool_at(std::uint64_t base) noexcept
{
	return dmem_pool_of(reinterpret_cast<const void *>(static_cast<std::uintptr_t>(base)));
}

inline void *allocate(std::uint64_t base, std::size_t bytes, std::size_t alignment)
{
	struct dmem_alloc_options options{};
	struct dmem_pool *pool = pool_at(base);
	void *block = nullptr;

	options.struct_bytes = sizeof(options);
	options.tier = DMEM_TIER_SHARED;
	options.alignment_bytes = alignment;
	if (pool != nullptr) /* dmem_alloc_ex() would take the default pool */
		block = dmem_alloc_ex(pool, bytes, &options);
	if (block == nullptr)
		throw std::bad_alloc();
	return block;
}

} // namespace detail

/*
 * dmem::allocator<T> - shared memory of one pool, for containers.
 *
 * Two are equal when they allocate from the same pool.  Threads: as the calls of dmem/alloc.h, safe from any.
 */
template <class T> class allocator {
public:
	using value_type = T;
	using size_type = std::size_t;
	using difference_type = std::ptrdiff_t;

	/*
	 * A container keeps its pool for life: were the allocator handed on by an assignment or a swap, a container that
	 * lives in one pool would point into another, which the members that use the first need not have attached.  So
	 * assigning between pools copies or moves element by element, and to swap containers of two pools is undefined,
	 * as with std::pmr.  A copy that is constructed lies in the pool of the original unless it is given an allocator.
	 */
	using propagate_on_container_copy_assignment = std::false_type;
	using propagate_on_container_move_assignment = std::false_type;
	using propagate_on_container_swap = std::false_type;
	using is_always_equal = std::false_type;

	/*
	 * From an attached pool; nullptr, or nothing, means the default pool.  Which one that is, is settled here and now,
	 * for the default pool of another member may be another pool.  Throws std::bad_alloc when the pool can't be had.
	 */
	allocator() : base_(detail::base_of(nullptr))
	{
	}

	allocator(struct dmem_pool *pool) : base_(detail::base_of(pool))
	{
	}

	template <class U> allocator(const allocator<U> &other) noexcept : base_(other.base())
	{
	}

	/* Room for `count` objects, aligned for T (up to 1 GiB).  Throws std::bad_array_new_length when their size overflows,
	 * and std::bad_alloc when the pool is full, or not attached in this process. */
	[[nodiscard]] T *allocate(std::size_t count)
	{
		if (count > static_cast<std::size_t>(std::numeric_limits<std::ptrdiff_t>::max()) / sizeof(T))
			throw std::bad_array_new_length();
		return static_cast<T *>(detail::allocate(base_, count * sizeof(T), alignof(T)));
	}

	/* Also for what another member allocated. */
	void deallocate(T *block, std::size_t) noexcept
	{
		dmem_free(block);
	}

	/* This process's handle of the pool; nullptr with errno when it has not attached it. */
	struct dmem_pool *pool() const noexcept
	{
		return detail::pool_at(base_);
	}

	/* Base of the pool's window: the same in every member. */
	std::uint64_t base() const noexcept
	{
		return base_;
	}

private:
	std::uint64_t base_; /* never a pointer that means something in one process only: allocators lie in pools */
};

template <class T, class U> bool operator==(const allocator<T> &a, const allocator<U> &b) noexcept
{
	return a.base() == b.base();
}

template <class T, class U> bool operator!=(const allocator<T> &a, const allocator<U> &b) noexcept
{
	return !(a == b);
}

/*
 * dmem::memory_resource - shared memory of one pool, for std::pmr.
 *
 * The object stays in private memory (see above) and outlives the containers that use it.  Two are equal when they
 * allocate from the same pool.
 */
class memory_resource : public std::pmr::memory_resource {
public:
	/* As dmem::allocator. */
	explicit memory_resource(struct dmem_pool *pool = nullptr) : base_(detail::base_of(pool))
	{
	}

	memory_resource(const memory_resource &) = delete;
	memory_resource &operator=(const memory_resource &) = delete;

	struct dmem_pool *pool() const noexcept
	{
		return detail::pool_at(base_);
	}

private:
	void *do_allocate(std::size_t bytes, std::size_t alignment) override
	{
		return detail::allocate(base_, bytes, alignment);
	}

	void do_deallocate(void *block, std::size_t, std::size_t) override
	{
		dmem_free(block);
	}

	bool do_is_equal(const std::pmr::memory_resource &other) const noexcept override
	{
		const memory_resource *same = dynamic_cast<const memory_resource *>(&other);

		return same != nullptr && same->base_ == base_;
	}

	std::uint64_t base_;
};

} // namespace dmem
#endif
