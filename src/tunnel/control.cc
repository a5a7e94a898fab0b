#include "tunnel/control.h"

#include <algorithm>
#include <array>
#include <boost/json.hpp>

#include "base/json.h"
#include "base/text.h"
#include "endpoint/endpoint.h"

namespace culvert::tunnel {
namespace {

namespace json = boost::json;

json::object to_json(const Hello& hello) {
  json::object out{{"type", "hello"}, {"protocol", hello.protocol}, {"agent_version", hello.agent_version}};
  if (hello.share.priority != route::Share{}.priority) out["priority"] = hello.share.priority;
  if (hello.share.weight != route::Share{}.weight) out["weight"] = hello.share.weight;
  return out;
}

json::object to_json(const Welcome& welcome) {
  return {{"type", "welcome"},
          {"protocol", welcome.protocol},
          {"edge_version", welcome.edge_version},
          {"public_addr", welcome.public_addr}};
}

json::object to_json(const Drain&) { return {{"type", "drain"}}; }
json::object to_json(const Drained&) { return {{"type", "drained"}}; }
json::object to_json(const DeclareAgain& declare) {
  return {{"type", "declare"},
          {"spread_ms", std::chrono::duration_cast<std::chrono::milliseconds>(declare.spread).count()}};
}

json::object to_json(const PortState& state) {
  json::object out{{"type", "port"}, {"port", state.port.text()}, {"bound", state.is_bound}};
  if (!state.is_bound) out["reason"] = state.reason;
  return out;
}

json::object to_json(const Health& health) {
  json::object out{{"type", "health"}, {"service", health.service}, {"healthy", health.is_healthy}};
  if (!health.is_healthy) out["reason"] = health.reason;
  return out;
}

constexpr std::string_view kWhat = "control message";
// Longer than any hostname, and than any name of a port.
constexpr size_t kMaxServiceName = 300;
constexpr int kMaxProtocol = 1'000'000;
constexpr std::chrono::milliseconds kMaxSpread = std::chrono::hours(1);

Result<ControlMessage> decode_hello(const json::object& object) {
  JsonReader reader(kWhat, object);
  Hello hello{static_cast<int>(reader.integer("protocol", 0, kMaxProtocol)),
              std::string(reader.optional_text("agent_version"))};
  if (reader.has("priority"))
    hello.share.priority = static_cast<uint32_t>(reader.integer("priority", 0, route::Share::kMaxPriority));
  if (reader.has("weight"))
    hello.share.weight = static_cast<uint32_t>(reader.integer("weight", 1, route::Share::kMaxWeight));
  if (reader.error()) return std::unexpected(*reader.error());
  return hello;
}

Result<ControlMessage> decode_welcome(const json::object& object) {
  JsonReader reader(kWhat, object);
  Welcome welcome{static_cast<int>(reader.integer("protocol", 0, kMaxProtocol)),
                  std::string(reader.optional_text("edge_version")),
                  std::string(reader.optional_text("public_addr"))};
  if (reader.error()) return std::unexpected(*reader.error());
  return welcome;
}

Result<ControlMessage> decode_declare(const json::object& object) {
  JsonReader reader(kWhat, object);
  const std::chrono::milliseconds spread(reader.integer("spread_ms", 0, kMaxSpread.count()));
  if (reader.error()) return std::unexpected(*reader.error());
  return DeclareAgain{spread};
}

Result<ControlMessage> decode_port(const json::object& object) {
  JsonReader reader(kWhat, object);
  const std::string_view text = reader.text("port");
  const bool is_bound = reader.boolean("bound");
  const std::string_view reason = reader.optional_text("reason");
  if (reader.error()) return std::unexpected(*reader.error());
  auto match = route::Match::parse(text);
  if (!match || match->port() == nullptr)
    return fail(ErrorCode::kInvalid, "{}: port is not one like tcp/25565", kWhat);
  return PortState{*match->port(), is_bound, is_bound ? std::string() : std::string(reason)};
}

// The reason reaches clients as it is: only printable ASCII.
Result<ControlMessage> decode_health(const json::object& object) {
  JsonReader reader(kWhat, object);
  Health health{std::string(reader.text("service")), reader.boolean("healthy"), {}};
  const std::string_view reason = reader.optional_text("reason");
  if (reader.error()) return std::unexpected(*reader.error());
  if (health.service.size() > kMaxServiceName)
    return fail(ErrorCode::kInvalid, "{}: service is longer than {} bytes", kWhat, kMaxServiceName);
  if (health.is_healthy) return health;
  health.reason = reason.substr(0, kMaxHealthReason);
  std::ranges::replace_if(health.reason, [](char c) { return c < ' ' || c > '~'; }, '?');
  return health;
}

// nullopt: a type we do not know.
Result<std::optional<ControlMessage>> decode(std::string_view text) {
  auto object = parse_json_object(kWhat, text);
  if (!object) return std::unexpected(object.error());
  JsonReader reader(kWhat, *object);
  const std::string_view type = reader.text("type");
  if (reader.error()) return std::unexpected(*reader.error());

  if (type == "drain") return Drain{};
  if (type == "drained") return Drained{};
  using Decoder = Result<ControlMessage> (*)(const json::object&);
  constexpr std::pair<std::string_view, Decoder> kDecoders[] = {{"hello", decode_hello},
                                                                {"welcome", decode_welcome},
                                                                {"declare", decode_declare},
                                                                {"port", decode_port},
                                                                {"health", decode_health}};
  for (const auto& [name, decoder] : kDecoders) {
    if (name != type) continue;
    auto message = decoder(*object);
    if (!message) return std::unexpected(message.error());
    return std::move(*message);
  }
  return std::nullopt;
}

}  // namespace

std::string health_name(const route::Route& route) {
  const route::PublicPort* port = route.match.port();
  return port == nullptr ? route.match.text()
                         : fmt::format("{}:{}", route::to_string(port->protocol), route.service);
}

Bytes encode(const ControlMessage& message) {
  std::string text = std::visit([](const auto& each) { return json::serialize(to_json(each)); }, message);
  ByteWriter out;
  out.u32(static_cast<uint32_t>(text.size()));
  out.bytes(as_bytes(text));
  return out.take();
}

Result<std::optional<ControlMessage>> ControlReader::next() {
  while (true) {
    ByteReader reader(pending_);
    auto length = reader.u32();
    if (!length) return std::nullopt;
    if (*length > kMaxControlMessage) {
      return fail(ErrorCode::kInvalid, "control message of {} bytes; at most {} are allowed", *length,
                  kMaxControlMessage);
    }
    auto body = reader.take(*length);
    if (!body) return std::nullopt;
    auto message = decode(as_text(*body));
    pending_.erase(pending_.begin(), pending_.end() - static_cast<ptrdiff_t>(reader.rest().size()));
    if (!message || *message) return message;
  }
}

Result<> check_protocol(int theirs, std::string_view who, std::string_view their_version) {
  if (theirs == kControlProtocol) return {};
  return fail(ErrorCode::kInvalid,
              "{} (version {}) speaks tunnel protocol {}, this side speaks {}: update the older of the two",
              who, culvert::quoted(their_version), theirs, kControlProtocol);
}

Result<> ControlStream::send(const ControlMessage& message) {
  if (!stream_->is_open()) return fail(ErrorCode::kClosed, "the tunnel connection has ended");
  Bytes bytes = encode(message);
  if (stream_->writable() < bytes.size()) {
    return fail(ErrorCode::kUnavailable, "the peer does not read its control stream");
  }
  stream_->write(bytes);
  return {};
}

net::Task<Result<ControlMessage>> ControlStream::receive(TimePoint deadline) {
  std::array<uint8_t, 1024> chunk;
  while (true) {
    auto message = reader_.next();
    if (!message) co_return std::unexpected(message.error());
    if (*message) co_return std::move(**message);
    auto got = co_await endpoint::read_some(loop_, stream_, chunk, deadline);
    if (!got) co_return std::unexpected(got.error());
    if (*got == 0) co_return fail(ErrorCode::kClosed, "the peer finished the control stream");
    reader_.feed(ByteView(chunk).first(*got));
  }
}

}  // namespace culvert::tunnel
