#include "node/hand_over.h"

#include <utility>

#include "base/log.h"
#include "base/rate_limit.h"
#include "hubapi/route_stream.h"
#include "net/successor.h"
#include "net/tcp.h"

namespace culvert::node {
namespace {

// A process that connects speaks at once.
constexpr Duration kHelloTime = std::chrono::seconds(5);
// It has read its files before it asked.
constexpr Duration kReadyTime = std::chrono::seconds(10);
// For the other process to open the database and to take up the sockets. It gives up earlier.
constexpr Duration kServingTime = std::chrono::seconds(60);
// For the workers of this process to leave their sockets alone.
constexpr Duration kPauseTime = std::chrono::seconds(5);
// For its next messages to find room.
constexpr Duration kSendPause = std::chrono::milliseconds(2);
// Clients that wait for their agents since the last hand-over get them first, if it takes no longer.
constexpr Duration kSettleTime = std::chrono::seconds(5);
constexpr Duration kSettleLook = std::chrono::milliseconds(10);
// Between attempts to have the database again, which a process that was killed may hold for a moment.
constexpr Duration kRetry = std::chrono::milliseconds(100);
constexpr Duration kTellInterval = std::chrono::milliseconds(500);
// Fewer than a message may have: the last socket adds several.
constexpr size_t kDescriptorsPerMessage = net::kMaxChannelDescriptors - (kMaxPredecessors + 2);

net::Task<Result<HandOverMessage>> receive(std::shared_ptr<net::MessageChannel> channel, TimePoint deadline) {
  auto got = co_await channel->receive(deadline);
  if (!got) co_return std::unexpected(got.error());
  co_return decode_hand_over(got->data);
}

}  // namespace

Result<> HandOver::listen(const std::filesystem::path& path) {
  auto listener = net::MessageListener::listen(loop_, path);
  if (!listener) return std::unexpected(listener.error());
  listener_ = std::move(*listener);
  tasks_.spawn(serve());
  return {};
}

void HandOver::close() {
  is_closed_ = true;
  if (listener_) listener_->close();
  closed_.notify();
  tasks_.cancel();
}

net::Task<> HandOver::serve() {
  while (!is_closed_) {
    auto accepted = co_await listener_->accept();
    if (!accepted) co_return;
    std::shared_ptr<net::MessageChannel> channel = std::move(*accepted);
    const bool done = co_await serve_one(std::move(channel));
    if (done) co_return;
  }
}

// True: the other process has everything.
net::Task<bool> HandOver::serve_one(std::shared_ptr<net::MessageChannel> channel) {
  auto first = co_await receive(channel, loop_.now() + kHelloTime);
  if (!first) co_return false;
  const auto* hello = std::get_if<HandOverHello>(&*first);
  if (hello == nullptr) co_return false;
  if (std::string reason = why_not(*hello); !reason.empty()) {
    log_warn("hand_over_refused", "version={} reason={}", quoted(hello->version), quoted(reason));
    (void)channel->send({encode(HandOverRefused{std::move(reason)}), {}});
    co_return false;
  }
  const auto generation = static_cast<uint8_t>(parts_.generation + 1);
  log_info("hand_over_begun", "version={} generation={}", quoted(hello->version), generation);
  const TimePoint settled_by = loop_.now() + kSettleTime;
  while (parts_.assembly.edge().waiting_clients() > 0 && loop_.now() < settled_by)
    co_await net::sleep_for(loop_, kSettleLook);
  (void)channel->send({encode(HandOverAccepted{generation, parts_.self.version, net::own_pid()}), {}});
  auto ready = co_await receive(channel, loop_.now() + kReadyTime);
  Result<> done;
  if (!ready) done = std::unexpected(ready.error());
  if (ready && !std::holds_alternative<HandOverReady>(*ready))
    done = fail(ErrorCode::kInvalid, "the new process has sent a message that was not due");
  if (done) {
    const TimePoint began = loop_.now();
    done = co_await release(channel);
    if (done) {
      const auto took = std::chrono::duration_cast<std::chrono::milliseconds>(loop_.now() - began);
      log_info("handed_over", "generation={} took_ms={} connections={}", generation, took.count(),
               parts_.assembly.edge().counters().connections_active.load(std::memory_order_relaxed));
      hand_over(std::move(channel));
      co_return true;
    }
    channel->close();
    co_await take_back();
  }
  ++failed_;
  log_error("hand_over_failed", "reason={} meaning={}", quoted(done.error().message),
            quoted("the new process does not serve; this one goes on"));
  co_return false;
}

// Empty: it may take over.
std::string HandOver::why_not(const HandOverHello& hello) const {
  const HandOverHello& self = parts_.self;
  const auto differs = [](std::string_view what, const auto& theirs, const auto& ours) {
    return fmt::format("the new process has {} {}, the running one has {}; restart the node to change that",
                       what, theirs, ours);
  };
  if (parts_.is_stopping()) return "the node is stopping";
  if (hello.protocol != self.protocol)
    return fmt::format(
        "the new process speaks version {} of the hand-over, the running one version {}; "
        "restart the node",
        hello.protocol, self.protocol);
  if (hello.id != self.id) return differs("the key", hello.id, self.id);
  if (hello.roles != self.roles) return differs("the roles", hello.roles, self.roles);
  if (hello.workers != self.workers) return differs("workers =", hello.workers, self.workers);
  if (hello.tcp.port() == 0 || hello.udp.port() == 0)
    return "a port that the system chooses cannot be taken over; give listen and udp-listen a port";
  if (hello.tcp != self.tcp) return differs("listen =", hello.tcp.to_string(), self.tcp.to_string());
  if (hello.udp != self.udp) return differs("udp-listen =", hello.udp.to_string(), self.udp.to_string());
  if (parts_.predecessors.size() >= kMaxPredecessors) {
    return fmt::format(
        "{} processes that were replaced still have connections, the most there may be; wait "
        "until one has ended (upgrade-timeout), or end one with SIGTERM",
        kMaxPredecessors);
  }
  return {};
}

net::Task<Result<>> HandOver::release(std::shared_ptr<net::MessageChannel> channel) {
  co_await parts_.assembly.release_control();
  auto paused = co_await pause();
  if (!paused) co_return paused;
  const TimePoint deadline = loop_.now() + kServingTime;
  auto sent = co_await send_sockets(channel, deadline);
  if (!sent) co_return sent;
  auto serving = co_await receive(channel, deadline);
  if (!serving && serving.error().code == ErrorCode::kTimeout) {
    // From here on the new process cannot say any more that it serves, and then it does not.
    channel->refuse_more();
    auto last = co_await receive(channel, loop_.now());
    if (last) serving = std::move(last);
  }
  if (!serving) co_return std::unexpected(serving.error());
  if (!std::holds_alternative<HandOverServing>(*serving))
    co_return fail(ErrorCode::kInvalid, "the new process has sent a message that was not due");
  co_return Result<>();
}

net::Task<Result<>> HandOver::pause() {
  const auto is_paused = std::make_shared<bool>(false);
  parts_.platform.pause([this, is_paused] {
    loop_.post([this, is_paused] {
      *is_paused = true;
      paused_.notify();
    });
  });
  const TimePoint deadline = loop_.now() + kPauseTime;
  while (!*is_paused) {
    const bool in_time = co_await paused_.wait_until(deadline);
    if (!in_time && !*is_paused)
      co_return fail(ErrorCode::kTimeout, "a worker of the running node does not answer");
  }
  co_return Result<>();
}

net::Task<Result<>> HandOver::send(std::shared_ptr<net::MessageChannel> channel, net::ChannelMessage message,
                                   TimePoint deadline) {
  while (true) {
    auto sent = channel->send(message);
    if (sent || sent.error().code != ErrorCode::kLimit || loop_.now() > deadline) co_return sent;
    co_await net::sleep_for(loop_, kSendPause);
  }
}

net::Task<Result<>> HandOver::send_sockets(std::shared_ptr<net::MessageChannel> channel, TimePoint deadline) {
  auto sockets = parts_.platform.hand_over(parts_.generation);
  if (!sockets) co_return std::unexpected(sockets.error());
  HandOverSockets part;
  std::vector<Descriptor> descriptors;
  for (size_t i = 0; i < sockets->size(); ++i) {
    net::HandedSocket& socket = (*sockets)[i];
    HandOverSockets::Socket named{socket.kind, socket.address, {}};
    descriptors.push_back(std::move(socket.socket));
    for (net::HandedSocket::Feed& feed : socket.feeds) {
      named.feeds.push_back(feed.generation);
      descriptors.push_back(std::move(feed.socket));
    }
    part.sockets.push_back(std::move(named));
    if (descriptors.size() < kDescriptorsPerMessage && i + 1 < sockets->size()) continue;
    auto sent =
        co_await send(channel, {encode(std::exchange(part, {})), std::exchange(descriptors, {})}, deadline);
    if (!sent) co_return sent;
  }
  auto locks = parts_.locks();
  if (!locks) co_return std::unexpected(locks.error());
  HandOverReleased released{
      .has_database_lock = locks->size() > 1, .run = parts_.assembly.run(), .predecessors = {}};
  auto added = parts_.predecessors.add_to(released, *locks);
  if (!added) co_return added;
  co_return co_await send(channel, {encode(std::move(released)), std::move(*locks)}, deadline);
}

net::Task<> HandOver::take_back() {
  parts_.platform.resume();
  parts_.ended(false);
  RateLimit lines(1, std::chrono::seconds(10));
  while (!is_closed_ && !parts_.is_stopping()) {
    auto taken = parts_.assembly.take_control();
    if (taken) co_return;
    if (lines.allow(loop_.now()))
      log_error("control_not_taken_back", "reason={} meaning={}", quoted(taken.error().message),
                quoted("clients are served; the hub's work is tried again until it can go on"));
    co_await closed_.wait_until(loop_.now() + kRetry);
  }
}

void HandOver::hand_over(std::shared_ptr<net::MessageChannel> channel) {
  is_handed_over_ = true;
  listener_->close();
  parts_.predecessors.leave();
  parts_.assembly.pass_hub_connections([channel](edge::PublicConnection connection) {
    HandOverPassed passed{connection.host, connection.client, connection.public_addr,
                          std::move(connection.received)};
    Descriptor socket = net::take_socket(std::move(connection.socket));
    Bytes message = encode(std::move(passed));
    // A hello of the largest size does not fit; nobody sends one.
    if (!socket || message.size() > net::kMaxChannelMessage) return;
    std::vector<Descriptor> descriptors;
    descriptors.push_back(std::move(socket));
    (void)channel->send({std::move(message), std::move(descriptors)});
  });
  parts_.assembly.hand_over();
  parts_.ended(true);
  tasks_.spawn(watch(channel));
  tasks_.spawn(tell(channel));
}

net::Task<> HandOver::watch(std::shared_ptr<net::MessageChannel> channel) {
  while (true) {
    auto message = co_await receive(channel, TimePoint::max());
    if (message && std::holds_alternative<HandOverStop>(*message)) {
      parts_.stop();
    } else if (const auto* routes = message ? std::get_if<HandOverRoutes>(&*message) : nullptr) {
      follow(*routes);
    } else if (!message && message.error().code != ErrorCode::kInvalid) {
      break;
    }
  }
  if (!is_closed_) parts_.successor_lost();
}

void HandOver::follow(const HandOverRoutes& changes) {
  std::vector<route::Route> upserts;
  std::vector<route::RouteId> removals;
  for (const std::string& line : changes.upserts) {
    auto route = hubapi::decode_route(line);
    if (route) upserts.push_back(std::move(*route));
  }
  for (const std::string& text : changes.removals) {
    if (auto match = route::Match::parse(text)) removals.push_back(route::RouteId(*match));
  }
  parts_.assembly.follow_routes(std::move(upserts), std::move(removals));
}

net::Task<> HandOver::tell(std::shared_ptr<net::MessageChannel> channel) {
  while (!is_closed_) {
    const uint64_t connections =
        parts_.assembly.edge().counters().connections_active.load(std::memory_order_relaxed);
    (void)channel->send({encode(HandOverLeft{connections}), {}});
    co_await closed_.wait_until(loop_.now() + kTellInterval);
  }
}

void report(const HandOverStatus& status, Metrics& metrics) {
  metrics.gauge("culvert_node_generation",
                "Upgrades without a restart since the node was started, modulo 256.", status.generation);
  metrics.gauge("culvert_node_predecessors",
                "Processes that upgrades replaced and that still have connections.",
                static_cast<double>(status.predecessors));
  metrics.gauge("culvert_node_predecessor_connections", "Public connections that these have.",
                static_cast<double>(status.predecessor_connections));
  metrics.counter("culvert_node_failed_upgrades_total",
                  "Upgrades that were begun and whose new process did not come to serve.", status.failed);
}

}  // namespace culvert::node
