#include "serve/native_handler.h"

#include <string>
#include <utility>

namespace rusm::serve {
namespace {

// Starts the coroutine at the first step: only then is there a process to give it.
class NativeBody final : public otp::Body {
 public:
  NativeBody(const NativeHandler& handler, Ref<http::Exchange> exchange)
      : handler_(handler), exchange_(std::move(exchange)) {}

  otp::Step resume(otp::Process& self, otp::Budget budget) noexcept override {
    if (!routine_) routine_ = handler_(self, std::move(exchange_)).release();
    return routine_->resume(self, budget);
  }

 private:
  const NativeHandler& handler_;
  Ref<http::Exchange> exchange_;
  otp::BodyPtr routine_;
};

constexpr std::uint32_t kMailboxMessagesMax = 10'000;
constexpr std::uint64_t kMailboxBytesMax = 16 << 20;

class NativeMaker final : public otp::BodyMaker {
 public:
  explicit NativeMaker(NativeHandler handler) : handler_(std::move(handler)) {}

  Result<otp::BodyPtr> make(otp::StartArgument argument) noexcept override {
    auto* exchange = dynamic_cast<http::Exchange*>(argument.attachment.get());
    if (exchange == nullptr) return fail(ErrorCode::kInvalid, "", "the argument is no HTTP exchange");
    exchange->retain();
    return otp::BodyPtr(new NativeBody(handler_, Ref<http::Exchange>::adopt(exchange)));
  }
  // A handler that awaits only its bodies receives nothing, and anyone may send to it.
  void limit(otp::SpawnOptions& options) const noexcept override {
    options.mailbox_messages_max = kMailboxMessagesMax;
    options.mailbox_bytes_max = kMailboxBytesMax;
  }

 private:
  const NativeHandler handler_;
};

}  // namespace

void NativeHandlers::add(std::string name, NativeHandler handler) {
  makers_.insert_or_assign(std::move(name), std::make_shared<NativeMaker>(std::move(handler)));
}

std::shared_ptr<otp::BodyMaker> NativeHandlers::find(std::string_view name) const noexcept {
  const auto there = makers_.find(name);
  return there == makers_.end() ? nullptr : there->second;
}

otp::Task<bool> write_body(otp::Self& self, Ref<http::Exchange> exchange, std::string text) {
  otp::Pipe& pipe = exchange->response_body;
  std::span<const std::byte> rest = std::as_bytes(std::span(text));
  for (;;) {
    rest = rest.subspan(pipe.write(rest));
    if (rest.empty()) co_return true;
    if (pipe.state() != otp::Pipe::State::kOpen) co_return false;
    co_await otp::news(self);
  }
}

otp::Task<std::string> read_body(otp::Self& self, Ref<http::Exchange> exchange, bool* intact) {
  otp::Pipe& pipe = exchange->request_body;
  for (;;) {
    const std::span<const std::byte> piece = pipe.readable();
    if (!piece.empty()) {
      std::string text(reinterpret_cast<const char*>(piece.data()), piece.size());
      pipe.consume(piece.size());
      co_return text;
    }
    const bool broken = pipe.state() == otp::Pipe::State::kBroken;
    if (broken || pipe.ended()) {
      if (intact != nullptr) *intact = !broken;
      co_return std::string();
    }
    co_await otp::news(self);
  }
}

otp::Task<> respond(otp::Self& self, Ref<http::Exchange> exchange, std::uint16_t status, std::string text) {
  http::ResponseHead head;
  head.status = status;
  head.headers.add("content-type", "text/plain; charset=utf-8");
  // The whole is known: whether it is chunked must not depend on who is faster, the handler or its connection.
  head.headers.add("content-length", std::to_string(text.size()));
  exchange->respond(std::move(head));
  if (co_await write_body(self, exchange, std::move(text))) exchange->response_body.finish();
}

}  // namespace rusm::serve
