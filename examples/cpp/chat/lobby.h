// The lobby: who is in which room. It tells a room when somebody comes or goes, however that happens: it monitors
// everybody. What is said in a room does not pass through here: a room is a topic, and who is in it subscribes to it.
#pragma once

#include <rusm/otp/server.h>

#include <map>
#include <memory>
#include <set>
#include <string>
#include <string_view>

namespace chat {

// A line for whoever is in a room, or for one of them. Everybody gets the same text, which is never copied.
struct Line {
  std::shared_ptr<const std::string> text;
};

std::string topic_of(std::string_view room);
// Says a line to all who are in the room.
void say(rusm::otp::Self& self, std::string_view room, std::string text);

// The caller is `name` from now on. Answered with an error for people, or nothing.
struct TakeName {
  using Reply = std::string;
  std::string name;
};
// The caller is in `room` from now on, and in no other; in none when that is empty. It has a name.
struct EnterRoom {
  using Reply = rusm::otp::Done;
  std::string room;
};
struct WhoIsIn {
  std::string room;
};
struct Names {
  std::vector<std::string> names;
};
struct FindPerson {
  std::string name;
};
struct CountPeople {};
struct PeopleCount {
  std::size_t people;
  std::size_t rooms;
};

class Lobby {
 public:
  using Messages = rusm::otp::Messages<TakeName, EnterRoom, WhoIsIn, FindPerson, CountPeople>;

  void on(rusm::otp::Self& self, TakeName taken, rusm::otp::ReplyTo who);
  void on(rusm::otp::Self& self, const EnterRoom& entered, rusm::otp::ReplyTo who);
  Names on(rusm::otp::Self&, const WhoIsIn& asked) const;
  rusm::otp::Pid on(rusm::otp::Self&, const FindPerson& asked) const;
  PeopleCount on(rusm::otp::Self&, CountPeople) const { return {people_.size(), rooms_.size()}; }
  void on(rusm::otp::Self& self, const rusm::otp::Down& down);

 private:
  struct Person {
    std::string name;
    std::string room;
  };

  void leave(rusm::otp::Self& self, Person& person, std::string_view how);

  std::map<rusm::otp::Pid, Person> people_;
  std::map<std::string, rusm::otp::Pid, std::less<>> names_;
  std::map<std::string, std::set<std::string>, std::less<>> rooms_;  // the names in each
};

}  // namespace chat
