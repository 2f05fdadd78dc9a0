// NativeHandlers: request handlers that are C++ coroutines, as a BodyFactory.
//
//   otp::Routine hello(otp::Self& self, Ref<http::Exchange> exchange) {
//     co_await respond(self, exchange, 200, "hello");
//   }
//   NativeHandlers handlers;
//   handlers.add("hello", hello);
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <string>
#include <string_view>

#include "http/exchange.h"
#include "otp/routine.h"

namespace rusm::serve {

using NativeHandler = std::function<otp::Routine(otp::Self&, Ref<http::Exchange>)>;

// Threads: any thread once everything is added.
class NativeHandlers final : public otp::BodyFactory {
 public:
  void add(std::string name, NativeHandler handler);
  std::shared_ptr<otp::BodyMaker> find(std::string_view name) const noexcept override;

 private:
  std::map<std::string, std::shared_ptr<otp::BodyMaker>, std::less<>> makers_;
};

// Writes all of `text` into the response's body. False when the client is gone.
otp::Task<bool> write_body(otp::Self& self, Ref<http::Exchange> exchange, std::string text);
// The next piece of the request's body; empty at its end. False in `*intact` when the client went away before.
otp::Task<std::string> read_body(otp::Self& self, Ref<http::Exchange> exchange, bool* intact = nullptr);
// A whole response.
otp::Task<> respond(otp::Self& self, Ref<http::Exchange> exchange, std::uint16_t status, std::string text);

}  // namespace rusm::serve
