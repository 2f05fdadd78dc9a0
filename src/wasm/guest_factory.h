// GuestFactory: the node's components by name, as bodies for processes.
#pragma once

#include <map>
#include <memory>
#include <string>

#include "otp/body.h"
#include "wasm/family.h"
#include "wasm/guest_actor.h"
#include "wasm/guest_services.h"
#include "wasm/program.h"

namespace rusm::otp {
class Runtime;
struct ChildSpec;
}  // namespace rusm::otp

namespace rusm::wasm {

// Makes instances of one program.
// An HTTP program wants an http::Exchange as its attachment; a command takes a CommandStatus, or nothing.
// Threads: any thread. Outlives the bodies that it made; the runtime outlives it.
class GuestMaker final : public otp::BodyMaker {
 public:
  explicit GuestMaker(std::shared_ptr<Program> program, otp::Runtime& runtime, GuestServices services = {})
      : program_(std::move(program)), runtime_(runtime), services_(services), family_(make_family(*program_)) {}

  // Errors: kLimit when all slots are taken; kInvalid for an attachment that does not fit the entry.
  Result<otp::BodyPtr> make(otp::StartArgument argument) noexcept override;
  void limit(otp::SpawnOptions& options) const noexcept override;
  // The same as make() for a guest that another guest starts, whose family has a place for it.
  Result<otp::BodyPtr> make_child(FamilyPlace place, GuestStart start) noexcept {
    return make_in(std::move(place), std::move(start), {});
  }
  const Program& program() const noexcept { return *program_; }

 private:
  static Ref<Family> make_family(const Program& program);
  Result<otp::BodyPtr> make_in(FamilyPlace place, GuestStart start, otp::StartArgument argument) noexcept;

  const std::shared_ptr<Program> program_;
  otp::Runtime& runtime_;
  const GuestServices services_;
  const Ref<Family> family_;  // of what its instances start
};

// A child of a supervisor: instances of one program, with the limits of their mailboxes. `name`: of the spec and of its
// processes, for people.
otp::ChildSpec guest_child(std::string name, std::shared_ptr<GuestMaker> maker);

// Threads: add() before anything else uses it; find() from any thread.
class GuestFactory final : public otp::BodyFactory {
 public:
  // `services`: what its guests reach; they start what this factory finds.
  explicit GuestFactory(otp::Runtime& runtime, GuestServices services = {}) : runtime_(runtime), services_(services) {
    services_.factory = this;
    services_.reserved_names = &reserved_names_;
  }

  // Registers a program under its name. Errors: kExists when the name is taken.
  Result<> add(std::shared_ptr<Program> program);
  // A name that no guest may register. To be called like add().
  void reserve_name(std::string name) { reserved_names_.insert(std::move(name)); }
  std::shared_ptr<otp::BodyMaker> find(std::string_view name) const noexcept override;

 private:
  otp::Runtime& runtime_;
  GuestServices services_;
  ReservedNames reserved_names_;
  std::map<std::string, std::shared_ptr<GuestMaker>, std::less<>> makers_;
};

}  // namespace rusm::wasm
