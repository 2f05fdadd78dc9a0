// Tracked: notices when it is destroyed twice, copied from what is gone, or never destroyed.
#pragma once

#include <atomic>
#include <cstdint>
#include <string>
#include <utility>

class Tracked {
 public:
  explicit Tracked(int number = 0) : number_(number) { ++alive_; }
  Tracked(const Tracked& other) : number_(other.number()), text_(other.text_) { ++alive_; }
  Tracked(Tracked&& other) noexcept : number_(other.number()), text_(std::move(other.text_)) { ++alive_; }
  Tracked& operator=(const Tracked&) = delete;
  ~Tracked() {
    if (mark_ != kHere) ++mistakes_;
    mark_ = kGone;
    --alive_;
  }
  int number() const noexcept {
    if (mark_ != kHere) ++mistakes_;
    return number_;
  }

  static int alive() { return alive_; }
  static int mistakes() { return mistakes_; }

 private:
  static constexpr std::uint64_t kHere = 0x6865726568657265;
  static constexpr std::uint64_t kGone = 0x676f6e65676f6e65;

  inline static std::atomic<int> alive_{0};
  inline static std::atomic<int> mistakes_{0};
  // Volatile, so that what a destructor leaves is really written.
  volatile std::uint64_t mark_ = kHere;
  int number_;
  std::string text_ = "long enough that it does not lie inside the string";
};
