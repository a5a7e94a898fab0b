#pragma once
#include <cstdint>
#include <map>
#include <mutex>
#include <optional>
#include <string>
#include <unordered_map>

#include "base/socket_addr.h"

namespace culvert::edge {

// Public connections of all workers whose ClientHello or TLS handshake is unfinished. Thread-safe; outlives
// the places that it gave.
class Unserved {
 public:
  // A source is an IPv4 address or the /64 of an IPv6 address. At `total` new connections are refused; at
  // `per_source` the oldest connection of the source is evicted for its newest one, so that one source cannot
  // take all places.
  struct Limits {
    size_t total;
    size_t per_source;
  };
  struct Entry {
    unsigned worker;
    uint64_t id;
  };

  // One connection's place; given back when destroyed.
  class Place {
   public:
    Place(Place&& other) noexcept;
    Place& operator=(Place&& other) noexcept;
    ~Place();
    uint64_t id() const { return id_; }
    // The connection lives on another worker from now on.
    void move_to(unsigned worker);
    // A proxy has told whose connection it is: it counts for that source from now on. The oldest other one of
    // that source, if it is full: its worker is to reset it.
    std::optional<Entry> move_to_source(const SocketAddr& client);

   private:
    friend class Unserved;
    Place(Unserved* owner, std::string source, uint64_t id)
        : owner_(owner), source_(std::move(source)), id_(id) {}
    Unserved* owner_;
    std::string source_;
    uint64_t id_;
  };

  struct Admitted {
    std::optional<Place> place;    // nullopt: all places are taken
    std::optional<Entry> dropped;  // lost its place: its worker is to reset it
  };

  explicit Unserved(Limits limits) : limits_(limits) {}
  Unserved(const Unserved&) = delete;

  Admitted admit(const SocketAddr& client, unsigned worker);
  // From a proxy that has still to tell whose connection it is: no source's, among all.
  Admitted admit_from_proxy(unsigned worker);
  Limits limits() const;
  size_t size() const;
  // For what comes; places that were given stay.
  void set_limits(Limits limits);

 private:
  using BySource =
      std::unordered_map<std::string, std::map<uint64_t, unsigned>>;  // workers by id, oldest first

  Admitted admit_locked(std::string source, size_t per_source, unsigned worker);
  // What has to go so that the source has room; locked.
  std::optional<Entry> drop_oldest(const std::string& source, size_t per_source);
  void give_back(const std::string& source, uint64_t id);

  mutable std::mutex mutex_;
  Limits limits_;
  BySource by_source_;
  size_t size_ = 0;
  uint64_t ids_ = 0;
};

}  // namespace culvert::edge
