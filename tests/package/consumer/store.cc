// Built with what pkg-config says, without CMake.
#include <rusm/kv.h>
#include <rusm/otp.h>

#include <cstdio>

int main() {
  rusm::kv::MemoryKvStore store;
  const rusm::Result<> refused = store.set("fruit", "", "a key is not empty");
  std::printf("%s\n", refused ? "taken" : rusm::name_of(refused.error().code).data());
  (void)store.set("fruit", "apple", "red");
  std::printf("%s\n", store.get("fruit", "apple")->value_or("none").c_str());

  rusm::SimulatedClock clock;
  rusm::SystemEntropy entropy;
  rusm::otp::QuietReactorFactory reactors;
  rusm::otp::Runtime runtime({.deterministic_seed = 1}, {clock, entropy, reactors});
  runtime.spawn([](rusm::otp::Self& self) -> rusm::otp::Routine {
    co_await rusm::otp::sleep(self, rusm::kSecond);
    std::puts("a second later");
  });
  runtime.run_until_idle(&clock);
}
