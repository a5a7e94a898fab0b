#pragma once
#include <deque>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>

#include "base/key.h"
#include "hubapi/route_digest.h"
#include "hubapi/route_stream.h"
#include "route/snapshot.h"

namespace culvert::hub {

// The routes as edges of their own are told them: versions that the hub signs, each as the lines of
// hubapi/route_stream.h, made once for all edges. A version costs what it changes. Sans-I/O.
class RoutePublisher {
 public:
  // An edge that is further behind takes a snapshot.
  static constexpr size_t kMaxKept = 4 * 1024 * 1024;  // bytes of lines
  // In one line, so that it stays below hubapi::kMaxRouteLine.
  static constexpr size_t kMaxRemovals = 512;

  using Text = std::shared_ptr<const std::string>;  // lines, each with its end

  // `epoch` is one that no other start of a hub had.
  RoutePublisher(const SecretKey& hub_key, uint64_t epoch);

  // What follows from the changes that were added before. Those of one route are one change.
  void add(const route::Delta& changes);
  bool has_changes() const { return !changes_.empty(); }
  // Makes the next version of what was added, if that changes anything.
  void publish();

  hubapi::RoutesVersion version() const { return seal_.at; }
  const Sha256& digest() const { return seal_.digest; }
  const route::SnapshotPtr& routes() const { return routes_; }
  // The seal of the last version, as a line with its end.
  std::string seal_line() const;
  // What leads to the version behind this one; nullptr: it is the last, or not kept any more.
  Text after(const hubapi::RoutesVersion& version) const;

 private:
  void publish(std::vector<route::RouteId> removals, std::vector<route::Route> upserts);
  // As it is in the digest.
  void put(const route::Route& route, std::string_view text);
  void remove(const std::string& id);

  const SecretKey hub_key_;
  std::map<route::RouteId, std::optional<route::Route>> changes_;  // nullopt: removed
  route::SnapshotPtr routes_;
  std::unordered_map<std::string, Sha256> hashes_;  // by id
  hubapi::RouteDigest digest_;
  hubapi::Seal seal_;
  std::deque<Text> kept_;  // the last one leads to seal_.at
  size_t kept_bytes_ = 0;
};

}  // namespace culvert::hub
