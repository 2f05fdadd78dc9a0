// The guests of this folder and of examples/hello in the real engine: each rule that hostile.wasm breaks ends as its
// README says, and leaves nothing behind.

#include <gtest/gtest.h>

#include <fstream>
#include <sstream>

#include "otp/routine.h"
#include "wasm/test_node.h"

namespace rusm::wasm {
namespace {

using Kind = otp::ExitReason::Kind;
using State = otp::Pipe::State;

std::string read_guest(const std::string& name) {
  std::ifstream file(RUSM_GUEST_DIR "/" + name + ".wasm", std::ios::binary);
  EXPECT_TRUE(file) << name;
  std::ostringstream bytes;
  bytes << file.rdbuf();
  return bytes.str();
}

struct Answer {
  std::uint16_t status = 0;  // 0: none
  std::string body;
  State end = State::kOpen;
  std::string failure;
  otp::ExitReason reason;
};

// A request that a test plays the server for. This thread has no pid: it looks again and again.
class Request {
 public:
  Request(TestNode& node, GuestMaker& maker, std::string path, http::HeaderList headers = {}) : node_(node) {
    http::RequestHead head;
    head.method = "POST";
    head.target = std::move(path);
    head.authority = "example.test";
    head.scheme = "http";
    head.headers = std::move(headers);
    exchange_ = make_ref<http::Exchange>(node.runtime, std::move(head), kNever);
    pid_ = node.start(maker, exchange_);
  }

  // Sends `upload` and collects the response until `enough` of it is there, or all of it.
  void collect(std::string_view upload = {}, std::size_t enough = SIZE_MAX) {
    std::size_t sent = 0;
    EXPECT_TRUE(eventually([&] {
      if (sent < upload.size()) {
        sent += exchange_->request_body.write(bytes_of(upload.substr(sent)));
      } else if (exchange_->request_body.state() == State::kOpen) {
        exchange_->request_body.finish();
      }
      const std::span<const std::byte> there = exchange_->response_body.readable();
      answer_.body.append(reinterpret_cast<const char*>(there.data()), there.size());
      exchange_->response_body.consume(there.size());
      answer_.end = exchange_->response_body.state();
      return exchange_->response_body.ended() || answer_.end == State::kBroken || answer_.body.size() >= enough;
    })) << exchange_->request.target;
  }

  // What the client saw, and how the process ended.
  Answer end() {
    answer_.reason = node_.wait(pid_);
    if (const http::ResponseHead* head = exchange_->response()) answer_.status = head->status;
    if (const std::string* failure = exchange_->failure()) answer_.failure = *failure;
    return answer_;
  }

  Answer kill() {
    node_.runtime.exit(pid_, Kind::kKill);
    return end();
  }

  void hang_up() { exchange_->response_body.abort(); }

 private:
  TestNode& node_;
  Ref<http::Exchange> exchange_;
  otp::Pid pid_;
  Answer answer_;
};

class GuestsTest : public testing::Test {
 protected:
  static void SetUpTestSuite() {
    node_ = new TestNode({.guests_max = 64, .workers = 2});
    Capabilities bounded;
    bounded.memory_bytes_max = 8 << 20;
    bounded.cpu_max = kSecond / 5;
    hostile_ = node_->maker(read_guest("hostile"), Entry::kHttp, bounded);
    hello_ = node_->maker(read_guest("hello"), Entry::kHttp, bounded);
  }
  static void TearDownTestSuite() {
    hostile_.reset();
    hello_.reset();
    delete node_;
  }
  void TearDown() override { EXPECT_TRUE(node_->settles()) << "a guest left something behind"; }

  static Answer ask(GuestMaker& maker, std::string path, std::string_view upload = {}) {
    Request request(*node_, maker, std::move(path));
    request.collect(upload);
    return request.end();
  }

  static void expect_refused(const std::string& path) {
    const Answer answer = ask(*hostile_, path);
    EXPECT_EQ(answer.status, 200) << path << ": " << answer.reason.to_string();
    EXPECT_EQ(answer.body, "refused") << path;
    EXPECT_TRUE(answer.reason.is_normal()) << path;
  }

  static Answer expect_no_answer(const std::string& path) {
    Answer answer = ask(*hostile_, path);
    EXPECT_EQ(answer.status, 0) << path;
    EXPECT_EQ(answer.end, State::kBroken) << path;
    return answer;
  }

  // A guest that crashes right after its answer may take the answer with it, but never passes a part off as all of it.
  static void expect_whole_or_broken(const Answer& answer, std::string_view whole) {
    if (answer.end == State::kFinished) {
      EXPECT_EQ(answer.body, whole);
    } else {
      EXPECT_EQ(answer.end, State::kBroken);
      EXPECT_TRUE(whole.starts_with(answer.body)) << answer.body;
    }
  }

  static inline TestNode* node_ = nullptr;
  static inline std::shared_ptr<GuestMaker> hostile_;
  static inline std::shared_ptr<GuestMaker> hello_;
};

TEST_F(GuestsTest, TheControlAnswers) {
  const Answer answer = ask(*hostile_, "/ok?query");
  EXPECT_EQ(answer.status, 200);
  EXPECT_EQ(answer.body, "ok");
  EXPECT_EQ(answer.end, State::kFinished);
  EXPECT_TRUE(answer.reason.is_normal()) << answer.reason.to_string();
}

TEST_F(GuestsTest, AGuestThatNeverAnswersCanBeKilled) {
  Request request(*node_, *hostile_, "/never");
  const Answer answer = request.kill();
  EXPECT_EQ(answer.status, 0);
  EXPECT_EQ(answer.reason.kind(), Kind::kKilled);
}

TEST_F(GuestsTest, AnOutparamThatIsNotUsedWellIsNoAnswer) {
  // Said so, or ended without a word: then the exchange stays open, and the server answers when it sees the end.
  EXPECT_NE(expect_no_answer("/error").failure, "");
  EXPECT_EQ(expect_no_answer("/unset").failure, "");
  EXPECT_EQ(expect_no_answer("/after-drop").failure, "");
}

TEST_F(GuestsTest, TheFirstOfTwoAnswersCounts) {
  const Answer answer = ask(*hostile_, "/twice");
  EXPECT_EQ(answer.status, 200);
  EXPECT_EQ(answer.reason.kind(), Kind::kCrashed);
  expect_whole_or_broken(answer, "first");
}

TEST_F(GuestsTest, ABodyThatEndsBadlyIsNotMistakenForAWholeOne) {
  for (const char* path : {"/body-trap", "/body-drop", "/short", "/long"}) {
    const Answer answer = ask(*hostile_, path);
    EXPECT_EQ(answer.status, 200) << path;
    EXPECT_EQ(answer.end, State::kBroken) << path;
    EXPECT_LE(answer.body.size(), 10u) << path;
  }
  EXPECT_EQ(ask(*hostile_, "/body-trap").reason.crash_kind(), "trap");
}

TEST_F(GuestsTest, AGuestThatGoesOnAfterItsAnswerIsCut) {
  const Answer trapped = ask(*hostile_, "/trap-late");
  EXPECT_EQ(trapped.status, 200);
  EXPECT_EQ(trapped.reason.crash_kind(), "trap");
  expect_whole_or_broken(trapped, "complete");

  const Answer cut = ask(*hostile_, "/spin-late");
  EXPECT_EQ(cut.body, "complete");
  EXPECT_EQ(cut.end, State::kFinished);
  EXPECT_EQ(cut.reason.kind(), Kind::kLimit);
  EXPECT_EQ(cut.reason.crash_kind(), "cpu");

  EXPECT_EQ(ask(*hostile_, "/early", std::string(1 << 20, 'x')).body, "early");
}

TEST_F(GuestsTest, HeadersThatWouldBreakTheProtocolAreRefused) {
  expect_refused("/crlf-value");
  expect_refused("/crlf-name");
  expect_refused("/hop");
  expect_refused("/status-99");
  expect_refused("/status-1000");
}

TEST_F(GuestsTest, HeadersAreBounded) {
  const Answer answer = ask(*hostile_, "/big-headers");
  EXPECT_NE(answer.body, "accepted");
}

TEST_F(GuestsTest, AFloodStopsWhenTheClientHangsUp) {
  Request request(*node_, *hostile_, "/flood");
  request.collect({}, 1 << 20);
  request.hang_up();
  EXPECT_EQ(request.end().status, 200);
}

TEST_F(GuestsTest, ASlowBodyArrivesWhole) {
  const Answer answer = ask(*hostile_, "/slow");
  EXPECT_EQ(answer.body.size(), 10 * std::string_view("piece\n").size());
  EXPECT_EQ(answer.end, State::kFinished);
}

TEST_F(GuestsTest, WhateverGrowsHasALimit) {
  EXPECT_EQ(ask(*hostile_, "/handles").reason.kind(), Kind::kCrashed);
  const Answer deep = ask(*hostile_, "/stack");
  EXPECT_EQ(deep.reason.kind(), Kind::kCrashed) << deep.reason.to_string();
  const Answer log = ask(*hostile_, "/log");
  EXPECT_EQ(log.reason.crash_kind(), "cpu") << log.reason.to_string();
  EXPECT_LT(node_->lines.text().size(), 1u << 20);
  const Answer hog = ask(*hello_, "/hog");
  EXPECT_EQ(hog.reason.kind(), Kind::kLimit) << hog.reason.to_string();
  EXPECT_EQ(hog.reason.crash_kind(), "memory");
  const Answer spin = ask(*hello_, "/spin");
  EXPECT_EQ(spin.reason.crash_kind(), "cpu") << spin.reason.to_string();
}

TEST_F(GuestsTest, NobodyGoesOutWithoutTheRight) {
  EXPECT_EQ(ask(*hostile_, "/outgoing").body, "denied");
}

TEST_F(GuestsTest, HelloNamesItsProcessAndHasServedOneRequest) {
  for (int i = 0; i < 3; ++i) {
    const Answer answer = ask(*hello_, "/");
    EXPECT_EQ(answer.status, 200);
    EXPECT_TRUE(answer.body.starts_with("Hello from process <0.")) << answer.body;
    EXPECT_TRUE(answer.body.ends_with("Requests it has served: 1")) << answer.body;
  }
}

TEST_F(GuestsTest, HelloEchoesAndCrashesWithAName) {
  std::string upload;
  for (int i = 0; upload.size() < 2'000'000; ++i) upload += std::to_string(i) + ' ';
  const Answer echo = ask(*hello_, "/echo", upload);
  EXPECT_TRUE(echo.body == upload) << echo.body.size();
  EXPECT_EQ(echo.end, State::kFinished);

  const Answer crash = ask(*hello_, "/crash");
  EXPECT_EQ(crash.reason.crash_kind(), "trap");
  EXPECT_NE(crash.reason.backtrace().find("crash"), std::string_view::npos) << crash.reason.backtrace();
  EXPECT_EQ(ask(*hello_, "/nowhere").status, 404);
}

TEST_F(GuestsTest, HelloInRust) {
  const auto rust = node_->maker(read_guest("hello-rust"), Entry::kHttp);
  const Answer answer = ask(*rust, "/rust");
  EXPECT_EQ(answer.status, 200);
  EXPECT_NE(answer.body.find("you asked for /rust"), std::string::npos) << answer.body;
  EXPECT_TRUE(answer.body.ends_with("Requests it has served: 1")) << answer.body;
}

TEST_F(GuestsTest, GuestsOfTheWrongKindAreNamed) {
  const auto refusal = [](const std::string& name) {
    const auto program = Program::from_bytes(*node_->engine, nullptr, bytes_of(read_guest(name)), name + ".wasm",
                                             {.name = name, .entry = Entry::kHttp, .function = {}, .capabilities = {}});
    return program ? std::string("accepted") : program.error().to_string();
  };
  EXPECT_NE(refusal("foreign").find("nobody:offers/thing@1.0.0"), std::string::npos) << refusal("foreign");
  EXPECT_NE(refusal("plain").find("wasi:http/incoming-handler"), std::string::npos) << refusal("plain");
  EXPECT_NE(refusal("cli").find("wasi:http/incoming-handler"), std::string::npos) << refusal("cli");
}

// The command, as a component and as a core module.
class CommandTest : public GuestsTest, public testing::WithParamInterface<const char*> {
 protected:
  struct Outcome {
    int code = 0;
    otp::ExitReason reason;
  };
  static Outcome run(std::vector<std::string> args) {
    Capabilities capabilities;
    capabilities.args = {"cli"};
    capabilities.args.insert(capabilities.args.end(), args.begin(), args.end());
    capabilities.env = {{"COLOUR", "blue"}};
    capabilities.stdio = Stdio::kLog;
    const auto maker = node_->maker(read_guest(GetParam()), Entry::kCommand, std::move(capabilities));
    const auto status = make_ref<CommandStatus>();
    const otp::Pid pid = node_->start(*maker, status);
    Outcome outcome;
    outcome.reason = node_->wait(pid);
    outcome.code = status->exit_code();
    return outcome;
  }
};

INSTANTIATE_TEST_SUITE_P(BothKinds, CommandTest, testing::Values("cli", "cli-core"), [](const auto& info) {
  return std::string(info.param) == "cli" ? "Component" : "CoreModule";
});

TEST_P(CommandTest, SeesItsArgumentsAndVariablesAndWritesLines) {
  EXPECT_EQ(run({"args", "one", "two words"}).code, 0);
  EXPECT_NE(node_->lines.text().find("two words"), std::string::npos);
  EXPECT_EQ(run({"env", "COLOUR"}).code, 0);
  EXPECT_NE(node_->lines.text().find("blue"), std::string::npos);
}

TEST_P(CommandTest, ExitCodesAndTrapsAreToldApart) {
  EXPECT_EQ(run({"exit", "0"}).code, 0);
  // wasi:cli/exit 0.2 knows only success and failure.
  const Outcome seven = run({"exit", "7"});
  EXPECT_EQ(seven.code, std::string_view(GetParam()) == "cli" ? 1 : 7);
  EXPECT_EQ(seven.reason.kind(), Kind::kOther);
  const Outcome trap = run({"trap"});
  EXPECT_EQ(trap.code, -1);
  EXPECT_EQ(trap.reason.crash_kind(), "trap");
  EXPECT_NE(trap.reason.backtrace().find("fail_on_purpose"), std::string_view::npos) << trap.reason.backtrace();
}

TEST_P(CommandTest, SeesNoFileAndNoVariableThatWasNotGranted) {
  EXPECT_EQ(run({"read", "/etc/passwd"}).code, 1);
  EXPECT_EQ(run({"write", "/tmp/escaped", "text"}).code, 1);
  EXPECT_EQ(run({"env", "HOME"}).code, 1);
}

}  // namespace
}  // namespace rusm::wasm
