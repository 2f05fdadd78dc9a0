// Must not compile with g++ 12, which would destroy the request's text twice.
#include <rusm/otp.h>

#include <string>

struct Ask {
  std::string text;
};

rusm::otp::Routine body(rusm::otp::Self& self, rusm::otp::Pid server) {
  (void)co_await rusm::otp::call<int>(self, server, Ask{"text"});
}
