#include "dns/update_client.h"

#include <algorithm>

#include "base/text.h"
#include "dns/txt_value.h"
#include "net/resolver.h"

namespace culvert::dns {
namespace {

Record txt_record(Name name, std::string value, uint32_t ttl, Class record_class) {
  return {.name = std::move(name),
          .type = Type::kTxt,
          .record_class = record_class,
          .ttl = ttl,
          .data = Txt{{std::move(value)}}};
}

// The owner of the SOA record of an answer: the zone that has `name`.
std::optional<Name> zone_of(const Message& answer, const Name& name) {
  for (const auto* section : {&answer.answers, &answer.authority}) {
    for (const Record& record : *section) {
      if (record.type == Type::kSoa && name.is_within(record.name)) return record.name;
    }
  }
  return std::nullopt;
}

// The condition that the name is not an alias (RFC 2136, 2.4.3): servers drop records that are put beside
// CNAME without a word. A question would not tell, since a wildcard may answer it, which yields to the new
// record.
Record no_alias(const Name& name) {
  return {.name = name, .type = Type::kCname, .record_class = Class::kNone, .data = Opaque{}};
}

// Whether another address of the server may do better.
bool may_pass(const Error& error) {
  return error.code == ErrorCode::kTimeout || error.code == ErrorCode::kUnavailable;
}

}  // namespace

// RFC 2136, 2.5.1 and 2.5.4.
net::Task<Result<>> UpdateClient::put(Name name, std::string value) {
  if (auto checked = check_txt_value(name, value); !checked) co_return checked;
  auto updated =
      co_await update(txt_record(std::move(name), std::move(value), options_.ttl, Class::kInternet));
  co_return updated;
}

net::Task<Result<>> UpdateClient::remove(Name name, std::string value) {
  if (auto checked = check_txt_value(name, value); !checked) co_return checked;
  auto updated = co_await update(txt_record(std::move(name), std::move(value), 0, Class::kNone));
  co_return updated;
}

net::Task<Result<>> UpdateClient::update(Record change) {
  const TimePoint deadline = loop_.now() + options_.timeout;
  const Name name = change.name;
  auto zone = co_await find_zone(name, deadline);
  if (!zone) co_return std::unexpected(with_server(zone.error()));
  Message query{.header = {.id = random_id(), .opcode = Opcode::kUpdate},
                .questions = {{*zone, Type::kSoa, Class::kInternet}}};
  if (change.record_class == Class::kInternet) query.answers.push_back(no_alias(name));
  query.authority.push_back(std::move(change));
  auto answer = co_await ask(std::move(query), deadline);
  if (!answer) co_return std::unexpected(with_server(answer.error()));
  auto judged = judge(answer->message, *zone, name);
  if (!judged) co_return std::unexpected(with_server(judged.error()));
  co_return judged;
}

// The server names the zone when it is asked for the SOA record of any name in it; what it refuses to answer
// may belong to another zone than its parent does.
net::Task<Result<Name>> UpdateClient::find_zone(Name name, TimePoint deadline) {
  if (options_.zone) {
    if (name.is_within(*options_.zone)) co_return *options_.zone;
    co_return fail(ErrorCode::kInvalid, "{} is not in the zone {} of the settings", name.to_string(),
                   options_.zone->to_string());
  }
  std::string refusal = "no answer";
  for (Name asked = name; !asked.is_root(); asked = asked.parent()) {
    auto answer = co_await ask({.header = {.id = random_id()}, .questions = {{asked, Type::kSoa}}}, deadline);
    if (!answer) co_return std::unexpected(answer.error());
    const Message& message = answer->message;
    if (auto zone = zone_of(message, asked); zone && message.header.is_authoritative)
      co_return std::move(*zone);
    refusal = to_string(message.header.rcode);
  }
  co_return fail(
      ErrorCode::kInvalid,
      "it is not authoritative for a zone that has {} (its last answer: {}); give the primary server of the "
      "zone, or the zone itself",
      name.to_string(), refusal);
}

net::Task<Result<Answer>> UpdateClient::ask(Message query, TimePoint deadline) {
  const HostPort& server = options_.server;
  auto addresses = co_await net::resolve(loop_, server.host, server.port, deadline);
  if (!addresses) co_return std::unexpected(addresses.error());
  addresses->resize(std::min(addresses->size(), kMaxAddresses));
  Error last{ErrorCode::kUnavailable, "it has no address"};
  for (size_t i = 0; i < addresses->size(); ++i) {
    // A silent address leaves time for the others.
    const auto left = static_cast<Duration::rep>(addresses->size() - i);
    const TimePoint until = loop_.now() + (deadline - loop_.now()) / left;
    auto answer = co_await ask_at((*addresses)[i], query, until);
    if (answer || !may_pass(answer.error())) co_return answer;
    last = answer.error();
  }
  co_return std::unexpected(last);
}

net::Task<Result<Answer>> UpdateClient::ask_at(SocketAddr address, Message query, TimePoint deadline) {
  if (!options_.key) {
    auto answer = co_await exchange(loop_, address, encode(query), deadline);
    co_return answer;
  }
  SignedMessage signed_query = sign(std::move(query), *options_.key, loop_.unix_now());
  auto answer = co_await exchange(loop_, address, std::move(signed_query.bytes), deadline);
  if (!answer) co_return answer;
  auto verified =
      verify_answer(answer->bytes, answer->message, *options_.key, signed_query.mac, loop_.unix_now());
  if (!verified) co_return std::unexpected(verified.error());
  co_return answer;
}

Error UpdateClient::with_server(const Error& error) const {
  return {error.code, fmt::format("DNS update at {}: {}", options_.server.to_string(), error.message)};
}

// RFC 2136, 2.2 and 3.8.
Result<> UpdateClient::judge(const Message& answer, const Name& zone_name, const Name& name) const {
  const std::string zone = zone_name.to_string();
  switch (answer.header.rcode) {
    case Rcode::kNoError:
      return {};
    case Rcode::kRefused:
      if (!options_.key) {
        return fail(ErrorCode::kUnauthorized,
                    "it refuses to change the zone {} (REFUSED); updates are not signed, give a TSIG key",
                    zone);
      }
      return fail(
          ErrorCode::kUnauthorized,
          "it refuses to change the zone {} (REFUSED); grant the TSIG key {} TXT records of the name, in "
          "update-policy or allow-update of the zone",
          zone, quoted(options_.key->name.to_string()));
    case Rcode::kNotAuthoritative:
      return fail(ErrorCode::kInvalid,
                  "it is not authoritative for the zone {} (NOTAUTH); give the primary server of the zone",
                  zone);
    case Rcode::kNotInZone:
      return fail(ErrorCode::kInvalid, "{} is not in the zone {} (NOTZONE); correct the zone of the settings",
                  name.to_string(), zone);
    case Rcode::kNotImplemented:
      return fail(ErrorCode::kInvalid,
                  "it takes no dynamic updates (NOTIMP); give a server that does, or use a hook program");
    case Rcode::kSetExists:
      return fail(
          ErrorCode::kInvalid,
          "{} is an alias (CNAME), beside which no TXT record can be; publish at the name that it leads "
          "to, or remove the CNAME record",
          name.to_string());
    case Rcode::kServerFailure:
      return fail(ErrorCode::kUnavailable,
                  "it fails to change the zone {} (SERVFAIL); its log says why, often it may not write the "
                  "journal of the zone",
                  zone);
    default:
      return fail(ErrorCode::kUnavailable, "it does not change the zone {} ({})", zone,
                  to_string(answer.header.rcode));
  }
}

}  // namespace culvert::dns
