#pragma once
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "dns/message.h"

namespace culvert::dns {

struct ZoneOptions {
  Name apex;
  // At least one. The first is the primary server of the SOA record.
  std::vector<Name> name_servers;
  Name contact;  // a mailbox whose "@" is a dot (RFC 1035, 3.3.13): hostmaster.example.net
  // A, AAAA, CAA and TXT records at the apex or below it, such as the addresses of name servers in the zone.
  // A name that begins with "*." stands for all names below that are not given (RFC 4592).
  std::vector<Record> records = {};
  // Of the SOA record. A change adds one; where a new process begins with the time, serials only rise.
  uint32_t serial = 1;
};

// The records of one zone, and what they answer to a question. TXT values come and go: they are a set at each
// name, since two orders for one name have a value each at the same time (RFC 8555, 8.4). It does no I/O.
class Zone {
 public:
  // An answer with all values of a name fits kMaxUdpSize: 16 values of ACME are 896 bytes.
  static constexpr size_t kMaxValues = 16;
  // Names with values: orders that are under way at the same time.
  static constexpr size_t kMaxNames = 4096;
  // Seconds. A value is checked seconds after it is put, and what is cached then is wrong soon after.
  static constexpr uint32_t kValueTtl = 5;
  // Of "there is no such name or record" (RFC 2308, 5): a value that is put must not wait for it.
  static constexpr uint32_t kNegativeTtl = 5;
  static constexpr uint32_t kTtl = 300;  // of NS, and of HINFO that answers ANY

  // kInvalid: there is no name server, or a record that is not of the zone or of another type.
  static Result<Zone> make(ZoneOptions options);

  const Name& apex() const { return options_.apex; }
  uint32_t serial() const { return options_.serial; }

  // The same value twice is one. kInvalid: the name is not in the zone, or check_txt_value() refuses the
  // value; kLimit.
  Result<> put(const Name& name, std::string value);
  // One that is not there is removed already.
  void remove(const Name& name, std::string_view value);

  // The answer to a question for a name in the zone and class IN: answers, authority, additional and the
  // response code of `response`.
  void answer(const Question& question, Message& response) const;

 private:
  using Records = std::vector<Record>;

  explicit Zone(ZoneOptions options) : options_(std::move(options)) {}

  // The operator's records that answer for a name, also those of a wildcard; nullptr: there are none.
  const Records* find_records(const Name& name) const;
  void add_answers(const Question& question, Message& response) const;
  void add_name_servers(const Name& owner, Message& response) const;
  Record soa(const Name& owner) const;

  ZoneOptions options_;
  // In canonical order, so that what is below a name follows it. Apart from each other: a value below a name
  // must not take a wildcard from it, though RFC 4592 has it so for records of a zone file.
  std::map<Name, Records> records_;                  // of the operator
  std::map<Name, std::vector<std::string>> values_;  // of put()
};

}  // namespace culvert::dns
