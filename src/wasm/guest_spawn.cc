// GuestActor's part that starts processes.
#include <fmt/format.h>

#include "otp/runtime.h"
#include "otp/supervisor.h"
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

std::uint32_t slots_of(const otp::BodyMaker& maker) {
  const auto* guest = dynamic_cast<const GuestMaker*>(&maker);
  return guest == nullptr ? 0 : guest->program().slots_needed();
}

std::string full_text(const Family& family) {
  return fmt::format("the family may have {} processes and {} of the engine's instances, and has no room for more",
                     family.processes_max(), family.slots_max());
}

// A body of `maker` in `family`, and the options for its process.
Result<otp::BodyPtr> make_child(otp::BodyMaker& maker, const Ref<Family>& family, std::string_view component,
                                otp::SpawnOptions* options) {
  FamilyPlace place = FamilyPlace::take(family, slots_of(maker));
  if (!place) return fail(ErrorCode::kLimit, std::string(component), full_text(*family));
  options->label = component;
  maker.limit(*options);
  if (auto* guest = dynamic_cast<GuestMaker*>(&maker)) {
    return guest->make_child(std::move(place));
  }
  // A native body has no place of its own; its process holds it.
  options->on_exit = [place = std::move(place)](otp::Pid, const otp::ExitReason&) {};
  return maker.make({});
}

otp::ChildSpec child_of(std::string id, std::string component, std::shared_ptr<otp::BodyMaker> maker,
                        Ref<Family> family) {
  otp::ChildSpec spec;
  spec.id = std::move(id);
  spec.start = [component = std::move(component), maker = std::move(maker), family = std::move(family)](
                   otp::Self& supervisor, otp::SpawnOptions options) -> Result<otp::Spawned> {
    Result<otp::BodyPtr> body = make_child(*maker, family, component, &options);
    if (!body) return std::unexpected(std::move(body.error()));
    return supervisor.runtime().spawn_from(supervisor, std::move(*body), std::move(options));
  };
  return spec;
}

otp::Strategy strategy_of(std::uint32_t strategy) {
  if (strategy == 1) return otp::Strategy::kOneForAll;
  return strategy == 2 ? otp::Strategy::kRestForOne : otp::Strategy::kOneForOne;
}

std::string_view view(rusm_bytes bytes) {
  return {reinterpret_cast<const char*>(bytes.ptr), bytes.len};
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

rusm_call GuestActor::spawn(std::string_view component, std::string_view source, std::uint64_t* pid) noexcept {
  if (!source.empty()) {
    return refuse(fmt::format("spawn denied: {}: this node runs no code from {}; it loads its components at the start",
                              component, source.substr(0, source.find(':'))));
  }
  const Result<std::shared_ptr<otp::BodyMaker>> maker = check_spawn(component);
  if (!maker) return refuse(maker.error().to_string());
  otp::SpawnOptions options;
  Result<otp::BodyPtr> body = make_child(**maker, place_.family(), component, &options);
  if (!body) {
    if (body.error().code == ErrorCode::kLimit) program_.engine().limits().count(Limit::kProcesses);
    return refuse(body.error().to_string());
  }
  const otp::Spawned child = runtime_.spawn_from(*self_, std::move(*body), std::move(options));
  if (!child.pid) return refuse(fmt::format("{}: the node has no room for another process", component));
  *pid = child.pid.raw();
  return RUSM_CALL_OK;
}

rusm_call GuestActor::supervise(const rusm_supervision& what, std::uint64_t* pid) noexcept {
  if (!rights().spawn) return refuse(fmt::format("supervise denied: {} needs allow-spawn", program_.name()));
  if (what.child_count > limits().children_max) {
    return refuse(fmt::format("a supervisor has at most {} children", limits().children_max));
  }
  otp::SupervisorSpec spec;
  spec.strategy = strategy_of(what.strategy);
  const bool endless = what.restarts_max == 0 || what.restarts_max > kRestartsMax;
  spec.restarts_max = endless ? UINT32_MAX : what.restarts_max;
  spec.window = what.within_ms == 0 ? kNever : static_cast<Nanoseconds>(what.within_ms) * kMillisecond;
  if (endless) spec.window = kMillisecond;  // what nobody counts need not be remembered
  spec.backoff = kPatience;
  const Ref<Family>& family = place_.family();
  std::uint64_t slots = 0;
  for (const rusm_bytes& name : std::span(what.children, what.child_count)) {
    Result<std::shared_ptr<otp::BodyMaker>> maker = check_spawn(view(name));
    if (!maker) return refuse(maker.error().to_string());
    slots += slots_of(**maker);
    spec.children.push_back(child_of(fmt::format("{} {}", spec.children.size() + 1, view(name)),
                                     std::string(view(name)), std::move(*maker), family));
  }
  // With all of its children, or not at all: a supervisor whose first start fails takes its guest along.
  const std::uint32_t free = program_.engine().slots().total() - program_.engine().slots().used();
  const bool fits = family->has_room(std::uint64_t{1} + what.child_count, slots) && slots <= free;
  FamilyPlace place = fits ? FamilyPlace::take(family, 0) : FamilyPlace::founder(family);
  if (!fits || !place) {
    program_.engine().limits().count(Limit::kProcesses);
    return refuse(slots > free ? "supervise denied: the engine has no room for so many instances"
                               : "supervise denied: " + full_text(*family));
  }
  otp::SpawnOptions options;
  options.label = fmt::format("supervisor of {}", program_.name());
  options.link = true;
  options.on_exit = [place = std::move(place)](otp::Pid, const otp::ExitReason&) {};
  const otp::Spawned supervisor = runtime_.spawn_from(*self_, std::move(options), otp::supervise, std::move(spec));
  if (!supervisor.pid) return refuse("the node has no room for another process");
  *pid = supervisor.pid.raw();
  return RUSM_CALL_OK;
}

}  // namespace rusm::wasm
