// A small C++ face of the wasi:http bindings that rusm-componentize generates (proxy.h): every handle has one owner,
// every list is freed, and streams wait where they must. Threads: a guest has one.
//
// Nothing here uses the C library's files, clock or environment, so a guest built on it imports wasi:http and
// nothing else, and starts in a few microseconds.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>
#include <utility>

#include "proxy.h"

namespace wasi {

// Owns a resource handle of the host. REQUIRES: a child (a stream of a body) is dropped before its parent.
template <typename Handle, void (*kDrop)(Handle)>
class Owned {
 public:
  Owned() = default;
  explicit Owned(Handle handle) : handle_(handle) {}
  Owned(Owned&& other) noexcept : handle_(other.release()) {}
  Owned& operator=(Owned&& other) noexcept {
    std::swap(handle_, other.handle_);
    return *this;
  }
  ~Owned() {
    if (handle_.__handle != 0) kDrop(handle_);
  }

  explicit operator bool() const { return handle_.__handle != 0; }
  Handle get() const { return handle_; }
  Handle release() { return std::exchange(handle_, Handle{0}); }

 private:
  Handle handle_{0};  // the host numbers handles from 1
};

using Pollable = Owned<wasi_io_poll_own_pollable_t, wasi_io_poll_pollable_drop_own>;
using InputStream = Owned<wasi_io_streams_own_input_stream_t, wasi_io_streams_input_stream_drop_own>;
using OutputStream = Owned<wasi_io_streams_own_output_stream_t, wasi_io_streams_output_stream_drop_own>;
using Fields = Owned<wasi_http_types_own_fields_t, wasi_http_types_fields_drop_own>;
using IncomingRequest = Owned<wasi_http_types_own_incoming_request_t, wasi_http_types_incoming_request_drop_own>;
using IncomingBody = Owned<wasi_http_types_own_incoming_body_t, wasi_http_types_incoming_body_drop_own>;
using OutgoingResponse = Owned<wasi_http_types_own_outgoing_response_t, wasi_http_types_outgoing_response_drop_own>;
using OutgoingBody = Owned<wasi_http_types_own_outgoing_body_t, wasi_http_types_outgoing_body_drop_own>;
using ResponseOutparam = Owned<wasi_http_types_own_response_outparam_t, wasi_http_types_response_outparam_drop_own>;

// Bytes that the host put into this guest's memory. The pointer of an empty list is not an allocation.
class Bytes {
 public:
  Bytes() = default;
  Bytes(uint8_t* data, size_t size) : data_(size == 0 ? nullptr : data), size_(size) {}
  Bytes(Bytes&& other) noexcept : data_(std::exchange(other.data_, nullptr)), size_(std::exchange(other.size_, 0)) {}
  Bytes& operator=(Bytes&& other) noexcept {
    std::swap(data_, other.data_);
    std::swap(size_, other.size_);
    return *this;
  }
  ~Bytes();

  std::string_view view() const { return {reinterpret_cast<const char*>(data_), size_}; }

 private:
  uint8_t* data_ = nullptr;
  size_t size_ = 0;
};

// The request's body, read piece by piece.
class BodyReader {
 public:
  BodyReader(IncomingBody body, InputStream stream) : body_(std::move(body)), stream_(std::move(stream)) {}

  // Waits for the next piece, at most `size_max` bytes. False at the end of the body, and when the client is gone.
  bool read(size_t size_max, Bytes& piece);

 private:
  IncomingBody body_;
  InputStream stream_;  // after body_: dropped first
};

class Request {
 public:
  explicit Request(wasi_http_types_own_incoming_request_t handle) : handle_(handle) {}

  Bytes path_with_query() const;
  // The first value of a header field; empty if there is none.
  Bytes header(std::string_view name) const;
  // REQUIRES: called once.
  BodyReader body();

 private:
  IncomingRequest handle_;
};

// The response's body. Ends well only through finish(): destroyed before that, the client sees a broken response.
class BodyWriter {
 public:
  BodyWriter(OutgoingBody body, OutputStream stream) : body_(std::move(body)), stream_(std::move(stream)) {}

  // Hands all of `data` to the host, waiting while the client is slower than we are. False when the client is gone.
  bool write(std::string_view data);
  // `trailers`: header fields that follow the body; none when empty.
  void finish(Fields trailers = Fields());

 private:
  OutgoingBody body_;
  OutputStream stream_;  // after body_: dropped first
};

// Where the answer goes.
class Responder {
 public:
  explicit Responder(wasi_http_types_own_response_outparam_t handle) : handle_(handle) {}

  // Sends the head with `content_type` (none when empty) and opens the body. REQUIRES: called once.
  BodyWriter start(uint16_t status, std::string_view content_type);
  // A whole answer.
  void send(uint16_t status, std::string_view content_type, std::string_view body);

 private:
  ResponseOutparam handle_;
};

}  // namespace wasi
