#include "hub/record_store.h"

#include "hub/hub_identity.h"
#include "hub/postgres_database.h"
#include "hub/postgres_url.h"
#include "hub/sqlite_database.h"
#include "hub/threaded_store.h"

namespace culvert::hub {
namespace {

PostgresConnection::Times postgres_times(const StoreOptions& options) {
  return {.connect = options.busy_time, .lock = options.busy_time, .statement = options.answer_time};
}

}  // namespace

Result<std::unique_ptr<RecordDatabase>> open_database(const std::filesystem::path& path,
                                                      const SecretString& url, Random& random,
                                                      StoreOptions options) {
  std::unique_ptr<RecordDatabase> database;
  if (url.empty()) {
    auto file = SqliteDatabase::open(path, random, options.busy_time);
    if (!file) return std::unexpected(file.error());
    database = std::move(*file);
  } else {
    auto server = PostgresDatabase::open(url.expose(), random, postgres_times(options));
    if (!server) return std::unexpected(server.error());
    database = std::move(*server);
  }
  return database;
}

Result<std::unique_ptr<RecordStore>> open_store(net::EventLoop& loop, const std::filesystem::path& path,
                                                const SecretString& url, Random& random,
                                                const PublicKey& hub_key, StoreOptions options) {
  auto database = open_database(path, url, random, options);
  if (!database) return std::unexpected(database.error());
  auto content = load_as(**database, hub_key);
  if (!content) return std::unexpected(content.error());
  return ThreadedStore::over(loop, std::move(*database), std::move(*content), options);
}

Result<std::unique_ptr<RecordStore>> open_sqlite_store(net::EventLoop& loop,
                                                       const std::filesystem::path& path, Random& random,
                                                       StoreOptions options) {
  auto database = open_database(path, {}, random, options);
  if (!database) return std::unexpected(database.error());
  return ThreadedStore::open(loop, std::move(*database), options);
}

Result<> check_database_url(std::string_view text) {
  auto url = PostgresUrl::parse(text);
  return url ? Result<>() : std::unexpected(url.error());
}

}  // namespace culvert::hub
