#pragma once
#include <cstdint>
#include <list>
#include <optional>
#include <unordered_map>
#include <utility>

#include "base/check.h"
#include "base/clock.h"

namespace culvert::tunnel {

enum class FlowDirection : uint8_t { kToOrigin, kToClient };

// Flows of UDP datagrams by their number, in the order in which they were used. Sans-I/O; unbounded by
// itself: its owner evicts before it adds. A flow is established once it was answered and its client has sent
// a second datagram, which shows that the client's address is not spoofed: others are evicted first.
template <class Flow>
class FlowTable {
 public:
  struct Entry {
    uint64_t id;
    TimePoint used;
    uint64_t to_origin = 0;  // datagrams
    uint64_t to_client = 0;
    Flow flow;

    bool is_established() const { return to_origin > 1 && to_client > 0; }
  };

  size_t size() const { return entries_.size(); }
  bool empty() const { return entries_.empty(); }
  // nullptr: there is none. Valid until the entry is taken.
  Entry* find(uint64_t id) {
    const auto found = entries_.find(id);
    return found == entries_.end() ? nullptr : &*found->second;
  }
  // The id is new.
  Entry& add(uint64_t id, Flow flow, TimePoint now) {
    fresh_.push_back({.id = id, .used = now, .flow = std::move(flow)});
    const bool is_new = entries_.emplace(id, std::prev(fresh_.end())).second;
    CHECK(is_new);
    return fresh_.back();
  }
  // A datagram of it went in this direction.
  void use(Entry& entry, FlowDirection direction, TimePoint now) {
    List& from = list_of(entry);
    ++(direction == FlowDirection::kToOrigin ? entry.to_origin : entry.to_client);
    entry.used = now;
    List& to = list_of(entry);
    to.splice(to.end(), from, entries_.at(entry.id));
  }
  std::optional<Entry> take(uint64_t id) {
    const auto found = entries_.find(id);
    if (found == entries_.end()) return std::nullopt;
    Entry entry = std::move(*found->second);
    list_of(entry).erase(found->second);
    entries_.erase(found);
    return entry;
  }
  // The least recently used of those that are not established, or else of those that are; nullopt: it is
  // empty.
  std::optional<Entry> take_victim() {
    if (!fresh_.empty()) return take(fresh_.front().id);
    if (!established_.empty()) return take(established_.front().id);
    return std::nullopt;
  }
  // One that was not used since `then`; nullopt: there is none.
  std::optional<Entry> take_unused(TimePoint then) {
    for (List* list : {&fresh_, &established_}) {
      if (!list->empty() && list->front().used <= then) return take(list->front().id);
    }
    return std::nullopt;
  }
  std::optional<Entry> take_any() { return take_victim(); }

 private:
  using List = std::list<Entry>;  // by `used`, the earliest first
  List& list_of(const Entry& entry) { return entry.is_established() ? established_ : fresh_; }

  List fresh_;
  List established_;
  std::unordered_map<uint64_t, typename List::iterator> entries_;
};

}  // namespace culvert::tunnel
