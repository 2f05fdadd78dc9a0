#include "kv/sqlite.h"

#include <fmt/format.h>

#include "kv/store_vfs.h"

namespace rusm::kv {
namespace {

constexpr int kBusyTimeoutMs = 10'000;

}  // namespace

Error sqlite_error(int code, std::string_view path, std::string_view text, int system) {
  const std::string where(path);
  const std::string why = system != 0 ? fmt::format("{} ({})", text, errno_text(system)) : std::string(text);
  switch (code) {
    case SQLITE_IOERR_DATA:
      return {ErrorCode::kCorrupt, where, fmt::format("a page fails its checksum: {}", kRestore)};
    case SQLITE_IOERR_SHORT_READ:
    case SQLITE_IOERR_CORRUPTFS:
      return {ErrorCode::kCorrupt, where, fmt::format("the file is shorter than it says: {}", kRestore)};
    case SQLITE_IOERR_NOMEM:
      return {ErrorCode::kUnavailable, where, "out of memory"};
    case SQLITE_IOERR_FSYNC:
    case SQLITE_IOERR_DIR_FSYNC:
      return {ErrorCode::kIo, where, fmt::format("the disk did not confirm a write: {}", why)};
    default:
      break;
  }
  switch (code & 0xff) {
    case SQLITE_FULL:
      return {ErrorCode::kLimit, where,
              "the disk is full, and nothing was written: make room on it, and the store goes on by itself"};
    case SQLITE_CORRUPT:
    case SQLITE_NOTADB:
      return {ErrorCode::kCorrupt, where, fmt::format("the file is damaged ({}): {}", why, kRestore)};
    case SQLITE_NOMEM:
      return {ErrorCode::kUnavailable, where, "out of memory"};
    case SQLITE_BUSY:
    case SQLITE_LOCKED:
      return {ErrorCode::kUnavailable, where, "another program has the file open: only the node may use it"};
    case SQLITE_PERM:
    case SQLITE_AUTH:
    case SQLITE_READONLY:
    case SQLITE_CANTOPEN:
      return {ErrorCode::kDenied, where,
              fmt::format("{}: the file and its folder must be readable and writable for this user", why)};
    default:
      return {ErrorCode::kIo, where, why};
  }
}

Statement& Statement::bind(int at, std::string_view bytes) noexcept {
  // An empty value is a blob of no bytes, not null.
  const char* data = bytes.data() == nullptr ? "" : bytes.data();
  sqlite3_bind_blob64(statement_.get(), at, data, bytes.size(), SQLITE_STATIC);
  return *this;
}

Statement& Statement::bind(int at, std::int64_t number) noexcept {
  sqlite3_bind_int64(statement_.get(), at, number);
  return *this;
}

Statement& Statement::bind_text(int at, std::string_view text) noexcept {
  sqlite3_bind_text64(statement_.get(), at, text.data(), text.size(), SQLITE_STATIC, SQLITE_UTF8);
  return *this;
}

Result<bool> Statement::step() {
  const int code = sqlite3_step(statement_.get());
  if (code == SQLITE_ROW) return true;
  if (code == SQLITE_DONE) return false;
  sqlite3* database = sqlite3_db_handle(statement_.get());
  const char* path = sqlite3_db_filename(database, "main");
  return std::unexpected(sqlite_error(sqlite3_extended_errcode(database), path == nullptr ? "" : path,
                                      sqlite3_errmsg(database), sqlite3_system_errno(database)));
}

Result<> Statement::run() {
  const ResetAtEnd reset(*this);
  for (;;) {
    const Result<bool> row = step();
    if (!row) return std::unexpected(row.error());
    if (!*row) return {};
  }
}

void Statement::reset() noexcept {
  sqlite3_reset(statement_.get());
  sqlite3_clear_bindings(statement_.get());
}

std::string_view Statement::bytes(int column) const noexcept {
  const void* data = sqlite3_column_blob(statement_.get(), column);
  if (data == nullptr) return {};
  return {static_cast<const char*>(data), static_cast<std::size_t>(sqlite3_column_bytes(statement_.get(), column))};
}

Result<Connection> Connection::open(const std::string& path, const char* vfs) {
  Connection connection;
  sqlite3* raw = nullptr;
  const int flags = SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX;
  const int code = sqlite3_open_v2(path.c_str(), &raw, flags, vfs);
  connection.database_.reset(raw);
  if (code != SQLITE_OK) {
    if (raw == nullptr) return std::unexpected(sqlite_error(SQLITE_NOMEM, path, "", 0));
    return std::unexpected(
        sqlite_error(sqlite3_extended_errcode(raw), path, sqlite3_errmsg(raw), sqlite3_system_errno(raw)));
  }
  sqlite3_extended_result_codes(raw, 1);
  sqlite3_busy_timeout(raw, kBusyTimeoutMs);
  sqlite3_db_config(raw, SQLITE_DBCONFIG_DEFENSIVE, 1, nullptr);
  sqlite3_db_config(raw, SQLITE_DBCONFIG_TRUSTED_SCHEMA, 0, nullptr);
  int reserved = static_cast<int>(kReservedBytes);
  sqlite3_file_control(raw, "main", SQLITE_FCNTL_RESERVE_BYTES, &reserved);
  const Result<> set = connection.execute(
      "pragma page_size = 4096; pragma mmap_size = 0; pragma cell_size_check = on; pragma temp_store = memory;"
      "pragma secure_delete = off; pragma synchronous = full; pragma wal_autocheckpoint = 0");
  if (!set) return std::unexpected(set.error());
  return connection;
}

Result<> Connection::execute(const char* sql) {
  if (sqlite3_exec(get(), sql, nullptr, nullptr, nullptr) == SQLITE_OK) return {};
  return std::unexpected(error());
}

Result<Statement> Connection::prepare(const char* sql) {
  sqlite3_stmt* statement = nullptr;
  if (sqlite3_prepare_v3(get(), sql, -1, SQLITE_PREPARE_PERSISTENT, &statement, nullptr) == SQLITE_OK) {
    return Statement(statement);
  }
  return std::unexpected(error());
}

Error Connection::error() const {
  const char* path = sqlite3_db_filename(get(), "main");
  return sqlite_error(sqlite3_extended_errcode(get()), path == nullptr ? "" : path, sqlite3_errmsg(get()),
                      sqlite3_system_errno(get()));
}

void Connection::close_as_is() noexcept {
  if (database_) sqlite3_db_config(get(), SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1, nullptr);
  database_.reset();
}

}  // namespace rusm::kv
