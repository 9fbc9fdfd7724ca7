# SPDX-License-Identifier: Apache-2.0
# What can be chosen at configure time.  Only what is switched on is looked for, so a cross build of the library alone
# needs nothing but a C library.

option(DMEM_BUILD_PRELOAD "build libdmem_preload.so" ON)
option(DMEM_BUILD_TOOLS "build dmemctl (needs json-c)" ${PROJECT_IS_TOP_LEVEL})
option(DMEM_BUILD_BENCH "build the benchmarks" OFF)
option(DMEM_BUILD_TESTS "build the tests (needs Criterion and python3)" OFF)
option(DMEM_WERROR "treat warnings as errors" OFF)

# dax: and cxl: pools need the headers of libdaxctl and libcxl; the libraries are loaded when such a pool is first used.
include(CheckIncludeFile)
check_include_file(daxctl/libdaxctl.h DMEM_HAVE_LIBDAXCTL_H)
check_include_file(cxl/libcxl.h DMEM_HAVE_LIBCXL_H)
set(DMEM_DAX_DEFAULT OFF)
if(DMEM_HAVE_LIBDAXCTL_H AND DMEM_HAVE_LIBCXL_H)
	set(DMEM_DAX_DEFAULT ON)
endif()
option(DMEM_WITH_DAX "pools on DAX and CXL devices (needs the headers of libdaxctl and libcxl)" ${DMEM_DAX_DEFAULT})
if(DMEM_WITH_DAX AND NOT DMEM_DAX_DEFAULT)
	message(FATAL_ERROR "DMEM_WITH_DAX is ON, and daxctl/libdaxctl.h or cxl/libcxl.h is missing: install libdaxctl-dev and "
		"libcxl-dev (scripts/deps build), or switch it OFF: then dax: and cxl: are unsupported")
endif()

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
