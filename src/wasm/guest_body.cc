#include "wasm/guest_body.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstring>
#include <new>

#include "base/log.h"
#include "otp/process.h"
#include "otp/runtime.h"
#include "wasm/bridge.h"
#include "wasm/core_dumps.h"
#include "wasm/engine.h"

namespace rusm::wasm {
namespace {

constexpr std::size_t kLogLineBytesMax = 4096;
constexpr const char* kTimeOver = "its time is over";
// The header in which an HTTP guest finds the pid of its process; what a client sends under this name is dropped.
constexpr std::string_view kPidHeader = "x-rusm-pid";
// And those for what the route's pattern captured: x-rusm-param-NAME, and x-rusm-param-rest for "*".
constexpr std::string_view kParamPrefix = "x-rusm-param-";
constexpr std::string_view kRestParam = "rest";

bool is_own_header(std::string_view name) {
  return http::equal_names(name, kPidHeader) ||
         (name.size() >= kParamPrefix.size() && http::equal_names(name.substr(0, kParamPrefix.size()), kParamPrefix));
}

std::string text_of(const rusm_buffer& buffer) {
  return {reinterpret_cast<const char*>(buffer.ptr), buffer.len};
}

void wake(void* runtime, std::uint64_t pid) {
  static_cast<otp::Runtime*>(runtime)->wake(otp::Pid::from_raw(pid));
}

}  // namespace

GuestBody::GuestBody(Program& program, Tier tier, otp::Runtime& runtime, const GuestServices& services,
                     FamilyPlace place, GuestStart start, Ref<http::Exchange> exchange, Ref<CommandStatus> status)
    : program_(program),
      runtime_(runtime),
      actor_(program, runtime, services, std::move(place), std::move(start)),
      tier_(tier),
      instance_(rusm_instance_new(program.raw(tier), program.grants(), this)),
      status_(std::move(status)) {
  if (exchange) {
    web_ = std::make_unique<Web>();
    web_->exchange = std::move(exchange);
  }
}

GuestBody::~GuestBody() {
  program_.engine().enter_thread();
  rusm_instance_drop(instance_);
  settle_exchange();
  if (output_) {
    for (unsigned stream = 1; stream <= 2; ++stream) {
      if (!output_->lines[stream - 1].empty()) log_line(stream, output_->lines[stream - 1]);
    }
  }
  if (waits_for_code_) program_.stop_waiting(pid_);
  program_.engine().slots().give(program_.needs(), tier_, runtime_.current_worker());
}

otp::Step GuestBody::resume(otp::Process& self, otp::Budget) noexcept {
  Engine& engine = program_.engine();
  const Clock& clock = runtime_.clock();
  if (!pid_) {
    pid_ = self.pid();
    const Nanoseconds wall_max = program_.capabilities().wall_max;
    if (wall_max != kNever) ends_at_ = deadline_after(clock.now(), wall_max);
    if (web_) {
      web_->exchange->request_body.set_reader(pid_);
      web_->exchange->response_body.set_writer(pid_);
    }
  }
  if (is_time_over()) {
    engine.limits().count(Limit::kTime);
    self.set_exit_reason(otp::ExitReason::limit("time", kTimeOver));
    return otp::Step::kExit;
  }
  engine.enter_thread();
  if (instance_ == nullptr) [[unlikely]] {
    if (const std::optional<otp::Step> step = begin(self)) return *step;
  }
  const unsigned worker = runtime_.current_worker();
  const rusm_waker waker = {.wake = wake, .context = &runtime_, .id = pid_.raw()};
  actor_.enter(self);
  engine.ticker().enter(worker);
  resumed_at_ = clock.reading();
  const rusm_step step = rusm_instance_resume(instance_, &waker);
  cpu_used_ = cpu_used();
  engine.ticker().leave(worker);
  switch (step) {
    case RUSM_STEP_BUDGET:
      return otp::Step::kYield;
    case RUSM_STEP_WAITING:
      if (ends_at_ != kNever) self.wake_at(ends_at_);
      return actor_.waits();
    case RUSM_STEP_DONE:
      break;
  }
  return end(self);
}

Nanoseconds GuestBody::cpu_used() const noexcept {
  // Readings may go back where a machine was moved or stood still.
  return cpu_used_ + std::max<Nanoseconds>(runtime_.clock().reading() - resumed_at_, 0);
}

bool GuestBody::is_time_over() const noexcept {
  return ends_at_ != kNever && runtime_.clock().now() >= ends_at_;
}

// Makes the instance if its tier's code is there; else says what its process does meanwhile.
std::optional<otp::Step> GuestBody::begin(otp::Process& self) noexcept {
  const Result<bool> there = program_.wait_for(tier_, runtime_, pid_);
  waits_for_code_ = there && !*there;
  if (waits_for_code_) {
    if (ends_at_ != kNever) self.wake_at(ends_at_);
    return otp::Step::kWaitSignals;
  }
  if (there) instance_ = rusm_instance_new(program_.raw(tier_), program_.grants(), this);
  if (instance_ != nullptr) return std::nullopt;
  self.set_exit_reason(
      otp::ExitReason::crashed("host", there ? "the engine could not make an instance" : there.error().to_string()));
  return otp::Step::kExit;
}

otp::ExitReason GuestBody::reason_of(const rusm_exit& exit) noexcept {
  using otp::ExitReason;
  switch (exit.kind) {
    case RUSM_EXIT_KIND_NORMAL:
      return {};
    case RUSM_EXIT_KIND_EXIT_CODE:
      return ExitReason::other(text_of(exit.text));
    case RUSM_EXIT_KIND_TRAP:
      return ExitReason::crashed("trap", text_of(exit.text) + core_dump_, text_of(exit.backtrace));
    case RUSM_EXIT_KIND_STACK_OVERFLOW:
      return ExitReason::crashed("stack", text_of(exit.text) + core_dump_, text_of(exit.backtrace));
    case RUSM_EXIT_KIND_MEMORY_LIMIT:
      return ExitReason::limit("memory", fmt::format("{} bytes, then: {}", exit.memory_bytes_peak, text_of(exit.text)),
                               text_of(exit.backtrace));
    case RUSM_EXIT_KIND_TABLE_LIMIT:
      return ExitReason::limit("tables", text_of(exit.text), text_of(exit.backtrace));
    case RUSM_EXIT_KIND_STOPPED:
      if (is_time_over()) return ExitReason::limit("time", kTimeOver, text_of(exit.backtrace));
      return ExitReason::limit("cpu", "its CPU time is used up", text_of(exit.backtrace));
    case RUSM_EXIT_KIND_NO_CAPACITY:
      return ExitReason::limit("instances", text_of(exit.text));
    case RUSM_EXIT_KIND_PANIC:
      return ExitReason::crashed("panic", text_of(exit.text));
    case RUSM_EXIT_KIND_HOST_ERROR:
      break;
  }
  return ExitReason::crashed("host", text_of(exit.text) + core_dump_, text_of(exit.backtrace));
}

otp::Step GuestBody::end(otp::Process& self) noexcept {
  std::optional<otp::ExitReason> ended = actor_.take_end();
  if (!ended) dump_core();
  rusm_exit exit;
  if (rusm_instance_exit(instance_, &exit)) {
    if (exit.kind != RUSM_EXIT_KIND_NORMAL) {
      const bool by_call = ended && exit.kind == RUSM_EXIT_KIND_HOST_ERROR;
      otp::ExitReason reason = by_call ? std::move(*ended) : reason_of(exit);
      if (!actor_.ended_itself()) program_.engine().limits().count(reason);
      if (by_call && reason.is_normal() && status_) status_->set_exit_code(0);
      self.set_exit_reason(std::move(reason));
    }
    if (status_ && (exit.kind == RUSM_EXIT_KIND_NORMAL || exit.kind == RUSM_EXIT_KIND_EXIT_CODE)) {
      status_->set_exit_code(exit.code);
    }
    rusm_exit_free(&exit);
  }
  settle_exchange();
  return otp::Step::kExit;
}

// A dump that is wanted is made here, while the guest's memory is still there, and written by another thread.
void GuestBody::dump_core() noexcept {
  CoreDumps* dumps = program_.engine().core_dumps();
  if (dumps == nullptr || !rusm_instance_has_core_dump(instance_)) return;
  Buffer dump;
  const auto make = [&](std::uint64_t bytes_max) {
    return rusm_instance_core_dump(instance_, to_bytes(program_.name()), bytes_max, dump.out());
  };
  core_dump_ = dumps->keep(program_.name(), pid_, runtime_.clock().now(), make, dump);
}

void GuestBody::settle_exchange() noexcept {
  if (!web_ || !web_->exchange) return;
  http::Exchange& exchange = *web_->exchange;
  if (!web_->finished) exchange.response_body.abort();
  exchange.request_body.abort();
  web_->exchange.reset();
}

rusm_tick GuestBody::on_tick() noexcept {
  if (cpu_used() > program_.capabilities().cpu_max || is_time_over()) return RUSM_TICK_STOP;
  // Whether others wait or not: this worker's sockets and timers do.
  return RUSM_TICK_YIELD;
}

// What there is no room for is dropped; room comes back with time.
void GuestBody::on_log(unsigned stream, std::string_view text) noexcept {
  Log* log = runtime_.log();
  if (log == nullptr || !log->wants(LogLevel::kInfo)) return;
  if (!output_) output_ = std::make_unique<Output>();
  std::string& line = output_->lines[stream == 2 ? 1 : 0];
  while (!text.empty()) {
    const std::size_t end = text.find('\n');
    const std::string_view piece = text.substr(0, std::min(end, kLogLineBytesMax - line.size()));
    const std::size_t around = line.empty() ? LogAllowance::kLineBytes : 0;
    const std::size_t granted = actor_.may_log(around + piece.size());
    if (granted < around) return;
    line.append(piece.substr(0, granted - around));
    if (granted < around + piece.size()) return;
    if (end != std::string_view::npos || line.size() >= kLogLineBytesMax) {
      log_line(stream, line);
      line.clear();
    }
    if (end == std::string_view::npos) return;
    text.remove_prefix(end + 1);
  }
}

void GuestBody::log_line(unsigned stream, std::string_view line) noexcept {
  if (Log* log = runtime_.log()) {
    log->info(
        "guest", line,
        {{"pid", pid_.to_string()}, {"component", program_.name()}, {"stream", stream == 2 ? "stderr" : "stdout"}});
  }
}

bool GuestBody::on_head(rusm_http_head* head) noexcept {
  if (!web_) return false;
  const http::RequestHead& request = web_->exchange->request;
  web_->pid = pid_.to_string();
  web_->headers.reserve(request.headers.size() + request.params.size() + 1);
  for (std::size_t i = 0; i < request.headers.size(); ++i) {
    const http::HeaderList::Header header = request.headers[i];
    if (!is_own_header(header.name)) web_->headers.push_back({to_bytes(header.name), to_bytes(header.value)});
  }
  web_->param_names.reserve(request.params.size());  // their texts must not move
  for (std::size_t i = 0; i < request.params.size(); ++i) {
    const http::HeaderList::Header param = request.params[i];
    // What was captured is foreign: it may hold what no header can.
    if (!http::is_valid_value(param.value)) continue;
    std::string name(kParamPrefix);
    name += param.name == "*" ? kRestParam : param.name;
    if (!http::is_valid_name(name)) continue;
    web_->param_names.push_back(std::move(name));
    web_->headers.push_back({to_bytes(web_->param_names.back()), to_bytes(param.value)});
  }
  web_->headers.push_back({to_bytes(kPidHeader), to_bytes(web_->pid)});
  head->method = to_bytes(request.method);
  head->scheme = to_bytes(request.scheme);
  head->authority = to_bytes(request.authority);
  head->path_with_query = to_bytes(request.target);
  head->headers = web_->headers.data();
  head->header_count = web_->headers.size();
  return true;
}

rusm_io GuestBody::on_read(std::uint8_t* data, std::size_t capacity, std::size_t* count) noexcept {
  otp::Pipe& pipe = web_->exchange->request_body;
  std::size_t read = 0;
  while (read < capacity) {
    std::span<const std::byte> there = pipe.readable();
    if (there.empty()) break;
    there = there.first(std::min(there.size(), capacity - read));
    std::memcpy(data + read, there.data(), there.size());
    pipe.consume(there.size());
    read += there.size();
  }
  *count = read;
  if (read > 0) return RUSM_IO_OK;
  if (pipe.ended()) return RUSM_IO_END;
  return pipe.state() == otp::Pipe::State::kBroken ? RUSM_IO_BROKEN : RUSM_IO_WOULD_BLOCK;
}

rusm_io GuestBody::on_respond(std::uint16_t status, std::span<const rusm_http_header> headers) noexcept {
  http::ResponseHead head;
  head.status = status;
  for (const rusm_http_header& header : headers) head.headers.add(text_of(header.name), text_of(header.value));
  if (web_->exchange->respond(std::move(head))) return RUSM_IO_OK;
  web_->finished = true;
  return RUSM_IO_BROKEN;
}

void GuestBody::on_respond_error(std::string_view text) noexcept {
  web_->exchange->fail(fmt::format("the handler answered with an error: {}", text));
}

rusm_io GuestBody::on_write(std::span<const std::byte> data, std::size_t* count) noexcept {
  otp::Pipe& pipe = web_->exchange->response_body;
  *count = pipe.write(data);
  if (*count > 0) return RUSM_IO_OK;
  return pipe.state() == otp::Pipe::State::kOpen ? RUSM_IO_WOULD_BLOCK : RUSM_IO_BROKEN;
}

void GuestBody::on_trailers(std::span<const rusm_http_header> trailers) noexcept {
  http::HeaderList list;
  for (const rusm_http_header& trailer : trailers) list.add(text_of(trailer.name), text_of(trailer.value));
  web_->exchange->set_trailers(std::move(list));
}

void GuestBody::on_finish(bool complete) noexcept {
  web_->finished = true;
  if (complete) {
    web_->exchange->response_body.finish();
  } else {
    web_->exchange->response_body.abort();
  }
}

rusm_host GuestBody::host() noexcept {
  return {
      .tick = [](void* context) noexcept -> std::uint32_t { return of(context).on_tick(); },
      .write_log =
          [](void* context, std::uint32_t stream, const std::uint8_t* data, std::size_t len) noexcept {
            of(context).on_log(stream, {reinterpret_cast<const char*>(data), len});
          },
      .http_head = [](void* context, rusm_http_head* head) noexcept { return of(context).on_head(head); },
      .http_read = [](void* context, std::uint8_t* data, std::size_t capacity, std::size_t* count) noexcept
          -> std::uint32_t { return of(context).on_read(data, capacity, count); },
      .http_respond = [](void* context, std::uint16_t status, const rusm_http_header* headers,
                         std::size_t count) noexcept -> std::uint32_t {
        return of(context).on_respond(status, {headers, count});
      },
      .http_respond_error = [](void* context,
                               rusm_bytes text) noexcept { of(context).on_respond_error(text_of(text)); },
      .http_write = [](void* context, const std::uint8_t* data, std::size_t len, std::size_t* count) noexcept
          -> std::uint32_t { return of(context).on_write({reinterpret_cast<const std::byte*>(data), len}, count); },
      .http_trailers = [](void* context, const rusm_http_header* trailers,
                          std::size_t count) noexcept { of(context).on_trailers({trailers, count}); },
      .http_finish = [](void* context, bool complete) noexcept { of(context).on_finish(complete); },
      .actor = actor_host(),
  };
}

}  // namespace rusm::wasm
