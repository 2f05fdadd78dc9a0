// Decodes arbitrary bytes as a type of everything that has a codec; what was decoded is encoded and decoded to the
// same.
#include <cstdint>
#include <cstdlib>
#include <span>

#include "otp/codec.h"

namespace {

struct Inner {
  std::int16_t number = 0;
  std::optional<std::string> text;
};

struct Everything {
  bool yes = false;
  std::uint64_t large = 0;
  float single = 0;
  rusm::otp::Pid pid;
  rusm::otp::ExitReason reason;
  std::vector<std::vector<Inner>> inners;
  std::vector<std::byte> bytes;
  std::map<std::string, std::tuple<int, double>> map;
  std::variant<std::monostate, std::string, Inner> variant;
};

template <class T>
void feed(std::span<const std::byte> bytes) {
  const std::optional<T> value = rusm::otp::decode<T>(bytes);
  if (!value) return;
  // Compared as bytes, for a NaN is not equal to itself.
  const std::vector<std::byte> written = rusm::otp::encode(*value);
  const std::optional<T> again = rusm::otp::decode<T>(written);
  if (!again || rusm::otp::encode(*again) != written) std::abort();
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const auto bytes = std::as_bytes(std::span(data, size));
  feed<Everything>(bytes);
  feed<rusm::otp::ExitReason>(bytes);
  feed<rusm::otp::Pid>(bytes);
  feed<std::vector<std::byte>>(bytes);
  feed<std::vector<float>>(bytes);
  feed<std::map<std::string, std::tuple<int, double>>>(bytes);
  feed<std::optional<std::pair<bool, std::string>>>(bytes);
  feed<std::vector<Inner>>(bytes);
  feed<std::map<int, std::vector<std::string>>>(bytes);
  feed<std::variant<std::int64_t, std::uint64_t, double, std::string>>(bytes);
  return 0;
}
