// For serve's tests: a server on a simulated network in a deterministic runtime, and its clients. Not part of the
// library.
#pragma once

#include <gtest/gtest.h>

#include <cstdlib>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>
#include <vector>

#include "net/simulated_transport.h"
#include "serve/native_handler.h"
#include "serve/server.h"

namespace rusm::serve {

// Everything that is logged, as text.
class TestLog {
 public:
  explicit TestLog(const Clock& clock)
      : log_({.level = LogLevel::kDebug}, clock, [this](std::string_view lines) {
          const std::scoped_lock lock(mutex_);
          text_ += lines;
        }) {}
  Log& log() noexcept { return log_; }
  std::string text() {
    log_.flush();
    const std::scoped_lock lock(mutex_);
    return text_;
  }

 private:
  std::mutex mutex_;
  std::string text_;
  Log log_;
};

// One end of a simulated connection, driven by the test.
class TestClient {
 public:
  TestClient(otp::Runtime& runtime, std::unique_ptr<net::Stream> stream)
      : runtime_(runtime), stream_(std::move(stream)) {}

  // Sends all of it, letting the server run when the connection is full, and then lets it run.
  void send(std::string_view text) {
    while (!text.empty()) {
      const std::span<const std::byte> pieces[] = {std::as_bytes(std::span(text))};
      const net::IoResult put = stream_->try_write(pieces);
      if (put.status == net::Io::kBroken) break;
      text.remove_prefix(put.bytes);
      runtime_.run_until_idle();
    }
    runtime_.run_until_idle();
  }
  // What has come since the last call.
  std::string read() {
    std::string text;
    for (;;) {
      runtime_.run_until_idle();
      std::string piece(4096, '\0');
      const net::IoResult got = stream_->try_read(std::as_writable_bytes(std::span(piece)));
      text.append(piece, 0, got.bytes);
      if (got.status == net::Io::kWouldBlock) return text;
      if (got.status == net::Io::kFinished) finished_ = true;
      if (got.status == net::Io::kBroken) broken_ = true;
      if (got.status != net::Io::kDone) return text;
    }
  }
  std::string ask(std::string_view text) {
    send(text);
    return read();
  }
  // After read(): the server sends no more, in good order or by a reset.
  bool finished() const { return finished_; }
  bool broken() const { return broken_; }
  void shutdown_write() {
    stream_->shutdown_write();
    runtime_.run_until_idle();
  }
  void close() {
    stream_.reset();
    runtime_.run_until_idle();
  }
  void reset() {
    stream_->reset_on_close();
    close();
  }

 private:
  otp::Runtime& runtime_;
  std::unique_ptr<net::Stream> stream_;
  bool finished_ = false;
  bool broken_ = false;
};

inline std::string get(std::string_view path, std::string_view lines = "") {
  return "GET " + std::string(path) + " HTTP/1.1\r\nHost: a\r\n" + std::string(lines) + "\r\n";
}
inline std::string post(std::string_view path, std::string_view body, std::string_view lines = "") {
  return "POST " + std::string(path) + " HTTP/1.1\r\nHost: a\r\nContent-Length: " + std::to_string(body.size()) +
         "\r\n" + std::string(lines) + "\r\n" + std::string(body);
}
// The status of a response's first line, 0 when there is none.
inline int status_of(std::string_view response) {
  return response.starts_with("HTTP/1.1 ") ? std::stoi(std::string(response.substr(9, 3))) : 0;
}
inline std::string body_of(std::string_view response) {
  const std::size_t end = response.find("\r\n\r\n");
  return end == std::string_view::npos ? std::string() : std::string(response.substr(end + 4));
}
inline int count_of(std::string_view text, std::string_view part) {
  int count = 0;
  for (std::size_t at = text.find(part); at != std::string_view::npos; at = text.find(part, at + 1)) ++count;
  return count;
}

// RUSM_TEST_SEED=N explores another interleaving.
inline std::uint64_t test_seed() {
  const char* text = std::getenv("RUSM_TEST_SEED");
  return text == nullptr ? 3 : std::strtoull(text, nullptr, 10);
}

class ServeWorld : public testing::Test {
 protected:
  static constexpr std::uint16_t kPort = 80;

  ~ServeWorld() override {
    server_.reset();
    runtime_.run_until_idle();
  }

  // `handler` takes every request unless the options name routes.
  void serve(NativeHandler handler, ServeOptions options = {}, net::SimulatedNetworkOptions network = {}) {
    handlers_.add("handler", std::move(handler));
    if (options.routes.empty()) options.routes = {{"/*", "handler"}};
    options.listen = net::Address::ipv4(0x7f000001, kPort);
    network_ = std::make_unique<net::SimulatedTransport>(runtime_, network);
    auto server = Server::start(runtime_, *network_, handlers_, std::move(options));
    ASSERT_TRUE(server) << server.error().to_string();
    server_ = std::move(*server);
    runtime_.run_until_idle();
  }
  TestClient connect() {
    auto stream = network_->connect(net::Address::ipv4(0x7f000001, kPort));
    runtime_.run_until_idle();
    return TestClient(runtime_, std::move(*stream));
  }
  // A little more than `span`: a timer may be late by one tick of its wheel.
  void advance(Nanoseconds span) {
    clock_.advance(span + kMillisecond);
    runtime_.run_until_idle();
  }
  std::uint64_t counted(Count what) const { return server_->counters()[what]; }
  // How many processes live beside the acceptor.
  std::size_t processes() const { return runtime_.process_count() - 1; }

  SimulatedClock clock_;
  SeededEntropy entropy_{7};
  TestLog log_{clock_};
  otp::QuietReactorFactory reactors_;
  NativeHandlers handlers_;
  otp::Runtime runtime_{{.deterministic_seed = test_seed()},
                        {.clock = clock_, .entropy = entropy_, .reactors = reactors_, .log = &log_.log()}};
  std::unique_ptr<net::SimulatedTransport> network_;
  std::unique_ptr<Server> server_;
};

}  // namespace rusm::serve
