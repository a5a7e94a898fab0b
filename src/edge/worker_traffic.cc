#include "edge/worker_traffic.h"

#include <iterator>

namespace culvert::edge {
namespace {

using route::TrafficOwner;

// In one look, of which there is one every few seconds: all within minutes.
constexpr size_t kLooks = 256;

// Where the numbers of an entry belong by these routes; itself: they still have it.
TrafficOwner owner_by(const route::Snapshot& routes, const TrafficOwner& owner) {
  if (owner.route.empty()) return owner;
  const auto match = route::Match::parse(owner.route);
  const route::Route* found = match ? routes.find(route::RouteId(*match)) : nullptr;
  if (found == nullptr || found->tenant != owner.tenant) return {.tenant = owner.tenant};
  if (owner.target && !found->leads_to(*owner.target)) return {.route = owner.route, .tenant = owner.tenant};
  return owner;
}

}  // namespace

WorkerTraffic::WorkerTraffic(size_t most) : most_(most), others_(add({})) {}

WorkerTraffic::Place& WorkerTraffic::add(TrafficOwner owner) {
  std::lock_guard lock(mutex_);
  return *entries_.try_emplace(std::move(owner)).first;
}

WorkerTraffic::Place& WorkerTraffic::find_or_add(TrafficOwner owner, TimePoint now) {
  const auto found = entries_.find(owner);
  if (found != entries_.end()) return *found;
  while (entries_.size() >= most_ && !resting_.empty()) {
    Place& oldest = *resting_.front();
    const bool is_of_route = !oldest.first.route.empty();
    fold(oldest, is_of_route ? TrafficOwner{.tenant = oldest.first.tenant} : TrafficOwner{}, now);
  }
  return entries_.size() >= most_ ? others_ : add(std::move(owner));
}

WorkerTraffic::Use WorkerTraffic::begin(const route::Route& route, const route::Target& target,
                                        TimePoint now) {
  now_ = now;
  Place& place = find_or_add({route.match.text(), route.tenant, target}, now);
  stop_resting(place.second);
  place.second.open.add(1);
  place.second.begun.add(1);
  return Use(this, &place);
}

void WorkerTraffic::refused(const route::RouteId& route, const PublicKey& tenant, TimePoint now) {
  now_ = now;
  Place& place = find_or_add({.route = route.text(), .tenant = tenant}, now);
  place.second.refused.add(1);
  if (place.second.open.get() > 0) return;
  stop_resting(place.second);
  rest(place, now);
}

void WorkerTraffic::end(Place& place) {
  place.second.open.take_one();
  if (place.second.open.get() == 0) rest(place, now_);
}

void WorkerTraffic::rest(Place& place, TimePoint now) {
  if (&place == &others_) return;
  place.second.rests_since = now;
  place.second.resting = resting_.insert(resting_.end(), &place);
}

void WorkerTraffic::stop_resting(Entry& entry) {
  if (entry.resting) resting_.erase(*entry.resting);
  entry.resting.reset();
}

void WorkerTraffic::fold(Place& place, TrafficOwner into, TimePoint now) {
  stop_resting(place.second);
  std::lock_guard lock(mutex_);
  Place& sum = *entries_.try_emplace(std::move(into)).first;
  const tunnel::PumpCounters bytes = place.second.moved.get();
  sum.second.moved.add_to_stream(bytes.to_stream);
  sum.second.moved.add_to_socket(bytes.to_socket);
  sum.second.begun.add(place.second.begun.get());
  sum.second.refused.add(place.second.refused.get());
  if (sum.second.open.get() == 0 && !sum.second.resting) rest(sum, now);
  entries_.erase(entries_.find(place.first));
}

void WorkerTraffic::forget_gone(const route::Snapshot& routes, TimePoint now) {
  now_ = now;
  for (size_t looks = 0; looks < kLooks && !resting_.empty(); ++looks) {
    Place& oldest = *resting_.front();
    if (oldest.second.rests_since + kKept > now) return;
    TrafficOwner owner = owner_by(routes, oldest.first);
    if (owner == oldest.first) {
      stop_resting(oldest.second);
      rest(oldest, now);
    } else {
      fold(oldest, std::move(owner), now);
    }
  }
}

void WorkerTraffic::read(std::vector<route::TrafficRow>& rows) const {
  std::lock_guard lock(mutex_);
  for (const auto& [owner, entry] : entries_) {
    const tunnel::PumpCounters bytes = entry.moved.get();
    const route::Traffic traffic{.open = entry.open.get(),
                                 .begun = entry.begun.get(),
                                 .refused = entry.refused.get(),
                                 .bytes_in = bytes.to_stream,
                                 .bytes_out = bytes.to_socket};
    if (traffic != route::Traffic{}) rows.push_back({owner, traffic});
  }
}

size_t WorkerTraffic::size() const {
  std::lock_guard lock(mutex_);
  return entries_.size();
}

}  // namespace culvert::edge
