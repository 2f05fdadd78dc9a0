#include "serve/router.h"

#include <algorithm>
#include <boost/container/small_vector.hpp>
#include <map>
#include <utility>

namespace rusm::serve {
namespace {

// Segments as they stand in the path, without the leading '/'.
using Segments = boost::container::small_vector<std::string_view, 8>;

Segments split(std::string_view path) {
  Segments segments;
  path.remove_prefix(1);
  for (;;) {
    const std::size_t slash = path.find('/');
    segments.push_back(path.substr(0, slash));
    if (slash == std::string_view::npos) return segments;
    path.remove_prefix(slash + 1);
  }
}

int hex_value(char c) noexcept {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  if (c >= 'A' && c <= 'F') return c - 'A' + 10;
  return -1;
}

// False when the encoding is malformed or hides a NUL.
bool decode(std::string_view text, std::string* out) {
  out->clear();
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (text[i] != '%') {
      out->push_back(text[i]);
      continue;
    }
    if (text.size() - i < 3) return false;
    const int high = hex_value(text[i + 1]);
    const int low = hex_value(text[i + 2]);
    if (high < 0 || low < 0 || (high == 0 && low == 0)) return false;
    out->push_back(static_cast<char>(high * 16 + low));
    i += 2;
  }
  return true;
}

}  // namespace

struct Router::Route {
  std::string method;  // empty: every one
  std::uint32_t target;
  std::vector<std::string> names;  // of its parameters, in order
};

struct Router::Node {
  std::map<std::string, std::unique_ptr<Node>, std::less<>> literals;
  std::unique_ptr<Node> parameter;
  std::vector<Route> routes;  // of paths that end here
  std::vector<Route> rest;    // of paths that go on with "*"
};

struct Router::Search {
  std::string_view method;
  const std::vector<std::string>* segments;  // decoded
  std::string_view path;                     // as sent
  const Segments* raw;
  std::vector<std::string_view> values;  // of the parameters so far
  const Route* found = nullptr;
  std::vector<std::string_view> allowed;
};

Router::Router() : root_(std::make_unique<Node>()) {}
Router::~Router() = default;
Router::Router(Router&&) noexcept = default;
Router& Router::operator=(Router&&) noexcept = default;

Result<> Router::add(std::string_view pattern, std::uint32_t target) {
  const auto wrong = [&](std::string text) { return fail(ErrorCode::kInvalid, std::string(pattern), std::move(text)); };
  const std::size_t space = pattern.find(' ');
  const std::string_view method = space == std::string_view::npos ? std::string_view() : pattern.substr(0, space);
  const std::string_view path = space == std::string_view::npos ? pattern : pattern.substr(space + 1);
  if (space != std::string_view::npos && !http::is_valid_name(method)) return wrong("the method is malformed");
  if (path.empty() || path.front() != '/') return wrong("expected METHOD /path, such as GET /users/:id");
  if (path.find_first_of(" ?#%") != std::string_view::npos) return wrong("a path has no space, '?', '#' or '%'");
  Node* node = root_.get();
  std::vector<Route>* routes = nullptr;
  Route route{std::string(method), target, {}};
  const Segments segments = split(path);
  for (std::size_t i = 0; i < segments.size(); ++i) {
    const std::string_view segment = segments[i];
    if (segment == "." || segment == "..") return wrong("a path has no '.' or '..' segments");
    if (segment == "*") {
      if (i + 1 != segments.size()) return wrong("'*' stands only at the end");
      route.names.emplace_back("*");
      routes = &node->rest;
    } else if (segment.starts_with(':')) {
      const std::string name(segment.substr(1));
      if (!http::is_valid_name(name)) return wrong("a parameter needs a name, such as :id");
      if (std::ranges::find(route.names, name) != route.names.end()) return wrong("two parameters have the same name");
      route.names.push_back(name);
      if (!node->parameter) node->parameter = std::make_unique<Node>();
      node = node->parameter.get();
    } else {
      std::unique_ptr<Node>& next = node->literals[std::string(segment)];
      if (!next) next = std::make_unique<Node>();
      node = next.get();
    }
  }
  if (routes == nullptr) routes = &node->routes;
  if (std::ranges::any_of(*routes, [&](const Route& other) { return other.method == method; })) {
    return fail(ErrorCode::kExists, std::string(pattern), "another route already takes these requests");
  }
  routes->push_back(std::move(route));
  return {};
}

bool Router::accept(const std::vector<Route>& routes, Search& search) {
  const auto take = [&](std::string_view method) {
    const auto route = std::ranges::find(routes, method, &Route::method);
    if (route == routes.end()) return false;
    search.found = &*route;
    return true;
  };
  if (take(search.method) || (search.method == "HEAD" && take("GET")) || take("")) return true;
  for (const Route& route : routes) search.allowed.push_back(route.method);
  return false;
}

void Router::search(const Node& node, Search& search, std::size_t depth) {
  if (depth == search.segments->size()) {
    accept(node.routes, search);
    return;
  }
  const std::string& segment = (*search.segments)[depth];
  if (const auto next = node.literals.find(segment); next != node.literals.end()) {
    Router::search(*next->second, search, depth + 1);
    if (search.found != nullptr) return;
  }
  if (node.parameter && !segment.empty()) {
    search.values.push_back(segment);
    Router::search(*node.parameter, search, depth + 1);
    if (search.found != nullptr) return;
    search.values.pop_back();
  }
  if (node.rest.empty()) return;
  // What "*" captures stands as it was sent: decoding would make '/' and "%2F" the same.
  const auto at = static_cast<std::size_t>((*search.raw)[depth].data() - search.path.data());
  search.values.push_back(search.path.substr(at));
  if (!accept(node.rest, search)) search.values.pop_back();
}

Router::Match Router::find(std::string_view method, std::string_view target) const {
  Match match;
  const std::string_view path = target.substr(0, target.find('?'));
  if (path.empty() || path.front() != '/') {  // "*" of OPTIONS addresses no resource
    match.status = 404;
    return match;
  }
  const Segments raw = split(path);
  std::vector<std::string> segments(raw.size());
  for (std::size_t i = 0; i < raw.size(); ++i) {
    if (!decode(raw[i], &segments[i]) || segments[i] == "." || segments[i] == "..") {
      match.status = 400;
      return match;
    }
  }
  Search state{.method = method, .segments = &segments, .path = path, .raw = &raw, .values = {}, .allowed = {}};
  search(*root_, state, 0);
  if (state.found != nullptr) {
    match.target = state.found->target;
    for (std::size_t i = 0; i < state.found->names.size(); ++i)
      match.params.add(state.found->names[i], state.values[i]);
    return match;
  }
  match.status = state.allowed.empty() ? 404 : 405;
  if (std::ranges::find(state.allowed, "GET") != state.allowed.end()) state.allowed.push_back("HEAD");
  std::ranges::sort(state.allowed);
  const auto repeated = std::ranges::unique(state.allowed);
  state.allowed.erase(repeated.begin(), repeated.end());
  for (const std::string_view name : state.allowed) {
    if (!match.allow.empty()) match.allow += ", ";
    match.allow += name;
  }
  return match;
}

}  // namespace rusm::serve
