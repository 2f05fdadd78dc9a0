#include "otp/codec.h"

#include <bit>
#include <limits>

#include "base/assert.h"

namespace rusm::otp {

// ── Encoder ──────────────────────────────────────────────────────────────────────────────────────────────────────────

// A type and a number of `bytes` bytes, the highest first.
void Encoder::put(unsigned type, std::uint64_t value, int bytes) {
  put(type);
  while (bytes-- > 0) put(static_cast<unsigned>(value >> (8 * bytes)) & 0xff);
}

void Encoder::natural(std::uint64_t value) {
  if (value < 0x80) {
    put(static_cast<unsigned>(value));
  } else if (value <= 0xff) {
    put(0xcc, value, 1);
  } else if (value <= 0xffff) {
    put(0xcd, value, 2);
  } else if (value <= 0xffff'ffff) {
    put(0xce, value, 4);
  } else {
    put(0xcf, value, 8);
  }
}

void Encoder::integer(std::int64_t value) {
  const auto bits = static_cast<std::uint64_t>(value);
  if (value >= 0) {
    natural(bits);
  } else if (value >= -32) {
    put(static_cast<unsigned>(bits & 0xff));
  } else if (value >= std::numeric_limits<std::int8_t>::min()) {
    put(0xd0, bits, 1);
  } else if (value >= std::numeric_limits<std::int16_t>::min()) {
    put(0xd1, bits, 2);
  } else if (value >= std::numeric_limits<std::int32_t>::min()) {
    put(0xd2, bits, 4);
  } else {
    put(0xd3, bits, 8);
  }
}

void Encoder::real(float value) {
  put(0xca, std::bit_cast<std::uint32_t>(value), 4);
}

void Encoder::real(double value) {
  put(0xcb, std::bit_cast<std::uint64_t>(value), 8);
}

void Encoder::text(std::string_view value) {
  if (value.size() > 31 && value.size() <= 0xff) {
    put(0xd9, value.size(), 1);
  } else {
    head(value.size(), 0xa0, 31, 0xda);
  }
  put(std::as_bytes(std::span(value)));
}

void Encoder::binary(std::span<const std::byte> value) {
  if (value.size() <= 0xff) {
    put(0xc4, value.size(), 1);
  } else {
    head(value.size(), 0, 0, 0xc5);
  }
  put(value);
}

void Encoder::head(std::size_t size, unsigned fixed, unsigned fixed_max, unsigned type16) {
  RUSM_ASSERT(size <= 0xffff'ffff, "too long for MessagePack");
  if (size <= fixed_max) {
    put(fixed | static_cast<unsigned>(size));
  } else if (size <= 0xffff) {
    put(type16, size, 2);
  } else {
    put(type16 + 1, size, 4);
  }
}

// ── Decoder ──────────────────────────────────────────────────────────────────────────────────────────────────────────

bool Decoder::take(std::size_t bytes, std::span<const std::byte>* taken) {
  if (in_.size() < bytes) return fail();
  *taken = in_.first(bytes);
  in_ = in_.subspan(bytes);
  return true;
}

bool Decoder::number(int bytes, std::uint64_t* value) {
  std::span<const std::byte> taken;
  if (!take(static_cast<std::size_t>(bytes), &taken)) return false;
  *value = 0;
  for (const std::byte byte : taken) *value = *value << 8 | std::to_integer<std::uint64_t>(byte);
  return true;
}

bool Decoder::charge(std::size_t bytes) noexcept {
  if (bytes > memory_) return fail();
  memory_ -= bytes;
  return true;
}

bool Decoder::nil() {
  if (!next_is_nil()) return fail();
  in_ = in_.subspan(1);
  return true;
}

bool Decoder::boolean(bool* value) {
  std::uint64_t type = 0;
  if (!number(1, &type) || (type != 0xc2 && type != 0xc3)) return fail();
  *value = type == 0xc3;
  return true;
}

// A whole number of any form, as the 64 bits of its two's complement.
bool Decoder::whole(bool* negative, std::uint64_t* value) {
  std::uint64_t type = 0;
  if (!number(1, &type)) return false;
  *negative = false;
  if (type < 0x80) {
    *value = type;
    return true;
  }
  if (type >= 0xe0) {
    *negative = true;
    *value = static_cast<std::uint64_t>(static_cast<std::int8_t>(type));
    return true;
  }
  if (type < 0xcc || type > 0xd3) return fail();
  const int bytes = 1 << ((type - 0xcc) % 4);
  if (!number(bytes, value)) return false;
  if (type >= 0xd0) {
    const int shift = 64 - 8 * bytes;
    const std::int64_t extended = static_cast<std::int64_t>(*value << shift) >> shift;
    *negative = extended < 0;
    *value = static_cast<std::uint64_t>(extended);
  }
  return true;
}

bool Decoder::natural(std::uint64_t* value) {
  bool negative = false;
  return whole(&negative, value) && (!negative || fail());
}

bool Decoder::integer(std::int64_t* value) {
  bool negative = false;
  std::uint64_t bits = 0;
  if (!whole(&negative, &bits)) return false;
  *value = static_cast<std::int64_t>(bits);
  return negative == (*value < 0) || fail();
}

bool Decoder::real(double* value) {
  std::uint64_t bits = 0;
  if (in_.empty()) return fail();
  const auto type = std::to_integer<unsigned>(in_.front());
  if (type == 0xca) {
    in_ = in_.subspan(1);
    if (!number(4, &bits)) return false;
    *value = std::bit_cast<float>(static_cast<std::uint32_t>(bits));
  } else if (type == 0xcb) {
    in_ = in_.subspan(1);
    if (!number(8, &bits)) return false;
    *value = std::bit_cast<double>(bits);
  } else {
    bool negative = false;
    if (!whole(&negative, &bits)) return false;
    *value = negative ? static_cast<double>(static_cast<std::int64_t>(bits)) : static_cast<double>(bits);
  }
  return true;
}

// `fixed_mask`: the bits of a short head that are its size; 0: there is none. `type8`: 0 when there is none.
bool Decoder::head(unsigned fixed, unsigned fixed_mask, unsigned type8, unsigned type16, std::size_t* size) {
  std::uint64_t type = 0;
  std::uint64_t value = 0;
  if (!number(1, &type)) return false;
  if (fixed_mask != 0 && (type & ~std::uint64_t{fixed_mask}) == fixed) {
    value = type & fixed_mask;
  } else if (type8 != 0 && type == type8) {
    if (!number(1, &value)) return false;
  } else if (type == type16) {
    if (!number(2, &value)) return false;
  } else if (type == type16 + 1) {
    if (!number(4, &value)) return false;
  } else {
    return fail();
  }
  *size = value;
  return true;
}

bool Decoder::text(std::string_view* value) {
  std::size_t size = 0;
  std::span<const std::byte> bytes;
  if (!head(0xa0, 31, 0xd9, 0xda, &size) || !take(size, &bytes)) return false;
  *value = {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
  return true;
}

bool Decoder::binary(std::span<const std::byte>* value) {
  std::size_t size = 0;
  return head(0, 0, 0xc4, 0xc5, &size) && take(size, value);
}

bool Decoder::array(std::size_t* size) {
  return head(0x90, 15, 0, 0xdc, size) && (*size <= in_.size() || fail());
}

bool Decoder::map(std::size_t* size) {
  return head(0x80, 15, 0, 0xde, size) && (*size <= in_.size() / 2 || fail());
}

// ── ExitReason ───────────────────────────────────────────────────────────────────────────────────────────────────────

void Codec<ExitReason>::encode(Encoder& out, const ExitReason& value) {
  out.array(4);
  out.natural(static_cast<std::uint64_t>(value.kind()));
  out.text(value.crash_kind());
  out.text(value.text());
  out.text(value.backtrace());
}

bool Codec<ExitReason>::decode(Decoder& in, ExitReason* value) {
  std::size_t size = 0;
  std::uint64_t kind = 0;
  std::string_view crash_kind;
  std::string_view text;
  std::string_view backtrace;
  if (!in.array(&size) || size != 4 || !in.natural(&kind) || !in.text(&crash_kind) || !in.text(&text) ||
      !in.text(&backtrace) || kind > static_cast<std::uint64_t>(ExitReason::Kind::kKill)) {
    return false;
  }
  switch (static_cast<ExitReason::Kind>(kind)) {
    case ExitReason::Kind::kCrashed:
      *value = ExitReason::crashed(std::string(crash_kind), std::string(text), std::string(backtrace));
      return true;
    case ExitReason::Kind::kLimit:
      *value = ExitReason::limit(std::string(crash_kind), std::string(text), std::string(backtrace));
      return true;
    case ExitReason::Kind::kOther:
      *value = ExitReason::other(std::string(text));
      return true;
    default:
      *value = static_cast<ExitReason::Kind>(kind);
      return true;
  }
}

}  // namespace rusm::otp
