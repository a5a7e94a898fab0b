#pragma once
#include <filesystem>

#include "base/secret.h"
#include "base/settings.h"

namespace culvert::node {

// Files of a node that are kept elsewhere than in its data directory. Empty: there, under the usual name.
struct FilePlaces {
  std::filesystem::path node_key = {};
  std::filesystem::path operator_key = {};
  std::filesystem::path database = {};      // SQLite
  std::filesystem::path ca_directory = {};  // of ca.key and ca.pem; made when missing
  std::filesystem::path routes = {};        // of an edge on its own
};

// A setting whose value is a path.
void add_path(SettingsBuilder& settings, Setting setting, std::filesystem::path& target);
// Settings that commands on the node's host have as well, in the caller's section.
void describe_ca_directory(SettingsBuilder& settings, std::filesystem::path& target);
// `name`: in the file; the flag is the same everywhere.
void describe_operator_key_file(SettingsBuilder& settings, std::string name, std::filesystem::path& target);
// `url`: PostgreSQL. One of both is set.
void describe_database(SettingsBuilder& settings, SecretString& url, std::filesystem::path& file);

}  // namespace culvert::node
