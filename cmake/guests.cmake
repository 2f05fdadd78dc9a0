# Guests: WebAssembly programs for examples and tests, built from source into ${CMAKE_BINARY_DIR}/guests/NAME.wasm.
# Target `guests` builds all of them, `guest_NAME` one (dashes become underscores).
#
# rusm_cpp_guest(NAME SOURCES file... [WORLD world [WIT dir]] [INCLUDE dir...] [KEEP_CORE])
#   With WORLD: a component of that world, one of the standard WASI worlds (wasi:http/proxy@0.2.12) or one that the
#   WIT folder defines; its C bindings are generated. It must not call the C library's files, clocks or environment:
#   those would bring in the preview 1 adapter, which makes each start slower.
#   Without: a command (main) on WASI preview 1, wrapped by the adapter; KEEP_CORE keeps NAME-core.wasm beside it.
# rusm_rust_guest(NAME FOLDER dir [CORE] [INPUTS file...])   a component from the cargo package in FOLDER; CORE: a core
#   module, which is not among `guests`; INPUTS are files outside of FOLDER that it is made from
include_guard(GLOBAL)
include(cmake/cargo.cmake)

set(RUSM_GUEST_DIR ${CMAKE_BINARY_DIR}/guests)
set(RUSM_COMPONENTIZE ${RUSM_CARGO_TARGET_DIR}/release/rusm-componentize)
file(MAKE_DIRECTORY ${RUSM_GUEST_DIR}/obj)
add_custom_target(guests)

find_program(RUSM_WASM_CXX clang++-22 REQUIRED)
find_program(RUSM_WASM_CC clang-22 REQUIRED)
set(rusm_wasm_flags --target=wasm32-wasi -Wno-deprecated -Os -g0)
set(rusm_wasm_cxx_flags ${rusm_wasm_flags} -std=c++23 -fno-exceptions -fno-rtti -Wall -Wextra -Wshadow -Werror)
# The stack comes first, so that an overflow traps instead of running into data, and is small: a guest starts with
# one page of memory. Function names are kept for backtraces.
set(rusm_wasm_link_flags ${rusm_wasm_flags} -Wl,--strip-debug -Wl,--stack-first -Wl,-z,stack-size=32768)

function(rusm_guest name)
  string(REPLACE - _ target guest_${name})
  add_custom_target(${target} DEPENDS ${RUSM_GUEST_DIR}/${name}.wasm ${ARGN})
  add_dependencies(guests ${target})
endfunction()

# Compiles one file; sets `out` to the object.
function(rusm_wasm_object out name source)
  cmake_parse_arguments(PARSE_ARGV 3 ARG "" "" "FLAGS;DEPENDS;COMPILER")
  get_filename_component(stem ${source} NAME)
  set(object ${RUSM_GUEST_DIR}/obj/${name}.${stem}.o)
  add_custom_command(OUTPUT ${object}
    COMMAND ${CMAKE_CXX_COMPILER_LAUNCHER} ${ARG_COMPILER} ${ARG_FLAGS} -MD -MF ${object}.d -c ${source} -o ${object}
    DEPENDS ${source} ${ARG_DEPENDS} DEPFILE ${object}.d VERBATIM)
  set(${out} ${object} PARENT_SCOPE)
endfunction()

# Generates and compiles the C bindings of a world once; sets `out` to their folder, out_HEADER, out_OBJECTS and
# out_TARGET.
function(rusm_wit_bindings out world wit)
  string(REGEX REPLACE "^(.*/)?([a-z-]+)(@.*)?$" "\\2" short ${world})
  string(MAKE_C_IDENTIFIER ${world} slug)
  set(dir ${RUSM_GUEST_DIR}/bindings/${slug})
  set(object ${RUSM_GUEST_DIR}/obj/${slug}.${short}.c.o)
  if(NOT TARGET guest_bindings_${slug})
    set(wit_arguments)
    set(wit_files)
    if(wit)
      set(wit_arguments --wit ${CMAKE_SOURCE_DIR}/${wit})
      file(GLOB wit_files CONFIGURE_DEPENDS ${CMAKE_SOURCE_DIR}/${wit}/*.wit)
    endif()
    set(files ${dir}/${short}.h ${dir}/${short}.c ${dir}/${short}_component_type.o)
    add_custom_command(OUTPUT ${files}
      COMMAND ${RUSM_COMPONENTIZE} bindings-c ${wit_arguments} --world ${world} --out ${dir}
      COMMAND ${CMAKE_COMMAND} -E touch ${files}
      DEPENDS rusm_cargo ${RUSM_COMPONENTIZE} ${wit_files} VERBATIM)
    rusm_wasm_object(object ${slug} ${dir}/${short}.c COMPILER ${RUSM_WASM_CC} FLAGS ${rusm_wasm_flags} -w)
    add_custom_target(guest_bindings_${slug} DEPENDS ${files} ${object})
  endif()
  set(${out} ${dir} PARENT_SCOPE)
  set(${out}_HEADER ${dir}/${short}.h PARENT_SCOPE)
  set(${out}_OBJECTS ${object} ${dir}/${short}_component_type.o PARENT_SCOPE)
  set(${out}_TARGET guest_bindings_${slug} PARENT_SCOPE)
endfunction()

function(rusm_componentize name core adapter)
  add_custom_command(OUTPUT ${RUSM_GUEST_DIR}/${name}.wasm
    COMMAND ${RUSM_COMPONENTIZE} component --in ${core} --out ${RUSM_GUEST_DIR}/${name}.wasm --adapter ${adapter}
    DEPENDS ${core} rusm_cargo ${RUSM_COMPONENTIZE} VERBATIM)
endfunction()

function(rusm_cpp_guest name)
  cmake_parse_arguments(PARSE_ARGV 1 ARG "KEEP_CORE" "WORLD;WIT" "SOURCES;INCLUDE")
  set(flags ${rusm_wasm_cxx_flags})
  foreach(dir IN LISTS ARG_INCLUDE)
    list(APPEND flags -I${dir})
  endforeach()
  set(bindings_OBJECTS)
  set(bindings_TARGET)
  if(ARG_WORLD)
    rusm_wit_bindings(bindings ${ARG_WORLD} "${ARG_WIT}")
    list(APPEND flags -isystem ${bindings})
    set(link_model -mexec-model=reactor)
    set(adapter none)
    set(core ${RUSM_GUEST_DIR}/obj/${name}.core.wasm)
  else()
    set(link_model)
    set(adapter auto)
    set(core ${RUSM_GUEST_DIR}/${name}-core.wasm)
  endif()
  set(objects)
  foreach(source IN LISTS ARG_SOURCES)
    cmake_path(ABSOLUTE_PATH source BASE_DIRECTORY ${CMAKE_SOURCE_DIR})
    rusm_wasm_object(object ${name} ${source} COMPILER ${RUSM_WASM_CXX} FLAGS ${flags} DEPENDS ${bindings_TARGET} ${bindings_HEADER})
    list(APPEND objects ${object})
  endforeach()
  add_custom_command(OUTPUT ${core}
    COMMAND ${RUSM_WASM_CXX} ${rusm_wasm_link_flags} ${link_model} ${objects} ${bindings_OBJECTS} -o ${core}
    DEPENDS ${objects} ${bindings_OBJECTS} ${bindings_TARGET} VERBATIM)
  rusm_componentize(${name} ${core} ${adapter})
  if(ARG_KEEP_CORE)
    rusm_guest(${name} ${core})
  else()
    rusm_guest(${name})
  endif()
endfunction()

function(rusm_rust_guest name)
  cmake_parse_arguments(PARSE_ARGV 1 ARG "CORE" "FOLDER" "INPUTS")
  list(TRANSFORM ARG_INPUTS PREPEND ${CMAKE_SOURCE_DIR}/)
  set(folder ${CMAKE_SOURCE_DIR}/${ARG_FOLDER})
  set(target_dir ${RUSM_GUEST_DIR}/cargo)
  string(REPLACE - _ crate ${name})
  set(built ${target_dir}/wasm32-unknown-unknown/release/${crate}.wasm)
  file(GLOB_RECURSE sources CONFIGURE_DEPENDS ${folder}/src/*.rs)
  set(core ${RUSM_GUEST_DIR}/obj/${name}.core.wasm)
  if(ARG_CORE)
    set(core ${RUSM_GUEST_DIR}/${name}.wasm)
  endif()
  add_custom_command(OUTPUT ${core}
    COMMAND ${CMAKE_COMMAND} -E env CARGO_TARGET_DIR=${target_dir} RUSM_CARGO=${RUSM_CARGO} RUSTC=${RUSM_RUSTC}
      ${CMAKE_SOURCE_DIR}/tools/rust-wasm.sh cargo build --quiet --release --locked --manifest-path ${folder}/Cargo.toml
    COMMAND ${CMAKE_COMMAND} -E copy ${built} ${core}
    DEPENDS ${sources} ${ARG_INPUTS} ${folder}/Cargo.toml ${folder}/Cargo.lock ${CMAKE_SOURCE_DIR}/tools/rust-wasm.sh VERBATIM)
  if(ARG_CORE)
    add_custom_target(guest_${crate} DEPENDS ${core})
  else()
    rusm_componentize(${name} ${core} none)
    rusm_guest(${name})
  endif()
endfunction()

rusm_cpp_guest(hello WORLD wasi:http/proxy@0.2.12
  SOURCES examples/hello/components/hello/hello.cc examples/hello/components/hello/wasi_http.cc)
rusm_rust_guest(hello-rust FOLDER examples/hello/components/hello-rust)
rusm_rust_guest(compress FOLDER bench/guests/compress CORE)
if(RUSM_TESTS)
  include(tests/guests/guests.cmake OPTIONAL)
endif()
