#pragma once
#include <initializer_list>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "base/clock.h"
#include "base/result.h"
#include "base/wait.h"
#include "hub/libpq.h"
#include "hub/postgres_url.h"

namespace culvert::hub {

// The rows that a statement returned. Text is valid as long as they are.
class PostgresRows {
 public:
  PostgresRows(const Libpq& pq, PGresult* result) : pq_(&pq), result_(result, pq.clear) {}

  int size() const { return pq_->ntuples(result_.get()); }
  bool is_null(int row, int column) const { return pq_->getisnull(result_.get(), row, column) != 0; }
  std::string_view text(int row, int column) const;
  // 0 for what is no number.
  int64_t integer(int row, int column) const;

 private:
  const Libpq* pq_;
  std::unique_ptr<PGresult, decltype(&PQclear)> result_;
};

// One session with a server, each call bounded in time. Blocks; one thread at a time uses it.
class PostgresConnection {
 public:
  struct Times {
    Duration connect;    // for each address of the server
    Duration lock;       // a statement waits for a lock
    Duration statement;  // a statement, in all
  };

  // kIo: not reachable, or refused; the message has neither password nor URL.
  static Result<std::unique_ptr<PostgresConnection>> open(const PostgresUrl& url, const Times& times);

  // One statement with its values $1, $2... as text. Errors: kIo, the server refused it and nothing was
  // changed; kReset, the connection is lost: whether it was done is not known.
  Result<PostgresRows> run(const char* sql,
                           std::initializer_list<std::optional<std::string_view>> values = {});
  // Waits for what another session has sent with NOTIFY; nullopt: `patience` is over, or `wakeup` was woken.
  // kReset.
  Result<std::optional<std::string>> notification(Duration patience, const Wakeup& wakeup);

 private:
  using Connection = std::unique_ptr<PGconn, decltype(&PQfinish)>;
  PostgresConnection(const Libpq& pq, Connection connection, PostgresUrl url, const Times& times)
      : pq_(pq), connection_(std::move(connection)), url_(std::move(url)), times_(times) {}
  Result<> set_up();
  Result<> send_all(TimePoint deadline);
  Result<PGresult*> next_result(TimePoint deadline);
  std::unexpected<Error> lost() const;

  const Libpq& pq_;
  Connection connection_;
  const PostgresUrl url_;
  const Times times_;
};

}  // namespace culvert::hub
