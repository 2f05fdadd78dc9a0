// OneAnswer: a server on loopback for one connection.
#pragma once

#include <arpa/inet.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <chrono>
#include <mutex>
#include <string>
#include <string_view>
#include <thread>

namespace rusm::wasm {

// A listening socket on a free port, which `port` tells.
inline int listen_on_loopback(std::uint16_t* port) {
  const int listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t size = sizeof address;
  EXPECT_EQ(bind(listener, reinterpret_cast<sockaddr*>(&address), size), 0);
  EXPECT_EQ(listen(listener, 1), 0);
  getsockname(listener, reinterpret_cast<sockaddr*>(&address), &size);
  *port = ntohs(address.sin_port);
  return listener;
}

// Answers one request; tells what it got. Threads: its maker, and one of its own.
class OneAnswer {
 public:
  // Answers once `until` has come: a client that has its answer owes nobody the rest of its request.
  explicit OneAnswer(std::string answer, std::string until = "\r\n\r\n")
      : until_(std::move(until)), listener_(listen_on_loopback(&port_)) {
    thread_ = std::thread([this, answer = std::move(answer)] { serve(answer); });
  }
  ~OneAnswer() {
    shutdown(listener_, SHUT_RDWR);  // ends a wait for a client that never came
    thread_.join();
    close(listener_);
  }

  std::uint16_t port() const { return port_; }
  std::string url() const { return "http://127.0.0.1:" + std::to_string(port_) + "/there?now"; }
  // What the client sent up to the end of `until`.
  std::string received(std::string_view until) {
    const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(30);
    for (;;) {
      {
        const std::lock_guard lock(mutex_);
        if (got_.find(until) != std::string::npos || std::chrono::steady_clock::now() > deadline) return got_;
      }
      std::this_thread::yield();
    }
  }

 private:
  void serve(const std::string& answer) {
    const int client = accept(listener_, nullptr, nullptr);
    if (client < 0) return;
    char buffer[4096];
    bool answered = false;
    for (ssize_t n; (n = recv(client, buffer, sizeof buffer, 0)) > 0;) {
      const std::lock_guard lock(mutex_);
      got_.append(buffer, static_cast<std::size_t>(n));
      if (!answered && got_.find(until_) != std::string::npos) {
        answered = true;
        (void)send(client, answer.data(), answer.size(), MSG_NOSIGNAL);
      }
    }
    close(client);
  }

  const std::string until_;
  std::uint16_t port_ = 0;
  const int listener_;
  std::mutex mutex_;
  std::string got_;
  std::thread thread_;
};

}  // namespace rusm::wasm
