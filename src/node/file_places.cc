#include "node/file_places.h"

#include "base/text.h"
#include "hub/record_store.h"

namespace culvert::node {
namespace {

constexpr std::string_view kSqlite = "sqlite:";

// The path in "sqlite:PATH" or "sqlite:///PATH".
Result<std::filesystem::path> parse_sqlite_url(std::string_view text) {
  std::string_view path = text.substr(kSqlite.size());
  // An authority is empty or a mistake: "sqlite://hub.db" would name a host.
  if (path.starts_with("//") && !path.starts_with("///"))
    return fail(ErrorCode::kInvalid, "{} names a host (expected sqlite:PATH or sqlite:///PATH)",
                quoted(text));
  if (path.starts_with("///")) path.remove_prefix(2);
  if (path.empty() || path.ends_with('/'))
    return fail(ErrorCode::kInvalid, "{} names no file (expected sqlite:PATH or sqlite:///PATH)",
                quoted(text));
  return std::filesystem::path(path);
}

}  // namespace

void add_path(SettingsBuilder& settings, Setting setting, std::filesystem::path& target) {
  setting.apply = [&target](std::string_view text) -> Result<> {
    if (text.empty()) return fail(ErrorCode::kInvalid, "is empty; give a path, or leave it out");
    target = text;
    return {};
  };
  setting.default_is_words = true;
  settings.add(std::move(setting));
}

void describe_ca_directory(SettingsBuilder& settings, std::filesystem::path& target) {
  add_path(settings,
           {.name = "ca-dir",
            .help = "the directory of the internal CA, `ca.key` and `ca.pem`",
            .value_name = "DIR",
            .default_text = "the data directory",
            .example = "/etc/culvert/ca"},
           target);
}

void describe_operator_key_file(SettingsBuilder& settings, std::string name, std::filesystem::path& target) {
  add_path(settings,
           {.name = std::move(name),
            .help = "the file of the operator key",
            .details = "A command that was given the key itself does not read it.",
            .value_name = "FILE",
            .default_text = "`operator.key` in the data directory",
            .example = "/run/secrets/operator.key",
            .flag = "operator-key-file"},
           target);
}

void describe_database(SettingsBuilder& settings, SecretString& url, std::filesystem::path& file) {
  settings.add(
      {.name = "database",
       .help = "the URL of a PostgreSQL database, which several hubs may share, or sqlite: and a file",
       .details =
           "Without one, the hub keeps its records in the SQLite file `hub.db` of the data directory. "
           "A file of SQLite is of one hub alone. In PostgreSQL the hub makes the schema `culvert` in the "
           "database, which must be encoded in UTF-8; options of "
           "libpq, as `sslmode=verify-full`, stand behind a question mark. Since a URL with a password "
           "on the command line is seen by other users, give it in the file or the variable. "
           "`culvert hub export` and `culvert hub import` move a hub from one database to another.",
       .value_name = "URL",
       .default_text = "the data directory's SQLite file",
       .default_is_words = true,
       .example = "postgres://culvert@db.example.com/culvert",
       .is_secret = true,
       .plain_prefix = std::string(kSqlite),
       .apply = [&url, &file](std::string_view text) -> Result<> {
         if (text.empty()) return {};
         if (text.starts_with(kSqlite)) {
           auto path = parse_sqlite_url(text);
           if (!path) return std::unexpected(path.error());
           file = std::move(*path);
           return {};
         }
         if (auto checked = hub::check_database_url(text); !checked) {
           return fail(checked.error().code, "{}; or sqlite:PATH for an SQLite file",
                       checked.error().message);
         }
         url = SecretString(text);
         return {};
       }});
}

}  // namespace culvert::node
