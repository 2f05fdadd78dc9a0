#include "wasi_http.h"

#include <algorithm>
#include <cstdlib>

// libc++ ends the program here, for example when substr() is given a position outside. Its own version prints a
// message first, for which it would bring in the C library's streams and with them WASI preview 1.
void std::__libcpp_verbose_abort(const char*, ...) noexcept {
  std::abort();
}

namespace wasi {
namespace {

// The bindings take strings by pointer to mutable; they only read them.
proxy_string_t borrow(std::string_view text) {
  return {reinterpret_cast<uint8_t*>(const_cast<char*>(text.data())), text.size()};
}

void wait(Pollable pollable) {
  wasi_io_poll_method_pollable_block(wasi_io_poll_borrow_pollable(pollable.get()));
}

// A host that refuses what its own interface allows leaves a guest nothing to do.
void require(bool ok) {
  if (!ok) std::abort();
}

}  // namespace

Bytes::~Bytes() {
  std::free(data_);
}

bool BodyReader::read(size_t size_max, Bytes& piece) {
  proxy_list_u8_t list;
  wasi_io_streams_stream_error_t error;
  auto stream = wasi_io_streams_borrow_input_stream(stream_.get());
  if (!wasi_io_streams_method_input_stream_blocking_read(stream, size_max, &list, &error)) {
    wasi_io_streams_stream_error_free(&error);
    return false;
  }
  piece = Bytes(list.ptr, list.len);
  return true;
}

Bytes Request::path_with_query() const {
  proxy_string_t path;
  auto request = wasi_http_types_borrow_incoming_request(handle_.get());
  if (!wasi_http_types_method_incoming_request_path_with_query(request, &path)) return {};
  return {path.ptr, path.len};
}

Bytes Request::header(std::string_view name) const {
  Fields headers(
      wasi_http_types_method_incoming_request_headers(wasi_http_types_borrow_incoming_request(handle_.get())));
  proxy_string_t key = borrow(name);
  wasi_http_types_list_field_value_t values;
  wasi_http_types_method_fields_get(wasi_http_types_borrow_fields(headers.get()), &key, &values);
  Bytes first;
  if (values.len > 0) {
    first = Bytes(values.ptr[0].ptr, values.ptr[0].len);
    values.ptr[0].len = 0;  // its bytes are ours now
  }
  wasi_http_types_list_field_value_free(&values);
  return first;
}

BodyReader Request::body() {
  IncomingBody body;
  wasi_http_types_own_incoming_body_t body_handle;
  auto request = wasi_http_types_borrow_incoming_request(handle_.get());
  require(wasi_http_types_method_incoming_request_consume(request, &body_handle));
  body = IncomingBody(body_handle);
  wasi_http_types_own_input_stream_t stream;
  require(wasi_http_types_method_incoming_body_stream(wasi_http_types_borrow_incoming_body(body.get()), &stream));
  return {std::move(body), InputStream(stream)};
}

bool BodyWriter::write(std::string_view data) {
  auto stream = wasi_io_streams_borrow_output_stream(stream_.get());
  wasi_io_streams_stream_error_t error;
  while (!data.empty()) {
    uint64_t room = 0;
    if (!wasi_io_streams_method_output_stream_check_write(stream, &room, &error)) {
      wasi_io_streams_stream_error_free(&error);
      return false;
    }
    if (room == 0) {
      wait(Pollable(wasi_io_streams_method_output_stream_subscribe(stream)));
      continue;
    }
    std::string_view piece = data.substr(0, std::min<uint64_t>(room, data.size()));
    proxy_list_u8_t list{borrow(piece).ptr, piece.size()};
    if (!wasi_io_streams_method_output_stream_write(stream, &list, &error)) {
      wasi_io_streams_stream_error_free(&error);
      return false;
    }
    data.remove_prefix(piece.size());
  }
  return true;
}

void BodyWriter::finish(Fields trailers) {
  stream_ = OutputStream();
  wasi_http_types_error_code_t error;
  const bool has_trailers = static_cast<bool>(trailers);
  wasi_http_types_own_trailers_t given = trailers.release();
  if (!wasi_http_types_static_outgoing_body_finish(body_.release(), has_trailers ? &given : nullptr, &error)) {
    wasi_http_types_error_code_free(&error);
  }
}

BodyWriter Responder::start(uint16_t status, std::string_view content_type) {
  Fields headers(wasi_http_types_constructor_fields());
  if (!content_type.empty()) {
    proxy_string_t name = borrow("content-type");
    wasi_http_types_field_value_t value{borrow(content_type).ptr, content_type.size()};
    wasi_http_types_header_error_t error;
    require(wasi_http_types_method_fields_append(wasi_http_types_borrow_fields(headers.get()), &name, &value, &error));
  }
  OutgoingResponse response(wasi_http_types_constructor_outgoing_response(headers.release()));
  auto borrowed = wasi_http_types_borrow_outgoing_response(response.get());
  if (status != 200) require(wasi_http_types_method_outgoing_response_set_status_code(borrowed, status));
  wasi_http_types_own_outgoing_body_t body;
  require(wasi_http_types_method_outgoing_response_body(borrowed, &body));
  wasi_http_types_own_output_stream_t stream;
  require(wasi_http_types_method_outgoing_body_write(wasi_http_types_borrow_outgoing_body({body}), &stream));
  wasi_http_types_result_own_outgoing_response_error_code_t answer{};
  answer.is_err = false;
  answer.val.ok = response.release();
  wasi_http_types_static_response_outparam_set(handle_.release(), &answer);
  return {OutgoingBody(body), OutputStream(stream)};
}

void Responder::send(uint16_t status, std::string_view content_type, std::string_view body) {
  BodyWriter writer = start(status, content_type);
  if (writer.write(body)) writer.finish();
}

}  // namespace wasi
