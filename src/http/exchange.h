// The vocabulary of HTTP that serving and its handlers share: heads of requests and responses, and the Exchange in
// which the two sides of one request meet. Knows neither sockets nor WebAssembly.
#pragma once

#include <atomic>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

#include "base/clock.h"
#include "http/headers.h"
#include "otp/body.h"
#include "otp/pipe.h"

namespace rusm::http {

struct RequestHead {
  std::string method;     // "GET", as sent
  std::string target;     // path and query as sent: "/users/7?full=1"
  std::string authority;  // from Host
  std::string scheme;     // "http"
  HeaderList headers;
  // What the route's pattern captured, percent-decoded: ":id" gives "id", "*" gives "*".
  HeaderList params;
  // Set when the length of the body is known; absent for a chunked body.
  std::optional<std::uint64_t> content_length;
};

struct ResponseHead {
  std::uint16_t status = 200;
  HeaderList headers;
};

// One request and its response. The serving side makes it, gives it to the handler's process as its attachment, and
// holds on to it.
// Threads: each function says whose it is; the two sides may be on different threads.
class Exchange final : public otp::Attachment {
 public:
  static constexpr std::size_t kPipeBytes = 64 << 10;

  Exchange(otp::Runtime& runtime, RequestHead head, Nanoseconds answer_by)
      : request(std::move(head)),
        deadline(answer_by),
        request_body(runtime, kPipeBytes),
        response_body(runtime, kPipeBytes),
        runtime_(runtime) {}

  // Constant after construction.
  const RequestHead request;
  const Nanoseconds deadline;  // on the runtime's clock; whoever answers later is killed

  // Written by the server, read by the handler.
  otp::Pipe request_body;
  // Written by the handler, read by the server.
  otp::Pipe response_body;

  // ── Handler ──
  // The first call wins and wakes the server; later ones return false.
  bool respond(ResponseHead head) noexcept;
  // Says that there will be no response, and why. Loses against an earlier respond().
  bool fail(std::string text) noexcept;
  // What follows the body; before response_body.finish(), after which the server reads it.
  void set_trailers(HeaderList trailers) noexcept { trailers_ = std::move(trailers); }

  // ── Server ──
  // Before the handler is spawned.
  void set_server(otp::Pid pid) noexcept;
  // The response, once there is one; null until then.
  const ResponseHead* response() const noexcept;
  // Why there is none, once the handler said so; null until then.
  const std::string* failure() const noexcept;
  // Once response_body.ended().
  const HeaderList& trailers() const noexcept { return trailers_; }

 private:
  enum class State : std::uint8_t { kOpen, kBusy, kResponded, kFailed };

  otp::Runtime& runtime_;
  otp::Pid server_;
  std::atomic<State> state_{State::kOpen};
  ResponseHead response_;
  std::string failure_;
  HeaderList trailers_;  // published by response_body.finish()
};

}  // namespace rusm::http
