// Publish and subscribe: a topic is a group (Runtime::join), and publishing sends to each of its members.
//
//   subscribe(self, "orders");
//   const Order order = co_await receive<Order>(self);
//
//   publish(self, "orders", Order{42});   // elsewhere
//
// What one process publishes reaches each subscriber in its order. A subscription ends with its process. Who publishes
// is not waited for: what one does not keep up with waits in its mailbox, which can be bounded (SpawnOptions).
#pragma once

#include <concepts>
#include <cstddef>
#include <span>
#include <string>
#include <string_view>

#include "otp/process.h"
#include "otp/runtime.h"

namespace rusm::otp {

// kExists: it is subscribed already. kInvalid: the topic is empty or longer than Registry::kNameBytesMax.
inline Result<> subscribe(Self& self, std::string_view topic) {
  return self.runtime().join(topic, self.pid());
}
// False when it was not subscribed.
inline bool unsubscribe(Self& self, std::string_view topic) {
  return self.runtime().leave(topic, self.pid());
}

// To each process that is subscribed now, the publishing one too if it is: a copy of `value`; a std::string is a value
// like any other, literals and views go as bytes. Returns to how many. What
// is large and never changed is best published as a std::shared_ptr<const T>, which stays in its node.
template <std::copy_constructible T>
  requires(!std::is_same_v<T, Message> && !std::is_convertible_v<T, std::span<const std::byte>> &&
           (std::is_same_v<T, std::string> || !std::is_convertible_v<T, std::string_view>))
std::size_t publish(Self& self, std::string_view topic, const T& value) {
  const Groups::Members subscribers = self.runtime().members(topic);
  if (!subscribers) return 0;
  for (const Pid pid : *subscribers) {
    if constexpr (Encodable<T>) {
      self.send(pid, Message::of(T(value)));
    } else {
      self.send(pid, Message::local(T(value)));
    }
  }
  return subscribers->size();
}
inline std::size_t publish(Self& self, std::string_view topic, std::span<const std::byte> bytes) {
  const Groups::Members subscribers = self.runtime().members(topic);
  if (!subscribers) return 0;
  for (const Pid pid : *subscribers) self.send(pid, Message::of_bytes(bytes));
  return subscribers->size();
}
inline std::size_t publish(Self& self, std::string_view topic, std::string_view text) {
  return publish(self, topic, std::as_bytes(std::span(text)));
}

}  // namespace rusm::otp
