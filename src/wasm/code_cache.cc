#include "wasm/code_cache.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <openssl/sha.h>
#include <sys/stat.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <memory>
#include <utility>

#include "wasm/engine.h"

namespace rusm::wasm {
namespace {

constexpr std::uint64_t kCodeBytesMax = std::uint64_t{2} << 30;

// An open file descriptor. Threads: one owner.
class File {
 public:
  explicit File(int fd) : fd_(fd) {}
  File(File&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}
  ~File() {
    if (fd_ >= 0) close(fd_);
  }
  explicit operator bool() const { return fd_ >= 0; }
  int get() const { return fd_; }

  bool read_all(std::span<std::byte> out) const {
    while (!out.empty()) {
      const ssize_t n = ::read(fd_, out.data(), out.size());
      if (n < 0 && errno == EINTR) continue;
      if (n <= 0) return false;
      out = out.subspan(static_cast<std::size_t>(n));
    }
    return true;
  }
  bool write_all(std::span<const std::byte> data) const {
    while (!data.empty()) {
      const ssize_t n = ::write(fd_, data.data(), data.size());
      if (n < 0 && errno == EINTR) continue;
      if (n <= 0) return false;
      data = data.subspan(static_cast<std::size_t>(n));
    }
    return true;
  }

 private:
  int fd_;
};

std::unexpected<Error> io_error(const std::filesystem::path& path, std::string_view what) {
  return fail(ErrorCode::kIo, path.string(), fmt::format("{}: {}", what, errno_text(errno)));
}

// Ours, and nobody else may write (files: nor read).
Result<> check_owner(const std::filesystem::path& path, const struct stat& status, mode_t forbidden) {
  if (status.st_uid != geteuid()) {
    return fail(ErrorCode::kDenied, path.string(),
                "belongs to another user: compiled code from there would be executed");
  }
  if ((status.st_mode & forbidden) != 0) {
    return fail(
        ErrorCode::kDenied, path.string(),
        fmt::format("is open to other users (mode {:o}); chmod go-rwx makes it private", status.st_mode & 07777));
  }
  return {};
}

Result<> prepare_folder(const std::filesystem::path& folder) {
  std::error_code problem;
  if (folder.has_parent_path()) std::filesystem::create_directories(folder.parent_path(), problem);
  if (mkdir(folder.c_str(), 0700) != 0 && errno != EEXIST) return io_error(folder, "cannot be created");
  struct stat status{};
  if (lstat(folder.c_str(), &status) != 0) return io_error(folder, "cannot be looked at");
  if (!S_ISDIR(status.st_mode)) return fail(ErrorCode::kDenied, folder.string(), "is not a folder");
  return check_owner(folder, status, 022);
}

Result<CodeCache::Key> read_secret(const std::filesystem::path& path) {
  CodeCache::Key secret;
  const File file(open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NOFOLLOW));
  if (!file) return io_error(path, "cannot be opened");
  struct stat status{};
  if (fstat(file.get(), &status) != 0) return io_error(path, "cannot be looked at");
  if (Result<> checked = check_owner(path, status, 077); !checked) return std::unexpected(checked.error());
  if (status.st_size != static_cast<off_t>(secret.size()) || !file.read_all(secret)) {
    return fail(ErrorCode::kCorrupt, path.string(), "does not hold a key; delete the folder to start anew");
  }
  return secret;
}

std::filesystem::path temporary_beside(const std::filesystem::path& path) {
  static std::atomic<unsigned> serial{0};
  return path.string() + fmt::format(".{}.{}.tmp", getpid(), serial.fetch_add(1));
}

// Writes a new file of ours and moves it to `path`; with `keep`, a file that is already there stays.
Result<> write_file(const std::filesystem::path& path, std::initializer_list<std::span<const std::byte>> parts,
                    bool keep) {
  const std::filesystem::path temporary = temporary_beside(path);
  const File file(open(temporary.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600));
  if (!file) return io_error(temporary, "cannot be created");
  for (const std::span<const std::byte> part : parts) {
    if (!file.write_all(part)) {
      Result<> failure = io_error(temporary, "cannot be written");
      unlink(temporary.c_str());
      return failure;
    }
  }
  const bool moved = keep ? link(temporary.c_str(), path.c_str()) == 0 || errno == EEXIST
                          : rename(temporary.c_str(), path.c_str()) == 0;
  Result<> result;
  if (!moved) result = io_error(path, "cannot be put in place");
  if (keep || !moved) unlink(temporary.c_str());
  return result;
}

Result<CodeCache::Key> secret_of(const std::filesystem::path& path, Entropy& entropy) {
  if (access(path.c_str(), F_OK) != 0 && errno == ENOENT) {
    CodeCache::Key secret;
    entropy.fill(secret);
    // Another process may be first: then its key counts.
    if (Result<> written = write_file(path, {secret}, true); !written) return std::unexpected(written.error());
  }
  return read_secret(path);
}

}  // namespace

Result<CodeCache> CodeCache::open(std::filesystem::path folder, const Engine& engine, Entropy& entropy, Log* log) {
  if (Result<> prepared = prepare_folder(folder); !prepared) return std::unexpected(prepared.error());
  Result<Key> secret = secret_of(folder / "key", entropy);
  if (!secret) return std::unexpected(std::move(secret.error()));
  return CodeCache(std::move(folder), *secret, {engine.compat_hash(Tier::kPool), engine.compat_hash(Tier::kOverflow)},
                   log);
}

CodeCache::Key CodeCache::key_of(std::span<const std::byte> wasm, Tier tier) const noexcept {
  std::array<std::byte, 64> both;
  SHA256(reinterpret_cast<const unsigned char*>(wasm.data()), wasm.size(),
         reinterpret_cast<unsigned char*>(both.data()));
  const Key& engine_hash = engine_hashes_[static_cast<std::size_t>(tier)];
  std::copy(engine_hash.begin(), engine_hash.end(), both.begin() + 32);
  Key key;
  SHA256(reinterpret_cast<const unsigned char*>(both.data()), both.size(),
         reinterpret_cast<unsigned char*>(key.data()));
  return key;
}

std::filesystem::path CodeCache::path_of(const Key& key) const {
  std::string name;
  for (const std::byte byte : key) name += fmt::format("{:02x}", static_cast<unsigned>(byte));
  return folder_ / (name + ".code");
}

CodeCache::Key CodeCache::mac(const Key& key, std::span<const std::byte> code) const noexcept {
  Key out{};
  const std::unique_ptr<EVP_MAC, decltype(&EVP_MAC_free)> algorithm(EVP_MAC_fetch(nullptr, "HMAC", nullptr),
                                                                    EVP_MAC_free);
  const std::unique_ptr<EVP_MAC_CTX, decltype(&EVP_MAC_CTX_free)> context(EVP_MAC_CTX_new(algorithm.get()),
                                                                          EVP_MAC_CTX_free);
  char digest[] = "SHA256";
  const OSSL_PARAM parameters[] = {OSSL_PARAM_construct_utf8_string("digest", digest, 0), OSSL_PARAM_construct_end()};
  const auto bytes = [](std::span<const std::byte> span) {
    return reinterpret_cast<const unsigned char*>(span.data());
  };
  std::size_t length = 0;
  EVP_MAC_init(context.get(), bytes(secret_), secret_.size(), parameters);
  EVP_MAC_update(context.get(), bytes(key), key.size());
  EVP_MAC_update(context.get(), bytes(code), code.size());
  EVP_MAC_final(context.get(), reinterpret_cast<unsigned char*>(out.data()), &length, out.size());
  return out;
}

std::optional<std::vector<std::byte>> CodeCache::find(const Key& key) const noexcept {
  const std::filesystem::path path = path_of(key);
  const File file(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NOFOLLOW));
  if (!file) return std::nullopt;
  struct stat status{};
  Key expected;
  if (fstat(file.get(), &status) != 0 || status.st_size < static_cast<off_t>(expected.size()) ||
      static_cast<std::uint64_t>(status.st_size) > kCodeBytesMax) {
    return std::nullopt;
  }
  std::vector<std::byte> code(static_cast<std::size_t>(status.st_size) - expected.size());
  if (!file.read_all(expected) || !file.read_all(code)) return std::nullopt;
  const Key actual = mac(key, code);
  if (CRYPTO_memcmp(actual.data(), expected.data(), actual.size()) != 0) {
    if (log_ != nullptr)
      log_->warn("engine", "cached code fails its check and is compiled anew", {{"file", path.string()}});
    return std::nullopt;
  }
  return code;
}

void CodeCache::put(const Key& key, std::span<const std::byte> code) const noexcept {
  const Key check = mac(key, code);
  const Result<> written = write_file(path_of(key), {check, code}, false);
  if (!written && log_ != nullptr) {
    log_->warn("engine", "compiled code cannot be kept; the next start compiles again",
               {{"reason", written.error().to_string()}});
  }
}

}  // namespace rusm::wasm
