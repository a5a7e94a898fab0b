#pragma once
#include <array>
#include <cstdint>
#include <string>
#include <variant>
#include <vector>

#include "base/bytes.h"
#include "dns/name.h"

namespace culvert::dns {

// RFC 1035, 3.2.2 and 3.2.3; AAAA: RFC 3596; OPT: RFC 6891; TSIG: RFC 8945; CAA: RFC 8659. Others have their
// number only.
enum class Type : uint16_t {
  kA = 1,
  kNs = 2,
  kCname = 5,
  kSoa = 6,
  kHinfo = 13,
  kTxt = 16,
  kAaaa = 28,
  kOpt = 41,
  kTsig = 250,
  kIxfr = 251,
  kAxfr = 252,
  kMailb = 253,
  kMaila = 254,
  kAny = 255,
  kCaa = 257,
};

// RFC 1035, 3.2.4; kNone and kAny have a meaning of their own in updates (RFC 2136, 2.4 and 2.5).
enum class Class : uint16_t { kInternet = 1, kNone = 254, kAny = 255 };

struct A {
  std::array<uint8_t, 4> ip;
  bool operator==(const A&) const = default;
};
struct Aaaa {
  std::array<uint8_t, 16> ip;
  bool operator==(const Aaaa&) const = default;
};
struct Ns {
  Name server;
  bool operator==(const Ns&) const = default;
};
struct Cname {
  Name target;
  bool operator==(const Cname&) const = default;
};
struct Soa {
  Name primary;  // MNAME
  Name contact;  // RNAME
  uint32_t serial = 0;
  uint32_t refresh = 0, retry = 0, expire = 0, minimum = 0;  // seconds
  bool operator==(const Soa&) const = default;
};
struct Txt {
  std::vector<std::string> strings;  // at least one, of at most 255 bytes each
  bool operator==(const Txt&) const = default;
};
struct Caa {
  uint8_t flags = 0;
  std::string tag;  // 1 to 255 bytes
  std::string value;
  bool operator==(const Caa&) const = default;
};
// RDATA of any other type, or none, as deletions of an update have it.
struct Opaque {
  Bytes bytes;
  bool operator==(const Opaque&) const = default;
};

using Data = std::variant<A, Aaaa, Ns, Cname, Soa, Txt, Caa, Opaque>;

struct Record {
  Name name;
  Type type = Type::kA;
  Class record_class = Class::kInternet;
  uint32_t ttl = 0;  // seconds
  Data data;         // of `type`, or Opaque
  bool operator==(const Record&) const = default;
};

}  // namespace culvert::dns
