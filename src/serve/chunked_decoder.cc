#include "serve/chunked_decoder.h"

#include <algorithm>
#include <cstring>

#include "http/headers.h"
#include "serve/http1_parser.h"

namespace rusm::serve {
namespace {

constexpr std::uint8_t kDigitsMax = 15;  // a chunk is smaller than 2^60 bytes

int hex_value(char c) noexcept {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  if (c >= 'A' && c <= 'F') return c - 'A' + 10;
  return -1;
}

}  // namespace

ChunkedDecoder::Step ChunkedDecoder::decode(std::span<const std::byte> input, std::span<std::byte> room) {
  Step step{Progress::kMore, 0, 0};
  while (state_ != State::kDone && state_ != State::kRefused && step.consumed < input.size()) {
    if (state_ == State::kData) {
      const std::size_t n = static_cast<std::size_t>(
          std::min<std::uint64_t>({left_, input.size() - step.consumed, room.size() - step.produced}));
      if (n == 0) break;
      std::memcpy(room.data() + step.produced, input.data() + step.consumed, n);
      step.consumed += n;
      step.produced += n;
      left_ -= n;
      if (left_ == 0) state_ = State::kDataCr;
    } else if (!take(static_cast<char>(input[step.consumed++]))) {
      state_ = State::kRefused;
    }
  }
  if (state_ == State::kDone) step.progress = Progress::kDone;
  if (state_ == State::kRefused) step.progress = Progress::kRefused;
  return step;
}

bool ChunkedDecoder::take(char c) {
  switch (state_) {
    case State::kSizeStart:
      left_ = 0;
      digits_ = 0;
      [[fallthrough]];
    case State::kSize:
      if (const int digit = hex_value(c); digit >= 0) {
        left_ = left_ * 16 + static_cast<unsigned>(digit);
        state_ = State::kSize;
        return ++digits_ <= kDigitsMax;
      }
      if (digits_ == 0) return false;
      if (c == ';') {
        state_ = State::kExtension;
        return true;
      }
      state_ = State::kSizeEnd;
      return c == '\r';
    case State::kExtension:
      if (c == '\r') {
        state_ = State::kSizeEnd;
        return true;
      }
      return http::is_valid_value(std::string_view(&c, 1)) && ++extension_bytes_ <= kExtensionBytesMax;
    case State::kSizeEnd:
      state_ = left_ == 0 ? State::kTrailerStart : State::kData;
      return c == '\n';
    case State::kDataCr:
      state_ = State::kDataLf;
      return c == '\r';
    case State::kDataLf:
      state_ = State::kSizeStart;
      return c == '\n';
    case State::kTrailerStart:
      if (c == '\r') {
        state_ = State::kLastLf;
        return true;
      }
      trailer_.clear();
      state_ = State::kTrailer;
      if (++trailers_ > kTrailersMax) return false;
      [[fallthrough]];
    case State::kTrailer:
      if (c == '\r') {
        state_ = State::kTrailerEnd;
        return parse_field_line(trailer_).has_value();
      }
      trailer_.push_back(c);
      return c != '\n' && ++trailer_bytes_ <= kTrailerBytesMax;
    case State::kTrailerEnd:
      state_ = State::kTrailerStart;
      return c == '\n';
    case State::kLastLf:
      state_ = State::kDone;
      return c == '\n';
    case State::kData:
    case State::kDone:
    case State::kRefused:
      break;
  }
  return false;
}

}  // namespace rusm::serve
