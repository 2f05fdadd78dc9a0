#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>

#include "cli/commands.h"
#include "cli/terminal.h"
#include "observe/control_client.h"
#include "observe/control_folder.h"

namespace rusm::cli {
namespace {

using observe::NodeSocket;
using observe::Request;
using observe::TopOrder;

constexpr std::string_view kKeys = "q quit  r reductions  s messages  m mailbox  b bytes  p pid";

int print_error(const Error& error) {
  const std::string where = error.where.empty() ? std::string() : error.where + ": ";
  fmt::print(stderr, "rusm: {}{}\n", where, error.text);
  return kExitFailure;
}

int print_once(const NodeSocket& node, Request request) {
  if (const auto size = terminal_size(); size && isatty(STDOUT_FILENO) == 1) {
    request.columns = std::min(size->columns, observe::kColumnsMax);
  }
  const Result<std::string> answer = ask(node, request);
  if (!answer) return print_error(answer.error());
  const bool written = std::fwrite(answer->data(), 1, answer->size(), stdout) == answer->size();
  return written && std::fflush(stdout) == 0 ? kExitOk : kExitFailure;
}

void choose_order(char key, Request* request) {
  constexpr std::pair<char, TopOrder> kOrders[] = {{'r', TopOrder::kReductions},
                                                   {'s', TopOrder::kMessages},
                                                   {'m', TopOrder::kMailbox},
                                                   {'b', TopOrder::kBytes},
                                                   {'p', TopOrder::kPid}};
  for (const auto& [letter, order] : kOrders) {
    if (key == letter) request->order = order;
  }
}

// The line of the titles, which stand out.
std::size_t titles_of(std::string_view text) {
  const std::size_t titles = text.find("\nPID");
  if (titles == std::string_view::npos) return observe::kTopHeaderLines - 1;
  return static_cast<std::size_t>(std::ranges::count(text.substr(0, titles + 1), '\n'));
}

// Until the user ends it. Errors: why the node does not answer any more.
Result<> refresh(Terminal& terminal, const NodeSocket& node, const ObserveCommand& command) {
  Request request = command.request;
  for (;;) {
    const TerminalSize size = terminal_size().value_or(TerminalSize{80, 24});
    // Below the list there is one line for the keys.
    const std::size_t around = observe::kTopHeaderLines + 1;
    const std::size_t room = size.rows > around ? size.rows - around : 1;
    request.rows = std::min({room, observe::TopList::kRowsMax, command.rows_are_given ? command.request.rows : room});
    request.columns = std::min(size.columns, observe::kColumnsMax);
    const Result<std::string> answer = ask(node, request);
    if (answer) {
      terminal.draw(*answer + observe::printable(kKeys, size.columns), titles_of(*answer));
    } else if (answer.error().code == ErrorCode::kTimeout || answer.error().code == ErrorCode::kUnavailable) {
      terminal.draw(observe::printable(answer.error().text, size.columns), SIZE_MAX);
    } else {
      return std::unexpected(answer.error());
    }
    const Terminal::News news = terminal.wait(command.interval);
    if (news.event == Terminal::Event::kQuit) return {};
    if (news.event == Terminal::Event::kKey) choose_order(news.key, &request);
  }
}

}  // namespace

int observe(const ObserveCommand& command, const app::EnvironmentLookup& environment) {
  const uid_t user = geteuid();
  const std::string runtime_dir = environment("XDG_RUNTIME_DIR").value_or("");
  const std::vector<NodeSocket> nodes = observe::find_nodes(observe::control_folders(runtime_dir, user), user);
  const Result<NodeSocket> node = observe::choose_node(nodes, command.node);
  if (!node) return print_error(node.error());
  if (command.request.what != Request::What::kTop || command.once || command.request.json) {
    return print_once(*node, command.request);
  }
  Result<> shown;
  if (std::optional<Terminal> terminal = Terminal::open(); terminal) {
    shown = refresh(*terminal, *node, command);
  } else {
    return print_once(*node, command.request);
  }
  return shown ? kExitOk : print_error(shown.error());
}

}  // namespace rusm::cli
