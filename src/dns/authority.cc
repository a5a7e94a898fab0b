#include "dns/authority.h"

#include <algorithm>

namespace culvert::dns {
namespace {

// RFC 1035, 4.1.1; CD: RFC 4035, 3.2.2.
Header response_header(const Header& query) {
  return {.id = query.id,
          .is_response = true,
          .opcode = query.opcode,
          .recursion_desired = query.recursion_desired,
          .checking_disabled = query.checking_disabled};
}

// Without a question, for what could not be read.
Bytes bare_response(const Header& query, Rcode rcode) {
  Message response{.header = response_header(query)};
  response.header.rcode = rcode;
  return encode(response, kMinUdpSize);
}

Message response_to(const Message& query) {
  Message response{.header = response_header(query.header), .questions = query.questions};
  // RFC 6891, 6.1.1; DO is copied (RFC 3225, 3), though nothing is signed.
  if (query.edns)
    response.edns = Edns{.udp_size = kMaxUdpSize, .version = 0, .dnssec_ok = query.edns->dnssec_ok};
  return response;
}

size_t udp_limit(const Message& query) {
  if (!query.edns) return kMinUdpSize;
  return std::clamp<size_t>(query.edns->udp_size, kMinUdpSize, kMaxUdpSize);
}

// Types that no record has but ANY (RFC 6895, 3.1): transfers, and what is part of other protocols.
bool is_meta(Type type) {
  const auto number = static_cast<unsigned>(type);
  return type == Type::kOpt || (number >= 128 && number < static_cast<unsigned>(Type::kAny));
}

// RFC 8945, 5.2.1 and 5.3.2: this server shares a key with nobody.
Tsig unknown_key(const Tsig& query) {
  return {.key = query.key,
          .algorithm = query.algorithm,
          .time_signed = query.time_signed,
          .fudge = query.fudge,
          .original_id = query.original_id,
          .error = Rcode::kBadKey};
}

}  // namespace

Result<> Authority::add(Zone zone) {
  for (const Zone& other : zones_) {
    if (other.apex() == zone.apex())
      return fail(ErrorCode::kConflict, "the DNS zone {} is given twice", zone.apex().to_string());
  }
  zones_.push_back(std::move(zone));
  return {};
}

Zone* Authority::find(const Name& name) {
  Zone* closest = nullptr;
  for (Zone& zone : zones_) {
    const bool is_closer = closest == nullptr || closest->apex().label_count() < zone.apex().label_count();
    if (is_closer && name.is_within(zone.apex())) closest = &zone;
  }
  return closest;
}

std::optional<Bytes> Authority::answer(ByteView query, Transport transport) {
  const auto header = decode_header(query);
  // An answer to an answer could go to and fro for ever.
  if (!header || header->is_response) {
    ++counters_.ignored;
    return std::nullopt;
  }
  if (header->opcode != Opcode::kQuery) {
    ++counters_.not_implemented;
    return bare_response(*header, Rcode::kNotImplemented);
  }
  const auto message = decode(query);
  if (!message || message->questions.size() != 1) {  // RFC 9619
    ++counters_.format_error;
    return bare_response(*header, Rcode::kFormatError);
  }
  return answer_query(*message, transport);
}

std::optional<Bytes> Authority::truncated(ByteView query) {
  const auto message = decode(query);
  if (!message || message->header.is_response || message->questions.size() != 1) return std::nullopt;
  Message response = response_to(*message);
  response.header.is_truncated = true;
  return encode(response, kMinUdpSize);
}

Bytes Authority::answer_query(const Message& query, Transport transport) {
  Message response = response_to(query);
  fill(query, response);
  count(response);
  return encode(response, transport == Transport::kUdp ? udp_limit(query) : kMaxMessageSize);
}

void Authority::fill(const Message& query, Message& response) {
  const Question& question = query.questions.front();
  Header& header = response.header;
  if (query.edns && query.edns->version != 0) {
    header.rcode = Rcode::kBadVersion;
    return;
  }
  if (query.tsig) {
    header.rcode = Rcode::kNotAuthoritative;
    response.tsig = unknown_key(*query.tsig);
    return;
  }
  const Zone* zone = find(question.name);
  if (zone == nullptr || question.question_class != Class::kInternet || is_meta(question.type)) {
    header.rcode = Rcode::kRefused;
    return;
  }
  header.is_authoritative = true;
  zone->answer(question, response);
}

void Authority::count(const Message& response) {
  switch (response.header.rcode) {
    case Rcode::kNoError:
      ++(response.answers.empty() ? counters_.empty : counters_.answered);
      return;
    case Rcode::kNameError:
      ++counters_.no_such_name;
      return;
    case Rcode::kBadVersion:
      ++counters_.bad_version;
      return;
    case Rcode::kNotAuthoritative:
      ++counters_.unknown_key;
      return;
    default:
      ++counters_.refused;
  }
}

}  // namespace culvert::dns
