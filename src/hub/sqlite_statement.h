#pragma once
#include <cstdint>
#include <string_view>

#include "base/bytes.h"
#include "base/result.h"

struct sqlite3;
struct sqlite3_stmt;

// SQLite with results instead of codes. Errors are kIo with SQLite's own message.
namespace culvert::hub {

// One prepared statement; values are bound by position from 1. The first error stays and ends stepping. The
// database outlives it.
class Statement {
 public:
  Statement(sqlite3* database, std::string_view sql);
  Statement(const Statement&) = delete;
  Statement& operator=(const Statement&) = delete;
  ~Statement();

  Statement& bind(int64_t value);
  Statement& bind(ByteView value);
  Statement& bind(std::string_view value);
  Statement& bind_null();

  // True: a row is there; false: there is no more.
  Result<bool> step();
  Result<> run();

  int64_t integer(int column);
  bool is_null(int column);
  // Both are valid until the next step.
  ByteView blob(int column);
  std::string_view text(int column);

 private:
  Statement& bound(int code);

  sqlite3* database_;
  sqlite3_stmt* statement_ = nullptr;
  int code_;
  int position_ = 0;
};

Result<> execute(sqlite3* database, const char* sql);
// The first column of the first row; 0 without one.
Result<int64_t> query_integer(sqlite3* database, std::string_view sql);

// Takes the write lock at once; whatever was not committed is undone.
class Transaction {
 public:
  static Result<Transaction> begin(sqlite3* database);
  Transaction(Transaction&& other) noexcept;
  Transaction& operator=(Transaction&&) = delete;
  ~Transaction();
  Result<> commit();

 private:
  explicit Transaction(sqlite3* database) : database_(database) {}
  sqlite3* database_;
};

}  // namespace culvert::hub
