// Byte streams between processes.
#include <algorithm>
#include <numeric>

#include "otp/byte_stream.h"
#include "otp/match.h"
#include "spec/fixture.h"

namespace rusm::otp::spec {
namespace {

using Kind = ExitReason::Kind;
using testing::ElementsAre;

using Notes = std::shared_ptr<Lines>;

// The byte that stands at this place of the stream.
std::byte byte_at(std::uint64_t place) {
  return static_cast<std::byte>((place * 167 + (place >> 8) * 13) & 0xff);
}

std::string name_of(StreamEnd end) {
  return end == StreamEnd::kFinished ? "finished" : end == StreamEnd::kBroken ? "broken" : "timeout";
}

struct Progress {
  std::uint64_t written = 0;
  std::uint64_t read = 0;
  std::uint64_t most_between = 0;
  std::string end;
};

Routine produces(Self& self, StreamWriter out, std::uint64_t total, std::uint64_t seed, std::shared_ptr<Progress> p) {
  Random random(seed);
  while (p->written < total) {
    Buffer chunk = out.buffer(std::min<std::uint64_t>(1 + random.below(5000), total - p->written));
    for (std::size_t i = 0; i < chunk.size(); ++i) chunk.bytes()[i] = byte_at(p->written + i);
    const std::size_t size = chunk.size();
    if (!co_await out.write(self, std::move(chunk))) co_return;
    p->written += size;
    p->most_between = std::max(p->most_between, p->written - p->read);
  }
  out.finish();
}

Routine consumes(Self& self, std::shared_ptr<Progress> p) {
  StreamReader in = co_await receive<StreamReader>(self);
  for (;;) {
    const StreamReader::Chunk chunk = co_await in.read(self);
    if (!chunk) {
      p->end = name_of(chunk.error());
      co_return;
    }
    for (const std::byte b : *chunk) {
      if (b != byte_at(p->read++)) throw std::runtime_error("wrong byte");
    }
  }
}

TEST(Streams, BytesArriveInOrderAndNeverMoreThanTheStreamHolds) {
  for_seeds(On::kOneNode, [](World& w) {
    const auto p = std::make_shared<Progress>();
    auto [writer, reader] = open_stream(w.here(), {.bytes_max = 8000, .chunks_max = 4});
    const Pid consumer = w.here().spawn(consumes, p);
    w.here().spawn(produces, std::move(writer), 100'000, w.random().below(1u << 30), p);
    w.run();
    // What is written waits, and is bounded, while nobody reads.
    EXPECT_EQ(p->read, 0u);
    EXPECT_LE(p->written, 8000u + 5000);
    w.here().send(consumer, Message::local(std::move(reader)));
    w.run();
    EXPECT_EQ(p->read, 100'000u);
    EXPECT_EQ(p->end, "finished");
    EXPECT_LE(p->most_between, 8000u + 5000);
  });
}

Routine reads(Self& self, StreamReader in, Notes notes, Nanoseconds timeout) {
  for (;;) {
    const StreamReader::Chunk chunk = co_await in.read(self, timeout);
    if (!chunk) {
      notes->push_back(name_of(chunk.error()));
      if (chunk.error() == StreamEnd::kTimeout) continue;
      co_return;
    }
    notes->push_back(std::string(reinterpret_cast<const char*>(chunk->data()), chunk->size()));
  }
}

Routine writes_and_waits(Self& self, StreamWriter out, Notes notes) {
  (void)co_await out.write(self, "one");
  (void)co_await out.write(self, "two");
  (void)co_await receive(self);
  notes->push_back(co_await out.write(self, "three") ? "taken" : "reader gone");
}

TEST(Streams, TheReaderHearsOfTheWritersDeathAfterWhatItWrote) {
  for_seeds(On::kOneNode, [](World& w) {
    const auto notes = std::make_shared<Lines>();
    auto [writer, reader] = open_stream(w.here());
    const Pid writing = w.here().spawn(writes_and_waits, std::move(writer), notes);
    const bool first = w.random().below(2) == 0;
    if (first) w.run();
    w.here().spawn(reads, std::move(reader), notes, kNever);
    w.run();
    EXPECT_THAT(*notes, ElementsAre("one", "two"));
    w.here().exit(writing, Kind::kKill);
    w.run();
    EXPECT_THAT(*notes, ElementsAre("one", "two", "broken"));
  });
}

TEST(Streams, TheWriterHearsOfTheReadersDeath) {
  for_seeds(On::kOneNode, [](World& w) {
    const auto notes = std::make_shared<Lines>();
    const auto ignored = std::make_shared<Lines>();
    auto [writer, reader] = open_stream(w.here(), {.chunks_max = 2});
    const Pid writing = w.here().spawn(writes_and_waits, std::move(writer), notes);
    const Pid reading = w.here().spawn(reads, std::move(reader), ignored, kNever);
    w.run();
    w.here().exit(reading, Kind::kKill);
    w.run();
    w.here().send(writing, Message::of_text("go on"));
    w.run();
    EXPECT_THAT(*notes, ElementsAre("reader gone"));
    EXPECT_FALSE(w.here().is_alive(writing));
  });
}

Routine fills(Self& self, StreamWriter out, Notes notes) {
  while (co_await out.write(self, "x")) {
  }
  notes->push_back("reader gone");
}

TEST(Streams, AWriterThatWaitsIsWokenByTheReadersDeathAndByALostMessage) {
  for_seeds(On::kOneNodeAndTwo, [](World& w) {
    const auto notes = std::make_shared<Lines>();
    auto [writer, reader] = open_stream(w.here(), {.bytes_max = 3});
    const Pid writing = w.here().spawn(fills, std::move(writer), notes);
    w.run();
    EXPECT_TRUE(w.here().is_alive(writing));
    EXPECT_THAT(*notes, ElementsAre());
    // To a process that is gone or, with two nodes, on another node, where a stream does not go.
    Pid nobody = w.puppet(w.there());
    w.run();
    if (!w.two_nodes()) {
      w.here().exit(nobody, Kind::kKill);
      w.run();
    }
    w.here().send(nobody, Message::local(std::move(reader)));
    w.run();
    EXPECT_THAT(*notes, ElementsAre("reader gone"));
    EXPECT_FALSE(w.here().is_alive(writing));
  });
}

TEST(Streams, AReaderCanGiveUpWaitingAndGoOnLater) {
  for_seeds(On::kOneNode, [](World& w) {
    const auto notes = std::make_shared<Lines>();
    auto [writer, reader] = open_stream(w.here());
    const Pid reading = w.here().spawn(reads, std::move(reader), notes, kSecond);
    w.run();
    w.clock().advance(1100 * kMillisecond);
    w.run();
    w.here().spawn(writes_and_waits, std::move(writer), std::make_shared<Lines>());
    w.run();
    EXPECT_THAT(*notes, ElementsAre("timeout", "one", "two"));
    w.here().exit(reading, Kind::kKill);
    w.run();
  });
}

// Answers each line, and goes on answering when the other side has finished.
Routine echoes(Self& self, Duplex side) {
  for (;;) {
    const StreamReader::Chunk chunk = co_await side.in.read(self);
    if (!chunk) break;
    if (!co_await side.out.write(self, *chunk)) co_return;
  }
  (void)co_await side.out.write(self, "bye");
  side.out.finish();
}

Routine talks(Self& self, Pid echo, Notes notes) {
  auto [mine, theirs] = open_duplex(self.runtime());
  self.send(echo, Message::local(std::move(theirs)));
  (void)co_await mine.out.write(self, "hello");
  (void)co_await mine.out.write(self, "");
  mine.out.finish();
  for (;;) {
    const StreamReader::Chunk chunk = co_await mine.in.read(self);
    if (!chunk) {
      notes->push_back(name_of(chunk.error()));
      co_return;
    }
    const Buffer kept = mine.in.take();
    notes->push_back(std::string(kept.text()));
  }
}

Routine starts_echo(Self& self) {
  Duplex side = co_await receive<Duplex>(self);
  self.runtime().spawn(echoes, std::move(side));
}

TEST(Streams, TwoMakeAConnectionOfWhichEachHalfIsFinishedByItself) {
  for_seeds(On::kOneNode, [](World& w) {
    const auto notes = std::make_shared<Lines>();
    const Pid echo = w.here().spawn(starts_echo);
    w.here().spawn(talks, echo, notes);
    w.run();
    EXPECT_THAT(*notes, ElementsAre("hello", "bye", "finished"));
    EXPECT_EQ(w.process_count(), 0u);
  });
}

// Reads a message or a chunk, whatever comes first, by looking at both.
Routine reads_both(Self& self, StreamReader in, Notes notes) {
  for (;;) {
    if (const std::optional<StreamReader::Chunk> chunk = in.try_read(self)) {
      if (!*chunk) co_return;
      notes->push_back("chunk " + std::string(reinterpret_cast<const char*>((*chunk)->data()), (*chunk)->size()));
    } else if (const std::optional<Message> message = self.try_receive()) {
      notes->push_back("message " + std::string(message->text()));
    } else {
      co_await news(self);
    }
  }
}

TEST(Streams, ChunksAndMessagesCanBeAwaitedTogether) {
  for_seeds(On::kOneNode, [](World& w) {
    const auto notes = std::make_shared<Lines>();
    auto [writer, reader] = open_stream(w.here());
    const Pid reading = w.here().spawn(reads_both, std::move(reader), notes);
    w.run();
    w.here().send(reading, Message::of_text("m"));
    w.run();
    const Pid writing = w.here().spawn(writes_and_waits, std::move(writer), std::make_shared<Lines>());
    w.run();
    EXPECT_THAT(*notes, ElementsAre("message m", "chunk one", "chunk two"));
    w.here().exit(writing, Kind::kKill);
    w.run();
    EXPECT_FALSE(w.here().is_alive(reading));
  });
}

// Writes without waiting inside, moves its end, and finishes.
Routine tries(Self& self, StreamWriter first, Notes notes) {
  StreamWriter out;
  out = std::move(first);
  int written = 0;
  while (written < 20) {
    if (out.try_write(self, Buffer::copy_of("x"))) {
      ++written;
    } else if (out.reader_gone()) {
      notes->push_back("reader gone");
      co_return;
    } else {
      co_await news(self);
    }
  }
  out.finish();
  notes->push_back(co_await out.write(self, "late") ? "taken" : "not taken");
}

Routine counts_bytes(Self& self, StreamReader in, Notes notes) {
  std::size_t bytes = 0;
  for (;;) {
    const StreamReader::Chunk chunk = co_await in.read(self);
    if (!chunk) {
      notes->push_back(std::to_string(bytes) + " " + name_of(chunk.error()));
      co_return;
    }
    bytes += chunk->size();
  }
}

TEST(Streams, CanBeWrittenWithoutWaitingAndNotAfterTheirEnd) {
  for_seeds(On::kOneNode, [](World& w) {
    const auto notes = std::make_shared<Lines>();
    auto [writer, reader] = open_stream(w.here(), {.bytes_max = 3, .chunks_max = 4});
    w.here().spawn(tries, std::move(writer), notes);
    w.here().spawn(counts_bytes, std::move(reader), notes);
    w.run();
    EXPECT_THAT(*notes, testing::UnorderedElementsAre("not taken", "20 finished"));
  });
}

TEST(Streams, AnEndThatIsReplacedIsGone) {
  for_seeds(On::kOneNode, [](World& w) {
    const auto notes = std::make_shared<Lines>();
    StreamEnds one = open_stream(w.here());
    StreamEnds two = open_stream(w.here());
    w.here().spawn(counts_bytes, std::move(one.reader), notes);
    w.run();
    one.writer = std::move(two.writer);
    w.run();
    EXPECT_THAT(*notes, ElementsAre("0 broken"));
  });
}

TEST(Streams, UsedMemoryIsKeptWithinTheLimit) {
  for_seeds(On::kOneNode, [](World& w) {
    struct Large {
      static Routine body(Self& self, StreamWriter out) {
        for (int i = 0; i < 64; ++i) (void)co_await out.write(self, Buffer::of_size(1000));
        // What it gets back is what was kept: 4 of them, the others are new.
        out.finish();
      }
    };
    auto [writer, reader] = open_stream(w.here(), {.bytes_max = 4096, .chunks_max = 64});
    const auto notes = std::make_shared<Lines>();
    const auto state = std::make_shared<StreamReader>(std::move(reader));
    w.here().spawn(Large::body, std::move(writer));
    struct Reads {
      static Routine body(Self& self, std::shared_ptr<StreamReader> in) {
        while (co_await in->read(self)) {
        }
      }
    };
    w.here().spawn(Reads::body, state);
    w.run();
    EXPECT_LE(state->bytes_kept(), 4096u);
    EXPECT_GT(state->bytes_kept(), 2000u);
  });
}

TEST(Streams, MemoryGoesRound) {
  for_seeds(On::kOneNode, [](World& w) {
    auto [writer, reader] = open_stream(w.here(), {.bytes_max = 4096, .chunks_max = 4});
    const auto addresses = std::make_shared<std::vector<const std::byte*>>();
    const auto p = std::make_shared<Progress>();
    const Pid consumer = w.here().spawn(consumes, p);
    struct Fill {
      static Routine body(Self& self, StreamWriter out, std::shared_ptr<std::vector<const std::byte*>> seen) {
        std::uint64_t place = 0;
        for (int i = 0; i < 200; ++i) {
          Buffer chunk = out.buffer(1024);
          seen->push_back(chunk.bytes().data());
          for (std::byte& b : chunk.bytes()) b = byte_at(place++);
          (void)co_await out.write(self, std::move(chunk));
        }
        out.finish();
      }
    };
    w.here().spawn(Fill::body, std::move(writer), addresses);
    w.here().send(consumer, Message::local(std::move(reader)));
    w.run();
    EXPECT_EQ(p->end, "finished");
    std::ranges::sort(*addresses);
    addresses->erase(std::unique(addresses->begin(), addresses->end()), addresses->end());
    EXPECT_LE(addresses->size(), 12u);
  });
}

TEST(Streams, ManyBetweenThreads) {
  SystemClock clock;
  SystemEntropy entropy;
  QuietReactorFactory reactors;
  constexpr int kStreams = 40;
  constexpr std::uint64_t kBytes = 300'000;
  std::vector<std::shared_ptr<Progress>> all;
  {
    Runtime runtime({.workers = 4}, {.clock = clock, .entropy = entropy, .reactors = reactors});
    for (int i = 0; i < kStreams; ++i) {
      // Written by one side each: what the producer notes the consumer must not touch.
      auto written = std::make_shared<Progress>();
      auto read = std::make_shared<Progress>();
      auto [writer, reader] = open_stream(runtime, {.bytes_max = 20'000, .chunks_max = 8});
      const Pid consumer = runtime.spawn(consumes, read);
      runtime.spawn(produces, std::move(writer), kBytes, static_cast<std::uint64_t>(i), written);
      runtime.send(consumer, Message::local(std::move(reader)));
      all.push_back(std::move(read));
    }
    ASSERT_TRUE(runtime.wait_until_empty(60 * kSecond));
  }
  for (const auto& p : all) {
    EXPECT_EQ(p->read, kBytes);
    EXPECT_EQ(p->end, "finished");
  }
}

}  // namespace
}  // namespace rusm::otp::spec
