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
