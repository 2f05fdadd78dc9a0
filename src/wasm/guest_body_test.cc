#include "wasm/guest_body.h"

#include <gtest/gtest.h>

#include "wasm/log_allowance.h"
#include "wasm/test_node.h"

namespace rusm::wasm {
namespace {

using Kind = otp::ExitReason::Kind;

TEST(GuestBodyTest, RunsAndEndsNormally) {
  TestNode node;
  EXPECT_TRUE(node.run(R"((memory 1) (func (export "run") (i32.store (i32.const 8) (i32.const 1))))").is_normal());
  EXPECT_TRUE(node.settles());
}

TEST(GuestBodyTest, ATrapIsACrashWithABacktrace) {
  TestNode node;
  const otp::ExitReason reason = node.run(R"((func $deep unreachable) (func (export "run") (call $deep)))");
  EXPECT_EQ(reason.kind(), Kind::kCrashed);
  EXPECT_EQ(reason.crash_kind(), "trap");
  EXPECT_NE(reason.text().find("unreachable"), std::string_view::npos);
  EXPECT_NE(reason.backtrace().find("deep"), std::string_view::npos);
  EXPECT_TRUE(node.settles());
}

TEST(GuestBodyTest, LimitsAreReasonsOfTheirOwn) {
  TestNode node;
  Capabilities small;
  small.memory_bytes_max = 1 << 20;
  const otp::ExitReason memory = node.run(R"((memory 1) (func (export "run")
    (loop $l (br_if $l (i32.ne (memory.grow (i32.const 1)) (i32.const -1)))) unreachable))",
                                          small);
  EXPECT_EQ(memory.kind(), Kind::kLimit);
  EXPECT_EQ(memory.crash_kind(), "memory");
  const otp::ExitReason stack = node.run(R"((func $f (call $f) (call $f)) (func (export "run") (call $f)))");
  EXPECT_EQ(stack.kind(), Kind::kCrashed);
  EXPECT_EQ(stack.crash_kind(), "stack");
  Capabilities brief;
  brief.cpu_max = 5 * kMillisecond;
  const otp::ExitReason cpu = node.run(R"((func (export "run") (loop $l (br $l))))", brief);
  EXPECT_EQ(cpu.kind(), Kind::kLimit);
  EXPECT_EQ(cpu.crash_kind(), "cpu");
  EXPECT_TRUE(node.settles());
}

TEST(GuestBodyTest, SpinningGuestsDoNotKeepOthersFromRunningAndCanBeKilled) {
  TestNode node;
  Capabilities patient;
  patient.cpu_max = kNever;
  const auto spin = node.maker(component(R"((func (export "run") (loop $l (br $l))))"), Entry::kExport, patient);
  std::vector<otp::Pid> spinners;
  for (int i = 0; i < 4; ++i) spinners.push_back(node.start(*spin));
  for (int i = 0; i < 20; ++i) EXPECT_TRUE(node.run(R"((func (export "run")))").is_normal());
  EXPECT_TRUE(eventually([&] { return node.runtime.process_count() == 4; }));
  for (const otp::Pid pid : spinners) node.runtime.exit(pid, Kind::kKill);
  for (const otp::Pid pid : spinners) EXPECT_EQ(node.wait(pid).kind(), Kind::kKilled);
  EXPECT_TRUE(node.settles());
}

TEST(GuestBodyTest, MoreGuestsThanSlotsAreRefusedUntilOneEnds) {
  TestNode node({.guests_max = 3, .workers = 2});
  const auto spin = node.maker(component(R"((func (export "run") (loop $l (br $l))))"), Entry::kExport);
  std::vector<otp::Pid> spinners;
  for (int i = 0; i < 3; ++i) spinners.push_back(node.start(*spin));
  const Result<otp::BodyPtr> refused = spin->make({});
  ASSERT_FALSE(refused.has_value());
  EXPECT_EQ(refused.error().code, ErrorCode::kLimit);
  node.runtime.exit(spinners[0], Kind::kKill);
  node.wait(spinners[0]);
  EXPECT_TRUE(eventually([&] { return node.engine->slots().used() == 2; }));
  EXPECT_TRUE(spin->make({}).has_value()) << "and a body that never ran gives its slot back";
  EXPECT_EQ(node.engine->slots().used(), 2u);
  for (const otp::Pid pid : spinners) node.runtime.exit(pid, Kind::kKill);
  EXPECT_TRUE(node.settles());
}

constexpr std::string_view kCommand = R"((module
  (import "wasi_snapshot_preview1" "fd_write" (func $write (param i32 i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "proc_exit" (func $exit (param i32)))
  (memory (export "memory") 1)
  (data (i32.const 64) "one\ntwo")
  (func (export "_start")
    (i32.store (i32.const 0) (i32.const 64)) (i32.store (i32.const 4) (i32.const 7))
    (drop (call $write (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 16)))
    (call $exit (i32.const 3)))))";

TEST(GuestBodyTest, ACommandLeavesItsCodeAndItsLines) {
  TestNode node;
  const Ref<CommandStatus> status = make_ref<CommandStatus>();
  EXPECT_EQ(status->exit_code(), -1);
  const otp::ExitReason reason = node.wait(node.start(*node.maker(kCommand, Entry::kCommand), status));
  EXPECT_EQ(reason.kind(), Kind::kOther);
  EXPECT_EQ(reason.text(), "exited with code 3");
  EXPECT_EQ(status->exit_code(), 3);
  EXPECT_TRUE(node.settles());
  const std::string text = node.lines.text();
  for (const char* line : {" one ", " two "}) EXPECT_NE(text.find(line), std::string::npos) << text;
}

TEST(GuestBodyTest, LogBytesAreLimited) {
  TestNode node;
  Capabilities brief;
  brief.log_bytes_max = LogAllowance::kLineBytes + 5;
  brief.log_bytes_per_second = 0;
  node.wait(node.start(*node.maker(kCommand, Entry::kCommand, brief)));
  EXPECT_TRUE(node.settles());
  const std::string text = node.lines.text();
  EXPECT_NE(text.find(" one "), std::string::npos) << text;
  EXPECT_EQ(text.find("two"), std::string::npos) << text;
  EXPECT_NE(text.find("writes more than it may"), std::string::npos) << text;
}

TEST(GuestBodyTest, TheAttachmentHasToFitTheEntry) {
  TestNode node;
  const auto run = node.maker(component(R"((func (export "run")))"), Entry::kExport);
  const Ref<http::Exchange> exchange = make_ref<http::Exchange>(node.runtime, http::RequestHead{}, kNever);
  EXPECT_EQ(run->make({.bytes = {}, .attachment = exchange}).error().code, ErrorCode::kInvalid);
  EXPECT_EQ(node.maker(http_guest(), Entry::kHttp)->make({}).error().code, ErrorCode::kInvalid);
  EXPECT_EQ(node.engine->slots().used(), 0u);
}

TEST(GuestFactoryTest, FindsProgramsByName) {
  TestNode node;
  GuestFactory factory(node.runtime);
  const std::string wasm = component(R"((func (export "run")))");
  const auto program = [&] {
    return *Program::from_bytes(*node.engine, nullptr, bytes_of(wasm), "test",
                                {.name = "a", .entry = Entry::kExport, .function = "run", .capabilities = {}});
  };
  EXPECT_TRUE(factory.add(program()).has_value());
  EXPECT_EQ(factory.add(program()).error().code, ErrorCode::kExists);
  EXPECT_EQ(factory.find("b"), nullptr);
  ASSERT_NE(factory.find("a"), nullptr);
  EXPECT_TRUE(factory.find("a")->make({}).has_value());
}

}  // namespace
}  // namespace rusm::wasm
