// Tally: what the bank's customers were told, for holding the books against it. It has no part in the bank itself.
#pragma once

#include <map>
#include <mutex>
#include <string>
#include <vector>

#include "ledger.h"

namespace bank {

// Threads: any thread.
class Tally {
 public:
  // Also writes what is acknowledged to this file, a line each, so that it outlives the program. -1: it does not.
  explicit Tally(int file = -1) : file_(file) {}

  void acknowledge(const Closed& closed);
  void see(Cents all, Cents expected);
  void see_nothing();

  struct Counts {
    std::map<Standing, int> acknowledged;
    int looks = 0;
    int vain_looks = 0;
    int wrong_looks = 0;
  };
  Counts counts() const;
  std::vector<Closed> acknowledged() const;

 private:
  const int file_;
  mutable std::mutex mutex_;
  Counts counts_;                     // guarded by mutex_
  std::vector<Closed> acknowledged_;  // guarded by mutex_
};

// What an earlier program wrote there; a line that was cut short counts as not written.
rusm::Result<std::vector<Closed>> read_acknowledged(const std::string& path);

// What is wrong with the books, given what was acknowledged: each order once, as it was acknowledged.
std::vector<std::string> faults_of(const Audit& audit, const std::vector<Closed>& acknowledged);

}  // namespace bank
