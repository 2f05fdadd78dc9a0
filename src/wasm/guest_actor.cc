#include "wasm/guest_actor.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstring>

#include "base/log.h"
#include "otp/runtime.h"
#include "wasm/engine.h"

namespace rusm::wasm {
namespace {

// With its memory, which an assignment would keep.
template <class T>
void give_up(T& container) noexcept {
  T().swap(container);
}

}  // namespace

std::string_view cut(std::string_view text, std::size_t bytes_max) noexcept {
  if (text.size() <= bytes_max) return text;
  while (bytes_max > 0 && (static_cast<unsigned char>(text[bytes_max]) & 0xc0) == 0x80) --bytes_max;
  return text.substr(0, bytes_max);
}

GuestActor::GuestActor(Program& program, otp::Runtime& runtime, const GuestServices& services, FamilyPlace place,
                       GuestStart start)
    : program_(program), runtime_(runtime), services_(services), place_(std::move(place)) {
  if (!start.argument.empty()) more().argument = std::move(start.argument);
  if (!start.name.empty()) more().names.insert(std::move(start.name));
}

GuestActor::~GuestActor() {
  if (more_ && more_->call && !more_->call->done) self_->abandon(*more_->call);
}

GuestActor::More& GuestActor::more() {
  if (!more_) more_ = std::make_unique<More>();
  return *more_;
}

rusm_call GuestActor::refuse(std::string text) {
  more().text = std::move(text);
  return RUSM_CALL_ERROR;
}

rusm_call GuestActor::end(otp::ExitReason reason) {
  more().text = reason.to_string();
  more_->end = std::move(reason);
  return RUSM_CALL_TRAP;
}

std::optional<otp::ExitReason> GuestActor::take_end() noexcept {
  return more_ ? std::exchange(more_->end, std::nullopt) : std::nullopt;
}

// The guest is suspended: what earlier calls gave it has long been copied.
void GuestActor::drop_handed_out() noexcept {
  More& more = *more_;
  give_up(more.pids);
  give_up(more.texts);
  give_up(more.strings);
  give_up(more.reply.value);
  give_up(more.reply.keys);
  more.answer.reset();
  if (!current_ && !kept_) {
    give_up(more.rendered);
    shown_ = {};
  }
  more.handed_out = false;
}

std::size_t GuestActor::held_bytes() const noexcept {
  if (!more_) return 0;
  std::size_t bytes = more_->rendered.capacity() + more_->pids.capacity() * sizeof(std::uint64_t);
  bytes += (more_->texts.capacity() * sizeof(rusm_bytes)) + (more_->strings.capacity() * sizeof(std::string));
  if (more_->reply.value.capacity() > std::string().capacity()) bytes += more_->reply.value.capacity();
  bytes += more_->reply.keys.capacity() * sizeof(std::string);
  return bytes + (more_->answer ? more_->answer->envelope().size() : 0);
}

// ── Messages ─────────────────────────────────────────────────────────────────────────────────────────────────────────

rusm_call GuestActor::send(otp::Pid to, std::span<const std::byte> bytes) noexcept {
  if (bytes.size() > limits().message_bytes_max) [[unlikely]] {
    return limit("message",
                 fmt::format("a message of {} bytes; {} are allowed", bytes.size(), limits().message_bytes_max));
  }
  self_->send(to, bytes);
  return RUSM_CALL_OK;
}

void GuestActor::render(std::span<const std::byte> bytes) {
  more().rendered.assign(bytes.begin(), bytes.end());
  more_->handed_out = true;
  shown_ = to_bytes(more_->rendered);
}

// Makes `message` the one that the guest sees; false when it is nothing for it.
bool GuestActor::show(otp::Message message) {
  if (message.is_bytes()) [[likely]] {
    shown_ = to_bytes(message.bytes());
  } else if (message.is_down() || message.is_exit()) {
    note_received(message);
    const std::string text = fmt::format(R"({{"{}":"{}","reason":"{}"}})", message.is_down() ? "__down" : "__exit",
                                         message.from().raw(), name_of(message.reason().kind()));
    render(std::as_bytes(std::span(text)));
  } else if (auto* reader = message.get_if<otp::StreamReader>()) {
    streams().arrived(std::move(*reader));
    return false;
  } else {
    note_received(message);
    const std::optional<std::vector<std::byte>> bytes = message.encoded();
    if (!bytes) return false;
    render(*bytes);
  }
  current_ = std::move(message).release();
  return true;
}

rusm_call GuestActor::receive(std::uint64_t timeout_ms, rusm_bytes* message) noexcept {
  chunk_shown_ = false;
  if (kept_) {
    kept_ = false;
    *message = shown_;
    return RUSM_CALL_OK;
  }
  current_.reset();
  while (std::optional<otp::Message> next = self_->try_receive()) {
    if (!show(std::move(*next))) continue;
    blocked_ = false;
    *message = shown_;
    return RUSM_CALL_OK;
  }
  return wait_for_message(timeout_ms);
}

// The mailbox has nothing for a receive.
rusm_call GuestActor::wait_for_message(std::uint64_t timeout_ms) noexcept {
  if (timeout_ms == RUSM_NO_TIMEOUT || self_->exit_pending()) return block(otp::Step::kWait);
  const Nanoseconds now = runtime_.clock().now();
  if (!blocked_) deadline_ = deadline_after(now, from_ms(timeout_ms));
  blocked_ = now < deadline_;
  if (!blocked_) return RUSM_CALL_NONE;
  self_->wake_at(deadline_);
  return block(otp::Step::kWait);
}

void GuestActor::keep() noexcept {
  if (chunk_shown_) {
    streams().keep();
  } else {
    kept_ = true;
  }
}

rusm_call GuestActor::stash(std::span<const std::byte> bytes) noexcept {
  const bool is_current = current_ && !kept_ && bytes.size() == shown_.len &&
                          (bytes.empty() || std::memcmp(bytes.data(), shown_.ptr, shown_.len) == 0);
  if (!is_current && bytes.size() > limits().message_bytes_max) {
    return limit("message", "a stashed message that is longer than messages may be");
  }
  // A signal would take no room: its text does.
  const bool is_moved = is_current && !otp::is_signal(current_->kind);
  otp::Message message = is_moved ? otp::Message(std::move(current_)) : otp::Message::of_bytes(bytes);
  if (is_current) {
    current_.reset();
    shown_ = {};
  }
  if (!self_->stash(std::move(message))) return limit("mailbox", "there is no room for what was stashed");
  return RUSM_CALL_OK;
}

// ── Other processes ──────────────────────────────────────────────────────────────────────────────────────────────────

rusm_call GuestActor::monitor_refused() {
  // The interface has no answer for it, and whoever monitors can do without: said once in the log.
  if (!std::exchange(more().said_no_monitor, true)) {
    if (Log* log = runtime_.log()) {
      log->warn("guest", "monitors a process, which needs allow-spawn or allow-process-control: it will not be told",
                {{"pid", pid_.to_string()}, {"component", program_.name()}});
    }
  }
  return RUSM_CALL_OK;
}

rusm_call GuestActor::monitor(otp::Pid target) noexcept {
  if (!rights().spawn && !rights().process_control) return monitor_refused();
  std::uint64_t reference = 0;
  return watch(target, &reference);
}

std::span<const std::uint64_t> GuestActor::processes() noexcept {
  std::vector<std::uint64_t>& pids = more().pids;
  more_->handed_out = true;
  pids.clear();
  if (!rights().process_control) {
    pids.push_back(own_pid());
  } else {
    for (const otp::Pid pid : runtime_.processes()) pids.push_back(pid.raw());
  }
  return pids;
}

// Others may have taken them away.
void GuestActor::forget_lost_names() {
  std::erase_if(more_->names, [&](const std::string& name) { return runtime_.whereis(name) != pid_; });
}

// A process's own names are known without a look at all names of the node.
std::span<const rusm_bytes> GuestActor::show_names(otp::Pid target) {
  More& more = this->more();
  more.handed_out = true;
  more.strings.clear();
  more.texts.clear();
  if (is_self(target)) {
    forget_lost_names();
    more.strings.assign(more.names.begin(), more.names.end());
  } else {
    for (const auto& [name, pid] : runtime_.names()) {
      if (pid == target) more.strings.push_back(name);
    }
  }
  for (const std::string& name : more.strings) more.texts.push_back(to_bytes(name));
  return more.texts;
}

rusm_call GuestActor::info(otp::Pid target, rusm_process_info* info) noexcept {
  if (!is_self(target) && !rights().process_control) return RUSM_CALL_NONE;
  const std::optional<otp::ProcessInfo> known = runtime_.info(target);
  if (!known) return RUSM_CALL_NONE;
  const std::span<const rusm_bytes> names = show_names(target);
  more_->label = known->label;
  *info = {.pid = target.raw(),
           .links = is_self(target) ? self_->link_count() : 0,
           .monitors = is_self(target) ? static_cast<std::uint32_t>(more_->monitors.size()) : 0,
           .mailbox_depth = known->mailbox_length,
           .trap_exit = is_self(target) && self_->traps_exit(),
           .has_label = !known->label.empty(),
           .label = to_bytes(more_->label),
           .names = names.data(),
           .name_count = names.size()};
  return RUSM_CALL_OK;
}

rusm_call GuestActor::is_alive(otp::Pid target) noexcept {
  if (is_self(target)) return RUSM_CALL_OK;
  return rights().process_control && runtime_.is_alive(target) ? RUSM_CALL_OK : RUSM_CALL_NONE;
}

rusm_call GuestActor::kill(otp::Pid target) noexcept {
  if (is_self(target)) return end(otp::ExitReason::Kind::kKilled);
  if (!rights().process_control || !runtime_.is_alive(target)) return RUSM_CALL_NONE;
  self_->exit(target, otp::ExitReason::Kind::kKill);
  return RUSM_CALL_OK;
}

// ── Names and tags ───────────────────────────────────────────────────────────────────────────────────────────────────

bool GuestActor::is_reserved(std::string_view name) const noexcept {
  return services_.reserved_names != nullptr && services_.reserved_names->contains(name);
}

// For one more name or tag.
bool GuestActor::has_name_room() {
  const auto is_full = [&] { return more().names.size() + more_->tags >= limits().names_max; };
  if (is_full()) forget_lost_names();
  return !is_full();
}

rusm_call GuestActor::register_name(std::string_view name) noexcept {
  if (is_reserved(name) || !has_name_room() || !runtime_.register_name(name, pid_)) return RUSM_CALL_NONE;
  more_->names.emplace(name);
  return RUSM_CALL_OK;
}

rusm_call GuestActor::unregister_name(std::string_view name) noexcept {
  if (is_reserved(name)) return RUSM_CALL_NONE;
  if (!rights().process_control && runtime_.whereis(name) != pid_) return RUSM_CALL_NONE;
  if (more_) {
    if (const auto found = more_->names.find(name); found != more_->names.end()) more_->names.erase(found);
  }
  return runtime_.unregister_name(name) ? RUSM_CALL_OK : RUSM_CALL_NONE;
}

rusm_call GuestActor::whereis(std::string_view name, std::uint64_t* pid) noexcept {
  const otp::Pid found = runtime_.whereis(name);
  *pid = found.raw();
  return found ? RUSM_CALL_OK : RUSM_CALL_NONE;
}

void GuestActor::set_label(std::string_view label) noexcept {
  self_->set_label(std::string(cut(label, kLabelBytesMax)));
}

rusm_call GuestActor::join(std::string_view tag) noexcept {
  if (runtime_.is_member(tag, pid_)) return RUSM_CALL_OK;
  if (!has_name_room()) {
    return limit("names", fmt::format("{} names and tags are taken, and no more are allowed", limits().names_max));
  }
  // The interface has no answer for a tag that is none: it is ignored.
  if (runtime_.join(tag, pid_)) ++more_->tags;
  return RUSM_CALL_OK;
}

void GuestActor::leave(std::string_view tag) noexcept {
  if (runtime_.leave(tag, pid_) && more().tags > 0) --more_->tags;
}

std::span<const std::uint64_t> GuestActor::members(std::string_view tag) noexcept {
  std::vector<std::uint64_t>& pids = more().pids;
  more_->handed_out = true;
  pids.clear();
  if (const otp::Groups::Members members = runtime_.members(tag)) {
    for (const otp::Pid pid : *members) pids.push_back(pid.raw());
  }
  return pids;
}

rusm_call GuestActor::kill_tag(std::string_view tag, std::uint32_t* count) noexcept {
  if (!rights().process_control) return RUSM_CALL_NONE;
  const bool with_self = runtime_.is_member(tag, pid_);
  *count = static_cast<std::uint32_t>(runtime_.exit_group(tag, otp::ExitReason::Kind::kKill));
  return with_self ? end(otp::ExitReason::Kind::kKilled) : rusm_call(RUSM_CALL_OK);
}

// ── Streams ──────────────────────────────────────────────────────────────────────────────────────────────────────────

GuestStreams& GuestActor::streams() {
  if (!more().streams) more_->streams = std::make_unique<GuestStreams>(limits());
  return *more_->streams;
}

rusm_call GuestActor::result_of(GuestStreams::Outcome outcome) {
  using Outcome = GuestStreams::Outcome;
  switch (outcome) {
    case Outcome::kDone:
      return RUSM_CALL_OK;
    case Outcome::kNothing:
      return RUSM_CALL_NONE;
    case Outcome::kWaitForStream:
      return block(otp::Step::kWaitSignals);
    case Outcome::kWaitForMessage:
      return block(otp::Step::kWait);
    case Outcome::kTooMany:
      return limit("streams", fmt::format("{} streams are open, and no more are allowed", limits().streams_max));
    case Outcome::kTooLong:
      break;
  }
  return limit("chunk", fmt::format("a chunk of a stream has at most {} bytes", limits().chunk_bytes_max));
}

rusm_call GuestActor::stream_open(otp::Pid to, std::uint64_t* stream) noexcept {
  return result_of(streams().open(*self_, to, stream));
}

rusm_call GuestActor::stream_write(std::uint64_t stream, std::span<const std::byte> chunk) noexcept {
  return result_of(streams().write(*self_, stream, chunk));
}

void GuestActor::stream_close(std::uint64_t stream) noexcept {
  streams().close(stream);
}

rusm_call GuestActor::stream_accept(std::uint64_t* stream) noexcept {
  return result_of(streams().accept(*self_, stream));
}

rusm_call GuestActor::stream_read(std::uint64_t stream, rusm_bytes* chunk) noexcept {
  std::span<const std::byte> bytes;
  const rusm_call call = result_of(streams().read(*self_, stream, &bytes));
  chunk_shown_ = true;
  *chunk = to_bytes(bytes);
  return call;
}

// ── The store ────────────────────────────────────────────────────────────────────────────────────────────────────────

rusm_call GuestActor::kv(KvQuestion question, KvReply* reply) noexcept {
  if (!rights().may_store(question.bucket)) {
    return refuse(rights().storage
                      ? fmt::format("storage denied: {} may not use the bucket {}", program_.name(), question.bucket)
                      : fmt::format("storage denied: {} needs allow-storage", program_.name()));
  }
  if (services_.store == nullptr) return refuse("storage denied: this node has no store");
  if (!more().store) more_->store = std::make_unique<GuestKv>(services_, limits().keys_max);
  std::optional<Result<KvReply>> answer = more_->store->ask(*self_, std::move(question));
  if (!answer) return block(otp::Step::kWaitSignals);
  if (!*answer) return refuse(answer->error().to_string());
  *reply = std::move(**answer);
  return reply->found ? RUSM_CALL_OK : RUSM_CALL_NONE;
}

rusm_call GuestActor::kv_get(std::string_view bucket, std::string_view key, rusm_bytes* value) noexcept {
  const rusm_call call = kv({KvQuestion::What::kGet, std::string(bucket), std::string(key), {}}, &more().reply);
  more_->handed_out = true;
  *value = to_bytes(more_->reply.value);
  return call;
}

rusm_call GuestActor::kv_list(std::string_view bucket, std::span<const rusm_bytes>* keys) noexcept {
  const rusm_call call = kv({KvQuestion::What::kList, std::string(bucket), {}, {}}, &more().reply);
  if (call != RUSM_CALL_OK && call != RUSM_CALL_NONE) return call;
  more_->handed_out = true;
  more_->texts.clear();
  for (const std::string& key : more_->reply.keys) more_->texts.push_back(to_bytes(key));
  *keys = more_->texts;
  return RUSM_CALL_OK;
}

// ── The log ──────────────────────────────────────────────────────────────────────────────────────────────────────────

std::size_t GuestActor::may_log(std::size_t bytes) noexcept {
  More& more = this->more();
  if (!more.log) more.log.emplace(program_.capabilities().log_bytes_max, program_.capabilities().log_bytes_per_second);
  const Nanoseconds now = runtime_.clock().now();
  const std::size_t granted = more.log->take(bytes, now);
  if (granted < bytes && more.log->tells_drop(now)) {
    program_.engine().limits().count(Limit::kLog);
    // Where nothing at all may be written, dropping it is no news.
    if (Log* log = runtime_.log(); log != nullptr && program_.capabilities().log_bytes_max != 0) {
      log->warn("guest", "writes more than it may; what is too much is dropped",
                {{"pid", pid_.to_string()}, {"component", program_.name()}});
    }
  }
  return granted;
}

void GuestActor::log(std::uint32_t level, std::string_view text) noexcept {
  constexpr LogLevel kLevels[] = {LogLevel::kError, LogLevel::kWarn, LogLevel::kInfo, LogLevel::kDebug};
  const LogLevel wanted = kLevels[std::min<std::uint32_t>(level, 3)];
  Log* log = runtime_.log();
  if (log == nullptr || !log->wants(wanted)) return;
  const std::size_t granted = may_log(text.size() + LogAllowance::kLineBytes);
  if (granted < LogAllowance::kLineBytes) return;
  text = cut(text, granted - LogAllowance::kLineBytes);
  if (!text.empty()) {
    log->write(wanted, "guest", text, {{"pid", pid_.to_string()}, {"component", program_.name()}});
  }
}

}  // namespace rusm::wasm
