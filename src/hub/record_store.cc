#include "hub/record_store.h"

#include "hub/sqlite_database.h"
#include "hub/threaded_store.h"

namespace culvert::hub {

Result<std::unique_ptr<RecordStore>> open_sqlite_store(net::EventLoop& loop,
                                                       const std::filesystem::path& path, Random& random,
                                                       StoreOptions options) {
  auto database = SqliteDatabase::open(path, random, options.busy_time);
  if (!database) return std::unexpected(database.error());
  return ThreadedStore::open(loop, std::move(*database), options);
}

}  // namespace culvert::hub
