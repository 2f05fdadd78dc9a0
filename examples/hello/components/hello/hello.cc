// What `make run` serves: one plain wasi:http component whose routes show what the runtime does about a guest
// that answers, crashes, never stops, or takes all the memory it can get.

#include <cstdlib>

#include "wasi_http.h"

namespace {

constexpr std::string_view kText = "text/plain; charset=utf-8";
constexpr size_t kPieceBytesMax = 64 * 1024;

// Requests that this instance has served. Every request gets an instance of its own, so nobody ever sees a 2.
unsigned requests_served = 0;

// Builds a short text in place: a guest this small needs no heap for it.
class Text {
 public:
  Text& operator<<(std::string_view part) {
    size_t size = part.copy(data_ + size_, sizeof data_ - size_);
    size_ += size;
    return *this;
  }
  Text& operator<<(unsigned number) {
    char digits[10];
    char* begin = digits + sizeof digits;
    do *--begin = static_cast<char>('0' + number % 10);
    while (number /= 10);
    return *this << std::string_view(begin, digits + sizeof digits - begin);
  }
  std::string_view view() const { return {data_, size_}; }

 private:
  char data_[512];
  size_t size_ = 0;
};

void greet(const wasi::Request& request, wasi::Responder responder) {
  wasi::Bytes pid = request.header("x-rusm-pid");
  Text text;
  text << "Hello from process " << (pid.view().empty() ? "(unnamed)" : pid.view())
       << ", a WebAssembly instance made for this one request.\nRequests it has served: " << requests_served;
  responder.send(200, kText, text.view());
}

[[gnu::noinline]] void crash() {
  __builtin_trap();
}

[[gnu::noinline]] void spin() {
  for (volatile unsigned turns = 0;;) turns = turns + 1;
}

// Memory counts when it is touched, so each page of it is.
[[gnu::noinline]] void hog() {
  constexpr size_t kBlockBytes = 1024 * 1024;
  constexpr size_t kPageBytes = 4096;
  for (;;) {
    auto* block = static_cast<volatile char*>(std::malloc(kBlockBytes));
    if (block == nullptr) std::abort();
    for (size_t i = 0; i < kBlockBytes; i += kPageBytes) block[i] = 1;
  }
}

void echo(wasi::Request& request, wasi::Responder responder) {
  wasi::Bytes type = request.header("content-type");
  wasi::BodyReader reader = request.body();
  wasi::BodyWriter writer = responder.start(200, type.view().empty() ? "application/octet-stream" : type.view());
  wasi::Bytes piece;
  while (reader.read(kPieceBytesMax, piece)) {
    if (!writer.write(piece.view())) return;
  }
  writer.finish();
}

}  // namespace

extern "C" void exports_wasi_http_incoming_handler_handle(wasi_http_types_own_incoming_request_t request_handle,
                                                          wasi_http_types_own_response_outparam_t response_handle) {
  wasi::Request request(request_handle);
  wasi::Responder responder(response_handle);
  requests_served += 1;

  wasi::Bytes target = request.path_with_query();
  std::string_view path = target.view().substr(0, target.view().find('?'));
  if (path == "/") return greet(request, std::move(responder));
  if (path == "/echo") return echo(request, std::move(responder));
  if (path == "/crash") crash();
  if (path == "/spin") spin();
  if (path == "/hog") hog();
  responder.send(404, kText, "There is nothing here. Try /, /echo, /crash, /spin, /hog or /rust.\n");
}
