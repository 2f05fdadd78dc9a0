#include "hostcalls/calls.h"

#include <fmt/format.h>

#include <fstream>
#include <iterator>
#include <sstream>
#include <stdexcept>

namespace rusm::hostcalls {
namespace {

std::string contents(const char* path) {
  std::ifstream file(path, std::ios::binary);
  if (!file) throw std::runtime_error(std::string(path) + " is not there");
  return {std::istreambuf_iterator<char>(file), {}};
}

std::vector<HostCall> read_calls(const char* path) {
  std::vector<HostCall> calls;
  std::istringstream lines(contents(path));
  for (std::string line; std::getline(lines, line);) {
    std::istringstream words(line);
    HostCall call;
    words >> call.module >> call.name;
    for (std::string word; words >> word && word != "->";) call.params.push_back(word);
    words >> call.result;
    calls.push_back(std::move(call));
  }
  return calls;
}

// The interpreter of program.h as a core module. Its first page holds the registers (0) and the scratch (1024); the
// program comes to the second, and stays there, where calls may write over it.
constexpr std::string_view kInterpreter = R"(
  (memory (export "memory") 4)
  (global $next (mut i32) (i32.const 0))
  (func $arg (param $r i32) (param $k i32) (result i64) (local $value i64) (local $kind i32)
    (local.set $value (i64.load offset=24 (i32.add (local.get $r) (i32.shl (local.get $k) (i32.const 3)))))
    (local.set $kind (i32.and (i32.load8_u offset=8 (i32.add (local.get $r) (local.get $k))) (i32.const 3)))
    (if (i32.eq (local.get $kind) (i32.const 1)) (then (return (i64.load
      (i32.shl (i32.and (i32.wrap_i64 (local.get $value)) (i32.const 15)) (i32.const 3))))))
    (if (i32.eq (local.get $kind) (i32.const 2)) (then (return (i64.add (i64.const 1024) (local.get $value)))))
    (if (i32.eq (local.get $kind) (i32.const 3)) (then (return (i64.add
      (i64.extend_i32_u (i32.shl (memory.size) (i32.const 16))) (local.get $value)))))
    (local.get $value))
  (func $calls (param $r i32) (param $count i32)
    (loop $again
      (if (i32.eqz (local.get $count)) (then (return)))
      (i64.store (i32.shl (i32.and (global.get $next) (i32.const 15)) (i32.const 3))
        (call_indirect (type $op) (local.get $r)
          (i32.rem_u (i32.load (local.get $r)) (i32.const COUNT))))
      (global.set $next (i32.add (global.get $next) (i32.const 1)))
      (local.set $r (i32.add (local.get $r) (i32.const 152)))
      (local.set $count (i32.sub (local.get $count) (i32.const 1)))
      (br $again)))
  (func $deeper (param $depth i32) (param $count i32) (result i32)
    (if (i32.eqz (local.get $depth)) (then
      (call $calls (i32.const 67608) (local.get $count))
      (return (i32.const 0))))
    (i32.add (call $deeper (i32.sub (local.get $depth) (i32.const 1)) (local.get $count)) (i32.const 1)))
  (func (export "run") (local $count i32) (local $depth i32) (local $rounds i32) (local $end i32) (local $to i64)
    (drop (call $receive (i32.const 65536) (i32.const 196608)))
    (local.set $count (i32.load (i32.const 65536)))
    (local.set $depth (i32.load (i32.const 65540)))
    (local.set $rounds (i32.load (i32.const 65544)))
    (local.set $end (i32.load (i32.const 65548)))
    (local.set $to (i64.load (i32.const 65552)))
    (memory.copy (i32.const 1024) (i32.const 65560) (i32.const 2048))
    (block $done (loop $again
      (br_if $done (i32.eqz (local.get $rounds)))
      (drop (call $deeper (local.get $depth) (local.get $count)))
      (local.set $rounds (i32.sub (local.get $rounds) (i32.const 1)))
      (br $again)))
    (if (i64.ne (local.get $to) (i64.const 0)) (then
      (memory.copy (i32.const 128) (i32.const 1024) (i32.const 2048))
      (call $send (local.get $to) (i32.const 0) (i32.const 2176))))
    (if (i32.eq (local.get $end) (i32.const 1)) (then unreachable))
    (if (i32.eq (local.get $end) (i32.const 2)) (then (loop $spin (br $spin))))))
)";

std::string wrapper(const HostCall& call, std::size_t index) {
  std::string text = fmt::format("(func $o{} (type $op)", index);
  for (std::size_t k = 0; k < call.params.size(); ++k) {
    const std::string arg = fmt::format("(call $arg (local.get 0) (i32.const {}))", k);
    text += call.params[k] == "i64" ? arg : fmt::format("(i32.wrap_i64 {})", arg);
  }
  text += fmt::format(" call $c{}", index);
  if (call.result.empty()) text += " i64.const 0";
  if (call.result == "i32") text += " i64.extend_i32_s";
  return text + ")\n";
}

std::string make_module(const std::vector<HostCall>& calls) {
  std::string text = "(module\n(type $op (func (param i32) (result i64)))\n";
  std::string functions;
  std::string table;
  for (std::size_t i = 0; i < calls.size(); ++i) {
    text += fmt::format("(import \"{}\" \"{}\" (func $c{} (param", calls[i].module, calls[i].name, i);
    for (const std::string& param : calls[i].params) text += " " + param;
    text += ") (result " + calls[i].result + ")))\n";
    functions += wrapper(calls[i], i);
    table += fmt::format(" $o{}", i);
  }
  for (const char* name : {"receive", "send"}) {
    for (std::size_t i = 0; i < calls.size(); ++i) {
      if (calls[i].module == "rusm" && calls[i].name == name) {
        text += fmt::format("(import \"rusm\" \"{0}\" (func ${0} (param {1}) (result {2})))\n", name,
                            fmt::join(calls[i].params, " "), calls[i].result);
      }
    }
  }
  text += "(table funcref (elem" + table + "))\n" + functions;
  std::string interpreter(kInterpreter);
  const std::string count = std::to_string(calls.size());
  return text + interpreter.replace(interpreter.find("COUNT"), 5, count);
}

}  // namespace

Calls::Calls(const char* list, std::string (*guest)(const std::vector<HostCall>&))
    : all_(read_calls(list)), guest_(guest(all_)) {
  for (std::size_t i = 0; i < all_.size(); ++i) {
    if (all_[i].is_own()) own_.push_back(i);
  }
}

Calls Calls::of_modules() {
  return {RUSM_HOSTCALLS_MODULE, make_module};
}

Calls Calls::of_components() {
  return {RUSM_HOSTCALLS_COMPONENT, [](const std::vector<HostCall>&) { return contents(RUSM_HOSTCALLS_CALLER); }};
}

std::optional<std::size_t> Calls::find(std::string_view name) const {
  const std::size_t hash = name.find('#');
  for (std::size_t i = 0; i < all_.size(); ++i) {
    const HostCall& call = all_[i];
    if (hash == std::string_view::npos) {
      if (call.name == name) return i;
    } else if (call.name == name.substr(hash + 1) &&
               call.module.starts_with(fmt::format("rusm:runtime/{}@", name.substr(0, hash)))) {
      return i;
    }
  }
  return std::nullopt;
}

}  // namespace rusm::hostcalls
