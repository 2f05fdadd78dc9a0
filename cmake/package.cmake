# What `cmake --install` puts into a prefix: component `libraries` (static libraries, headers, what find_package(rusm)
# and pkg-config read) and, when it is built, component `program`. docs/getting-started.md is the user's side of it.
include(GNUInstallDirs)
include(CMakePackageConfigHelpers)

get_property(rusm_public_rooms GLOBAL PROPERTY RUSM_PUBLIC_ROOMS)
list(TRANSFORM rusm_public_rooms PREPEND rusm_ OUTPUT_VARIABLE rusm_public_targets)
add_custom_target(rusm_libraries)
add_dependencies(rusm_libraries ${rusm_public_targets})

install(TARGETS ${rusm_public_targets} EXPORT rusm
  ARCHIVE DESTINATION ${CMAKE_INSTALL_LIBDIR} COMPONENT libraries
  INCLUDES DESTINATION ${CMAKE_INSTALL_INCLUDEDIR})
foreach(room IN LISTS rusm_public_rooms)
  get_property(headers GLOBAL PROPERTY RUSM_PUBLIC_HEADERS_${room})
  install(FILES ${PROJECT_BINARY_DIR}/include/rusm/${room}.h
    DESTINATION ${CMAKE_INSTALL_INCLUDEDIR}/rusm COMPONENT libraries)
  install(FILES ${headers} DESTINATION ${CMAKE_INSTALL_INCLUDEDIR}/rusm/${room} COMPONENT libraries)
endforeach()

set(rusm_cmake_dir ${CMAKE_INSTALL_LIBDIR}/cmake/rusm)
configure_package_config_file(cmake/rusmConfig.cmake.in ${PROJECT_BINARY_DIR}/package/rusmConfig.cmake
  INSTALL_DESTINATION ${rusm_cmake_dir} NO_SET_AND_CHECK_MACRO)
# Before 1.0 a minor version may change what programs see.
write_basic_package_version_file(${PROJECT_BINARY_DIR}/package/rusmConfigVersion.cmake COMPATIBILITY SameMinorVersion)
install(EXPORT rusm FILE rusmTargets.cmake NAMESPACE rusm:: DESTINATION ${rusm_cmake_dir} COMPONENT libraries)
install(FILES ${PROJECT_BINARY_DIR}/package/rusmConfig.cmake ${PROJECT_BINARY_DIR}/package/rusmConfigVersion.cmake
  DESTINATION ${rusm_cmake_dir} COMPONENT libraries)

# The prefix as seen from the file, so that the whole can be moved.
if(IS_ABSOLUTE ${CMAKE_INSTALL_LIBDIR})
  set(rusm_pc_prefix ${CMAKE_INSTALL_PREFIX})
  set(rusm_pc_libdir ${CMAKE_INSTALL_LIBDIR})
else()
  file(RELATIVE_PATH rusm_pc_prefix /prefix/${CMAKE_INSTALL_LIBDIR}/pkgconfig /prefix)
  string(REGEX REPLACE "/$" "" rusm_pc_prefix "\${pcfiledir}/${rusm_pc_prefix}")
  set(rusm_pc_libdir "\${prefix}/${CMAKE_INSTALL_LIBDIR}")
endif()
if(IS_ABSOLUTE ${CMAKE_INSTALL_INCLUDEDIR})
  set(rusm_pc_includedir ${CMAKE_INSTALL_INCLUDEDIR})
else()
  set(rusm_pc_includedir "\${prefix}/${CMAKE_INSTALL_INCLUDEDIR}")
endif()

# rusm_pc(ROOM description requires libs): there are only static libraries, so that all they need is public.
function(rusm_pc room description requires libs)
  configure_file(cmake/rusm.pc.in ${PROJECT_BINARY_DIR}/package/rusm-${room}.pc @ONLY)
  install(FILES ${PROJECT_BINARY_DIR}/package/rusm-${room}.pc
    DESTINATION ${CMAKE_INSTALL_LIBDIR}/pkgconfig COMPONENT libraries)
endfunction()
rusm_pc(base "errors as values, clocks, log" "fmt" "-lmimalloc -pthread")
rusm_pc(otp "light processes, links, monitors, supervisors" "rusm-base" "")
rusm_pc(observe "text and JSON about running processes, and a control socket" "rusm-otp" "")
rusm_pc(net "sockets and TLS for processes" "rusm-otp libssl libcrypto" "")
rusm_pc(kv "a key-value seam, and its stores in memory and on a disk" "rusm-otp sqlite3" "")

if(TARGET rusm)
  install(TARGETS rusm RUNTIME DESTINATION ${CMAKE_INSTALL_BINDIR} COMPONENT program)
endif()
