#pragma once
#include <cstddef>
#include <cstdint>
#include <list>
#include <utility>

namespace culvert::quic {

class Connection;

// Memory for what an endpoint sends: stream data that was written and that the peers have not acknowledged.
// All connections share it, and it never exceeds the cap. A connection's share has two parts: its window,
// which is what the core may keep, and its pending bytes, which the core did not take.
//
// Each part of a share grows to a quarter of what is free then, so a few connections whose peers read or
// acknowledge nothing leave room for the next. Many do not: then the engine evicts from those that have more
// than fair(). Sans-I/O; single-threaded.
class SendBudget {
 public:
  // Windows are multiples of this.
  static constexpr uint64_t kStep = 4 * 1024;
  static constexpr uint64_t kPart = 4;
  // What one write() is offered: a part of what the connection may still add, usually at least and at most.
  static constexpr uint64_t kStreams = 64;
  static constexpr uint64_t kUsualRoom = 4 * 1024;
  static constexpr uint64_t kMostRoom = 64 * 1024;
  // Less than this is offered as nothing: it would make tiny packets.
  static constexpr uint64_t kLeastRoom = 512;

  // One connection's. It must be released before it is destroyed.
  struct Share {
    explicit Share(Connection* connection) : owner(connection) {}
    Share(const Share&) = delete;
    uint64_t total() const { return window + pending; }

    Connection* owner;
    uint64_t window = 0;
    uint64_t pending = 0;
    std::list<Share*>::iterator place;  // in by_age_, while it has a window
  };

  explicit SendBudget(uint64_t cap) : cap_(cap), free_(cap) {}
  SendBudget(const SendBudget&) = delete;

  uint64_t used() const { return cap_ - free_; }
  // What every share could have at the same time, with as much left for further ones.
  uint64_t fair() const { return cap_ / 2 / (users_ + 1); }

  // Makes room for `wanted` bytes beyond the window, or for less; returns by how much the window grew.
  uint64_t grow(Share& share, uint64_t wanted, uint64_t max_window);
  bool can_grow(const Share& share) const { return left_for(share.window) >= kStep; }
  // The core keeps no more than `window`, which is less than before.
  void shrink(Share& share, uint64_t window);
  // What a stream may write now. `max_pending`: of the connection.
  size_t room(const Share& share, uint64_t max_pending) const;
  void add_pending(Share& share, uint64_t bytes);
  void remove_pending(Share& share, uint64_t bytes);
  void release(Share& share);

  // A window could not grow as wanted since the last call: windows that are not used should be given back.
  bool take_shortage() { return std::exchange(is_short_, false); }
  // The share with a window that this call, or its growth, returned least lately; nullptr: none.
  Share* next_to_shrink();

 private:
  // By how much a part of a share may grow, so that it is no more than a quarter of what is free after that.
  uint64_t left_for(uint64_t part) const {
    return free_ > kPart * part ? (free_ - kPart * part) / (kPart + 1) : 0;
  }
  void take(Share& share, uint64_t bytes);
  void give_back(Share& share, uint64_t bytes);

  const uint64_t cap_;
  uint64_t free_;
  size_t users_ = 0;  // shares that are not empty
  bool is_short_ = false;
  std::list<Share*> by_age_;
};

}  // namespace culvert::quic
