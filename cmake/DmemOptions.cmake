# SPDX-License-Identifier: Apache-2.0
# What can be chosen at configure time.  Only what is switched on is looked for, so a cross build of the library alone
# needs nothing but a C library.

option(DMEM_BUILD_PRELOAD "build libdmem_preload.so" ON)
option(DMEM_BUILD_TOOLS "build dmemctl (needs json-c)" ${PROJECT_IS_TOP_LEVEL})
option(DMEM_BUILD_BENCH "build the benchmarks" OFF)
option(DMEM_BUILD_TESTS "build the tests (needs Criterion and python3)" OFF)
option(DMEM_WERROR "treat warnings as errors" OFF)

set(DMEM_SANITIZE "" CACHE STRING "sanitizers: empty, address (with undefined) or thread")
set_property(CACHE DMEM_SANITIZE PROPERTY STRINGS "" address thread)
if(NOT DMEM_SANITIZE MATCHES "^(|address|thread)$")
	message(FATAL_ERROR "DMEM_SANITIZE is '${DMEM_SANITIZE}'; it can be empty, 'address' or 'thread'")
endif()

if(NOT CMAKE_BUILD_TYPE AND NOT CMAKE_CONFIGURATION_TYPES)
	set(CMAKE_BUILD_TYPE RelWithDebInfo CACHE STRING "kind of build" FORCE)
endif()

# ccache, when the machine has it and nobody chose another launcher.
find_program(DMEM_CCACHE ccache)
mark_as_advanced(DMEM_CCACHE)
if(DMEM_CCACHE AND NOT CMAKE_C_COMPILER_LAUNCHER)
	set(CMAKE_C_COMPILER_LAUNCHER "${DMEM_CCACHE}")
endif()
