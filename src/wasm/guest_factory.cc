#include "wasm/guest_factory.h"

#include <algorithm>

#include "otp/runtime.h"
#include "otp/supervisor.h"
#include "wasm/engine.h"
#include "wasm/guest_body.h"

namespace rusm::wasm {

Result<otp::BodyPtr> GuestMaker::make(otp::StartArgument argument) noexcept {
  return make_in(FamilyPlace::founder(family_),
                 {.argument = {argument.bytes.begin(), argument.bytes.end()}, .name = {}}, std::move(argument));
}

// No more than half of the engine's slots, so that others always find some.
Ref<Family> GuestMaker::make_family(const Program& program) {
  return make_ref<Family>(program.capabilities().actor_limits.processes_max,
                          std::max(program.engine().slots().total() / 2, 1u));
}

Result<otp::BodyPtr> GuestMaker::make_in(FamilyPlace place, GuestStart start, otp::StartArgument argument) noexcept {
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
  const std::optional<Tier> tier = program.engine().slots().take(program.needs(), runtime_.current_worker());
  if (!tier) {
    return fail(ErrorCode::kLimit, program.name(),
                "all of the engine's slots are taken; max_instances in [engine] is their number");
  }
  return otp::BodyPtr(new GuestBody(program, *tier, runtime_, services_, std::move(place), std::move(start),
                                    std::move(exchange), std::move(status)));
}

void GuestMaker::limit(otp::SpawnOptions& options) const noexcept {
  const ActorLimits& limits = program_->capabilities().actor_limits;
  options.mailbox_messages_max = limits.mailbox_messages_max;
  options.mailbox_bytes_max = limits.mailbox_bytes_max;
  options.mailbox_overflow = otp::MailboxOverflow::kShed;
}

otp::ChildSpec guest_child(std::string name, std::shared_ptr<GuestMaker> maker) {
  otp::ChildSpec spec;
  spec.id = name;
  spec.start = [name = std::move(name), maker = std::move(maker)](otp::Self& supervisor,
                                                                  otp::SpawnOptions options) -> Result<otp::Spawned> {
    Result<otp::BodyPtr> body = maker->make({});
    if (!body) return std::unexpected(std::move(body.error()));
    options.label = name;
    maker->limit(options);
    return supervisor.runtime().spawn_from(supervisor, std::move(*body), std::move(options));
  };
  return spec;
}

Result<> GuestFactory::add(std::shared_ptr<Program> program) {
  std::string name = program->name();
  const auto [place, added] =
      makers_.try_emplace(name, std::make_shared<GuestMaker>(std::move(program), runtime_, services_));
  if (!added) return fail(ErrorCode::kExists, std::move(name), "there is already a component of this name");
  return {};
}

std::shared_ptr<otp::BodyMaker> GuestFactory::find(std::string_view name) const noexcept {
  const auto found = makers_.find(name);
  return found == makers_.end() ? nullptr : found->second;
}

}  // namespace rusm::wasm
