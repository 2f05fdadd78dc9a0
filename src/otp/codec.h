// Codec: how values leave their node, and how guests see them: as MessagePack (its specification of 2013).
//
// A type has a codec when it is
// - bool, a number, a scoped enumeration (any number of its underlying type is let through), std::string,
// std::vector<std::byte> (binary), Pid, ExitReason;
// - std::optional (nil: empty), std::vector, std::array, std::pair, std::tuple, std::map, std::variant
//   ([index, value]), std::monostate (nil) of such; no hash maps, as a stranger could choose keys that collide;
// - an aggregate without bases and without arrays in the C way, all of whose fields have one: the array of its fields
//   in order, which is what other languages' libraries make of a struct by default;
// - a type for which Codec<T> is specialised.
// What is decoded has to be default-constructible. An aggregate of another kind (with a base, an array in the C way, a
// bit-field) that is sent within its node only says so, as nothing can find out: static constexpr bool kLocalOnly =
// true;
//
// On its way a value carries its type's name, kWireName<T>: as the compiler spells it, so that both sides should be
// built by one compiler, and types of one name in the unnamed namespaces of two files are not told apart. Or what the
// type says itself, so that it can be renamed and moved, and other compilers and languages know it:
//   struct Deposit { static constexpr std::string_view kWireName = "bank.deposit"; int cents; };
#pragma once

#include <array>
#include <boost/pfr.hpp>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <tuple>
#include <type_traits>
#include <utility>
#include <variant>
#include <vector>

#include "otp/exit_reason.h"
#include "otp/pid.h"

namespace rusm::otp {

// Writes MessagePack, each value in its shortest form. Threads: one owner.
class Encoder {
 public:
  void nil() { put(0xc0); }
  void boolean(bool value) { put(value ? 0xc3 : 0xc2); }
  void natural(std::uint64_t value);
  void integer(std::int64_t value);
  void real(float value);
  void real(double value);
  // Longer texts, binaries, arrays and maps than 2^32 - 1 end the program.
  void text(std::string_view value);
  void binary(std::span<const std::byte> value);
  void array(std::size_t size) { head(size, 0x90, 15, 0xdc); }
  void map(std::size_t size) { head(size, 0x80, 15, 0xde); }

  std::span<const std::byte> bytes() const noexcept { return out_; }
  std::vector<std::byte> take() && { return std::move(out_); }

 private:
  void put(unsigned byte) { out_.push_back(static_cast<std::byte>(byte)); }
  void put(unsigned type, std::uint64_t value, int bytes);
  void put(std::span<const std::byte> bytes) { out_.insert(out_.end(), bytes.begin(), bytes.end()); }
  void head(std::size_t size, unsigned fixed, unsigned fixed_max, unsigned type16);

  std::vector<std::byte> out_;
};

// Reads MessagePack; any length of a number or a head is accepted. Each function is false, and everything after it too,
// when something else stands there, or nothing. Threads: one owner.
class Decoder {
 public:
  explicit Decoder(std::span<const std::byte> in) : in_(in), memory_(kMemoryFree + in.size() * kMemoryFactor) {}

  bool nil();
  bool boolean(bool* value);
  bool natural(std::uint64_t* value);
  bool integer(std::int64_t* value);
  // Whole numbers are taken for reals too.
  bool real(double* value);
  bool text(std::string_view* value);
  bool binary(std::span<const std::byte>* value);
  // At most as many elements as there are bytes left.
  bool array(std::size_t* size);
  bool map(std::size_t* size);
  // For what the next element takes in memory; false when the bytes are too few to justify all that was asked for:
  // a short message does not become a large value.
  bool charge(std::size_t bytes) noexcept;
  bool next_is_nil() const noexcept { return !in_.empty() && in_.front() == std::byte{0xc0}; }
  bool at_end() const noexcept { return in_.empty(); }

 private:
  static constexpr std::size_t kMemoryFree = 64 * 1024;
  static constexpr std::size_t kMemoryFactor = 16;

  bool fail() noexcept {
    in_ = {};
    return false;
  }
  bool take(std::size_t bytes, std::span<const std::byte>* taken);
  bool number(int bytes, std::uint64_t* value);
  bool whole(bool* negative, std::uint64_t* value);
  bool head(unsigned fixed, unsigned fixed_mask, unsigned type8, unsigned type16, std::size_t* size);

  std::span<const std::byte> in_;
  std::size_t memory_;  // that may still be charged
};

// To be specialised with
//   static void encode(Encoder& out, const T& value);
//   static bool decode(Decoder& in, T* value);  // false: it is not a T
// An exception of either counts as: it cannot be encoded, or is not a T.
// A type that contains itself needs one of its own, which limits its depth.
template <class T>
struct Codec;

namespace detail {

template <class T>
concept HasOwnCodec = requires(Encoder& out, Decoder& in, const T& from, T* to) {
  Codec<T>::encode(out, from);
  { Codec<T>::decode(in, to) } -> std::same_as<bool>;
};

template <class T>
struct HasCodec;

template <class T, std::size_t... I>
consteval bool all_fields_have_one(std::index_sequence<I...>) {
  return (HasCodec<boost::pfr::tuple_element_t<I, T>>::value && ...);
}

template <class T>
consteval bool has_codec() {
  if constexpr (requires { requires T::kLocalOnly; }) {
    return false;
  } else if constexpr (HasOwnCodec<T>) {
    return true;
  } else if constexpr (std::is_aggregate_v<T> && !std::is_array_v<T> && std::is_default_constructible_v<T>) {
    return all_fields_have_one<T>(std::make_index_sequence<boost::pfr::tuple_size_v<T>>());
  } else {
    return false;
  }
}

template <class T>
struct HasCodec {
  static constexpr bool value = has_codec<T>();
};

template <class T>
void encode_into(Encoder& out, const T& value) {
  if constexpr (HasOwnCodec<T>) {
    Codec<T>::encode(out, value);
  } else {
    out.array(boost::pfr::tuple_size_v<T>);
    boost::pfr::for_each_field(value, [&out](const auto& field) { encode_into(out, field); });
  }
}

template <class T>
bool decode_from(Decoder& in, T* value) {
  if constexpr (HasOwnCodec<T>) {
    return Codec<T>::decode(in, value);
  } else {
    std::size_t size = 0;
    bool fine = in.array(&size) && size == boost::pfr::tuple_size_v<T>;
    boost::pfr::for_each_field(*value, [&](auto& field) { fine = fine && decode_from(in, &field); });
    return fine;
  }
}

// The name of T as the compiler spells it.
template <class T>
constexpr std::string_view spelled_name() {
  constexpr std::string_view whole = __PRETTY_FUNCTION__;
  constexpr std::size_t begin = whole.find("T = ") + 4;
  constexpr std::size_t end = whole.find_first_of(";]", begin);
  return whole.substr(begin, end - begin);
}

template <class T>
concept NamesItself = requires {
  { T::kWireName } -> std::convertible_to<std::string_view>;
};

// FNV-1a, 64 bits.
constexpr std::uint64_t hash_of_name(std::string_view name) {
  std::uint64_t hash = 0xcbf29ce484222325;
  for (const char c : name) hash = (hash ^ static_cast<unsigned char>(c)) * 0x100000001b3;
  return hash;
}

}  // namespace detail

template <class T>
concept Encodable = detail::HasCodec<T>::value;

template <class T>
inline constexpr std::string_view kWireName = detail::spelled_name<T>();
template <detail::NamesItself T>
inline constexpr std::string_view kWireName<T> = T::kWireName;

template <Encodable T>
std::vector<std::byte> encode(const T& value) {
  Encoder out;
  detail::encode_into(out, value);
  return std::move(out).take();
}
// Nothing when the bytes are not one T and only that.
template <Encodable T>
std::optional<T> decode(std::span<const std::byte> bytes) {
  Decoder in(bytes);
  std::optional<T> value(std::in_place);
  if (!detail::decode_from(in, &*value) || !in.at_end()) value.reset();
  return value;
}

// ── The types that have one ──────────────────────────────────────────────────────────────────────────────────────────

template <>
struct Codec<bool> {
  static void encode(Encoder& out, bool value) { out.boolean(value); }
  static bool decode(Decoder& in, bool* value) { return in.boolean(value); }
};

template <std::integral T>
struct Codec<T> {
  static void encode(Encoder& out, T value) {
    if constexpr (std::is_signed_v<T>) {
      out.integer(value);
    } else {
      out.natural(value);
    }
  }
  static bool decode(Decoder& in, T* value) {
    std::conditional_t<std::is_signed_v<T>, std::int64_t, std::uint64_t> wide = 0;
    const bool fine = [&] {
      if constexpr (std::is_signed_v<T>) {
        return in.integer(&wide);
      } else {
        return in.natural(&wide);
      }
    }();
    *value = static_cast<T>(wide);
    return fine && static_cast<decltype(wide)>(*value) == wide;
  }
};

template <std::floating_point T>
  requires(sizeof(T) <= sizeof(double))
struct Codec<T> {
  static void encode(Encoder& out, T value) { out.real(value); }
  static bool decode(Decoder& in, T* value) {
    double wide = 0;
    if (!in.real(&wide)) return false;
    *value = static_cast<T>(wide);
    return true;
  }
};

template <class T>
  requires std::is_scoped_enum_v<T>
struct Codec<T> {
  using Number = std::underlying_type_t<T>;
  static void encode(Encoder& out, T value) { Codec<Number>::encode(out, static_cast<Number>(value)); }
  static bool decode(Decoder& in, T* value) {
    Number number{};
    if (!Codec<Number>::decode(in, &number)) return false;
    *value = static_cast<T>(number);
    return true;
  }
};

template <>
struct Codec<std::monostate> {
  static void encode(Encoder& out, std::monostate) { out.nil(); }
  static bool decode(Decoder& in, std::monostate*) { return in.nil(); }
};

template <>
struct Codec<std::string> {
  static void encode(Encoder& out, const std::string& value) { out.text(value); }
  static bool decode(Decoder& in, std::string* value) {
    std::string_view text;
    if (!in.text(&text)) return false;
    value->assign(text);
    return true;
  }
};

template <>
struct Codec<Pid> {
  static void encode(Encoder& out, Pid value) { out.natural(value.raw()); }
  static bool decode(Decoder& in, Pid* value) {
    std::uint64_t raw = 0;
    if (!in.natural(&raw)) return false;
    *value = Pid::from_raw(raw);
    return true;
  }
};

template <>
struct Codec<ExitReason> {
  static void encode(Encoder& out, const ExitReason& value);
  static bool decode(Decoder& in, ExitReason* value);
};

namespace detail {
template <class T>
inline constexpr bool kMayBeNil = std::is_same_v<T, std::monostate>;
template <class T>
inline constexpr bool kMayBeNil<std::optional<T>> = true;
}  // namespace detail

// Of a T whose own codec never writes nil.
template <Encodable T>
struct Codec<std::optional<T>> {
  static_assert(!detail::kMayBeNil<T>, "nil would be both of its states");
  static void encode(Encoder& out, const std::optional<T>& value) {
    value ? detail::encode_into(out, *value) : out.nil();
  }
  static bool decode(Decoder& in, std::optional<T>* value) {
    value->reset();
    return in.next_is_nil() ? in.nil() : detail::decode_from(in, &value->emplace());
  }
};

template <Encodable T>
struct Codec<std::vector<T>> {
  static void encode(Encoder& out, const std::vector<T>& value) {
    out.array(value.size());
    for (const auto& element : value) detail::encode_into<T>(out, element);
  }
  static bool decode(Decoder& in, std::vector<T>* value) {
    std::size_t size = 0;
    bool fine = in.array(&size);
    value->clear();
    for (std::size_t i = 0; fine && i < size; ++i) {
      T element{};
      fine = in.charge(sizeof(T)) && detail::decode_from(in, &element);
      value->push_back(std::move(element));
    }
    return fine;
  }
};

template <>
struct Codec<std::vector<std::byte>> {
  static void encode(Encoder& out, const std::vector<std::byte>& value) { out.binary(value); }
  static bool decode(Decoder& in, std::vector<std::byte>* value) {
    std::span<const std::byte> bytes;
    if (!in.binary(&bytes)) return false;
    value->assign(bytes.begin(), bytes.end());
    return true;
  }
};

namespace detail {

// A fixed number of values of their own types.
template <class Tuple>
struct TupleCodec {
  static constexpr std::size_t kSize = std::tuple_size_v<Tuple>;
  static void encode(Encoder& out, const Tuple& value) {
    out.array(kSize);
    std::apply([&out](const auto&... element) { (encode_into(out, element), ...); }, value);
  }
  static bool decode(Decoder& in, Tuple* value) {
    std::size_t size = 0;
    return in.array(&size) && size == kSize &&
           std::apply([&in](auto&... element) { return (decode_from(in, &element) && ...); }, *value);
  }
};

template <class Map>
struct MapCodec {
  static void encode(Encoder& out, const Map& value) {
    out.map(value.size());
    for (const auto& [key, mapped] : value) {
      encode_into(out, key);
      encode_into(out, mapped);
    }
  }
  static bool decode(Decoder& in, Map* value) {
    std::size_t size = 0;
    bool fine = in.map(&size);
    value->clear();
    for (std::size_t i = 0; fine && i < size; ++i) {
      typename Map::key_type key{};
      typename Map::mapped_type mapped{};
      constexpr std::size_t kNodeBytes = 64;
      fine = in.charge(kNodeBytes + sizeof(key) + sizeof(mapped)) && decode_from(in, &key) && decode_from(in, &mapped);
      if (fine) value->insert_or_assign(std::move(key), std::move(mapped));
    }
    return fine;
  }
};

}  // namespace detail

template <Encodable T, std::size_t N>
struct Codec<std::array<T, N>> : detail::TupleCodec<std::array<T, N>> {};
template <Encodable T, Encodable U>
struct Codec<std::pair<T, U>> : detail::TupleCodec<std::pair<T, U>> {};
template <Encodable... T>
struct Codec<std::tuple<T...>> : detail::TupleCodec<std::tuple<T...>> {};
template <Encodable K, Encodable V, class... Rest>
struct Codec<std::map<K, V, Rest...>> : detail::MapCodec<std::map<K, V, Rest...>> {};

template <Encodable... T>
struct Codec<std::variant<T...>> {
  static void encode(Encoder& out, const std::variant<T...>& value) {
    out.array(2);
    out.natural(value.index());
    std::visit([&out](const auto& v) { detail::encode_into(out, v); }, value);
  }
  static bool decode(Decoder& in, std::variant<T...>* value) {
    std::size_t size = 0;
    std::uint64_t index = 0;
    return in.array(&size) && size == 2 && in.natural(&index) &&
           decode_as(in, index, value, std::index_sequence_for<T...>());
  }

 private:
  template <std::size_t... I>
  static bool decode_as(Decoder& in, std::uint64_t index, std::variant<T...>* value, std::index_sequence<I...>) {
    return ((index == I && detail::decode_from(in, &value->template emplace<I>())) || ...);
  }
};

}  // namespace rusm::otp
