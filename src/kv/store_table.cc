#include "kv/store_table.h"

#include <fmt/format.h>

#include <utility>

namespace rusm::kv {
namespace {

// The keys have a tree of their own, as the index of the table: to look for a key SQLite reads all of each entry that
// it meets in a tree by key, so that values in it would be read for keys that are beside them.
constexpr std::string_view kEntries =
    "CREATE TABLE entries(bucket blob not null, key blob not null, value blob not null, unique(bucket, key))";
// In format 1.
constexpr std::string_view kEntriesByKey =
    "CREATE TABLE entries(bucket blob not null, key blob not null, value blob not null, primary key(bucket, key)) "
    "without rowid";
constexpr std::string_view kState =
    "CREATE TABLE state(id integer primary key, sequence integer not null, bytes integer not null)";

std::unexpected<Error> damaged(const std::string& path, std::string_view what) {
  return fail(ErrorCode::kCorrupt, path, fmt::format("{}: {}", what, kRestore));
}

Result<> prepare_each(Connection& connection, std::initializer_list<std::pair<Statement*, const char*>> statements) {
  for (const auto& [statement, sql] : statements) {
    Result<Statement> prepared = connection.prepare(sql);
    if (!prepared) return std::unexpected(prepared.error());
    *statement = std::move(*prepared);
  }
  return {};
}

Result<> use_log(Connection& connection, const std::string& path) {
  Result<Statement> mode = connection.prepare("pragma journal_mode = wal");
  if (!mode) return std::unexpected(mode.error());
  const Result<bool> row = mode->step();
  if (!row) return std::unexpected(row.error());
  if (*row && mode->bytes(0) == "wal") return {};
  return fail(ErrorCode::kIo, path, "the store cannot have a log here: use a folder on a local disk");
}

// The tables must be those that this program makes: they name what the statements run.
Result<> check_tables(Connection& connection, const std::string& path) {
  // The index of a table has no text of its own.
  Result<Statement> tables = connection.prepare("select sql from sqlite_schema where sql is not null order by name");
  if (!tables) return std::unexpected(tables.error());
  for (const std::string_view wanted : {kEntries, kState}) {
    const Result<bool> row = tables->step();
    if (!row) return std::unexpected(row.error());
    const bool fits = *row && (tables->bytes(0) == wanted || (wanted == kEntries && tables->bytes(0) == kEntriesByKey));
    if (!fits) return damaged(path, "the tables of the store are not as they were made");
  }
  const Result<bool> row = tables->step();
  if (!row) return std::unexpected(row.error());
  if (*row) return damaged(path, "the file has more tables than a store");
  return {};
}

// Under another name first: a file with the right name is always a whole store.
Result<> make_store(StoreFiles& files, const StoreVfs& vfs) {
  const std::string path = files.new_path();
  if (Result<> started = files.start_new(); !started) return started;
  {
    Result<Connection> connection = Connection::open(path, vfs.name());
    if (!connection) return std::unexpected(connection.error());
    const std::string sql = fmt::format(
        "begin; {}; {}; insert into state values(1, 0, 0); pragma application_id = {}; "
        "pragma user_version = {}; commit",
        kEntries, kState, kApplicationId, kFormatVersion);
    if (Result<> made = connection->execute(sql.c_str()); !made) return made;
    if (Result<> log = use_log(*connection, path); !log) return log;
  }
  return files.publish_new();
}

}  // namespace

// ── StoreReader ──

Result<StoreReader> StoreReader::open(const StoreFiles& files, const StoreVfs& vfs) {
  Result<Connection> connection = Connection::open(files.main_path(), vfs.name());
  if (!connection) return std::unexpected(connection.error());
  StoreReader reader(std::move(*connection));
  if (Result<> set = reader.connection_.execute("pragma cache_size = -4096"); !set) return std::unexpected(set.error());
  sqlite3_db_config(reader.connection_.get(), SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1, nullptr);
  const Result<> prepared =
      prepare_each(reader.connection_,
                   {{&reader.get_, "select value from entries where bucket = ?1 and key = ?2"},
                    {&reader.exists_, "select 1 from entries where bucket = ?1 and key = ?2"},
                    {&reader.list_, "select key from entries where bucket = ?1 and key >= ?2 order by key limit ?3"}});
  if (!prepared) return std::unexpected(prepared.error());
  return reader;
}

Result<std::optional<std::string>> StoreReader::get(std::string_view bucket, std::string_view key) {
  const ResetAtEnd reset(get_);
  const Result<bool> row = get_.bind(1, bucket).bind(2, key).step();
  if (!row) return std::unexpected(row.error());
  if (!*row) return std::nullopt;
  return std::string(get_.bytes(0));
}

Result<bool> StoreReader::exists(std::string_view bucket, std::string_view key) {
  const ResetAtEnd reset(exists_);
  return exists_.bind(1, bucket).bind(2, key).step();
}

Result<KvPage> StoreReader::list(std::string_view bucket, std::string_view prefix, std::string_view after,
                                 std::uint32_t keys_max) {
  const ResetAtEnd reset(list_);
  // Of all strings the one that comes right after `after` is that with a byte of zero behind it.
  std::string from(after < prefix ? prefix : after);
  if (after >= prefix && !after.empty()) from.push_back('\0');
  list_.bind(1, bucket).bind(2, from).bind(3, std::int64_t{keys_max} + 1);
  KvPage page;
  for (;;) {
    const Result<bool> row = list_.step();
    if (!row) return std::unexpected(row.error());
    if (!*row) return page;
    const std::string_view key = list_.bytes(0);
    if (!key.starts_with(prefix)) return page;
    if (page.keys.size() == keys_max) {
      page.more = true;
      return page;
    }
    page.keys.emplace_back(key);
  }
}

Result<> StoreReader::check() {
  const char* path = sqlite3_db_filename(connection_.get(), "main");
  if (Result<> begun = connection_.execute("begin"); !begun) return begun;
  const Result<> checked = [&]() -> Result<> {
    Result<Statement> structure = connection_.prepare("pragma integrity_check(1)");
    if (!structure) return std::unexpected(structure.error());
    const Result<bool> row = structure->step();
    if (!row) return std::unexpected(row.error());
    if (structure->bytes(0) != "ok") return damaged(path, structure->bytes(0));
    Result<Statement> counted = connection_.prepare(
        "select coalesce(sum(length(key) + length(value) + ?1), 0) = (select bytes from state where id = 1) "
        "from entries");
    if (!counted) return std::unexpected(counted.error());
    const Result<bool> sum = counted->bind(1, static_cast<std::int64_t>(kEntryBytes)).step();
    if (!sum) return std::unexpected(sum.error());
    if (counted->number(0) != 1) return damaged(path, "the store does not have the size that it has noted");
    return {};
  }();
  const Result<> ended = connection_.execute("rollback");
  return checked ? ended : checked;
}

Result<> StoreReader::copy_to(const std::string& path) {
  Result<Statement> copy = connection_.prepare("vacuum into ?1");
  if (!copy) return std::unexpected(copy.error());
  return copy->bind_text(1, path).run();
}

// ── StoreWriter ──

Result<StoreWriter> StoreWriter::open(StoreFiles& files, const StoreVfs& vfs) {
  const Result<bool> there = files.has_store();
  if (!there) return std::unexpected(there.error());
  if (!*there) {
    if (Result<> made = make_store(files, vfs); !made) return std::unexpected(made.error());
  }
  if (Result<> header = files.check_header(); !header) return std::unexpected(header.error());
  Result<Connection> connection = Connection::open(files.main_path(), vfs.name());
  if (!connection) return std::unexpected(connection.error());
  StoreWriter writer(std::move(*connection));
  if (Result<> loaded = writer.load(files); !loaded) {
    writer.close();
    return std::unexpected(loaded.error());
  }
  return writer;
}

Result<> StoreWriter::load(const StoreFiles& files) {
  const std::string path = files.main_path();
  // From here on a failure leaves the log as it was found.
  sqlite3_db_config(connection_.get(), SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1, nullptr);
  if (Result<> cache = connection_.execute(
          "pragma cache_size = -16384; pragma cache_spill = off; pragma journal_size_limit = 67108864");
      !cache)
    return cache;
  if (Result<> log = use_log(connection_, path); !log) return log;
  if (Result<> tables = check_tables(connection_, path); !tables) return tables;
  Result<Statement> state = connection_.prepare("select sequence, bytes from state where id = 1");
  if (!state) return std::unexpected(state.error());
  const Result<bool> row = state->step();
  if (!row) return std::unexpected(row.error());
  if (!*row) return damaged(path, "the state of the store is missing");
  committed_ = {.sequence = static_cast<std::uint64_t>(state->number(0)),
                .bytes = static_cast<std::uint64_t>(state->number(1))};
  state->reset();
  if (const std::uint64_t mark = files.read_mark().value_or(0); mark > committed_.sequence) {
    return damaged(path + "-wal", fmt::format("{} acknowledged transactions are missing, as the log was damaged, cut "
                                              "off or taken away",
                                              mark - committed_.sequence));
  }
  if (Result<> prepared = prepare(); !prepared) return prepared;
  const auto count = [](void* pages, sqlite3*, const char*, int in_log) {
    *static_cast<int*>(pages) = in_log;
    return SQLITE_OK;
  };
  sqlite3_wal_hook(connection_.get(), count, log_pages_.get());
  // What lies in the log now was checked when it was recovered, and would not be again. A full disk may stop this; the
  // log stays then.
  Result<> moved = move_log(true);
  if (!moved && moved.error().code != ErrorCode::kLimit) return moved;
  return {};
}

Result<> StoreWriter::prepare() {
  return prepare_each(connection_,
                      {{&begin_, "begin immediate"},
                       {&commit_, "commit"},
                       {&rollback_, "rollback"},
                       {&value_, "select value from entries where bucket = ?1 and key = ?2"},
                       {&length_, "select length(value) from entries where bucket = ?1 and key = ?2"},
                       {&set_,
                        "insert into entries values(?1, ?2, ?3) on conflict(bucket, key) do update set value = "
                        "excluded.value"},
                       {&remove_, "delete from entries where bucket = ?1 and key = ?2"},
                       {&keep_state_, "update state set sequence = ?1, bytes = ?2 where id = 1"}});
}

Result<> StoreWriter::begin() {
  present_ = committed_;
  changed_ = false;
  return begin_.run();
}

Result<std::optional<std::uint64_t>> StoreWriter::length_of(std::string_view bucket, std::string_view key) {
  const ResetAtEnd reset(length_);
  const Result<bool> there = length_.bind(1, bucket).bind(2, key).step();
  if (!there) return std::unexpected(there.error());
  return *there ? std::optional(static_cast<std::uint64_t>(length_.number(0))) : std::nullopt;
}

// A value that is expected has come with the batch, so that one of the same length is not too much to read.
Result<bool> StoreWriter::holds(const KvExpectation& expected) {
  const Result<std::optional<std::uint64_t>> length = length_of(expected.bucket, expected.key);
  if (!length) return std::unexpected(length.error());
  if (!expected.value || !*length) return expected.value.has_value() == length->has_value();
  if (**length != expected.value->size()) return false;
  const ResetAtEnd reset(value_);
  const Result<bool> there = value_.bind(1, expected.bucket).bind(2, expected.key).step();
  if (!there) return std::unexpected(there.error());
  return *there && value_.bytes(0) == *expected.value;
}

Result<std::optional<std::size_t>> StoreWriter::first_unmet(const KvBatch& batch) {
  for (std::size_t i = 0; i < batch.expectations.size(); ++i) {
    const Result<bool> held = holds(batch.expectations[i]);
    if (!held) return std::unexpected(held.error());
    if (!*held) return i;
  }
  return std::nullopt;
}

Result<Result<KvOutcome>> StoreWriter::apply(const KvBatch& batch, const KvLimits& limits) {
  const Result<std::optional<std::size_t>> unmet = first_unmet(batch);
  if (!unmet) return std::unexpected(unmet.error());
  if (*unmet) return Result<KvOutcome>({.failed = *unmet});
  const Result<std::uint64_t> after = bytes_after(
      present_.bytes, batch.writes, [this](const KvWrite& write) { return length_of(write.bucket, write.key); });
  if (!after) return std::unexpected(after.error());
  // A store that was opened with a lower limit than before may shrink.
  if (*after > limits.store_bytes_max && *after > present_.bytes) {
    return Result<KvOutcome>(store_full(limits, *after));
  }
  KvOutcome outcome;
  for (const KvWrite& write : batch.writes) {
    Statement& statement = write.value ? set_ : remove_;
    statement.bind(1, write.bucket).bind(2, write.key);
    if (write.value) statement.bind(3, *write.value);
    if (Result<> done = statement.run(); !done) return std::unexpected(done.error());
    if (!write.value) outcome.removed += static_cast<std::size_t>(sqlite3_changes(connection_.get()));
  }
  present_.bytes = *after;
  changed_ = changed_ || !batch.writes.empty();
  return outcome;
}

Result<> StoreWriter::commit() {
  ++present_.sequence;
  keep_state_.bind(1, static_cast<std::int64_t>(present_.sequence)).bind(2, static_cast<std::int64_t>(present_.bytes));
  if (Result<> kept = keep_state_.run(); !kept) return kept;
  if (Result<> done = commit_.run(); !done) return done;
  committed_ = present_;
  return {};
}

// SQLite may have rolled back already.
void StoreWriter::rollback() noexcept {
  if (connection_.in_transaction()) (void)rollback_.run();
}

Result<> StoreWriter::move_log(bool all) {
  const int mode = all ? SQLITE_CHECKPOINT_TRUNCATE : SQLITE_CHECKPOINT_PASSIVE;
  int in_log = -1;
  int moved = -1;
  const int code = sqlite3_wal_checkpoint_v2(connection_.get(), "main", mode, &in_log, &moved);
  if (in_log >= 0) *log_pages_ = in_log == moved ? 0 : in_log;
  return code == SQLITE_OK ? Result<>() : std::unexpected(connection_.error());
}

void StoreWriter::close() noexcept {
  for (Statement* statement : {&begin_, &commit_, &rollback_, &value_, &length_, &set_, &remove_, &keep_state_}) {
    *statement = Statement();
  }
  connection_.close_as_is();
}

}  // namespace rusm::kv
