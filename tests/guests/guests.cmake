# Guests that the tests run: see README.md here. Included by cmake/guests.cmake.
rusm_cpp_guest(hostile WORLD wasi:http/proxy@0.2.12 INCLUDE ${CMAKE_SOURCE_DIR}/examples/hello/components/hello
  SOURCES tests/guests/hostile/hostile.cc examples/hello/components/hello/wasi_http.cc)
rusm_cpp_guest(cli KEEP_CORE SOURCES tests/guests/cli/cli.cc)
rusm_cpp_guest(foreign WORLD foreign WIT tests/guests/foreign SOURCES tests/guests/foreign/foreign.cc)
rusm_cpp_guest(plain WORLD plain WIT tests/guests/plain SOURCES tests/guests/plain/plain.cc)
rusm_rust_guest(actors FOLDER tests/guests/actors)
rusm_rust_guest(events FOLDER tests/guests/events INPUTS wit/runtime-0.2/runtime.wit)
rusm_rust_guest(network FOLDER tests/guests/network)
rusm_cpp_guest(conformance KEEP_CORE SOURCES tests/guests/conformance/conformance.cc)

# The guest of tests/hostcalls: its table of calls is made out of the bindings, so that it calls all that its world has.
find_package(Python3 3.9 REQUIRED COMPONENTS Interpreter)
rusm_wit_bindings(rusm_caller caller tests/hostcalls/caller)
set(rusm_caller_table ${RUSM_GUEST_DIR}/caller_calls.cc)
add_custom_command(OUTPUT ${rusm_caller_table} ${RUSM_GUEST_DIR}/caller_calls.txt
  COMMAND Python3::Interpreter ${CMAKE_SOURCE_DIR}/tests/hostcalls/caller/table.py ${rusm_caller}/caller.c
    ${rusm_caller_table} ${RUSM_GUEST_DIR}/caller_calls.txt
  DEPENDS ${rusm_caller_HEADER} ${CMAKE_SOURCE_DIR}/tests/hostcalls/caller/table.py VERBATIM)
rusm_cpp_guest(caller WORLD caller WIT tests/hostcalls/caller INCLUDE ${CMAKE_SOURCE_DIR}/tests/hostcalls/caller
  SOURCES ${rusm_caller_table} tests/hostcalls/caller/caller.cc)

# Guests that nobody wrote for RUSM, as the published tools make them.
rusm_rust_guest(foreign-wstd FOLDER tests/guests/foreign_wstd)
find_program(RUSM_GO go)
if(RUSM_GO)
  set(rusm_go_source ${CMAKE_SOURCE_DIR}/tests/guests/foreign_go/main.go)
  add_custom_command(OUTPUT ${RUSM_GUEST_DIR}/foreign-go.wasm
    COMMAND ${CMAKE_COMMAND} -E env GOOS=wasip1 GOARCH=wasm GOFLAGS=-mod=mod GO111MODULE=off
      GOCACHE=${RUSM_CACHE_DIR}/go ${RUSM_GO} build -o ${RUSM_GUEST_DIR}/foreign-go.wasm ${rusm_go_source}
    DEPENDS ${rusm_go_source} VERBATIM)
  rusm_guest(foreign-go)
endif()
