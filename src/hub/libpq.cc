#include "hub/libpq.h"

#include "base/shared_library.h"

namespace culvert::hub {
namespace {

constexpr const char* kName = "libpq.so.5";

Result<Libpq> load_all() {
  auto library = SharedLibrary::load(kName);
  if (!library) return std::unexpected(library.error());
  Libpq pq{};
  Result<> found;
  const auto find = [&](const char* name, auto& function) {
    if (found) found = library->find(name, function);
  };
  find("PQconninfoParse", pq.conninfo_parse);
  find("PQconninfoFree", pq.conninfo_free);
  find("PQfreemem", pq.freemem);
  find("PQconnectdbParams", pq.connectdb_params);
  find("PQfinish", pq.finish);
  find("PQstatus", pq.status);
  find("PQerrorMessage", pq.error_message);
  find("PQparameterStatus", pq.parameter_status);
  find("PQsocket", pq.socket);
  find("PQsetnonblocking", pq.setnonblocking);
  find("PQsetNoticeProcessor", pq.set_notice_processor);
  find("PQsendQueryParams", pq.send_query_params);
  find("PQflush", pq.flush);
  find("PQconsumeInput", pq.consume_input);
  find("PQisBusy", pq.is_busy);
  find("PQgetResult", pq.get_result);
  find("PQnotifies", pq.notifies);
  find("PQclear", pq.clear);
  find("PQresultStatus", pq.result_status);
  find("PQresultErrorField", pq.result_error_field);
  find("PQntuples", pq.ntuples);
  find("PQgetvalue", pq.getvalue);
  find("PQgetlength", pq.getlength);
  find("PQgetisnull", pq.getisnull);
  if (!found) return std::unexpected(found.error());
  return pq;
}

}  // namespace

Result<const Libpq*> Libpq::load() {
  static const Result<Libpq> loaded = load_all();
  if (loaded) return &*loaded;
  return fail(
      ErrorCode::kNotFound,
      "a PostgreSQL database needs its client library {}, which cannot be loaded ({}); install Debian's "
      "package libpq5",
      kName, loaded.error().message);
}

}  // namespace culvert::hub
