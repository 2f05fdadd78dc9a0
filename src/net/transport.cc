#include "net/transport.h"

#include <array>

namespace rusm::net {

Error Stream::failure() const {
  return Error{ErrorCode::kIo, peer().to_string(), "the connection broke"};
}

void Stream::drop_input() noexcept {
  std::array<std::byte, 16 << 10> room;
  for (std::size_t dropped = 0; dropped < kDropBytesMax;) {
    const IoResult got = try_read(room);
    if (got.status != Io::kDone) return;
    dropped += got.bytes;
  }
}

Result<std::unique_ptr<Stream>> Transport::connect_host(const Address& address, std::string_view) {
  return connect(address);
}

}  // namespace rusm::net
