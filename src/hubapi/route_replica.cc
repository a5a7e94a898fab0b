#include "hubapi/route_replica.h"

#include <utility>

namespace culvert::hubapi {
namespace {

// Lines come one by one: an announcement must not reserve what never comes.
constexpr uint64_t kMaxRoutes = 10'000'000;

}  // namespace

Result<RouteReplica::Event> RouteReplica::take(std::string_view line) {
  if (line.size() > kMaxRouteLine)
    return fail(ErrorCode::kInvalid, "a line of the routes is longer than {} bytes", kMaxRouteLine);
  if (batch_ && batch_->missing > 0) {
    auto taken = take_route(line);
    if (!taken) return std::unexpected(taken.error());
    return Event();
  }
  auto decoded = decode_stream_line(line);
  if (!decoded) return std::unexpected(decoded.error());
  if (!*decoded) return Event();
  if (const auto* seal = std::get_if<Seal>(&**decoded)) return close_batch(*seal);
  if (batch_) return fail(ErrorCode::kInvalid, "a batch of routes has no seal");
  if (const auto* head = std::get_if<SnapshotHead>(&**decoded)) {
    if (head->routes > kMaxRoutes) return fail(ErrorCode::kInvalid, "there are too many routes");
    batch_ = Batch{.is_snapshot = true, .missing = head->routes, .delta = {0, 0, {}, {}}};
  } else if (auto* changes = std::get_if<DeltaHead>(&**decoded)) {
    if (!seal_) return fail(ErrorCode::kInvalid, "a change of routes comes before the routes");
    batch_ =
        Batch{.is_snapshot = false, .missing = changes->routes, .delta = {routes_->version(), 0, {}, {}}};
    for (std::string& id : changes->removals) {
      auto match = route::Match::parse(id);
      if (!match) return fail(ErrorCode::kInvalid, "a removed route: {}", match.error().message);
      batch_->delta.removals.emplace_back(*match);
    }
  } else if (const auto* declare = std::get_if<DeclareAgain>(&**decoded)) {
    return Event(*declare);
  }
  return Event();
}

std::optional<HeldRoutes> RouteReplica::held() const {
  if (!seal_) return std::nullopt;
  return HeldRoutes{seal_->at, seal_->digest};
}

Result<> RouteReplica::take_route(std::string_view line) {
  auto route = decode_route(line);
  if (!route) return std::unexpected(route.error());
  const auto [place, is_new] = batch_->hashes.emplace(route->id().text(), sha256(as_bytes(line)));
  if (!is_new) return fail(ErrorCode::kInvalid, "the route {} is there twice", place->first);
  batch_->delta.upserts.push_back(std::move(*route));
  --batch_->missing;
  return {};
}

Result<RouteReplica::Event> RouteReplica::close_batch(const Seal& seal) {
  if (!seal.is_signed_by(hub_key_)) {
    return fail(ErrorCode::kUnauthorized, "the routes are not signed by the hub key {}",
                hub_key_.short_text());
  }
  if (batch_) {
    Batch batch = std::move(*std::exchange(batch_, std::nullopt));
    return batch.is_snapshot ? replace(std::move(batch), seal) : change(std::move(batch), seal);
  }
  if (!seal_) return fail(ErrorCode::kInvalid, "a seal comes before the routes");
  return change({.is_snapshot = false, .missing = 0, .delta = {routes_->version(), 0, {}, {}}}, seal);
}

Result<> RouteReplica::check(const Seal& seal, const RouteDigest& digest, size_t routes) {
  if (digest.value() == seal.digest && routes == seal.routes) return {};
  return fail(ErrorCode::kConflict, "the routes are not those of the hub's version {}", seal.at.version);
}

Result<RouteReplica::Event> RouteReplica::replace(Batch batch, const Seal& seal) {
  RouteDigest digest;
  for (const auto& [id, hash] : batch.hashes) digest.add(hash);
  auto same = check(seal, digest, batch.hashes.size());
  if (!same) return std::unexpected(same.error());
  routes_ = route::Snapshot::of(std::move(batch.delta.upserts), seal.at.version);
  hashes_ = std::move(batch.hashes);
  digest_ = digest;
  seal_ = seal;
  return Event(Replaced{});
}

Result<RouteReplica::Event> RouteReplica::change(Batch batch, const Seal& seal) {
  RouteDigest digest = digest_;
  size_t count = hashes_.size();
  const auto forget = [&](const std::string& id) {
    const auto old = hashes_.find(id);
    if (old == hashes_.end()) return;
    digest.remove(old->second);
    --count;
  };
  for (const route::RouteId& id : batch.delta.removals) {
    if (batch.hashes.contains(id.text()))
      return fail(ErrorCode::kInvalid, "the route {} is both changed and removed", id.text());
    forget(id.text());
  }
  for (const auto& [id, hash] : batch.hashes) {
    forget(id);
    digest.add(hash);
    ++count;
  }
  auto same = check(seal, digest, count);
  if (!same) return std::unexpected(same.error());
  batch.delta.to = seal.at.version;
  auto next = routes_->apply(batch.delta);
  if (!next) return std::unexpected(next.error());
  routes_ = std::move(*next);
  for (const route::RouteId& id : batch.delta.removals) hashes_.erase(id.text());
  for (auto& [id, hash] : batch.hashes) hashes_.insert_or_assign(id, hash);
  digest_ = digest;
  seal_ = seal;
  return Event(std::move(batch.delta));
}

}  // namespace culvert::hubapi
