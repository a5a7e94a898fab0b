#pragma once
#include <functional>
#include <memory>
#include <mutex>
#include <vector>

#include "base/descriptor.h"
#include "net/datagram_relay.h"
#include "net/handed_socket.h"

namespace culvert::net {

class EventLoop;

// A socket that others send to, of one loop, as HandOverPlatform sees it. On that loop.
class Shareable {
 public:
  virtual ~Shareable() = default;
  // Nothing is read from it until resume(). What is sent goes on.
  virtual void pause() = 0;
  virtual void resume() = 0;
  // Of a UDP socket with connections, also while it is paused: their datagrams come from here.
  virtual void read_feed(Descriptor feed) = 0;
  // The process of this generation has ended: its datagrams are answered here.
  virtual void forget(uint8_t generation) = 0;
};

// The sockets of a process that others send to, and those that the process before it gave. Thread-safe.
class SharedSockets : public std::enable_shared_from_this<SharedSockets> {
 public:
  // What a socket keeps as long as its descriptor is open.
  class Registration {
   public:
    Registration() = default;
    Registration(std::shared_ptr<SharedSockets> sockets, uint64_t id)
        : sockets_(std::move(sockets)), id_(id) {}
    Registration(Registration&&) = default;
    Registration& operator=(Registration&& other) noexcept {
      reset();
      sockets_ = std::move(other.sockets_);
      id_ = other.id_;
      return *this;
    }
    ~Registration() { reset(); }
    // Before the descriptor is closed.
    void reset();

   private:
    std::shared_ptr<SharedSockets> sockets_;
    uint64_t id_ = 0;
  };

  using Relays = std::vector<std::shared_ptr<DatagramRelay>>;
  struct Claimed {
    Descriptor socket;
    Relays relays;
  };

  void give(std::vector<HandedSocket> sockets);
  // The first that was given with this address; without a descriptor: there is none.
  Claimed claim(SocketKind kind, const SocketAddr& address);
  size_t drop_unclaimed();

  struct Entry {
    SocketKind kind;
    SocketAddr address;
    int fd;
    EventLoop* loop;
    std::weak_ptr<Shareable> socket;
    bool has_connections = false;
    std::vector<std::weak_ptr<DatagramRelay>> relays = {};
  };
  Registration add(Entry entry);

  // As HandOverPlatform.
  void pause(const std::function<void()>& done);
  void resume();
  void forget(uint8_t generation);
  Result<std::vector<HandedSocket>> hand_over(uint8_t generation);
  const RelayCounters& relay_counters() const { return relay_counters_; }

 private:
  struct Listed {
    uint64_t id;
    Entry entry;
  };

  void remove(uint64_t id);

  RelayCounters relay_counters_;
  std::mutex mutex_;                 // guards what follows
  std::vector<HandedSocket> given_;  // in the order in which they were bound
  std::vector<Listed> entries_;      // likewise
  uint64_t last_id_ = 0;
};

}  // namespace culvert::net
