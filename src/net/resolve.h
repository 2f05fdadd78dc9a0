// Names of hosts to addresses, without blocking a worker: the system's resolver runs on threads of otp::blocking,
// at most kLookUpsMax of them; who comes beyond waits.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "net/connection.h"

namespace rusm::net {

// Where something is reached: a name or an address, and a port. Threads: a value.
struct Endpoint {
  std::string host;
  std::uint16_t port = 0;

  // "example.com:443", "127.0.0.1:80", "[::1]:80". Errors: kInvalid.
  static Result<Endpoint> parse(std::string_view text);
  std::string to_string() const;
};

// The addresses of `host`, those that the system prefers first, at most kAddressesMax. An address is answered at once.
// Errors: kInvalid when it can be no host, kNotFound when there is none of that name, kUnavailable when the name
// servers do not answer, kTimeout. After a timeout the resolver's thread is busy until the system gives up.
inline constexpr std::size_t kAddressesMax = 16;
// So many names are looked up at once in one runtime, which leaves threads for whoever else blocks
// (RuntimeOptions::blocking_threads_max); more wait, within their timeout.
inline constexpr std::size_t kLookUpsMax = 8;
otp::Task<Result<std::vector<Address>>> resolve(otp::Self& self, std::string host, std::uint16_t port,
                                                Nanoseconds timeout = 10 * kSecond);

// The same with another source than the system's, which may block, and gives any number of addresses.
using LookUp = Result<std::vector<Address>> (*)(std::string host, std::uint16_t port);
Result<std::vector<Address>> look_up_in_system(std::string host, std::uint16_t port);
otp::Task<Result<std::vector<Address>>> resolve(otp::Self& self, std::string host, std::uint16_t port,
                                                Nanoseconds timeout, LookUp look_up);

// Resolves, and tries the addresses in order until one answers; each has its share of the time that is left. The last
// error when none does.
otp::Task<Result<Connection>> connect(otp::Self& self, Transport& transport, std::string endpoint,
                                      Nanoseconds timeout = 30 * kSecond);
otp::Task<Result<Connection>> connect(otp::Self& self, Transport& transport, std::string endpoint, Nanoseconds timeout,
                                      LookUp look_up);

}  // namespace rusm::net
