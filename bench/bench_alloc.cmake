# SPDX-License-Identifier: Apache-2.0
# The workloads, and Boost.Interprocess as a peer; jemalloc is preloaded at run time.
target_sources(bench_alloc PRIVATE
	"${PROJECT_SOURCE_DIR}/bench/alloc/work.c"
	"${PROJECT_SOURCE_DIR}/bench/alloc/allocators.c"
	"${PROJECT_SOURCE_DIR}/bench/alloc/boost.cpp")
target_link_libraries(bench_alloc PRIVATE rt)
