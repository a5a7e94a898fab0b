#pragma once
#include <cstdint>
#include <optional>
#include <vector>

#include "base/bytes.h"
#include "base/result.h"
#include "dns/record.h"

// The codec of DNS messages (RFC 1035, 4) with EDNS (RFC 6891) and TSIG (RFC 8945). It does no I/O.
namespace culvert::dns {

inline constexpr size_t kHeaderSize = 12;
inline constexpr size_t kMaxMessageSize = 65535;
// What a peer without EDNS takes over UDP (RFC 1035, 2.3.4).
inline constexpr size_t kMinUdpSize = 512;

// What an answer over UDP has at most, whatever the peer takes: it fits every path without fragments, which
// resolvers may not get (RFC 9715), and multiplies what a forged sender may direct at a victim by little.
inline constexpr size_t kMaxUdpSize = 1232;

enum class Opcode : uint8_t { kQuery = 0, kUpdate = 5 };

// RFC 1035, 4.1.1; RFC 2136, 2.2; from 16 on RFC 6891 and, of the TSIG record's own field, RFC 8945.
enum class Rcode : uint16_t {
  kNoError = 0,
  kFormatError = 1,
  kServerFailure = 2,
  kNameError = 3,
  kNotImplemented = 4,
  kRefused = 5,
  kNameExists = 6,
  kSetExists = 7,
  kSetMissing = 8,
  kNotAuthoritative = 9,
  kNotInZone = 10,
  kBadVersion = 16,
  kBadSignature = 16,
  kBadKey = 17,
  kBadTime = 18,
  kBadTruncation = 22,
};
// "NXDOMAIN"; a number for those without a name. 16 is BADVERS; BADSIG is the caller's to know.
std::string to_string(Rcode code);

struct Header {
  uint16_t id = 0;
  bool is_response = false;
  Opcode opcode = Opcode::kQuery;
  bool is_authoritative = false;
  bool is_truncated = false;
  bool recursion_desired = false;
  bool recursion_available = false;
  bool authentic_data = false;     // RFC 4035, 3.1.6
  bool checking_disabled = false;  // RFC 4035, 3.2.2
  Rcode rcode = Rcode::kNoError;   // above 15 in messages with EDNS only
  bool operator==(const Header&) const = default;
};

struct Question {
  Name name;
  Type type = Type::kA;
  Class question_class = Class::kInternet;
  bool operator==(const Question&) const = default;
};

// The OPT record (RFC 6891, 6.1.2), without the upper bits of the response code.
struct Edns {
  struct Option {
    uint16_t code;
    Bytes data;
    bool operator==(const Option&) const = default;
  };

  uint16_t udp_size = kMinUdpSize;  // what the sender takes over UDP
  uint8_t version = 0;
  bool dnssec_ok = false;
  std::vector<Option> options = {};
  bool operator==(const Edns&) const = default;
};

// The TSIG record (RFC 8945, 4.2).
struct Tsig {
  Name key;
  Name algorithm;
  uint64_t time_signed = 0;  // seconds since 1970, 48 bits
  uint16_t fudge = 0;        // seconds
  Bytes mac = {};
  uint16_t original_id = 0;
  Rcode error = Rcode::kNoError;
  Bytes other = {};
  bool operator==(const Tsig&) const = default;
};

// In an update the sections are called zone, prerequisite, update and additional (RFC 2136, 2).
struct Message {
  Header header;
  std::vector<Question> questions = {};
  std::vector<Record> answers = {};
  std::vector<Record> authority = {};
  std::vector<Record> additional = {};  // without OPT and TSIG
  std::optional<Edns> edns = {};
  std::optional<Tsig> tsig = {};
  bool operator==(const Message&) const = default;
};

// nullopt: fewer bytes than a header has. The response code is what the header has of it.
std::optional<Header> decode_header(ByteView bytes);
// A complete message. kInvalid says what is malformed.
Result<Message> decode(ByteView bytes);
// Where the TSIG record of a message begins that decode() takes; nullopt: it has none.
std::optional<size_t> find_tsig(ByteView bytes);

// At most `max_size` bytes, at least kMinUdpSize. Additional records are left out where they do not fit. If
// the answer does not fit, the message has the question alone and the TC bit: the query has to be repeated
// over TCP.
Bytes encode(const Message& message, size_t max_size = kMaxMessageSize);

}  // namespace culvert::dns
