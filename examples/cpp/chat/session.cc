#include "session.h"

#include <rusm/otp/match.h>
#include <rusm/otp/pubsub.h>

#include <algorithm>
#include <string>
#include <string_view>
#include <utility>

#include "line_buffer.h"
#include "lobby.h"

using namespace rusm;
using namespace rusm::otp;
using rusm::net::Arrival;
using rusm::net::Connection;

namespace chat {
namespace {

constexpr std::size_t kWriteBytes = 64 << 10;  // that one write gathers
constexpr std::string_view kHelp =
    "* /name NAME, /join ROOM, /leave, /who, /msg NAME TEXT, /stats, /quit; all else is said in your room";

// How many lines may be said now: `per_second`, and `at_once` of them saved up.
class Allowance {
 public:
  Allowance(Nanoseconds now, const Limits& limits)
      : span_(kSecond / limits.lines_per_second), saved_max_(limits.lines_at_once * span_), full_at_(now) {}
  // 0: one more is allowed, and was taken. Else how long until one is.
  Nanoseconds take(Nanoseconds now) {
    full_at_ = std::max(full_at_, now);
    const Nanoseconds wait = full_at_ + span_ - now - saved_max_;
    if (wait > 0) return wait;
    full_at_ += span_;
    return 0;
  }

 private:
  const Nanoseconds span_;
  const Nanoseconds saved_max_;
  Nanoseconds full_at_;  // when everything is saved up again
};

bool is_name(std::string_view text, const Limits& limits) {
  const auto fits = [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' || c == '-';
  };
  return !text.empty() && text.size() <= limits.name_bytes_max && std::ranges::all_of(text, fits);
}

class Session {
 public:
  Session(Self& self, Connection connection, Limits limits)
      : self_(self),
        connection_(std::move(connection)),
        limits_(limits),
        lobby_(Server<Lobby>::find(self.runtime(), "lobby")),
        lines_(limits.line_bytes_max),
        allowance_(now(), limits) {}

  Task<> run() {
    self_.trap_exit(true);  // so that there is time for a last word
    (void)self_.runtime().join(kSessions, self_.pid());
    put("* welcome: /name NAME, then /join ROOM; /help for more");
    Nanoseconds idle_at = deadline_after(now(), limits_.idle);
    while (!over_) {
      take_messages();
      if (!co_await write_out() || over_) break;
      const Nanoseconds allowed_in = co_await take_lines();
      if (over_ || !out_.empty()) continue;
      if (allowed_in > 0) {  // nothing is read from who says too much; what others say still arrives
        if (std::optional<Message> message = co_await receive_for(self_, allowed_in)) take(*message);
        continue;
      }
      const Arrival arrival =
          co_await connection_.readable_or_message(self_, std::max<Nanoseconds>(0, idle_at - now()));
      if (arrival.readable) {
        const net::NetResult<net::Chunk> chunk = co_await connection_.read(self_, 0);
        if (!chunk) {  // the peer says no more, or is gone
          take_messages();
          break;
        }
        lines_.add(*chunk);
        idle_at = deadline_after(now(), limits_.idle);
      } else if (now() >= idle_at) {
        say_goodbye("* you have said nothing for a long time; good bye");
      }
    }
    (void)co_await write_out();
    (void)co_await connection_.finish(self_, limits_.write);
  }

 private:
  Nanoseconds now() const { return self_.runtime().clock().now(); }
  void put(std::string_view line) { out_.append(line).push_back('\n'); }
  void say_goodbye(std::string_view line) {
    put(line);
    over_ = true;
  }

  void take(Message& message) {
    match(
        message, [&](const Line& line) { put(*line.text); },
        [&](const Exit&) { say_goodbye("* the server is shutting down; good bye"); }, [&](const Down&) {},
        [](Message&) {});
  }

  // As much as one write takes; the rest waits in the mailbox, which is bounded.
  void take_messages() {
    while (!over_ && out_.size() < kWriteBytes) {
      std::optional<Message> message = self_.try_receive();
      if (!message) return;
      take(*message);
    }
  }

  // False when the connection is of no use any more.
  Task<bool> write_out() {
    if (out_.empty()) co_return true;
    const std::string bytes = std::exchange(out_, std::string());
    co_return (co_await connection_.write(self_, bytes, limits_.write)).has_value();
  }

  // Does what has been read, as far as it is allowed now; how long until more is.
  Task<Nanoseconds> take_lines() {
    while (!over_ && out_.size() < kWriteBytes) {
      if (!held_) held_ = lines_.next();
      if (!held_) break;
      if (const Nanoseconds wait = allowance_.take(now()); wait > 0) co_return wait;
      co_await obey(*std::exchange(held_, std::nullopt));
    }
    if (lines_.is_too_long()) {
      say_goodbye("! a line has at most " + std::to_string(limits_.line_bytes_max) + " bytes; good bye");
    }
    co_return 0;
  }

  Task<> obey(std::string line) {
    const std::size_t space = std::min(line.find(' '), line.size());
    const std::string word = line.substr(0, space);
    const std::string rest = space < line.size() ? line.substr(space + 1) : std::string();
    if (line.empty()) co_return;
    if (!line.starts_with('/')) {
      speak(line);
    } else if (word == "/name") {
      co_await take_name(rest);
    } else if (word == "/join") {
      co_await enter(rest);
    } else if (word == "/leave") {
      co_await enter("");
    } else if (word == "/who") {
      co_await list_people();
    } else if (word == "/msg") {
      co_await whisper(rest);
    } else if (word == "/stats") {
      co_await count_people();
    } else if (word == "/quit") {
      say_goodbye("* good bye");
    } else {
      put(word == "/help" ? kHelp : "! there is no " + word + "; see /help");
    }
  }

  void speak(const std::string& line) {
    if (room_.empty()) {
      put("! you are in no room: /join ROOM");
    } else {
      say(self_, room_, "<" + name_ + "> " + line);
    }
  }

  Task<> take_name(std::string name) {
    if (!is_name(name, limits_)) {
      put("! a name has 1 to " + std::to_string(limits_.name_bytes_max) + " letters, digits, - or _");
      co_return;
    }
    auto asked = lobby_.call(self_, TakeName{name});
    const std::expected<std::string, ExitReason> refused = co_await asked;
    if (!refused || !refused->empty()) {
      put("! " + (refused ? *refused : "try again: " + refused.error().to_string()));
      co_return;
    }
    name_ = name;
    put("* you are " + name_);
  }

  Task<> enter(std::string room) {
    if (name_.empty() || (!room.empty() && !is_name(room, limits_))) {
      put(name_.empty() ? "! you have no name: /name NAME" : "! that is no name for a room");
      co_return;
    }
    if (!room_.empty()) unsubscribe(self_, topic_of(room_));
    room_ = room;
    // First the ears, then the announcement: who joins hears that too.
    if (!room.empty()) (void)subscribe(self_, topic_of(room));
    auto asked = lobby_.call(self_, EnterRoom{room});
    const std::expected<Done, ExitReason> entered = co_await asked;
    if (!entered) {
      say_goodbye("! the lobby does not answer; good bye");
    } else if (room.empty()) {
      put("* you are in no room");
    }
  }

  Task<> list_people() {
    auto asked = lobby_.call(self_, WhoIsIn{room_});
    const std::expected<Names, ExitReason> people = co_await asked;
    std::string line = room_.empty() ? "! you are in no room" : "* in " + room_ + ":";
    if (people && !room_.empty()) {
      for (const std::string& name : people->names) line.append(" ").append(name);
    }
    put(line);
  }

  Task<> whisper(std::string rest) {
    const std::size_t space = rest.find(' ');
    if (name_.empty() || space == std::string::npos) {
      put(name_.empty() ? "! you have no name: /name NAME" : "! /msg NAME TEXT");
      co_return;
    }
    auto asked = lobby_.call(self_, FindPerson{rest.substr(0, space)});
    const std::expected<Pid, ExitReason> person = co_await asked;
    if (!person || !*person) {
      put("! nobody is called " + rest.substr(0, space));
      co_return;
    }
    self_.send(*person,
               Message::local(Line{std::make_shared<const std::string>("[" + name_ + "]" + rest.substr(space))}));
  }

  Task<> count_people() {
    const std::expected<PeopleCount, ExitReason> count = co_await lobby_.call(self_, CountPeople());
    if (!count) co_return;
    put("* processes " + std::to_string(self_.runtime().process_count()) + ", people " + std::to_string(count->people) +
        ", rooms " + std::to_string(count->rooms));
  }

  Self& self_;
  Connection connection_;
  const Limits limits_;
  const Server<Lobby> lobby_;
  std::string name_;
  std::string room_;
  LineBuffer lines_;
  std::optional<std::string> held_;  // was read, and is not allowed yet
  Allowance allowance_;
  std::string out_;
  bool over_ = false;
};

Routine session(Self& self, Connection connection, Limits limits) {
  Session session(self, std::move(connection), limits);
  co_await session.run();
}

}  // namespace

net::StartConnection sessions(Limits limits) {
  return [limits](Runtime& runtime, Connection connection) {
    // A reader that is too slow for its room is disconnected: its process ends when its mailbox is full.
    SpawnOptions options{.label = "session",
                         .mailbox_messages_max = limits.mailbox_messages_max,
                         .mailbox_overflow = MailboxOverflow::kExit};
    const auto start = [](Self& self, Connection owned, Limits given) {
      owned.set_owner(self.pid());
      return session(self, std::move(owned), given);
    };
    return static_cast<bool>(runtime.spawn_with(std::move(options), start, std::move(connection), limits));
  };
}

}  // namespace chat
