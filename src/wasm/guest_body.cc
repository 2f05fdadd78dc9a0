#include "wasm/guest_body.h"

#include <fmt/format.h>

#include <cstring>
#include <new>

#include "base/log.h"
#include "otp/process.h"
#include "otp/runtime.h"
#include "wasm/bridge.h"
#include "wasm/engine.h"

namespace rusm::wasm {
namespace {

constexpr std::size_t kLogLineBytesMax = 4096;
// The header in which an HTTP guest finds the pid of its process; what a client sends under this name is dropped.
constexpr std::string_view kPidHeader = "x-rusm-pid";

std::string_view text_of(rusm_bytes bytes) {
  return {reinterpret_cast<const char*>(bytes.ptr), bytes.len};
}
std::string text_of(const rusm_buffer& buffer) {
  return {reinterpret_cast<const char*>(buffer.ptr), buffer.len};
}

void wake(void* runtime, std::uint64_t pid) {
  static_cast<otp::Runtime*>(runtime)->wake(otp::Pid::from_raw(pid));
}

otp::ExitReason reason_of(const rusm_exit& exit) {
  using otp::ExitReason;
  switch (exit.kind) {
    case RUSM_EXIT_KIND_NORMAL:
      return {};
    case RUSM_EXIT_KIND_EXIT_CODE:
      return ExitReason::other(text_of(exit.text));
    case RUSM_EXIT_KIND_TRAP:
      return ExitReason::crashed("trap", text_of(exit.text), text_of(exit.backtrace));
    case RUSM_EXIT_KIND_STACK_OVERFLOW:
      return ExitReason::crashed("stack", text_of(exit.text), text_of(exit.backtrace));
    case RUSM_EXIT_KIND_MEMORY_LIMIT:
      return ExitReason::limit("memory", fmt::format("{} bytes, then: {}", exit.memory_bytes_peak, text_of(exit.text)),
                               text_of(exit.backtrace));
    case RUSM_EXIT_KIND_TABLE_LIMIT:
      return ExitReason::limit("tables", text_of(exit.text), text_of(exit.backtrace));
    case RUSM_EXIT_KIND_STOPPED:
      return ExitReason::limit("cpu", "its CPU time is used up", text_of(exit.backtrace));
    case RUSM_EXIT_KIND_NO_CAPACITY:
      return ExitReason::limit("instances", text_of(exit.text));
    case RUSM_EXIT_KIND_HOST_ERROR:
    case RUSM_EXIT_KIND_PANIC:
      break;
  }
  return ExitReason::crashed("host", text_of(exit.text), text_of(exit.backtrace));
}

}  // namespace

GuestBody::GuestBody(Program& program, otp::Runtime& runtime, Ref<http::Exchange> exchange, Ref<CommandStatus> status)
    : program_(program),
      runtime_(runtime),
      instance_(rusm_instance_new(program.raw(), program.grants(), this)),
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
  program_.engine().slots().give(program_.slots_needed(), runtime_.current_worker());
}

otp::Step GuestBody::resume(otp::Process& self, otp::Budget) noexcept {
  if (instance_ == nullptr) {
    self.set_exit_reason(otp::ExitReason::crashed("host", "the engine could not make an instance"));
    return otp::Step::kExit;
  }
  Engine& engine = program_.engine();
  if (!pid_) {
    pid_ = self.pid();
    if (web_) {
      web_->exchange->request_body.set_reader(pid_);
      web_->exchange->response_body.set_writer(pid_);
    }
  }
  engine.enter_thread();
  const unsigned worker = runtime_.current_worker();
  const rusm_waker waker = {.wake = wake, .context = &runtime_, .id = pid_.raw()};
  engine.ticker().enter(worker);
  resumed_at_ = runtime_.clock().now();
  const rusm_step step = rusm_instance_resume(instance_, &waker);
  cpu_used_ = cpu_used(runtime_.clock().now());
  engine.ticker().leave(worker);
  switch (step) {
    case RUSM_STEP_BUDGET:
      return otp::Step::kYield;
    case RUSM_STEP_WAITING:
      return otp::Step::kWaitSignals;
    case RUSM_STEP_DONE:
      break;
  }
  return end(self);
}

otp::Step GuestBody::end(otp::Process& self) noexcept {
  rusm_exit exit;
  if (rusm_instance_exit(instance_, &exit)) {
    if (exit.kind != RUSM_EXIT_KIND_NORMAL) self.set_exit_reason(reason_of(exit));
    if (status_ && (exit.kind == RUSM_EXIT_KIND_NORMAL || exit.kind == RUSM_EXIT_KIND_EXIT_CODE)) {
      status_->set_exit_code(exit.code);
    }
    rusm_exit_free(&exit);
  }
  settle_exchange();
  return otp::Step::kExit;
}

void GuestBody::settle_exchange() noexcept {
  if (!web_ || !web_->exchange) return;
  http::Exchange& exchange = *web_->exchange;
  if (!web_->finished) exchange.response_body.abort();
  exchange.request_body.abort();
  web_->exchange.reset();
}

rusm_tick GuestBody::on_tick() noexcept {
  if (cpu_used(runtime_.clock().now()) > program_.capabilities().cpu_max) return RUSM_TICK_STOP;
  // Whether others wait or not: this worker's sockets and timers do.
  return RUSM_TICK_YIELD;
}

void GuestBody::on_log(unsigned stream, std::string_view text) noexcept {
  Log* log = runtime_.log();
  if (log == nullptr || !log->wants(LogLevel::kInfo)) return;
  if (!output_) output_ = std::make_unique<Output>();
  const std::uint64_t room = program_.capabilities().log_bytes_max - output_->bytes;
  if (text.size() > room) {
    text = text.substr(0, room);
    if (!output_->dropped) {
      output_->dropped = true;
      log->warn("guest", "wrote more than it may; the rest is dropped",
                {{"pid", pid_.to_string()}, {"component", program_.name()}});
    }
  }
  output_->bytes += text.size();
  std::string& line = output_->lines[stream == 2 ? 1 : 0];
  while (!text.empty()) {
    const std::size_t end = text.find('\n');
    line.append(text.substr(0, std::min(end, kLogLineBytesMax - line.size())));
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
  web_->headers.reserve(request.headers.size() + 1);
  for (std::size_t i = 0; i < request.headers.size(); ++i) {
    const http::HeaderList::Header header = request.headers[i];
    if (!http::equal_names(header.name, kPidHeader))
      web_->headers.push_back({to_bytes(header.name), to_bytes(header.value)});
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
      .http_finish = [](void* context, bool complete) noexcept { of(context).on_finish(complete); },
  };
}

}  // namespace rusm::wasm
