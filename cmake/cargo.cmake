# Finds cargo and says where its output goes. Included by bridge.cmake and guests.cmake.
#
# RUSM_CARGO             the cargo to call; from the environment variable of that name, else from PATH
# RUSM_RUSTC             the rustc beside it
# RUSM_CACHE_DIR         what outlives a build folder: $RUSM_CACHE_DIR, else ~/.cache/rusm
# RUSM_CARGO_TARGET_DIR  cargo's output for bridge/, one folder for each lock file and compiler, so that a fresh
#                        clone or build folder with the same dependencies compiles nothing twice
# RUSM_CARGO_ENV         a command prefix that sets cargo's environment
#
# Targets: rusm_cargo builds all of bridge/ in one go (two invocations would choose different features and compile
# shared dependencies twice); rusm_cargo_test runs its tests. Cargo itself knows what is fresh, so both always call it.
include_guard(GLOBAL)

if(DEFINED ENV{RUSM_CARGO})
  set(RUSM_CARGO $ENV{RUSM_CARGO})
else()
  find_program(RUSM_CARGO cargo PATHS $ENV{HOME}/.cargo/bin)
endif()
if(DEFINED ENV{RUSTC})
  set(RUSM_RUSTC $ENV{RUSTC})
else()
  find_program(RUSM_RUSTC rustc PATHS $ENV{HOME}/.cargo/bin)
endif()
if(NOT RUSM_CARGO OR NOT RUSM_RUSTC)
  message(FATAL_ERROR "cargo and rustc are missing: run tools/setup.sh, which installs Debian's cargo-web and rustc-web, or install Rust 1.95 or newer")
endif()

if(DEFINED ENV{RUSM_CACHE_DIR})
  set(RUSM_CACHE_DIR $ENV{RUSM_CACHE_DIR})
else()
  set(RUSM_CACHE_DIR $ENV{HOME}/.cache/rusm)
endif()

execute_process(COMMAND ${RUSM_RUSTC} -vV OUTPUT_VARIABLE rusm_rustc_version COMMAND_ERROR_IS_FATAL ANY)
string(REGEX MATCH "release: ([0-9.]+)" _ "${rusm_rustc_version}")
set(RUSM_RUSTC_VERSION ${CMAKE_MATCH_1})
if(RUSM_RUSTC_VERSION VERSION_LESS 1.95)
  message(FATAL_ERROR "${RUSM_RUSTC} is ${RUSM_RUSTC_VERSION}; the engine needs Rust 1.95 or newer. tools/setup.sh installs Debian's rustc-web, or run: rustup update stable")
endif()
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
