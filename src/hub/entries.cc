#include "hub/entries.h"

#include <fmt/format.h>
#include <algorithm>
#include <boost/json/serialize.hpp>

#include "base/json.h"
#include "base/log.h"
#include "base/text.h"
#include "hubapi/entry.h"

namespace culvert::hub {
namespace {

namespace json = boost::json;

std::optional<Entry::Proof> parse_proof(std::string_view text) {
  for (const auto proof : {Entry::Proof::kGrant, Entry::Proof::kTxt, Entry::Proof::kAddress}) {
    if (text == to_string(proof)) return proof;
  }
  return std::nullopt;
}

Result<Entry> read_entry(std::string_view hostname, std::string_view text) {
  constexpr std::string_view kWhat = "the entry's record";
  auto pattern = route::HostPattern::parse(hostname);
  if (!pattern) return std::unexpected(pattern.error());
  if (pattern->text() != hostname) return fail(ErrorCode::kInvalid, "{}: its key is damaged", kWhat);
  auto body = parse_json_object(kWhat, text);
  if (!body) return std::unexpected(body.error());
  JsonReader reader(kWhat, *body);
  const auto proof = parse_proof(reader.text("proof"));
  const UnixTime since = reader.time("since");
  std::optional<route::TlsMode> mode;
  if (reader.has("tls_mode")) {
    mode = route::parse_tls_mode(reader.text("tls_mode"));
    if (!mode) return fail(ErrorCode::kInvalid, "{}: tls_mode is damaged", kWhat);
  }
  if (reader.error()) return std::unexpected(*reader.error());
  if (!proof) return fail(ErrorCode::kInvalid, "{}: proof is damaged", kWhat);
  return Entry{std::move(*pattern), mode, *proof, since};
}

Result<uint64_t> read_sequence(std::string_view text) {
  constexpr std::string_view kWhat = "the sequence's record";
  auto body = parse_json_object(kWhat, text);
  if (!body) return std::unexpected(body.error());
  JsonReader reader(kWhat, *body);
  const int64_t sequence = reader.integer("sequence", 0, INT64_MAX);
  if (reader.error()) return std::unexpected(*reader.error());
  return static_cast<uint64_t>(sequence);
}

std::string key_of(const PublicKey& tenant, std::string_view hostname) {
  return fmt::format("{}/{}", tenant.to_string(), hostname);
}

}  // namespace

const char* to_string(Entry::Proof proof) {
  switch (proof) {
    case Entry::Proof::kGrant:
      return "grant";
    case Entry::Proof::kTxt:
      return "txt";
    case Entry::Proof::kAddress:
      return "address";
  }
  return "unknown";
}

std::optional<PublicKey> Entries::apply(const Record& record) {
  const auto damaged = [&record]() -> std::optional<PublicKey> {
    log_error("hub_record_damaged", "kind={} key={}", record.kind, culvert::quoted(record.key));
    return std::nullopt;
  };
  const std::string_view key = record.key;
  const size_t slash = key.find('/');
  const auto tenant = PublicKey::parse(key.substr(0, slash));
  if (!tenant || (slash == key.npos) != (record.kind == kSequenceKind)) return damaged();
  OfTenant& of_tenant = tenants_[*tenant];
  if (record.kind == kSequenceKind) {
    of_tenant.sequence = 0;
    if (record.body) {
      const auto sequence = read_sequence(*record.body);
      // One that cannot be read lets nothing in but the tenant out: a change that was made before must not be
      // made again.
      constexpr uint64_t kHighest = hubapi::EntryChange::kMaxDelete;
      of_tenant.sequence = std::min(sequence.value_or(kHighest), kHighest);
      if (!sequence) (void)damaged();
    }
  } else {
    const std::string_view hostname = key.substr(slash + 1);
    if (const auto old = of_tenant.entries.find(hostname); old != of_tenant.entries.end())
      of_tenant.entries.erase(old);
    if (record.body) {
      auto entry = read_entry(hostname, *record.body);
      if (!entry) {
        forget_empty(*tenant);
        (void)damaged();
        return *tenant;
      }
      of_tenant.entries.emplace(hostname, std::move(*entry));
    }
  }
  forget_empty(*tenant);
  return *tenant;
}

void Entries::forget_empty(const PublicKey& tenant) {
  const auto found = tenants_.find(tenant);
  if (found != tenants_.end() && found->second.entries.empty() && found->second.sequence == 0)
    tenants_.erase(found);
}

const Entries::Map& Entries::of(const PublicKey& tenant) const {
  static const Map kNone;
  const auto found = tenants_.find(tenant);
  return found == tenants_.end() ? kNone : found->second.entries;
}

const Entry* Entries::find(const PublicKey& tenant, std::string_view hostname) const {
  const Map& entries = of(tenant);
  const auto entry = entries.find(hostname);
  return entry == entries.end() ? nullptr : &entry->second;
}

uint64_t Entries::sequence(const PublicKey& tenant) const {
  const auto found = tenants_.find(tenant);
  return found == tenants_.end() ? 0 : found->second.sequence;
}

Record Entries::record_of(const PublicKey& tenant, const Entry& entry) {
  json::object body{{"proof", to_string(entry.proof)}, {"since", entry.since.time_since_epoch().count()}};
  if (entry.tls_mode) body["tls_mode"] = route::to_string(*entry.tls_mode);
  return {.kind = std::string(kKind),
          .key = key_of(tenant, entry.hostname.text()),
          .body = json::serialize(body)};
}

Record Entries::removal_of(const PublicKey& tenant, std::string_view hostname) {
  return {.kind = std::string(kKind), .key = key_of(tenant, hostname), .body = std::nullopt};
}

Record Entries::sequence_record(const PublicKey& tenant, uint64_t sequence) {
  return {.kind = std::string(kSequenceKind),
          .key = tenant.to_string(),
          .body = json::serialize(json::object{{"sequence", sequence}})};
}

std::vector<Record> Entries::removals(const PublicKey& tenant) const {
  std::vector<Record> records;
  const auto found = tenants_.find(tenant);
  if (found == tenants_.end()) return records;
  for (const auto& [hostname, entry] : found->second.entries) records.push_back(removal_of(tenant, hostname));
  records.push_back({.kind = std::string(kSequenceKind), .key = tenant.to_string(), .body = std::nullopt});
  return records;
}

}  // namespace culvert::hub
