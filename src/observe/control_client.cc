#include "observe/control_client.h"

#include <fmt/format.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>

#include "observe/control_folder.h"

namespace rusm::observe {
namespace {

// One connection until a deadline. Threads: one owner.
class Conversation {
 public:
  Conversation(const NodeSocket& node, Descriptor fd, Nanoseconds timeout)
      : node_(node), fd_(std::move(fd)), deadline_(deadline_after(clock_.now(), timeout)) {}

  Result<> send_all(std::string_view text) {
    while (!text.empty()) {
      const ssize_t size = send(fd_.get(), text.data(), text.size(), MSG_NOSIGNAL);
      if (size >= 0) {
        text.remove_prefix(static_cast<std::size_t>(size));
      } else if (Result<> waited = wait(POLLOUT, errno); !waited) {
        return waited;
      }
    }
    return {};
  }

  // Up to its end or `bytes_max`.
  Result<std::string> receive(std::size_t bytes_max) {
    std::string text;
    std::vector<char> bytes(64u << 10);
    while (text.size() <= bytes_max) {
      const ssize_t size = recv(fd_.get(), bytes.data(), bytes.size(), 0);
      if (size == 0) return text;
      if (size > 0) {
        text.append(bytes.data(), static_cast<std::size_t>(size));
      } else if (errno == ECONNRESET) {
        return text;
      } else if (Result<> waited = wait(POLLIN, errno); !waited) {
        return std::unexpected(std::move(waited.error()));
      }
    }
    return fail(ErrorCode::kCorrupt, node_.path, "the answer does not end");
  }

 private:
  Result<> wait(short events, int error) {
    if (error == EINTR) return {};
    if (error != EAGAIN) return fail(ErrorCode::kNotFound, node_.path, "the node has gone: " + errno_text(error));
    const Nanoseconds left = deadline_ - clock_.now();
    pollfd polled = {fd_.get(), events, 0};
    if (left > 0) poll(&polled, 1, static_cast<int>(std::min<Nanoseconds>(left / kMillisecond + 1, 60'000)));
    if (clock_.now() < deadline_) return {};
    return fail(ErrorCode::kTimeout, node_.path, "the node does not answer; it may be stopped, or very busy");
  }

  const SystemClock clock_;
  const NodeSocket& node_;
  const Descriptor fd_;
  const Nanoseconds deadline_;
};

}  // namespace

std::vector<NodeSocket> find_nodes(const std::vector<std::string>& folders, uid_t user) {
  std::vector<NodeSocket> nodes;
  for (const std::string& folder : folders) {
    if (!check_control_folder(folder, user)) continue;
    for (const std::string& name : node_names(folder)) {
      if (std::ranges::find(nodes, name, &NodeSocket::node) != nodes.end()) continue;
      Result<std::string> path = socket_path(folder, name);
      if (!path) continue;
      const Result<Descriptor> connected = connect_to(*path);
      // One that has no room is alive.
      if (connected || connected.error().code == ErrorCode::kUnavailable) nodes.push_back({name, std::move(*path)});
    }
  }
  return nodes;
}

Result<NodeSocket> choose_node(const std::vector<NodeSocket>& nodes, std::string_view node) {
  std::string list;
  for (const NodeSocket& running : nodes) list += (list.empty() ? "" : ", ") + running.node;
  if (!node.empty()) {
    const auto found = std::ranges::find(nodes, node, &NodeSocket::node);
    if (found != nodes.end()) return *found;
    return fail(ErrorCode::kNotFound, {},
                fmt::format("no node {} of yours is running{}", printable(node, 64),
                            nodes.empty() ? std::string("; start one with rusm serve") : "; these are: " + list));
  }
  if (nodes.empty()) {
    return fail(ErrorCode::kNotFound, {},
                "no node of yours is running, or none has a control socket; start one with rusm serve");
  }
  if (nodes.size() > 1) return fail(ErrorCode::kInvalid, {}, "several nodes run; choose with --node: " + list);
  return nodes.front();
}

Result<std::string> ask(const NodeSocket& node, const Request& request, Nanoseconds timeout) {
  const Result<std::string> line = to_line(request);
  if (!line) return std::unexpected(line.error());
  Result<Descriptor> fd = connect_to(node.path, timeout);
  if (!fd) {
    if (fd.error().code == ErrorCode::kNotFound) fd.error().text = fmt::format("node {} has ended", node.node);
    if (fd.error().code == ErrorCode::kUnavailable) fd.error().text = "the node has too many who ask; try again";
    return std::unexpected(std::move(fd.error()));
  }
  if (const auto peer = peer_of(fd->get()); !peer || !may_ask(*peer, geteuid())) {
    return fail(ErrorCode::kDenied, node.path, "this is another user's socket");
  }
  Conversation conversation(node, std::move(*fd), timeout);
  if (Result<> sent = conversation.send_all(*line); !sent) return std::unexpected(std::move(sent.error()));
  Result<std::string> text = conversation.receive(kAnswerBytesMax + kAnswerHeadBytesMax);
  if (!text) return text;
  const std::size_t end = text->find('\n');
  const std::optional<AnswerHead> head = parse_answer_head(std::string_view(*text).substr(0, end));
  if (text->empty()) return fail(ErrorCode::kNotFound, node.path, fmt::format("node {} has ended", node.node));
  if (!head || end == std::string::npos || text->size() - end - 1 != head->bytes) {
    return fail(ErrorCode::kCorrupt, node.path, "the answer is cut short, or this is no node of RUSM's");
  }
  text->erase(0, end + 1);
  if (!head->ok) return fail(ErrorCode::kInvalid, {}, std::move(*text));
  return text;
}

}  // namespace rusm::observe
