// The control server over real sockets, and those who ask it.
#include <fcntl.h>
#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <functional>
#include <nlohmann/json.hpp>
#include <thread>

#include "base/test_folder.h"
#include "base/test_wait.h"
#include "observe/control_client.h"
#include "observe/control_folder.h"
#include "observe/control_server.h"
#include "observe/test_world.h"

namespace rusm::observe {
namespace {

using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::SizeIs;
using What = Request::What;

class ControlTest : public ::testing::Test {
 protected:
  std::unique_ptr<ControlServer> open(ControlOptions options = {}) {
    options.folder = folder_;
    if (options.node.empty()) options.node = "1";
    options.first_window = kMillisecond;
    auto server = ControlServer::open(runtime_, options);
    EXPECT_TRUE(server) << server.error().to_string();
    return server ? std::move(*server) : nullptr;
  }
  std::vector<NodeSocket> nodes() { return find_nodes({folder_}, geteuid()); }
  static Result<std::string> ask_one(const ControlServer& server, const Request& request) {
    return ask({"1", server.path()}, request, 60 * kSecond);
  }

  // Waits for what comes, or for the end; at most a minute.
  static std::string receive(int fd) {
    std::string text;
    for (;;) {
      pollfd polled = {fd, POLLIN, 0};
      if (poll(&polled, 1, 60'000) != 1) return text + " (nothing came)";
      char bytes[4096];
      const ssize_t size = recv(fd, bytes, sizeof(bytes), 0);
      if (size <= 0) return text;
      text.append(bytes, static_cast<std::size_t>(size));
    }
  }
  static void send_text(int fd, std::string_view text) {
    EXPECT_EQ(send(fd, text.data(), text.size(), MSG_NOSIGNAL), static_cast<ssize_t>(text.size()));
  }
  const TestFolder base_{"/tmp"};  // the path of a socket has to be short
  std::string folder_ = base_ / "rusm";
  const SystemClock clock_;
  SystemEntropy entropy_;
  otp::QuietReactorFactory reactors_;
  otp::Runtime runtime_{{.workers = 1}, {clock_, entropy_, reactors_}};
};

TEST_F(ControlTest, AnswersWhatIsAsked) {
  const otp::Pid db = runtime_.spawn_with({.label = "store", .name = "db"}, wait_for_message);
  const auto server = open();
  ASSERT_TRUE(server);
  for (int i = 0; i < 2; ++i) {
    const auto top = ask_one(*server, {});
    ASSERT_TRUE(top) << top.error().to_string();
    EXPECT_THAT(*top, HasSubstr("processes 1: 1 message\nper second, over ")) << "also the first has rates";
    EXPECT_THAT(*top, HasSubstr(db.to_string() + " db"));
  }
  EXPECT_THAT(*ask_one(*server, {.what = What::kTree}), HasSubstr("db (store) " + db.to_string()));
  EXPECT_THAT(*ask_one(*server, {.what = What::kExits}), HasSubstr("no process has ended"));
  EXPECT_THAT(*ask_one(*server, {.what = What::kProcess, .of = "db"}), HasSubstr("state       waits for message\n"));
  for (const What what : {What::kTop, What::kTree, What::kExits}) {
    EXPECT_TRUE(nlohmann::json::parse(*ask_one(*server, {.what = what, .json = true})).is_object());
  }
  const auto none = ask_one(*server, {.what = What::kProcess, .of = "bd"});
  ASSERT_FALSE(none);
  EXPECT_THAT(none.error().text, HasSubstr("bd: no process has this name"));
  EXPECT_TRUE(ask_one(*server, {.columns = 20})->find("node") == 0);
}

TEST_F(ControlTest, IsForItsUserAloneAndGoesWithItsNode) {
  auto server = open();
  ASSERT_TRUE(server);
  struct stat status;
  ASSERT_EQ(lstat(folder_.c_str(), &status), 0);
  EXPECT_EQ(status.st_mode & 07777, 0700u);
  ASSERT_EQ(lstat(server->path().c_str(), &status), 0);
  EXPECT_EQ(status.st_mode & 07777, 0600u);
  EXPECT_EQ(nodes(), (std::vector<NodeSocket>{{"1", folder_ + "/1.sock"}}));
  server.reset();
  EXPECT_TRUE(std::filesystem::is_empty(folder_));
  const auto answer = ask({"1", folder_ + "/1.sock"}, {});
  ASSERT_FALSE(answer);
  EXPECT_EQ(answer.error().text, "node 1 has ended");
}

TEST(ControlFolderTest, OnlyTheSameUserAndRootMayAsk) {
  EXPECT_TRUE(may_ask(1000, 1000));
  EXPECT_TRUE(may_ask(0, 1000));
  EXPECT_FALSE(may_ask(1001, 1000));
  EXPECT_FALSE(may_ask(1000, 0));
}

TEST_F(ControlTest, AFolderThatOthersCouldChangeIsRefused) {
  const auto refusal = [&] {
    auto server = ControlServer::open(runtime_, {.folder = folder_});
    EXPECT_FALSE(server);
    EXPECT_THAT(find_nodes({folder_}, geteuid()), IsEmpty());
    return server ? Error() : server.error();
  };
  ASSERT_EQ(mkdir(folder_.c_str(), 0700), 0);
  ASSERT_EQ(chmod(folder_.c_str(), 0750), 0);
  EXPECT_EQ(refusal().code, ErrorCode::kDenied);
  EXPECT_THAT(refusal().text, HasSubstr("chmod 700"));
  ASSERT_EQ(rename(folder_.c_str(), (base_ / "real").c_str()), 0);
  ASSERT_EQ(chmod((base_ / "real").c_str(), 0700), 0);
  ASSERT_EQ(symlink((base_ / "real").c_str(), folder_.c_str()), 0);
  EXPECT_EQ(refusal().code, ErrorCode::kDenied);
  EXPECT_EQ(check_control_folder(base_ / "real", geteuid() + 1).error().code, ErrorCode::kDenied);
  folder_ = base_ / "not/there";
  EXPECT_EQ(refusal().code, ErrorCode::kIo);
  folder_ = base_ / std::string(200, 'x');
  EXPECT_EQ(refusal().code, ErrorCode::kInvalid);
}

TEST_F(ControlTest, NamesAreChecked) {
  for (const char* name : {"a/b", "../x", ".x", "a b", "\x1b"}) {
    EXPECT_EQ(ControlServer::open(runtime_, {.folder = folder_, .node = name}).error().code, ErrorCode::kInvalid);
  }
}

TEST_F(ControlTest, TwoNodesHaveToBeToldApart) {
  const auto first = open({.node = "10"});
  const auto second = open({.node = "9"});
  ASSERT_TRUE(first && second);
  const auto running = nodes();
  ASSERT_THAT(running, SizeIs(2));
  EXPECT_EQ(choose_node(running, {}).error().text, "several nodes run; choose with --node: 9, 10");
  EXPECT_EQ(choose_node(running, "10")->path, first->path());
  EXPECT_EQ(choose_node(running, "11").error().text, "no node 11 of yours is running; these are: 9, 10");
  EXPECT_EQ(choose_node({}, {}).error().code, ErrorCode::kNotFound);
  EXPECT_THAT(choose_node({}, {}).error().text, HasSubstr("start one with rusm serve"));
  EXPECT_EQ(ControlServer::open(runtime_, {.folder = folder_, .node = "9"}).error().code, ErrorCode::kExists);
  EXPECT_TRUE(ask_one(*second, {})) << "the one that was there first goes on";
}

TEST_F(ControlTest, SocketsOfTheDeadAreRemoved) {
  ASSERT_TRUE(open_control_folder(folder_, geteuid()));
  {
    const auto dead = listen_at(folder_ + "/1.sock");
  }
  {
    const auto dead = listen_at(folder_ + "/77.sock");
  }
  EXPECT_THAT(nodes(), IsEmpty());
  const auto server = open();
  ASSERT_TRUE(server);
  EXPECT_THAT(node_names(folder_), testing::ElementsAre("1"));
  EXPECT_TRUE(ask_one(*server, {}));
}

TEST_F(ControlTest, AnothersSocketUnderItsNameIsLeftAlone) {
  auto server = open();
  ASSERT_TRUE(server);
  ASSERT_EQ(unlink(server->path().c_str()), 0);
  const auto other = open();
  ASSERT_TRUE(other);
  server.reset();
  EXPECT_TRUE(ask_one(*other, {}));
}

TEST_F(ControlTest, WrongRequestsAreAnswered) {
  const auto server = open();
  ASSERT_TRUE(server);
  const std::pair<std::string, const char*> cases[] = {
      {"quit\n", "expected top, tree, exits or process"},
      {"\n", "expected top"},
      {std::string("to\0p\n", 5), "control character"},
      {std::string(kRequestBytesMax, 'x'), "a request has at most 512 bytes"},
      {std::string(10 * kRequestBytesMax, 'x') + "\n", "a request has at most 512 bytes"},
  };
  for (const auto& [request, text] : cases) {
    const auto fd = connect_to(server->path());
    ASSERT_TRUE(fd);
    send_text(fd->get(), request);
    const std::string answer = receive(fd->get());
    EXPECT_THAT(answer, testing::StartsWith("rusm 1 error "));
    EXPECT_THAT(answer, HasSubstr(text));
  }
}

TEST_F(ControlTest, ARequestMayComeInPieces) {
  const auto server = open();
  const auto fd = connect_to(server->path());
  ASSERT_TRUE(fd);
  for (const char c : std::string("exits format=json\n")) send_text(fd->get(), std::string_view(&c, 1));
  EXPECT_THAT(receive(fd->get()), testing::StartsWith("rusm 1 ok "));
}

TEST_F(ControlTest, SlowClientsAreCutAndKeepNobodyWaiting) {
  const auto server = open({.clients_max = 2, .request_timeout = 50 * kMillisecond});
  ASSERT_TRUE(server);
  std::vector<Descriptor> silent;
  for (int i = 0; i < 20; ++i) {
    auto fd = connect_to(server->path());
    ASSERT_TRUE(fd) << fd.error().to_string();
    if (i % 2 == 0) send_text(fd->get(), "tr");
    silent.push_back(std::move(*fd));
  }
  EXPECT_TRUE(ask_one(*server, {.what = What::kTree})) << "its turn comes";
  for (const Descriptor& fd : silent) EXPECT_EQ(receive(fd.get()), "");
}

TEST_F(ControlTest, WhoDoesNotReadItsAnswerIsCut) {
  for (int i = 0; i < 3000; ++i) {
    runtime_.spawn_with({.label = fmt::format("{:04}{}", i, std::string(500, 'x'))}, wait_for_message);
  }
  const auto server = open({.answer_timeout = 50 * kMillisecond});
  ASSERT_TRUE(server);
  const auto fd = connect_to(server->path());
  ASSERT_TRUE(fd);
  const int small = 2048;
  setsockopt(fd->get(), SOL_SOCKET, SO_RCVBUF, &small, sizeof(small));
  send_text(fd->get(), "top rows=1000 format=json\n");
  pollfd hung_up = {fd->get(), POLLRDHUP, 0};
  ASSERT_EQ(poll(&hung_up, 1, 60'000), 1);
  const std::string answer = receive(fd->get());
  EXPECT_THAT(answer, testing::StartsWith("rusm 1 ok "));
  const auto head = parse_answer_head(std::string_view(answer).substr(0, answer.find('\n')));
  ASSERT_TRUE(head);
  EXPECT_LT(answer.size(), head->bytes) << "the rest was never sent";
  EXPECT_TRUE(ask_one(*server, {.what = What::kTree}));
}

TEST_F(ControlTest, ClientsThatVanishLeaveNothingBehind) {
  const auto server = open();
  ASSERT_TRUE(server);
  const auto descriptors = [] {
    return std::distance(std::filesystem::directory_iterator("/proc/self/fd"), std::filesystem::directory_iterator());
  };
  const auto before = descriptors();
  for (int i = 0; i < 200; ++i) {
    const auto fd = connect_to(server->path());
    if (!fd) continue;  // no room just now
    if (i % 4 == 1) send_text(fd->get(), "t");
    if (i % 4 == 2) send_text(fd->get(), "top\n");
    if (i % 4 == 3) send_text(fd->get(), "process of=x\n");
  }
  EXPECT_TRUE(ask_one(*server, {})) << "behind all of them";
  EXPECT_TRUE(eventually([&] { return descriptors() <= before; }, std::chrono::seconds(60)));
}

TEST_F(ControlTest, SeveralAskAtOnce) {
  const auto server = open();
  ASSERT_TRUE(server);
  std::vector<std::thread> threads;
  std::atomic<int> answers{0};
  for (int i = 0; i < 4; ++i) {
    threads.emplace_back([&] {
      for (int j = 0; j < 25; ++j) {
        if (ask_one(*server, {.what = static_cast<What>(j % 3)})) answers.fetch_add(1);
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(answers.load(), 100);
}

TEST_F(ControlTest, ItCanBeStoppedWhileSomeoneAsks) {
  auto server = open({.request_timeout = 600 * kSecond});
  ASSERT_TRUE(server);
  const auto silent = connect_to(server->path());
  ASSERT_TRUE(silent);
  const auto waits = connect_to(server->path());
  ASSERT_TRUE(waits);
  send_text(waits->get(), "top\n");
  server.reset();
  EXPECT_EQ(receive(silent->get()), "");
  (void)receive(waits->get());
}

TEST_F(ControlTest, AnswersThatMakeNoSenseAreErrors) {
  ASSERT_TRUE(open_control_folder(folder_, geteuid()));
  for (const std::string answer : {"hello\n", "rusm 1 ok 100\nshort", "rusm 1 ok 1\nlong", "rusm 1 ok 5", ""}) {
    const std::string path = folder_ + "/2.sock";
    unlink(path.c_str());
    const auto listener = listen_at(path);
    ASSERT_TRUE(listener);
    std::thread node([&] {
      pollfd polled = {listener->get(), POLLIN, 0};
      poll(&polled, 1, 60'000);
      const Descriptor client(accept(listener->get(), nullptr, nullptr));
      char bytes[kRequestBytesMax];
      (void)!recv(client.get(), bytes, sizeof(bytes), 0);
      send_text(client.get(), answer);
    });
    const auto result = ask({"2", path}, {}, 60 * kSecond);
    node.join();
    ASSERT_FALSE(result) << answer;
    EXPECT_EQ(result.error().code, answer.empty() ? ErrorCode::kNotFound : ErrorCode::kCorrupt) << answer;
  }
}

TEST_F(ControlTest, ANodeThatStandsStillIsGivenUp) {
  ASSERT_TRUE(open_control_folder(folder_, geteuid()));
  const auto listener = listen_at(folder_ + "/2.sock");
  ASSERT_TRUE(listener);
  EXPECT_EQ(ask({"2", folder_ + "/2.sock"}, {}, 20 * kMillisecond).error().code, ErrorCode::kTimeout);
}

TEST(ControlFolderTest, IsChosenByTheEnvironment) {
  EXPECT_EQ(control_folder("/tmp", 5), "/tmp/rusm");
  EXPECT_EQ(control_folder("", 5), "/tmp/rusm-5");
  EXPECT_EQ(control_folder("/does/not/exist", 5), "/tmp/rusm-5");
  EXPECT_EQ(control_folder("tmp", 5), "/tmp/rusm-5");
  EXPECT_THAT(control_folders("/tmp", 5), testing::ElementsAre("/tmp/rusm", "/run/user/5/rusm", "/tmp/rusm-5"));
  EXPECT_THAT(control_folders("", 5), testing::ElementsAre("/tmp/rusm-5", "/run/user/5/rusm"));
}

}  // namespace
}  // namespace rusm::observe
