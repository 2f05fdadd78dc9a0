// What is too much to compile is an error, told in time.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "wasm/test_node.h"

namespace rusm::wasm {
namespace {

using ::testing::HasSubstr;

Error refusal(const EngineOptions& options, std::string_view wasm) {
  const std::unique_ptr<Engine> engine = open_engine(options);
  const auto program =
      Program::from_bytes(*engine, nullptr, bytes_of(wasm), "bomb.wasm",
                          {.name = "bomb", .entry = Entry::kExport, .function = "run", .capabilities = {}});
  EXPECT_FALSE(program.has_value());
  return program ? Error{} : program.error();
}

// A function whose code has about `bytes` bytes.
std::string long_function(std::size_t bytes) {
  std::string text = R"((module (func (export "run") (local i32))";
  for (std::size_t i = 0; i < bytes / 7; ++i) text += "(local.set 0 (i32.add (local.get 0) (i32.const 1)))";
  return text + "))";
}

TEST(CompileTest, AFunctionThatIsTooLongIsRefused) {
  EngineOptions options{.guests_max = 4, .workers = 1};
  options.compile_function_bytes_max = 1000;
  const Error error = refusal(options, long_function(2000));
  EXPECT_EQ(error.code, ErrorCode::kLimit);
  EXPECT_EQ(error.where, "bomb.wasm");
  EXPECT_THAT(error.text, HasSubstr("at most 1000 are compiled"));
}

TEST(CompileTest, TooManyFunctionsAreRefused) {
  EngineOptions options{.guests_max = 4, .workers = 1};
  options.compile_functions_max = 2;
  const Error error = refusal(options, R"((component (core module (func) (func)) (core module (func))))");
  EXPECT_EQ(error.code, ErrorCode::kLimit);
  EXPECT_THAT(error.text, HasSubstr("more than 2 functions"));
}

TEST(CompileTest, CompilingThatTakesTooLongIsGivenUp) {
  EngineOptions options{.guests_max = 4, .workers = 1};
  options.compile_time_max = 1;  // less than a millisecond: none at all
  const Error error = refusal(options, long_function(700'000));
  EXPECT_EQ(error.code, ErrorCode::kLimit);
  EXPECT_THAT(error.text, HasSubstr("compile_seconds_max"));
}

}  // namespace
}  // namespace rusm::wasm
