#include "dns/zone.h"

#include <algorithm>

#include "base/text.h"

namespace culvert::dns {
namespace {

// Seconds, of the SOA record. No secondary server follows these zones; the values are customary ones.
constexpr uint32_t kRefresh = 3600, kRetry = 600, kExpire = 86400;

bool is_of_operator(Type type) {
  return type == Type::kA || type == Type::kAaaa || type == Type::kCaa || type == Type::kTxt;
}

Record with_owner(Record record, const Name& owner) {
  record.name = owner;
  return record;
}

// RFC 8482, 4.2: one record in place of all that the name has.
Record minimal_any(const Name& owner) {
  ByteWriter data;
  constexpr std::string_view kCpu = "RFC8482";
  data.u8(static_cast<uint8_t>(kCpu.size()));
  data.bytes(as_bytes(kCpu));
  data.u8(0);
  return {.name = owner, .type = Type::kHinfo, .ttl = Zone::kTtl, .data = Opaque{data.take()}};
}

}  // namespace

Result<Zone> Zone::make(ZoneOptions options) {
  const std::string apex = options.apex.to_string();
  if (options.name_servers.empty())
    return fail(ErrorCode::kInvalid,
                "the DNS zone {} has no name server; give the name that leads to this server", apex);
  for (const Record& record : options.records) {
    if (!record.name.is_within(options.apex))
      return fail(ErrorCode::kInvalid, "the record {} is not in the DNS zone {}", record.name.to_string(),
                  apex);
    if (!is_of_operator(record.type) || record.record_class != Class::kInternet)
      return fail(ErrorCode::kInvalid,
                  "the record {} has type {}; a DNS zone of this server takes A, AAAA, CAA and TXT records",
                  record.name.to_string(), static_cast<unsigned>(record.type));
  }
  Zone zone(std::move(options));
  zone.nodes_[zone.options_.apex];
  for (const Record& record : zone.options_.records) zone.nodes_[record.name].records.push_back(record);
  return zone;
}

Result<> Zone::put(const Name& name, std::string value) {
  if (!name.is_within(apex()))
    return fail(ErrorCode::kInvalid, "{} is not in the DNS zone {}", name.to_string(), apex().to_string());
  if (value.empty() || value.size() > kMaxValueSize)
    return fail(ErrorCode::kInvalid, "a TXT value of {} bytes for {} (expected 1 to {})", value.size(),
                name.to_string(), kMaxValueSize);
  const auto found = nodes_.find(name);
  const bool is_first = found == nodes_.end() || found->second.values.empty();
  if (is_first && names_with_values_ >= kMaxNames)
    return fail(ErrorCode::kLimit,
                "the DNS zone {} has {} names with TXT values; try again when some are gone",
                apex().to_string(), kMaxNames);
  Node& node = nodes_[name];
  if (std::ranges::find(node.values, value) != node.values.end()) return {};
  if (node.values.size() >= kMaxValues)
    return fail(ErrorCode::kLimit, "{} has {} TXT values; try again when some are gone", name.to_string(),
                kMaxValues);
  if (is_first) ++names_with_values_;
  node.values.push_back(std::move(value));
  ++options_.serial;
  return {};
}

void Zone::remove(const Name& name, std::string_view value) {
  const auto found = nodes_.find(name);
  if (found == nodes_.end() || std::erase(found->second.values, value) == 0) return;
  ++options_.serial;
  if (!found->second.values.empty()) return;
  --names_with_values_;
  if (found->second.records.empty() && name != apex()) nodes_.erase(found);
}

// An answer is in the case of the question, which resolvers choose at random and compare.
void Zone::answer(const Question& question, Message& response) const {
  const Name& name = question.name;
  const size_t before = response.answers.size();
  const auto node = nodes_.find(name);
  if (node != nodes_.end()) {
    answer_from(node->second, question, response);
  } else if (!has_descendants(name)) {
    response.header.rcode = Rcode::kNameError;
  }
  // RFC 2308, 3: without it resolvers take the answer for a failure.
  if (response.answers.size() == before) response.authority.push_back(soa(name.suffix(apex().label_count())));
}

void Zone::answer_from(const Node& node, const Question& question, Message& response) const {
  const Name& name = question.name;
  const bool is_apex = name == apex();
  if (question.type == Type::kAny) {
    if (is_apex || !node.records.empty() || !node.values.empty())
      response.answers.push_back(minimal_any(name));
    return;
  }
  if (is_apex && question.type == Type::kSoa) response.answers.push_back(soa(name));
  if (is_apex && question.type == Type::kNs) add_name_servers(name, response);
  for (const Record& record : node.records) {
    if (record.type == question.type) response.answers.push_back(with_owner(record, name));
  }
  if (question.type != Type::kTxt) return;
  for (const std::string& value : node.values)
    response.answers.push_back({.name = name, .type = Type::kTxt, .ttl = kValueTtl, .data = Txt{{value}}});
}

void Zone::add_name_servers(const Name& owner, Message& response) const {
  for (const Name& server : options_.name_servers) {
    response.answers.push_back({.name = owner, .type = Type::kNs, .ttl = kTtl, .data = Ns{server}});
    const auto node = nodes_.find(server);
    if (node == nodes_.end()) continue;
    for (const Record& record : node->second.records) {
      if (record.type == Type::kA || record.type == Type::kAaaa) response.additional.push_back(record);
    }
  }
}

bool Zone::has_descendants(const Name& name) const {
  const auto next = nodes_.upper_bound(name);
  return next != nodes_.end() && next->first.is_within(name);
}

Record Zone::soa(const Name& owner) const {
  return {.name = owner,
          .type = Type::kSoa,
          .ttl = kNegativeTtl,
          .data = Soa{.primary = options_.name_servers.front(),
                      .contact = options_.contact,
                      .serial = options_.serial,
                      .refresh = kRefresh,
                      .retry = kRetry,
                      .expire = kExpire,
                      .minimum = kNegativeTtl}};
}

}  // namespace culvert::dns
