#include <algorithm>
#include <array>

#include "dns/message.h"

namespace culvert::dns {
namespace {

constexpr uint16_t kDnssecOk = 0x8000;  // in the TTL of OPT (RFC 3225, 3)

std::unexpected<Error> malformed(std::string_view what) {
  return fail(ErrorCode::kInvalid, "malformed DNS message: {}", what);
}

// A record whose owner, type, class, TTL and length have been read.
struct RawRecord {
  Name name;
  uint16_t type, record_class;
  uint32_t ttl;
  size_t start, end;  // of RDATA
};

class Decoder {
 public:
  explicit Decoder(ByteView bytes) : bytes_(bytes) {}

  Result<Message> run();
  std::optional<size_t> tsig_offset() const { return tsig_offset_; }

 private:
  // RFC 1035, 4.1.2.
  Result<> read_questions(size_t count);
  Result<> read_section(size_t count, std::vector<Record>& into);
  Result<> read_additional(size_t count);
  std::optional<RawRecord> read_raw();
  Result<Record> to_record(RawRecord raw);
  std::optional<Data> read_data(const RawRecord& raw);
  Result<> read_edns(const RawRecord& raw);
  Result<> read_tsig(const RawRecord& raw);

  std::optional<uint16_t> u16() {
    if (bytes_.size() - at_ < 2) return std::nullopt;
    at_ += 2;
    return static_cast<uint16_t>(bytes_[at_ - 2] << 8 | bytes_[at_ - 1]);
  }
  std::optional<uint32_t> u32() {
    ByteReader reader(bytes_.subspan(at_));
    const auto value = reader.u32();
    if (value) at_ += 4;
    return value;
  }

  const ByteView bytes_;
  size_t at_ = 0;
  std::optional<size_t> tsig_offset_;
  Message message_;
};

Result<Message> Decoder::run() {
  const auto header = decode_header(bytes_);
  if (!header) return malformed("fewer than 12 bytes");
  message_.header = *header;
  at_ = 4;
  std::array<uint16_t, 4> counts;
  for (uint16_t& count : counts) count = *u16();
  if (auto read = read_questions(counts[0]); !read) return std::unexpected(read.error());
  if (auto read = read_section(counts[1], message_.answers); !read) return std::unexpected(read.error());
  if (auto read = read_section(counts[2], message_.authority); !read) return std::unexpected(read.error());
  if (auto read = read_additional(counts[3]); !read) return std::unexpected(read.error());
  if (at_ != bytes_.size()) return malformed("bytes behind the last record");
  return std::move(message_);
}

Result<> Decoder::read_questions(size_t count) {
  for (; count > 0; --count) {
    auto name = Name::decode(bytes_, at_);
    if (!name) return malformed("a name in the question");
    const auto type = u16();
    const auto question_class = u16();
    if (!type || !question_class) return malformed("the question ends early");
    message_.questions.push_back(
        {std::move(*name), static_cast<Type>(*type), static_cast<Class>(*question_class)});
  }
  return {};
}

// RFC 1035, 4.1.3.
std::optional<RawRecord> Decoder::read_raw() {
  auto name = Name::decode(bytes_, at_);
  if (!name) return std::nullopt;
  const auto type = u16();
  const auto record_class = u16();
  const auto ttl = u32();
  const auto length = u16();
  if (!length || bytes_.size() - at_ < *length) return std::nullopt;
  const size_t start = at_;
  at_ += *length;
  return RawRecord{std::move(*name), *type, *record_class, *ttl, start, at_};
}

Result<> Decoder::read_section(size_t count, std::vector<Record>& into) {
  for (; count > 0; --count) {
    auto raw = read_raw();
    if (!raw) return malformed("a record ends early or has a wrong name");
    auto record = to_record(std::move(*raw));
    if (!record) return std::unexpected(record.error());
    into.push_back(std::move(*record));
  }
  return {};
}

Result<> Decoder::read_additional(size_t count) {
  for (; count > 0; --count) {
    const size_t begin = at_;
    auto raw = read_raw();
    if (!raw) return malformed("a record ends early or has a wrong name");
    if (static_cast<Type>(raw->type) == Type::kOpt) {
      if (auto read = read_edns(*raw); !read) return read;
      continue;
    }
    if (static_cast<Type>(raw->type) == Type::kTsig) {
      if (count != 1) return malformed("TSIG is not the last record");
      tsig_offset_ = begin;
      return read_tsig(*raw);
    }
    auto record = to_record(std::move(*raw));
    if (!record) return std::unexpected(record.error());
    message_.additional.push_back(std::move(*record));
  }
  return {};
}

Result<Record> Decoder::to_record(RawRecord raw) {
  const auto type = static_cast<Type>(raw.type);
  if (type == Type::kOpt || type == Type::kTsig)
    return malformed("OPT or TSIG outside of the additional section");
  auto data = read_data(raw);
  if (!data) return malformed(fmt::format("the data of a record of type {}", raw.type));
  return Record{std::move(raw.name), type, static_cast<Class>(raw.record_class), raw.ttl, std::move(*data)};
}

template <size_t kSize>
std::optional<std::array<uint8_t, kSize>> exactly(ByteView rdata) {
  if (rdata.size() != kSize) return std::nullopt;
  std::array<uint8_t, kSize> out;
  std::ranges::copy(rdata, out.begin());
  return out;
}

// RFC 1035, 3.3.14.
std::optional<Data> read_txt(ByteView rdata) {
  Txt txt;
  while (!rdata.empty()) {
    const size_t length = rdata[0];
    if (rdata.size() <= length) return std::nullopt;
    txt.strings.emplace_back(as_text(rdata.subspan(1, length)));
    rdata = rdata.subspan(1 + length);
  }
  if (txt.strings.empty()) return std::nullopt;
  return txt;
}

// RFC 8659, 4.1.
std::optional<Data> read_caa(ByteView rdata) {
  if (rdata.size() < 2) return std::nullopt;
  const size_t length = rdata[1];
  if (length == 0 || rdata.size() - 2 < length) return std::nullopt;
  return Caa{.flags = rdata[0],
             .tag = std::string(as_text(rdata.subspan(2, length))),
             .value = std::string(as_text(rdata.subspan(2 + length)))};
}

// RFC 1035, 3.3.13: what follows the two names.
std::optional<Data> read_soa(Name primary, Name contact, ByteView numbers) {
  ByteReader reader(numbers);
  const auto serial = reader.u32();
  const auto refresh = reader.u32();
  const auto retry = reader.u32();
  const auto expire = reader.u32();
  const auto minimum = reader.u32();
  if (!minimum || !reader.empty()) return std::nullopt;
  return Soa{std::move(primary), std::move(contact), *serial, *refresh, *retry, *expire, *minimum};
}

std::optional<Data> Decoder::read_data(const RawRecord& raw) {
  const ByteView rdata = bytes_.subspan(raw.start, raw.end - raw.start);
  const bool is_plain = static_cast<Class>(raw.record_class) == Class::kInternet;
  if (rdata.empty() && !is_plain) return Opaque{};
  // Names may be compressed, with pointers that lead out of RDATA; they have to end in it.
  const ByteView up_to_end = bytes_.first(raw.end);
  size_t at = raw.start;
  switch (static_cast<Type>(raw.type)) {
    case Type::kA: {
      const auto ip = exactly<4>(rdata);
      return ip ? std::optional<Data>(A{*ip}) : std::nullopt;
    }
    case Type::kAaaa: {
      const auto ip = exactly<16>(rdata);
      return ip ? std::optional<Data>(Aaaa{*ip}) : std::nullopt;
    }
    case Type::kNs:
    case Type::kCname: {
      auto name = Name::decode(up_to_end, at);
      if (!name || at != raw.end) return std::nullopt;
      if (static_cast<Type>(raw.type) == Type::kNs) return Ns{std::move(*name)};
      return Cname{std::move(*name)};
    }
    case Type::kSoa: {
      auto primary = Name::decode(up_to_end, at);
      if (!primary) return std::nullopt;
      auto contact = Name::decode(up_to_end, at);
      if (!contact) return std::nullopt;
      return read_soa(std::move(*primary), std::move(*contact), bytes_.subspan(at, raw.end - at));
    }
    case Type::kTxt:
      return read_txt(rdata);
    case Type::kCaa:
      return read_caa(rdata);
    default:
      return Opaque{to_bytes(rdata)};
  }
}

// RFC 6891, 6.1: class and TTL have meanings of their own.
Result<> Decoder::read_edns(const RawRecord& raw) {
  if (message_.edns) return malformed("two OPT records");
  if (!raw.name.is_root()) return malformed("an OPT record that is not at the root");
  Edns edns;
  edns.udp_size = raw.record_class;
  edns.version = static_cast<uint8_t>(raw.ttl >> 16);
  edns.dnssec_ok = (raw.ttl & kDnssecOk) != 0;
  const auto upper = static_cast<uint16_t>(raw.ttl >> 24 << 4);
  message_.header.rcode = static_cast<Rcode>(upper | static_cast<uint16_t>(message_.header.rcode));
  ByteReader reader(bytes_.subspan(raw.start, raw.end - raw.start));
  while (!reader.empty()) {
    const auto code = reader.u16();
    const auto length = reader.u16();
    const auto data = length ? reader.take(*length) : std::nullopt;
    if (!data) return malformed("an option of EDNS ends early");
    edns.options.push_back({*code, to_bytes(*data)});
  }
  message_.edns = std::move(edns);
  return {};
}

// RFC 8945, 4.2.
Result<> Decoder::read_tsig(const RawRecord& raw) {
  if (static_cast<Class>(raw.record_class) != Class::kAny || raw.ttl != 0)
    return malformed("class or TTL of the TSIG record");
  Tsig tsig;
  tsig.key = raw.name;
  size_t at = raw.start;
  auto algorithm = Name::decode(bytes_.first(raw.end), at);
  if (!algorithm) return malformed("the algorithm of the TSIG record");
  tsig.algorithm = std::move(*algorithm);
  ByteReader reader(bytes_.subspan(at, raw.end - at));
  const auto time_upper = reader.u16();
  const auto time_lower = reader.u32();
  const auto fudge = reader.u16();
  const auto mac_size = reader.u16();
  const auto mac = mac_size ? reader.take(*mac_size) : std::nullopt;
  const auto original_id = reader.u16();
  const auto error = reader.u16();
  const auto other_size = reader.u16();
  const auto other = other_size ? reader.take(*other_size) : std::nullopt;
  if (!mac || !other || !reader.empty()) return malformed("the TSIG record");
  tsig.time_signed = static_cast<uint64_t>(*time_upper) << 32 | *time_lower;
  tsig.fudge = *fudge;
  tsig.mac = to_bytes(*mac);
  tsig.original_id = *original_id;
  tsig.error = static_cast<Rcode>(*error);
  tsig.other = to_bytes(*other);
  message_.tsig = std::move(tsig);
  return {};
}

}  // namespace

// RFC 1035, 4.1.1; bits AD and CD: RFC 4035, 3.1.6 and 3.2.2.
std::optional<Header> decode_header(ByteView bytes) {
  if (bytes.size() < kHeaderSize) return std::nullopt;
  const unsigned flags = static_cast<unsigned>(bytes[2]) << 8 | bytes[3];
  return Header{
      .id = static_cast<uint16_t>(bytes[0] << 8 | bytes[1]),
      .is_response = (flags & 0x8000) != 0,
      .opcode = static_cast<Opcode>(flags >> 11 & 15),
      .is_authoritative = (flags & 0x0400) != 0,
      .is_truncated = (flags & 0x0200) != 0,
      .recursion_desired = (flags & 0x0100) != 0,
      .recursion_available = (flags & 0x0080) != 0,
      .authentic_data = (flags & 0x0020) != 0,
      .checking_disabled = (flags & 0x0010) != 0,
      .rcode = static_cast<Rcode>(flags & 15),
  };
}

Result<Message> decode(ByteView bytes) { return Decoder(bytes).run(); }

std::optional<size_t> find_tsig(ByteView bytes) {
  Decoder decoder(bytes);
  if (!decoder.run()) return std::nullopt;
  return decoder.tsig_offset();
}

}  // namespace culvert::dns
