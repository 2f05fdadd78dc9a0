# Guests that the tests run: see README.md here. Included by cmake/guests.cmake.
rusm_cpp_guest(hostile WORLD wasi:http/proxy@0.2.12 INCLUDE ${CMAKE_SOURCE_DIR}/examples/hello/components/hello
  SOURCES tests/guests/hostile/hostile.cc examples/hello/components/hello/wasi_http.cc)
rusm_cpp_guest(cli KEEP_CORE SOURCES tests/guests/cli/cli.cc)
rusm_cpp_guest(foreign WORLD foreign WIT tests/guests/foreign SOURCES tests/guests/foreign/foreign.cc)
rusm_cpp_guest(plain WORLD plain WIT tests/guests/plain SOURCES tests/guests/plain/plain.cc)
