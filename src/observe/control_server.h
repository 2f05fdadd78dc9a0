// ControlServer: answers `rusm top` and its like over a Unix-domain socket.
//
// One thread of its own does everything: it accepts, reads a line, makes the report and writes it. No worker is ever
// waited for, and none waits: what a report reads is read as by Runtime::info. Whoever connects can only cost that
// thread's time, and after each report it rests as long as that took: half a core, at most.
//
// Limits: clients_max at once (more wait in the system's queue); one line of kRequestBytesMax within request_timeout;
// an answer is read within answer_timeout of its beginning, or the client is cut. Only this user and root are heard.
//
// The socket appears under its name when it listens and vanishes before it stops, so one that refuses connections
// belongs to a node that died: the next to open removes it.
#pragma once

#include <sys/types.h>

#include <memory>
#include <string>

#include "base/clock.h"
#include "base/error.h"
#include "observe/top_list.h"
#include "otp/runtime.h"

namespace rusm::observe {

struct ControlOptions {
  std::string folder = {};  // empty: control_folder() with no variable set
  std::string node = {};    // how people name this node; empty: the number of this process
  unsigned clients_max = 16;
  Nanoseconds request_timeout = kSecond;
  Nanoseconds answer_timeout = 5 * kSecond;
  // What `top` compares with when nobody has looked recently: a look this long before.
  Nanoseconds first_window = 500 * kMillisecond;
  // What `top` shows as limits that were met. Called by the server's thread until the server is gone.
  CountsSource limits = {};
};

// Threads: opened and destroyed by any thread but the runtime's workers.
class ControlServer {
 public:
  // `runtime` outlives it. Errors: kExists when a living node has the name; kDenied, kIo, kInvalid for the folder or
  // the socket; kUnavailable when there is no thread.
  static Result<std::unique_ptr<ControlServer>> open(otp::Runtime& runtime, ControlOptions options = {});
  // Cuts every client.
  ~ControlServer();
  ControlServer(const ControlServer&) = delete;
  ControlServer& operator=(const ControlServer&) = delete;

  // Of the socket.
  const std::string& path() const noexcept;

 private:
  class Impl;
  explicit ControlServer(std::unique_ptr<Impl> impl) noexcept;

  std::unique_ptr<Impl> impl_;
};

}  // namespace rusm::observe
