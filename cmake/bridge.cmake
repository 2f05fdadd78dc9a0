# rusm_bridge: the engine (bridge/engine) as a static library with its C header.
# Exactly one Rust static library may be linked into a program: each carries its own copy of Rust's standard library.
include_guard(GLOBAL)
include(cmake/cargo.cmake)

add_library(rusm_bridge_archive STATIC IMPORTED)
set_target_properties(rusm_bridge_archive PROPERTIES IMPORTED_LOCATION ${RUSM_CARGO_TARGET_DIR}/release/librusm_bridge.a)
add_dependencies(rusm_bridge_archive rusm_cargo)

add_library(rusm_bridge INTERFACE)
target_include_directories(rusm_bridge SYSTEM INTERFACE ${CMAKE_SOURCE_DIR}/bridge/include)
target_link_libraries(rusm_bridge INTERFACE rusm_bridge_archive Threads::Threads ${CMAKE_DL_LIBS} m gcc_s)
