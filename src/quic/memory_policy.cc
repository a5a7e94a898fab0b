#include "quic/memory_policy.h"

#include <algorithm>
#include <tuple>

namespace culvert::quic {
namespace {

// Connections that are looked at in a turn: the others get theirs.
constexpr int kWindowsPerTurn = 8;
constexpr size_t kStarvedPerTurn = 16;
// A stream whose peer took nothing for so long stands still; a peer that acknowledges nothing for so long is
// gone, or means harm. Several round trips of any path.
constexpr Duration kStandstill = std::chrono::seconds(1);
constexpr Duration kUnanswered = std::chrono::seconds(10);

}  // namespace

void MemoryPolicy::relieve_receiving(const Connections& connections) {
  while (memory_.received > memory_.max_received) {
    auto worst = std::ranges::max_element(connections, {}, [](const auto& entry) {
      const uint64_t buffered = entry.first->streams().reading().buffered();
      return std::tuple(buffered > 0 && !entry.first->is_admitted(), buffered);
    });
    if (worst == connections.end() ||
        !worst->first->streams().reading().evict_stalled(counters_.evicted_endpoint_full))
      return;
  }
}

void MemoryPolicy::relieve_sending(const Connections& connections, TimePoint now) {
  SendBudget& budget = memory_.sending;
  if (budget.take_shortage()) {
    for (int i = 0; i < kWindowsPerTurn; ++i) {
      SendBudget::Share* share = budget.next_to_shrink();
      if (share == nullptr) break;
      share->owner->streams().writing().give_back_unused();
    }
  }
  for (size_t i = std::min(kStarvedPerTurn, starved_.size()); i > 0; --i) {
    const std::shared_ptr<Connection> connection = std::move(starved_.front());
    starved_.pop_front();
    StreamWriting& writing = connection->streams().writing();
    if (connection->state() == Connection::State::kOpen && !writing.finds_memory() &&
        writing.memory() < budget.fair())
      evict_sender(connections, now);
    if (connection->state() != Connection::State::kOpen || writing.finds_memory()) {
      writing.on_memory();
    } else {
      starved_.push_back(connection);
    }
  }
}

void MemoryPolicy::evict_sender(const Connections& connections, TimePoint now) {
  const uint64_t fair = memory_.sending.fair();
  Connection* worst = nullptr;
  auto badness = [](const Connection& connection) {
    return std::tuple(!connection.is_admitted(), connection.streams().writing().memory());
  };
  for (const auto& [connection, owner] : connections) {
    const StreamWriting& writing = connection->streams().writing();
    const bool stands_still = writing.longest_wait() <= now - kStandstill;
    const bool is_gone = connection->liveness().is_unanswered(now - kUnanswered);
    if (writing.memory() <= fair || connection->state() != Connection::State::kOpen ||
        !(stands_still || is_gone))
      continue;
    if (worst == nullptr || badness(*worst) < badness(*connection)) worst = connection;
  }
  if (worst == nullptr) return;
  StreamWriting& writing = worst->streams().writing();
  if (worst->liveness().is_unanswered(now - kUnanswered)) {
    ++counters_.evicted_connections;
    worst->abandon("its peer acknowledges nothing, and the memory is needed for others");
  } else {
    ++counters_.evicted_senders;
    writing.evict_longest_waiting();
  }
}

}  // namespace culvert::quic
