// The part of a connection that has to do with one request and its response.
#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <utility>

#include "serve/connection.h"

namespace rusm::serve {
namespace {

using otp::ExitReason;
using otp::Pipe;

constexpr int kPiecesInARow = 16;             // of a request's body, until its response is looked at
constexpr std::size_t kGatherMax = 16 << 10;  // more unsent output than this goes alone
constexpr std::size_t kCopyMax = 4 << 10;     // less than this is put together: one piece is sent faster than several
constexpr std::size_t kKeepOutputMax = 8 << 10;  // capacity that an idle connection keeps

}  // namespace

void Connection::launch() {
  otp::Runtime& runtime = self_.runtime();
  const ServerCore::Handler& handler = core_.handler(target_);
  const Nanoseconds deadline = deadline_after(now_, core_.options().request_timeout);
  auto exchange = make_ref<http::Exchange>(runtime, std::move(parser_.head()), deadline);
  exchange->set_server(self_.pid());
  if (expects_continue_) exchange->request_body.watch_reader();
  if (body_read_) exchange->request_body.finish();
  const auto no_room = [this](std::string_view why) {
    place_.leave();
    core_.count(Count::kNoRoom);
    answer({.status = 503, .retry_after_s = core_.options().retry_after_s}, why);
  };
  Result<otp::BodyPtr> body = handler.maker->make({.bytes = {}, .attachment = exchange});
  if (!body) {
    if (body.error().code == ErrorCode::kLimit) return no_room(body.error().to_string());
    place_.leave();
    core_.count(Count::kHandlerCrashed);
    return answer({.status = 500}, body.error().to_string());
  }
  otp::SpawnOptions options;
  options.label = handler.name;
  options.monitor = true;
  handler.maker->limit(options);
  const otp::Spawned spawned = runtime.spawn_from(self_, std::move(*body), std::move(options));
  if (!spawned.pid) return no_room("there are too many processes");
  exchange->request_body.set_reader(spawned.pid);
  exchange->response_body.set_writer(spawned.pid);
  exchange_ = std::move(exchange);
  handler_ = {.pid = spawned.pid, .monitor = spawned.reference};
  handler_down_ = false;
  handler_until_ = deadline;
  body_abandoned_ = head_sent_ = read_blocked_ = write_blocked_ = false;
  body_bytes_ = sent_bytes_ = 0;
  half_closed_until_ = kNever;
  phase_ = Phase::kHandling;
}

bool Connection::handle() {
  bool moved = !body_read_ && !body_abandoned_ && pump_request_body();
  if (phase_ != Phase::kHandling) return true;
  moved |= pump_response();
  return phase_ != Phase::kHandling || moved || check_deadlines();
}

// ── The body of the request ────────────────────────────────────────────────────────────────────────────────────────

bool Connection::pump_request_body() {
  if (expects_continue_ && !offer_continue()) return false;
  Pipe& pipe = exchange_->request_body;
  for (int pieces = 0; pieces < kPiecesInARow; ++pieces) {
    const std::span<std::byte> room = pipe.writable();
    if (room.empty()) {
      read_blocked_ = false;  // it is the handler who has to move
      if (pipe.state() != Pipe::State::kBroken) return pieces > 0;
      body_abandoned_ = true;
      return true;
    }
    if (!pump_piece(room)) return pieces > 0;
    if (phase_ != Phase::kHandling || body_read_) return true;
  }
  return true;
}

// Invites the client to send its body once the handler wants it. True when it can be read.
bool Connection::offer_continue() {
  if (in_.empty()) {
    if (head_sent_ || !exchange_->request_body.reader_waits()) return false;
    out_.append("HTTP/1.1 100 Continue\r\n\r\n");
  }
  expects_continue_ = false;
  return true;
}

// Moves one piece into the pipe. False when the client has sent nothing more yet.
bool Connection::pump_piece(std::span<std::byte> room) {
  net::IoResult got{net::Io::kDone, 0};
  bool refused = false;
  bool over = false;
  if (framing_ == BodyFraming::kLength) {
    room = room.first(static_cast<std::size_t>(std::min<std::uint64_t>(room.size(), body_left_)));
    if (in_.empty()) {
      got = stream_->try_read(room);  // straight into the pipe
    } else {
      got.bytes = std::min(room.size(), in_.size());
      std::memcpy(room.data(), in_.data(), got.bytes);
      in_.remove_prefix(got.bytes);
    }
    body_left_ -= got.bytes;
    over = body_left_ == 0;
  } else if (in_.empty() && !fill()) {
    got.status = input_ended_ ? net::Io::kFinished : net::Io::kWouldBlock;
  } else {
    const auto decoded = decoder_.decode(std::as_bytes(std::span(in_)), room);
    in_.remove_prefix(decoded.consumed);
    got.bytes = decoded.produced;
    refused = decoded.progress == ChunkedDecoder::Progress::kRefused;
    over = decoded.progress == ChunkedDecoder::Progress::kDone;
  }
  if (got.status == net::Io::kWouldBlock) {
    if (!read_blocked_) read_until_ = deadline_after(now_, core_.options().body_timeout);
    read_blocked_ = true;
    return false;
  }
  read_blocked_ = false;
  body_bytes_ += got.bytes;
  const std::uint64_t bytes_max = core_.options().body_bytes_max;
  const bool too_large = bytes_max != 0 && body_bytes_ > bytes_max;
  if (got.status != net::Io::kDone) {
    client_gone(Count::kClientGone);
  } else if (refused || too_large) {
    context_.keep_alive = false;
    if (head_sent_) {
      cut_response(Count::kRefused, "the body of its request is malformed or too large");
    } else {
      core_.count(Count::kRefused);
      answer({.status = static_cast<std::uint16_t>(refused ? 400 : 413)},
             refused ? "a chunk is malformed" : "the body is larger than body_bytes_max");
    }
  } else {
    exchange_->request_body.commit(got.bytes);
    if (over) {
      body_read_ = true;
      exchange_->request_body.finish();
    }
  }
  return true;
}

// ── The response ───────────────────────────────────────────────────────────────────────────────────────────────────

bool Connection::pump_response() {
  if (!head_sent_ && !begin_response()) return flush();
  return phase_ != Phase::kHandling || send_body();
}

// True once there is a head in out_, or an answer of our own instead.
bool Connection::begin_response() {
  const http::ResponseHead* head = exchange_->response();
  if (head == nullptr) {
    if (const std::string* failure = exchange_->failure()) {
      core_.count(Count::kHandlerFailed);
      answer({.status = 502}, *failure);
    } else if (handler_down_) {
      answer_for_exit();
    } else {
      return false;
    }
    return true;
  }
  // A client that was not told to send its body may never do so: no request can be told from it.
  if (core_.draining() || expects_continue_) context_.keep_alive = false;
  const Pipe& pipe = exchange_->response_body;
  std::optional<std::uint64_t> whole;
  // Only a chunked body has trailers. They are there to be read once the pipe is finished, and not before.
  const bool drops_trailers = context_.is_head || context_.http_1_0;
  if (pipe.state() == Pipe::State::kFinished && (drops_trailers || exchange_->trailers().size() == 0)) {
    whole = pipe.bytes_written() - pipe.bytes_read();
  }
  const auto plan = plan_response(*head, context_, whole);
  if (!plan) {
    core_.count(Count::kBadResponse);
    answer({.status = 502}, plan.error());
    return true;
  }
  plan_ = *plan;
  append_head(*head, plan_, context_, core_.date(), core_.extra_headers(), &out_);
  head_sent_ = true;
  handler_until_ = deadline_after(now_, core_.options().request_timeout);
  return true;
}

bool Connection::send_body() {
  if (plan_.framing == ResponseFraming::kNoBody) return drop_body();
  if (out_.size() - out_at_ > kGatherMax) return flush();
  Pipe& pipe = exchange_->response_body;
  const Pipe::State state = pipe.state();  // first: once it is finished, the data is final
  std::span<const std::byte> data = pipe.readable();
  const bool last = state == Pipe::State::kFinished && pipe.bytes_written() - pipe.bytes_read() == data.size();
  const bool with_length = plan_.framing == ResponseFraming::kLength;
  const bool too_long = with_length && data.size() > plan_.length - sent_bytes_;
  const bool complete = with_length && sent_bytes_ + data.size() == plan_.length;
  if (data.empty() && !last && (state == Pipe::State::kBroken || (handler_down_ && state == Pipe::State::kOpen))) {
    if (!complete) {
      cut_response(Count::kBodyCut, handler_down_ ? exit_reason_.to_string() : "the handler broke off its body");
      return true;
    }
    phase_ = Phase::kAnswering;  // everything that was announced is there
    return true;
  }
  if (too_long) data = data.first(static_cast<std::size_t>(plan_.length - sent_bytes_));
  char prefix[20];
  std::size_t prefix_bytes = 0;
  std::string_view suffix;
  std::string trailers;  // with what comes before and after them
  if (plan_.framing == ResponseFraming::kChunked) {
    if (!data.empty())
      prefix_bytes = static_cast<std::size_t>(fmt::format_to(prefix, "{:x}\r\n", data.size()) - prefix);
    suffix = data.empty() ? (last ? "0\r\n\r\n" : "") : (last ? "\r\n0\r\n\r\n" : "\r\n");
    if (last && exchange_->trailers().size() != 0) {
      trailers = suffix.substr(0, suffix.size() - 2);
      append_trailers(exchange_->trailers(), &trailers);
      suffix = trailers.append("\r\n");
    }
  }
  const std::array<std::span<const std::byte>, 4> pieces{std::as_bytes(std::span(out_).subspan(out_at_)),
                                                         std::as_bytes(std::span(prefix, prefix_bytes)), data,
                                                         std::as_bytes(std::span(suffix))};
  bool moved = too_long || last;
  const std::size_t data_bytes = data.size();
  if (!std::ranges::all_of(pieces, [](const auto& piece) { return piece.empty(); })) {
    const bool new_output = data_bytes != 0 || !suffix.empty();
    moved |= write(pieces) || new_output;
    if (phase_ != Phase::kHandling) return true;
  }
  pipe.consume(data_bytes);
  sent_bytes_ += data_bytes;
  if (data_bytes != 0) handler_until_ = deadline_after(now_, core_.options().request_timeout);
  if (too_long) {
    core_.count(Count::kBodyTooLong);
    log_failure("response cut", {}, 0, "the handler wrote more than its Content-Length");
    self_.runtime().exit(handler_.pid, ExitReason::Kind::kKill);
    plan_.keep_alive = false;
    phase_ = Phase::kAnswering;
  } else if (last) {
    if (with_length && sent_bytes_ < plan_.length) {
      cut_response(Count::kBodyCut, "the handler wrote less than its Content-Length");
    } else {
      phase_ = Phase::kAnswering;
    }
  }
  return moved;
}

// A response without a body: what the handler writes all the same is dropped until it is done.
bool Connection::drop_body() {
  Pipe& pipe = exchange_->response_body;
  bool moved = flush();
  if (phase_ != Phase::kHandling) return true;
  const bool open = pipe.state() == Pipe::State::kOpen;
  const std::size_t bytes = pipe.readable().size();
  pipe.consume(bytes);
  if (bytes == 0 && (!open || handler_down_)) phase_ = Phase::kAnswering;
  return moved || bytes != 0 || phase_ == Phase::kAnswering;
}

bool Connection::write_answer() {
  if (!out_.empty()) {
    const bool moved = flush();
    if (phase_ != Phase::kAnswering || moved) return true;
    if (now_ >= write_until_ || stream_->peer_state() == net::PeerState::kGone) {
      client_gone(now_ >= write_until_ ? Count::kClientStalled : Count::kClientGone);
      return true;
    }
    wait_until(write_until_);
    return false;
  }
  if (exchange_) {
    core_.count(Count::kAnswered);
    if (!body_read_) exchange_->request_body.abort();
    retire_handler(deadline_after(now_, core_.options().request_timeout));
  }
  place_.leave();
  if (!plan_.keep_alive || core_.draining() || (expects_continue_ && !body_read_)) {
    // A client that asked for the end and has sent nothing more can lose nothing.
    if (client_closes_ && body_read_ && in_.empty()) {
      end();
    } else {
      begin_linger();
    }
  } else if (body_read_) {
    next_request();
  } else {
    phase_ = Phase::kDraining;
    allowance_ = core_.options().unread_body_bytes_max;
    phase_until_ = deadline_after(now_, core_.options().body_timeout);
  }
  return true;
}

// Writes the pieces, the first of which is what is left of out_. What the socket does not take goes to out_. True when
// something was written.
bool Connection::write(std::span<const std::span<const std::byte>> pieces) {
  std::size_t total = 0;
  for (const auto& piece : pieces) total += piece.size();
  if (pieces.size() > 1 && total <= kCopyMax) {
    for (const auto& piece : pieces.subspan(1)) {
      out_.append(reinterpret_cast<const char*>(piece.data()), piece.size());
    }
    return flush();
  }
  const net::IoResult put = stream_->try_write(pieces);
  if (put.status == net::Io::kBroken) {
    client_gone(Count::kClientGone);
    return true;
  }
  if (put.bytes > 0) half_closed_until_ = kNever;
  if (put.bytes == total) {
    write_blocked_ = false;
    out_at_ = 0;
    if (out_.capacity() > kKeepOutputMax) out_ = std::string();
    out_.clear();
    return true;
  }
  if (!write_blocked_ || put.bytes > 0) write_until_ = deadline_after(now_, core_.options().body_timeout);
  write_blocked_ = true;
  const std::size_t ours = std::min(put.bytes, pieces.front().size());
  out_at_ += ours;
  if (out_at_ == out_.size()) {
    out_.clear();
    out_at_ = 0;
  }
  std::size_t skip = put.bytes - ours;
  for (const auto& piece : pieces.subspan(1)) {
    const std::size_t written = std::min(skip, piece.size());
    skip -= written;
    out_.append(reinterpret_cast<const char*>(piece.data()) + written, piece.size() - written);
  }
  return put.bytes > 0;
}

bool Connection::flush() {
  if (out_.empty()) return false;
  const std::array<std::span<const std::byte>, 1> pieces{std::as_bytes(std::span(out_).subspan(out_at_))};
  return write(pieces);
}

// ── Failures ───────────────────────────────────────────────────────────────────────────────────────────────────────

// Nothing moved: whose fault is it, and has it lasted too long?
bool Connection::check_deadlines() {
  const net::PeerState peer = stream_->peer_state();
  if (peer == net::PeerState::kGone) {
    client_gone(Count::kClientGone);
    return true;
  }
  if (peer == net::PeerState::kFinished && (body_read_ || body_abandoned_)) {
    if (half_closed_until_ == kNever) {
      half_closed_until_ = deadline_after(now_, core_.options().half_closed_timeout);
    } else if (now_ >= half_closed_until_) {
      client_gone(Count::kClientGone);
      return true;
    }
    wait_until(half_closed_until_);
  }
  const bool late = !write_blocked_ && now_ >= handler_until_;
  if (read_blocked_ && !head_sent_ && (late || now_ >= read_until_)) {
    core_.count(Count::kClientStalled);
    context_.keep_alive = false;
    answer({.status = 408}, "the body of the request did not come in time");
  } else if ((read_blocked_ && now_ >= read_until_) || (write_blocked_ && now_ >= write_until_)) {
    client_gone(Count::kClientStalled);
  } else if (late && head_sent_) {
    cut_response(Count::kDeadline, "the handler stopped in the middle of its body");
  } else if (late) {
    core_.count(Count::kDeadline);
    answer({.status = 504}, "the handler did not answer in time");
  } else {
    if (read_blocked_) wait_until(read_until_);
    wait_until(write_blocked_ ? write_until_ : handler_until_);
    return false;
  }
  return true;
}

void Connection::answer_for_exit() {
  switch (exit_reason_.kind()) {
    case ExitReason::Kind::kNormal:
      core_.count(Count::kHandlerSilent);
      answer({.status = 500}, "the handler ended without an answer");
      break;
    case ExitReason::Kind::kLimit:
      if (exit_reason_.crash_kind() == "instances") {  // it never began: there was no room for it
        core_.count(Count::kNoRoom);
        answer({.status = 503, .retry_after_s = core_.options().retry_after_s}, exit_reason_.to_string());
        break;
      }
      [[fallthrough]];
    default:
      core_.count(Count::kHandlerCrashed);
      answer({.status = 500}, exit_reason_.to_string());
  }
}

// Answers the request ourselves. A handler that is still there is killed. Nothing of a response may have been sent.
void Connection::answer(OwnAnswer own, std::string_view why) {
  const std::string id = core_.make_request_id();
  own.id = id;
  if (own.status >= 500 || own.status == 408) {
    log_failure("request failed", id, own.status, why);
  } else {
    log_refusal(id, own.status, why);
  }
  if (exchange_) {
    exchange_->request_body.abort();
    exchange_->response_body.abort();
    retire_handler(now_);
  }
  plan_ = {.keep_alive = context_.keep_alive && !core_.draining() && (body_read_ || !expects_continue_)};
  context_.keep_alive = plan_.keep_alive;
  append_answer(own, context_, core_.date(), core_.extra_headers(), &out_);
  write_until_ = deadline_after(now_, core_.options().body_timeout);
  phase_ = Phase::kAnswering;
}

// The client has got a part of a response that cannot be completed, and must not take it for the whole.
void Connection::cut_response(Count what, std::string_view why) {
  core_.count(what);
  log_failure("response cut", {}, 0, why);
  stream_->reset_on_close();
  end();
}

void Connection::client_gone(Count what) {
  core_.count(what);
  if (what == Count::kClientStalled) stream_->reset_on_close();
  end();
}

void Connection::log_failure(std::string_view message, std::string_view id, int status, std::string_view why) {
  Log* log = self_.runtime().log();
  if (log == nullptr || !log->wants(LogLevel::kWarn)) return;
  const http::RequestHead& head = exchange_ ? exchange_->request : parser_.head();
  log->warn("serve", message,
            {{"id", std::string(id)},
             {"status", status == 0 ? std::string() : std::to_string(status)},
             {"pid", exchange_ ? handler_.pid.to_string() : std::string()},
             {"method", head.method},
             {"target", head.target},
             {"client", stream_->peer().to_string()},
             {"reason", std::string(why)}});
}

void Connection::log_refusal(std::string_view id, int status, std::string_view why) {
  Log* log = self_.runtime().log();
  if (log == nullptr || !log->wants(LogLevel::kInfo)) return;
  log->info("serve", "request refused",
            {{"id", std::string(id)},
             {"status", std::to_string(status)},
             {"client", stream_->peer().to_string()},
             {"reason", std::string(why)}});
}

}  // namespace rusm::serve
