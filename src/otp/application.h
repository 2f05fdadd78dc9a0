// Applications: parts of a program that start and stop as one, each a tree of supervised processes with settings, as
// OTP's.
//
//   ApplicationSpec chat{
//       .name = "chat",
//       .needs = {"accounts"},
//       .settings = {{"port", 7000}},
//       .tree = [](const Settings& settings) -> Result<SupervisorSpec> {
//         const Result<std::int64_t> port = settings.get<std::int64_t>("port");
//         if (!port) return std::unexpected(port.error());
//         return SupervisorSpec{.children = {child("listener", chat_listener, *port)}};
//       },
//   };
//   Result<Applications> running = Applications::start(runtime, {accounts, chat});
//
// They start in the order of their needs, each when those before it stand, and stop in the reverse order. Mistakes in
// their settings are found before the first one starts.
#pragma once

#include <cstdint>
#include <functional>
#include <future>
#include <initializer_list>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

#include "base/error.h"
#include "otp/supervisor.h"

namespace rusm::otp {

// Named values. Reading notes what was read, so that a name that nobody reads, a misspelt one, is an error.
// Threads: one owner at a time.
class Settings {
 public:
  using Value = std::variant<bool, std::int64_t, double, std::string>;

  Settings() = default;
  Settings(std::initializer_list<std::pair<const std::string, Value>> values) : values_(values) {}

  void set(std::string key, Value value) { values_.insert_or_assign(std::move(key), std::move(value)); }
  // T: bool, std::int64_t, double (which takes whole numbers too) or std::string.
  // Errors name the key: kNotFound when it is missing, kInvalid when it is of another type.
  template <class T>
  Result<T> get(std::string_view key) const {
    const Value* value = find(key);
    if (value == nullptr) return fail(ErrorCode::kNotFound, std::string(key), "is missing");
    if (const T* found = std::get_if<T>(value)) return *found;
    if constexpr (std::is_same_v<T, double>) {
      if (const auto* whole = std::get_if<std::int64_t>(value)) return static_cast<double>(*whole);
    }
    return fail(ErrorCode::kInvalid, std::string(key),
                std::string("must be ") + type_name(Value(T())) + ", and is " + type_name(*value));
  }
  // `otherwise` when it is missing.
  template <class T>
  Result<T> get(std::string_view key, T otherwise) const {
    if (find(key) == nullptr) return otherwise;
    return get<T>(key);
  }
  // The keys that nobody asked for, in order.
  std::vector<std::string> unread() const;
  std::vector<std::string> keys_read() const { return {read_.begin(), read_.end()}; }

 private:
  const Value* find(std::string_view key) const;
  static const char* type_name(const Value& value);

  std::map<std::string, Value, std::less<>> values_;
  mutable std::set<std::string, std::less<>> read_;
};

// What an application is: what it needs, its settings, and its tree.
struct ApplicationSpec {
  std::string name;
  std::vector<std::string> needs = {};  // names of others, which start before it
  Settings settings = {};
  // Makes its tree. Called once, before anything starts.
  std::function<Result<SupervisorSpec>(const Settings&)> tree;
  // Whether the end of its tree, as after too many restarts, is the end of all; else the others go on without it.
  bool permanent = true;
};

// What is to be supervised so that these run: a supervisor of their trees, in the order of their needs.
// Errors name the application: kInvalid, kExists, kNotFound, and those of tree().
Result<SupervisorSpec> application_tree(std::vector<ApplicationSpec> applications);

// Running applications. Threads: one owner at a time, none of them a worker; it blocks.
class Applications {
 public:
  static constexpr Nanoseconds kStopTimeout = 30 * kSecond;

  // Returns when all of them have started. Errors: as application_tree(); kUnavailable with the reason when one could
  // not start, kTimeout when that took longer than `timeout` ns; then none is left, as after stop().
  static Result<Applications> start(Runtime& runtime, std::vector<ApplicationSpec> applications,
                                    Nanoseconds timeout = kNever);
  Applications(Applications&& other) noexcept
      : runtime_(other.runtime_), root_(std::exchange(other.root_, Pid())), end_(std::move(other.end_)) {}
  Applications& operator=(Applications&&) = delete;
  // Stops them.
  ~Applications();

  // The supervisor of their trees; its children have their names.
  Pid root() const noexcept { return root_; }
  // Waits until they have ended by themselves, and says why; nothing when `timeout` ns have passed first.
  std::optional<ExitReason> wait(Nanoseconds timeout = kNever);
  // Stops them in order; what is left of their trees after `timeout` ns is killed, and the answer is kTimeout. Returns
  // when none of it lives.
  Result<> stop(Nanoseconds timeout = kStopTimeout);

 private:
  using End = std::shared_future<ExitReason>;
  Applications(Runtime& runtime, Pid root, End end) : runtime_(&runtime), root_(root), end_(std::move(end)) {}

  Runtime* runtime_;
  Pid root_;  // empty once stop() was called
  End end_;   // how the root ended
};

}  // namespace rusm::otp
