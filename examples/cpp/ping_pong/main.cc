// Two processes that send a ball to and fro, in as many pairs as one likes.
//
//   ping_pong [ROUND_TRIPS [PAIRS]]
#include <rusm/otp/match.h>

#include <charconv>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <vector>

using namespace rusm::otp;

struct Ball {
  Pid from;
  std::int64_t number;
};

Routine pong(Self& self) {
  for (;;) {
    const Ball ball = co_await receive<Ball>(self);
    self.send(ball.from, Ball{self.pid(), ball.number});
  }
}

Routine ping(Self& self, std::int64_t round_trips) {
  const Spawned other = self.runtime().spawn_from(self, {.link = true}, pong);
  for (std::int64_t number = 0; number < round_trips; ++number) {
    self.send(other.pid, Ball{self.pid(), number});
    const Ball ball = co_await receive<Ball>(self);
    if (ball.number != number) co_await end(self, ExitReason::other("the wrong ball came back"));
  }
  co_await end(self, ExitReason::Kind::kShutdown);  // the other one is linked, and ends with it
}

// The argument `at`, a whole number from 1 to `max`; 0 when it is none of these.
std::int64_t number_at(int argc, char** argv, int at, std::int64_t otherwise, std::int64_t max) {
  if (argc <= at) return otherwise;
  const char* end = argv[at] + std::strlen(argv[at]);
  std::int64_t number = 0;
  const auto [rest, error] = std::from_chars(argv[at], end, number);
  return error == std::errc() && rest == end && number >= 1 && number <= max ? number : 0;
}

int main(int argc, char** argv) {
  const std::int64_t round_trips = number_at(argc, argv, 1, 1'000'000, 1'000'000'000'000);
  const std::int64_t pairs = number_at(argc, argv, 2, 1, 1'000'000);
  if (argc > 3 || round_trips == 0 || pairs == 0) {
    std::fprintf(stderr, "usage: ping_pong [ROUND_TRIPS [PAIRS]]\n");
    return 2;
  }

  rusm::SystemClock clock;
  rusm::SystemEntropy entropy;
  QuietReactorFactory reactors;
  Runtime runtime({}, {.clock = clock, .entropy = entropy, .reactors = reactors});

  const rusm::Nanoseconds begin = clock.now();
  std::vector<Pid> players;
  for (std::int64_t i = 0; i < pairs; ++i) players.push_back(runtime.spawn(ping, round_trips));
  runtime.wait_until_empty(rusm::kNever);
  const double seconds = static_cast<double>(clock.now() - begin) / rusm::kSecond;

  for (const PastExit& past : runtime.last_exits()) {
    if (past.reason.kind() == ExitReason::Kind::kShutdown) continue;
    std::fprintf(stderr, "a process ended: %s\n", past.reason.to_string().c_str());
    return 1;
  }
  const double messages = 2.0 * static_cast<double>(round_trips * pairs);
  std::printf("%lld round trips in %lld pairs of processes\n", static_cast<long long>(round_trips * pairs),
              static_cast<long long>(pairs));
  std::printf("%.0f messages in %.3f s: %.0f ns for a message\n", messages, seconds, seconds / messages * 1e9);
  return 0;
}
