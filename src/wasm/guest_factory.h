// GuestFactory: the node's components by name, as bodies for processes.
#pragma once

#include <map>
#include <memory>
#include <string>

#include "otp/body.h"
#include "wasm/program.h"

namespace rusm::otp {
class Runtime;
}

namespace rusm::wasm {

// Makes instances of one program.
// An HTTP program wants an http::Exchange as its attachment; a command takes a CommandStatus, or nothing.
// Threads: any thread. Outlives the bodies that it made; the runtime outlives it.
class GuestMaker final : public otp::BodyMaker {
 public:
  GuestMaker(std::shared_ptr<Program> program, otp::Runtime& runtime)
      : program_(std::move(program)), runtime_(runtime) {}

  // Errors: kLimit when all slots are taken; kInvalid for an attachment that does not fit the entry.
  Result<otp::BodyPtr> make(otp::StartArgument argument) noexcept override;
  const Program& program() const noexcept { return *program_; }

 private:
  const std::shared_ptr<Program> program_;
  otp::Runtime& runtime_;
};

// Threads: add() before anything else uses it; find() from any thread.
class GuestFactory final : public otp::BodyFactory {
 public:
  explicit GuestFactory(otp::Runtime& runtime) : runtime_(runtime) {}

  // Registers a program under its name. Errors: kExists when the name is taken.
  Result<> add(std::shared_ptr<Program> program);
  std::shared_ptr<otp::BodyMaker> find(std::string_view name) const noexcept override;

 private:
  otp::Runtime& runtime_;
  std::map<std::string, std::shared_ptr<GuestMaker>, std::less<>> makers_;
};

}  // namespace rusm::wasm
