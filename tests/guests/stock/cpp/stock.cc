// A plain C++ program: keeps an inventory that its standard input changes, and fails where it is told to.
#include <algorithm>
#include <iostream>
#include <map>
#include <memory>
#include <sstream>
#include <string>
#include <vector>

namespace {

class Inventory {
 public:
  void add(const std::string& what, int count) { counts_[what] += count; }
  // Fails on purpose when there is no such thing: compilers turn what follows into a trap.
  [[gnu::noinline]] int take(const std::string& what) {
    const auto at = counts_.find(what);
    if (at == counts_.end()) __builtin_trap();
    return at->second--;
  }
  std::vector<std::pair<std::string, int>> all() const { return {counts_.begin(), counts_.end()}; }

 private:
  std::map<std::string, int> counts_;
};

struct Command {
  virtual ~Command() = default;
  virtual void run(Inventory& inventory, std::istream& words) const = 0;
};

struct Add final : Command {
  void run(Inventory& inventory, std::istream& words) const override {
    std::string what;
    int count = 0;
    words >> what >> count;
    inventory.add(what, count);
  }
};

struct Take final : Command {
  [[gnu::noinline]] void run(Inventory& inventory, std::istream& words) const override {
    std::string what;
    words >> what;
    std::cout << "left: " << inventory.take(what) - 1 << "\n";
  }
};

}  // namespace

int main() {
  std::map<std::string, std::unique_ptr<Command>> commands;
  commands.emplace("add", std::make_unique<Add>());
  commands.emplace("take", std::make_unique<Take>());
  Inventory inventory;
  for (std::string line; std::getline(std::cin, line);) {
    std::istringstream words(line);
    std::string name;
    words >> name;
    const auto command = commands.find(name);
    if (command == commands.end()) {
      std::cerr << "no such command: " << name << "\n";
      return 4;
    }
    command->second->run(inventory, words);
  }
  auto all = inventory.all();
  std::ranges::sort(all, std::greater<>(), &std::pair<std::string, int>::second);
  for (const auto& [what, count] : all) std::cout << count << " " << what << "\n";
  return 0;
}
