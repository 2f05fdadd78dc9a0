// ServeOptions: one HTTP server, as its owner configures it. Every limit has a name and a default.
#pragma once

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "base/clock.h"
#include "net/address.h"
#include "serve/admission.h"
#include "serve/http1_parser.h"

namespace rusm::serve {

struct RouteOptions {
  std::string pattern;  // "GET /users/:id", see router.h
  std::string handler;  // a name for the BodyFactory
};

struct ServeOptions {
  net::Address listen = {};
  std::vector<RouteOptions> routes = {};
  // Added to every response.
  std::vector<std::pair<std::string, std::string>> headers = {};

  std::uint32_t connections_max = 10'000;  // beyond it nobody is accepted until one ends
  AdmissionLimits admission = {};
  HeadLimits head = {};
  std::uint64_t body_bytes_max = 0;  // of a request's body; 0: no limit, bodies are streamed and not held
  // What is read and dropped of a body that its handler did not read, so that the connection can go on.
  std::uint64_t unread_body_bytes_max = 256 << 10;

  Nanoseconds header_timeout = 10 * kSecond;  // from the first byte of a head to its last; and to the first of all
  Nanoseconds idle_timeout = 60 * kSecond;    // between two requests
  Nanoseconds queue_timeout = kSecond;        // in line for admission
  // From the head of the request to the head of the response; after that, from one piece of its body to the next.
  Nanoseconds request_timeout = 30 * kSecond;
  Nanoseconds body_timeout = 30 * kSecond;    // without any byte from, or taken by, the client
  Nanoseconds half_closed_timeout = kSecond;  // for an answer to a client that has closed its side
  Nanoseconds linger_timeout = 2 * kSecond;   // until what the client still sends is no longer read after the end
  int retry_after_s = 1;                      // said with 503
};

}  // namespace rusm::serve
