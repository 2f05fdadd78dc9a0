#include "app/config.h"

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fstream>
#include <sstream>

#include "app/config_keys.h"
#include "app/listen_address.h"

namespace rusm::app {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::SizeIs;

Config good(std::string_view text) {
  ConfigResult result = parse_config(text, "conf/rusm.toml");
  if (result) return std::move(*result);
  for (const Error& error : result.error()) ADD_FAILURE() << error.to_string();
  return {};
}

std::vector<std::string> mistakes(std::string_view text) {
  const ConfigResult result = parse_config(text, "rusm.toml");
  std::vector<std::string> texts;
  if (result) return texts;
  for (const Error& error : result.error()) texts.push_back(error.to_string());
  return texts;
}

TEST(ConfigTest, AnEmptyFileGivesTheDefaults) {
  const Config config = good("");
  EXPECT_EQ(config.node.workers, 0u);
  EXPECT_EQ(config.log.level, "info");
  EXPECT_THAT(config.serve, IsEmpty());
  ASSERT_THAT(config.capabilities, SizeIs(3));
  EXPECT_FALSE(config.capability("sandboxed")->allow_network);
  EXPECT_TRUE(config.capability("network-client")->allow_network);
  EXPECT_FALSE(config.capability("network-client")->allow_stdio);
  EXPECT_EQ(config.capability("trusted")->max_memory_mb, 1024u);
  EXPECT_EQ(config.capability("nobody"), nullptr);
}

TEST(ConfigTest, ReadsEveryTable) {
  const Config config = good(R"(
[node]
workers = 2
drain_timeout_ms = 100
[log]
level = "debug"
format = "json"
[engine]
code_cache = false
[[serve]]
listen = "[::1]:9000"
max_in_flight = 7
[serve.routes]
"GET /" = "hello"
"GET /users/:id" = "users"
[serve.headers]
X-Frame-Options = "DENY"
[[serve]]
listen = "127.0.0.1:9001"
component = "users"
[components.hello]
[components.users]
source = "build/users.wasm"
capability = "files"
resident = true
[capabilities.files]
inherits = "trusted"
allow-network = false
allow-process-control = false
spawn = ["hello"]
buckets = ["a", "b"]
max-processes = 9
max-cpu-ms = 5
env = ["TOKEN", "MODE=fast"]
preopen = [{ host = "data", guest = "/data", read-only = true }]
)");
  EXPECT_EQ(config.node.workers, 2u);
  EXPECT_EQ(config.node.drain_timeout_ms, 100u);
  EXPECT_EQ(config.log.format, "json");
  EXPECT_FALSE(config.engine.code_cache);
  ASSERT_THAT(config.serve, SizeIs(2));
  EXPECT_EQ(config.serve[0].listen, "[::1]:9000");
  EXPECT_EQ(config.serve[0].max_in_flight, 7u);
  ASSERT_THAT(config.serve[0].routes, SizeIs(2));
  EXPECT_EQ(config.serve[0].routes[1].pattern, "GET /users/:id");
  EXPECT_EQ(config.serve[0].routes[1].component, "users");
  EXPECT_EQ(config.serve[0].routes[1].where, "conf/rusm.toml:15");
  EXPECT_EQ(config.serve[0].headers[0].value, "DENY");
  EXPECT_EQ(config.serve[1].component, "users");
  EXPECT_EQ(config.component("hello")->source, "conf/wasm/hello.wasm");
  EXPECT_EQ(config.component("users")->source, "conf/build/users.wasm");
  const CapabilityConfig& files = *config.capability("files");
  EXPECT_FALSE(files.allow_network);
  EXPECT_TRUE(files.allow_stdio) << "from trusted";
  EXPECT_TRUE(files.allow_spawn) << "from trusted";
  EXPECT_THAT(files.spawn, ElementsAre("hello"));
  EXPECT_FALSE(files.allow_process_control);
  EXPECT_THAT(files.buckets, ElementsAre("a", "b"));
  EXPECT_EQ(files.max_processes, 9u);
  EXPECT_TRUE(config.component("users")->resident);
  EXPECT_FALSE(config.component("hello")->resident);
  EXPECT_EQ(files.max_memory_mb, 1024u);
  EXPECT_EQ(files.max_cpu_ms, 5u);
  EXPECT_THAT(files.env, ElementsAre("TOKEN", "MODE=fast"));
  EXPECT_EQ(files.preopen[0].host, "conf/data");
  EXPECT_TRUE(files.preopen[0].read_only);
}

struct Mistake {
  const char* name;
  const char* text;
  const char* message;  // the whole error
};

class ConfigMistakeTest : public ::testing::TestWithParam<Mistake> {};

TEST_P(ConfigMistakeTest, IsNamedWithItsLine) {
  EXPECT_THAT(mistakes(GetParam().text), ElementsAre(HasSubstr(GetParam().message)));
}

const Mistake kMistakes[] = {
    {"Syntax", "[node]\nworkers = = 2\n", "rusm.toml:2: not valid TOML: "},
    {"UnknownTable", "\n[nodes]\n", "rusm.toml:2: there is no table [nodes]; did you mean node?"},
    {"UnknownTableFarFromAny", "[zzzzzzzzz]\n",
     "rusm.toml:1: there is no table [zzzzzzzzz]; expected one of: node, log, engine"},
    {"UnknownKey", "[node]\nworkrs = 2\n", "rusm.toml:2: [node]: there is no key workrs; did you mean workers?"},
    {"UnknownKeyFarFromAny", "[log]\ncolour = 1\n",
     "rusm.toml:2: [log]: there is no key colour; expected one of: level, format"},
    {"UnderscoreForDash", "[capabilities.a]\nmax_memory_mb = 2\n",
     "there is no key max_memory_mb; did you mean max-memory-mb?"},
    {"WrongType", "[node]\nworkers = \"two\"\n",
     "rusm.toml:2: [node] workers = \"two\": expected an integer from 0 to 1024"},
    {"Fraction", "[node]\nworkers = 1.5\n", "[node] workers = a number with a fraction: expected an integer"},
    {"Negative", "[node]\nworkers = -1\n", "[node] workers = -1: expected an integer from 0 to 1024"},
    {"TooLarge", "[node]\nworkers = 1025\n", "[node] workers = 1025: expected an integer from 0 to 1024"},
    {"NotABoolean", "[engine]\ncode_cache = 1\n", "[engine] code_cache = 1: expected true or false"},
    {"NotAText", "[log]\nlevel = true\n", "[log] level = true: expected one of: off, error, warn, info, debug"},
    {"WrongChoice", "[log]\nlevel = \"wran\"\n",
     "[log] level = \"wran\": expected one of: off, error, warn, info, debug; did you mean warn?"},
    {"TableIsAValue", "node = 3\n", "rusm.toml:1: node = 3: expected a table, [node]"},
    {"ServeIsOneTable", "[serve]\ncomponent = \"a\"\n",
     "rusm.toml:1: serve is a table: expected a list of tables; write [[serve]]"},
    {"ComponentsIsAValue", "components = 1\n", "components = 1: expected tables, [components.NAME]"},
    {"ComponentIsAValue", "[components]\na = \"x.wasm\"\n",
     "rusm.toml:2: [components] a = \"x.wasm\": expected a table, [components.a]"},
    {"ComponentName", "[components.\"a/b\"]\n", "a name has letters, digits, - and _"},
    {"NobodyAnswers", "[[serve]]\n", "rusm.toml:1: [[serve]] says not who answers"},
    {"RoutesAndComponent", "[[serve]]\ncomponent = \"a\"\n[serve.routes]\n\"GET /\" = \"a\"\n[components.a]\n",
     "rusm.toml:2: [[serve]] has both component and [serve.routes]"},
    {"RouteToNobody", "[[serve]]\n[serve.routes]\n\"GET /\" = \"helo\"\n[components.hello]\n",
     "rusm.toml:3: [serve.routes] \"GET /\" = \"helo\": there is no component of that name; did you mean hello?"},
    {"RouteWithoutAnyComponent", "[[serve]]\ncomponent = \"hello\"\n",
     "rusm.toml:2: [[serve]] component = \"hello\": there is no component of that name; add a table "
     "[components.hello]"},
    {"RouteToAnAction", "[[serve]]\n[serve.routes]\n\"GET /\" = \"a#list\"\n[components.a]\n",
     "actions (component#action) are not offered"},
    {"RouteIsANumber", "[[serve]]\n[serve.routes]\n\"GET /\" = 1\n",
     "rusm.toml:3: [serve.routes] \"GET /\" = 1: expected the name of a component"},
    {"RoutePattern", "[[serve]]\n[serve.routes]\n\"GET users\" = \"a\"\n[components.a]\n",
     "rusm.toml:3: [serve.routes] \"GET users\": "},
    {"RouteTwice", "[[serve]]\n[serve.routes]\n\"GET /:a\" = \"a\"\n\"GET /:b\" = \"a\"\n[components.a]\n",
     "rusm.toml:4: [serve.routes] \"GET /:b\": "},
    {"Listen", "[[serve]]\nlisten = \"8080\"\ncomponent = \"a\"\n[components.a]\n",
     "rusm.toml:2: [[serve]] listen: \"8080\" is not an address to listen on: expected ADDRESS:PORT"},
    {"ListenTwice", "[[serve]]\ncomponent = \"a\"\n[[serve]]\ncomponent = \"a\"\n[components.a]\n",
     "rusm.toml:3: [[serve]] listen = \"127.0.0.1:8080\": rusm.toml:1 listens there already"},
    {"HeaderName", "[[serve]]\ncomponent = \"a\"\n[serve.headers]\n\"a b\" = \"c\"\n[components.a]\n",
     "\"a b\" is not the name of a header"},
    {"HeaderValue", "[[serve]]\ncomponent = \"a\"\n[serve.headers]\na = \"b\\r\\nc: d\"\n[components.a]\n",
     "a: the value has a control character"},
    {"HeaderReserved", "[[serve]]\ncomponent = \"a\"\n[serve.headers]\nContent-Length = \"1\"\n[components.a]\n",
     "the server writes this header itself"},
    {"CapabilityUnknown", "[components.a]\ncapability = \"trused\"\n",
     "rusm.toml:2: [components.a] capability = \"trused\": there is no capability of that name; did you mean trusted?"},
    {"CapabilityBuiltin", "[capabilities.trusted]\n", "[capabilities.trusted]: this name is built in"},
    {"Inherits", "[capabilities.a]\ninherits = \"root\"\n",
     "[capabilities.a] inherits = \"root\": expected one of: sandboxed, network-client, trusted"},
    {"EnvIsNoList", "[capabilities.a]\nenv = \"A\"\n", "[capabilities.a] env = \"A\": expected a list of texts"},
    {"EnvName", "[capabilities.a]\nenv = [\"1A\"]\n", "[capabilities.a] env \"1A\": expected NAME or NAME=value"},
    {"NetworkRule", "[capabilities.a]\nnetwork = [\n  \"a:80\",\n  \"10.0.0.1/8\",\n]\n",
     "rusm.toml:4: [capabilities.a] network \"10.0.0.1/8\": the address goes on beyond its 8 bits"},
    {"NetworkListen", "[capabilities.a]\nnetwork-listen = [\"localhost:80\"]\n",
     "rusm.toml:2: [capabilities.a] network-listen \"localhost:80\": a guest listens on an address"},
    {"NetworkShape", "[capabilities.a]\nnetwork = \"a:80\"\n",
     "[capabilities.a] network = \"a:80\": expected a list of texts"},
    {"NetworkContradiction", "[capabilities.a]\nallow-network = false\nnetwork = [\"a:80\"]\n",
     "[capabilities.a] has both a network list and allow-network = false"},
    {"PreopenShape", "[capabilities.a]\npreopen = [\"/data\"]\n",
     "[capabilities.a] preopen = \"/data\": expected a list of { host ="},
    {"PreopenKey", "[capabilities.a]\npreopen = [{ host = \"a\", guest = \"b\", readonly = true }]\n",
     "there is no key readonly; did you mean read-only?"},
    {"PreopenHost", "[capabilities.a]\npreopen = [{ guest = \"b\" }]\n", "[capabilities.a] preopen: host is missing"},
    {"SourceUrl", "[components.a]\nsource = \"https://example.com/a.wasm\"\n",
     "is not offered by this version: give the path of a file"},
    {"LaterKey", "[node]\nprofile = \"max\"\n",
     "rusm.toml:2: [node] profile is not offered by this version: set [node] workers"},
    {"LaterValue", "[[serve]]\nprotocol = \"ws\"\ncomponent = \"a\"\n[components.a]\n",
     "[[serve]] protocol = \"ws\" is not offered by this version"},
    {"LaterTable", "[[serve]]\ncomponent = \"a\"\n[serve.tls]\ncert = \"c\"\n[components.a]\n",
     "[[serve]] tls is not offered by this version"},
    {"LaterBoolean", "[[serve]]\ncompression = true\ncomponent = \"a\"\n[components.a]\n",
     "[[serve]] compression = true is not offered by this version"},
};

INSTANTIATE_TEST_SUITE_P(All, ConfigMistakeTest, ::testing::ValuesIn(kMistakes),
                         [](const auto& of) { return std::string(of.param.name); });

TEST(ConfigTest, WhatIsOffAnywayMayBeWritten) {
  good(
      "[[serve]]\ncompression = false\ncomponent = \"a\"\n[components.a]\nresident = false\n"
      "[capabilities.c]\nallow-spawn = false\nallow-storage = false\n");
}

TEST(ConfigTest, EveryKeyThatIsNotOfferedIsRefused) {
  for (const LaterKey& later : later_keys()) {
    const std::string value = later.value.empty()     ? "1"
                              : later.value == "true" ? "true"
                                                      : fmt::format("\"{}\"", later.value);
    const std::string table = later.table == "serve"  ? "[[serve]]"
                              : later.table == "node" ? "[node]"
                                                      : fmt::format("[{}.x]", later.table);
    const std::string text = fmt::format("{}\n{} = {}\n", table, later.name, value);
    EXPECT_THAT(mistakes(text), ::testing::Contains(HasSubstr("is not offered by this version"))) << text;
  }
}

TEST(ConfigTest, AllMistakesAreReportedAtOnceInTheOrderOfTheirLines) {
  EXPECT_THAT(mistakes("[[serve]]\nlisten = 5\n[node]\nworkers = true\nfoo = 1\n[log]\nlevel = \"x\"\n"),
              ElementsAre(HasSubstr("rusm.toml:1: [[serve]] says not"), HasSubstr("rusm.toml:2: [[serve]] listen = 5"),
                          HasSubstr("rusm.toml:4: "), HasSubstr("rusm.toml:5: "), HasSubstr("rusm.toml:7: ")));
}

TEST(ConfigTest, MissingFile) {
  const ConfigResult result = load_config("/nonexistent/rusm.toml");
  ASSERT_FALSE(result);
  EXPECT_EQ(result.error()[0].code, ErrorCode::kNotFound);
  EXPECT_EQ(result.error()[0].where, "/nonexistent/rusm.toml");
}

TEST(ConfigTest, AFolderIsNoFile) {
  const ConfigResult result = load_config("/");
  ASSERT_FALSE(result);
  EXPECT_EQ(result.error()[0].code, ErrorCode::kIo);
}

TEST(ConfigTest, FilesHaveALimit) {
  const std::string path = ::testing::TempDir() + "/config_test_large.toml";
  std::ofstream(path) << std::string(kConfigBytesMax + 1, '#');
  const ConfigResult result = load_config(path);
  ASSERT_FALSE(result);
  EXPECT_EQ(result.error()[0].code, ErrorCode::kLimit);
}

TEST(ListenAddressTest, ReadsWhatPeopleWrite) {
  EXPECT_EQ(parse_listen_address("127.0.0.1:80")->to_string(), "127.0.0.1:80");
  EXPECT_EQ(parse_listen_address("[::1]:0")->to_string(), "[::1]:0");
  EXPECT_EQ(parse_listen_address("localhost:65535")->to_string(), "127.0.0.1:65535");
  EXPECT_EQ(parse_listen_address(":8080")->to_string(), "0.0.0.0:8080");
  for (const char* text : {"", "80", "127.0.0.1", "127.0.0.1:", "127.0.0.1:x", "127.0.0.1:65536", "127.0.0.1:-1",
                           "::1:80", "[127.0.0.1]:80", "example.com:80", "127.0.0.1:80 "}) {
    EXPECT_FALSE(parse_listen_address(text)) << text;
  }
}

TEST(NearestTest, FindsMistypedNamesOnly) {
  const std::string_view known[] = {"max_connections", "listen", "idle_timeout_ms"};
  EXPECT_EQ(nearest("lisen", known), "listen");
  EXPECT_EQ(nearest("max_conections", known), "max_connections");
  EXPECT_EQ(nearest("colour", known), "");
  EXPECT_EQ(nearest("", known), "");
}

TEST(ConfigTest, ANetworkListNarrowsWhatIsInherited) {
  const Config config = good(R"(
[engine]
core_dumps = "cores"
[capabilities.narrow]
inherits = "network-client"
network = ["api.example.com:443"]
[capabilities.wide]
inherits = "network-client"
allow-network = true
network = ["10.0.0.0/8:5432"]
[capabilities.none]
inherits = "trusted"
network = []
[capabilities.server]
network-listen = ["127.0.0.1:8080"]
)");
  EXPECT_EQ(config.engine.core_dumps, "conf/cores");
  EXPECT_FALSE(config.capability("narrow")->allow_network);
  EXPECT_THAT(config.capability("narrow")->network, ElementsAre("api.example.com:443"));
  EXPECT_TRUE(config.capability("wide")->allow_network);
  EXPECT_FALSE(config.capability("none")->allow_network);
  EXPECT_FALSE(config.capability("server")->allow_network);
  EXPECT_THAT(config.capability("server")->network_listen, ElementsAre("127.0.0.1:8080"));
}

// docs/configuration.md has one section for each table and one row for each key, exactly as the key table says.
TEST(ConfigDocumentationTest, HasARowForEachKey) {
  std::ifstream file(RUSM_SOURCE_DIR "/docs/configuration.md");
  std::map<std::string, std::string> sections;
  std::string section;
  for (std::string line; std::getline(file, line);) {
    if (line.starts_with("## ") || line.starts_with("### ")) section = line.substr(line.find(' ') + 1);
    sections[section] += line + "\n";
  }
  for (const DocumentedKey& key : documented_keys()) {
    EXPECT_THAT(sections[fmt::format("`{}`", key.section)], HasSubstr(key.row() + "\n"))
        << "add this row to docs/configuration.md under `" << key.section << "`:\n"
        << key.row();
  }
  for (const LaterKey& later : later_keys()) {
    EXPECT_THAT(sections["Not offered yet"], HasSubstr(fmt::format("`{}`", later.name)));
  }
}

}  // namespace
}  // namespace rusm::app
