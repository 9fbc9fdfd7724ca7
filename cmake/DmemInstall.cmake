# SPDX-License-Identifier: Apache-2.0
# What `cmake --install` puts where.  tests/install checks the list.

include(CMakePackageConfigHelpers)

install(TARGETS dmem EXPORT dmemTargets
	LIBRARY DESTINATION "${CMAKE_INSTALL_LIBDIR}"
	NAMELINK_COMPONENT development)
install(DIRECTORY "${PROJECT_SOURCE_DIR}/include/dmem" DESTINATION "${CMAKE_INSTALL_INCLUDEDIR}"
	FILES_MATCHING PATTERN "*.h" PATTERN "*.hpp")
if(TARGET dmem_preload)
	install(TARGETS dmem_preload LIBRARY DESTINATION "${CMAKE_INSTALL_LIBDIR}")
endif()
if(TARGET dmemctl)
	install(TARGETS dmemctl RUNTIME DESTINATION "${CMAKE_INSTALL_BINDIR}")
	install(FILES "${PROJECT_SOURCE_DIR}/tools/dmemctl/dmemctl.1" DESTINATION "${CMAKE_INSTALL_MANDIR}/man1")
endif()

# pkg-config: paths are relative to the .pc file, so the tree may be moved.
file(RELATIVE_PATH DMEM_PC_PREFIX "${CMAKE_INSTALL_FULL_LIBDIR}/pkgconfig" "${CMAKE_INSTALL_PREFIX}")
string(REGEX REPLACE "/$" "" DMEM_PC_PREFIX "${DMEM_PC_PREFIX}")
configure_file("${PROJECT_SOURCE_DIR}/pkgconfig/libdmem.pc.in" "${PROJECT_BINARY_DIR}/dmem.pc" @ONLY)
install(FILES "${PROJECT_BINARY_DIR}/dmem.pc" DESTINATION "${CMAKE_INSTALL_LIBDIR}/pkgconfig")

# find_package(dmem) gives dmem::dmem.
set(DMEM_CMAKE_DIR "${CMAKE_INSTALL_LIBDIR}/cmake/dmem")
configure_package_config_file("${PROJECT_SOURCE_DIR}/cmake/dmemConfig.cmake.in" "${PROJECT_BINARY_DIR}/dmemConfig.cmake"
	INSTALL_DESTINATION "${DMEM_CMAKE_DIR}")
write_basic_package_version_file("${PROJECT_BINARY_DIR}/dmemConfigVersion.cmake" COMPATIBILITY SameMinorVersion)
install(FILES "${PROJECT_BINARY_DIR}/dmemConfig.cmake" "${PROJECT_BINARY_DIR}/dmemConfigVersion.cmake"
	DESTINATION "${DMEM_CMAKE_DIR}")
install(EXPORT dmemTargets NAMESPACE dmem:: DESTINATION "${DMEM_CMAKE_DIR}")
