#include "acme/file_store.h"

#include <algorithm>
#include <boost/json.hpp>

#include "base/crypto.h"
#include "base/encoding.h"
#include "base/file.h"
#include "base/hostname.h"
#include "base/json.h"
#include "base/log.h"
#include "base/text.h"

namespace culvert::acme {
namespace {

namespace fs = std::filesystem;
namespace json = boost::json;

// A chain is at most Client::kMaxChain; JSON escapes its line ends.
constexpr size_t kMaxRecord = 2 * Client::kMaxChain;
constexpr size_t kMaxAccount = 64 * 1024;
// Those of all tenants and domains of a week: a time takes 11 bytes.
constexpr size_t kMaxBudgets = 4 * 1024 * 1024;
constexpr unsigned kOwnerOnly = 0600;
constexpr std::string_view kEnd = ".json";

// nullopt: there is none.
Result<std::optional<SecretString>> read(const fs::path& path, size_t max_size) {
  auto narrowed = make_private(path);
  if (!narrowed) return std::unexpected(narrowed.error());
  if (*narrowed) log_warn("acme_file_was_readable", "path=\"{}\"", path.native());
  auto bytes = read_file(path, max_size);
  if (!bytes && bytes.error().code == ErrorCode::kNotFound) return std::nullopt;
  if (!bytes) return std::unexpected(bytes.error());
  const WipeAtEnd wiper(*bytes);
  return SecretString(as_text(*bytes));
}

void keep_aside(const fs::path& path, const std::string& reason) {
  fs::path aside = path;
  aside += ".damaged";
  std::error_code error;
  fs::rename(path, aside, error);
  log_error("acme_file_damaged", "path=\"{}\" moved_to=\"{}\" reason={}", path.native(),
            error ? std::string() : aside.native(), quoted(reason));
}

Result<Account> parse_account(const SecretString& text, const std::string& directory) {
  auto object = parse_json_object("account", text.expose());
  if (!object) return std::unexpected(object.error());
  JsonReader reader("account", *object);
  if (reader.text("directory") != directory) reader.set_error("directory", "is that of another CA");
  auto key = tls::P256Key::from_pem(SecretString(reader.text("key")));
  const std::string url(reader.text("url"));
  if (!url.empty() && !parse_https_url(url)) reader.set_error("url", "is not an https URL");
  if (reader.error()) return std::unexpected(*reader.error());
  if (!key) return std::unexpected(key.error());
  return Account{.key = std::move(*key), .url = url};
}

}  // namespace

Result<FileStore> FileStore::open(fs::path directory) {
  for (const char* part : {"accounts", "names"}) {
    auto created = create_private_directory(directory / part);
    if (!created) return std::unexpected(created.error());
    auto guarded = check_only_owner_writes(directory / part);
    if (!guarded) return std::unexpected(guarded.error());
  }
  auto guarded = check_only_owner_writes(directory);
  if (!guarded) return std::unexpected(guarded.error());
  return FileStore(std::move(directory));
}

fs::path FileStore::account_path(const std::string& directory) const {
  const auto url = parse_https_url(directory);
  const Sha256 digest = sha256(as_bytes(directory));
  std::string host = url ? url->host : "other";
  std::ranges::replace(host, ':', '_');
  return directory_ / "accounts" /
         fmt::format("{}-{}{}", host.substr(0, 100), to_hex(ByteView(digest).first(8)), kEnd);
}

Result<fs::path> FileStore::path_of(const std::string& name) const {
  if (!is_hostname_or_wildcard(name)) {
    return fail(ErrorCode::kInvalid, "{} cannot have a certificate: it is not a lower-case hostname",
                quoted(name));
  }
  // No file name of a hostname starts with a dot, '+' or '~'; file systems take 255 bytes, and a draft of a
  // file has a longer name than the file.
  constexpr size_t kLongest = 200;
  std::string file = name.starts_with("*.") ? "+" + name.substr(1) : name;
  if (file.size() > kLongest) file = "~" + to_hex(sha256(as_bytes(name)));
  return directory_ / "names" / (file + std::string(kEnd));
}

Result<std::optional<Account>> FileStore::load_account(const std::string& directory) {
  const fs::path path = account_path(directory);
  auto text = read(path, kMaxAccount);
  if (!text) return std::unexpected(text.error());
  if (!*text) return std::nullopt;
  auto account = parse_account(**text, directory);
  if (account) return std::move(*account);
  keep_aside(path, account.error().message);
  return std::nullopt;
}

Result<std::vector<std::string>> FileStore::account_directories() {
  std::vector<std::string> out;
  std::error_code error;
  for (fs::directory_iterator entry(directory_ / "accounts", error), end; !error && entry != end;
       entry.increment(error)) {
    if (entry->path().extension() != kEnd) continue;
    auto text = read(entry->path(), kMaxAccount);
    if (!text) return std::unexpected(text.error());
    auto object = *text ? parse_json_object("account", (*text)->expose())
                        : fail(ErrorCode::kNotFound, "it was removed meanwhile");
    if (!object) continue;  // load_account() says what is wrong with it
    const json::value* directory = object->if_contains("directory");
    if (directory != nullptr && directory->is_string()) out.emplace_back(directory->get_string());
  }
  if (error)
    return fail(ErrorCode::kIo, "cannot list {}: {}", (directory_ / "accounts").native(), error.message());
  return out;
}

Result<> FileStore::save_account(const std::string& directory, const Account& account) {
  json::object out{{"directory", directory}, {"url", account.url}, {"key", account.key.to_pem().expose()}};
  const SecretString text = SecretString::take(json::serialize(out));
  json::string& key = out["key"].get_string();
  wipe({reinterpret_cast<uint8_t*>(key.data()), key.size()});
  return replace_file(account_path(directory), as_bytes(text.expose()), kOwnerOnly);
}

Result<std::optional<Record>> FileStore::load(const std::string& name) {
  auto path = path_of(name);
  if (!path) return std::unexpected(path.error());
  auto text = read(*path, kMaxRecord);
  if (!text) return std::unexpected(text.error());
  if (!*text) return std::nullopt;
  auto record = parse_record(**text);
  if (record && record->name != name) record = fail(ErrorCode::kInvalid, "it is of another name");
  if (record) return std::move(*record);
  keep_aside(*path, record.error().message);
  return std::nullopt;
}

Result<> FileStore::save(const Record& record) {
  auto path = path_of(record.name);
  if (!path) return std::unexpected(path.error());
  return replace_file(*path, as_bytes(encode(record).expose()), kOwnerOnly);
}

Result<> FileStore::remove(const std::string& name) {
  auto path = path_of(name);
  if (!path) return std::unexpected(path.error());
  std::error_code error;
  fs::remove(*path, error);
  if (error) return fail(ErrorCode::kIo, "cannot remove {}: {}", path->native(), error.message());
  return {};
}

Result<std::vector<std::string>> FileStore::names() {
  std::vector<std::string> out;
  std::error_code error;
  for (fs::directory_iterator entry(directory_ / "names", error), end; !error && entry != end;
       entry.increment(error)) {
    const fs::path path = entry->path();
    if (path.extension() != kEnd) continue;
    const std::string stem = path.stem().native();
    if (stem.starts_with('~')) {
      // The name is in the file alone.
      auto text = read(path, kMaxRecord);
      auto record = text && *text ? parse_record(**text) : fail(ErrorCode::kNotFound, "unreadable");
      if (record) out.push_back(std::move(record->name));
    } else {
      std::string name = stem.starts_with('+') ? "*" + stem.substr(1) : stem;
      if (is_hostname_or_wildcard(name)) out.push_back(std::move(name));
    }
  }
  if (error)
    return fail(ErrorCode::kIo, "cannot list {}: {}", (directory_ / "names").native(), error.message());
  return out;
}

Result<std::string> FileStore::load_budgets() {
  auto bytes = read_file(directory_ / "budgets.json", kMaxBudgets);
  if (!bytes && bytes.error().code == ErrorCode::kNotFound) return std::string();
  if (!bytes) return std::unexpected(bytes.error());
  return std::string(as_text(*bytes));
}

Result<> FileStore::save_budgets(const std::string& text) {
  return replace_file(directory_ / "budgets.json", as_bytes(text), kOwnerOnly);
}

}  // namespace culvert::acme
