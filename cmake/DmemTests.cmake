# SPDX-License-Identifier: Apache-2.0
#
# Tests, found by their place (tests/README.md).  Every test runs in its own scratch directory with its own registry of
# windows, so that tests can run at the same time.  Criterion programs leave build/PRESET/results/NAME.xml;
# sanitizer reports go to build/PRESET/sanitizer/NAME.PID, and scripts/test fails when there is one.

# Only the tests of the headers for C++ are in C++: the library is built without.
enable_language(CXX)

# Seconds: for one test of a Criterion program, and for a whole program.  Ten times what they take on a machine that does
# nothing else: against hanging, not against slowness.
set(DMEM_TEST_TIMEOUT_S 300)
set(DMEM_TEST_LIMIT_S 300)
if(DMEM_SANITIZE)
	set(DMEM_TEST_TIMEOUT_S 360)
	set(DMEM_TEST_LIMIT_S 360)
endif()

# Give test `name` its label, environment, directory and time limit.
function(dmem_test_properties name label)
	set(scratch "${PROJECT_BINARY_DIR}/scratch/${name}")
	file(MAKE_DIRECTORY "${scratch}" "${PROJECT_BINARY_DIR}/results" "${PROJECT_BINARY_DIR}/sanitizer")
	set(report "log_path=${PROJECT_BINARY_DIR}/sanitizer/${name}")
	set(environment
		"DMEM_REGISTRY=${scratch}/registry"
		"DMEM_SOURCE_DIR=${PROJECT_SOURCE_DIR}"
		"DMEM_BUILD_DIR=${PROJECT_BINARY_DIR}"
		"DMEMCTL=${PROJECT_BINARY_DIR}/dmemctl"
		"DMEM_PRELOAD=${PROJECT_BINARY_DIR}/libdmem_preload.so"
		"CC=${CMAKE_C_COMPILER}"
		# Deaths by signal are seen by whoever runs the test; some tests want them.
		"ASAN_OPTIONS=${report}:handle_segv=0:handle_sigbus=0:handle_abort=0:detect_stack_use_after_return=1"
		"LSAN_OPTIONS=suppressions=${PROJECT_SOURCE_DIR}/tests/lsan.supp:print_suppressions=0"
		"UBSAN_OPTIONS=${report}:print_stacktrace=1"
		"TSAN_OPTIONS=${report}:handle_segv=0:handle_sigbus=0:handle_abort=0:second_deadlock_stack=1")
	set_tests_properties(${name} PROPERTIES
		LABELS "${label}"
		ENVIRONMENT "${environment}"
		WORKING_DIRECTORY "${scratch}"
		TIMEOUT ${DMEM_TEST_LIMIT_S})
endfunction()

# A program of tests/, linked to the library with its internals and fault points.
function(dmem_add_test_program name)
	add_executable(${name} ${ARGN})
	dmem_compile(${name})
	target_include_directories(${name} PRIVATE "${PROJECT_SOURCE_DIR}/tests")
	target_link_libraries(${name} PRIVATE dmem_testing)
	if(TARGET dmem_test_support)
		target_link_libraries(${name} PRIVATE dmem_test_support)
	endif()
	set_target_properties(${name} PROPERTIES RUNTIME_OUTPUT_DIRECTORY "${PROJECT_BINARY_DIR}/tests")
endfunction()

function(dmem_add_criterion name label)
	dmem_add_test_program(${name} ${ARGN})
	target_link_libraries(${name} PRIVATE PkgConfig::CRITERION)
	# Criterion's own macros do not stand up to these, and its eq(str, ...) takes no const.
	target_compile_options(${name} PRIVATE -Wno-pedantic -Wno-missing-prototypes -Wno-shadow -Wno-write-strings
		$<IF:$<C_COMPILER_ID:GNU>,-Wno-discarded-qualifiers,-Wno-incompatible-pointer-types-discards-qualifiers>)
	set(xml "${PROJECT_BINARY_DIR}/results/${name}.xml")
	add_test(NAME ${name} COMMAND ${name} "--xml=${xml}" --timeout=${DMEM_TEST_TIMEOUT_S})
	dmem_test_properties(${name} ${label})
	# Tells scripts/lib/tally.py that this one must leave an XML.
	file(WRITE "${PROJECT_BINARY_DIR}/results/${name}.criterion" "${name}\n")
endfunction()

# "unit/alloc/shared/test_slab.c" -> "unit.alloc.shared.slab"
function(dmem_test_name source result)
	file(RELATIVE_PATH relative "${PROJECT_SOURCE_DIR}/tests" "${source}")
	string(REGEX REPLACE "\\.[a-z]+$" "" relative "${relative}")
	string(REGEX REPLACE "/(test_)?([^/]*)$" "/\\2" relative "${relative}")
	string(REPLACE "/" "." relative "${relative}")
	set(${result} "${relative}" PARENT_SCOPE)
endfunction()

# Each test_*.c of the folder is a Criterion program; the other .c files beside it are linked to each.
function(dmem_add_criterion_folder folder label)
	file(GLOB_RECURSE tests CONFIGURE_DEPENDS "${PROJECT_SOURCE_DIR}/tests/${folder}/test_*.c")
	foreach(source IN LISTS tests)
		get_filename_component(directory "${source}" DIRECTORY)
		file(GLOB helpers CONFIGURE_DEPENDS "${directory}/*.c")
		list(FILTER helpers EXCLUDE REGEX "/test_[^/]*$")
		dmem_test_name("${source}" name)
		dmem_add_criterion(${name} ${label} "${source}" ${helpers})
	endforeach()
endfunction()

function(dmem_add_criterion_tests)
	find_package(PkgConfig REQUIRED)
	pkg_check_modules(CRITERION REQUIRED IMPORTED_TARGET criterion)
	dmem_add_criterion_folder(unit unit)
	dmem_add_criterion_folder(crash crash)
	dmem_add_variants()
	file(GLOB_RECURSE conformance CONFIGURE_DEPENDS "${PROJECT_SOURCE_DIR}/tests/conformance/*.c")
	if(conformance)
		dmem_add_criterion(conformance conformance ${conformance})
	endif()
endfunction()

# A Criterion program once more, as SCHEME.NAME, with its pools of that kind (tests/lib/scratch.h: DMEM_TEST_SCHEME); its
# tests that match the pattern are left out.
function(dmem_add_variant scheme name)
	set(variant "${scheme}.${name}")
	set(xml "${PROJECT_BINARY_DIR}/results/${variant}.xml")
	set(filter "")
	if(ARGN)
		set(filter "--filter=!(${ARGN})")
	endif()
	add_test(NAME ${variant} COMMAND ${name} "--xml=${xml}" --timeout=${DMEM_TEST_TIMEOUT_S} ${filter})
	dmem_test_properties(${variant} backends)
	set_property(TEST ${variant} APPEND PROPERTY ENVIRONMENT "DMEM_TEST_SCHEME=${scheme}")
	file(WRITE "${PROJECT_BINARY_DIR}/results/${variant}.criterion" "${variant}\n")
endfunction()

# Suites of pools, on every kind of pool.  Left out where they can't be what they test:
#   sim, sim-delegate   more than 64 MiB in a pool, or private memory of a pool, which a member's copy can't give
#   all three           classes of less than 64 bytes, which such pools don't have
function(dmem_add_variants)
	set(small "exhaustion/small_blocks_*")
	foreach(name addr.devices addr.window alloc_shared.bad_free alloc_shared.contents alloc_shared.threads failure.members
			pool.bad_input pool.default pool.detached pool.flipped_bits pool.growth pool.lost pool.roots
			sync.mutex sync.wait)
		dmem_add_variant(file-delegate unit.${name})
	endforeach()
	dmem_add_variant(file-delegate unit.alloc_shared.exhaustion "${small}")
	dmem_add_variant(file-delegate unit.alloc_shared.sizes
		"sizes/above_128_*|sizes/size_zero_*|sizes/sizes_around_*")
	dmem_add_variant(file-delegate crash.fault_points)
	dmem_add_variant(file-delegate crash.membership)
	dmem_add_variant(file-delegate crash.sync)
	dmem_add_variant(sim crash.sync)
	foreach(scheme sim sim-delegate)
		foreach(name alloc_shared.bad_free alloc_shared.threads failure.members pool.bad_input pool.detached
				sync.mutex sync.wait)
			dmem_add_variant(${scheme} unit.${name})
		endforeach()
		dmem_add_variant(${scheme} unit.addr.devices "devices/adding_refuses_*")
		dmem_add_variant(${scheme} unit.alloc_shared.contents "contents/realloc_stays_*")
		dmem_add_variant(${scheme} unit.pool.default "default_pool/every_tier_*")
		dmem_add_variant(${scheme} unit.pool.roots "roots/the_directory_is_full_*")
	endforeach()
endfunction()

# Plain programs: exit status 0 is success.  Criterion does not start under ThreadSanitizer; these do.
function(dmem_add_stress_tests)
	set(prefix "")
	if(DMEM_SANITIZE STREQUAL "thread")
		# ThreadSanitizer wants the kernel's usual layout; where the kernel lets us, take the randomness out.
		execute_process(COMMAND setarch -R true RESULT_VARIABLE refused OUTPUT_QUIET ERROR_QUIET)
		if(NOT refused)
			set(prefix setarch -R)
		endif()
	endif()
	file(GLOB sources CONFIGURE_DEPENDS "${PROJECT_SOURCE_DIR}/tests/stress/*.c")
	foreach(source IN LISTS sources)
		dmem_test_name("${source}" name)
		dmem_add_test_program(${name} "${source}")
		add_test(NAME ${name} COMMAND ${prefix} "$<TARGET_FILE:${name}>")
		dmem_test_properties(${name} stress)
	endforeach()
endfunction()

# tests/unit/FOLDER/test_*.cpp: plain programs in C++: exit status 0 is success.
function(dmem_add_cplusplus_tests)
	file(GLOB_RECURSE sources CONFIGURE_DEPENDS "${PROJECT_SOURCE_DIR}/tests/unit/test_*.cpp")
	foreach(source IN LISTS sources)
		dmem_test_name("${source}" name)
		dmem_add_test_program(${name} "${source}")
		add_test(NAME ${name} COMMAND ${name})
		dmem_test_properties(${name} unit)
	endforeach()
endfunction()

# tests/torture/NAME.c -> tests/torture_NAME, run by scripts/torture as long as you like, and for a short while by ctest.
function(dmem_add_torture)
	file(GLOB sources CONFIGURE_DEPENDS "${PROJECT_SOURCE_DIR}/tests/torture/*.c")
	foreach(source IN LISTS sources)
		get_filename_component(name "${source}" NAME_WE)
		dmem_add_test_program(torture_${name} "${source}")
		if(NOT DMEM_SANITIZE STREQUAL "thread") # which doesn't follow what processes do to each other
			add_test(NAME torture.${name} COMMAND torture_${name} --seconds 20 --seed 1)
			dmem_test_properties(torture.${name} stress)
		endif()
	endforeach()
endfunction()

# tests/litmus: one program; the short run is a test, `--seeds 10000` the long one.
function(dmem_add_litmus)
	file(GLOB sources CONFIGURE_DEPENDS "${PROJECT_SOURCE_DIR}/tests/litmus/*.c")
	if(sources)
		dmem_add_test_program(litmus ${sources})
		add_test(NAME litmus COMMAND litmus --runs 2000 --seeds 200)
		dmem_test_properties(litmus litmus)
	endif()
endfunction()

# tests/model/NAME.pml: a protocol's model, checked by spin, with the faults that are planted in it: a test each.
function(dmem_add_models)
	file(GLOB models CONFIGURE_DEPENDS "${PROJECT_SOURCE_DIR}/tests/model/*.pml")
	foreach(model IN LISTS models)
		dmem_test_name("${model}" name)
		add_test(NAME ${name} COMMAND "${PROJECT_SOURCE_DIR}/tests/model/run" "${model}")
		dmem_test_properties(${name} model)
	endforeach()
endfunction()

# Small programs that tests/preload runs under the shim: they see nothing of the library.
function(dmem_add_preload_programs)
	file(GLOB sources CONFIGURE_DEPENDS "${PROJECT_SOURCE_DIR}/tests/preload/*.c")
	foreach(source IN LISTS sources)
		get_filename_component(name "${source}" NAME_WE)
		add_executable(preload_${name} "${source}")
		dmem_compile(preload_${name})
		# What they ask of malloc must reach malloc.
		target_compile_options(preload_${name} PRIVATE -fno-builtin -Wno-missing-prototypes
			$<$<C_COMPILER_ID:GNU>:-Wno-alloc-size-larger-than>)
		target_link_libraries(preload_${name} PRIVATE Threads::Threads ${CMAKE_DL_LIBS})
		set_target_properties(preload_${name} PROPERTIES RUNTIME_OUTPUT_DIRECTORY "${PROJECT_BINARY_DIR}/tests")
	endforeach()
endfunction()

# tests/FOLDER/test_*.py and test_*.sh: one test each; lines "ok NAME", "not ok NAME" on stdout are counted as cases.
function(dmem_add_script_tests)
	find_package(Python3 REQUIRED COMPONENTS Interpreter)
	file(GLOB scripts CONFIGURE_DEPENDS "${PROJECT_SOURCE_DIR}/tests/*/test_*.py" "${PROJECT_SOURCE_DIR}/tests/*/test_*.sh"
		"${PROJECT_SOURCE_DIR}/tests/meta/check_*.py")
	foreach(script IN LISTS scripts)
		dmem_test_name("${script}" name)
		string(REGEX REPLACE "\\..*$" "" label "${name}")
		if(label STREQUAL "install" OR (DMEM_SANITIZE AND label MATCHES "^(preload|meta|scripts)$"))
			continue() # run by scripts/test; or no code of ours runs in it
		endif()
		if(script MATCHES "\\.py$")
			add_test(NAME ${name} COMMAND "${Python3_EXECUTABLE}" "${script}")
		else()
			add_test(NAME ${name} COMMAND bash "${script}")
		endif()
		dmem_test_properties(${name} ${label})
	endforeach()
endfunction()

# tests/lab/NAME.c -> tests/lab_NAME, run by scripts/lab in its guests.  One that includes something of libdmem's is linked
# to it; the others show what the lab itself does.  One that includes <infiniband/...> or <rdma/...> is built where the
# verbs libraries are; scripts/lab misses it elsewhere.
function(dmem_add_lab_programs)
	find_package(PkgConfig REQUIRED)
	pkg_check_modules(VERBS IMPORTED_TARGET libibverbs librdmacm)
	file(GLOB sources CONFIGURE_DEPENDS "${PROJECT_SOURCE_DIR}/tests/lab/*.c")
	foreach(source IN LISTS sources)
		get_filename_component(name "${source}" NAME_WE)
		file(STRINGS "${source}" verbs REGEX "^#include <(infiniband|rdma)/")
		file(STRINGS "${source}" ours REGEX "^#include (<dmem|\"[a-z]+/)")
		if(verbs AND NOT VERBS_FOUND)
			continue()
		endif()
		if(ours)
			dmem_add_test_program(lab_${name} "${source}")
		else()
			add_executable(lab_${name} "${source}")
			dmem_compile(lab_${name})
			set_target_properties(lab_${name} PROPERTIES RUNTIME_OUTPUT_DIRECTORY "${PROJECT_BINARY_DIR}/tests")
		endif()
		if(verbs)
			target_link_libraries(lab_${name} PRIVATE PkgConfig::VERBS)
		endif()
	endforeach()
endfunction()

function(dmem_add_tests)
	file(GLOB support CONFIGURE_DEPENDS "${PROJECT_SOURCE_DIR}/tests/lib/*.c")
	if(support)
		add_library(dmem_test_support STATIC ${support})
		dmem_compile(dmem_test_support)
		target_include_directories(dmem_test_support PUBLIC "${PROJECT_SOURCE_DIR}/tests")
		target_link_libraries(dmem_test_support PUBLIC dmem_testing)
	endif()
	dmem_add_stress_tests()
	dmem_add_torture()
	if(DMEM_SANITIZE STREQUAL "thread")
		return()
	endif()
	dmem_add_criterion_tests()
	dmem_add_litmus()
	dmem_add_cplusplus_tests()
	if(NOT DMEM_SANITIZE)
		dmem_add_models()
		dmem_add_lab_programs()
		dmem_add_preload_programs()
	endif()
	dmem_add_script_tests()
endfunction()
