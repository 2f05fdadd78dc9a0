// Must not compile: what is sent can go to another node, and this type has no codec.
#include <rusm/otp.h>

#include <thread>

struct Job {
  std::thread thread;
};

rusm::otp::Message message() {
  return rusm::otp::Message::of(Job());
}
