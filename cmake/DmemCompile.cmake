# SPDX-License-Identifier: Apache-2.0
# How everything is compiled.  dmem_compile(TARGET) gives a target the project's language, warnings and sanitizers.

find_package(Threads REQUIRED)

# In C++, g++ calls it shadowing that dmem_pool_info is a struct and a function.
set(DMEM_WARNINGS -Wall -Wextra -Wpedantic -Wwrite-strings -Wvla -Wformat-security
    "$<$<COMPILE_LANGUAGE:C>:-Wshadow;-Wstrict-prototypes;-Wmissing-prototypes;-Wold-style-definition>")

set(DMEM_SANITIZE_FLAGS "")
if(DMEM_SANITIZE STREQUAL "address")
	set(DMEM_SANITIZE_FLAGS -fsanitize=address,undefined -fno-sanitize-recover=undefined -fno-omit-frame-pointer)
elseif(DMEM_SANITIZE STREQUAL "thread")
	# gcc warns that it does not follow fences; those that matter stand beside atomic accesses, which it does follow.
	set(DMEM_SANITIZE_FLAGS -fsanitize=thread -fno-omit-frame-pointer $<$<C_COMPILER_ID:GNU>:-Wno-tsan>)
endif()

function(dmem_compile target)
	set_target_properties(${target} PROPERTIES
		C_STANDARD 17
		C_STANDARD_REQUIRED ON
		C_EXTENSIONS ON
		CXX_STANDARD 17
		CXX_STANDARD_REQUIRED ON
		CXX_EXTENSIONS OFF
		C_VISIBILITY_PRESET hidden
		POSITION_INDEPENDENT_CODE ON)
	# Defined empty, as "#define _GNU_SOURCE" in a file does: the two agree.  Compilers for C++ define it themselves.
	target_compile_definitions(${target} PRIVATE "$<$<COMPILE_LANGUAGE:C>:_GNU_SOURCE=>" $<$<BOOL:${DMEM_WITH_DAX}>:DM_WITH_DAX=1>)
	target_compile_options(${target} PRIVATE ${DMEM_WARNINGS} $<$<BOOL:${DMEM_WERROR}>:-Werror> ${DMEM_SANITIZE_FLAGS})
	target_link_options(${target} PRIVATE ${DMEM_SANITIZE_FLAGS})
	target_include_directories(${target} PRIVATE "${PROJECT_SOURCE_DIR}/src")
endfunction()

# Link options of a shared library whose exports a version script lists; a change of the script links again.
function(dmem_version_script target map)
	target_link_options(${target} PRIVATE "LINKER:--version-script=${map}")
	set_property(TARGET ${target} APPEND PROPERTY LINK_DEPENDS "${map}")
	if(NOT DMEM_SANITIZE)
		# Under a sanitizer the symbols of its runtime are found when the program starts.
		target_link_options(${target} PRIVATE "LINKER:--no-undefined")
	endif()
endfunction()
