#pragma once
#include <list>
#include <optional>

#include "dns/counters.h"
#include "dns/message.h"
#include "dns/zone.h"

namespace culvert::dns {

// Answers the queries for a set of zones. It follows no alias and asks nobody else. It does no I/O.
class Authority {
 public:
  enum class Transport : uint8_t { kUdp, kTcp };

  Authority() = default;
  Authority(const Authority&) = delete;
  Authority& operator=(const Authority&) = delete;

  // kConflict: the zone is there already.
  Result<> add(Zone zone);
  // The closest one that has the name; nullptr: none has it.
  Zone* find(const Name& name);
  const Zone* find(const Name& name) const { return const_cast<Authority*>(this)->find(name); }

  // The response to one message; nullopt: it gets none, because it is not a query.
  std::optional<Bytes> answer(ByteView query, Transport transport);
  // A response that only tells to use TCP; nullopt: this is not a complete query.
  static std::optional<Bytes> truncated(ByteView query);

  const AnswerCounters& counters() const { return counters_; }

 private:
  Bytes answer_query(const Message& query, Transport transport);
  // Sets the response code and the sections.
  void fill(const Message& query, Message& response);
  void count(const Message& response);

  std::list<Zone> zones_;
  AnswerCounters counters_;
};

}  // namespace culvert::dns
