#include "otp/routine.h"

#include <cxxabi.h>

#include <cstdlib>
#include <exception>
#include <memory>
#include <string>
#include <typeindex>
#include <typeinfo>
#include <unordered_map>

namespace rusm::otp {
namespace {

// Demangled once for each type on each thread: a program that fails often fails in the same ways.
const std::string& type_name(const std::type_info& type) {
  thread_local std::unordered_map<std::type_index, std::string> names;
  std::string& name = names[type];
  if (name.empty()) {
    int status = 0;
    const std::unique_ptr<char, void (*)(void*)> demangled(abi::__cxa_demangle(type.name(), nullptr, nullptr, &status),
                                                           std::free);
    name = demangled ? demangled.get() : type.name();
  }
  return name;
}

// The exception as a std::exception, or null. What a handler would do, without throwing it once more.
const std::exception* as_standard(const std::exception_ptr& exception, const std::type_info& type) noexcept {
  void* object = nullptr;
  static_assert(sizeof(exception) == sizeof(object));  // libstdc++: a pointer to the exception object
  __builtin_memcpy(&object, &exception, sizeof(object));
  return typeid(std::exception).__do_catch(&type, &object, 1) ? static_cast<const std::exception*>(object) : nullptr;
}

}  // namespace

ExitReason reason_of_current_exception() noexcept try {
  const std::type_info* type = abi::__cxa_current_exception_type();
  if (type == nullptr) return ExitReason::crashed("exception", "unknown exception");  // not of C++
  std::string text = type_name(*type);
  const std::exception_ptr exception = std::current_exception();
  if (const std::exception* standard = as_standard(exception, *type)) text.append(": ").append(standard->what());
  return ExitReason::crashed("exception", std::move(text));
} catch (...) {
  return ExitReason::Kind::kCrashed;  // out of memory while describing it
}

}  // namespace rusm::otp
