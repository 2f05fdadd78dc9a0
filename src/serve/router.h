// Router: which handler a request goes to.
//
// A pattern is "METHOD /path" or "/path" for every method. A segment of its path is a literal, ":name" for any one
// segment that is not empty, or, as the last one, "*" for whatever follows (also nothing).
//   A literal beats a parameter beats "*", segment by segment; a better path whose method does not fit gives way.
//   HEAD takes the GET route when it has none of its own.
//
// How a path is read: the query is cut off; segments are split at '/' and then percent-decoded, so "%2F" belongs to its
// segment and "%61" is "a". Refused as 400: an encoding that is none, an encoded NUL, the segments "." and ".." in any
// spelling. Empty segments are kept as they are and match nothing but an empty literal.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"
#include "http/headers.h"

namespace rusm::serve {

// Threads: immutable once built.
class Router {
 public:
  struct Match {
    std::uint16_t status = 200;  // 200, 400, 404, 405
    std::uint32_t target = 0;    // with 200: what add() was given
    http::HeaderList params;     // with 200
    std::string allow;           // with 405: "GET, HEAD, POST"
  };

  Router();
  ~Router();
  Router(Router&&) noexcept;
  Router& operator=(Router&&) noexcept;

  // Errors: kInvalid for a malformed pattern, kExists when it says the same as an earlier one; `where` is the pattern.
  Result<> add(std::string_view pattern, std::uint32_t target);
  // `target` as it stands in the request: path and query, or "*".
  Match find(std::string_view method, std::string_view target) const;

 private:
  struct Node;
  struct Route;
  struct Search;

  static void search(const Node& node, Search& search, std::size_t depth);
  static bool accept(const std::vector<Route>& routes, Search& search);

  std::unique_ptr<Node> root_;
};

}  // namespace rusm::serve
