#include "cli/command_line.h"

#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <array>
#include <charconv>

#include "app/config_keys.h"
#include "cli/version.h"

namespace rusm::cli {
namespace {

constexpr const char* kAbout =
    "RUSM runs light, isolated, supervised processes: native ones and WebAssembly instances, each in a sandbox of its "
    "own.";

constexpr const char* kFooter = R"(
Examples:
  rusm serve                              serve what ./rusm.toml says
  rusm serve --config app/rusm.toml --listen 127.0.0.1:9000
  rusm check                              is rusm.toml right?
  rusm run tool.wasm in.txt               run a command; it sees no file, no variable, no network
  rusm run --dir data::/data:ro --env TOKEN tool.wasm /data/in.txt
  rusm bench                              which workloads there are
  rusm top                                what the processes of a running node do
  rusm tree                               who supervises whom

`rusm COMMAND --help` says more. Exit codes: 0 success, 1 failure, 2 wrong use.)";

constexpr const char* kServeFooter = R"(
The file names listeners, routes, components and what each component may do:

  [[serve]]
  listen = "127.0.0.1:8080"
  [serve.routes]
  "GET /" = "hello"
  [components.hello]          # wasm/hello.wasm beside the file

SIGTERM or Ctrl-C: no new connections, requests in flight are finished, then the node ends.
Ctrl-C again: it ends now. Exit codes: 0 every request was finished, 1 some were cut or it could not start, 2 wrong use.)";

constexpr const char* kCheckFooter = R"(
Reports every mistake of the file with its line; loads and starts nothing.
Exit codes: 0 the file is right, 1 it is not, 2 wrong use.)";

constexpr const char* kRunFooter = R"(
FILE is a wasi:cli component or a core module on WASI preview 1. Everything after FILE goes to the guest.
The guest has standard input, output and error, and nothing else that is not granted here.

  rusm run hello.wasm --name you
  rusm run --dir .::/src:ro --dir out::/out compile.wasm /src/main.x -o /out/main
  rusm run --env HOME --env MODE=fast --timeout 10s tool.wasm
  rusm run --config rusm.toml

Exit codes: the guest's own; 134 it trapped (the backtrace is on standard error); 124 --timeout passed; 137 it reached
a limit on memory; 1 it could not be started; 2 wrong use.)";

constexpr const char* kBenchFooter = R"(
Without a workload: lists them. `all` runs every one. The numbers are of this machine under its present load.

  rusm bench component-spawn --seconds 5 --workers 2
  rusm bench all --json > before.json)";

constexpr const char* kTopFooter = R"(
On a terminal it refreshes until q or Ctrl-C; r, s, m, b and p change the order. Else, or with --once or --json, it
prints once. What the columns mean stands in docs/observing.md.

  rusm top
  rusm top --sort mailbox --rows 5 --once
  rusm top --json --node 4711

ORDER: reductions (work per second), messages (received per second), mailbox (messages waiting), bytes (of those), pid.
Exit codes: 0 success, 1 no node is running or it ended meanwhile, 2 wrong use.)";

constexpr const char* kTreeFooter = R"(
Each process under its parent, with what it does. Of many children of one kind a few are shown and the rest are counted.

  rusm tree
  rusm tree --json --node 4711

Exit codes: 0 success, 1 no node is running, 2 wrong use.)";

constexpr const char* kExitsFooter = R"(
The last processes that ended other than normally, the latest first: when, which, why, and where it crashed.

  rusm exits
  rusm exits --rows 100 --json

Exit codes: 0 success, 1 no node is running, 2 wrong use.)";

constexpr const char* kProcessFooter = R"(
PROCESS is a registered name, or a pid as the other commands show it, with or without its brackets.

  rusm process db
  rusm process 0.17.3 --json

Exit codes: 0 success, 1 there is no such process or no node is running, 2 wrong use.)";

// FILE and what follows it are not CLI11's to parse, so its usage line would not show them.
class HelpFormatter final : public CLI::Formatter {
 public:
  std::string make_usage(const CLI::App* app, std::string name) const override {
    if (app->get_name() == "run") return "Usage: rusm run [OPTIONS] FILE [ARGUMENTS...]\n\n";
    return CLI::Formatter::make_usage(app, std::move(name));
  }
};

PrintCommand misuse(std::string text, std::string_view command) {
  return {fmt::format("rusm: {}\nTry: rusm {}{}--help\n", text, command, command.empty() ? "" : " "), kExitMisuse};
}

std::string hint(std::string_view word, std::span<const std::string_view> known) {
  const std::string_view near = app::nearest(word, known);
  return near.empty() ? std::string() : fmt::format("; did you mean {}?", near);
}

// What stands after the options of `rusm run`: FILE and the guest's arguments.
Command finish_run(RunCommand run, const std::vector<std::string>& folders, const std::string& timeout,
                   std::vector<std::string> rest) {
  if (rest.empty()) return misuse("FILE is missing: which .wasm file shall be run?", "run");
  if (rest.front().starts_with('-')) {
    return misuse(fmt::format("there is no option {} (the guest's own options come after FILE)", rest.front()), "run");
  }
  for (const std::string& text : folders) {
    Result<Folder> folder = parse_folder(text);
    if (!folder) return misuse("--dir " + folder.error().text, "run");
    run.folders.push_back(std::move(*folder));
  }
  if (!timeout.empty()) {
    const Result<Nanoseconds> span = parse_duration(timeout);
    if (!span) return misuse("--timeout " + span.error().text, "run");
    run.timeout = *span;
  }
  run.file = rest.front();
  run.args.assign(rest.begin() + 1, rest.end());
  return run;
}

// rusm top, tree, exits and process as they are parsed. Outlives the parser that writes into it.
struct ObserveOptions {
  static constexpr std::size_t kCommands = 4;
  std::array<CLI::App*, kCommands> apps = {};  // by Request::What
  ObserveCommand command;
  std::string sort = "reductions";
  std::string interval = "2s";
};

void add_observe(CLI::App& app, ObserveOptions* options) {
  struct Verb {
    const char* name;
    const char* about;
    const char* footer;
  };
  constexpr std::array<Verb, ObserveOptions::kCommands> kVerbs = {
      {{"top", "show which processes of a running node do the most", kTopFooter},
       {"tree", "show which processes of a running node are under which", kTreeFooter},
       {"exits", "show how processes of a running node ended that did not end normally", kExitsFooter},
       {"process", "show everything about one process of a running node", kProcessFooter}}};
  observe::Request& request = options->command.request;
  for (std::size_t i = 0; i < kVerbs.size(); ++i) {
    CLI::App* sub = options->apps[i] = app.add_subcommand(kVerbs[i].name, kVerbs[i].about);
    sub->footer(kVerbs[i].footer);
    sub->add_option("--node", options->command.node, "which one, if several run")->type_name("PID");
    sub->add_flag("--json", request.json, "one JSON object on one line");
  }
  const auto [top, tree, exits, process] = options->apps;
  for (CLI::App* sub : {top, exits}) {
    sub->add_option("--rows", request.rows, "how many to show")
        ->capture_default_str()
        ->check(CLI::Range(1, static_cast<int>(observe::TopList::kRowsMax)).description(""))
        ->type_name("N");
  }
  top->add_option("--sort", options->sort, "what comes first")->capture_default_str()->type_name("ORDER");
  top->add_option("--interval", options->interval, "refresh so often: 500ms, 2s")
      ->capture_default_str()
      ->type_name("TIME");
  top->add_flag("--once", options->command.once, "print once, also on a terminal");
  process->add_option("process", request.of, "which one")->type_name("PROCESS");
}

Command finish_observe(ObserveOptions options, std::size_t chosen) {
  ObserveCommand command = std::move(options.command);
  command.request.what = static_cast<observe::Request::What>(chosen);
  if (command.request.what == observe::Request::What::kTop) {
    const std::optional<observe::TopOrder> order = observe::parse_top_order(options.sort);
    if (!order) {
      return misuse(fmt::format("--sort {}: expected reductions, messages, mailbox, bytes or pid", options.sort),
                    "top");
    }
    command.request.order = *order;
    command.rows_are_given = options.apps[chosen]->count("--rows") > 0;
    const Result<Nanoseconds> interval = parse_duration(options.interval);
    if (!interval) return misuse("--interval " + interval.error().text, "top");
    command.interval = std::max(*interval, 100 * kMillisecond);
  }
  if (command.request.what == observe::Request::What::kProcess && command.request.of.empty()) {
    return misuse("PROCESS is missing: which one? A registered name or a pid", "process");
  }
  // The same check as when it is sent, so that misuse is called that.
  if (const Result<std::string> line = to_line(command.request); !line) {
    return misuse(line.error().text, options.apps[chosen]->get_name());
  }
  return command;
}

// What could not be understood, in the words of the command line instead of the parser's.
PrintCommand explain(const CLI::App& app, const CLI::ParseError& error, int argc, const char* const* argv) {
  const std::vector<CLI::App*> chosen = app.get_subcommands();
  std::vector<std::string_view> known;
  if (chosen.empty()) {
    if (argc <= 1 || argv[1][0] == '-') return misuse(argc <= 1 ? "which command?" : error.what(), {});
    const std::vector<const CLI::App*> commands = app.get_subcommands([](const CLI::App*) { return true; });
    for (const CLI::App* command : commands) known.push_back(command->get_name());
    return misuse(fmt::format("there is no command {}{}", argv[1], hint(argv[1], known)), {});
  }
  const std::string& name = chosen.front()->get_name();
  for (const std::string& word : chosen.front()->remaining()) {
    if (!word.starts_with("-")) continue;
    std::vector<std::string> options;
    for (const CLI::Option* option : chosen.front()->get_options()) options.push_back("--" + option->get_single_name());
    known.assign(options.begin(), options.end());
    return misuse(fmt::format("there is no option {}{}", word, hint(word, known)), name);
  }
  return misuse(error.what(), name);
}

Command parse(int argc, const char* const* argv) {
  CLI::App app(kAbout, "rusm");
  app.footer(kFooter);
  app.require_subcommand(1);
  app.set_version_flag("-V,--version", version_text());
  const auto formatter = std::make_shared<HelpFormatter>();
  formatter->column_width(34);
  app.formatter(formatter);

  ServeCommand serve;
  CLI::App* serve_app = app.add_subcommand("serve", "serve HTTP, each request by a sandboxed process of its own");
  serve_app->add_option("--config", serve.config, "the file to read")->capture_default_str()->type_name("FILE");
  serve_app->add_option("--listen", serve.listen, "listen here instead")->type_name("ADDRESS:PORT");
  serve_app->footer(kServeFooter);

  CheckCommand check;
  CLI::App* check_app = app.add_subcommand("check", "look for mistakes in rusm.toml");
  check_app->add_option("--config", check.config, "the file to read")->capture_default_str()->type_name("FILE");
  check_app->footer(kCheckFooter);

  RunCommand run;
  std::vector<std::string> folders;
  std::string timeout;
  std::string application;
  CLI::App* run_app = app.add_subcommand("run", "run a WebAssembly command");
  run_app->prefix_command();
  // One value each, so that FILE is never swallowed.
  run_app->add_option("--dir", folders, "let it see a folder; may be repeated")
      ->allow_extra_args(false)
      ->type_name("HOST::GUEST[:ro]");
  run_app->add_option("--env", run.env, "let it see a variable; may be repeated")
      ->allow_extra_args(false)
      ->type_name("NAME[=VALUE]");
  run_app->add_flag("--allow-network", run.allow_network, "let it open connections to any address");
  run_app->add_option("--max-memory-mb", run.max_memory_mb, "MiB of memory it may use")
      ->capture_default_str()
      ->check(CLI::Range(1, 4096).description(""))
      ->type_name("N");
  run_app->add_option("--config", application, "run the components and listeners of this rusm.toml instead of FILE")
      ->type_name("FILE");
  run_app->add_option("--timeout", timeout, "end it after this time: 500ms, 30s, 2m")->type_name("TIME");
  run_app->footer(kRunFooter);

  BenchCommand bench;
  CLI::App* bench_app = app.add_subcommand("bench", "measure this machine");
  bench_app->add_option("workload", bench.workload, "what to measure")->type_name("WORKLOAD");
  bench_app->add_option("--seconds", bench.seconds, "how long")
      ->capture_default_str()
      ->check(CLI::Range(0.1, 3600.0).description(""))
      ->type_name("N");
  bench_app->add_option("--workers", bench.workers, "worker threads; 0: one for each core")
      ->capture_default_str()
      ->check(CLI::Range(0, 1024).description(""))
      ->type_name("N");
  bench_app->add_flag("--json", bench.json, "one JSON object a line");
  bench_app->add_option("--component", bench.component, "the .wasm file to measure with, for workloads that run one")
      ->type_name("FILE");
  bench_app->footer(kBenchFooter);

  ObserveOptions observe;
  add_observe(app, &observe);

  try {
    app.parse(argc, argv);
  } catch (const CLI::CallForHelp&) {
    const auto subs = app.get_subcommands();
    return PrintCommand{subs.empty() ? app.help() : subs.front()->help("rusm"), kExitOk};
  } catch (const CLI::CallForVersion& version) {
    return PrintCommand{std::string(version.what()) + "\n", kExitOk};
  } catch (const CLI::ParseError& error) {
    if (argc <= 1) return PrintCommand{app.help(), kExitMisuse};
    return explain(app, error, argc, argv);
  }
  if (*serve_app) return serve;
  if (*check_app) return check;
  if (*bench_app) return bench;
  for (std::size_t i = 0; i < observe.apps.size(); ++i) {
    if (*observe.apps[i]) return finish_observe(std::move(observe), i);
  }
  if (!application.empty()) {
    if (!run_app->remaining().empty()) return misuse("--config stands instead of FILE: leave one of them out", "run");
    serve.config = application;
    return serve;
  }
  return finish_run(std::move(run), folders, timeout, run_app->remaining());
}

}  // namespace

Command parse_command_line(int argc, const char* const* argv) {
  try {
    return parse(argc, argv);
  } catch (const std::exception& error) {
    return PrintCommand{fmt::format("rusm: the command line cannot be read: {}\n", error.what()), kExitFailure};
  }
}

Result<Nanoseconds> parse_duration(std::string_view text) {
  double number = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  const std::string_view unit = text.substr(static_cast<std::size_t>(end - text.data()));
  Nanoseconds scale = 0;
  if (unit.empty() || unit == "s") scale = kSecond;
  if (unit == "ms") scale = kMillisecond;
  if (unit == "m") scale = 60 * kSecond;
  if (unit == "h") scale = 3600 * kSecond;
  constexpr double kSpanMax = 365.0 * 24 * 3600 * 1e9;
  const double span = number * static_cast<double>(scale);
  if (error != std::errc() || scale == 0 || !(span > 0) || span > kSpanMax) {
    return fail(ErrorCode::kInvalid, {}, fmt::format("{}: expected a time above 0 such as 500ms, 30s, 2m or 1h", text));
  }
  return static_cast<Nanoseconds>(span);
}

Result<Folder> parse_folder(std::string_view text) {
  Folder folder;
  std::string_view rest = text;
  const std::size_t middle = rest.find("::");
  if (middle == std::string_view::npos) {
    folder.host = folder.guest = rest;
  } else {
    folder.host = rest.substr(0, middle);
    rest.remove_prefix(middle + 2);
    if (rest.ends_with(":ro")) {
      folder.read_only = true;
      rest.remove_suffix(3);
    }
    folder.guest = rest;
  }
  if (folder.host.empty() || folder.guest.empty()) {
    return fail(ErrorCode::kInvalid, {}, fmt::format("{}: expected HOST::GUEST or HOST::GUEST:ro", text));
  }
  return folder;
}

}  // namespace rusm::cli
