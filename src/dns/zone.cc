#include "dns/zone.h"

#include <algorithm>

#include "dns/txt_value.h"

namespace culvert::dns {
namespace {

// Seconds, of the SOA record. No secondary server follows these zones; the values are customary ones.
constexpr uint32_t kRefresh = 3600, kRetry = 600, kExpire = 86400;

bool is_of_operator(Type type) {
  return type == Type::kA || type == Type::kAaaa || type == Type::kCaa || type == Type::kTxt;
}

// Of a map in canonical order.
template <class Map>
bool has_below(const Map& map, const Name& name) {
  const auto next = map.upper_bound(name);
  return next != map.end() && next->first.is_within(name);
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
  for (const Record& record : zone.options_.records) zone.records_[record.name].push_back(record);
  return zone;
}

Result<> Zone::put(const Name& name, std::string value) {
  if (!name.is_within(apex()))
    return fail(ErrorCode::kInvalid, "{} is not in the DNS zone {}", name.to_string(), apex().to_string());
  if (auto checked = check_txt_value(name, value); !checked) return checked;
  const auto found = values_.find(name);
  if (found == values_.end() && values_.size() >= kMaxNames)
    return fail(ErrorCode::kLimit,
                "the DNS zone {} has {} names with TXT values; try again when some are gone",
                apex().to_string(), kMaxNames);
  std::vector<std::string>& values = values_[name];
  if (std::ranges::find(values, value) != values.end()) return {};
  if (values.size() >= kMaxValues)
    return fail(ErrorCode::kLimit, "{} has {} TXT values; try again when some are gone", name.to_string(),
                kMaxValues);
  values.push_back(std::move(value));
  ++options_.serial;
  return {};
}

void Zone::remove(const Name& name, std::string_view value) {
  const auto found = values_.find(name);
  if (found == values_.end() || std::erase(found->second, value) == 0) return;
  ++options_.serial;
  if (found->second.empty()) values_.erase(found);
}

// An answer is in the case of the question, which resolvers choose at random and compare.
void Zone::answer(const Question& question, Message& response) const {
  const Name& name = question.name;
  add_answers(question, response);
  if (!response.answers.empty()) return;
  const bool exists = name == apex() || values_.contains(name) || find_records(name) != nullptr ||
                      has_below(records_, name) || has_below(values_, name);
  if (!exists) response.header.rcode = Rcode::kNameError;
  // RFC 2308, 3: without it resolvers take the answer for a failure.
  response.authority.push_back(soa(name.suffix(apex().label_count())));
}

void Zone::add_answers(const Question& question, Message& response) const {
  const Name& name = question.name;
  const bool is_apex = name == apex();
  const auto values = values_.find(name);
  const Records* records = find_records(name);
  if (question.type == Type::kAny) {
    if (is_apex || values != values_.end() || records != nullptr)
      response.answers.push_back(minimal_any(name));
    return;
  }
  if (is_apex && question.type == Type::kSoa) response.answers.push_back(soa(name));
  if (is_apex && question.type == Type::kNs) add_name_servers(name, response);
  if (records != nullptr) {
    for (const Record& record : *records) {
      if (record.type == question.type) response.answers.push_back(with_owner(record, name));
    }
  }
  if (question.type != Type::kTxt || values == values_.end()) return;
  for (const std::string& value : values->second)
    response.answers.push_back({.name = name, .type = Type::kTxt, .ttl = kValueTtl, .data = Txt{{value}}});
}

// RFC 4592, 3.3.1: a wildcard stands for names below the closest ancestor that exists, and it is a child of
// that.
const Zone::Records* Zone::find_records(const Name& name) const {
  const auto own = records_.find(name);
  if (own != records_.end()) return &own->second;
  if (name == apex() || has_below(records_, name)) return nullptr;
  Name ancestor = name;
  do {
    ancestor = ancestor.parent();
    const auto wildcard = ancestor.wildcard();
    const auto found = wildcard ? records_.find(*wildcard) : records_.end();
    if (found != records_.end()) return &found->second;
  } while (ancestor != apex() && !records_.contains(ancestor) && !has_below(records_, ancestor));
  return nullptr;
}

void Zone::add_name_servers(const Name& owner, Message& response) const {
  for (const Name& server : options_.name_servers) {
    response.answers.push_back({.name = owner, .type = Type::kNs, .ttl = kTtl, .data = Ns{server}});
    const auto records = records_.find(server);
    if (records == records_.end()) continue;
    for (const Record& record : records->second) {
      if (record.type == Type::kA || record.type == Type::kAaaa) response.additional.push_back(record);
    }
  }
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
