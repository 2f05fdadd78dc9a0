// What is asked of a control server, and how it stands on the wire:
//
//   VERB [sort=ORDER] [rows=N] [columns=N] [format=text|json] [of=NAME]\n
//
// VERB is top, tree, exits or process; of= takes the rest of the line, so that names with spaces can be asked for. The
// answer is one line, "rusm 1 ok BYTES\n" or "rusm 1 error BYTES\n", and so many bytes of text; then the server closes.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "base/error.h"
#include "observe/top_list.h"

namespace rusm::observe {

// With its newline: room for a name of any length that the registry takes.
inline constexpr std::size_t kRequestBytesMax = 512;
inline constexpr std::size_t kColumnsMax = 1000;
// An answer that would be longer is refused; no report gets near it.
inline constexpr std::size_t kAnswerBytesMax = 16u << 20;

// Threads: a value.
struct Request {
  enum class What : std::uint8_t { kTop, kTree, kExits, kProcess };
  What what = What::kTop;
  TopOrder order = TopOrder::kReductions;  // of kTop
  std::size_t rows = 20;                   // of kTop and kExits; 1…TopList::kRowsMax
  std::size_t columns = 0;                 // at most so many in a line; 0: any number
  bool json = false;
  std::string of = {};  // of kProcess: a name or a pid

  bool operator==(const Request&) const = default;
};

// `line` without its newline. Errors: kInvalid.
Result<Request> parse_request(std::string_view line);
// With its newline. Errors: kInvalid when `of` cannot be asked for: it is longer than kRequestBytesMax allows, or holds
// control characters; its pid can.
Result<std::string> to_line(const Request& request);

struct AnswerHead {
  bool ok;
  std::size_t bytes;
  bool operator==(const AnswerHead&) const = default;
};
inline constexpr std::size_t kAnswerHeadBytesMax = 32;
std::string to_line(AnswerHead head);
// `line` without its newline.
std::optional<AnswerHead> parse_answer_head(std::string_view line);

}  // namespace rusm::observe
