#include "otp/routine.h"

#include <cxxabi.h>

#include <cstdlib>
#include <exception>
#include <memory>
#include <string>
#include <typeinfo>

namespace rusm::otp {
namespace {

std::string type_name(const std::type_info* type) {
  if (type == nullptr) return "unknown exception";
  int status = 0;
  const std::unique_ptr<char, void (*)(void*)> name(abi::__cxa_demangle(type->name(), nullptr, nullptr, &status),
                                                    std::free);
  return name ? std::string(name.get()) : std::string(type->name());
}

}  // namespace

ExitReason reason_of(std::exception_ptr exception) noexcept try {
  try {
    std::rethrow_exception(exception);
  } catch (const std::exception& e) {
    return ExitReason::crashed("exception", type_name(&typeid(e)) + ": " + e.what());
  } catch (...) {
    return ExitReason::crashed("exception", type_name(abi::__cxa_current_exception_type()));
  }
} catch (...) {
  return ExitReason::Kind::kCrashed;  // out of memory while describing it
}

}  // namespace rusm::otp
