// The tree of who supervises whom, as processes' parents say it.
//
// A look goes over every process once and takes about 40 bytes for each while it lasts, and one copy of each different
// label. What comes out is bounded whatever there is: of many children of one label a few are shown and the rest are
// counted, and so are the children of one parent, levels and lines beyond a limit.
//
// A process whose parent has ended, or is none of this node, stands at the top; so does, of a ring of processes that
// name each other as parents, one. Processes at the top that have neither label, name nor children are only counted.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "observe/process_text.h"
#include "observe/text.h"
#include "otp/runtime.h"

namespace rusm::observe {

struct TreeOptions {
  std::size_t same_label_max = 5;  // shown of one parent's children of one label
  std::size_t children_max = 100;  // shown of one parent
  std::size_t depth_max = 32;      // levels below the top
  std::size_t lines_max = 2000;    // processes shown in all
};

// One line: a process, or what was left out there. Threads: a value.
struct TreeLine {
  enum class Kind : std::uint8_t { kProcess, kMore };
  Kind kind = Kind::kProcess;
  std::uint32_t depth = 0;  // 0: at the top
  bool last = false;        // of its parent's lines
  // Of a process.
  otp::Pid pid = {};
  std::string name = {};   // registered; printable
  std::string label = {};  // printable
  Doing doing = Doing::kRunning;
  std::uint32_t mailbox = 0;
  bool is_orphan = false;   // it had a parent, which has ended
  bool is_in_ring = false;  // its parents lead back to itself
  // Of what was left out: how many siblings, of which label ("" for several, or none), and how many are below them.
  std::uint64_t more = 0;
  std::uint64_t below = 0;
};

struct Tree {
  std::uint64_t processes = 0;
  std::vector<TreeLine> lines = {};  // each parent before its children
  DoingCounts unlabelled = {};       // at the top, with neither label, name nor children
};

Tree look_at_tree(const otp::Runtime& runtime, TreeOptions options = {});
std::string to_text(const Tree& tree, std::size_t columns = kAnyWidth);
// The same, nested.
std::string to_json(const Tree& tree);

}  // namespace rusm::observe
