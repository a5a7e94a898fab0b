#include "tunnel/control.h"

#include <array>
#include <boost/json.hpp>

#include "base/log.h"
#include "endpoint/endpoint.h"

namespace culvert::tunnel {
namespace {

namespace json = boost::json;

json::object to_json(const Hello& hello) {
  return {{"type", "hello"}, {"protocol", hello.protocol}, {"agent_version", hello.agent_version}};
}

json::object to_json(const Welcome& welcome) {
  return {{"type", "welcome"},
          {"protocol", welcome.protocol},
          {"edge_version", welcome.edge_version},
          {"public_addr", welcome.public_addr}};
}

json::object to_json(const Drain&) { return {{"type", "drain"}}; }

// A member that must be a string, except that it may be absent.
Result<std::string> text_member(const json::object& object, std::string_view name) {
  const json::value* value = object.if_contains(name);
  if (value == nullptr) return std::string();
  const json::string* text = value->if_string();
  if (text == nullptr) return fail(ErrorCode::kInvalid, "control message: \"{}\" must be a string", name);
  return std::string(*text);
}

Result<int> protocol_member(const json::object& object) {
  const json::value* value = object.if_contains("protocol");
  const int64_t* number = value == nullptr ? nullptr : value->if_int64();
  if (number == nullptr || *number < 0 || *number > 1'000'000) {
    return fail(ErrorCode::kInvalid, "control message: \"protocol\" must be a small whole number");
  }
  return static_cast<int>(*number);
}

Result<ControlMessage> decode_hello(const json::object& object) {
  auto protocol = protocol_member(object);
  if (!protocol) return std::unexpected(protocol.error());
  auto version = text_member(object, "agent_version");
  if (!version) return std::unexpected(version.error());
  return Hello{*protocol, *version};
}

Result<ControlMessage> decode_welcome(const json::object& object) {
  auto protocol = protocol_member(object);
  if (!protocol) return std::unexpected(protocol.error());
  auto version = text_member(object, "edge_version");
  if (!version) return std::unexpected(version.error());
  auto address = text_member(object, "public_addr");
  if (!address) return std::unexpected(address.error());
  return Welcome{*protocol, *version, *address};
}

// nullopt: a type we do not know.
Result<std::optional<ControlMessage>> decode(std::string_view text) {
  json::error_code error;
  json::parse_options options;
  options.max_depth = 8;
  json::value value = json::parse(text, error, {}, options);
  if (error) return fail(ErrorCode::kInvalid, "control message is not JSON: {}", error.message());
  const json::object* object = value.if_object();
  if (object == nullptr) return fail(ErrorCode::kInvalid, "control message is JSON but not an object");
  const json::value* type_value = object->if_contains("type");
  const json::string* type = type_value == nullptr ? nullptr : type_value->if_string();
  if (type == nullptr) return fail(ErrorCode::kInvalid, "control message has no \"type\"");

  if (*type == "drain") return Drain{};
  if (*type != "hello" && *type != "welcome") return std::nullopt;
  auto message = *type == "hello" ? decode_hello(*object) : decode_welcome(*object);
  if (!message) return std::unexpected(message.error());
  return std::move(*message);
}

}  // namespace

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
