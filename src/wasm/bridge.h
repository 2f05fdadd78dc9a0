// The engine's C ABI with owners and errors of ours around it.
#pragma once

#include <rusm_bridge.h>

#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <utility>

#include "base/error.h"

namespace rusm::wasm {

inline rusm_bytes to_bytes(std::string_view text) noexcept {
  return {reinterpret_cast<const std::uint8_t*>(text.data()), text.size()};
}
inline rusm_bytes to_bytes(std::span<const std::byte> bytes) noexcept {
  return {reinterpret_cast<const std::uint8_t*>(bytes.data()), bytes.size()};
}
inline std::string_view text_of(rusm_bytes bytes) noexcept {
  return {reinterpret_cast<const char*>(bytes.ptr), bytes.len};
}
inline std::span<const std::byte> span_of(rusm_bytes bytes) noexcept {
  return {reinterpret_cast<const std::byte*>(bytes.ptr), bytes.len};
}

// Bytes that the bridge made. Threads: one owner.
class Buffer {
 public:
  Buffer() = default;
  Buffer(Buffer&& other) noexcept : raw_(std::exchange(other.raw_, {})) {}
  Buffer& operator=(Buffer&& other) noexcept {
    std::swap(raw_, other.raw_);
    return *this;
  }
  ~Buffer() { rusm_buffer_free(&raw_); }

  // Where the bridge writes; only while the buffer is empty.
  rusm_buffer* out() noexcept { return &raw_; }
  std::span<const std::byte> bytes() const noexcept { return {reinterpret_cast<const std::byte*>(raw_.ptr), raw_.len}; }
  std::string_view text() const noexcept { return {reinterpret_cast<const char*>(raw_.ptr), raw_.len}; }

 private:
  rusm_buffer raw_{};
};

// The error for a status that is not OK. `where`: the file or name that the text speaks of.
std::unexpected<Error> bridge_error(rusm_status status, std::string where, const Buffer& text);

struct FreeComponent {
  void operator()(rusm_component* component) const noexcept { rusm_component_free(component); }
};
struct FreeProgram {
  void operator()(rusm_program* program) const noexcept { rusm_program_free(program); }
};
struct FreeGrants {
  void operator()(rusm_grants* grants) const noexcept { rusm_grants_free(grants); }
};
using ComponentPtr = std::unique_ptr<rusm_component, FreeComponent>;
using ProgramPtr = std::unique_ptr<rusm_program, FreeProgram>;
using GrantsPtr = std::unique_ptr<rusm_grants, FreeGrants>;

}  // namespace rusm::wasm
