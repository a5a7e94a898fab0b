#include "node/hand_over_messages.h"

#include <boost/json.hpp>
#include <limits>

#include "base/encoding.h"
#include "base/json.h"
#include "base/text.h"

namespace culvert::node {
namespace {

namespace json = boost::json;

constexpr std::string_view kWhat = "hand-over message";
constexpr int64_t kMaxPid = std::numeric_limits<int32_t>::max();
constexpr int64_t kMaxGeneration = std::numeric_limits<uint8_t>::max();
constexpr int64_t kMaxConnections = 1'000'000'000;

const char* name_of(net::SocketKind kind) { return kind == net::SocketKind::kTcp ? "tcp" : "udp"; }

json::object to_json(const HandOverHello& hello) {
  return {{"type", "hello"},
          {"protocol", hello.protocol},
          {"version", hello.version},
          {"id", hello.id},
          {"roles", hello.roles},
          {"workers", hello.workers},
          {"tcp", hello.tcp.to_string()},
          {"udp", hello.udp.to_string()}};
}

json::object to_json(const HandOverRefused& refused) {
  return {{"type", "refused"}, {"reason", refused.reason}};
}

json::object to_json(const HandOverAccepted& accepted) {
  return {{"type", "accepted"},
          {"generation", accepted.generation},
          {"version", accepted.version},
          {"pid", accepted.pid}};
}

json::object to_json(const HandOverReady&) { return {{"type", "ready"}}; }

json::object to_json(const HandOverSockets& message) {
  json::array sockets;
  for (const HandOverSockets::Socket& socket : message.sockets) {
    json::array feeds;
    for (const uint8_t generation : socket.feeds) feeds.push_back(generation);
    sockets.push_back(json::object{{"kind", name_of(socket.kind)},
                                   {"address", socket.address.to_string()},
                                   {"feeds", std::move(feeds)}});
  }
  return {{"type", "sockets"}, {"sockets", std::move(sockets)}};
}

json::object to_json(const HandOverReleased& released) {
  json::array predecessors;
  for (const HandOverReleased::Predecessor& each : released.predecessors)
    predecessors.push_back(json::object{{"generation", each.generation}, {"pid", each.pid}});
  return {{"type", "released"},
          {"database_lock", released.has_database_lock},
          {"run", released.run},
          {"predecessors", std::move(predecessors)}};
}

json::object to_json(const HandOverServing&) { return {{"type", "serving"}}; }

json::object to_json(const HandOverLeft& left) {
  return {{"type", "left"}, {"connections", left.connections}};
}

json::object to_json(const HandOverPassed& passed) {
  return {{"type", "passed"},
          {"host", passed.host},
          {"client", passed.client.to_string()},
          {"public_addr", passed.public_addr.to_string()},
          {"received", to_base64url(passed.received)}};
}

json::object to_json(const HandOverRoutes& routes) {
  return {
      {"type", "routes"}, {"upserts", json_array(routes.upserts)}, {"removals", json_array(routes.removals)}};
}

json::object to_json(const HandOverStop&) { return {{"type", "stop"}}; }

SocketAddr address(JsonReader& reader, std::string_view name) {
  const auto text = reader.text(name);
  if (reader.error()) return {};
  auto parsed = SocketAddr::parse(text);
  if (!parsed) reader.set_error(name, "is not an address");
  return parsed.value_or(SocketAddr());
}

template <class T>
Result<HandOverMessage> checked(const JsonReader& reader, T message) {
  if (reader.error()) return std::unexpected(*reader.error());
  return HandOverMessage(std::move(message));
}

Result<HandOverMessage> decode_hello(JsonReader reader) {
  HandOverHello hello{.protocol = static_cast<int>(reader.integer("protocol", 0, kMaxPid)),
                      .version = std::string(reader.optional_text("version")),
                      .id = {},
                      .roles = {},
                      .workers = 0,
                      .tcp = {},
                      .udp = {}};
  // Another protocol may have other members: the version alone decides then.
  if (hello.protocol != kHandOverProtocol) return checked(reader, std::move(hello));
  hello.id = reader.text("id");
  hello.roles = reader.text("roles");
  hello.workers = static_cast<unsigned>(reader.integer("workers", 1, 256));
  hello.tcp = address(reader, "tcp");
  hello.udp = address(reader, "udp");
  return checked(reader, std::move(hello));
}

Result<HandOverMessage> decode_accepted(JsonReader reader) {
  HandOverAccepted accepted{static_cast<uint8_t>(reader.integer("generation", 0, kMaxGeneration)),
                            std::string(reader.optional_text("version")), reader.integer("pid", 1, kMaxPid)};
  return checked(reader, std::move(accepted));
}

Result<HandOverMessage> decode_sockets(JsonReader reader) {
  HandOverSockets message;
  for (const json::value& value : reader.array("sockets")) {
    const auto* object = value.if_object();
    if (object == nullptr) return fail(ErrorCode::kInvalid, "{}: a socket is not an object", kWhat);
    JsonReader each(kWhat, *object);
    HandOverSockets::Socket socket;
    const std::string_view kind = each.text("kind");
    if (kind != "tcp" && kind != "udp") each.set_error("kind", "is neither tcp nor udp");
    socket.kind = kind == "tcp" ? net::SocketKind::kTcp : net::SocketKind::kUdp;
    socket.address = address(each, "address");
    for (const json::value& generation : each.array("feeds")) {
      const auto* number = generation.if_int64();
      if (number == nullptr || *number < 0 || *number > kMaxGeneration) {
        each.set_error("feeds", "has what is not a generation");
        break;
      }
      socket.feeds.push_back(static_cast<uint8_t>(*number));
    }
    if (socket.feeds.size() > kMaxPredecessors + 1) each.set_error("feeds", "has too many");
    if (each.error()) return std::unexpected(*each.error());
    message.sockets.push_back(std::move(socket));
  }
  return checked(reader, std::move(message));
}

Result<HandOverMessage> decode_released(JsonReader reader) {
  HandOverReleased released{.has_database_lock = reader.boolean("database_lock"),
                            .run = std::string(reader.optional_text("run")),
                            .predecessors = {}};
  for (const json::value& value : reader.array("predecessors")) {
    const auto* object = value.if_object();
    if (object == nullptr) return fail(ErrorCode::kInvalid, "{}: a predecessor is not an object", kWhat);
    JsonReader each(kWhat, *object);
    released.predecessors.push_back({static_cast<uint8_t>(each.integer("generation", 0, kMaxGeneration)),
                                     each.integer("pid", 1, kMaxPid)});
    if (each.error()) return std::unexpected(*each.error());
  }
  if (released.predecessors.size() > kMaxPredecessors) reader.set_error("predecessors", "has too many");
  return checked(reader, std::move(released));
}

Result<HandOverMessage> decode_passed(JsonReader reader) {
  HandOverPassed passed{.host = std::string(reader.optional_text("host")),
                        .client = address(reader, "client"),
                        .public_addr = address(reader, "public_addr"),
                        .received = {}};
  auto received = from_base64url(reader.optional_text("received"));
  if (received) {
    passed.received = std::move(*received);
  } else {
    reader.set_error("received", "is not base64url");
  }
  return checked(reader, std::move(passed));
}

}  // namespace

Bytes encode(const HandOverMessage& message) {
  const std::string text =
      std::visit([](const auto& each) { return json::serialize(to_json(each)); }, message);
  return to_bytes(as_bytes(text));
}

Result<HandOverMessage> decode_hand_over(ByteView data) {
  auto parsed = parse_json_object(kWhat, as_text(data));
  if (!parsed) return std::unexpected(parsed.error());
  JsonReader reader(kWhat, *parsed);
  const std::string type(reader.text("type"));
  if (reader.error()) return std::unexpected(*reader.error());
  if (type == "hello") return decode_hello(std::move(reader));
  if (type == "refused") return checked(reader, HandOverRefused{std::string(reader.text("reason"))});
  if (type == "accepted") return decode_accepted(std::move(reader));
  if (type == "ready") return HandOverReady{};
  if (type == "sockets") return decode_sockets(std::move(reader));
  if (type == "released") return decode_released(std::move(reader));
  if (type == "serving") return HandOverServing{};
  if (type == "left") {
    const auto connections = static_cast<uint64_t>(reader.integer("connections", 0, kMaxConnections));
    return checked(reader, HandOverLeft{connections});
  }
  if (type == "passed") return decode_passed(std::move(reader));
  if (type == "routes") {
    HandOverRoutes routes{reader.texts("upserts"), reader.texts("removals")};
    return checked(reader, std::move(routes));
  }
  if (type == "stop") return HandOverStop{};
  return fail(ErrorCode::kInvalid, "{}: the type {} is not known", kWhat, culvert::quoted(type));
}

}  // namespace culvert::node
