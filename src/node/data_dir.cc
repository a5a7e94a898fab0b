#include "node/data_dir.h"

#include <algorithm>
#include <functional>
#include <optional>
#include <thread>

#include "base/ascii.h"
#include "base/encoding.h"
#include "base/log.h"
#include "base/secret.h"
#include "node/node.h"

namespace culvert::node {
namespace {

namespace fs = std::filesystem;

constexpr size_t kOperatorKeyBytes = 32;
constexpr size_t kMaxPem = 64 * 1024;
constexpr std::string_view kCaName = "Culvert internal CA";

// A file that should be there and readable; the message of a failure says what to do about it.
Result<Bytes> read_existing(const fs::path& path, size_t max_size) {
  auto content = read_file(path, max_size);
  if (content || content.error().code == ErrorCode::kNotFound) return content;
  return fail(content.error().code, "{}; it must belong to the user that runs the node and be readable by it",
              content.error().message);
}

// Reads the file, or makes it from `fresh` if there is none. If another process is faster, its file counts.
Result<Bytes> read_or_create(const fs::path& path, size_t max_size, ByteView fresh) {
  auto content = read_existing(path, max_size);
  if (content || content.error().code != ErrorCode::kNotFound) return content;
  auto created = create_private_file(path, fresh);
  if (created) return to_bytes(fresh);
  if (created.error().code == ErrorCode::kConflict) return read_existing(path, max_size);
  return fail(created.error().code, "{}; its directory must be writable by the user that runs the node",
              created.error().message);
}

// Wipes the content.
Result<SecretString> check_operator_key(const fs::path& path, Bytes& content) {
  WipeAtEnd wiper(content);
  SecretString key(trim(as_text(content)));
  auto decoded = from_base64url(key.expose());
  if (!decoded || decoded->size() != kOperatorKeyBytes) {
    return fail(ErrorCode::kInvalid,
                "{} does not hold an operator key (43 characters of base64url); name the file that does, or "
                "restore it",
                path.native());
  }
  return key;
}

}  // namespace

Result<> DataDir::create() const {
  auto created = create_private_directory(path);
  if (created) created = check_only_owner_writes(path);
  if (!created) {
    return fail(created.error().code, "{}; or choose another directory with --data-dir",
                created.error().message);
  }
  created = create_private_directory(ca_directory());
  if (created) created = check_only_owner_writes(ca_directory());
  if (!created)
    return fail(created.error().code, "{}; or choose another directory with --ca-dir",
                created.error().message);
  return check_places();
}

// Single files elsewhere: who may write to their directories could replace them.
Result<> DataDir::check_places() const {
  for (const auto* file : {&places.node_key, &places.operator_key, &places.database, &places.routes}) {
    if (file->empty()) continue;
    const fs::path directory = file->has_parent_path() ? file->parent_path() : fs::path(".");
    std::error_code ignored;
    const auto status = fs::status(directory, ignored);
    // Whoever uses the file says that the directory is none. In one like /tmp others replace no file of ours.
    const bool is_sticky = (status.permissions() & fs::perms::sticky_bit) != fs::perms::none;
    if (!fs::is_directory(status) || is_sticky) continue;
    if (auto checked = check_only_owner_writes(directory); !checked)
      return fail(checked.error().code, "{}; or choose another place for {}", checked.error().message,
                  file->native());
  }
  return {};
}

Result<> DataDir::secure() const {
  for (const fs::path& file :
       {node_key(), operator_key(), database(), ca_certificate(), ca_key(), info(), edge_info(), routes()}) {
    remove_drafts(file, Duration::zero());
  }
  for (const fs::path& secret : {node_key(), operator_key(), ca_key()}) {
    auto changed = make_private(secret);
    if (!changed) return std::unexpected(changed.error());
    if (!*changed) continue;
    log_warn("key_file_mode", "path={} was=shared now=private meaning={}", culvert::quoted(secret.native()),
             culvert::quoted("other users could read this key until now; replace it if one may have"));
  }
  return {};
}

Result<FileLock> DataDir::take_lock() const {
  auto taken = FileLock::take(lock());
  if (taken) return taken;
  if (taken.error().code == ErrorCode::kConflict) {
    return fail(ErrorCode::kConflict, "another node ({}) uses {}; stop it or choose another --data-dir",
                taken.error().message, path.native());
  }
  return fail(taken.error().code, "{}; the data directory must be writable by the user that runs the node",
              taken.error().message);
}

Result<std::optional<FileLock>> DataDir::take_database_lock() const {
  if (places.database.empty()) return std::optional<FileLock>();
  fs::path beside = database();
  beside += ".lock";
  auto taken = FileLock::take(beside);
  if (taken) return std::optional(std::move(*taken));
  if (taken.error().code == ErrorCode::kConflict) {
    return fail(ErrorCode::kConflict, "another node ({}) uses {}; stop it or choose another --database",
                taken.error().message, database().native());
  }
  return fail(taken.error().code,
              "{}; the directory of the database must be there, and be writable by the "
              "user that runs the node",
              taken.error().message);
}

bool DataDir::has_database() const {
  std::error_code ec;
  auto size = fs::file_size(database(), ec);
  return !ec && size > 0;
}

Result<> DataDir::check_complete() const {
  std::error_code ec;
  if (fs::symlink_status(node_key(), ec).type() != fs::file_type::not_found || !has_database()) return {};
  return fail(
      ErrorCode::kInvalid,
      "{} is missing, but {} is there: with a new key every token in use would be void; restore the key "
      "from a backup, or move {} away to start with a new one (all invites must then be created again)",
      node_key().native(), database().native(),
      places.database.empty() ? path.native() : database().native());
}

Result<SecretKey> DataDir::load_or_create_node_key(Random& random) const {
  SecretKey fresh = SecretKey::generate(random);
  auto seed = read_or_create(node_key(), 4096, fresh.expose_seed());
  if (!seed) return std::unexpected(seed.error());
  WipeAtEnd wiper(*seed);
  if (seed->size() != SecretKey::kSize) {
    return fail(ErrorCode::kInvalid,
                "{} is {} bytes long, a node key has {}; restore it from a backup, or remove it to get a new "
                "identity (all invites must then be created again)",
                node_key().native(), seed->size(), SecretKey::kSize);
  }
  return SecretKey::from_seed(*seed);
}

Result<SecretString> DataDir::load_or_create_operator_key(Random& random) const {
  auto fresh = SecretBytes<kOperatorKeyBytes>::random(random);
  auto text = SecretString::take(to_base64url(fresh.expose()));
  auto content = read_or_create(operator_key(), 4096, as_bytes(text.expose()));
  if (!content) return std::unexpected(content.error());
  return check_operator_key(operator_key(), *content);
}

Result<SecretString> read_operator_key(const fs::path& path) {
  auto content = read_existing(path, 4096);
  if (!content) return std::unexpected(content.error());
  return check_operator_key(path, *content);
}

// Both files are made exclusively and the certificate follows from the key, so that racing starts agree, and
// a start that finds a key alone completes what another began.
Result<std::unique_ptr<tls::InternalCa>> DataDir::load_or_create_ca(UnixTime now) const {
  constexpr const char* kAdvice =
      "restore both from a backup, or remove both to get a new root (clients must then trust the new one)";
  std::error_code ignored;
  // Looked at before the key: a certificate that was there first has lost its key, it is not another's in the
  // making.
  const bool had_certificate = fs::exists(ca_certificate(), ignored);
  auto key = read_existing(ca_key(), kMaxPem);
  const bool had_key = key || key.error().code != ErrorCode::kNotFound;
  if (!had_key) {
    if (had_certificate) {
      return fail(ErrorCode::kNotFound, "{} is there, but its key is not: {}; {}", ca_certificate().native(),
                  key.error().message, kAdvice);
    }
    auto fresh = tls::InternalCa::create(kCaName, now);
    const ByteView fresh_key = as_bytes(fresh.private_key.expose());
    auto created = create_private_file(ca_key(), fresh_key);
    if (!created && created.error().code != ErrorCode::kConflict) return std::unexpected(created.error());
    key = created ? to_bytes(fresh_key) : read_existing(ca_key(), kMaxPem);
  }
  if (!key) return std::unexpected(key.error());
  WipeAtEnd wiper(*key);
  const SecretString key_pem(as_text(*key));

  auto certificate = read_existing(ca_certificate(), kMaxPem);
  if (!certificate && certificate.error().code == ErrorCode::kNotFound) {
    auto made = tls::InternalCa::certify(kCaName, key_pem, now);
    if (!made)
      return fail(ErrorCode::kInvalid, "{}: {}; {}", ca_key().native(), made.error().message, kAdvice);
    auto created = create_public_file(ca_certificate(), as_bytes(made->certificate));
    if (created && had_key) {
      log_warn(
          "ca_certificate_created", "path={} meaning={}", culvert::quoted(ca_certificate().native()),
          culvert::quoted("its key was there; clients of a root that Culvert made need no new one, another "
                          "root must be restored"));
    }
    if (!created && created.error().code != ErrorCode::kConflict) {
      log_error("ca_certificate_not_written", "reason={}", culvert::quoted(created.error().message));
      return tls::InternalCa::load(*made);
    }
    certificate = read_existing(ca_certificate(), kMaxPem);
  }
  if (!certificate) {
    return fail(certificate.error().code, "{} is there, but its certificate is not: {}; {}",
                ca_key().native(), certificate.error().message, kAdvice);
  }
  auto ca = tls::InternalCa::load({std::string(as_text(*certificate)), key_pem});
  if (!ca) {
    return fail(ErrorCode::kInvalid, "{} and {}: {}; {}", ca_certificate().native(), ca_key().native(),
                ca.error().message, kAdvice);
  }
  return ca;
}

namespace {

// Lines of the form "name = value".
void for_each_fact(std::string_view text,
                   const std::function<void(std::string_view name, std::string_view value)>& take) {
  while (!text.empty()) {
    const std::string_view line = text.substr(0, text.find('\n'));
    text.remove_prefix(std::min(text.size(), line.size() + 1));
    const size_t equals = line.find('=');
    if (line.starts_with('#') || equals == std::string_view::npos) continue;
    take(trim(line.substr(0, equals)), trim(line.substr(equals + 1)));
  }
}

}  // namespace

Result<> DataDir::write_info(const Info& info) const {
  std::string text = "# Written by the running node for other commands on this host.\n";
  text += fmt::format("hub_key = {}\n", info.hub_key.to_string());
  for (const std::string& url : info.hub_urls) text += fmt::format("hub_url = {}\n", url);
  auto written = replace_file(this->info(), as_bytes(text), 0644);
  std::error_code ignored;
  if (written) fs::remove(edge_info(), ignored);
  return written;
}

Result<DataDir::Info> DataDir::read_info() const {
  auto content = read_file(info(), kMaxPem);
  if (!content) return std::unexpected(content.error());
  std::optional<PublicKey> key;
  std::vector<std::string> urls;
  for_each_fact(as_text(*content), [&](std::string_view name, std::string_view value) {
    if (name == "hub_url") urls.emplace_back(value);
    if (name == "hub_key") {
      if (auto parsed = PublicKey::parse(value)) key = *parsed;
    }
  });
  if (!key || urls.empty()) {
    return fail(ErrorCode::kInvalid, "{} is damaged; start the node again, it writes a new one",
                info().native());
  }
  return Info{std::move(urls), *key};
}

Result<> DataDir::write_edge_info(const EdgeInfo& info) const {
  std::string text = "# Written by the running edge for other commands on this host.\n";
  text += fmt::format("edge_id = {}\n", info.id.to_string());
  if (info.metrics) text += fmt::format("metrics = {}\n", info.metrics->to_string());
  return replace_file(edge_info(), as_bytes(text), 0644);
}

Result<DataDir::EdgeInfo> DataDir::read_edge_info() const {
  auto content = read_file(edge_info(), kMaxPem);
  if (!content) return std::unexpected(content.error());
  std::optional<PublicKey> id;
  std::optional<SocketAddr> metrics;
  bool is_damaged = false;
  for_each_fact(as_text(*content), [&](std::string_view name, std::string_view value) {
    if (name == "edge_id") {
      if (auto parsed = PublicKey::parse(value)) id = *parsed;
    }
    if (name == "metrics") {
      auto parsed = SocketAddr::parse(value);
      if (parsed) metrics = *parsed;
      is_damaged = !parsed;
    }
  });
  if (!id || is_damaged) {
    return fail(ErrorCode::kInvalid, "{} is damaged; start the edge again, it writes a new one",
                edge_info().native());
  }
  return EdgeInfo{*id, metrics};
}

Result<std::optional<LocalEdge>> find_local_edge(const std::filesystem::path& data_dir) {
  auto info = DataDir{data_dir}.read_edge_info();
  if (info) return LocalEdge{info->id, info->metrics};
  if (info.error().code == ErrorCode::kNotFound) return std::nullopt;
  return std::unexpected(info.error());
}

Result<LocalNode> find_local_node(const std::filesystem::path& data_dir) {
  const DataDir files{data_dir};
  // A node makes its key first and this file last, when its port takes connections already: one that was
  // started a moment ago is worth waiting for.
  std::error_code ignored;
  for (int tries = 0;
       tries < 20 && fs::exists(files.node_key(), ignored) && !fs::exists(files.info(), ignored); ++tries) {
    std::this_thread::sleep_for(std::chrono::milliseconds(100));
  }
  auto info = files.read_info();
  if (!info) {
    if (info.error().code != ErrorCode::kNotFound) return std::unexpected(info.error());
    return fail(ErrorCode::kNotFound,
                "no node has been started with the data directory {}; start one with `culvert node "
                "--data-dir {}`, or "
                "name the directory of the one that runs",
                data_dir.native(), data_dir.native());
  }
  LocalNode node{std::move(info->hub_urls), info->hub_key, std::nullopt};
  auto operator_key = read_operator_key(files.operator_key());
  if (operator_key) {
    node.operator_key = std::move(*operator_key);
  } else if (operator_key.error().code != ErrorCode::kNotFound) {
    return std::unexpected(operator_key.error());
  }
  return node;
}

Result<std::string> read_internal_root(const std::filesystem::path& data_dir, const FilePlaces& places) {
  const DataDir files{data_dir, places};
  auto content = read_existing(files.ca_certificate(), kMaxPem);
  if (content) return std::string(as_text(*content));
  if (content.error().code != ErrorCode::kNotFound) return std::unexpected(content.error());
  std::error_code ignored;
  if (std::filesystem::exists(files.lock(), ignored)) {
    return fail(
        ErrorCode::kNotFound,
        "{} does not exist; the node of {} has its internal CA elsewhere: name that directory with --ca-dir",
        files.ca_certificate().native(), data_dir.native());
  }
  return fail(ErrorCode::kNotFound,
              "no node has been started with the data directory {}, so it has no internal CA; start one with "
              "`culvert "
              "node --data-dir {}`",
              data_dir.native(), data_dir.native());
}

}  // namespace culvert::node
