// The workloads with the C++ Actor Framework (Debian: libcaf-dev). caf WORKLOAD -> one line of JSON
#include <unistd.h>
#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdio>
#include <cstring>
#include <fstream>
#include <memory>
#include <string>
#include <thread>
#include <vector>
#include "caf/all.hpp"
using namespace caf;
using std::string;
static int64_t ns() {
  return std::chrono::duration_cast<std::chrono::nanoseconds>(std::chrono::steady_clock::now().time_since_epoch())
      .count();
}
static int cores() {
  return int(std::thread::hardware_concurrency());
}
static double rss() {
  std::ifstream f("/proc/self/statm");
  long a, b;
  f >> a >> b;
  return double(b) * sysconf(_SC_PAGESIZE);
}
static void emit(const char* w, double v, const char* unit, const string& extra) {
  printf("{\"peer\":\"caf\",\"workload\":\"%s\",\"value\":%.3f,\"unit\":\"%s\"%s}\n", w, v, unit, extra.c_str());
}
static string kv(const char* k, double v) {
  char b[96];
  snprintf(b, sizeof b, ",\"%s\":%.3f", k, v);
  return b;
}
static string quant(std::vector<int64_t>& v) {
  std::sort(v.begin(), v.end());
  auto q = [&](double p) { return v[std::min(v.size() - 1, size_t(p * v.size()))] / 1000.0; };
  return kv("p50_us", q(.5)) + kv("p99_us", q(.99)) + kv("p999_us", q(.999));
}

// An actor with an empty body: no behavior is set, so it ends after its initializer has run.
static void empty(event_based_actor*) {}
static void spawner(event_based_actor* self, int n) {
  for (int i = 0; i < n; i++) self->spawn(empty);
}
static void w_spawn(actor_system& sys) {
  const int C = cores(), batch = 100000, per = batch / C, batches = 20;
  auto one = [&] {
    for (int i = 0; i < C; i++) sys.spawn(spawner, per);
    sys.await_all_actors_done();
  };
  one();
  one();
  int64_t t0 = ns();
  for (int i = 0; i < batches; i++) one();
  emit("spawn", 1e9 * batches * per * C / (ns() - t0), "processes/s", kv("n", batches * per * C));
}

static behavior pong(event_based_actor* self) {
  return {[=](int64_t v) { self->send(actor_cast<actor>(self->current_sender()), v); }};
}
static behavior ping(event_based_actor* self, actor peer, int64_t n, std::vector<int64_t>* lat) {
  auto left = std::make_shared<int64_t>(n);
  auto sent = std::make_shared<int64_t>(ns());
  self->send(peer, n);
  return {[=](int64_t v) {
    if (lat) {
      int64_t t = ns();
      lat->push_back(t - *sent);
      *sent = t;
    }
    if (--*left == 0) {
      self->send_exit(peer, exit_reason::user_shutdown);
      self->quit();
      return;
    }
    self->send(peer, v - 1);
  }};
}
static double pairs(actor_system& sys, int k, int64_t n, std::vector<int64_t>* lat = nullptr) {
  int64_t t0 = ns();
  for (int i = 0; i < k; i++) sys.spawn(ping, sys.spawn(pong), n, lat);
  sys.await_all_actors_done();
  return double(ns() - t0);
}
static void w_pingpong(actor_system& sys) {
  pairs(sys, 1, 100000);
  const int64_t n = 1500000;
  double t = pairs(sys, 1, n);
  std::vector<int64_t> lat;
  lat.reserve(300001);
  pairs(sys, 1, 300000, &lat);
  emit("pingpong", 2e9 * n / t, "msgs/s", kv("roundtrips", double(n)) + quant(lat));
}
static void w_pingpong_many(actor_system& sys) {
  const int k = 2 * cores();
  const int64_t n = 500000;
  pairs(sys, k, 50000);
  double t = pairs(sys, k, n);
  emit("pingpong-many", 2e9 * k * n / t, "msgs/s", kv("pairs", k));
}

static behavior sink(event_based_actor* self, int64_t total) {
  auto left = std::make_shared<int64_t>(total);
  return {[=](int64_t) {
    if (--*left == 0) self->quit();
  }};
}
static void producer(event_based_actor* self, actor to, int64_t n) {
  for (int64_t i = 0; i < n; i++) self->send(to, i);
}
static void w_fanin(actor_system& sys) {
  auto go = [&](int p, int64_t per) {
    int64_t t0 = ns();
    {
      actor s = sys.spawn(sink, p * per);
      for (int i = 0; i < p; i++) sys.spawn(producer, s, per);
    }
    sys.await_all_actors_done();
    return double(ns() - t0);
  };
  go(8, 20000);
  double t = go(8, 250000);
  emit("fanin", 1e9 * 8 * 250000 / t, "msgs/s", kv("producers", 8) + kv("per_producer", 250000));
}

static behavior ring_node(event_based_actor* self) {
  auto next = std::make_shared<actor>();
  return {[=](const actor& n) { *next = n; },
          [=](int64_t v) {
            if (v > 0) {
              self->send(*next, v - 1);
              return;
            }
            if (v > -1000) self->send(*next, v - 1);  // tear the ring down, node after node
            *next = nullptr;
            self->quit();
          }};
}
static void w_ring(actor_system& sys) {
  auto go = [&](int64_t hops) {
    const int n = 1000;
    std::vector<actor> a;
    for (int i = 0; i < n; i++) a.push_back(sys.spawn(ring_node));
    for (int i = 0; i < n; i++) anon_send(a[i], a[(i + 1) % n]);
    std::this_thread::sleep_for(std::chrono::milliseconds(50));
    int64_t t0 = ns();
    anon_send(a[0], hops);
    a.clear();
    sys.await_all_actors_done();
    return double(ns() - t0);
  };
  go(100000);
  const int64_t hops = 3000000;
  double t = go(hops);
  emit("ring", 1e9 * hops / t, "hops/s", kv("processes", 1000) + kv("hops", double(hops)));
}

static behavior idle(event_based_actor*) {
  return {[](int64_t) {}};
}
static void w_idle(actor_system& sys) {
  const int n = 1000000;
  std::vector<actor> a;
  a.reserve(n);
  for (int i = 0; i < 1000; i++) a.push_back(sys.spawn(idle));
  double r0 = rss();
  int64_t t0 = ns();
  for (int i = 1000; i < n; i++) a.push_back(sys.spawn(idle));
  double t = double(ns() - t0);
  std::this_thread::sleep_for(std::chrono::milliseconds(500));
  double r1 = rss();
  emit("idle-memory", (r1 - r0) / (n - 1000), "bytes/process (RSS)",
       kv("processes", n) + kv("rss_total_mb", r1 / 1e6) + kv("create_per_s", 1e9 * n / t));
  fflush(stdout);
  _exit(0);
}

int main(int argc, char** argv) {
  if (argc < 2) return 2;
  actor_system_config cfg;
  cfg.set("scheduler.max-threads", size_t(cores()));
  if (argc > 2) cfg.set("scheduler.policy", argv[2][0] == 'h' ? atom("sharing") : atom("stealing"));
  actor_system sys{cfg};
  if (sys.scheduler().num_workers() != size_t(cores()))
    fprintf(stderr, "caf: %zu workers\n", size_t(sys.scheduler().num_workers()));
  string w = argv[1];
  if (w == "spawn")
    w_spawn(sys);
  else if (w == "pingpong")
    w_pingpong(sys);
  else if (w == "pingpong-many")
    w_pingpong_many(sys);
  else if (w == "fanin")
    w_fanin(sys);
  else if (w == "ring")
    w_ring(sys);
  else if (w == "idle-memory")
    w_idle(sys);
  else
    return 2;
}
