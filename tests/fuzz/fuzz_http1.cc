// Feeds arbitrary bytes to the parser of requests, the decoder of chunks and the router, in one piece and cut in two,
// and holds both to the same result.
#include <cstdint>
#include <cstdlib>
#include <span>
#include <string>
#include <string_view>

#include "serve/chunked_decoder.h"
#include "serve/http1_parser.h"
#include "serve/router.h"

namespace {

using rusm::serve::ChunkedDecoder;
using rusm::serve::HeadLimits;
using rusm::serve::RequestParser;
using rusm::serve::Router;

void hold(bool condition) {
  if (!condition) std::abort();
}

// Nothing that comes out of the parser may have been able to end a line.
void check_head(const rusm::http::RequestHead& head) {
  hold(rusm::http::is_valid_name(head.method));
  hold(rusm::http::is_valid_value(head.target) && !head.target.empty());
  hold(rusm::http::is_valid_value(head.authority));
  for (std::size_t i = 0; i < head.headers.size(); ++i) {
    hold(rusm::http::is_valid_name(head.headers[i].name));
    hold(rusm::http::is_valid_value(head.headers[i].value));
  }
}

const Router& router() {
  static const Router built = [] {
    Router made;
    std::uint32_t target = 0;
    for (const std::string_view pattern : {"GET /", "GET /users/:id", "POST /users/:id/*", "/*", "GET /a/:b/c"}) {
      hold(made.add(pattern, target++).has_value());
    }
    return made;
  }();
  return built;
}

void parse(std::string_view text, std::size_t cut) {
  const HeadLimits limits{.line_bytes_max = 512, .head_bytes_max = 2048, .headers_max = 16};
  RequestParser whole(limits);
  RequestParser pieces(limits);
  const RequestParser::Progress outcome = whole.parse(text);
  RequestParser::Progress cut_outcome = pieces.parse(std::string(text.substr(0, cut)));
  if (cut_outcome == RequestParser::Progress::kMore) cut_outcome = pieces.parse(text);
  hold(outcome == cut_outcome);
  if (outcome == RequestParser::Progress::kRefused) {
    hold(whole.refusal().status >= 400 && whole.refusal().status <= 505);
    hold(whole.refusal().status == pieces.refusal().status);
  }
  if (outcome != RequestParser::Progress::kDone) return;
  hold(whole.head_bytes() == pieces.head_bytes() && whole.head_bytes() <= text.size());
  hold(whole.framing() == pieces.framing());
  check_head(whole.head());
  const Router::Match match = router().find(whole.head().method, whole.head().target);
  hold(match.status == 200 || match.status == 400 || match.status == 404);
}

struct Decoded {
  ChunkedDecoder::Progress progress = ChunkedDecoder::Progress::kMore;
  std::size_t consumed = 0;
  std::string body;
  bool operator==(const Decoded&) const = default;
};

Decoded decode(std::string_view text, std::size_t piece, std::size_t room) {
  ChunkedDecoder decoder;
  Decoded decoded;
  std::string out(room, '\0');
  while (decoded.consumed < text.size() && decoded.progress == ChunkedDecoder::Progress::kMore) {
    const std::string_view input = text.substr(decoded.consumed, piece);
    const auto step = decoder.decode(std::as_bytes(std::span(input)), std::as_writable_bytes(std::span(out)));
    hold(step.consumed <= input.size() && step.produced <= room && step.produced <= step.consumed);
    hold(step.consumed > 0 || step.progress != ChunkedDecoder::Progress::kMore);
    decoded.progress = step.progress;
    decoded.consumed += step.consumed;
    decoded.body.append(out, 0, step.produced);
  }
  return decoded;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size < 2) return 0;
  const std::string_view text(reinterpret_cast<const char*>(data) + 1, size - 1);
  const std::size_t cut = data[0] % text.size();
  parse(text, cut);
  hold(decode(text, text.size(), text.size()) == decode(text, cut + 1, 7));
  return 0;
}
