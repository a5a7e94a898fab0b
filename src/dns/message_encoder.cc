#include <unordered_map>

#include "base/check.h"
#include "dns/message.h"

namespace culvert::dns {
namespace {

constexpr size_t kMaxPointer = 0x3fff;  // 14 bits (RFC 1035, 4.1.4)
constexpr uint16_t kPointer = 0xc000;

template <class... Cases>
struct Overloaded : Cases... {
  using Cases::operator()...;
};

class Encoder {
 public:
  explicit Encoder(const Message& message) : message_(message) {}

  enum class Sections { kAll, kWithoutAdditional, kQuestionOnly, kNone };
  Bytes run(Sections sections);

 private:
  void put_header(Sections sections);
  void put_question(const Question& question);
  void put_record(const Record& record);
  void put_data(const Data& data);
  void put_edns(const Edns& edns);
  void put_tsig(const Tsig& tsig);
  // Compares with their case, so that a name keeps the one that it has.
  void put_name(const Name& name);
  void put_whole_name(const Name& name) { out_.bytes(as_bytes(name.wire())); }
  void put_string(std::string_view text) {
    CHECK(text.size() <= 255);
    out_.u8(static_cast<uint8_t>(text.size()));
    out_.bytes(as_bytes(text));
  }
  void put_count(size_t count) {
    CHECK(count <= 65535);
    out_.u16(static_cast<uint16_t>(count));
  }
  template <class Put>
  void put_with_length(Put put) {
    const size_t at = out_.size();
    out_.u16(0);
    put();
    const size_t length = out_.size() - at - 2;
    CHECK(length <= 65535);
    out_.patch_u16(at, static_cast<uint16_t>(length));
  }

  const Message& message_;
  ByteWriter out_;
  std::unordered_map<std::string, uint16_t> places_;  // of names that are written
};

Bytes Encoder::run(Sections sections) {
  put_header(sections);
  if (sections != Sections::kNone) {
    for (const Question& question : message_.questions) put_question(question);
  }
  if (sections == Sections::kAll || sections == Sections::kWithoutAdditional) {
    for (const Record& record : message_.answers) put_record(record);
    for (const Record& record : message_.authority) put_record(record);
  }
  if (sections == Sections::kAll) {
    for (const Record& record : message_.additional) put_record(record);
  }
  if (message_.edns) put_edns(*message_.edns);
  if (message_.tsig) put_tsig(*message_.tsig);
  return out_.take();
}

void Encoder::put_header(Sections sections) {
  const Header& header = message_.header;
  const auto rcode = static_cast<unsigned>(header.rcode);
  CHECK(rcode <= 15 || message_.edns);
  const bool has_answers = sections == Sections::kAll || sections == Sections::kWithoutAdditional;
  unsigned flags = static_cast<unsigned>(header.opcode) << 11 | (rcode & 15);
  if (header.is_response) flags |= 0x8000;
  if (header.is_authoritative) flags |= 0x0400;
  if (header.is_truncated || !has_answers) flags |= 0x0200;
  if (header.recursion_desired) flags |= 0x0100;
  if (header.recursion_available) flags |= 0x0080;
  if (header.authentic_data) flags |= 0x0020;
  if (header.checking_disabled) flags |= 0x0010;
  out_.u16(header.id);
  out_.u16(static_cast<uint16_t>(flags));
  put_count(sections == Sections::kNone ? 0 : message_.questions.size());
  put_count(has_answers ? message_.answers.size() : 0);
  put_count(has_answers ? message_.authority.size() : 0);
  const size_t additional = sections == Sections::kAll ? message_.additional.size() : 0;
  put_count(additional + (message_.edns ? 1 : 0) + (message_.tsig ? 1 : 0));
}

void Encoder::put_question(const Question& question) {
  put_name(question.name);
  out_.u16(static_cast<uint16_t>(question.type));
  out_.u16(static_cast<uint16_t>(question.question_class));
}

void Encoder::put_record(const Record& record) {
  put_name(record.name);
  out_.u16(static_cast<uint16_t>(record.type));
  out_.u16(static_cast<uint16_t>(record.record_class));
  out_.u32(record.ttl);
  put_with_length([&] { put_data(record.data); });
}

void Encoder::put_data(const Data& data) {
  std::visit(Overloaded{
                 [&](const A& a) { out_.bytes(a.ip); },
                 [&](const Aaaa& a) { out_.bytes(a.ip); },
                 [&](const Ns& ns) { put_name(ns.server); },
                 [&](const Cname& cname) { put_name(cname.target); },
                 [&](const Soa& soa) {
                   put_name(soa.primary);
                   put_name(soa.contact);
                   for (const uint32_t number : {soa.serial, soa.refresh, soa.retry, soa.expire, soa.minimum})
                     out_.u32(number);
                 },
                 [&](const Txt& txt) {
                   for (const std::string& text : txt.strings) put_string(text);
                 },
                 [&](const Caa& caa) {
                   out_.u8(caa.flags);
                   put_string(caa.tag);
                   out_.bytes(as_bytes(caa.value));
                 },
                 [&](const Opaque& opaque) { out_.bytes(opaque.bytes); },
             },
             data);
}

void Encoder::put_edns(const Edns& edns) {
  put_whole_name(Name());
  out_.u16(static_cast<uint16_t>(Type::kOpt));
  out_.u16(edns.udp_size);
  out_.u8(static_cast<uint8_t>(static_cast<unsigned>(message_.header.rcode) >> 4));
  out_.u8(edns.version);
  out_.u16(edns.dnssec_ok ? 0x8000 : 0);
  put_with_length([&] {
    for (const Edns::Option& option : edns.options) {
      out_.u16(option.code);
      put_with_length([&] { out_.bytes(option.data); });
    }
  });
}

// RFC 8945, 4.2: without compression.
void Encoder::put_tsig(const Tsig& tsig) {
  put_whole_name(tsig.key);
  out_.u16(static_cast<uint16_t>(Type::kTsig));
  out_.u16(static_cast<uint16_t>(Class::kAny));
  out_.u32(0);
  put_with_length([&] {
    put_whole_name(tsig.algorithm);
    out_.u16(static_cast<uint16_t>(tsig.time_signed >> 32));
    out_.u32(static_cast<uint32_t>(tsig.time_signed));
    out_.u16(tsig.fudge);
    put_with_length([&] { out_.bytes(tsig.mac); });
    out_.u16(tsig.original_id);
    out_.u16(static_cast<uint16_t>(tsig.error));
    put_with_length([&] { out_.bytes(tsig.other); });
  });
}

void Encoder::put_name(const Name& name) {
  std::string_view rest = name.wire();
  while (rest.size() > 1) {
    const auto known = places_.find(std::string(rest));
    if (known != places_.end()) return out_.u16(kPointer | known->second);
    if (out_.size() <= kMaxPointer) places_.emplace(rest, static_cast<uint16_t>(out_.size()));
    const size_t label = 1u + static_cast<uint8_t>(rest[0]);
    out_.bytes(as_bytes(rest.substr(0, label)));
    rest.remove_prefix(label);
  }
  out_.u8(0);
}

}  // namespace

Bytes encode(const Message& message, size_t max_size) {
  CHECK(max_size >= kMinUdpSize);
  using enum Encoder::Sections;
  for (const auto sections : {kAll, kWithoutAdditional, kQuestionOnly}) {
    Bytes out = Encoder(message).run(sections);
    if (out.size() <= max_size) return out;
  }
  return Encoder(message).run(kNone);
}

std::string to_string(Rcode code) {
  switch (code) {
    case Rcode::kNoError:
      return "NOERROR";
    case Rcode::kFormatError:
      return "FORMERR";
    case Rcode::kServerFailure:
      return "SERVFAIL";
    case Rcode::kNameError:
      return "NXDOMAIN";
    case Rcode::kNotImplemented:
      return "NOTIMP";
    case Rcode::kRefused:
      return "REFUSED";
    case Rcode::kNameExists:
      return "YXDOMAIN";
    case Rcode::kSetExists:
      return "YXRRSET";
    case Rcode::kSetMissing:
      return "NXRRSET";
    case Rcode::kNotAuthoritative:
      return "NOTAUTH";
    case Rcode::kNotInZone:
      return "NOTZONE";
    case Rcode::kBadVersion:
      return "BADVERS";
    case Rcode::kBadKey:
      return "BADKEY";
    case Rcode::kBadTime:
      return "BADTIME";
    case Rcode::kBadTruncation:
      return "BADTRUNC";
  }
  return fmt::format("response code {}", static_cast<unsigned>(code));
}

}  // namespace culvert::dns
