// What the functions of Connection return to be awaited. Internal to connection.h.
#pragma once

#include "net/connection.h"
#include "net/timed_await.h"

namespace rusm::net::detail {

template <class Op, otp::Step kStep>
struct IoAwait : TimedAwait<Op, kStep> {
  IoAwait(otp::Self& s, Connection& c, Nanoseconds span) noexcept : TimedAwait<Op, kStep>(s, span), connection(c) {
    connection.set_owner(s.pid());
  }
  Nanoseconds look_again_at() noexcept { return connection.is_open() ? connection.stream()->look_again_at() : kNever; }
  // What `io` means for a wait: true when it is over.
  bool over(Io io) noexcept {
    if (io == Io::kWouldBlock) return false;
    failed = io == Io::kFinished || io == Io::kBroken;
    failure = io == Io::kFinished ? NetFailure::kFinished : NetFailure::kBroken;
    return failed;
  }
  std::unexpected<NetError> error() const noexcept {
    return std::unexpected(NetError{this->timed_out ? NetFailure::kTimeout : failure, connection.peer()});
  }

  Connection& connection;
  bool failed = false;
  NetFailure failure = NetFailure::kBroken;
};

template <class Op>
using QuietAwait = IoAwait<Op, otp::Step::kWaitSignals>;

// Moves any number of bytes, so many of them in one step.
template <class Op>
struct BulkAwait : QuietAwait<Op> {
  static constexpr std::size_t kStepBytes = 256 << 10;
  using QuietAwait<Op>::QuietAwait;

  Nanoseconds look_again_at() noexcept {
    if (moved < kStepBytes) return QuietAwait<Op>::look_again_at();
    moved = 0;
    return 0;
  }
  // True when the step has moved enough.
  bool enough(std::size_t bytes) noexcept {
    moved += bytes;
    (void)this->self.charge(static_cast<std::int32_t>(bytes >> 10));
    return moved >= kStepBytes;
  }
  std::size_t moved = 0;
};

struct ReadAwait : QuietAwait<ReadAwait> {
  using IoAwait::IoAwait;
  bool step() noexcept;
  NetResult<Chunk> await_resume() noexcept {
    if (failed || timed_out) return error();
    return std::move(chunk);
  }
  Chunk chunk;
};

struct ReadSomeAwait : QuietAwait<ReadSomeAwait> {
  ReadSomeAwait(otp::Self& s, Connection& c, std::span<std::byte> r, Nanoseconds span) noexcept
      : IoAwait(s, c, span), room(r) {}
  bool step() noexcept;
  NetResult<std::size_t> await_resume() noexcept {
    if (failed || timed_out) return error();
    return count;
  }
  const std::span<std::byte> room;
  std::size_t count = 0;
};

struct ReadExactlyAwait : BulkAwait<ReadExactlyAwait> {
  ReadExactlyAwait(otp::Self& s, Connection& c, std::span<std::byte> r, Nanoseconds span) noexcept
      : BulkAwait(s, c, span), rest(r) {}
  bool step() noexcept;
  NetResult<> await_resume() noexcept {
    if (failed || timed_out) return error();
    return {};
  }
  std::span<std::byte> rest;
};

struct ReadUntilAwait : BulkAwait<ReadUntilAwait> {
  ReadUntilAwait(otp::Self& s, Connection& c, std::string d, std::size_t l, Nanoseconds span) noexcept
      : BulkAwait(s, c, span), delimiter(std::move(d)), limit(l) {}
  bool step() noexcept;
  bool find() noexcept;
  NetResult<std::string> await_resume() noexcept {
    if (failed || timed_out) return error();
    return std::move(text);
  }
  const std::string delimiter;
  const std::size_t limit;
  std::size_t searched = 0;  // so many bytes that were read ahead begin no delimiter
  std::string text;
};

struct WriteAwait : BulkAwait<WriteAwait> {
  WriteAwait(otp::Self& s, Connection& c, std::span<const std::byte> bytes, Nanoseconds span) noexcept
      : BulkAwait(s, c, span), rest(bytes) {}
  bool step() noexcept;
  NetResult<> await_resume() noexcept {
    if (failed || timed_out) return error();
    return {};
  }
  std::span<const std::byte> rest;
};

struct FinishAwait : QuietAwait<FinishAwait> {
  using IoAwait::IoAwait;
  bool step() noexcept;
  NetResult<> await_resume() noexcept {
    if (failed || timed_out) return error();
    return {};
  }
  bool begun = false;
};

struct EstablishAwait : QuietAwait<EstablishAwait> {
  using IoAwait::IoAwait;
  bool step() noexcept;
  Result<> await_resume();
  std::optional<Error> why;
};

struct ArrivalAwait : IoAwait<ArrivalAwait, otp::Step::kWait> {
  using IoAwait::IoAwait;
  bool step() noexcept;
  Arrival await_resume() noexcept { return arrival; }
  Arrival arrival;
};

}  // namespace rusm::net::detail

namespace rusm::net {

inline void Connection::set_owner(otp::Pid pid) noexcept {
  if (owner_ == pid) return;
  owner_ = pid;
  if (stream_) stream_->set_owner(pid);
  if (lease_ && !lease_->set_process(pid)) close();
}

inline detail::ReadAwait Connection::read(otp::Self& self, Nanoseconds timeout) noexcept {
  return {self, *this, timeout};
}
inline detail::ReadSomeAwait Connection::read_some(otp::Self& self, std::span<std::byte> room,
                                                   Nanoseconds timeout) noexcept {
  return {self, *this, room, timeout};
}
inline detail::ReadExactlyAwait Connection::read_exactly(otp::Self& self, std::span<std::byte> room,
                                                         Nanoseconds timeout) noexcept {
  return {self, *this, room, timeout};
}
inline detail::ReadUntilAwait Connection::read_until(otp::Self& self, std::string delimiter, std::size_t limit,
                                                     Nanoseconds timeout) noexcept {
  return {self, *this, std::move(delimiter), limit, timeout};
}
inline detail::WriteAwait Connection::write(otp::Self& self, std::span<const std::byte> bytes,
                                            Nanoseconds timeout) noexcept {
  return {self, *this, bytes, timeout};
}
inline detail::WriteAwait Connection::write(otp::Self& self, std::string_view text, Nanoseconds timeout) noexcept {
  return {self, *this, std::as_bytes(std::span(text)), timeout};
}
inline detail::FinishAwait Connection::finish(otp::Self& self, Nanoseconds timeout) noexcept {
  return {self, *this, timeout};
}
inline detail::EstablishAwait Connection::established(otp::Self& self, Nanoseconds timeout) noexcept {
  return {self, *this, timeout};
}
inline detail::ArrivalAwait Connection::readable_or_message(otp::Self& self, Nanoseconds timeout) noexcept {
  return {self, *this, timeout};
}

}  // namespace rusm::net
