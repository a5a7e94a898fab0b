#include "ca/file_store.h"

#include "base/log.h"
#include "base/text.h"

namespace culvert::ca {
namespace {

namespace fs = std::filesystem;

constexpr unsigned kOwnerOnly = 0600;
// A certificate for kMaxNames names of 253 bytes, in base64 and JSON, is less than 50 KiB.
constexpr size_t kMaxFile = 128 * 1024;
constexpr const char* kAccounts = "accounts";
constexpr const char* kCertificates = "certificates";

fs::path file_of(const fs::path& directory, const char* kind, const std::string& id) {
  return directory / kind / (id + ".json");
}

template <class T>
Result<std::vector<T>> read_all(const fs::path& directory, Result<T> (*parse)(std::string_view)) {
  std::vector<T> out;
  std::error_code error;
  for (fs::directory_iterator at(directory, error), end; !error && at != end; at.increment(error)) {
    if (at->path().extension() != ".json") continue;
    const auto bytes = read_file(at->path(), kMaxFile);
    if (!bytes) return std::unexpected(bytes.error());
    auto parsed = parse(as_text(*bytes));
    if (parsed) {
      out.push_back(std::move(*parsed));
    } else {
      log_error("ca_file_damaged", "path={} reason={}", quoted(at->path().native()),
                quoted(parsed.error().message));
    }
  }
  if (error) return fail(ErrorCode::kIo, "cannot list {}: {}", directory.native(), error.message());
  return out;
}

}  // namespace

Result<FileStore> FileStore::open(fs::path directory) {
  for (const fs::path& part : {directory, directory / kAccounts, directory / kCertificates}) {
    auto created = create_private_directory(part);
    if (created) created = check_only_owner_writes(part);
    if (!created) return std::unexpected(created.error());
  }
  auto lock = FileLock::take(directory / "lock");
  if (!lock && lock.error().code == ErrorCode::kConflict) {
    return fail(ErrorCode::kConflict,
                "another `culvert ca serve` ({}) uses {}; stop it or choose another --data-dir",
                lock.error().message, directory.native());
  }
  if (!lock) return std::unexpected(lock.error());
  return FileStore(std::move(directory), std::move(*lock));
}

Result<std::vector<Account>> FileStore::accounts() { return read_all(directory_ / kAccounts, parse_account); }

Result<std::vector<IssuedCertificate>> FileStore::certificates() {
  return read_all(directory_ / kCertificates, parse_issued_certificate);
}

Result<> FileStore::save(const Account& account) {
  return replace_file(file_of(directory_, kAccounts, account.id), as_bytes(encode(account)), kOwnerOnly);
}

Result<> FileStore::save(const IssuedCertificate& certificate) {
  return replace_file(file_of(directory_, kCertificates, certificate.id), as_bytes(encode(certificate)),
                      kOwnerOnly);
}

Result<> FileStore::remove_certificate(const std::string& id) {
  const fs::path path = file_of(directory_, kCertificates, id);
  std::error_code error;
  fs::remove(path, error);
  if (!error) return {};
  return fail(ErrorCode::kIo, "cannot remove {}: {}", path.native(), error.message());
}

}  // namespace culvert::ca
