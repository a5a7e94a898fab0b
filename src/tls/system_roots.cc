#include <openssl/err.h>
#include <openssl/pem.h>

#include <cstdint>
#include <cstdlib>
#include <filesystem>
#include <memory>
#include <mutex>
#include <string>
#include <system_error>
#include <utility>
#include <vector>

#include "base/check.h"
#include "tls/openssl.h"

namespace culvert::tls {
namespace {

using Certificates = std::vector<X509Ptr>;

// What tells one content of a file from another.
struct Version {
  std::string path;
  std::filesystem::file_time_type changed = {};
  uintmax_t size = 0;
  bool operator==(const Version&) const = default;
};

std::string system_file() {
  const char* named = std::getenv(X509_get_default_cert_file_env());  // NOLINT(concurrency-mt-unsafe)
  return named != nullptr ? named : X509_get_default_cert_file();
}

// Without a file: the version of an empty one.
Version version_of(std::string path) {
  std::error_code missing;
  Version version{.path = std::move(path)};
  const auto changed = std::filesystem::last_write_time(version.path, missing);
  if (missing) return version;
  version.changed = changed;
  const auto size = std::filesystem::file_size(version.path, missing);
  if (!missing) version.size = size;
  return version;
}

Certificates read_certificates(const std::string& path) {
  Certificates certificates;
  const BioPtr file(BIO_new_file(path.c_str(), "r"));
  while (file) {
    X509Ptr certificate(PEM_read_bio_X509(file.get(), nullptr, nullptr, nullptr));
    if (!certificate && ERR_GET_REASON(ERR_peek_last_error()) == PEM_R_NO_START_LINE) break;  // the end
    if (certificate) certificates.push_back(std::move(certificate));
  }
  ERR_clear_error();
  return certificates;
}

std::shared_ptr<const Certificates> file_certificates() {
  static std::mutex mutex;
  static Version known;
  static std::shared_ptr<const Certificates> certificates = std::make_shared<Certificates>();
  Version now = version_of(system_file());
  const std::lock_guard lock(mutex);
  if (now != known) {
    certificates = std::make_shared<Certificates>(read_certificates(now.path));
    known = std::move(now);
  }
  return certificates;
}

}  // namespace

void add_system_roots(X509_STORE* store) {
  const std::shared_ptr<const Certificates> certificates = file_certificates();
  for (const X509Ptr& each : *certificates) CHECK(X509_STORE_add_cert(store, each.get()) == 1);
  X509_LOOKUP* directory = X509_STORE_add_lookup(store, X509_LOOKUP_hash_dir());
  CHECK(directory != nullptr);
  (void)X509_LOOKUP_add_dir(directory, nullptr, X509_FILETYPE_DEFAULT);
  ERR_clear_error();  // there is none
}

}  // namespace culvert::tls
