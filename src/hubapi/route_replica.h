#pragma once
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <variant>

#include "hubapi/route_digest.h"
#include "hubapi/route_stream.h"
#include "route/snapshot.h"

namespace culvert::hubapi {

// A hub's routes as an edge has them: grows line by line, from the hub's stream or from a file, and takes no
// batch whose result is not what the hub signed. Sans-I/O.
class RouteReplica {
 public:
  explicit RouteReplica(const PublicKey& hub_key) : hub_key_(hub_key) {}

  // All routes are others now.
  struct Replaced {};
  // What the last line did; monostate: nothing yet.
  using Event = std::variant<std::monostate, Replaced, route::Delta, DeclareAgain>;

  // The next line, without its end. After an error, which leaves the routes as they were, the stream is of no
  // use: kInvalid, a line is damaged or does not fit here; kUnauthorized, the hub did not sign this;
  // kConflict, the routes became others than those of the hub: only a snapshot helps.
  Result<Event> take(std::string_view line);
  // Forgets a batch that has begun.
  void restart() { batch_.reset(); }
  // False within a batch.
  bool is_at_seal() const { return !batch_; }

  const route::SnapshotPtr& routes() const { return routes_; }
  // nullopt: nothing was ever sealed.
  std::optional<HeldRoutes> held() const;
  const std::optional<Seal>& seal() const { return seal_; }

 private:
  struct Batch {
    bool is_snapshot;
    uint64_t missing;  // routes that are still to come
    route::Delta delta;
    std::unordered_map<std::string, Sha256> hashes = {};  // of its routes, by id
  };

  Result<> take_route(std::string_view line);
  Result<Event> close_batch(const Seal& seal);
  Result<Event> replace(Batch batch, const Seal& seal);
  Result<Event> change(Batch batch, const Seal& seal);
  static Result<> check(const Seal& seal, const RouteDigest& digest, size_t routes);

  const PublicKey hub_key_;
  route::SnapshotPtr routes_ = std::make_shared<const route::Snapshot>();
  std::unordered_map<std::string, Sha256> hashes_;  // by id
  RouteDigest digest_;
  std::optional<Seal> seal_;
  std::optional<Batch> batch_;
};

}  // namespace culvert::hubapi
