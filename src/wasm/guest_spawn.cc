// GuestActor's part that starts processes.
#include <fmt/format.h>

#include "otp/runtime.h"
#include "otp/supervisor.h"
#include "wasm/bridge.h"
#include "wasm/capability_order.h"
#include "wasm/engine.h"
#include "wasm/guest_actor.h"
#include "wasm/guest_factory.h"

namespace rusm::wasm {
namespace {

// Supervisors wait between restarts, so that a child that cannot live costs little.
constexpr otp::Backoff kPatience = {.first = kMillisecond, .max = kSecond, .quiet = 10 * kSecond};
// A limit beyond this is none: it is not worth remembering so many.
constexpr std::uint32_t kRestartsMax = 1000;
constexpr double kFactorMax = 100;
constexpr std::uint64_t kShutdownMs = 5000;

std::uint32_t slots_of(const otp::BodyMaker& maker) {
  const auto* guest = dynamic_cast<const GuestMaker*>(&maker);
  return guest == nullptr ? 0 : guest->program().needs().most();
}

std::string full_text(const Family& family) {
  return fmt::format("the family may have {} processes and {} of the engine's instances, and has no room for more",
                     family.processes_max(), family.slots_max());
}

// A body in its family. A native one has no place of its own: its process holds it.
struct Made {
  otp::BodyPtr body;
  std::optional<FamilyPlace> place;
};

Result<Made> make_child(otp::BodyMaker& maker, const Ref<Family>& family, std::string_view component,
                        GuestStart start) {
  FamilyPlace place = FamilyPlace::take(family, slots_of(maker));
  if (!place) return fail(ErrorCode::kLimit, std::string(component), full_text(*family));
  Made made;
  auto* guest = dynamic_cast<GuestMaker*>(&maker);
  Result<otp::BodyPtr> body = guest != nullptr ? guest->make_child(std::move(place), std::move(start))
                                               : maker.make({.bytes = start.argument, .attachment = {}});
  if (!body) return std::unexpected(std::move(body.error()));
  made.body = std::move(*body);
  if (guest == nullptr) made.place.emplace(std::move(place));
  return made;
}

// Its process. REQUIRES: in `options` what the child's kind does not say.
otp::Spawned launch(otp::Process& parent, otp::BodyMaker& maker, Made made, otp::SpawnOptions options) {
  maker.limit(options);
  if (made.place) options.on_exit = [place = std::move(*made.place)](otp::Pid, const otp::ExitReason&) {};
  return parent.runtime().spawn_from(parent, std::move(made.body), std::move(options));
}

// A child of a supervisor, whose first body is there already: so it has its room, and the others have theirs.
otp::ChildSpec child_of(std::string component, std::shared_ptr<otp::BodyMaker> maker, Ref<Family> family,
                        GuestStart start, Made made) {
  otp::ChildSpec spec;
  auto first = std::make_shared<std::optional<Made>>(std::move(made));
  spec.start = [component = std::move(component), maker = std::move(maker), family = std::move(family),
                start = std::move(start),
                first = std::move(first)](otp::Self& supervisor, otp::SpawnOptions options) -> Result<otp::Spawned> {
    Result<Made> made = *first ? Result<Made>(std::move(**first)) : make_child(*maker, family, component, start);
    first->reset();
    if (!made) return std::unexpected(std::move(made.error()));
    options.label = component;
    return launch(supervisor, *maker, std::move(*made), std::move(options));
  };
  return spec;
}

otp::Strategy strategy_of(std::uint32_t strategy) {
  if (strategy == 1) return otp::Strategy::kOneForAll;
  return strategy == 2 ? otp::Strategy::kRestForOne : otp::Strategy::kOneForOne;
}

Nanoseconds shutdown_of(std::uint64_t ms) {
  return ms == RUSM_SHUTDOWN_INFINITY ? kNever : from_ms(ms);
}

otp::Restart restart_of(std::uint32_t restart) {
  if (restart == 1) return otp::Restart::kTransient;
  return restart == 2 ? otp::Restart::kTemporary : otp::Restart::kPermanent;
}

// As a supervisor without a limit of restarts.
void restart_for_ever(otp::SupervisorSpec* spec) {
  spec->restarts_max = UINT32_MAX;
  spec->window = kMillisecond;  // what nobody counts need not be remembered
}

GuestStart start_of(rusm_bytes argument, bool has_name, rusm_bytes name) {
  const std::span<const std::byte> bytes = span_of(argument);
  return {.argument = {bytes.begin(), bytes.end()}, .name = has_name ? std::string(text_of(name)) : std::string()};
}

}  // namespace

Result<std::shared_ptr<otp::BodyMaker>> GuestActor::check_spawn(std::string_view component) {
  const std::string& own = program_.name();
  if (!rights().spawn) {
    return fail(ErrorCode::kDenied, std::string(component), fmt::format("spawn denied: {} needs allow-spawn", own));
  }
  if (!rights().may_spawn(component)) {
    return fail(ErrorCode::kDenied, std::string(component),
                fmt::format("spawn denied: {} may start other components, but not this one", own));
  }
  std::shared_ptr<otp::BodyMaker> maker = services_.factory == nullptr ? nullptr : services_.factory->find(component);
  if (maker == nullptr) {
    return fail(ErrorCode::kNotFound, std::string(component), "unknown component: the node has none of this name");
  }
  if (const auto* guest = dynamic_cast<const GuestMaker*>(maker.get())) {
    if (const auto more = excess(guest->program().capabilities(), program_.capabilities())) {
      return fail(ErrorCode::kDenied, std::string(component),
                  fmt::format("spawn denied: it may {}, which {} may not", *more, own));
    }
  } else if (rights().spawn_only.empty()) {
    return fail(ErrorCode::kDenied, std::string(component),
                fmt::format("spawn denied: it is not a component; {} may start it only by name", own));
  }
  return maker;
}

// What a process is to be given at its start.
Result<> GuestActor::check_start(std::string_view component, bool has_name, std::string_view name,
                                 std::size_t argument_bytes) {
  if (has_name && (is_reserved(name) || !otp::Registry::is_valid(name))) {
    return fail(ErrorCode::kDenied, std::string(component),
                fmt::format("the name \"{}\" is none that a guest can register", name));
  }
  if (argument_bytes > limits().message_bytes_max) {
    return fail(ErrorCode::kLimit, std::string(component),
                fmt::format("an argument of {} bytes; {} are allowed", argument_bytes, limits().message_bytes_max));
  }
  return {};
}

rusm_call GuestActor::refuse_child(const Error& error) {
  if (error.code == ErrorCode::kLimit) program_.engine().limits().count(Limit::kProcesses);
  return refuse(error.to_string());
}

rusm_call GuestActor::spawn_from(std::string_view component, std::string_view source) noexcept {
  const std::string_view scheme = source.substr(0, source.find(':'));
  return refuse(fmt::format("spawn denied: {}: this node runs no code from {}; it loads its components at the start",
                            component, scheme.empty() ? "elsewhere" : cut(scheme, kLabelBytesMax)));
}

rusm_call GuestActor::spawn(std::string_view component, std::uint64_t* pid) noexcept {
  rusm_spawn what{};
  what.component = to_bytes(component);
  std::uint64_t monitor = 0;
  return spawn_with(what, pid, &monitor);
}

rusm_call GuestActor::spawn_with(const rusm_spawn& what, std::uint64_t* pid, std::uint64_t* monitor) noexcept {
  const std::string_view component = text_of(what.component);
  const Result<std::shared_ptr<otp::BodyMaker>> maker = check_spawn(component);
  if (!maker) return refuse(maker.error().to_string());
  const Result<> fine = check_start(component, what.has_name, text_of(what.name), what.argument.len);
  if (!fine) return refuse(fine.error().to_string());
  if (const rusm_call full = hears_too_much(); full != RUSM_CALL_OK) return full;
  if ((what.link || what.monitor) && !has_monitor_room()) return monitors_are_full();
  GuestStart start = start_of(what.argument, what.has_name, what.name);
  otp::SpawnOptions options;
  options.label = what.has_label && what.label.len != 0 ? std::string(cut(text_of(what.label), kLabelBytesMax))
                                                        : std::string(component);
  options.name = start.name;
  options.link = what.link;
  options.monitor = what.monitor;
  Result<Made> made = make_child(**maker, place_.family(), component, std::move(start));
  if (!made) return refuse_child(made.error());
  const otp::Spawned child = launch(*self_, **maker, std::move(*made), std::move(options));
  if (!child.pid) {
    const bool is_taken = what.has_name && runtime_.whereis(text_of(what.name));
    return refuse(is_taken ? fmt::format("{}: the name \"{}\" is taken", component, text_of(what.name))
                           : fmt::format("{}: the node has no room for another process", component));
  }
  if (what.link) more().links.insert(child.pid);
  if (what.monitor) more().monitors.insert(child.reference);
  *pid = child.pid.raw();
  *monitor = child.reference;
  return RUSM_CALL_OK;
}

// With all of its children, or not at all: a supervisor whose first start fails takes its guest along.
Result<otp::ChildSpec> GuestActor::make_supervised(const rusm_child& child) {
  const std::string_view component = text_of(child.component);
  Result<std::shared_ptr<otp::BodyMaker>> maker = check_spawn(component);
  if (!maker) return std::unexpected(std::move(maker.error()));
  const Result<> fine = check_start(component, child.has_name, text_of(child.name), child.argument.len);
  if (!fine) return std::unexpected(fine.error());
  GuestStart start = start_of(child.argument, child.has_name, child.name);
  Result<Made> made = make_child(**maker, place_.family(), component, start);
  if (!made) return std::unexpected(std::move(made.error()));
  std::string name = start.name;
  otp::ChildSpec spec =
      child_of(std::string(component), std::move(*maker), place_.family(), std::move(start), std::move(*made));
  spec.id = text_of(child.id);
  spec.restart = restart_of(child.restart);
  spec.shutdown = shutdown_of(child.shutdown_ms);
  spec.name = std::move(name);
  return spec;
}

rusm_call GuestActor::start_supervisor(std::span<const rusm_child> children, otp::SupervisorSpec spec,
                                       std::uint64_t* pid) {
  if (!rights().spawn) return refuse(fmt::format("supervise denied: {} needs allow-spawn", program_.name()));
  if (children.size() > limits().children_max) {
    return refuse(fmt::format("a supervisor has at most {} children", limits().children_max));
  }
  if (!has_monitor_room()) return monitors_are_full();
  FamilyPlace place = FamilyPlace::take(place_.family(), 0);
  if (!place) return refuse_child(Error{ErrorCode::kLimit, "supervise denied", full_text(*place_.family())});
  for (const rusm_child& child : children) {
    Result<otp::ChildSpec> made = make_supervised(child);
    if (!made) return refuse_child(made.error());
    spec.children.push_back(std::move(*made));
  }
  if (const Result<> fine = otp::validate(spec); !fine) return refuse(fine.error().to_string());
  otp::SpawnOptions options;
  options.label = fmt::format("supervisor of {}", program_.name());
  options.link = true;
  options.on_exit = [place = std::move(place)](otp::Pid, const otp::ExitReason&) {};
  const otp::Spawned supervisor = runtime_.spawn_from(*self_, std::move(options), otp::supervise, std::move(spec));
  if (!supervisor.pid) return refuse("the node has no room for another process");
  more().links.insert(supervisor.pid);
  *pid = supervisor.pid.raw();
  return RUSM_CALL_OK;
}

rusm_call GuestActor::supervise(const rusm_supervision& what, std::uint64_t* pid) noexcept {
  otp::SupervisorSpec spec;
  spec.strategy = strategy_of(what.strategy);
  spec.backoff = kPatience;
  spec.restarts_max = what.restarts_max;
  spec.window = what.within_ms == 0 ? kNever : from_ms(what.within_ms);
  if (what.restarts_max == 0 || what.restarts_max > kRestartsMax) restart_for_ever(&spec);
  const std::size_t count = std::min<std::size_t>(what.child_count, std::size_t{limits().children_max} + 1);
  std::vector<std::string> ids;
  std::vector<rusm_child> children;
  ids.reserve(count);
  for (const rusm_bytes& name : std::span(what.children, count)) {
    ids.push_back(fmt::format("{} {}", ids.size() + 1, text_of(name)));
    children.push_back({.id = to_bytes(ids.back()),
                        .component = name,
                        .restart = 0,
                        .shutdown_ms = kShutdownMs,
                        .has_name = false,
                        .name = {},
                        .argument = {}});
  }
  return start_supervisor(children, std::move(spec), pid);
}

rusm_call GuestActor::supervise_with(const rusm_supervisor& what, std::uint64_t* pid) noexcept {
  otp::SupervisorSpec spec;
  spec.strategy = strategy_of(what.strategy);
  spec.backoff = kPatience;
  if (what.has_backoff) {
    spec.backoff->first = from_ms(what.first_ms);
    spec.backoff->max = from_ms(what.max_ms);
    spec.backoff->factor = what.factor;
    spec.backoff->quiet = from_ms(what.quiet_ms);
    if (!(what.factor <= kFactorMax)) return refuse("backoff.factor: must be from 1 to 100");
  }
  if (what.has_intensity) {
    if (what.restarts > kRestartsMax) return refuse(fmt::format("intensity.restarts: at most {}", kRestartsMax));
    spec.restarts_max = what.restarts;
    spec.window = from_ms(what.within_ms);
  } else {
    restart_for_ever(&spec);
  }
  return start_supervisor({what.children, what.child_count}, std::move(spec), pid);
}

}  // namespace rusm::wasm
