#include "lobby.h"

#include <rusm/otp/pubsub.h>

#include <utility>

using namespace rusm::otp;

namespace chat {

std::string topic_of(std::string_view room) {
  return "chat/" + std::string(room);
}

void say(Self& self, std::string_view room, std::string text) {
  publish(self, topic_of(room), Line{std::make_shared<const std::string>(std::move(text))});
}

void Lobby::on(Self& self, TakeName taken, ReplyTo who) {
  if (names_.contains(taken.name)) {
    self.reply(who, Message::of(taken.name + " is taken"));
    return;
  }
  const auto [at, is_new] = people_.try_emplace(who.caller);
  Person& person = at->second;
  if (is_new) {
    self.monitor(who.caller);
  } else {
    names_.erase(person.name);
  }
  if (!person.room.empty()) {
    say(self, person.room, "* " + person.name + " is now " + taken.name);
    rooms_[person.room].erase(person.name);
    rooms_[person.room].insert(taken.name);
  }
  names_[taken.name] = who.caller;
  person.name = std::move(taken.name);
  self.reply(who, Message::of(std::string()));
}

void Lobby::on(Self& self, const EnterRoom& entered, ReplyTo who) {
  const auto found = people_.find(who.caller);
  if (found != people_.end()) {
    Person& person = found->second;
    if (!person.room.empty()) leave(self, person, "has left");
    person.room = entered.room;
    if (!person.room.empty()) {
      rooms_[person.room].insert(person.name);
      say(self, person.room, "* " + person.name + " has joined");
    }
  }
  self.reply(who, Message::of(Done()));
}

Names Lobby::on(Self&, const WhoIsIn& asked) const {
  const auto found = rooms_.find(asked.room);
  return found == rooms_.end() ? Names() : Names{{found->second.begin(), found->second.end()}};
}

Pid Lobby::on(Self&, const FindPerson& asked) const {
  const auto found = names_.find(asked.name);
  return found == names_.end() ? Pid() : found->second;
}

void Lobby::on(Self& self, const Down& down) {
  const auto found = people_.find(down.from);
  if (found == people_.end()) return;
  if (!found->second.room.empty()) leave(self, found->second, down.reason.is_normal() ? "has left" : "was cut off");
  names_.erase(found->second.name);
  people_.erase(found);
}

void Lobby::leave(Self& self, Person& person, std::string_view how) {
  const auto room = rooms_.find(person.room);
  room->second.erase(person.name);
  if (room->second.empty()) rooms_.erase(room);
  say(self, person.room, "* " + person.name + " " + std::string(how));
  person.room.clear();
}

}  // namespace chat
