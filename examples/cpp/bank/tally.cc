#include "tally.h"

#include <unistd.h>

#include <cerrno>
#include <fstream>
#include <set>
#include <system_error>

namespace bank {

void Tally::acknowledge(const Closed& closed) {
  const std::scoped_lock lock(mutex_);
  acknowledged_.push_back(closed);
  ++counts_.acknowledged[closed.standing];
  if (file_ < 0) return;
  const std::string line = key_of(closed.order) + ' ' + text_of(closed.order, closed.standing) + '\n';
  if (write(file_, line.data(), line.size()) != static_cast<ssize_t>(line.size())) {
    throw std::system_error(errno, std::generic_category(), "what was acknowledged cannot be written");
  }
}

void Tally::see(Cents all, Cents expected) {
  const std::scoped_lock lock(mutex_);
  ++counts_.looks;
  if (all != expected) ++counts_.wrong_looks;
}

void Tally::see_nothing() {
  const std::scoped_lock lock(mutex_);
  ++counts_.vain_looks;
}

Tally::Counts Tally::counts() const {
  const std::scoped_lock lock(mutex_);
  return counts_;
}

std::vector<Closed> Tally::acknowledged() const {
  const std::scoped_lock lock(mutex_);
  return acknowledged_;
}

rusm::Result<std::vector<Closed>> read_acknowledged(const std::string& path) {
  std::ifstream file(path);
  if (!file) return rusm::fail(rusm::ErrorCode::kNotFound, path, "cannot be read");
  std::vector<Closed> all;
  for (std::string line; std::getline(file, line) && !file.eof();) {
    const std::size_t space = line.find(' ');
    const auto closed = space == std::string::npos ? std::nullopt
                                                   : closed_of(std::string_view(line).substr(0, space),
                                                               std::string_view(line).substr(space + 1));
    if (!closed) return rusm::fail(rusm::ErrorCode::kCorrupt, path, "has a line that cannot be read: " + line);
    all.push_back(*closed);
  }
  return all;
}

std::vector<std::string> faults_of(const Audit& audit, const std::vector<Closed>& acknowledged) {
  std::vector<std::string> faults = audit.faults;
  std::set<std::uint64_t> seen;
  for (const Closed& told : acknowledged) {
    const auto found = audit.closed.find(told.order.id);
    if (!seen.insert(told.order.id).second) faults.push_back("order " + key_of(told.order) + " was acknowledged twice");
    if (found == audit.closed.end()) {
      faults.push_back("order " + key_of(told.order) + " was acknowledged and is not in the books");
    } else if (found->second != told) {
      faults.push_back("order " + key_of(told.order) + " is not in the books as it was acknowledged");
    }
  }
  return faults;
}

}  // namespace bank
