#include "hostcalls/program.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <cstring>
#include <sstream>
#include <stdexcept>

namespace rusm::hostcalls {
namespace {

template <class T>
void put(std::string& out, T value) {
  out.append(reinterpret_cast<const char*>(&value), sizeof(value));  // both ends are little-endian
}

// What is at the edge of something: of an i32 and i64, of a page, of the limits of world.h.
constexpr std::uint64_t kEdges[] = {
    0,           1,
    2,           3,
    7,           8,
    63,          64,
    255,         256,
    1023,        1024,
    1025,        4095,
    4096,        4097,
    0xffff,      0x1'0000,
    0x1'0001,    0x3'ffff,
    0x4'0000,    0x7fff'ffff,
    0x8000'0000, 0xffff'fff0,
    0xffff'ffff, 1ull << 32,
    1ull << 53,  INT64_MAX,
    1ull << 63,  UINT64_MAX - 1,
    UINT64_MAX,  0xffff'ffff'0000'0000,
};

class Bytes {
 public:
  explicit Bytes(std::span<const std::uint8_t> bytes) : left_(bytes) {}
  bool empty() const noexcept { return left_.empty(); }
  std::uint8_t next() noexcept {
    if (left_.empty()) return 0;
    const std::uint8_t byte = left_.front();
    left_ = left_.subspan(1);
    return byte;
  }
  std::uint64_t word(int bytes) noexcept {
    std::uint64_t word = 0;
    for (int i = 0; i < bytes; ++i) word = word << 8 | next();
    return word;
  }

 private:
  std::span<const std::uint8_t> left_;
};

Argument number_of(Bytes& bytes, std::uint64_t few, const std::vector<std::uint64_t>& pids, std::uint8_t kind) {
  switch (kind) {
    case 0:
    case 1:
      return {.value = few};
    case 2:
    case 3:
      return {.kind = Argument::Kind::kRegister, .value = few};
    case 4:
    case 5:
      return {.value = pids[few % pids.size()]};
    case 6:
      return {.value = kEdges[few % std::size(kEdges)]};
    default:
      return {.value = bytes.word(8)};
  }
}

// What an i32 is: most are pointers, lengths and handles.
Argument pointer_of(Bytes& bytes, std::uint64_t few, std::uint8_t kind) {
  switch (kind) {
    case 0:
    case 1:
      return {.value = few};
    case 2:
    case 3:
      return {.kind = Argument::Kind::kScratch, .value = few * 8};
    case 4:
      return {.kind = Argument::Kind::kRegister, .value = few};
    case 5:
      return {.kind = Argument::Kind::kMemoryEnd, .value = few - 24};
    case 6:
      return {.value = kEdges[few % std::size(kEdges)]};
    default:
      if (few % 2 == 0) return {.value = bytes.word(4)};
      return {.kind = Argument::Kind::kScratch, .value = bytes.word(2) % (kScratchBytes + 64)};
  }
}

Argument argument(Bytes& bytes, std::string_view type, const std::vector<std::uint64_t>& pids) {
  const std::uint8_t tag = bytes.next();
  const std::uint64_t few = tag >> 3;
  return type == "i64" ? number_of(bytes, few, pids, tag & 7) : pointer_of(bytes, few, tag & 7);
}

std::string_view next_word(std::string_view& text, char separator) {
  const std::size_t at = std::min(text.find(separator), text.size());
  const std::string_view word = text.substr(0, at);
  text.remove_prefix(std::min(at + 1, text.size()));
  return word;
}

std::string_view trim(std::string_view text) {
  while (text.starts_with(' ')) text.remove_prefix(1);
  while (text.ends_with(' ')) text.remove_suffix(1);
  return text;
}

std::uint64_t number(std::string_view text) {
  const bool negative = text.starts_with('-');
  if (negative || text.starts_with('+')) text.remove_prefix(1);
  std::uint64_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size()) {
    throw std::runtime_error(fmt::format("`{}` is no number", text));
  }
  return negative ? 0 - value : value;
}

Argument argument(std::string_view word, const std::vector<std::uint64_t>& pids) {
  using Kind = Argument::Kind;
  if (word.starts_with("pid")) return {.value = pids.at(number(word.substr(3)))};
  if (word.starts_with('r')) return {.kind = Kind::kRegister, .value = number(word.substr(1))};
  if (word.starts_with('s')) return {.kind = Kind::kScratch, .value = number(word.substr(1))};
  if (word.starts_with('m')) return {.kind = Kind::kMemoryEnd, .value = number(word.substr(1))};
  return {.value = number(word)};
}

}  // namespace

std::string Program::encode() const {
  std::string out;
  put(out, static_cast<std::uint32_t>(calls.size()));
  put(out, depth);
  put(out, rounds);
  put(out, end);
  put(out, report_to);
  std::string data = scratch.substr(0, kScratchBytes);
  data.resize(kScratchBytes);
  out += data;
  for (const MadeCall& made : calls) {
    put(out, static_cast<std::uint32_t>(made.call));
    put(out, std::uint32_t{0});
    std::uint8_t kinds[kArgsMax] = {};
    std::uint64_t values[kArgsMax] = {};
    for (std::size_t k = 0; k < std::min(made.args.size(), kArgsMax); ++k) {
      kinds[k] = static_cast<std::uint8_t>(made.args[k].kind);
      values[k] = made.args[k].value;
    }
    out.append(reinterpret_cast<const char*>(kinds), sizeof(kinds));
    out.append(reinterpret_cast<const char*>(values), sizeof(values));
  }
  return out;
}

std::string Program::to_string(const Calls& all) const {
  constexpr std::string_view kKinds[] = {"", "r", "s+", "m+"};
  std::string text = fmt::format("depth {} rounds {} end {}:", depth, rounds, static_cast<std::uint32_t>(end));
  for (const MadeCall& made : calls) {
    const HostCall& call = all.all()[made.call];
    text += fmt::format(" {}#{}", call.module, call.name);
    for (const Argument& arg : made.args) {
      text += fmt::format(" {}{}", kKinds[static_cast<std::size_t>(arg.kind)], static_cast<std::int64_t>(arg.value));
    }
    text += ';';
  }
  return text;
}

Program parse(const Calls& calls, std::string_view text, std::vector<std::uint64_t> pids) {
  Program program{.calls = {}, .scratch = usual_scratch(), .pids = std::move(pids)};
  while (!text.empty()) {
    std::string_view line = trim(next_word(text, ';'));
    const std::string_view name = next_word(line, ' ');
    const auto call = calls.find(name);
    if (!call) throw std::runtime_error(fmt::format("there is no call `{}`", name));
    MadeCall made{.call = *call, .args = {}};
    while (!line.empty()) made.args.push_back(argument(next_word(line, ' '), program.pids));
    if (made.args.size() != calls.all()[*call].params.size()) {
      throw std::runtime_error(fmt::format("`{}` has {} arguments", name, calls.all()[*call].params.size()));
    }
    program.calls.push_back(std::move(made));
  }
  return program;
}

std::string usual_scratch() {
  std::string scratch(kScratchBytes, '\0');
  const auto at = [&](std::size_t where, std::string_view what) { scratch.replace(where, what.size(), what); };
  at(kNameAt, "control");
  at(kOtherAt, "other");
  at(kBadTextAt, "\xff\xfe\xfd");
  at(kCutTextAt, "\xe2\x82");
  constexpr std::uint32_t kVectors[] = {1024, 16, 0xffff'fff0, 32};
  std::memcpy(scratch.data() + kVectorsAt, kVectors, sizeof(kVectors));
  return scratch;
}

namespace {

// What most calls need to get far: a stream to itself, and something in its mailbox, its tags and the store.
constexpr std::string_view kModuleBegins =
    "own_pid; stream_open r0; stream_accept; stream_write r1 s0 9; send r0 s0 7; register_tag s16 5; "
    "kv_set s0 7 s16 5 s0 9";
constexpr std::string_view kComponentBegins =
    "actor#own-pid; streams#stream-open r0 s1024; streams#stream-accept; streams#stream-write 1 s0 9; "
    "actor#send r0 s0 7; pg#register-tag s16 5; kv#set s0 7 s16 5 s0 9 s1040";

}  // namespace

Program from_bytes(const Calls& calls, std::span<const std::uint8_t> data, std::vector<std::uint64_t> pids) {
  Bytes bytes(data);
  Program program{.calls = {}, .scratch = usual_scratch(), .pids = std::move(pids)};
  const std::uint8_t shape = bytes.next();
  if ((shape & 0x40) != 0) {
    program.calls = parse(calls, calls.find("own_pid") ? kModuleBegins : kComponentBegins, program.pids).calls;
  }
  if ((shape & 3) == 3) program.depth = (shape >> 2) * (kDepthMax / 63);
  program.rounds = (shape & 0x80) != 0 ? 2 : 1;
  // Running for ever costs real time, so it is rare.
  const std::uint8_t end = bytes.next();
  program.end = end == 0xa7 ? End::kSpin : end % 4 == 0 ? End::kTrap : End::kReturn;
  if (end % 3 == 0) program.report_to = program.pids.front();
  const std::size_t changed = bytes.next() % 8;
  for (std::size_t i = 0; i < changed; ++i) {
    const std::size_t at = bytes.word(2) % kScratchBytes;
    program.scratch[at] = static_cast<char>(bytes.next());
  }
  while (!bytes.empty() && program.calls.size() < kCallsMax) {
    // Every other call is one of RUSM's own.
    const std::uint8_t which = bytes.next();
    MadeCall made{.call = (which < 128 ? bytes.next() : which) % calls.all().size(), .args = {}};
    if (which >= 128) made.call = calls.own()[which % calls.own().size()];
    for (const std::string& type : calls.all()[made.call].params) {
      made.args.push_back(argument(bytes, type, program.pids));
    }
    program.calls.push_back(std::move(made));
  }
  return program;
}

}  // namespace rusm::hostcalls
