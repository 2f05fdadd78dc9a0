#include "http/exchange.h"

#include "otp/runtime.h"

namespace rusm::http {

bool Exchange::respond(ResponseHead head) noexcept {
  State open = State::kOpen;
  if (!state_.compare_exchange_strong(open, State::kBusy, std::memory_order_acquire)) return false;
  response_ = std::move(head);
  state_.store(State::kResponded, std::memory_order_release);  // partner: response()
  runtime_.wake(server_);
  return true;
}

bool Exchange::fail(std::string text) noexcept {
  State open = State::kOpen;
  if (!state_.compare_exchange_strong(open, State::kBusy, std::memory_order_acquire)) return false;
  failure_ = std::move(text);
  state_.store(State::kFailed, std::memory_order_release);  // partner: failure()
  runtime_.wake(server_);
  return true;
}

void Exchange::set_server(otp::Pid pid) noexcept {
  server_ = pid;
  request_body.set_writer(pid);
  response_body.set_reader(pid);
}

const ResponseHead* Exchange::response() const noexcept {
  return state_.load(std::memory_order_acquire) == State::kResponded ? &response_ : nullptr;
}

const std::string* Exchange::failure() const noexcept {
  return state_.load(std::memory_order_acquire) == State::kFailed ? &failure_ : nullptr;
}

}  // namespace rusm::http
