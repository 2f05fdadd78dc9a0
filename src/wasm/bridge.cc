#include "wasm/bridge.h"

namespace rusm::wasm {

std::unexpected<Error> bridge_error(rusm_status status, std::string where, const Buffer& text) {
  ErrorCode code = ErrorCode::kInternal;
  switch (status) {
    case RUSM_STATUS_INVALID_ARGUMENT:
    case RUSM_STATUS_INVALID_WASM:
    case RUSM_STATUS_UNSUPPORTED:
      code = ErrorCode::kInvalid;
      break;
    case RUSM_STATUS_SYSTEM:
      code = ErrorCode::kUnavailable;
      break;
    case RUSM_STATUS_LIMIT:
      code = ErrorCode::kLimit;
      break;
    case RUSM_STATUS_OK:
    case RUSM_STATUS_PANIC:
      break;
  }
  return fail(code, std::move(where), std::string(text.text()));
}

}  // namespace rusm::wasm
