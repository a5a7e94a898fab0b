#pragma once
#include <atomic>
#include <cstdint>
#include <memory>
#include <optional>
#include <vector>

#include "base/bytes.h"
#include "base/key.h"
#include "route/match.h"
#include "tunnel/udp_frame.h"

namespace culvert::edge {

// Datagrams of one UDP port and one tunnel, on their way between the worker that has the port and the worker
// that has the tunnel.
class UdpBatch {
 public:
  struct Item {
    uint64_t flow;
    std::optional<tunnel::UdpClient> client;
    size_t size;
    bool is_forgotten = false;  // no datagram: the agent does not have the flow
  };

  UdpBatch(const route::PublicPort& its_port, const EndpointId& its_agent, uint64_t its_generation)
      : port(its_port), agent(its_agent), generation(its_generation) {}

  void add(const tunnel::UdpDatagram& datagram) {
    items_.push_back({datagram.flow, datagram.client, datagram.payload.size()});
    data_.insert(data_.end(), datagram.payload.begin(), datagram.payload.end());
  }
  void add_forgotten(uint64_t flow) { items_.push_back({flow, std::nullopt, 0, true}); }
  bool empty() const { return items_.empty(); }
  size_t size() const { return items_.size(); }
  size_t bytes() const { return data_.size() + items_.size() * sizeof(Item); }
  // Each item in order, with its payload.
  template <class F>
  void for_each(F each) const {
    ByteView rest = data_;
    for (const Item& item : items_) {
      each(item, rest.first(item.size));
      rest = rest.subspan(item.size);
    }
  }

  route::PublicPort port;
  EndpointId agent;
  uint64_t generation;  // of the tunnel, as the registry knows it

 private:
  std::vector<Item> items_;
  Bytes data_;
};

// Counts the bytes of batches that one port or channel has on their way to another thread, up to a limit: a
// worker that is behind must not be buried. Thread-safe.
class UdpTransit {
 public:
  // What one batch counts for; given back when destroyed.
  class Part {
   public:
    Part(Part&& other) noexcept = default;
    Part& operator=(Part&&) = delete;
    ~Part() {
      if (total_) total_->fetch_sub(bytes_, std::memory_order_relaxed);
    }

   private:
    friend class UdpTransit;
    using Total = std::shared_ptr<std::atomic<size_t>>;
    Part(Total total, size_t bytes) : total_(std::move(total)), bytes_(bytes) {}
    Total total_;
    size_t bytes_;
  };

  // Some 60 ms of 50,000 datagrams of 1,200 bytes a second.
  static constexpr size_t kMaxBytes = 4 << 20;

  // nullopt: there is too much already.
  std::optional<Part> take(size_t bytes) {
    if (total_->fetch_add(bytes, std::memory_order_relaxed) + bytes <= kMaxBytes) return Part(total_, bytes);
    total_->fetch_sub(bytes, std::memory_order_relaxed);
    return std::nullopt;
  }

 private:
  Part::Total total_ = std::make_shared<std::atomic<size_t>>(0);
};

}  // namespace culvert::edge
