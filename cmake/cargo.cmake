# Finds cargo and says where its output goes. Included by bridge.cmake and guests.cmake.
#
# RUSM_CARGO             the cargo to call, as tools/find-rust.sh finds it
# RUSM_RUSTC             the rustc beside it
# RUSM_CACHE_DIR         what outlives a build folder: $RUSM_CACHE_DIR, else ~/.cache/rusm
# RUSM_CARGO_TARGET_DIR  cargo's output for bridge/, one folder for each lock file and compiler, so that a fresh
#                        clone or build folder with the same dependencies compiles nothing twice
# RUSM_CARGO_ENV         a command prefix that sets cargo's environment
#
# Targets: rusm_cargo builds all of bridge/ in one go (two invocations would choose different features and compile
# shared dependencies twice); rusm_cargo_test runs its tests. Cargo itself knows what is fresh, so both always call it.
include_guard(GLOBAL)

execute_process(COMMAND ${CMAKE_SOURCE_DIR}/tools/find-rust.sh
  OUTPUT_VARIABLE rusm_rust ERROR_VARIABLE rusm_rust_error RESULT_VARIABLE rusm_rust_status OUTPUT_STRIP_TRAILING_WHITESPACE)
if(NOT rusm_rust_status EQUAL 0)
  message(FATAL_ERROR "${rusm_rust_error}tools/setup.sh installs Debian's; where rustup is used: rustup update stable")
endif()
string(REPLACE "\n" ";" rusm_rust "${rusm_rust}")
list(POP_FRONT rusm_rust RUSM_CARGO RUSM_RUSTC)

if(DEFINED ENV{RUSM_CACHE_DIR})
  set(RUSM_CACHE_DIR $ENV{RUSM_CACHE_DIR})
else()
  set(RUSM_CACHE_DIR $ENV{HOME}/.cache/rusm)
endif()

execute_process(COMMAND ${RUSM_RUSTC} -vV OUTPUT_VARIABLE rusm_rustc_version COMMAND_ERROR_IS_FATAL ANY)
set_property(DIRECTORY APPEND PROPERTY CMAKE_CONFIGURE_DEPENDS ${CMAKE_SOURCE_DIR}/bridge/Cargo.lock)
file(READ ${CMAKE_SOURCE_DIR}/bridge/Cargo.lock rusm_cargo_lock)
string(SHA256 rusm_cargo_key "${rusm_cargo_lock}${rusm_rustc_version}")
string(SUBSTRING ${rusm_cargo_key} 0 16 rusm_cargo_key)
set(RUSM_CARGO_TARGET_DIR ${RUSM_CACHE_DIR}/bridge-${rusm_cargo_key})
set(RUSM_CARGO_ENV ${CMAKE_COMMAND} -E env CARGO_TARGET_DIR=${RUSM_CARGO_TARGET_DIR} RUSTC=${RUSM_RUSTC})

add_custom_target(rusm_cargo
  COMMAND ${RUSM_CARGO_ENV} ${RUSM_CARGO} build --release --locked
  BYPRODUCTS ${RUSM_CARGO_TARGET_DIR}/release/librusm_bridge.a ${RUSM_CARGO_TARGET_DIR}/release/rusm-componentize
  WORKING_DIRECTORY ${CMAKE_SOURCE_DIR}/bridge
  USES_TERMINAL VERBATIM)
add_custom_target(rusm_cargo_test
  COMMAND ${RUSM_CARGO_ENV} ${RUSM_CARGO} test --release --locked
  WORKING_DIRECTORY ${CMAKE_SOURCE_DIR}/bridge
  USES_TERMINAL VERBATIM)
