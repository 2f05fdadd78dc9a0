// How a Tree is written.
#include <fmt/format.h>

#include "observe/json_writer.h"
#include "observe/tree.h"

namespace rusm::observe {
namespace {

std::string process_text(const TreeLine& line) {
  std::string text;
  if (!line.name.empty()) text = line.name;
  if (!line.label.empty() && line.label != line.name) {
    text += text.empty() ? line.label : fmt::format(" ({})", line.label);
  }
  if (!text.empty()) text += ' ';
  text += fmt::format("{}  {}", line.pid.to_string(), name_of(line.doing));
  if (line.mailbox != 0) text += fmt::format("  mailbox {}", count_text(line.mailbox));
  if (line.is_orphan) text += "  its parent has ended";
  if (line.is_in_ring) text += "  its parents form a ring";
  return text;
}

std::string more_text(const TreeLine& line) {
  std::string text = fmt::format("… and {} more", count_text(line.more));
  if (!line.label.empty()) text += ' ' + line.label;
  if (line.below != 0) text += fmt::format(", {} below {}", count_text(line.below), line.more == 1 ? "it" : "them");
  return text;
}

void write_more(const TreeLine& line, JsonWriter* json) {
  json->open('{').field("more", line.more).field("label", line.label).field("below", line.below).close('}');
}

}  // namespace

std::string to_text(const Tree& tree, std::size_t columns) {
  std::string text;
  std::vector<bool> goes_on;  // whether the line down from each level goes on past this line
  for (const TreeLine& line : tree.lines) {
    std::string indent;
    for (std::size_t level = 1; level < line.depth; ++level) indent += goes_on[level] ? "│  " : "   ";
    if (line.depth > 0) indent += line.last ? "└─ " : "├─ ";
    goes_on.resize(line.depth + 1);
    goes_on[line.depth] = !line.last;
    const std::string what = line.kind == TreeLine::Kind::kProcess ? process_text(line) : more_text(line);
    text += printable(indent + what, columns) + '\n';
  }
  std::uint64_t unlabelled = 0;
  for (const std::uint64_t count : tree.unlabelled) unlabelled += count;
  if (unlabelled != 0) {
    text += printable(fmt::format("{} without label, parent and children: {}", count_text(unlabelled),
                                  text_of(tree.unlabelled)),
                      columns) +
            '\n';
  }
  return text +
         printable(fmt::format("{} process{} in all", count_text(tree.processes), tree.processes == 1 ? "" : "es"),
                   columns) +
         '\n';
}

std::string to_json(const Tree& tree) {
  JsonWriter json;
  json.open('{').field("processes", tree.processes).key("unlabelled").open('{');
  for (std::size_t i = 0; i < kDoings; ++i) json.field(name_of(static_cast<Doing>(i)), tree.unlabelled[i]);
  json.close('}').key("tree").open('[');
  std::size_t open = 0;  // lists of children that are open
  for (const TreeLine& line : tree.lines) {
    for (; open > line.depth; --open) json.close(']').close('}');
    if (line.kind == TreeLine::Kind::kMore) {
      write_more(line, &json);
      continue;
    }
    json.open('{')
        .field("pid", line.pid.to_string())
        .field("name", line.name)
        .field("label", line.label)
        .field("state", name_of(line.doing))
        .field("mailbox", line.mailbox);
    if (line.is_orphan) json.field("parent_ended", true);
    if (line.is_in_ring) json.field("parents_form_a_ring", true);
    json.key("children").open('[');
    ++open;
  }
  for (; open > 0; --open) json.close(']').close('}');
  json.close(']').close('}');
  return std::move(json).take() + '\n';
}

}  // namespace rusm::observe
