#include "node/take_over.h"

#include <utility>

#include "base/log.h"

namespace culvert::node {
namespace {

// For the other process to look at its state, and to end what it is doing.
constexpr Duration kAnswerTime = std::chrono::seconds(20);
constexpr Duration kReleaseTime = std::chrono::seconds(30);

struct Received {
  HandOverMessage message;
  std::vector<Descriptor> descriptors;
};

net::Task<Result<Received>> receive(net::MessageChannel& channel, TimePoint deadline) {
  auto got = co_await channel.receive(deadline);
  if (!got) co_return std::unexpected(got.error());
  auto message = decode_hand_over(got->data);
  if (!message) co_return std::unexpected(message.error());
  co_return Received{std::move(*message), std::move(got->descriptors)};
}

std::unexpected<Error> unexpected_message() {
  return fail(ErrorCode::kInvalid, "the running node has sent a message that was not due");
}

Result<> take_sockets(const HandOverSockets& message, std::vector<Descriptor> descriptors, TakenOver& into) {
  auto next = descriptors.begin();
  const auto left = [&] { return static_cast<size_t>(descriptors.end() - next); };
  for (const HandOverSockets::Socket& each : message.sockets) {
    if (left() < 1 + each.feeds.size())
      return fail(ErrorCode::kInvalid, "the running node has sent fewer sockets than it names");
    net::HandedSocket socket{each.kind, each.address, std::move(*next++), {}};
    for (const uint8_t generation : each.feeds) socket.feeds.push_back({generation, std::move(*next++)});
    into.sockets.push_back(std::move(socket));
  }
  return {};
}

Result<> take_released(net::EventLoop& loop, HandOverReleased message, std::vector<Descriptor> descriptors,
                       TakenOver& into) {
  const size_t locks = message.has_database_lock ? 2 : 1;
  if (descriptors.size() != locks + message.predecessors.size())
    return fail(ErrorCode::kInvalid, "the running node has sent other descriptors than it names");
  auto next = descriptors.begin();
  for (size_t i = 0; i < locks; ++i) into.locks.push_back(std::move(*next++));
  for (const HandOverReleased::Predecessor& each : message.predecessors) {
    into.draining.push_back(
        {each.generation, each.pid, std::make_unique<net::MessageChannel>(loop, std::move(*next++))});
  }
  into.run = std::move(message.run);
  return {};
}

}  // namespace

net::Task<Result<TakenOver>> take_over(net::EventLoop& loop, std::filesystem::path socket,
                                       HandOverHello hello) {
  auto connected = net::MessageChannel::connect(loop, socket);
  if (!connected) co_return std::unexpected(connected.error());
  TakenOver taken;
  taken.before.channel = std::move(*connected);
  net::MessageChannel& channel = *taken.before.channel;
  auto sent = channel.send({encode(std::move(hello)), {}});
  if (!sent) co_return std::unexpected(sent.error());
  auto answer = co_await receive(channel, loop.now() + kAnswerTime);
  if (!answer) co_return std::unexpected(answer.error());
  if (const auto* refused = std::get_if<HandOverRefused>(&answer->message))
    co_return fail(ErrorCode::kConflict, "{}", refused->reason);
  const auto* accepted = std::get_if<HandOverAccepted>(&answer->message);
  if (accepted == nullptr) co_return unexpected_message();
  taken.generation = accepted->generation;
  taken.before.generation = static_cast<uint8_t>(accepted->generation - 1);
  taken.before.pid = accepted->pid;
  log_info("taking_over", "pid={} version={} generation={}", accepted->pid, quoted(accepted->version),
           accepted->generation);
  sent = channel.send({encode(HandOverReady{}), {}});
  if (!sent) co_return std::unexpected(sent.error());
  const TimePoint deadline = loop.now() + kReleaseTime;
  while (true) {
    auto part = co_await receive(channel, deadline);
    if (!part) co_return std::unexpected(part.error());
    Result<> took;
    if (const auto* sockets = std::get_if<HandOverSockets>(&part->message)) {
      took = take_sockets(*sockets, std::move(part->descriptors), taken);
    } else if (auto* released = std::get_if<HandOverReleased>(&part->message)) {
      took = take_released(loop, std::move(*released), std::move(part->descriptors), taken);
      if (took) co_return taken;
    } else {
      took = unexpected_message();
    }
    if (!took) co_return std::unexpected(took.error());
  }
}

}  // namespace culvert::node
