#include "hub/sqlite_statement.h"

#include <sqlite3.h>

#include <utility>

namespace culvert::hub {

Statement::Statement(sqlite3* database, std::string_view sql) : database_(database) {
  code_ = sqlite3_prepare_v2(database, sql.data(), static_cast<int>(sql.size()), &statement_, nullptr);
}

Statement::~Statement() { sqlite3_finalize(statement_); }

Statement& Statement::bound(int code) {
  if (code_ == SQLITE_OK) code_ = code;
  return *this;
}

Statement& Statement::bind(int64_t value) {
  return bound(sqlite3_bind_int64(statement_, ++position_, value));
}

Statement& Statement::bind(ByteView value) {
  return bound(sqlite3_bind_blob64(statement_, ++position_, value.data(), value.size(), SQLITE_TRANSIENT));
}

Statement& Statement::bind(std::string_view value) {
  return bound(sqlite3_bind_text64(statement_, ++position_, value.data(), value.size(), SQLITE_TRANSIENT,
                                   SQLITE_UTF8));
}

Statement& Statement::bind_null() { return bound(sqlite3_bind_null(statement_, ++position_)); }

Result<bool> Statement::step() {
  if (code_ == SQLITE_OK) code_ = sqlite3_step(statement_);
  if (code_ == SQLITE_ROW || code_ == SQLITE_DONE) {
    bool row = code_ == SQLITE_ROW;
    code_ = SQLITE_OK;
    return row;
  }
  return fail(ErrorCode::kIo, "{}", sqlite3_errmsg(database_));
}

Result<> Statement::run() {
  auto row = step();
  if (!row) return std::unexpected(row.error());
  return {};
}

int64_t Statement::integer(int column) { return sqlite3_column_int64(statement_, column); }

bool Statement::is_null(int column) { return sqlite3_column_type(statement_, column) == SQLITE_NULL; }

ByteView Statement::blob(int column) {
  auto data = static_cast<const uint8_t*>(sqlite3_column_blob(statement_, column));
  return {data, static_cast<size_t>(sqlite3_column_bytes(statement_, column))};
}

std::string_view Statement::text(int column) {
  auto data = reinterpret_cast<const char*>(sqlite3_column_text(statement_, column));
  return {data ? data : "", static_cast<size_t>(sqlite3_column_bytes(statement_, column))};
}

Result<> execute(sqlite3* database, const char* sql) {
  if (sqlite3_exec(database, sql, nullptr, nullptr, nullptr) == SQLITE_OK) return {};
  return fail(ErrorCode::kIo, "{}", sqlite3_errmsg(database));
}

Result<int64_t> query_integer(sqlite3* database, std::string_view sql) {
  Statement statement(database, sql);
  auto row = statement.step();
  if (!row) return std::unexpected(row.error());
  return *row ? statement.integer(0) : 0;
}

Result<Transaction> Transaction::begin(sqlite3* database) {
  auto begun = execute(database, "BEGIN IMMEDIATE");
  if (!begun) return std::unexpected(begun.error());
  return Transaction(database);
}

Transaction::Transaction(Transaction&& other) noexcept : database_(std::exchange(other.database_, nullptr)) {}

Transaction::~Transaction() {
  // A failed statement may have ended it already.
  if (database_ && !sqlite3_get_autocommit(database_)) (void)execute(database_, "ROLLBACK");
}

Result<> Transaction::commit() {
  auto committed = execute(database_, "COMMIT");
  if (committed) database_ = nullptr;
  return committed;
}

}  // namespace culvert::hub
