#include "node/hub_archive.h"

#include "base/random.h"
#include "hub/archive.h"
#include "hub/record_store.h"
#include "node/data_dir.h"

namespace culvert::node {

Result<SecretString> export_hub(const HubDatabase& place) {
  const DataDir files{place.data_dir, place.places};
  if (place.url.empty() && !files.has_database()) {
    return fail(ErrorCode::kNotFound,
                "there is no hub's database {}; name the node's directory with --data-dir, or its database, "
                "sqlite:PATH or a PostgreSQL URL, with --database",
                files.database().native());
  }
  SystemRandom random;
  auto database = hub::open_database(files.database(), place.url, random);
  if (!database) return std::unexpected(database.error());
  auto archive = (*database)->read_archive();
  if (!archive) return std::unexpected(archive.error());
  return hub::encode_archive(*archive);
}

Result<Imported> import_hub(const HubDatabase& place, std::string_view text, bool replace) {
  auto archive = hub::decode_archive(text);
  if (!archive) return std::unexpected(archive.error());
  const DataDir files{place.data_dir, place.places};
  std::optional<FileLock> lock;
  std::optional<FileLock> database_lock;
  if (place.url.empty()) {
    if (auto created = files.create(); !created) return std::unexpected(created.error());
    auto taken = files.take_lock();
    if (!taken) return std::unexpected(taken.error());
    lock = std::move(*taken);
    auto database_taken = files.take_database_lock();
    if (!database_taken) return std::unexpected(database_taken.error());
    database_lock = std::move(*database_taken);
  }
  SystemRandom random;
  auto database = hub::open_database(files.database(), place.url, random);
  if (!database) return std::unexpected(database.error());
  auto written = (*database)->write_archive(*archive, !replace);
  if (!written && written.error().code == ErrorCode::kConflict) {
    return fail(ErrorCode::kConflict,
                "{}; import into an empty one, or replace all that is there with --replace",
                written.error().message);
  }
  if (!written) return std::unexpected(written.error());
  return Imported{.records = archive->records.size(), .audit_entries = archive->audit.size()};
}

}  // namespace culvert::node
