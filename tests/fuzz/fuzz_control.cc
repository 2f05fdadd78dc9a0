// Reads arbitrary bytes as a request to a control server and as the head of its answer; what was understood is written
// and read to the same, and what is said about the rest is harmless for a terminal. The same bytes as foreign text.
#include <cstdint>
#include <cstdlib>
#include <string_view>

#include "observe/request.h"
#include "observe/text.h"

namespace {

using namespace rusm::observe;

void hold(bool condition) {
  if (!condition) std::abort();
}

void read_request(std::string_view line) {
  const rusm::Result<Request> request = parse_request(line);
  if (!request) {
    hold(printable(request.error().to_string()) == request.error().to_string());
    return;
  }
  hold(request->rows >= 1 && request->rows <= TopList::kRowsMax && request->columns <= kColumnsMax);
  const rusm::Result<std::string> written = to_line(*request);
  if (!written) {  // of= takes more on the way in than fits beside what is always written
    hold(request->of.size() > 255);
    return;
  }
  hold(written->size() <= kRequestBytesMax && written->find('\n') == written->size() - 1);
  const rusm::Result<Request> again = parse_request(std::string_view(*written).substr(0, written->size() - 1));
  hold(again.has_value() && to_line(*again) == *written);
}

void show(std::string_view text, std::size_t width) {
  const std::string shown = printable(text, width);
  hold(width_of(shown) <= width);
  hold(printable(shown) == shown);
  for (const char c : json_text(text)) hold(static_cast<unsigned char>(c) >= 0x20 && c != 0x7f);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size == 0) return 0;
  const std::string_view text(reinterpret_cast<const char*>(data) + 1, size - 1);
  read_request(text.substr(0, kRequestBytesMax));
  if (const auto head = parse_answer_head(text)) hold(head->bytes <= kAnswerBytesMax);
  show(text, data[0]);
  return 0;
}
