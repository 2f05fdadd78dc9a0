// How the table calls an import: with arguments out of an array of 64-bit words.
#pragma once

#include <stddef.h>
#include <stdint.h>

#include <type_traits>
#include <utility>

using Call = uint64_t (*)(const uint64_t* args);

// In the order of CALLS.txt.
extern const Call kCalls[];
extern const unsigned kCallCount;

template <class T>
T from_word(uint64_t word) {
  if constexpr (std::is_pointer_v<T>) {
    return reinterpret_cast<T>(static_cast<uintptr_t>(word));
  } else {
    return static_cast<T>(word);
  }
}

template <class R, class... Params, size_t... I>
uint64_t apply_each(R (*function)(Params...), const uint64_t* args, std::index_sequence<I...>) {
  if constexpr (std::is_void_v<R>) {
    function(from_word<Params>(args[I])...);
    return 0;
  } else {
    return static_cast<uint64_t>(function(from_word<Params>(args[I])...));
  }
}

template <class R, class... Params>
uint64_t apply_all(R (*function)(Params...), const uint64_t* args) {
  return apply_each(function, args, std::index_sequence_for<Params...>());
}

template <auto kFunction>
uint64_t apply(const uint64_t* args) {
  return apply_all(kFunction, args);
}
