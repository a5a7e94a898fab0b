#include "hub/certificate_store.h"

#include <boost/json/serialize.hpp>

#include "base/encoding.h"
#include "base/hostname.h"
#include "base/json.h"
#include "base/log.h"
#include "base/text.h"
#include "hub/certificates.h"

namespace culvert::hub {
namespace {

namespace json = boost::json;

// Another use of the hub's key needs another text.
constexpr std::string_view kPurpose = "culvert hub: keys of certificates, 1";

SealKey key_from(const SecretKey& hub_key) {
  Sha256 derived = hmac_sha256(hub_key.expose_seed(), as_bytes(kPurpose));
  const SealKey key = SealKey::from(derived);
  wipe(derived);
  return key;
}

Record place_of(std::string_view kind, const std::string& key) {
  return {.kind = std::string(kind), .key = key};
}

// The same record of a database whose hub had another key is of no use, and neither is a damaged one.
void say_damaged(const Record& place, const Error& error) {
  log_error(
      "hub_record_damaged", "kind={} key={} reason={} meaning={}", place.kind, culvert::quoted(place.key),
      culvert::quoted(error.message),
      culvert::quoted("it is made again; a record that was sealed with another node.key looks the same"));
}

}  // namespace

CertificateStore::CertificateStore(const State& state, Ledger& ledger, const SecretKey& hub_key,
                                   Random& random)
    : state_(state), ledger_(ledger), key_(key_from(hub_key)), random_(random) {}

std::string CertificateStore::seal_text(const Record& place, const SecretString& secret) {
  const std::string context = place.kind + " " + place.key;
  return to_base64url(seal(key_, as_bytes(context), as_bytes(secret.expose()), random_));
}

Result<SecretString> CertificateStore::open_text(const Record& place, std::string_view sealed) const {
  const std::string context = place.kind + " " + place.key;
  auto bytes = from_base64url(sealed);
  if (!bytes) return std::unexpected(bytes.error());
  auto opened = open_sealed(key_, as_bytes(context), *bytes);
  if (!opened) return std::unexpected(opened.error());
  return SecretString(as_text(opened->expose()));
}

bool CertificateStore::is_orderer() const {
  const Hubs& hubs = state_.leases.hubs();
  return !hubs.is_shared() || state_.certificates.orderer() == hubs.self();
}

Result<std::optional<acme::Account>> CertificateStore::load_account(const std::string& directory) {
  const auto stored = state_.certificates.accounts().find(directory);
  if (stored == state_.certificates.accounts().end()) return std::nullopt;
  const Record place = place_of(Certificates::kAccountKind, directory);
  const auto damaged = [&](const Error& error) {
    say_damaged(place, error);
    return std::nullopt;
  };
  auto body = parse_json_object("the account's record", stored->second);
  if (!body) return damaged(body.error());
  JsonReader reader("the account's record", *body);
  const std::string url(reader.text("url")), sealed(reader.text("key"));
  if (reader.error()) return damaged(*reader.error());
  auto pem = open_text(place, sealed);
  if (!pem) return damaged(pem.error());
  auto key = tls::P256Key::from_pem(*pem);
  if (!key) return damaged(key.error());
  return acme::Account{.key = std::move(*key), .url = url};
}

Result<std::optional<acme::Record>> CertificateStore::load_public(const std::string& name) const {
  const auto stored = state_.certificates.certificates().find(name);
  if (stored == state_.certificates.certificates().end()) return std::nullopt;
  auto record = acme::parse_record(SecretString(stored->second));
  if (record && record->name != name) record = fail(ErrorCode::kInvalid, "it is of another name");
  if (!record) return std::unexpected(record.error());
  return std::move(*record);
}

Result<std::optional<acme::Record>> CertificateStore::load(const std::string& name) {
  if (!is_hostname_or_wildcard(name))
    return fail(ErrorCode::kInvalid, "{} is not a lower-case hostname", culvert::quoted(name));
  const Record place = place_of(Certificates::kKind, name);
  auto record = load_public(name);
  if (!record) {
    say_damaged(place, record.error());
    return std::nullopt;
  }
  if (!*record || !(*record)->certificate) return record;
  auto key = open_text(place, (*record)->certificate->key.expose());
  if (key) {
    (*record)->certificate->key = std::move(*key);
  } else {
    say_damaged(place, key.error());
    (*record)->certificate.reset();
  }
  return record;
}

Result<std::vector<std::string>> CertificateStore::names() {
  std::vector<std::string> out;
  for (const auto& [name, body] : state_.certificates.certificates()) out.push_back(name);
  return out;
}

std::vector<std::string> CertificateStore::names_after(const std::string& after, size_t most) const {
  std::vector<std::string> out;
  const auto& all = state_.certificates.certificates();
  for (auto each = all.upper_bound(after); each != all.end() && out.size() < most; ++each)
    out.push_back(each->first);
  return out;
}

net::Task<Result<>> CertificateStore::write(Record record) {
  std::string touched = record.kind + " " + record.key;
  auto written = co_await ledger_.commit(
      {.touches = {std::move(touched)}, .judge = [&]() -> Result<Batch> {
         if (is_orderer()) return Batch{.records = {record}, .audit = {}};
         return fail(ErrorCode::kConflict, "another hub of this database orders certificates now");
       }});
  co_return written;
}

net::Task<Result<>> CertificateStore::put_account(std::string directory, acme::Account account) {
  Record record = place_of(Certificates::kAccountKind, directory);
  const std::string sealed = seal_text(record, account.key.to_pem());
  record.body = json::serialize(json::object{{"url", account.url}, {"key", sealed}});
  auto written = co_await write(std::move(record));
  co_return written;
}

net::Task<Result<>> CertificateStore::put(acme::Record record) {
  if (!is_hostname_or_wildcard(record.name))
    co_return fail(ErrorCode::kInvalid, "{} is not a lower-case hostname", culvert::quoted(record.name));
  Record stored = place_of(Certificates::kKind, record.name);
  if (record.certificate) record.certificate->key = SecretString(seal_text(stored, record.certificate->key));
  stored.body = acme::encode(record).expose();
  auto written = co_await write(std::move(stored));
  co_return written;
}

net::Task<Result<>> CertificateStore::erase(std::string name) {
  auto written = co_await write(place_of(Certificates::kKind, name));
  co_return written;
}

net::Task<Result<>> CertificateStore::put_budgets(std::string text) {
  Record record = place_of(Certificates::kBudgetKind, std::string(Certificates::kOnly));
  record.body = std::move(text);
  auto written = co_await write(std::move(record));
  co_return written;
}

}  // namespace culvert::hub
