#include "observe/control_server.h"

#include <fmt/format.h>
#include <poll.h>
#include <pthread.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <csignal>
#include <system_error>
#include <thread>
#include <vector>

#include "observe/control_folder.h"
#include "observe/report.h"
#include "observe/request.h"
#include "observe/top_list.h"
#include "observe/tree.h"

namespace rusm::observe {
namespace {

// The last look is given back when nobody has compared with it for so long.
constexpr Nanoseconds kLookKept = 20 * kSecond;
// How long nothing is accepted when the system has no descriptor left.
constexpr Nanoseconds kAcceptPause = 100 * kMillisecond;

std::size_t columns_of(const Request& request) {
  return request.columns == 0 ? kAnyWidth : request.columns;
}

std::string written(const auto& report, const Request& request) {
  return request.json ? to_json(report) : to_text(report, columns_of(request));
}

// Threads that are made while it lives are left alone by every signal.
class NoSignals {
 public:
  NoSignals() noexcept {
    sigset_t all;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before_);
  }
  ~NoSignals() { pthread_sigmask(SIG_SETMASK, &before_, nullptr); }
  NoSignals(const NoSignals&) = delete;
  NoSignals& operator=(const NoSignals&) = delete;

 private:
  sigset_t before_;
};

}  // namespace

class ControlServer::Impl {
 public:
  Impl(otp::Runtime& runtime, ControlOptions options)
      : runtime_(runtime), options_(std::move(options)), user_(geteuid()), top_(runtime, host_usage, options_.limits) {}
  ~Impl();

  Result<> open();
  const std::string& path() const noexcept { return path_; }

 private:
  struct Client {
    enum class Phase : std::uint8_t { kReads, kWaits, kWrites };
    Descriptor fd;
    Phase phase = Phase::kReads;
    Nanoseconds at = 0;  // kWaits: when its report may be made; else when it is cut
    std::string in = {};
    Request request = {};
    std::string out = {};
    std::size_t sent = 0;
    bool gone = false;
  };

  Result<> take_name();
  void release_name() const noexcept;
  void run() noexcept;
  std::vector<pollfd> wait_for_news();
  void attend(const std::vector<pollfd>& polled);
  void accept_all(Nanoseconds now);
  void read_some(Client& client, Nanoseconds now);
  void take_request(Client& client, std::string_view line, Nanoseconds now);
  void write_some(Client& client) const;
  void answer(Client& client, bool ok, std::string text);
  void make_one_report();
  Result<std::string> report(const Request& request);
  Nanoseconds next_deadline(Nanoseconds now) const noexcept;

  otp::Runtime& runtime_;
  const ControlOptions options_;
  const uid_t user_;
  std::string path_;
  struct stat mine_ = {};  // the socket's file
  Descriptor stop_;
  Descriptor listener_;
  const SystemClock clock_;  // sockets are of this world, whatever clock the runtime has
  std::thread thread_;

  // The thread's own.
  TopList top_;
  Nanoseconds looked_at_ = -kLookKept;
  Nanoseconds rests_until_ = 0;
  Nanoseconds accepts_from_ = 0;
  std::vector<Client> clients_;
};

ControlServer::ControlServer(std::unique_ptr<Impl> impl) noexcept : impl_(std::move(impl)) {}
ControlServer::~ControlServer() = default;

const std::string& ControlServer::path() const noexcept {
  return impl_->path();
}

Result<std::unique_ptr<ControlServer>> ControlServer::open(otp::Runtime& runtime, ControlOptions options) {
  auto impl = std::make_unique<Impl>(runtime, std::move(options));
  if (Result<> opened = impl->open(); !opened) return std::unexpected(std::move(opened.error()));
  return std::unique_ptr<ControlServer>(new ControlServer(std::move(impl)));
}

ControlServer::Impl::~Impl() {
  if (!thread_.joinable()) return;
  release_name();
  const std::uint64_t one = 1;
  (void)!write(stop_.get(), &one, sizeof(one));  // an event counter takes it unless it is full, which wakes as well
  thread_.join();
}

Result<> ControlServer::Impl::open() {
  if (Result<> taken = take_name(); !taken) return taken;
  stop_ = Descriptor(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
  try {
    if (!stop_) throw std::system_error(errno, std::generic_category());
    const NoSignals no_signals;
    thread_ = std::thread([this] { run(); });
  } catch (const std::system_error& error) {
    release_name();
    return fail(ErrorCode::kUnavailable, path_, fmt::format("no thread for the control socket: {}", error.what()));
  }
  return {};
}

// The socket listens before anyone sees it, and never takes the place of another.
Result<> ControlServer::Impl::take_name() {
  const std::string folder = options_.folder.empty() ? control_folder({}, user_) : options_.folder;
  const std::string node = options_.node.empty() ? std::to_string(getpid()) : options_.node;
  if (!is_valid_node_name(node)) {
    return fail(ErrorCode::kInvalid, printable(node, 64), "a node's name has letters, digits, -, _ and ., at most 64");
  }
  if (Result<> opened = open_control_folder(folder, user_); !opened) return opened;
  for (const std::string& name : node_names(folder)) {
    const Result<std::string> path = socket_path(folder, name);
    if (!path) continue;
    const Result<Descriptor> connected = connect_to(*path);
    if (!connected && connected.error().code == ErrorCode::kNotFound) unlink(path->c_str());
  }
  Result<std::string> path = socket_path(folder, node);
  if (!path) return std::unexpected(std::move(path.error()));
  path_ = std::move(*path);
  const std::string hidden = fmt::format("{}/.{}.{}", folder, node, getpid());
  unlink(hidden.c_str());
  Result<Descriptor> listener = listen_at(hidden);
  if (!listener) {
    unlink(hidden.c_str());
    return std::unexpected(std::move(listener.error()));
  }
  const bool linked = link(hidden.c_str(), path_.c_str()) == 0;
  const int error = errno;
  const bool known = linked && lstat(path_.c_str(), &mine_) == 0;
  unlink(hidden.c_str());
  if (!known) {
    if (error == EEXIST) return fail(ErrorCode::kExists, path_, "a node of this name is running");
    return fail(ErrorCode::kIo, path_, "the control socket cannot be put there: " + errno_text(error));
  }
  listener_ = std::move(*listener);
  return {};
}

void ControlServer::Impl::release_name() const noexcept {
  struct stat now;
  if (lstat(path_.c_str(), &now) == 0 && now.st_dev == mine_.st_dev && now.st_ino == mine_.st_ino) {
    unlink(path_.c_str());
  }
}

void ControlServer::Impl::run() noexcept {
  for (;;) {
    try {
      const std::vector<pollfd> polled = wait_for_news();
      if (polled[0].revents != 0) return;
      attend(polled);
    } catch (...) {  // no memory: whoever asked is cut, and the node goes on
      clients_.clear();
      top_.forget();
    }
  }
}

// The end of its stop_, then the listener, then each client.
std::vector<pollfd> ControlServer::Impl::wait_for_news() {
  const Nanoseconds now = clock_.now();
  const bool accepts = clients_.size() < options_.clients_max && now >= accepts_from_;
  std::vector<pollfd> polled = {{stop_.get(), POLLIN, 0}, {accepts ? listener_.get() : -1, POLLIN, 0}};
  for (const Client& client : clients_) {
    const int events = client.phase == Client::Phase::kReads    ? POLLIN
                       : client.phase == Client::Phase::kWrites ? POLLOUT
                                                                : 0;
    polled.push_back({client.fd.get(), static_cast<short>(events), 0});
  }
  const Nanoseconds deadline = next_deadline(now);
  int timeout_ms = -1;
  // A millisecond more, so as not to look again just before it is time.
  if (deadline != kNever) {
    timeout_ms =
        deadline <= now ? 0 : static_cast<int>(std::min<Nanoseconds>((deadline - now) / kMillisecond + 1, 60'000));
  }
  poll(polled.data(), polled.size(), timeout_ms);
  return polled;
}

// When there is something to do, even if nothing comes.
Nanoseconds ControlServer::Impl::next_deadline(Nanoseconds now) const noexcept {
  Nanoseconds deadline = kNever;
  for (const Client& client : clients_) {
    const bool waits = client.phase == Client::Phase::kWaits;
    deadline = std::min(deadline, waits ? std::max(client.at, rests_until_) : client.at);
  }
  if (accepts_from_ > now) deadline = std::min(deadline, accepts_from_);
  if (top_.last_look()) deadline = std::min(deadline, looked_at_ + kLookKept);
  return deadline;
}

void ControlServer::Impl::attend(const std::vector<pollfd>& polled) {
  const Nanoseconds now = clock_.now();
  for (std::size_t i = 0; i < clients_.size(); ++i) {
    Client& client = clients_[i];
    const short events = polled[i + 2].revents;
    if (client.phase == Client::Phase::kReads && events != 0) {
      read_some(client, now);
    } else if (client.phase == Client::Phase::kWrites && events != 0) {
      write_some(client);
    } else if (client.phase == Client::Phase::kWaits && (events & (POLLHUP | POLLERR)) != 0) {
      client.gone = true;
    } else if (client.phase != Client::Phase::kWaits && now >= client.at) {
      client.gone = true;  // too slow
    }
  }
  if (polled[1].revents != 0) accept_all(now);
  make_one_report();
  std::erase_if(clients_, [](const Client& client) { return client.gone; });
  if (top_.last_look() && clock_.now() >= looked_at_ + kLookKept) top_.forget();
}

void ControlServer::Impl::accept_all(Nanoseconds now) {
  while (clients_.size() < options_.clients_max) {
    Descriptor fd(accept4(listener_.get(), nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC));
    if (!fd) {
      if (errno != EAGAIN && errno != EINTR && errno != ECONNABORTED) accepts_from_ = now + kAcceptPause;
      return;
    }
    const std::optional<uid_t> peer = peer_of(fd.get());
    if (!peer || !may_ask(*peer, user_)) continue;
    clients_.push_back({.fd = std::move(fd), .at = deadline_after(now, options_.request_timeout)});
  }
}

void ControlServer::Impl::read_some(Client& client, Nanoseconds now) {
  std::array<char, kRequestBytesMax> bytes;
  const std::size_t room = kRequestBytesMax - client.in.size();
  const ssize_t size = recv(client.fd.get(), bytes.data(), room, 0);
  if (size <= 0) {
    client.gone = size == 0 || (errno != EAGAIN && errno != EINTR);
    return;
  }
  client.in.append(bytes.data(), static_cast<std::size_t>(size));
  const std::size_t end = client.in.find('\n');
  if (end != std::string::npos) {
    take_request(client, std::string_view(client.in).substr(0, end), now);
  } else if (client.in.size() == kRequestBytesMax) {
    answer(client, false, fmt::format("a request has at most {} bytes", kRequestBytesMax));
  }
}

void ControlServer::Impl::take_request(Client& client, std::string_view line, Nanoseconds now) {
  Result<Request> request = parse_request(line);
  if (!request) return answer(client, false, request.error().text);
  client.request = std::move(*request);
  client.phase = Client::Phase::kWaits;
  client.at = now;
}

void ControlServer::Impl::answer(Client& client, bool ok, std::string text) {
  if (text.size() > kAnswerBytesMax) {
    ok = false;
    text = "the answer is too long; ask for fewer rows";
  }
  client.out = to_line(AnswerHead{ok, text.size()}) + text;
  client.phase = Client::Phase::kWrites;
  client.at = deadline_after(clock_.now(), options_.answer_timeout);
  write_some(client);
}

void ControlServer::Impl::write_some(Client& client) const {
  while (client.sent < client.out.size()) {
    const ssize_t size =
        send(client.fd.get(), client.out.data() + client.sent, client.out.size() - client.sent, MSG_NOSIGNAL);
    if (size < 0) {
      client.gone = errno != EAGAIN && errno != EINTR;
      return;
    }
    client.sent += static_cast<std::size_t>(size);
  }
  client.gone = true;
}

// One at a time, so that the others' sockets are looked after in between.
void ControlServer::Impl::make_one_report() {
  const Nanoseconds begun = clock_.now();
  if (begun < rests_until_) return;
  const auto is_due = [&](const Client& client) {
    return !client.gone && client.phase == Client::Phase::kWaits && client.at <= begun;
  };
  const auto client = std::ranges::find_if(clients_, is_due);
  if (client == clients_.end()) return;
  const bool is_top = client->request.what == Request::What::kTop;
  if (is_top && !top_.last_look()) {
    top_.look();
    client->at = clock_.now() + options_.first_window;
  } else {
    Result<std::string> text = report(client->request);
    answer(*client, text.has_value(), text ? std::move(*text) : text.error().to_string());
  }
  const Nanoseconds ended = clock_.now();
  if (is_top) looked_at_ = ended;
  rests_until_ = ended + (ended - begun);
}

Result<std::string> ControlServer::Impl::report(const Request& request) {
  switch (request.what) {
    case Request::What::kTop:
      return written(top_.report({.order = request.order, .rows = request.rows}), request);
    case Request::What::kTree:
      return written(look_at_tree(runtime_), request);
    case Request::What::kExits:
      return written(look_at_exits(runtime_, {.rows = request.rows}), request);
    case Request::What::kProcess: {
      const Result<ProcessReport> report = look_at_process(runtime_, request.of);
      if (!report) return std::unexpected(report.error());
      return written(*report, request);
    }
  }
  return fail(ErrorCode::kInternal, "request", "nothing answers it");
}

}  // namespace rusm::observe
