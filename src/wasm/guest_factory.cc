#include "wasm/guest_factory.h"

#include "otp/runtime.h"
#include "wasm/engine.h"
#include "wasm/guest_body.h"

namespace rusm::wasm {

Result<otp::BodyPtr> GuestMaker::make(otp::StartArgument argument) noexcept {
  Program& program = *program_;
  Ref<http::Exchange> exchange;
  Ref<CommandStatus> status;
  if (otp::Attachment* attachment = argument.attachment.get()) {
    if (auto* found = dynamic_cast<http::Exchange*>(attachment)) {
      argument.attachment.leak();
      exchange = Ref<http::Exchange>::adopt(found);
    } else if (auto* command = dynamic_cast<CommandStatus*>(attachment)) {
      argument.attachment.leak();
      status = Ref<CommandStatus>::adopt(command);
    }
  }
  if ((program.entry() == Entry::kHttp) != static_cast<bool>(exchange)) {
    return fail(ErrorCode::kInvalid, program.name(),
                exchange ? "does not answer HTTP requests" : "answers HTTP requests and was started without one");
  }
  if (!program.engine().slots().take(program.slots_needed(), runtime_.current_worker())) {
    return fail(ErrorCode::kLimit, program.name(), "all of the engine's slots are taken");
  }
  return otp::BodyPtr(new GuestBody(program, runtime_, std::move(exchange), std::move(status)));
}

Result<> GuestFactory::add(std::shared_ptr<Program> program) {
  std::string name = program->name();
  const auto [place, added] = makers_.try_emplace(name, std::make_shared<GuestMaker>(std::move(program), runtime_));
  if (!added) return fail(ErrorCode::kExists, std::move(name), "there is already a component of this name");
  return {};
}

std::shared_ptr<otp::BodyMaker> GuestFactory::find(std::string_view name) const noexcept {
  const auto found = makers_.find(name);
  return found == makers_.end() ? nullptr : found->second;
}

}  // namespace rusm::wasm
