#include "hub/archive.h"

#include <boost/json/serialize.hpp>

#include "base/crypto.h"
#include "base/encoding.h"
#include "base/json.h"

namespace culvert::hub {
namespace {

namespace json = boost::json;

constexpr std::string_view kWhat = "the export";

std::unexpected<Error> damaged(std::string_view how) {
  return fail(ErrorCode::kInvalid, "this is no complete export of a hub: {}; take another copy of it", how);
}

// The line that begins `text`, which is shortened by it; false: there is none that is complete.
bool take_line(std::string_view& text, std::string_view& line) {
  const size_t end = text.find('\n');
  if (end == std::string_view::npos) return false;
  line = text.substr(0, end);
  text.remove_prefix(end + 1);
  return true;
}

Result<Record> read_record(JsonReader reader, const json::object& object) {
  Record record{.kind = std::string(reader.text("kind")),
                .key = std::string(reader.text("key")),
                .body = std::string(reader.text("body"))};
  if (object.size() != 3) reader.set_error("record", "has another member");
  if (reader.error()) return std::unexpected(*reader.error());
  return record;
}

Result<AuditEntry> read_entry(JsonReader reader) {
  AuditEntry entry{.sequence = static_cast<uint64_t>(reader.integer("sequence", 0, INT64_MAX)),
                   .at = UnixTime(std::chrono::seconds(reader.integer("at", 0, 9'000'000'000))),
                   .actor = std::string(reader.text("actor")),
                   .action = std::string(reader.text("action")),
                   .subject = std::string(reader.text("subject")),
                   .before = std::string(reader.text("before")),
                   .after = std::string(reader.text("after"))};
  if (reader.error()) return std::unexpected(*reader.error());
  return entry;
}

}  // namespace

SecretString encode_archive(const RecordDatabase::Archive& archive) {
  std::string text = json::serialize(json::object{{"culvert_hub_export", kArchiveVersion},
                                                  {"revision", archive.revision},
                                                  {"hash_key", to_base64url(archive.hash_key.expose())}}) +
                     "\n";
  for (const Record& record : archive.records) {
    text += json::serialize(json::object{{"kind", record.kind}, {"key", record.key}, {"body", *record.body}});
    text += '\n';
  }
  for (const AuditEntry& entry : archive.audit) {
    text += json::serialize(json::object{{"sequence", entry.sequence},
                                         {"at", entry.at.time_since_epoch().count()},
                                         {"actor", entry.actor},
                                         {"action", entry.action},
                                         {"subject", entry.subject},
                                         {"before", entry.before},
                                         {"after", entry.after}});
    text += '\n';
  }
  text += json::serialize(json::object{{"records", archive.records.size()},
                                       {"audit", archive.audit.size()},
                                       {"sha256", to_hex(sha256(as_bytes(text)))}}) +
          "\n";
  return SecretString::take(std::move(text));
}

Result<RecordDatabase::Archive> decode_archive(std::string_view text) {
  std::string_view rest = text, line;
  if (!take_line(rest, line)) return damaged("its first line is missing");
  auto head = parse_json_object(kWhat, line);
  if (!head || !head->contains("culvert_hub_export"))
    return damaged("its first line is not one of an export");
  JsonReader header(kWhat, *head);
  const int64_t version = header.integer("culvert_hub_export", 1, INT64_MAX);
  if (!header.error() && version > kArchiveVersion) {
    return fail(ErrorCode::kInvalid,
                "this export has version {}, this culvert knows up to {}; use the newer culvert", version,
                kArchiveVersion);
  }
  RecordDatabase::Archive archive;
  archive.revision = static_cast<uint64_t>(header.integer("revision", 0, INT64_MAX));
  archive.hash_key = header.secret<RecordDatabase::kHashKeySize>("hash_key");
  if (header.error()) return damaged(header.error()->message);

  const size_t last_break = text.size() < 2 ? std::string_view::npos : text.rfind('\n', text.size() - 2);
  if (last_break == std::string_view::npos || !text.ends_with('\n'))
    return damaged("its last line is missing");
  const std::string_view hashed = text.substr(0, last_break + 1);
  auto tail = parse_json_object(kWhat, text.substr(last_break + 1));
  if (!tail) return damaged("its last line is missing");
  JsonReader trailer(kWhat, *tail);
  const auto records = trailer.integer("records", 0, INT64_MAX),
             audit = trailer.integer("audit", 0, INT64_MAX);
  if (trailer.text("sha256") != to_hex(sha256(as_bytes(hashed))) || trailer.error())
    return damaged("its hash is not that of its content");
  while (rest.data() < hashed.data() + hashed.size() && take_line(rest, line)) {
    auto object = parse_json_object(kWhat, line);
    if (!object) return damaged(object.error().message);
    if (object->contains("kind")) {
      auto record = read_record(JsonReader(kWhat, *object), *object);
      if (!record) return damaged(record.error().message);
      archive.records.push_back(std::move(*record));
    } else {
      auto entry = read_entry(JsonReader(kWhat, *object));
      if (!entry) return damaged(entry.error().message);
      archive.audit.push_back(std::move(*entry));
    }
  }
  if (archive.records.size() != static_cast<size_t>(records) ||
      archive.audit.size() != static_cast<size_t>(audit))
    return damaged("lines are missing");
  return archive;
}

}  // namespace culvert::hub
