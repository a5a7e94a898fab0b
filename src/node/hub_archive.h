#pragma once
#include <filesystem>

#include "base/result.h"
#include "base/secret.h"
#include "node/file_places.h"

// What a hub keeps as one file, to move it to another database and to have it as a backup. The database is
// opened beside the node, which need not know: no API gives the key of the secrets' hashes away.
namespace culvert::node {

// Of a node on this host.
struct HubDatabase {
  std::filesystem::path data_dir;
  SecretString url = {};  // PostgreSQL; empty: an SQLite file
  FilePlaces places = {};
};

// As of one moment; the node may run. kNotFound: there is no database; otherwise errors are those of opening
// it.
Result<SecretString> export_hub(const HubDatabase& place);

struct Imported {
  size_t records = 0;
  size_t audit_entries = 0;
};
// kInvalid: `text` is no export, and nothing was changed. kConflict: a node uses the data directory, or the
// database is not empty and `replace` is false.
Result<Imported> import_hub(const HubDatabase& place, std::string_view text, bool replace);

}  // namespace culvert::node
