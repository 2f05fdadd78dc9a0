// Connection: the process that serves one client connection with HTTP/1.1. Internal to serve.
//
// One loop (turn): it tries everything that could move on — reading, writing, both bodies, the handler's end, the
// deadlines — and when nothing does, its process awaits news. Whatever happens only wakes the pid.
//
// Phases
//   kReading    a head is awaited or incomplete
//   kInLine     the request waits for admission
//   kHandling   a handler has the exchange: its body goes in, its response comes out
//   kAnswering  the response, or an answer of our own, is complete in out_ and being written
//   kDraining   the response is out; what is left of the request's body is read and dropped
//   kLingering  we have finished; what the client still sends is dropped, so that it can read our last words
//   kEnding     the connection is closed; handlers that are still there are awaited
//
// What becomes of a handler: it ends by itself, or is killed when the client goes away, when its time is over, or when
// its response cannot be sent. It keeps its place in flight until it is down.
//
// How a failure before the response's head is answered:
//   crashed, reached a limit (memory, CPU time), ended without an answer  500
//   said that it cannot answer (Exchange::fail); a malformed head  502
//   no instance, no process, no place in line  503 with Retry-After
//   not in time  504, or 408 when the client had not sent its body
// After the head the connection is reset: the client must not take a part for the whole.
#pragma once

#include <boost/container/small_vector.hpp>
#include <memory>
#include <string>
#include <string_view>

#include "http/exchange.h"
#include "net/transport.h"
#include "otp/routine.h"
#include "serve/chunked_decoder.h"
#include "serve/http1_parser.h"
#include "serve/http1_writer.h"
#include "serve/server_core.h"

namespace rusm::serve {

// The body of a connection's process.
otp::Routine serve_connection(otp::Self& self, Ref<ServerCore> core, std::unique_ptr<net::Lease> lease,
                              std::unique_ptr<net::Stream> stream);

// Threads: its process.
class Connection {
 public:
  Connection(otp::Self& self, ServerCore& core, std::unique_ptr<net::Stream> stream);
  // Kills what it still has.
  ~Connection();
  Connection(const Connection&) = delete;
  Connection& operator=(const Connection&) = delete;

  enum class Next : std::uint8_t { kWait, kYield, kEnd };
  struct Turn {
    Next next;
    Nanoseconds deadline;  // with kWait
  };
  Turn turn();

 private:
  enum class Phase : std::uint8_t { kReading, kInLine, kHandling, kAnswering, kDraining, kLingering, kEnding };

  // A handler's process that is not known to be down.
  struct Running {
    otp::Pid pid;
    otp::Reference monitor = 0;
    Nanoseconds kill_at = kNever;
    Admission* place = nullptr;
  };

  // connection.cc: reading heads, ending.
  void receive_messages();
  bool step();
  bool read_head();
  bool fill();
  void keep_input();
  void begin_request();
  bool wait_in_line();
  void next_request();
  bool drain_body();
  bool linger();
  void begin_linger();
  void end();
  void watch_late_handlers();
  void retire_handler(Nanoseconds kill_at);
  bool discard(std::size_t bytes) noexcept;
  void wait_until(Nanoseconds deadline) noexcept;

  // connection_exchange.cc: one request and its response.
  void launch();
  bool handle();
  bool pump_request_body();
  bool pump_piece(std::span<std::byte> room);
  bool offer_continue();
  bool pump_response();
  bool begin_response();
  bool send_body();
  bool drop_body();
  bool check_deadlines();
  void answer(OwnAnswer answer, std::string_view why);
  void answer_for_exit();
  void cut_response(Count what, std::string_view why);
  void client_gone(Count what);
  bool write_answer();
  bool write(std::span<const std::span<const std::byte>> pieces);
  bool flush();
  void log_failure(std::string_view message, std::string_view id, int status, std::string_view why);
  void log_refusal(std::string_view id, int status, std::string_view why);

  otp::Self& self_;
  ServerCore& core_;
  std::unique_ptr<net::Stream> stream_;
  Nanoseconds now_ = 0;
  Nanoseconds deadline_ = kNever;  // of the present wait

  // Input: in_ is what has been read and not used; it lies in stash_ or, within one turn, in the worker's scratch.
  std::string stash_;
  std::string_view in_;
  RequestParser parser_;

  // Output that the socket did not take yet.
  std::string out_;
  std::size_t out_at_ = 0;

  // The present request.
  Phase phase_ = Phase::kReading;
  bool input_ended_ = false;     // the client sends no more
  bool head_timed_ = false;      // phase_until_ is that of a head that has begun
  bool read_blocked_ = false;    // the client has nothing for us now
  bool write_blocked_ = false;   // the client takes nothing now
  bool client_closes_ = false;   // the client asked for the end of the connection
  bool body_read_ = true;        // the request's body is over
  bool body_abandoned_ = false;  // the handler reads no more of it
  bool expects_continue_ = false;
  bool head_sent_ = false;
  bool handler_down_ = false;
  BodyFraming framing_ = BodyFraming::kNone;
  ResponseContext context_;
  ResponsePlan plan_;
  std::uint64_t body_left_ = 0;   // with kLength: of the request's body
  std::uint64_t body_bytes_ = 0;  // of the request's body so far
  std::uint64_t sent_bytes_ = 0;  // of the response's body so far
  std::uint64_t allowance_ = 0;   // while draining or lingering
  Nanoseconds phase_until_ = kNever;
  Nanoseconds handler_until_ = kNever;
  Nanoseconds read_until_ = kNever;   // for the next byte from the client, while read_blocked_
  Nanoseconds write_until_ = kNever;  // for it to take the next, while write_blocked_ or kAnswering
  Nanoseconds half_closed_until_ = kNever;
  std::uint32_t target_ = 0;
  Place place_;
  Ref<http::Exchange> exchange_;
  Running handler_;
  otp::ExitReason exit_reason_;
  ChunkedDecoder decoder_;
  boost::container::small_vector<Running, 1> late_;  // handlers of earlier requests
};

}  // namespace rusm::serve
