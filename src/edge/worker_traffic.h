#pragma once
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <list>
#include <map>
#include <mutex>
#include <optional>
#include <utility>
#include <vector>

#include "base/clock.h"
#include "route/route.h"
#include "route/snapshot.h"
#include "route/traffic.h"
#include "tunnel/moved_bytes.h"

namespace culvert::edge {

// What one worker carries now and has carried, by route, tenant and target. Only the worker's thread changes
// it: it looks entries up without the mutex and takes that to add and to remove one. Any thread may read.
//
// An entry that nobody has open is forgotten kKept after its route or its target is gone, and the one that is
// so for longest as soon as there are kMost. Its numbers go on as those of the route, or of the tenant, or of
// nobody (route::TrafficOwner), so that sums never go back.
class WorkerTraffic {
 public:
  // 5 MiB of each worker. With more routes and agents than that in use at a time, the rest is nobody's.
  static constexpr size_t kMost = 16'384;
  // An agent that is started again, or a lease that ends for a while, does not begin at zero.
  static constexpr Duration kKept = std::chrono::minutes(10);

 private:
  // Written by one thread.
  class Count {
   public:
    void add(uint64_t more) { value_.store(get() + more, std::memory_order_relaxed); }
    void take_one() { value_.store(get() - 1, std::memory_order_relaxed); }
    uint64_t get() const { return value_.load(std::memory_order_relaxed); }

   private:
    std::atomic<uint64_t> value_{0};
  };
  // On a cache line of its own: those of other workers are written all the time.
  struct alignas(64) Entry {
    tunnel::MovedBytes moved;
    Count open, begun, refused;
    // Of the worker: since when nobody has it open, and where it is in resting_.
    TimePoint rests_since{};
    std::optional<std::list<std::pair<const route::TrafficOwner, Entry>*>::iterator> resting;
  };
  using Entries = std::map<route::TrafficOwner, Entry>;
  using Place = Entries::value_type;

 public:
  explicit WorkerTraffic(size_t most = kMost);
  WorkerTraffic(const WorkerTraffic&) = delete;

  // Counts a connection or a flow as open for as long as it lives, on the worker's thread.
  class Use {
   public:
    Use() = default;
    Use(Use&& other) noexcept
        : owner_(std::exchange(other.owner_, nullptr)), place_(std::exchange(other.place_, nullptr)) {}
    Use& operator=(Use&& other) noexcept {
      std::swap(owner_, other.owner_);
      std::swap(place_, other.place_);
      return *this;
    }
    ~Use() {
      if (owner_ != nullptr) owner_->end(*place_);
    }
    // For its pump; lives as long as the use.
    tunnel::MovedBytes& moved() const { return place_->second.moved; }

   private:
    friend class WorkerTraffic;
    Use(WorkerTraffic* owner, Place* place) : owner_(owner), place_(place) {}
    WorkerTraffic* owner_ = nullptr;
    Place* place_ = nullptr;
  };

  Use begin(const route::Route& route, const route::Target& target, TimePoint now);
  // A connection to this route that nobody served.
  void refused(const route::RouteId& route, const PublicKey& tenant, TimePoint now);
  // Looks at some of the entries that rest, the oldest first; every few seconds.
  void forget_gone(const route::Snapshot& routes, TimePoint now);

  // From any thread: appends what there is.
  void read(std::vector<route::TrafficRow>& rows) const;
  size_t size() const;

 private:
  Place& find_or_add(route::TrafficOwner owner, TimePoint now);
  Place& add(route::TrafficOwner owner);
  void end(Place& place);
  void rest(Place& place, TimePoint now);
  void stop_resting(Entry& entry);
  void fold(Place& place, route::TrafficOwner into, TimePoint now);

  const size_t most_;
  mutable std::mutex mutex_;  // for what is in entries_
  Entries entries_;
  std::list<Place*> resting_;  // that nobody has open, the one that is so for longest first
  TimePoint now_{};            // as told last
  Place& others_;              // never removed, and never in resting_
};

}  // namespace culvert::edge
