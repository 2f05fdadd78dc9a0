#include "serve/connection.h"

#include <algorithm>
#include <utility>

namespace rusm::serve {
namespace {

constexpr std::size_t kFillBytes = 8 << 10;      // read at a time behind an incomplete head
constexpr std::uint64_t kLingerBytes = 1 << 20;  // dropped at most after the end
constexpr std::size_t kLateMax = 4;              // handlers that go on after their response; the oldest is killed
constexpr int kStepsMax = 32;                    // in one turn; then others run

}  // namespace

otp::Routine serve_connection(otp::Self& self, Ref<ServerCore> core, std::unique_ptr<net::Lease> lease,
                              std::unique_ptr<net::Stream> stream) {
  if (!lease->set_process(self.pid())) co_return;
  stream->set_owner(self.pid());
  Connection connection(self, *core, std::move(stream));
  for (;;) {
    const Connection::Turn turn = connection.turn();
    switch (turn.next) {
      case Connection::Next::kEnd:
        co_return;
      case Connection::Next::kYield:
        co_await otp::yield(self);
        break;
      case Connection::Next::kWait:
        co_await otp::news(self, turn.deadline);
        break;
    }
  }
}

Connection::Connection(otp::Self& self, ServerCore& core, std::unique_ptr<net::Stream> stream)
    : self_(self), core_(core), stream_(std::move(stream)), parser_(core.options().head) {
  phase_until_ = deadline_after(self.runtime().clock().now(), core.options().header_timeout);
}

Connection::~Connection() {
  if (exchange_ && !handler_down_) self_.runtime().exit(handler_.pid, otp::ExitReason::Kind::kKill);
  for (const Running& running : late_) {
    self_.runtime().exit(running.pid, otp::ExitReason::Kind::kKill);
    running.place->release();
  }
}

Connection::Turn Connection::turn() {
  now_ = self_.runtime().clock().now();
  receive_messages();
  for (int steps = 0; steps < kStepsMax; ++steps) {
    if (phase_ == Phase::kEnding && late_.empty()) return {Next::kEnd, kNever};
    deadline_ = kNever;
    if (step()) continue;
    watch_late_handlers();
    keep_input();
    if (stream_) wait_until(stream_->look_again_at());
    if (deadline_ <= now_) return {Next::kYield, kNever};
    return {Next::kWait, deadline_};
  }
  keep_input();
  return {Next::kYield, kNever};
}

void Connection::receive_messages() {
  while (const std::optional<otp::Message> message = self_.try_receive()) {
    if (!message->is_down()) continue;
    if (exchange_ && !handler_down_ && message->reference() == handler_.monitor) {
      handler_down_ = true;
      exit_reason_ = message->reason();
      place_.leave();
      continue;
    }
    const auto late = std::ranges::find(late_, message->reference(), &Running::monitor);
    if (late == late_.end()) continue;
    late->place->release();
    late_.erase(late);
  }
}

// Tries what the phase allows; false when there is nothing but to wait.
bool Connection::step() {
  switch (phase_) {
    case Phase::kReading:
      return read_head();
    case Phase::kInLine:
      return wait_in_line();
    case Phase::kHandling:
      return handle();
    case Phase::kAnswering:
      return write_answer();
    case Phase::kDraining:
      return drain_body();
    case Phase::kLingering:
      return linger();
    case Phase::kEnding:
      return false;
  }
  return false;
}

void Connection::wait_until(Nanoseconds deadline) noexcept {
  deadline_ = std::min(deadline_, deadline);
}

// ── Input ──────────────────────────────────────────────────────────────────────────────────────────────────────────

// Reads more behind what is there. False when nothing came.
bool Connection::fill() {
  net::IoResult got{};
  if (in_.empty()) {
    const std::span<std::byte> room = core_.scratch();
    got = stream_->try_read(room);
    if (got.status == net::Io::kDone) in_ = {reinterpret_cast<const char*>(room.data()), got.bytes};
  } else {
    keep_input();
    const std::size_t before = stash_.size();
    stash_.resize(before + kFillBytes);
    got = stream_->try_read(std::as_writable_bytes(std::span(stash_).subspan(before)));
    stash_.resize(before + got.bytes);
    in_ = stash_;
  }
  if (got.status == net::Io::kFinished || got.status == net::Io::kBroken) input_ended_ = true;
  return got.status == net::Io::kDone;
}

// Puts what was not used where it outlives the turn. An idle connection keeps no memory for input.
void Connection::keep_input() {
  if (in_.empty()) {
    if (!stash_.empty()) stash_ = std::string();
    in_ = {};
    return;
  }
  const bool is_stashed = in_.data() >= stash_.data() && in_.data() < stash_.data() + stash_.size();
  if (is_stashed) {
    stash_.erase(0, static_cast<std::size_t>(in_.data() - stash_.data()));
  } else {
    stash_.assign(in_);
  }
  in_ = stash_;
}

bool Connection::read_head() {
  if (!in_.empty()) {
    switch (parser_.parse(in_)) {
      case RequestParser::Progress::kDone:
        in_.remove_prefix(parser_.head_bytes());
        begin_request();
        return true;
      case RequestParser::Progress::kRefused:
        core_.count(Count::kRefused);
        context_ = {.keep_alive = false};
        body_read_ = false;  // whatever follows is not looked at
        answer({.status = parser_.refusal().status}, parser_.refusal().reason);
        return true;
      case RequestParser::Progress::kMore:
        break;
    }
  }
  const bool begun = parser_.begun();
  if (core_.draining() && !begun) {
    begin_linger();
    return true;
  }
  if (begun && !head_timed_) {
    head_timed_ = true;
    phase_until_ = deadline_after(now_, core_.options().header_timeout);
  }
  if (fill()) return true;
  if (input_ended_) {
    end();
  } else if (now_ < phase_until_) {
    wait_until(phase_until_);
    return false;
  } else if (begun) {
    core_.count(Count::kHeaderTimeout);
    context_ = {.keep_alive = false};
    body_read_ = false;
    answer({.status = 408}, "the head of the request did not come in time");
  } else {
    core_.count(Count::kIdleTimeout);
    begin_linger();
  }
  return true;
}

void Connection::begin_request() {
  core_.count(Count::kRequests);
  const ServeOptions& options = core_.options();
  http::RequestHead& head = parser_.head();
  client_closes_ = !parser_.keep_alive();
  context_ = {.is_head = head.method == "HEAD",
              .http_1_0 = parser_.is_http_1_0(),
              .keep_alive = !client_closes_ && !core_.draining()};
  framing_ = parser_.framing();
  body_read_ = framing_ == BodyFraming::kNone;
  body_left_ = head.content_length.value_or(0);
  expects_continue_ = parser_.expects_continue();
  if (framing_ == BodyFraming::kChunked) decoder_ = ChunkedDecoder();
  if (options.body_bytes_max != 0 && body_left_ > options.body_bytes_max) {
    core_.count(Count::kRefused);
    context_.keep_alive = false;
    return answer({.status = 413}, "the announced body is larger than body_bytes_max");
  }
  Router::Match match = core_.router().find(head.method, head.target);
  if (match.status != 200) {
    core_.count(Count::kNotRouted);
    return answer({.status = match.status, .allow = match.allow}, "no route takes it");
  }
  target_ = match.target;
  head.params = std::move(match.params);
  switch (core_.admission().enter(place_, self_.pid(), stream_->peer().ip())) {
    case Admitted::kYes:
      return launch();
    case Admitted::kWaits:
      phase_ = Phase::kInLine;
      phase_until_ = deadline_after(now_, options.queue_timeout);
      return;
    case Admitted::kLineFull:
      core_.count(Count::kLineFull);
      return answer({.status = 503, .retry_after_s = options.retry_after_s}, "the waiting line is full");
    case Admitted::kClientShare:
      core_.count(Count::kClientShare);
      return answer({.status = 503, .retry_after_s = options.retry_after_s}, "the client has its share of the line");
  }
}

bool Connection::wait_in_line() {
  if (place_.granted()) {
    launch();
  } else if (stream_->peer_state() == net::PeerState::kGone) {
    client_gone(Count::kClientGone);
  } else if (now_ >= phase_until_) {
    place_.leave();
    core_.count(Count::kLineTimeout);
    answer({.status = 503, .retry_after_s = core_.options().retry_after_s}, "it waited too long in line");
  } else {
    wait_until(phase_until_);
    return false;
  }
  return true;
}

// ── After the response ─────────────────────────────────────────────────────────────────────────────────────────────

void Connection::next_request() {
  parser_.reset();
  phase_ = Phase::kReading;
  head_timed_ = false;
  phase_until_ = deadline_after(now_, core_.options().idle_timeout);
}

// Uses up `bytes` of the allowance for input that nobody reads; false when there is no more of it.
bool Connection::discard(std::size_t bytes) noexcept {
  if (bytes > allowance_) return false;
  allowance_ -= bytes;
  return true;
}

bool Connection::drain_body() {
  if (!in_.empty()) {
    std::size_t used = 0;
    bool refused = false;
    if (framing_ == BodyFraming::kLength) {
      used = static_cast<std::size_t>(std::min<std::uint64_t>(in_.size(), body_left_));
      body_left_ -= used;
      body_read_ = body_left_ == 0;
    } else {
      std::byte dropped[4096];
      const auto decoded = decoder_.decode(std::as_bytes(std::span(in_)), dropped);
      used = decoded.consumed;
      refused = decoded.progress == ChunkedDecoder::Progress::kRefused;
      body_read_ = decoded.progress == ChunkedDecoder::Progress::kDone;
    }
    in_.remove_prefix(used);
    if (refused || !discard(used)) {
      begin_linger();
    } else if (body_read_) {
      next_request();
    }
    return true;
  }
  if (fill()) return true;
  if (input_ended_) {
    end();
  } else if (now_ >= phase_until_) {
    begin_linger();
  } else {
    wait_until(phase_until_);
    return false;
  }
  return true;
}

// Says that nothing more comes, and reads on for a while: closing at once with unread input would reset the
// connection, and the client might lose our last words.
void Connection::begin_linger() {
  stream_->shutdown_write();
  in_ = {};
  allowance_ = kLingerBytes;
  phase_ = Phase::kLingering;
  phase_until_ = deadline_after(now_, core_.options().linger_timeout);
}

bool Connection::linger() {
  const net::Io flushed = stream_->flush();  // our last words may still be in the stream
  if (flushed == net::Io::kBroken) {
    end();
    return true;
  }
  const bool more = fill();
  const bool within = discard(in_.size());
  in_ = {};
  if (more && within) return true;
  if (!more && !(input_ended_ && flushed == net::Io::kDone) && now_ < phase_until_) {
    wait_until(phase_until_);
    return false;
  }
  end();
  return true;
}

void Connection::end() {
  if (exchange_) {
    exchange_->request_body.abort();
    exchange_->response_body.abort();
    retire_handler(now_);
  }
  place_.leave();
  stream_.reset();
  in_ = {};
  out_ = std::string();
  phase_ = Phase::kEnding;
}

// The present exchange is over. Its handler, if it is still there, keeps its place until it is down.
void Connection::retire_handler(Nanoseconds kill_at) {
  if (!handler_down_) {
    if (late_.size() >= kLateMax) late_.front().kill_at = now_;
    late_.push_back({handler_.pid, handler_.monitor, kill_at, place_.detach()});
  }
  exchange_.reset();
}

void Connection::watch_late_handlers() {
  for (Running& running : late_) {
    if (now_ >= running.kill_at) {
      self_.runtime().exit(running.pid, otp::ExitReason::Kind::kKill);
      running.kill_at = kNever;
    }
    wait_until(running.kill_at);
  }
}

}  // namespace rusm::serve
