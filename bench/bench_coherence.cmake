# SPDX-License-Identifier: Apache-2.0
# The bare instructions, under the names that the library has for them.
target_include_directories(bench_coherence PRIVATE "${PROJECT_SOURCE_DIR}/src")
