#include "node/hub_door.h"

#include <algorithm>

#include "base/log.h"

namespace culvert::node {
namespace {

constexpr Duration kHandshakeTimeout = std::chrono::seconds(10);

}  // namespace

struct HubDoor::Entry {
  std::string source;
  net::ByteStream* socket;  // as long as it is among entries_: its owner ends in the same turn of the loop
  bool served = false;      // has sent a whole request
};

HubDoor::HubDoor(net::EventLoop& loop, hub::Hub& hub, tls::IdentityPtr pinned,
                 std::shared_ptr<tls::Certificates> certificates,
                 std::unordered_set<std::string> public_hosts, Limits limits, Random& random)
    : loop_(loop),
      hub_(hub),
      pinned_(std::move(pinned)),
      certificates_(std::move(certificates)),
      public_hosts_(std::move(public_hosts)),
      limits_(limits),
      random_(random),
      tasks_(loop) {}

void HubDoor::admit(edge::PublicConnection connection) {
  connection.attach(loop_);
  net::ByteStream& socket = *connection.socket;
  if (closing_) return socket.reset();
  auto entry = std::make_shared<Entry>(connection.client.source_prefix(), &socket);
  if (!make_room_for_source(connection.client, entry->source)) return socket.reset();
  if (entries_.size() >= limits_.connections) make_room();
  entries_.push_back(entry);
  tasks_.spawn(serve(std::move(connection), std::move(entry)));
}

bool HubDoor::make_room_for_source(const SocketAddr& client, const std::string& source) {
  auto is_same = [&](const std::shared_ptr<Entry>& entry) { return entry->source == source; };
  if (static_cast<size_t>(std::ranges::count_if(entries_, is_same)) < limits_.per_source) return true;
  auto victim = std::ranges::find_if(
      entries_, [&](const std::shared_ptr<Entry>& entry) { return is_same(entry) && !entry->served; });
  const bool found = victim != entries_.end();
  ++(found ? dropped_of_source_ : refused_);
  if (source_log_.allow(loop_.now())) {
    log_warn("hub_source_full", "client={} cap={} dropped={} refused={}", client.to_string(),
             limits_.per_source, dropped_of_source_, refused_);
  }
  if (found) drop(victim);
  return found;
}

void HubDoor::make_room() {
  auto is_unserved = [](const std::shared_ptr<Entry>& entry) { return !entry->served; };
  const auto unserved = static_cast<size_t>(std::ranges::count_if(entries_, is_unserved));
  const bool enough = 2 * unserved >= entries_.size();
  uint64_t skip = enough ? random_.below(unserved) : 0;
  auto victim = std::ranges::find_if(
      entries_, [&](const std::shared_ptr<Entry>& entry) { return entry->served != enough && skip-- == 0; });
  ++dropped_;
  if (full_log_.allow(loop_.now())) {
    log_warn("hub_connections_full", "cap={} dropped={}", limits_.connections, dropped_);
  }
  drop(victim);
}

// Its place is free for others; its socket is not looked at any more.
void HubDoor::keep(const std::shared_ptr<Entry>& entry) { entries_.remove(entry); }

void report(const HubDoor::Counters& counters, Metrics& metrics) {
  metrics.gauge("culvert_hub_connections", "Connections to the hub open now.",
                static_cast<double>(counters.open));
  metrics.counters("culvert_hub_refused_connections_total",
                   "Connections to the hub that were refused or lost their place, by reason.", "reason",
                   {{"full", counters.dropped}, {"source_full", counters.refused_of_source}});
}

void HubDoor::drop(Entries::iterator victim) {
  const std::shared_ptr<Entry> entry = std::move(*victim);
  entries_.erase(victim);
  // Wakes the entry's task, which may end at once.
  entry->socket->reset();
}

net::Task<> HubDoor::serve(edge::PublicConnection connection, std::shared_ptr<Entry> entry) {
  co_await serve_until_gone(std::move(connection), entry);
  entries_.remove(entry);
}

net::Task<> HubDoor::serve_until_gone(edge::PublicConnection connection, std::shared_ptr<Entry> entry) {
  tls::IdentityPtr identity = pinned_;
  if (public_hosts_.contains(connection.host)) {
    auto leaf = certificates_->leaf(connection.host);
    if (leaf) {
      identity = *leaf;
    } else {
      log_error("certificate_failed", "host={} reason={}", culvert::quoted(connection.host),
                culvert::quoted(leaf.error().message));
    }
  }
  auto tls = co_await tls::accept(std::move(connection.socket), std::move(connection.received),
                                  std::move(identity), {"http/1.1", "http/1.0"},
                                  loop_.now() + kHandshakeTimeout, tls::NoCommonAlpn::kServeUnlessH2);
  if (!tls) {
    log_debug("hub_handshake_failed", "client={} reason={}", connection.client.to_string(),
              culvert::quoted(tls.error().message));
    co_return;
  }
  if (closing_) co_return;
  co_await hub_.serve(std::move(*tls), {.on_request = [entry] { entry->served = true; },
                                        .on_keep = [this, entry] { keep(entry); },
                                        .client = connection.client});
}

}  // namespace culvert::node
