#include "net/connection.h"

#include <algorithm>
#include <array>
#include <cstring>

namespace rusm::net {

Error NetError::to_error() const {
  switch (what) {
    case NetFailure::kFinished:
      return {ErrorCode::kUnavailable, peer.to_string(), "the peer sends no more"};
    case NetFailure::kBroken:
      return {ErrorCode::kIo, peer.to_string(), "the connection broke"};
    case NetFailure::kTimeout:
      return {ErrorCode::kTimeout, peer.to_string(), "the peer let the time pass"};
    case NetFailure::kLimit:
      return {ErrorCode::kLimit, peer.to_string(), "the peer sent more without a delimiter than is allowed"};
  }
  return {ErrorCode::kInternal, peer.to_string(), "no such failure"};
}

Connection& Connection::operator=(Connection&& other) noexcept {
  if (this == &other) return *this;
  close();
  lease_ = std::move(other.lease_);
  stream_ = std::move(other.stream_);
  ahead_ = std::move(other.ahead_);
  owner_ = other.owner_;
  end_ = other.end_;
  return *this;
}

void Connection::close() noexcept {
  stream_.reset();
  lease_.reset();
  ahead_.reset();
  end_ = Io::kBroken;
}

void Connection::reset() noexcept {
  if (stream_) stream_->reset_on_close();
  close();
}

Error Connection::why_broken() const {
  if (stream_) return stream_->failure();
  return {ErrorCode::kIo, "", "the connection was closed on this side"};
}

IoResult Connection::take(std::span<std::byte> room) noexcept {
  if (ahead_) {
    const std::span<const std::byte> rest = ahead_->rest();
    const std::size_t count = std::min(rest.size(), room.size());
    std::copy_n(rest.begin(), count, room.begin());
    consume(count);
    return {Io::kDone, count};
  }
  if (end_ != Io::kDone) return {end_};
  if (!stream_) return {Io::kBroken};
  const IoResult got = stream_->try_read(room);
  if (got.status == Io::kFinished || got.status == Io::kBroken) end_ = got.status;
  return got;
}

// Makes way for `more` bytes: what was asked for goes, and memory that a long line needed once.
void Connection::Ahead::forget_used(std::size_t more) {
  bytes.erase(bytes.begin(), bytes.begin() + static_cast<std::ptrdiff_t>(begin));
  begin = 0;
  if (bytes.capacity() > std::max(kRoomyBytes, 4 * (bytes.size() + more))) bytes.shrink_to_fit();
}

IoResult Connection::read_ahead() {
  if (end_ != Io::kDone) return {end_};
  if (!stream_) return {Io::kBroken};
  std::array<std::byte, kReadBytes> room;
  const IoResult got = stream_->try_read(room);
  if (got.status == Io::kFinished || got.status == Io::kBroken) end_ = got.status;
  if (got.status != Io::kDone) return got;
  if (!ahead_) ahead_ = std::make_unique<Ahead>();
  ahead_->forget_used(got.bytes);
  ahead_->bytes.insert(ahead_->bytes.end(), room.begin(), room.begin() + static_cast<std::ptrdiff_t>(got.bytes));
  return got;
}

void Connection::consume(std::size_t bytes) noexcept {
  ahead_->begin += bytes;
  if (ahead_->begin == ahead_->bytes.size()) ahead_.reset();
}

namespace detail {

bool ReadAwait::step() noexcept {
  std::array<std::byte, Connection::kReadBytes> room;
  const IoResult got = connection.take(room);
  if (got.status != Io::kDone) return over(got.status);
  chunk = Chunk::copy_of(std::span(room).first(got.bytes));
  return true;
}

bool ReadSomeAwait::step() noexcept {
  const IoResult got = connection.take(room);
  count = got.bytes;
  return got.status == Io::kDone || over(got.status);
}

bool ReadExactlyAwait::step() noexcept {
  while (!rest.empty()) {
    const IoResult got = connection.take(rest);
    if (got.status != Io::kDone) return over(got.status);
    rest = rest.subspan(got.bytes);
    if (!rest.empty() && enough(got.bytes)) return false;
  }
  return true;
}

// True when the search is over: the delimiter was found, or is too far away.
bool ReadUntilAwait::find() noexcept {
  if (!connection.ahead_) return false;
  const std::span<const std::byte> rest = connection.ahead_->rest();
  const std::string_view all(reinterpret_cast<const char*>(rest.data()), rest.size());
  const std::size_t at = all.find(delimiter, searched);
  if (at != std::string_view::npos && at <= limit) {
    text = all.substr(0, at);
    connection.consume(at + delimiter.size());
    return true;
  }
  searched = all.size() < delimiter.size() ? 0 : all.size() - delimiter.size() + 1;
  failed = at != std::string_view::npos || searched > limit;
  failure = NetFailure::kLimit;
  return failed;
}

bool ReadUntilAwait::step() noexcept {
  while (!find()) {
    const IoResult got = connection.read_ahead();
    if (got.status != Io::kDone) return over(got.status);
    if (enough(got.bytes)) return find();
  }
  return true;
}

bool WriteAwait::step() noexcept {
  while (!rest.empty()) {
    if (!connection.stream_) return over(Io::kBroken);
    const std::span<const std::byte> pieces[] = {rest};
    const IoResult put = connection.stream_->try_write(pieces);
    if (put.status != Io::kDone) return over(put.status);
    rest = rest.subspan(put.bytes);
    if (!rest.empty() && enough(put.bytes)) return false;
  }
  return true;
}

bool FinishAwait::step() noexcept {
  if (!connection.stream_) return over(Io::kBroken);
  if (!begun) connection.stream_->shutdown_write();
  begun = true;
  const Io flushed = connection.stream_->flush();
  return flushed == Io::kDone || over(flushed);
}

bool EstablishAwait::step() noexcept {
  if (!connection.stream_) {
    why = connection.why_broken();
    return true;
  }
  Result<bool> outcome = connection.stream_->established();
  if (!outcome) why = std::move(outcome.error());
  return why || *outcome;
}

Result<> EstablishAwait::await_resume() {
  if (why) return std::unexpected(std::move(*why));
  if (timed_out) {
    return fail(ErrorCode::kTimeout, connection.peer().to_string(),
                "did not answer in time: is it up, and does a firewall let us through?");
  }
  return {};
}

bool ArrivalAwait::step() noexcept {
  if (!self.drain()) return false;
  arrival.message = self.mailbox_head() != nullptr;
  arrival.readable = connection.ahead_ || connection.read_ahead().status != Io::kWouldBlock;
  return arrival.message || arrival.readable;
}

}  // namespace detail

namespace {

otp::Task<Result<Connection>> establish(otp::Self& self, Result<std::unique_ptr<Stream>> stream, Nanoseconds timeout) {
  if (!stream) co_return std::unexpected(std::move(stream.error()));
  Connection connection(std::move(*stream));
  if (Result<> done = co_await connection.established(self, timeout); !done) {
    co_return std::unexpected(std::move(done.error()));
  }
  co_return connection;
}

}  // namespace

otp::Task<Result<Connection>> connect(otp::Self& self, Transport& transport, Address address, Nanoseconds timeout) {
  return establish(self, transport.connect(address), timeout);
}

otp::Task<Result<Connection>> connect(otp::Self& self, Transport& transport, Address address, std::string host,
                                      Nanoseconds timeout) {
  return establish(self, transport.connect_host(address, host), timeout);
}

}  // namespace rusm::net
