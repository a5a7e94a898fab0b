#include "node/predecessors.h"

#include <numeric>
#include <utility>

#include "base/log.h"
#include "hubapi/route_stream.h"

namespace culvert::node {
namespace {

// In JSON within JSON each quote has a backslash, and a message has room for some more.
constexpr size_t kMaxRoutesInMessage = net::kMaxChannelMessage / 3;
// To one process that does not read: all routes of the largest hubs.
constexpr size_t kMostUnsent = 10'000;
constexpr Duration kSendPause = std::chrono::milliseconds(2);

}  // namespace

void Predecessors::add(Draining process) {
  processes_.push_back({std::move(process), 0});
  tasks_.spawn(watch(std::prev(processes_.end())));
  events_.changed();
}

std::vector<hub::FormerProcess> Predecessors::all() const {
  std::vector<hub::FormerProcess> all;
  if (has_left_) return all;
  for (const Process& each : processes_)
    all.push_back({.pid = each.draining.pid, .connections = each.connections});
  return all;
}

uint64_t Predecessors::connections() const {
  return std::accumulate(processes_.begin(), processes_.end(), uint64_t{0},
                         [](uint64_t sum, const Process& each) { return sum + each.connections; });
}

void Predecessors::tell(const route::Delta& changes) {
  if (size() == 0 || changes.empty()) return;
  HandOverRoutes part;
  size_t bytes = 0;
  const auto add = [&](std::vector<std::string>& list, std::string text) {
    if (bytes + text.size() > kMaxRoutesInMessage && bytes > 0) {
      send(encode(std::exchange(part, {})));
      bytes = 0;
    }
    bytes += text.size();
    list.push_back(std::move(text));
  };
  for (const route::RouteId& removed : changes.removals) add(part.removals, removed.text());
  for (const route::Route& changed : changes.upserts) {
    std::string line = hubapi::encode_route(changed);
    // One with so many agents is only known to be another: its clients connect again.
    if (line.size() > kMaxRoutesInMessage) {
      add(part.removals, changed.id().text());
    } else {
      add(part.upserts, std::move(line));
    }
  }
  if (bytes > 0) send(encode(part));
}

void Predecessors::send(const Bytes& message) {
  for (Process& each : processes_) {
    each.unsent.push_back(message);
    if (each.unsent.size() <= kMostUnsent) continue;
    log_error(
        "predecessor_behind", "generation={} pid={} meaning={}", each.draining.generation, each.draining.pid,
        quoted("it does not read changes of the routes; end it with SIGTERM if it still has connections"));
    each.unsent.pop_front();
  }
  if (!std::exchange(is_delivering_, true)) tasks_.spawn(deliver());
}

bool Predecessors::flush(Process& process) {
  while (!process.unsent.empty()) {
    const auto sent = process.draining.channel->send({process.unsent.front(), {}});
    if (!sent && sent.error().code == ErrorCode::kLimit) return true;
    process.unsent.pop_front();
  }
  return false;
}

// A channel holds few messages, and a change of many routes has many.
net::Task<> Predecessors::deliver() {
  while (true) {
    bool is_behind = false;
    for (Process& each : processes_) is_behind |= flush(each);
    if (!is_behind) break;
    co_await net::sleep_for(loop_, kSendPause);
  }
  is_delivering_ = false;
}

void Predecessors::stop() { send(encode(HandOverStop{})); }

Result<> Predecessors::add_to(HandOverReleased& message, std::vector<Descriptor>& descriptors) const {
  for (const Process& each : processes_) {
    auto channel = each.draining.channel->duplicate();
    if (!channel) return std::unexpected(channel.error());
    message.predecessors.push_back({each.draining.generation, each.draining.pid});
    descriptors.push_back(std::move(*channel));
  }
  return {};
}

void Predecessors::leave() {
  has_left_ = true;
  events_.changed();
  for (Process& each : processes_) (void)flush(each);
  for (const Process& each : processes_) each.draining.channel->close();
}

// A message that is not understood changes nothing: the process drains all the same.
net::Task<> Predecessors::watch(std::list<Process>::iterator process) {
  while (true) {
    auto got = co_await process->draining.channel->receive(TimePoint::max());
    if (!got) break;
    auto message = decode_hand_over(got->data);
    if (!message) continue;
    if (const auto* left = std::get_if<HandOverLeft>(&*message)) process->connections = left->connections;
    if (auto* passed = std::get_if<HandOverPassed>(&*message); passed && got->descriptors.size() == 1)
      events_.passed(std::move(*passed), std::move(got->descriptors.front()));
  }
  if (!has_left_)
    log_info("predecessor_ended", "generation={} pid={}", process->draining.generation,
             process->draining.pid);
  const uint8_t generation = process->draining.generation;
  processes_.erase(process);
  if (has_left_) co_return;
  events_.ended(generation);
  events_.changed();
}

}  // namespace culvert::node
