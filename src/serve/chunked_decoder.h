// ChunkedDecoder: takes the chunked transfer coding (RFC 9112 §7.1) off a request's body. As strict as the parser of
// heads: lines end with CR LF, sizes are hexadecimal digits and nothing else, what follows a ';' is skipped within
// limits, trailers must be well-formed and are dropped.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>

namespace rusm::serve {

// Threads: one owner.
class ChunkedDecoder {
 public:
  static constexpr std::size_t kExtensionBytesMax = 16 << 10;  // of all chunks of a body
  static constexpr std::size_t kTrailerBytesMax = 8 << 10;     // of all trailers
  static constexpr std::size_t kTrailersMax = 64;

  enum class Progress : std::uint8_t {
    kMore,     // used up the input or the room
    kDone,     // the body and its trailers are over; what follows belongs to the next request
    kRefused,  // malformed or beyond a limit; nothing may follow
  };
  struct Step {
    Progress progress;
    std::size_t consumed;  // of the input
    std::size_t produced;  // into the room
  };

  // Decodes from `input` into `room`.
  Step decode(std::span<const std::byte> input, std::span<std::byte> room);
  // True while only bytes of the body can move it on, and there is no room needed for anything else.
  bool in_data() const noexcept { return state_ == State::kData; }

 private:
  enum class State : std::uint8_t {
    kSizeStart,
    kSize,
    kExtension,
    kSizeEnd,
    kData,
    kDataCr,
    kDataLf,
    kTrailerStart,
    kTrailer,
    kTrailerEnd,
    kLastLf,
    kDone,
    kRefused,
  };

  // One byte outside of the chunks' data. False when it must not stand there.
  bool take(char c);

  std::uint64_t left_ = 0;  // of the present chunk
  std::size_t extension_bytes_ = 0;
  std::size_t trailer_bytes_ = 0;
  std::size_t trailers_ = 0;
  std::string trailer_;
  State state_ = State::kSizeStart;
  std::uint8_t digits_ = 0;
};

}  // namespace rusm::serve
