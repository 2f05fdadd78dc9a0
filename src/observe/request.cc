#include "observe/request.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <charconv>

namespace rusm::observe {
namespace {

constexpr std::array<std::string_view, 4> kVerbs = {"top", "tree", "exits", "process"};
constexpr std::string_view kOk = "rusm 1 ok ";
constexpr std::string_view kError = "rusm 1 error ";

std::unexpected<Error> invalid(std::string_view word, std::string_view text) {
  return fail(ErrorCode::kInvalid, "request", fmt::format("{}: {}", printable(word, 64), text));
}

std::optional<std::size_t> parse_number(std::string_view text, std::size_t min, std::size_t max) {
  std::size_t number = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (error != std::errc() || end != text.data() + text.size() || number < min || number > max) return std::nullopt;
  return number;
}

bool has_controls(std::string_view text) {
  return std::ranges::any_of(text, [](char c) { return static_cast<unsigned char>(c) < 0x20 || c == 0x7f; });
}

// One key=value.
Result<> set(std::string_view word, Request* request) {
  const std::size_t middle = std::min(word.find('='), word.size());
  const std::string_view key = word.substr(0, middle);
  const std::string_view value = word.substr(std::min(middle + 1, word.size()));
  if (key == "sort") {
    const std::optional<TopOrder> order = parse_top_order(value);
    if (!order) return invalid(word, "sort is one of reductions, messages, mailbox, bytes, pid");
    request->order = *order;
  } else if (key == "rows") {
    const auto rows = parse_number(value, 1, TopList::kRowsMax);
    if (!rows) return invalid(word, fmt::format("rows is 1…{}", TopList::kRowsMax));
    request->rows = *rows;
  } else if (key == "columns") {
    const auto columns = parse_number(value, 0, kColumnsMax);
    if (!columns) return invalid(word, fmt::format("columns is 0…{}", kColumnsMax));
    request->columns = *columns;
  } else if (key == "format") {
    if (value != "text" && value != "json") return invalid(word, "format is text or json");
    request->json = value == "json";
  } else {
    return invalid(word, "there is no such key; sort, rows, columns, format and of are known");
  }
  return {};
}

}  // namespace

Result<Request> parse_request(std::string_view line) {
  if (has_controls(line)) return invalid(line, "there is a control character in it");
  const std::string_view verb = line.substr(0, line.find(' '));
  const auto found = std::ranges::find(kVerbs, verb);
  if (found == kVerbs.end()) return invalid(verb, "expected top, tree, exits or process");
  Request request{.what = static_cast<Request::What>(found - kVerbs.begin())};
  line.remove_prefix(verb.size());
  while (!line.empty()) {
    line.remove_prefix(1);  // the space
    if (line.starts_with("of=")) {
      request.of = line.substr(3);
      break;
    }
    const std::string_view word = line.substr(0, line.find(' '));
    if (Result<> done = set(word, &request); !done) return std::unexpected(std::move(done.error()));
    line.remove_prefix(word.size());
  }
  if (request.of.empty() == (request.what == Request::What::kProcess)) {
    return invalid(verb, request.of.empty() ? "of=NAME is missing: which process?" : "of= belongs to process");
  }
  return request;
}

Result<std::string> to_line(const Request& request) {
  std::string line(kVerbs[static_cast<std::size_t>(request.what)]);
  if (request.what == Request::What::kTop) line += fmt::format(" sort={}", name_of(request.order));
  if (request.what == Request::What::kTop || request.what == Request::What::kExits) {
    line += fmt::format(" rows={}", request.rows);
  }
  line += fmt::format(" columns={} format={}", request.columns, request.json ? "json" : "text");
  if (request.what == Request::What::kProcess) {
    if (request.of.empty() || has_controls(request.of) || line.size() + 5 + request.of.size() > kRequestBytesMax) {
      return invalid(request.of, "this name cannot be asked for; ask for the process by its pid");
    }
    line += " of=" + request.of;
  }
  return line + '\n';
}

std::string to_line(AnswerHead head) {
  return fmt::format("{}{}\n", head.ok ? kOk : kError, head.bytes);
}

std::optional<AnswerHead> parse_answer_head(std::string_view line) {
  const bool ok = line.starts_with(kOk);
  if (!ok && !line.starts_with(kError)) return std::nullopt;
  const auto bytes = parse_number(line.substr(ok ? kOk.size() : kError.size()), 0, kAnswerBytesMax);
  if (!bytes) return std::nullopt;
  return AnswerHead{ok, *bytes};
}

}  // namespace rusm::observe
