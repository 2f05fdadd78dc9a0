#include "wasm/overflow_maker.h"

#include <utility>

#include "wasm/program.h"

namespace rusm::wasm {

OverflowMaker::~OverflowMaker() {
  {
    const std::lock_guard lock(mutex_);
    stopping_ = true;
  }
  changed_.notify_all();
  if (thread_.joinable()) thread_.join();
}

bool OverflowMaker::add(std::shared_ptr<Program> program) noexcept try {
  const std::lock_guard lock(mutex_);
  if (!thread_.joinable()) thread_ = std::thread([this] { run(); });
  waiting_.push_back(std::move(program));
  changed_.notify_all();
  return true;
} catch (...) {
  return false;
}

void OverflowMaker::run() {
  std::unique_lock lock(mutex_);
  while (true) {
    changed_.wait(lock, [this] { return stopping_ || !waiting_.empty(); });
    if (stopping_) return;
    std::shared_ptr<Program> program = std::move(waiting_.front());
    waiting_.pop_front();
    lock.unlock();
    program->make_overflow();
    program.reset();
    lock.lock();
  }
}

}  // namespace rusm::wasm
