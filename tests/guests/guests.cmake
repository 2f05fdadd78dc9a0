# Guests that the tests run: see README.md here. Included by cmake/guests.cmake.
rusm_cpp_guest(hostile WORLD wasi:http/proxy@0.2.12 INCLUDE ${CMAKE_SOURCE_DIR}/examples/hello/components/hello
  SOURCES tests/guests/hostile/hostile.cc examples/hello/components/hello/wasi_http.cc)
rusm_cpp_guest(cli KEEP_CORE SOURCES tests/guests/cli/cli.cc)
rusm_cpp_guest(foreign WORLD foreign WIT tests/guests/foreign SOURCES tests/guests/foreign/foreign.cc)
rusm_cpp_guest(plain WORLD plain WIT tests/guests/plain SOURCES tests/guests/plain/plain.cc)
rusm_rust_guest(actors FOLDER tests/guests/actors)
rusm_rust_guest(events FOLDER tests/guests/events INPUTS wit/runtime-0.2/runtime.wit)
rusm_rust_guest(network FOLDER tests/guests/network)
rusm_cpp_guest(conformance KEEP_CORE
  SOURCES tests/guests/conformance/conformance.cc tests/guests/conformance/preview1.cc)

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

# The same with tools that a machine may lack; stock/make.sh looks each time, and says why one is not there.
function(rusm_stock_guest language)
  string(REPLACE - _ target guest_stock_${language})
  add_custom_target(${target}
    COMMAND ${CMAKE_COMMAND} -E env RUSM_CACHE_DIR=${RUSM_CACHE_DIR} RUSM_COMPONENTIZE=${RUSM_COMPONENTIZE}
      RUSM_CARGO=${RUSM_CARGO} RUSTC=${RUSM_RUSTC}
      ${CMAKE_SOURCE_DIR}/tests/guests/stock/make.sh ${language} ${RUSM_GUEST_DIR}/stock-${language}.wasm
    COMMENT "Stock guest: ${language}" DEPENDS rusm_cargo VERBATIM)
  add_dependencies(guests ${target})
endfunction()
foreach(language javascript python rust go)
  rusm_stock_guest(${language})
endforeach()

# Plain C and C++ with debug information, as core modules: behind the adapter malloc of Debian 12's wasi-libc is not safe.
function(rusm_plain_guest name source)
  set(out ${RUSM_GUEST_DIR}/${name}.wasm)
  add_custom_command(OUTPUT ${out}
    COMMAND ${ARGN} --target=wasm32-wasi -Wno-deprecated -g ${CMAKE_SOURCE_DIR}/${source} -o ${out}
    DEPENDS ${CMAKE_SOURCE_DIR}/${source} VERBATIM)
  rusm_guest(${name})
endfunction()
rusm_plain_guest(stock-c tests/guests/stock/c/tally.c ${RUSM_WASM_CC} -O2)
rusm_plain_guest(stock-cpp tests/guests/stock/cpp/stock.cc ${RUSM_WASM_CXX} -std=c++23 -fno-exceptions -O1)
