#include "bench/flow_workloads.h"

#include <atomic>
#include <cstring>
#include <memory>

#include "bench/bench_node.h"
#include "bench/gate.h"
#include "otp/byte_stream.h"
#include "otp/match.h"
#include "otp/pubsub.h"

namespace rusm::bench {
namespace {

using namespace rusm::otp;  // NOLINT(google-build-using-namespace): this file is about nothing else

// ── Byte streams ──

constexpr std::uint64_t kChunksBetweenClocks = 256;

Routine fills(Self& self, StreamWriter out, std::size_t chunk_bytes, Nanoseconds until) {
  for (std::uint64_t count = 1;; ++count) {
    Buffer chunk = out.buffer(chunk_bytes);
    std::memset(chunk.bytes().data(), 7, chunk.size());
    if (!co_await out.write(self, std::move(chunk))) co_return;
    if (count % kChunksBetweenClocks == 0 && self.runtime().clock().now() >= until) break;
  }
  out.finish();
}

Routine drains(Self& self, StreamReader in, std::uint64_t* bytes, bool* right, std::shared_ptr<Gate> gate) {
  for (;;) {
    const StreamReader::Chunk chunk = co_await in.read(self);
    // As the peers do: what was filled is looked at, not gone through.
    if (!chunk) break;
    *right &= chunk->back() == std::byte{7};
    *bytes += chunk->size();
  }
  gate->arrive();
}

Result<Measurement> stream(const Options& options, std::size_t chunk_bytes) {
  std::uint64_t bytes = 0;  // outlives the node, which ends its processes
  bool right = true;
  BenchNode node(options);
  const auto gate = std::make_shared<Gate>(1);
  auto [writer, reader] = open_stream(node.runtime);
  const Nanoseconds start = node.clock.now();
  node.runtime.spawn(drains, std::move(reader), &bytes, &right, gate);
  node.runtime.spawn(fills, std::move(writer), chunk_bytes, start + options.span());
  gate->wait();
  if (!right) return fail(ErrorCode::kInternal, "stream", "a chunk arrived with other bytes");
  return node.measured(static_cast<double>(bytes) / 1e6, "MB/s", start);
}

// ── Publications ──

constexpr int kSubscribers = 1'000;
constexpr int kPublications = 4'000;
constexpr int kPublicationsBetweenYields = 2;  // as many sends as a slice has reductions

struct Received {};

Routine subscriber(Self& self, Pid publisher) {
  (void)subscribe(self, "bench");
  for (;;) {
    self.send(publisher, Received());
    for (int i = 0; i < kPublications; ++i) (void)co_await receive(self);
  }
}

Routine publisher(Self& self, Nanoseconds span, std::uint64_t* deliveries, Nanoseconds* spent,
                  std::shared_ptr<Gate> gate) {
  for (int i = 0; i < kSubscribers; ++i) self.runtime().spawn(subscriber, self.pid());
  for (int i = 0; i < kSubscribers; ++i) (void)co_await receive(self);
  const Clock& clock = self.runtime().clock();
  const Nanoseconds start = clock.now();
  while (*spent < span) {
    for (int i = 0; i < kPublications; ++i) {
      publish(self, "bench", i);
      if (i % kPublicationsBetweenYields == 0) co_await yield(self);
    }
    for (int i = 0; i < kSubscribers; ++i) (void)co_await receive(self);
    *deliveries += std::uint64_t{kPublications} * kSubscribers;
    *spent = clock.now() - start;
  }
  gate->arrive();
}

}  // namespace

Result<Measurement> stream_64k(const Options& options) {
  return stream(options, 64 << 10);
}

Result<Measurement> stream_4k(const Options& options) {
  return stream(options, 4 << 10);
}

Result<Measurement> pubsub_fanout(const Options& options) {
  std::uint64_t deliveries = 0;  // outlive the node, which ends its processes
  Nanoseconds spent = 0;
  BenchNode node(options);
  const auto gate = std::make_shared<Gate>(1);
  node.runtime.spawn(publisher, options.span(), &deliveries, &spent, gate);
  gate->wait();
  return Measurement{.value = static_cast<double>(deliveries) * 1e9 / static_cast<double>(spent),
                     .unit = "deliveries/s",
                     .workers = node.runtime.workers()};
}

}  // namespace rusm::bench
