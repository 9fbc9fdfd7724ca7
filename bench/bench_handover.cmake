# SPDX-License-Identifier: Apache-2.0
# The index is the demo's.
target_sources(bench_handover PRIVATE
	"${PROJECT_SOURCE_DIR}/examples/demo/flat.c"
	"${PROJECT_SOURCE_DIR}/examples/demo/index.c"
	"${PROJECT_SOURCE_DIR}/examples/demo/query.c")
target_include_directories(bench_handover PRIVATE "${PROJECT_SOURCE_DIR}/examples")
