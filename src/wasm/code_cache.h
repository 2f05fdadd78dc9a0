// CodeCache: compiled code on disk. It is executed when loaded, so nobody but this user may have written it:
// the folder is private and owned by the user, and each file carries a MAC under a key that lies beside it (0600). A
// file that fails its check is ignored and replaced. The file is checked in a private copy: what is loaded is what was
// checked.
//
//   FOLDER/key         32 random bytes
//   FOLDER/NAME.code   HMAC-SHA256(key, NAME || code) || code
//   NAME = hex(SHA-256(SHA-256(wasm) || the engine's compatibility hash))
#pragma once

#include <array>
#include <cstddef>
#include <filesystem>
#include <optional>
#include <span>
#include <vector>

#include "base/entropy.h"
#include "base/error.h"
#include "base/log.h"
#include "wasm/slots.h"

namespace rusm::wasm {

class Engine;

// Threads: any thread; several processes may share a folder.
class CodeCache {
 public:
  using Key = std::array<std::byte, 32>;

  // Creates the folder and the key when they are missing. Errors: kDenied when the folder belongs to another user or
  // others may write to it; kIo when the system refuses. The node runs without a cache then.
  static Result<CodeCache> open(std::filesystem::path folder, const Engine& engine, Entropy& entropy,
                                Log* log = nullptr);

  Key key_of(std::span<const std::byte> wasm, Tier tier = Tier::kPool) const noexcept;
  // The code, if it is there and passes its check.
  std::optional<std::vector<std::byte>> find(const Key& key) const noexcept;
  // Keeps the code. A failure (a full disk) is logged and has no other effect.
  void put(const Key& key, std::span<const std::byte> code) const noexcept;

 private:
  CodeCache(std::filesystem::path folder, Key secret, std::array<Key, 2> engine_hashes, Log* log)
      : folder_(std::move(folder)), secret_(secret), engine_hashes_(engine_hashes), log_(log) {}

  std::filesystem::path path_of(const Key& key) const;
  Key mac(const Key& key, std::span<const std::byte> code) const noexcept;

  std::filesystem::path folder_;
  Key secret_;
  std::array<Key, 2> engine_hashes_;  // by tier
  Log* log_;
};

}  // namespace rusm::wasm
