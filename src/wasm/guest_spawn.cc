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

// A supervisor without a limit of restarts still waits between them, so that a child that cannot live costs little.
constexpr otp::Backoff kPatience = {.first = kMillisecond, .max = kSecond, .quiet = 10 * kSecond};

// A body of `maker` in `family`, and the options for its process.
Result<otp::BodyPtr> make_child(otp::BodyMaker& maker, const Ref<Family>& family, std::string_view component,
                                otp::SpawnOptions* options) {
  FamilyPlace place = FamilyPlace::take(family);
  if (!place) {
    return fail(ErrorCode::kLimit, std::string(component),
                fmt::format("{} processes of this family live, and no more are allowed", family->processes_max()));
  }
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

// The one that it was started in, or its own, of which it is not part: no more than half of the engine's slots, so that
// others always find some.
Ref<Family> GuestActor::family() {
  if (place_) return place_.family();
  if (!more().family) {
    const std::uint32_t half = std::max(program_.engine().slots().total() / 2, 1u);
    more_->family = make_ref<Family>(std::min(limits().processes_max, half));
  }
  return more_->family;
}

Result<Ref<Family>> GuestActor::check_spawn(std::string_view component, std::shared_ptr<otp::BodyMaker>* maker) {
  const std::string& own = program_.name();
  if (!rights().spawn) {
    return fail(ErrorCode::kDenied, std::string(component), fmt::format("spawn denied: {} needs allow-spawn", own));
  }
  if (!rights().may_spawn(component)) {
    return fail(ErrorCode::kDenied, std::string(component),
                fmt::format("spawn denied: {} may start other components, but not this one", own));
  }
  *maker = services_.factory == nullptr ? nullptr : services_.factory->find(component);
  if (*maker == nullptr) {
    return fail(ErrorCode::kNotFound, std::string(component), "unknown component: the node has none of this name");
  }
  if (const auto* guest = dynamic_cast<const GuestMaker*>(maker->get())) {
    if (const auto more = excess(guest->program().capabilities(), program_.capabilities())) {
      return fail(ErrorCode::kDenied, std::string(component),
                  fmt::format("spawn denied: it may {}, which {} may not", *more, own));
    }
  } else if (rights().spawn_only.empty()) {
    return fail(ErrorCode::kDenied, std::string(component),
                fmt::format("spawn denied: it is not a component; {} may start it only by name", own));
  }
  return family();
}

rusm_call GuestActor::spawn(std::string_view component, std::string_view source, std::uint64_t* pid) noexcept {
  if (!source.empty()) {
    return refuse(fmt::format("spawn denied: {}: this node runs no code from {}; it loads its components at the start",
                              component, source.substr(0, source.find(':'))));
  }
  std::shared_ptr<otp::BodyMaker> maker;
  const Result<Ref<Family>> family = check_spawn(component, &maker);
  if (!family) return refuse(family.error().to_string());
  otp::SpawnOptions options;
  Result<otp::BodyPtr> body = make_child(*maker, *family, component, &options);
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
  const bool endless = what.restarts_max == 0;
  spec.restarts_max = endless ? UINT32_MAX : what.restarts_max;
  spec.window = what.within_ms == 0 ? kNever : static_cast<Nanoseconds>(what.within_ms) * kMillisecond;
  if (endless) {
    spec.window = kMillisecond;  // what nobody counts need not be remembered
    spec.backoff = kPatience;
  }
  for (const rusm_bytes& name : std::span(what.children, what.child_count)) {
    std::shared_ptr<otp::BodyMaker> maker;
    const Result<Ref<Family>> family = check_spawn(view(name), &maker);
    if (!family) return refuse(family.error().to_string());
    spec.children.push_back(child_of(fmt::format("{} {}", spec.children.size() + 1, view(name)),
                                     std::string(view(name)), std::move(maker), *family));
  }
  FamilyPlace place = FamilyPlace::take(family());
  if (!place) return refuse("supervise denied: the family has as many processes as it may have");
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
