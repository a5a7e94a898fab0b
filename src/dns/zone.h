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
  std::vector<Record> records = {};
  // Of the SOA record. A change adds one; where a new process begins with the time, serials only rise.
  uint32_t serial = 1;
};

// The records of one zone, and what they answer to a question. TXT values come and go: they are a set at each
// name, since two orders for one name have a value each at the same time (RFC 8555, 8.4). It does no I/O.
class Zone {
 public:
  // An answer with all values of a name fits kMaxUdpSize: 16 values of ACME are 880 bytes.
  static constexpr size_t kMaxValues = 16;
  // Names with values: orders that are under way at the same time.
  static constexpr size_t kMaxNames = 4096;
  static constexpr size_t kMaxValueSize = 255;  // one string of a TXT record
  // Seconds. A value is checked seconds after it is put, and what is cached then is wrong soon after.
  static constexpr uint32_t kValueTtl = 5;
  // Of "there is no such name or record" (RFC 2308, 5): a value that is put must not wait for it.
  static constexpr uint32_t kNegativeTtl = 5;
  static constexpr uint32_t kTtl = 300;  // of NS, and of HINFO that answers ANY

  // kInvalid: there is no name server, or a record that is not of the zone or of another type.
  static Result<Zone> make(ZoneOptions options);

  const Name& apex() const { return options_.apex; }
  uint32_t serial() const { return options_.serial; }

  // The same value twice is one. kInvalid: the name is not in the zone, or the value is empty or longer than
  // kMaxValueSize; kLimit.
  Result<> put(const Name& name, std::string value);
  // One that is not there is removed already.
  void remove(const Name& name, std::string_view value);

  // The answer to a question for a name in the zone and class IN: answers, authority, additional and the
  // response code of `response`.
  void answer(const Question& question, Message& response) const;

 private:
  struct Node {
    std::vector<Record> records;      // of the operator
    std::vector<std::string> values;  // of put()
  };

  explicit Zone(ZoneOptions options) : options_(std::move(options)) {}

  bool has_descendants(const Name& name) const;
  void answer_from(const Node& node, const Question& question, Message& response) const;
  void add_name_servers(const Name& owner, Message& response) const;
  Record soa(const Name& owner) const;

  ZoneOptions options_;
  // In canonical order, so that what is below a name follows it. The apex is always there.
  std::map<Name, Node> nodes_;
  size_t names_with_values_ = 0;
};

}  // namespace culvert::dns
