#include "observe/tree.h"

#include <algorithm>
#include <numeric>
#include <span>
#include <unordered_map>

namespace rusm::observe {
namespace {

constexpr std::uint32_t kNone = UINT32_MAX;
constexpr std::size_t kTextWidthMax = 64;

// One look at all processes, and who is below whom. Threads: one owner.
class Forest {
 public:
  Forest(const otp::Runtime& runtime, TreeOptions options) : options_(options), names_(runtime) {
    collect(runtime);
    find_parents();
    list_children();
    break_rings();
    count_below();
    rank_labels();
  }

  Tree to_tree() {
    Tree tree{.processes = nodes_.size()};
    std::vector<std::uint32_t> top;
    for (std::uint32_t i = 0; i < nodes_.size(); ++i) {
      if (nodes_[i].parent != kNone) continue;
      if (is_plain(i)) {
        ++tree.unlabelled[static_cast<std::size_t>(nodes_[i].doing)];
      } else {
        top.push_back(i);
      }
    }
    show(top, 0, &tree);
    return tree;
  }

 private:
  struct Node {
    otp::Pid pid;
    otp::Pid parent_pid;
    std::uint32_t label;           // in labels_; 0: none
    std::uint32_t parent = kNone;  // in nodes_
    std::uint32_t mailbox;
    Doing doing;
    bool is_orphan = false;
    bool is_in_ring = false;
  };

  void collect(const otp::Runtime& runtime) {
    std::unordered_map<std::string, std::uint32_t> known = {{"", 0}};
    for (const otp::Pid pid : runtime.processes()) {
      auto info = runtime.info(pid);
      if (!info) continue;
      if (pid.index() >= at_.size()) at_.resize(std::max<std::size_t>(pid.index() + 1, at_.size() * 5 / 4), kNone);
      at_[pid.index()] = static_cast<std::uint32_t>(nodes_.size());
      const auto it = known.try_emplace(std::move(info->label), static_cast<std::uint32_t>(known.size())).first;
      nodes_.push_back({.pid = pid,
                        .parent_pid = info->parent,
                        .label = it->second,
                        .mailbox = info->mailbox_length,
                        .doing = doing_of(*info)});
    }
    labels_.resize(known.size());
    while (!known.empty()) {
      auto entry = known.extract(known.begin());
      labels_[entry.mapped()] = std::move(entry.key());
    }
  }

  void find_parents() {
    for (Node& node : nodes_) {
      if (!node.parent_pid) continue;
      const std::uint32_t index = node.parent_pid.index();
      const std::uint32_t parent = index < at_.size() ? at_[index] : kNone;
      if (parent != kNone && nodes_[parent].pid == node.parent_pid) {
        node.parent = parent;
      } else {
        node.is_orphan = true;
      }
    }
    at_ = {};
  }

  // Each node's children, next to each other in children_.
  void list_children() {
    first_child_.assign(nodes_.size() + 1, 0);
    for (const Node& node : nodes_) {
      if (node.parent != kNone) ++first_child_[node.parent + 1];
    }
    std::partial_sum(first_child_.begin(), first_child_.end(), first_child_.begin());
    std::vector<std::uint32_t> next(first_child_.begin(), first_child_.end() - 1);
    children_.resize(first_child_.back());
    for (std::uint32_t i = 0; i < nodes_.size(); ++i) {
      if (nodes_[i].parent != kNone) children_[next[nodes_[i].parent]++] = i;
    }
  }

  std::span<const std::uint32_t> children_of(std::uint32_t node) const {
    return std::span(children_).subspan(first_child_[node], first_child_[node + 1] - first_child_[node]);
  }

  // Puts every node that can be reached from `node` behind its parent in order_.
  void reach(std::uint32_t node, std::vector<bool>* reached) {
    std::size_t next = order_.size();
    order_.push_back(node);
    (*reached)[node] = true;
    for (; next < order_.size(); ++next) {
      for (const std::uint32_t child : children_of(order_[next])) {
        if ((*reached)[child]) continue;
        (*reached)[child] = true;
        order_.push_back(child);
      }
    }
  }

  // What no top leads to hangs from a ring, one member of which becomes a top.
  void break_rings() {
    std::vector<bool> reached(nodes_.size());
    order_.reserve(nodes_.size());
    for (std::uint32_t i = 0; i < nodes_.size(); ++i) {
      if (nodes_[i].parent == kNone) reach(i, &reached);
    }
    std::vector<bool> passed(nodes_.size());
    for (std::uint32_t i = 0; i < nodes_.size(); ++i) {
      if (reached[i]) continue;
      // Upwards until a node comes a second time: that one is in the ring.
      std::uint32_t member = i;
      for (; !passed[member]; member = nodes_[member].parent) passed[member] = true;
      nodes_[member].is_in_ring = true;
      nodes_[member].parent = kNone;
      reach(member, &reached);
    }
  }

  void count_below() {
    below_.assign(nodes_.size(), 0);
    for (auto it = order_.rbegin(); it != order_.rend(); ++it) {
      if (const std::uint32_t parent = nodes_[*it].parent; parent != kNone) below_[parent] += below_[*it] + 1;
    }
    order_ = {};
  }

  // From labels to their places in the alphabet; none comes last.
  void rank_labels() {
    std::vector<std::uint32_t> sorted(labels_.size());
    std::iota(sorted.begin(), sorted.end(), 0);
    std::ranges::sort(sorted, {}, [&](std::uint32_t label) { return std::string_view(labels_[label]); });
    rank_.resize(labels_.size());
    for (std::uint32_t i = 0; i < sorted.size(); ++i) rank_[sorted[i]] = i;
    rank_[0] = kNone;
  }

  bool is_plain(std::uint32_t i) const {
    return nodes_[i].label == 0 && below_[i] == 0 && !nodes_[i].is_in_ring && names_.first_of(nodes_[i].pid).empty();
  }

  // By label; of one label those with the most below them first.
  bool comes_before(std::uint32_t a, std::uint32_t b) const {
    if (nodes_[a].label != nodes_[b].label) return rank_[nodes_[a].label] < rank_[nodes_[b].label];
    if (below_[a] != below_[b]) return below_[a] > below_[b];
    return nodes_[a].pid < nodes_[b].pid;
  }

  TreeLine line_of(std::uint32_t i, std::uint32_t depth) const {
    const Node& node = nodes_[i];
    return {.kind = TreeLine::Kind::kProcess,
            .depth = depth,
            .pid = node.pid,
            .name = printable(names_.first_of(node.pid), kTextWidthMax),
            .label = printable(labels_[node.label], kTextWidthMax),
            .doing = node.doing,
            .mailbox = node.mailbox,
            .is_orphan = node.is_orphan,
            .is_in_ring = node.is_in_ring};
  }

  // Counts siblings that are not shown.
  void leave_out(std::span<const std::uint32_t> siblings, std::uint32_t depth, Tree* tree) const {
    if (siblings.empty()) return;
    TreeLine line{.kind = TreeLine::Kind::kMore, .depth = depth, .more = siblings.size()};
    const std::uint32_t label = nodes_[siblings.front()].label;
    const auto is_same = [&](std::uint32_t i) { return nodes_[i].label == label; };
    if (std::ranges::all_of(siblings, is_same)) line.label = printable(labels_[label], kTextWidthMax);
    for (const std::uint32_t i : siblings) line.below += below_[i];
    tree->lines.push_back(std::move(line));
  }

  void show(std::vector<std::uint32_t>& siblings, std::uint32_t depth, Tree* tree) {
    std::ranges::sort(siblings, [&](std::uint32_t a, std::uint32_t b) { return comes_before(a, b); });
    const std::span<const std::uint32_t> all = siblings;
    std::size_t last_line = SIZE_MAX;
    std::size_t shown = 0;
    const auto is_full = [&] { return shown >= options_.children_max || tree->lines.size() >= options_.lines_max; };
    for (std::size_t i = 0; i < all.size();) {
      last_line = tree->lines.size();
      if (is_full()) {
        leave_out(all.subspan(i), depth, tree);
        break;
      }
      std::size_t end = i;
      while (end < all.size() && nodes_[all[end]].label == nodes_[all[i]].label) ++end;
      // Leaving out a single one would save no line.
      const std::size_t few = end - i <= options_.same_label_max + 1 ? end : i + options_.same_label_max;
      for (; i < few && !is_full(); ++i, ++shown) {
        last_line = tree->lines.size();
        show_one(all[i], depth, tree);
      }
      if (i < few || i == end) continue;
      last_line = tree->lines.size();
      leave_out(all.subspan(i, end - i), depth, tree);
      i = end;
    }
    if (last_line < tree->lines.size()) tree->lines[last_line].last = true;
  }

  void show_one(std::uint32_t i, std::uint32_t depth, Tree* tree) {
    tree->lines.push_back(line_of(i, depth));
    std::vector<std::uint32_t> below;
    for (const std::uint32_t child : children_of(i)) {
      if (nodes_[child].parent == i) below.push_back(child);
    }
    if (below.empty()) return;
    if (depth >= options_.depth_max) {
      leave_out(below, depth + 1, tree);
      tree->lines.back().last = true;
    } else {
      show(below, depth + 1, tree);
    }
  }

  const TreeOptions options_;
  const Names names_;
  std::vector<Node> nodes_;  // in the order of their slots
  std::vector<std::string> labels_;
  std::vector<std::uint32_t> at_;  // by the index of the slot: in nodes_
  std::vector<std::uint32_t> first_child_;
  std::vector<std::uint32_t> children_;
  std::vector<std::uint32_t> order_;  // each parent before its children
  std::vector<std::uint32_t> below_;  // how many there are below each
  std::vector<std::uint32_t> rank_;   // by label
};

}  // namespace

Tree look_at_tree(const otp::Runtime& runtime, TreeOptions options) {
  return Forest(runtime, options).to_tree();
}

}  // namespace rusm::observe
