// Durable read-modify-writes with what is embedded as a library, as its users write them: 64 threads, a transaction for
// each write, synced before it counts. kv sqlite|lmdb|fsync|sqlite-grouped|lmdb-grouped [SECONDS] -> one line of JSON
#include <fcntl.h>
#include <lmdb.h>
#include <sqlite3.h>
#include <stdlib.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <deque>
#include <filesystem>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

static const int kThreads = 64, kKeys = 10000;
static const size_t kValueBytes = 100;

static int64_t ns() {
  return std::chrono::duration_cast<std::chrono::nanoseconds>(std::chrono::steady_clock::now().time_since_epoch())
      .count();
}
static void need(bool ok, const char* what) {
  if (ok) return;
  fprintf(stderr, "kv: %s failed\n", what);
  _exit(1);
}
static std::string key_of(int i) {
  char key[32];
  snprintf(key, sizeof key, "key/%06d", i);
  return key;
}
// The value begins with a counter, which is what is modified.
static void count_up(std::string& value) {
  uint64_t counter;
  value.resize(kValueBytes, 'x');
  memcpy(&counter, value.data(), 8);
  ++counter;
  memcpy(value.data(), &counter, 8);
}

struct Store {
  virtual ~Store() = default;
  virtual void begin() = 0;
  virtual void change(const std::string& key) = 0;
  virtual void commit() = 0;
};

struct Sqlite : Store {
  sqlite3* db = nullptr;
  sqlite3_stmt *get, *put, *start, *end;
  explicit Sqlite(const std::string& dir) {
    need(sqlite3_open((dir + "/kv.sqlite").c_str(), &db) == 0, "open");
    sqlite3_busy_timeout(db, 60000);
    need(sqlite3_exec(db,
                      "pragma journal_mode=wal; pragma synchronous=full; create table if not exists "
                      "kv(k blob primary key, v blob not null) without rowid",
                      nullptr, nullptr, nullptr) == 0,
         "create");
    auto prepare = [&](const char* sql, sqlite3_stmt** out) {
      need(sqlite3_prepare_v3(db, sql, -1, SQLITE_PREPARE_PERSISTENT, out, nullptr) == 0, sql);
    };
    prepare("select v from kv where k=?", &get);
    prepare("insert into kv values(?,?) on conflict(k) do update set v=excluded.v", &put);
    prepare("begin immediate", &start);
    prepare("commit", &end);
  }
  ~Sqlite() override {
    for (auto* s : {get, put, start, end}) sqlite3_finalize(s);
    sqlite3_close(db);
  }
  void once(sqlite3_stmt* s) {
    need(sqlite3_step(s) == SQLITE_DONE, sqlite3_sql(s));
    sqlite3_reset(s);
  }
  void begin() override { once(start); }
  void commit() override { once(end); }
  void change(const std::string& key) override {
    std::string value;
    sqlite3_bind_blob(get, 1, key.data(), int(key.size()), SQLITE_STATIC);
    if (sqlite3_step(get) == SQLITE_ROW)
      value.assign(static_cast<const char*>(sqlite3_column_blob(get, 0)), size_t(sqlite3_column_bytes(get, 0)));
    sqlite3_reset(get);
    count_up(value);
    sqlite3_bind_blob(put, 1, key.data(), int(key.size()), SQLITE_STATIC);
    sqlite3_bind_blob(put, 2, value.data(), int(value.size()), SQLITE_STATIC);
    once(put);
  }
};

struct Lmdb : Store {
  MDB_env* env;
  MDB_dbi dbi;
  MDB_txn* txn = nullptr;
  Lmdb(MDB_env* e, MDB_dbi d) : env(e), dbi(d) {}
  static std::function<std::unique_ptr<Store>()> opened(const std::string& dir) {
    MDB_env* env;
    MDB_dbi dbi;
    MDB_txn* txn;
    mdb_env_create(&env);
    mdb_env_set_mapsize(env, size_t(1) << 30);
    need(mdb_env_open(env, dir.c_str(), 0, 0600) == 0, "open");
    need(mdb_txn_begin(env, nullptr, 0, &txn) == 0 && mdb_dbi_open(txn, nullptr, 0, &dbi) == 0 &&
             mdb_txn_commit(txn) == 0,
         "open");
    return [=] { return std::make_unique<Lmdb>(env, dbi); };
  }
  void begin() override { need(mdb_txn_begin(env, nullptr, 0, &txn) == 0, "begin"); }
  void commit() override { need(mdb_txn_commit(txn) == 0, "commit"); }
  void change(const std::string& key) override {
    std::string value;
    MDB_val k{key.size(), const_cast<char*>(key.data())}, v;
    if (mdb_get(txn, dbi, &k, &v) == 0) value.assign(static_cast<const char*>(v.mv_data), v.mv_size);
    count_up(value);
    v = {value.size(), value.data()};
    need(mdb_put(txn, dbi, &k, &v, 0) == 0, "put");
  }
};

// A file that is appended to and synced, by one thread at a time.
struct Append : Store {
  static inline std::mutex turn;
  int fd;
  explicit Append(const std::string& dir) : fd(open((dir + "/log").c_str(), O_CREAT | O_RDWR | O_APPEND, 0600)) {}
  ~Append() override { close(fd); }
  void begin() override { turn.lock(); }
  void change(const std::string& key) override {
    std::string value;
    count_up(value);
    value += key;
    need(write(fd, value.data(), value.size()) == ssize_t(value.size()), "write");
  }
  void commit() override {
    need(fsync(fd) == 0, "fsync");
    turn.unlock();
  }
};

struct Count {
  std::atomic<uint64_t> done{0};
  std::mutex mutex;
  std::vector<int64_t> times;
  void take(std::vector<int64_t>& mine) {
    done += mine.size();
    std::lock_guard lock(mutex);
    times.insert(times.end(), mine.begin(), mine.end());
  }
};

static void one_each(const std::function<std::unique_ptr<Store>()>& make, int64_t until, Count& count) {
  std::vector<std::thread> threads;
  for (int t = 0; t < kThreads; ++t) {
    threads.emplace_back([&, t] {
      auto store = make();
      std::vector<int64_t> times;
      unsigned seed = unsigned(t);
      for (int64_t now = ns(); now < until;) {
        store->begin();
        store->change(key_of(rand_r(&seed) % kKeys));
        store->commit();
        int64_t after = ns();
        times.push_back(after - now);
        now = after;
      }
      count.take(times);
    });
  }
  for (auto& t : threads) t.join();
}

// 64 threads hand their writes to one, which commits all that wait in one transaction.
static void grouped(Store& store, int64_t until, Count& count) {
  struct Slot {
    std::string key;
    bool done = false;
    std::condition_variable cv;
  };
  std::mutex mutex;
  std::condition_variable work;
  std::deque<Slot*> queue;
  int alive = kThreads;
  std::vector<std::thread> threads;
  for (int t = 0; t < kThreads; ++t) {
    threads.emplace_back([&, t] {
      Slot slot;
      std::vector<int64_t> times;
      unsigned seed = unsigned(t);
      std::unique_lock lock(mutex);
      for (int64_t now = ns(); now < until;) {
        slot.key = key_of(rand_r(&seed) % kKeys);
        slot.done = false;
        queue.push_back(&slot);
        work.notify_one();
        slot.cv.wait(lock, [&] { return slot.done; });
        int64_t after = ns();
        times.push_back(after - now);
        now = after;
      }
      --alive;
      work.notify_one();
      lock.unlock();
      count.take(times);
    });
  }
  std::unique_lock lock(mutex);
  for (;;) {
    work.wait(lock, [&] { return !queue.empty() || alive == 0; });
    if (queue.empty()) break;
    std::deque<Slot*> batch;
    batch.swap(queue);
    lock.unlock();
    store.begin();
    for (Slot* s : batch) store.change(s->key);
    store.commit();
    lock.lock();
    for (Slot* s : batch) {
      s->done = true;
      s->cv.notify_one();
    }
  }
  lock.unlock();
  for (auto& t : threads) t.join();
}

int main(int argc, char** argv) {
  if (argc < 2) return 2;
  const std::string which = argv[1];
  const double seconds = argc > 2 ? atof(argv[2]) : 3;
  const char* base = getenv("RUSM_BENCH_DIR");
  std::string dir = std::string(base ? base : "/var/tmp") + "/rusm-peer-kv-XXXXXX";
  need(mkdtemp(dir.data()) != nullptr, "mkdtemp");
  Count count;
  std::function<std::unique_ptr<Store>()> make;
  if (which.rfind("sqlite", 0) == 0)
    make = [&] { return std::make_unique<Sqlite>(dir); };
  else if (which.rfind("lmdb", 0) == 0)
    make = Lmdb::opened(dir);
  else if (which == "fsync")
    make = [&] { return std::make_unique<Append>(dir); };
  else
    return 2;
  auto store = make();
  if (which != "fsync") {
    store->begin();
    for (int i = 0; i < kKeys; ++i) store->change(key_of(i));
    store->commit();
  }
  const int64_t start = ns(), until = start + int64_t(seconds * 1e9);
  if (which.find("-grouped") != std::string::npos)
    grouped(*store, until, count);
  else
    one_each(make, until, count);
  const double span = double(ns() - start);
  store.reset();
  std::filesystem::remove_all(dir);
  std::sort(count.times.begin(), count.times.end());
  auto q = [&](double p) {
    return count.times[std::min(count.times.size() - 1, size_t(p * double(count.times.size())))];
  };
  printf("{\"peer\":\"%s\",\"workload\":\"kv\",\"value\":%.1f,\"unit\":\"writes/s\",\"p50_us\":%.1f,\"p99_us\":%.1f}\n",
         which.c_str(), double(count.done) * 1e9 / span, double(q(.5)) / 1e3, double(q(.99)) / 1e3);
}
