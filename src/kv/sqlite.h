// The few things of SQLite that a store needs, as values: a connection, a statement, an error.
#pragma once

#include <sqlite3.h>

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "base/error.h"

namespace rusm::kv {

// A prepared statement. Parameters and columns count from 1 and from 0, as in SQLite.
// Threads: one at a time, that of its connection.
class Statement {
 public:
  Statement() = default;
  explicit Statement(sqlite3_stmt* statement) : statement_(statement) {}

  // The bytes must stay where they are until reset().
  Statement& bind(int at, std::string_view bytes) noexcept;
  Statement& bind(int at, std::int64_t number) noexcept;
  Statement& bind_text(int at, std::string_view text) noexcept;
  // True: there is a row. False: it is done.
  Result<bool> step();
  // Runs it to its end and resets it.
  Result<> run();
  void reset() noexcept;

  // Of the present row. The bytes last until the next step or reset.
  std::string_view bytes(int column) const noexcept;
  std::int64_t number(int column) const noexcept { return sqlite3_column_int64(statement_.get(), column); }

 private:
  struct Finalize {
    void operator()(sqlite3_stmt* statement) const noexcept { sqlite3_finalize(statement); }
  };
  std::unique_ptr<sqlite3_stmt, Finalize> statement_;
};

// Resets a statement at the end of a scope, so that no error leaves a transaction open.
// Threads: as the statement.
class ResetAtEnd {
 public:
  explicit ResetAtEnd(Statement& statement) noexcept : statement_(statement) {}
  ResetAtEnd(const ResetAtEnd&) = delete;
  ResetAtEnd& operator=(const ResetAtEnd&) = delete;
  ~ResetAtEnd() { statement_.reset(); }

 private:
  Statement& statement_;
};

// Threads: one at a time.
class Connection {
 public:
  // Opens a file that is there, perhaps empty, through the VFS of that name. Its settings are those of a file that
  // nobody vouches for.
  static Result<Connection> open(const std::string& path, const char* vfs);

  Result<> execute(const char* sql);
  Result<Statement> prepare(const char* sql);
  bool in_transaction() const noexcept { return sqlite3_get_autocommit(database_.get()) == 0; }
  sqlite3* get() const noexcept { return database_.get(); }
  // Of the last call that failed.
  Error error() const;
  // Without moving the log into the main file: it stays for the next one to read.
  void close_as_is() noexcept;

 private:
  struct Close {
    void operator()(sqlite3* database) const noexcept { sqlite3_close_v2(database); }
  };
  std::unique_ptr<sqlite3, Close> database_;
};

// The error for an extended result code of SQLite about the file at `path`. `system`: errno, or 0.
Error sqlite_error(int code, std::string_view path, std::string_view text, int system);

// What to do about a store that is damaged.
inline constexpr std::string_view kRestore =
    "stop the node, move the folder of the store away and put a backup in its place (docs/storage.md)";

}  // namespace rusm::kv
