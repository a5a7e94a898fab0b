#include "acme/record.h"

#include <boost/json.hpp>
#include <limits>

#include "base/hostname.h"
#include "base/json.h"
#include "base/text.h"

namespace culvert::acme {
namespace {

namespace json = boost::json;

int64_t seconds_of(UnixTime time) { return time.time_since_epoch().count(); }

json::object encode_progress(const Progress& progress) {
  json::object out{{"failures", progress.failures},
                   {"retry_at", seconds_of(progress.retry_at)},
                   {"failed_at", seconds_of(progress.failed_at)},
                   {"last_error", progress.last_error},
                   {"renew_at", seconds_of(progress.renew_at)},
                   {"ask_at", seconds_of(progress.ask_at)}};
  if (progress.window) {
    out["window_start"] = seconds_of(progress.window->start);
    out["window_end"] = seconds_of(progress.window->end);
  }
  return out;
}

Progress read_progress(JsonReader& reader) {
  Progress out{
      .failures = static_cast<uint32_t>(reader.integer("failures", 0, std::numeric_limits<uint32_t>::max())),
      .retry_at = reader.time("retry_at"),
      .failed_at = reader.time("failed_at"),
      .last_error = std::string(reader.text("last_error")),
      .renew_at = reader.time("renew_at"),
      .ask_at = reader.time("ask_at")};
  if (reader.has("window_start")) {
    out.window = RenewalWindow{.start = reader.time("window_start"), .end = reader.time("window_end")};
  }
  return out;
}

// The member of that name, which is an object.
const json::object& object_of(JsonReader& reader, const json::object& object, std::string_view name) {
  static const json::object kEmpty;
  const json::value* value = object.if_contains(name);
  if (value != nullptr && value->is_object()) return value->get_object();
  reader.set_error(name, "is not an object");
  return kEmpty;
}

// Members that hold a secret stay in the heap of Boost.JSON otherwise.
void wipe_member(json::object& object, std::string_view name) {
  json::value* value = object.if_contains(name);
  if (value == nullptr || !value->is_string()) return;
  json::string& text = value->get_string();
  wipe({reinterpret_cast<uint8_t*>(text.data()), text.size()});
}

}  // namespace

SecretString encode(const Record& record) {
  json::object out{{"name", record.name}, {"progress", encode_progress(record.progress)}};
  if (!record.certificate) return SecretString::take(json::serialize(out));
  json::object& certificate = out["certificate"].emplace_object();
  certificate["directory"] = record.certificate->directory;
  certificate["chain"] = record.certificate->chain;
  certificate["key"] = record.certificate->key.expose();
  SecretString text = SecretString::take(json::serialize(out));
  wipe_member(certificate, "key");
  return text;
}

Result<Record> parse_record(const SecretString& text) {
  auto object = parse_json_object("record", text.expose());
  if (!object) return std::unexpected(object.error());
  JsonReader reader("record", *object);
  Record out{.name = std::string(reader.text("name"))};
  if (!reader.error() && !is_hostname_or_wildcard(out.name)) reader.set_error("name", "is not a hostname");
  JsonReader progress("progress", object_of(reader, *object, "progress"));
  if (reader.error()) return std::unexpected(*reader.error());
  out.progress = read_progress(progress);
  if (progress.error()) return std::unexpected(*progress.error());
  if (!reader.has("certificate")) return out;
  const json::object& stored = object_of(reader, *object, "certificate");
  JsonReader certificate("certificate", stored);
  out.certificate = StoredCertificate{.chain = std::string(certificate.text("chain")),
                                      .key = SecretString(certificate.text("key")),
                                      .directory = std::string(certificate.text("directory"))};
  if (json::value* parsed = object->if_contains("certificate"); parsed->is_object()) {
    wipe_member(parsed->get_object(), "key");
  }
  if (reader.error()) return std::unexpected(*reader.error());
  if (certificate.error()) return std::unexpected(*certificate.error());
  return out;
}

}  // namespace culvert::acme
