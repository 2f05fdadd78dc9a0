#include "wasm/program.h"

#include <gtest/gtest.h>

#include <fstream>

#include "wasm/test_node.h"

namespace rusm::wasm {
namespace {

ProgramOptions options(Entry entry) {
  return {.name = "guest", .entry = entry, .function = "run", .capabilities = {}};
}

class ProgramTest : public testing::Test {
 protected:
  Error refused(std::string_view wasm, Entry entry, Capabilities capabilities = {}) {
    ProgramOptions wanted = options(entry);
    wanted.capabilities = std::move(capabilities);
    const auto program = Program::from_bytes(*engine_, nullptr, bytes_of(wasm), "a.wasm", std::move(wanted));
    EXPECT_FALSE(program.has_value());
    return program.has_value() ? Error{} : program.error();
  }

  std::unique_ptr<Engine> engine_ = open_engine();
};

TEST_F(ProgramTest, FilesThatAreNoComponentsAreNamed) {
  const auto load = [&](const std::string& path) {
    const auto program = Program::load(*engine_, nullptr, path, options(Entry::kHttp));
    EXPECT_FALSE(program.has_value());
    return program.error();
  };
  const std::string missing = testing::TempDir() + "no-such.wasm";
  EXPECT_EQ(load(missing).code, ErrorCode::kNotFound);
  EXPECT_EQ(load(missing).to_string(), missing + ": there is no such file");
  EXPECT_EQ(load(testing::TempDir()).text, "is not a file");
  const std::string text = testing::TempDir() + "text.wasm";
  std::ofstream(text) << "this is no WebAssembly";
  EXPECT_EQ(load(text).code, ErrorCode::kInvalid);
  EXPECT_EQ(load(text).to_string().rfind(text + ": not WebAssembly", 0), 0u) << load(text).to_string();
  std::filesystem::remove(text);
}

TEST_F(ProgramTest, TheWrongWorldIsRefused) {
  const std::string plain = component(R"((func (export "run")))");
  EXPECT_NE(refused(plain, Entry::kHttp).text.find("does not export wasi:http/incoming-handler"), std::string::npos);
  EXPECT_NE(refused(plain, Entry::kCommand).text.find("does not export wasi:cli/run"), std::string::npos);
  EXPECT_NE(refused(http_guest(), Entry::kExport).text.find("does not export a function `run`"), std::string::npos);
}

TEST_F(ProgramTest, AnImportThatNobodyGrantsIsNamed) {
  const Error error = refused(R"((component (import "foo:bar/baz@1.0.0" (instance (export "f" (func))))
    (core module $m (func (export "run"))) (core instance $i (instantiate $m))
    (func (export "run") (canon lift (core func $i "run")))))",
                              Entry::kExport);
  EXPECT_EQ(error.code, ErrorCode::kInvalid);
  EXPECT_EQ(error.text.rfind("imports foo:bar/baz@1.0.0, which this node does not offer", 0), 0u) << error.text;
}

TEST_F(ProgramTest, AMemoryThatIsTooLargeFromTheStartIsRefusedBeforeItRuns) {
  Capabilities small;
  small.memory_bytes_max = 1 << 20;
  const Error error = refused(component(R"((memory 17) (func (export "run")))"), Entry::kExport, small);
  EXPECT_EQ(error.text, "starts with a memory of 1114112 bytes, but may have 1048576: raise its memory limit");
}

TEST_F(ProgramTest, CapabilitiesHaveToBeText) {
  Capabilities odd;
  odd.env = {{"NAME", "\xff"}};
  EXPECT_EQ(refused(component(R"((func (export "run")))"), Entry::kExport, odd).code, ErrorCode::kInvalid);
}

}  // namespace
}  // namespace rusm::wasm
