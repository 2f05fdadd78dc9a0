#include "net/transport.h"

namespace rusm::net {

Error Stream::failure() const {
  return Error{ErrorCode::kIo, peer().to_string(), "the connection broke"};
}

Result<std::unique_ptr<Stream>> Transport::connect_host(const Address& address, std::string_view) {
  return connect(address);
}

}  // namespace rusm::net
