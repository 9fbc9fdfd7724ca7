# SPDX-License-Identifier: Apache-2.0
# The library, the shim, the tools and the benchmarks.

# An archive for use inside the project; its users see internals.
function(dmem_add_archive name)
	add_library(${name} STATIC ${ARGN})
	dmem_compile(${name})
	target_include_directories(${name} PUBLIC "${PROJECT_SOURCE_DIR}/include" "${PROJECT_SOURCE_DIR}/src")
	target_link_libraries(${name} PUBLIC Threads::Threads ${CMAKE_DL_LIBS})
endfunction()

function(dmem_add_objects name)
	add_library(${name} OBJECT ${ARGN})
	dmem_compile(${name})
	target_include_directories(${name} PUBLIC "${PROJECT_SOURCE_DIR}/include")
endfunction()

# Sets DMEM_SOURCES and DMEM_BASE_SOURCES in the caller.
macro(dmem_find_sources)
	file(GLOB_RECURSE DMEM_SOURCES CONFIGURE_DEPENDS "${PROJECT_SOURCE_DIR}/src/*.c")
	file(GLOB DMEM_BASE_SOURCES CONFIGURE_DEPENDS "${PROJECT_SOURCE_DIR}/src/base/*.c")
	if(NOT DMEM_BASE_SOURCES)
		message(FATAL_ERROR "src/base holds no source file: is this checkout complete?")
	endif()
	if(NOT DMEM_WITH_DAX)
		list(FILTER DMEM_SOURCES EXCLUDE REGEX "/src/transport/devdax/")
	endif()
	list(SORT DMEM_SOURCES)
endmacro()

function(dmem_add_library)
	dmem_find_sources()
	set(upper ${DMEM_SOURCES})
	list(REMOVE_ITEM upper ${DMEM_BASE_SOURCES})

	# src/base has objects of its own: the shim takes single ones of them.
	dmem_add_objects(dmem_base_objects ${DMEM_BASE_SOURCES})
	set(objects $<TARGET_OBJECTS:dmem_base_objects>)
	if(upper)
		dmem_add_objects(dmem_upper_objects ${upper})
		list(APPEND objects $<TARGET_OBJECTS:dmem_upper_objects>)
	endif()

	add_library(dmem SHARED ${objects})
	add_library(dmem::dmem ALIAS dmem)
	set_target_properties(dmem PROPERTIES
		LINKER_LANGUAGE C
		VERSION "${PROJECT_VERSION}"
		SOVERSION "${PROJECT_VERSION_MAJOR}")
	dmem_compile(dmem)
	dmem_version_script(dmem "${PROJECT_SOURCE_DIR}/src/libdmem.map")
	# Its signal handlers, fork handlers and thread keys must outlive a dlclose().
	target_link_options(dmem PRIVATE "LINKER:-z,nodelete")
	target_include_directories(dmem PUBLIC "$<BUILD_INTERFACE:${PROJECT_SOURCE_DIR}/include>"
	                           "$<INSTALL_INTERFACE:${CMAKE_INSTALL_INCLUDEDIR}>")
	target_link_libraries(dmem PRIVATE Threads::Threads ${CMAKE_DL_LIBS})

	dmem_add_archive(dmem_internal ${objects})
	set_target_properties(dmem_internal PROPERTIES LINKER_LANGUAGE C)

	if(DMEM_BUILD_TESTS)
		dmem_add_archive(dmem_testing ${DMEM_SOURCES})
		target_compile_definitions(dmem_testing PUBLIC DM_FAULT_INJECTION=1)
	endif()
endfunction()

# The shim uses libdmem.so like any program; of src/base it may use functions without state, which it gets as copies.
function(dmem_add_preload)
	file(GLOB sources CONFIGURE_DEPENDS "${PROJECT_SOURCE_DIR}/preload/*.c")
	if(NOT sources)
		return()
	endif()
	add_library(dmem_base STATIC $<TARGET_OBJECTS:dmem_base_objects>)
	set_target_properties(dmem_base PROPERTIES LINKER_LANGUAGE C)
	add_library(dmem_preload SHARED ${sources})
	dmem_compile(dmem_preload)
	dmem_version_script(dmem_preload "${PROJECT_SOURCE_DIR}/preload/libdmem_preload.map")
	# What it exports is said by the map alone: malloc and its family are declared by the C library, without a word on
	# visibility.
	set_target_properties(dmem_preload PROPERTIES C_VISIBILITY_PRESET default)
	# A function that implements malloc must not be turned into a call of malloc.
	target_compile_options(dmem_preload PRIVATE -fno-builtin)
	target_link_libraries(dmem_preload PRIVATE dmem dmem_base Threads::Threads ${CMAKE_DL_LIBS})
	set_target_properties(dmem_preload PROPERTIES
		BUILD_RPATH_USE_ORIGIN ON
		INSTALL_RPATH "\$ORIGIN")
endfunction()

function(dmem_add_tools)
	file(GLOB sources CONFIGURE_DEPENDS "${PROJECT_SOURCE_DIR}/tools/dmemctl/*.c")
	if(NOT sources)
		return()
	endif()
	find_package(PkgConfig REQUIRED)
	pkg_check_modules(JSONC REQUIRED IMPORTED_TARGET json-c)
	add_executable(dmemctl ${sources})
	dmem_compile(dmemctl)
	target_include_directories(dmemctl PRIVATE "${PROJECT_SOURCE_DIR}/tools")
	target_compile_definitions(dmemctl PRIVATE DMEM_BUILD_VERSION="${PROJECT_VERSION}")
	target_link_libraries(dmemctl PRIVATE dmem_internal PkgConfig::JSONC)
endfunction()

# bench/bench_NAME.c, each with all of bench/harness, against the library that ships.
function(dmem_add_benches)
	file(GLOB benches CONFIGURE_DEPENDS "${PROJECT_SOURCE_DIR}/bench/bench_*.c")
	file(GLOB harness CONFIGURE_DEPENDS "${PROJECT_SOURCE_DIR}/bench/harness/*.c")
	if(harness AND benches)
		add_library(bench_harness STATIC ${harness})
		dmem_compile(bench_harness)
		target_include_directories(bench_harness PUBLIC "${PROJECT_SOURCE_DIR}/bench")
		target_link_libraries(bench_harness PUBLIC dmem Threads::Threads m)
	endif()
	foreach(source IN LISTS benches)
		get_filename_component(name "${source}" NAME_WE)
		add_executable(${name} "${source}")
		dmem_compile(${name})
		target_include_directories(${name} PRIVATE "${PROJECT_SOURCE_DIR}/bench")
		target_link_libraries(${name} PRIVATE dmem Threads::Threads m)
		if(TARGET bench_harness)
			target_link_libraries(${name} PRIVATE bench_harness)
		endif()
		set_target_properties(${name} PROPERTIES RUNTIME_OUTPUT_DIRECTORY "${PROJECT_BINARY_DIR}/bench")
		# What a benchmark needs beyond that stands beside it.
		include("${PROJECT_SOURCE_DIR}/bench/${name}.cmake" OPTIONAL)
	endforeach()
endfunction()
