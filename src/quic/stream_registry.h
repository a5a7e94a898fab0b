#pragma once
#include <memory>
#include <unordered_map>
#include <unordered_set>
#include <vector>

#include "quic/stream.h"

namespace culvert::quic {

// The streams of one connection, and which of them have something to tell their observers.
class StreamRegistry {
 public:
  std::shared_ptr<Stream> add(StreamSet* set, StreamId id);
  // nullptr: the core has forgotten it.
  std::shared_ptr<Stream> find(StreamId id) const;
  // May destroy the stream.
  void forget_if_done(Stream& stream);
  // The object is being destroyed.
  void forget(Stream& stream) { objects_.erase(&stream); }
  // Every object that points to the connection, also those that the core has forgotten.
  const std::unordered_set<Stream*>& objects() const { return objects_; }

  void mark_readable(Stream& stream);
  void mark_writable(Stream& stream);
  bool has_notifications() const { return !notifications_.empty(); }
  void dispatch();

  // The connection is over: gives up all streams.
  std::vector<std::shared_ptr<Stream>> take_objects();
  void clear() { streams_.clear(); }

 private:
  void list(Stream& stream);

  std::unordered_map<StreamId, std::shared_ptr<Stream>> streams_;  // that the core knows
  std::unordered_set<Stream*> objects_;
  std::vector<std::shared_ptr<Stream>> notifications_;
};

}  // namespace culvert::quic
