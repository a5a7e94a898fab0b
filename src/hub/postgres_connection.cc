#include "hub/postgres_connection.h"

#include <array>
#include <vector>

#include "base/text.h"
#include "base/whole_number.h"

namespace culvert::hub {
namespace {

// The client's own bound lies behind the server's, which says what was waited for.
constexpr Duration kServersAnswer = std::chrono::seconds(1);

int64_t milliseconds(Duration duration) {
  return std::chrono::duration_cast<std::chrono::milliseconds>(duration).count();
}

// libpq ends its messages with line feeds, and some have several lines, indented by tabs.
std::string one_line(std::string text) {
  while (text.ends_with('\n')) text.pop_back();
  std::erase(text, '\t');
  for (size_t at = 0; (at = text.find('\n', at)) != std::string::npos;) text.replace(at, 1, "; ");
  return printable(text);
}

}  // namespace

std::string_view PostgresRows::text(int row, int column) const {
  return {pq_->getvalue(result_.get(), row, column),
          static_cast<size_t>(pq_->getlength(result_.get(), row, column))};
}

int64_t PostgresRows::integer(int row, int column) const {
  return whole_number<int64_t>(text(row, column)).value_or(0);
}

Result<std::unique_ptr<PostgresConnection>> PostgresConnection::open(const PostgresUrl& url,
                                                                     const Times& times) {
  auto pq = Libpq::load();
  if (!pq) return std::unexpected(pq.error());
  // What stands in the URL, which is read at the place of dbname, replaces what stands before it.
  const std::string connect_time = std::to_string(std::max<int64_t>(milliseconds(times.connect) / 1000, 1));
  const std::string silence = std::to_string(milliseconds(times.statement + kServersAnswer));
  const std::array<std::pair<const char*, const char*>, 9> parameters{{
      {"application_name", "culvert"},
      {"connect_timeout", connect_time.c_str()},
      {"target_session_attrs", "read-write"},  // of several hosts the primary
      // A server that vanished is noticed although nothing is sent to it.
      {"keepalives_idle", "10"},
      {"keepalives_interval", "5"},
      {"keepalives_count", "3"},
      {"tcp_user_timeout", silence.c_str()},
      {"dbname", url.text().c_str()},
      {"client_encoding", "UTF8"},
  }};
  std::vector<const char*> names, values;
  for (const auto& [name, value] : parameters) {
    names.push_back(name);
    values.push_back(value);
  }
  names.push_back(nullptr);
  values.push_back(nullptr);
  Connection connection((*pq)->connectdb_params(names.data(), values.data(), 1), (*pq)->finish);
  if (!connection) return fail(ErrorCode::kIo, "no memory for a connection");
  if ((*pq)->status(connection.get()) != CONNECTION_OK)
    return fail(ErrorCode::kIo, "{}", one_line(url.without_secrets((*pq)->error_message(connection.get()))));
  (*pq)->set_notice_processor(connection.get(), [](void*, const char*) {}, nullptr);
  std::unique_ptr<PostgresConnection> opened(new PostgresConnection(**pq, std::move(connection), url, times));
  if (auto done = opened->set_up(); !done) return fail(ErrorCode::kIo, "{}", done.error().message);
  return opened;
}

Result<> PostgresConnection::set_up() {
  const char* encoding = pq_.parameter_status(connection_.get(), "server_encoding");
  if (encoding == nullptr || std::string_view(encoding) != "UTF8") {
    return fail(ErrorCode::kInvalid, "its encoding is {}, and must be UTF8; create it with ENCODING 'UTF8'",
                encoding == nullptr ? "unknown" : encoding);
  }
  if (pq_.setnonblocking(connection_.get(), 1) != 0) return lost();
  // A hub that has vanished holds no lock for longer than a statement takes.
  const auto settings = fmt::format(
      "SELECT set_config('lock_timeout', '{0}', false), set_config('statement_timeout', '{1}', false),"
      " set_config('idle_in_transaction_session_timeout', '{1}', false),"
      " set_config('default_transaction_isolation', 'read committed', false),"
      " set_config('synchronous_commit', 'on', false)",
      milliseconds(times_.lock), milliseconds(times_.statement));
  auto set = run(settings.c_str());
  if (!set) return std::unexpected(set.error());
  return {};
}

std::unexpected<Error> PostgresConnection::lost() const {
  const std::string reason = one_line(url_.without_secrets(pq_.error_message(connection_.get())));
  return fail(ErrorCode::kReset, "{}", reason.empty() ? "the connection is lost" : reason);
}

Result<> PostgresConnection::send_all(TimePoint deadline) {
  while (true) {
    const int left = pq_.flush(connection_.get());
    if (left == 0) return {};
    if (left < 0) return lost();
    // The server may want to be read before it reads on.
    if (wait(pq_.socket(connection_.get()), true, deadline - monotonic_now()) == Ready::kNothing)
      return fail(ErrorCode::kReset, "the server does not read");
    if (pq_.consume_input(connection_.get()) == 0) return lost();
  }
}

Result<PGresult*> PostgresConnection::next_result(TimePoint deadline) {
  while (pq_.is_busy(connection_.get()) != 0) {
    if (wait(pq_.socket(connection_.get()), false, deadline - monotonic_now()) == Ready::kNothing)
      return fail(ErrorCode::kReset, "the server does not answer");
    if (pq_.consume_input(connection_.get()) == 0) return lost();
  }
  return pq_.get_result(connection_.get());
}

Result<PostgresRows> PostgresConnection::run(const char* sql,
                                             std::initializer_list<std::optional<std::string_view>> values) {
  std::vector<std::string> texts;  // with a NUL at the end of each
  texts.reserve(values.size());
  std::vector<const char*> pointers;
  for (const auto& value : values) {
    texts.emplace_back(value.value_or(""));
    pointers.push_back(value ? texts.back().c_str() : nullptr);
  }
  const TimePoint deadline = monotonic_now() + times_.statement + kServersAnswer;
  if (pq_.send_query_params(connection_.get(), sql, static_cast<int>(pointers.size()), nullptr,
                            pointers.data(), nullptr, nullptr, 0) == 0)
    return lost();
  if (auto sent = send_all(deadline); !sent) return std::unexpected(sent.error());
  std::optional<PostgresRows> rows;
  std::optional<Error> refused;
  while (true) {
    auto result = next_result(deadline);
    if (!result) return std::unexpected(result.error());
    if (*result == nullptr) break;
    PostgresRows got(pq_, *result);
    const ExecStatusType status = pq_.result_status(*result);
    if (status == PGRES_TUPLES_OK || status == PGRES_COMMAND_OK) {
      rows = std::move(got);
      continue;
    }
    const char* message = pq_.result_error_field(*result, PG_DIAG_MESSAGE_PRIMARY);
    refused =
        Error{ErrorCode::kIo, one_line(message != nullptr ? message : pq_.error_message(connection_.get()))};
  }
  // A server that shuts down says so instead of an answer, perhaps after it has done the work.
  if (pq_.status(connection_.get()) != CONNECTION_OK)
    return refused ? fail(ErrorCode::kReset, "{}", refused->message) : lost();
  if (refused) return std::unexpected(*refused);
  if (!rows) return lost();
  return std::move(*rows);
}

Result<std::optional<std::string>> PostgresConnection::notification(Duration patience, const Wakeup& wakeup) {
  const TimePoint deadline = monotonic_now() + patience;
  while (true) {
    const std::unique_ptr<PGnotify, decltype(pq_.freemem)> notify(pq_.notifies(connection_.get()),
                                                                  pq_.freemem);
    if (notify) return std::string(notify->extra);
    if (wait(pq_.socket(connection_.get()), false, deadline - monotonic_now(), &wakeup) != Ready::kDescriptor)
      return std::nullopt;
    if (pq_.consume_input(connection_.get()) == 0) return lost();
  }
}

}  // namespace culvert::hub
