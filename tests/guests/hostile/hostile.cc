// An HTTP handler that breaks each rule it can; see ../README.md for what each path does. Where the wrapper of the
// hello example is too well behaved, the generated bindings are called directly.
#include <cstdlib>
#include <cstring>

#include "wasi_http.h"

namespace {

constexpr std::string_view kText = "text/plain";
constexpr uint64_t kMillisecondNs = 1'000'000;

proxy_string_t borrow(std::string_view text) {
  return {reinterpret_cast<uint8_t*>(const_cast<char*>(text.data())), text.size()};
}

void sleep_ns(uint64_t duration) {
  wasi::Pollable timer(wasi_clocks_monotonic_clock_subscribe_duration(duration));
  wasi_io_poll_method_pollable_block(wasi_io_poll_borrow_pollable(timer.get()));
}

bool append(const wasi::Fields& fields, std::string_view name, std::string_view value) {
  proxy_string_t key = borrow(name);
  wasi_http_types_field_value_t bytes{borrow(value).ptr, value.size()};
  wasi_http_types_header_error_t error;
  return wasi_http_types_method_fields_append(wasi_http_types_borrow_fields(fields.get()), &key, &bytes, &error);
}

void set(wasi_http_types_own_response_outparam_t out, wasi_http_types_own_outgoing_response_t response) {
  wasi_http_types_result_own_outgoing_response_error_code_t answer{};
  answer.is_err = false;
  answer.val.ok = response;
  wasi_http_types_static_response_outparam_set(out, &answer);
}

// Sends a response of these fields and status, and returns its open body.
wasi::BodyWriter open(wasi::ResponseOutparam& out, wasi::Fields fields,
                      wasi::OutgoingResponse response = wasi::OutgoingResponse()) {
  if (!response) response = wasi::OutgoingResponse(wasi_http_types_constructor_outgoing_response(fields.release()));
  wasi_http_types_own_outgoing_body_t body;
  wasi_http_types_own_output_stream_t stream;
  if (!wasi_http_types_method_outgoing_response_body(wasi_http_types_borrow_outgoing_response(response.get()), &body) ||
      !wasi_http_types_method_outgoing_body_write(wasi_http_types_borrow_outgoing_body(body), &stream)) {
    std::abort();
  }
  set(out.release(), response.release());
  return {wasi::OutgoingBody(body), wasi::OutputStream(stream)};
}

wasi::Fields no_fields() {
  return wasi::Fields(wasi_http_types_constructor_fields());
}

void say(wasi::ResponseOutparam& out, std::string_view text) {
  wasi::Responder(out.release()).send(200, kText, text);
}

void wait_for_ever(wasi::ResponseOutparam&) {
  for (;;) sleep_ns(~uint64_t{0});
}

void answer_error(wasi::ResponseOutparam& out) {
  wasi_http_types_result_own_outgoing_response_error_code_t answer{};
  answer.is_err = true;
  answer.val.err.tag = WASI_HTTP_TYPES_ERROR_CODE_HTTP_PROTOCOL_ERROR;
  wasi_http_types_static_response_outparam_set(out.release(), &answer);
}

void answer_twice(wasi::ResponseOutparam& out) {
  auto same = out.get();
  say(out, "first");
  set(same, wasi_http_types_constructor_outgoing_response(no_fields().release()));
}

void answer_after_drop(wasi::ResponseOutparam& out) {
  auto response = wasi_http_types_constructor_outgoing_response(no_fields().release());
  wasi_http_types_outgoing_response_drop_own(response);
  set(out.release(), response);
}

void trap_in_body(wasi::ResponseOutparam& out) {
  wasi::BodyWriter writer = open(out, no_fields());
  if (writer.write("a piece")) __builtin_trap();
}

void drop_body(wasi::ResponseOutparam& out) {
  open(out, no_fields()).write("a piece");
}

void trap_late(wasi::ResponseOutparam& out) {
  say(out, "complete");
  __builtin_trap();
}

void spin_late(wasi::ResponseOutparam& out) {
  say(out, "complete");
  for (volatile unsigned turns = 0;;) turns = turns + 1;
}

void lie_about_length(wasi::ResponseOutparam& out, std::string_view body) {
  wasi::Fields fields = no_fields();
  if (!append(fields, "content-length", "10")) return say(out, "refused");
  wasi::BodyWriter writer = open(out, std::move(fields));
  if (writer.write(body)) writer.finish();
}

void try_header(wasi::ResponseOutparam& out, std::string_view name, std::string_view value) {
  wasi::Fields fields = no_fields();
  if (!append(fields, name, value)) return say(out, "refused");
  wasi::BodyWriter writer = open(out, std::move(fields));
  if (writer.write("accepted")) writer.finish();
}

void set_connection_headers(wasi::ResponseOutparam& out) {
  constexpr std::string_view kHeaders[][2] = {
      {"connection", "upgrade"}, {"transfer-encoding", "chunked"}, {"upgrade", "websocket"}, {"keep-alive", "x"}};
  wasi::Fields fields = no_fields();
  bool accepted = false;
  for (const auto& [name, value] : kHeaders) accepted |= append(fields, name, value);
  if (!accepted) return say(out, "refused");
  wasi::BodyWriter writer = open(out, std::move(fields));
  if (writer.write("accepted")) writer.finish();
}

void answer_status(wasi::ResponseOutparam& out, std::string_view digits) {
  unsigned status = 0;
  for (char digit : digits) status = status * 10 + static_cast<unsigned>(digit - '0');
  wasi::OutgoingResponse response(wasi_http_types_constructor_outgoing_response(no_fields().release()));
  if (!wasi_http_types_method_outgoing_response_set_status_code(
          wasi_http_types_borrow_outgoing_response(response.get()), static_cast<uint16_t>(status))) {
    return say(out, "refused");
  }
  wasi::BodyWriter writer = open(out, wasi::Fields(), std::move(response));
  if (writer.write("a body")) writer.finish();
}

void send_big_headers(wasi::ResponseOutparam& out) {
  char value[1000];
  std::memset(value, 'v', sizeof value);
  char name[] = "x-0000";
  wasi::Fields fields = no_fields();
  for (int i = 0; i < 2000; ++i) {
    name[2] = static_cast<char>('0' + i / 1000);
    name[3] = static_cast<char>('0' + i / 100 % 10);
    name[4] = static_cast<char>('0' + i / 10 % 10);
    name[5] = static_cast<char>('0' + i % 10);
    if (!append(fields, name, {value, sizeof value})) return say(out, "refused");
  }
  wasi::BodyWriter writer = open(out, std::move(fields));
  if (writer.write("accepted")) writer.finish();
}

void flood(wasi::ResponseOutparam& out) {
  static char piece[16 * 1024];
  std::memset(piece, 'f', sizeof piece);
  wasi::BodyWriter writer = open(out, no_fields());
  while (writer.write({piece, sizeof piece})) {
  }
}

void answer_slowly(wasi::ResponseOutparam& out) {
  wasi::BodyWriter writer = open(out, no_fields());
  for (int i = 0; i < 10; ++i) {
    if (!writer.write("piece\n")) return;
    sleep_ns(20 * kMillisecondNs);
  }
  writer.finish();
}

void make_handles(wasi::ResponseOutparam&) {
  for (;;) no_fields().release();
}

void write_log(wasi::ResponseOutparam&) {
  wasi::OutputStream stream(wasi_cli_stderr_get_stderr());
  std::string_view line = "a line that nobody asked for\n";
  proxy_list_u8_t list{borrow(line).ptr, line.size()};
  wasi_io_streams_stream_error_t error;
  while (wasi_io_streams_method_output_stream_blocking_write_and_flush(
      wasi_io_streams_borrow_output_stream(stream.get()), &list, &error)) {
  }
  std::abort();
}

// Uses its frame after the call, so that no compiler makes a loop of it. No stack is deep enough for the base case.
[[gnu::noinline]] unsigned recurse(volatile unsigned* above) {
  if (*above == ~0U) return 0;
  volatile unsigned here = *above + 1;
  unsigned below = recurse(&here);
  return below + here;
}

void overflow_stack(wasi::ResponseOutparam&) {
  volatile unsigned start = 0;
  recurse(&start);
}

void ask_outside(wasi::ResponseOutparam& out) {
  auto request = wasi_http_types_constructor_outgoing_request(no_fields().release());
  proxy_string_t authority = borrow("localhost:1");
  proxy_string_t path = borrow("/");
  auto outgoing = wasi_http_types_borrow_outgoing_request(request);
  wasi_http_types_method_outgoing_request_set_authority(outgoing, &authority);
  wasi_http_types_method_outgoing_request_set_path_with_query(outgoing, &path);
  wasi_http_outgoing_handler_own_future_incoming_response_t future;
  wasi_http_outgoing_handler_error_code_t error;
  if (!wasi_http_outgoing_handler_handle(request, nullptr, &future, &error)) {
    return say(out, error.tag == WASI_HTTP_TYPES_ERROR_CODE_HTTP_REQUEST_DENIED ? "denied" : "failed");
  }
  auto borrowed = wasi_http_types_borrow_future_incoming_response(future);
  wasi::Pollable ready(wasi_http_types_method_future_incoming_response_subscribe(borrowed));
  wasi_io_poll_method_pollable_block(wasi_io_poll_borrow_pollable(ready.get()));
  wasi_http_types_result_result_own_incoming_response_error_code_void_t result;
  if (!wasi_http_types_method_future_incoming_response_get(borrowed, &result) || result.is_err) {
    return say(out, "nothing");
  }
  if (!result.val.ok.is_err) return say(out, "allowed");
  bool denied = result.val.ok.val.err.tag == WASI_HTTP_TYPES_ERROR_CODE_HTTP_REQUEST_DENIED;
  say(out, denied ? "denied" : "failed");
}

void send_trailers(wasi::ResponseOutparam& out) {
  wasi::BodyWriter writer = open(out, no_fields());
  if (!writer.write("a body")) return;
  wasi::Fields trailers = no_fields();
  append(trailers, "x-sum", "6");
  append(trailers, "content-length", "7");
  writer.finish(std::move(trailers));
}

struct Route {
  std::string_view path;
  void (*run)(wasi::ResponseOutparam&);
};

constexpr Route kRoutes[] = {
    {"/ok", [](wasi::ResponseOutparam& out) { say(out, "ok"); }},
    {"/never", wait_for_ever},
    {"/unset", [](wasi::ResponseOutparam&) {}},
    {"/error", answer_error},
    {"/twice", answer_twice},
    {"/after-drop", answer_after_drop},
    {"/body-trap", trap_in_body},
    {"/body-drop", drop_body},
    {"/trap-late", trap_late},
    {"/spin-late", spin_late},
    {"/short", [](wasi::ResponseOutparam& out) { lie_about_length(out, "short"); }},
    {"/long", [](wasi::ResponseOutparam& out) { lie_about_length(out, "longer than 10!"); }},
    {"/crlf-value", [](wasi::ResponseOutparam& out) { try_header(out, "x-a", "b\r\nx-injected: yes"); }},
    {"/crlf-name", [](wasi::ResponseOutparam& out) { try_header(out, "x-a: b\r\nx-injected", "yes"); }},
    {"/hop", set_connection_headers},
    {"/big-headers", send_big_headers},
    {"/flood", flood},
    {"/slow", answer_slowly},
    {"/early", [](wasi::ResponseOutparam& out) { say(out, "early"); }},
    {"/handles", make_handles},
    {"/log", write_log},
    {"/stack", overflow_stack},
    {"/outgoing", ask_outside},
    {"/trailers", send_trailers},
};

}  // namespace

extern "C" void exports_wasi_http_incoming_handler_handle(wasi_http_types_own_incoming_request_t request_handle,
                                                          wasi_http_types_own_response_outparam_t response_handle) {
  wasi::Request request(request_handle);
  wasi::ResponseOutparam out(response_handle);
  wasi::Bytes target = request.path_with_query();
  std::string_view path = target.view().substr(0, target.view().find('?'));
  constexpr std::string_view kStatus = "/status-";
  if (path.starts_with(kStatus)) return answer_status(out, path.substr(kStatus.size()));
  for (const Route& route : kRoutes) {
    if (path == route.path) return route.run(out);
  }
  wasi::Responder(out.release()).send(404, kText, "no such rule to break");
}
