// Asking a running node: what `rusm top` and its like do. Everything here blocks; not for workers.
#pragma once

#include <sys/types.h>

#include <string>
#include <string_view>
#include <vector>

#include "base/clock.h"
#include "base/error.h"
#include "observe/request.h"

namespace rusm::observe {

// Threads: a value.
struct NodeSocket {
  std::string node;  // the number of its process, or the name that its owner chose
  std::string path;
  bool operator==(const NodeSocket&) const = default;
};

// The nodes that listen in those of the folders that are `user`'s alone, each name once.
std::vector<NodeSocket> find_nodes(const std::vector<std::string>& folders, uid_t user);

// The one called `node`, or the only one when `node` is empty. Errors: kNotFound, kInvalid when there are several; both
// say what to do.
Result<NodeSocket> choose_node(const std::vector<NodeSocket>& nodes, std::string_view node);

// The answer. Errors: kNotFound when the node has ended; kTimeout; kUnavailable when it has no room for another client,
// kCorrupt; kInvalid, and what the node says, when it refuses the request.
Result<std::string> ask(const NodeSocket& node, const Request& request, Nanoseconds timeout = 10 * kSecond);

}  // namespace rusm::observe
