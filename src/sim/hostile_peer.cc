#include "sim/hostile_peer.h"

#include <algorithm>

#include "base/check.h"

namespace culvert::sim {
namespace {

constexpr size_t kIdSize = 8;
constexpr size_t kMinInitialDatagram = 1200;  // RFC 9000, 14.1
constexpr size_t kMaxCryptoFrame = 1000;      // fits in a datagram of 1200 bytes with its headers
constexpr size_t kMaxAckRanges = 32;
constexpr size_t kMaxRemembered = 4096;  // packet numbers to acknowledge, for each level

Bytes random_bytes(Random& random, size_t size) {
  Bytes out(size);
  random.fill(out);
  return out;
}

// For levels of which the victim has no keys.
const PacketKeys& foreign_keys() {
  static const PacketKeys keys = PacketKeys::from_secret(Bytes(32, 0x5a));
  return keys;
}

std::vector<frames::AckRange> ranges_of(const std::set<uint64_t>& numbers) {
  std::vector<frames::AckRange> out;
  for (auto it = numbers.rbegin(); it != numbers.rend(); ++it) {
    if (!out.empty() && out.back().smallest == *it + 1) {
      out.back().smallest = *it;
    } else if (out.size() < kMaxAckRanges) {
      out.push_back({*it, *it});
    } else {
      break;
    }
  }
  return out;
}

}  // namespace

// ---- TransportParameters

void TransportParameters::set(uint64_t id, Bytes value) {
  remove(id);
  add(id, std::move(value));
}

void TransportParameters::remove(uint64_t id) {
  std::erase_if(list_, [&](const TransportParameter& parameter) { return parameter.id == id; });
}

Bytes TransportParameters::encode() const {
  Bytes out;
  for (const TransportParameter& parameter : list_) {
    const Bytes one = concat({varint(parameter.id), varint(parameter.value.size()), parameter.value});
    out.insert(out.end(), one.begin(), one.end());
  }
  return out;
}

// ---- Out

HostilePeer::HostilePeer(Config config, Random& random)
    : config_(std::move(config)),
      random_(random),
      key_exchange_(random),
      source_id_(random_bytes(random, config_.id_size)),
      token_(config_.token),
      source_(config_.address) {
  if (!config_.is_server) destination_id_ = original_id_ = random_bytes(random, kIdSize);
}

void HostilePeer::start() {
  CHECK(!config_.is_server);
  InitialKeys keys = initial_keys(destination_id_);
  space(Level::kInitial).send_keys = std::move(keys.client);
  space(Level::kInitial).receive_keys = std::move(keys.server);
  const tls::Extensions extensions =
      tls::client_extensions(config_.alpn, key_exchange_.public_key(), transport_parameters());
  client_hello_ = emit(tls::kClientHello,
                       tls::client_hello(random_bytes(random_, 32), edited(tls::kClientHello, extensions)));
  send_tls(Level::kInitial, client_hello_);
}

void HostilePeer::send(Level level, ByteView frames) {
  if (level != Level::kInitial) return send_datagram(packet(level, frames));
  // Header and tag only make the datagram larger than that.
  Bytes padded = to_bytes(frames);
  padded.resize(std::max(padded.size(), kMinInitialDatagram));
  send_datagram(packet(level, padded));
}

Bytes HostilePeer::packet(Level level, ByteView frames) {
  Space& to = space(level);
  const PacketHeader header{.level = level,
                            .destination = destination_id_,
                            .source = source_id_,
                            .token = token_,
                            .number = to.next_number++,
                            .key_phase = level == Level::kOneRtt && send_phase_};
  return seal(header, frames, to.send_keys ? *to.send_keys : foreign_keys());
}

void HostilePeer::send_datagram(Bytes datagram) { out_.push_back({source_, std::move(datagram)}); }

void HostilePeer::send_tls(Level level, ByteView messages) {
  Space& to = space(level);
  while (!messages.empty()) {
    const ByteView part = messages.first(std::min(messages.size(), kMaxCryptoFrame));
    send(level, frames::crypto(to.crypto_sent, part));
    to.crypto_sent += part.size();
    messages = messages.subspan(part.size());
  }
}

void HostilePeer::update_keys() {
  Space& to = space(Level::kOneRtt);
  if (!to.send_keys) return;
  to.send_keys = to.send_keys->next();
  send_phase_ = !send_phase_;
}

void HostilePeer::send_acks() {
  for (Level level : {Level::kInitial, Level::kHandshake, Level::kOneRtt}) {
    Space& to = space(level);
    if (!std::exchange(to.ack_due, false) || !acknowledging_ || !to.send_keys) continue;
    send(level, frames::ack(ranges_of(to.received)));
  }
  for (auto& [path, state] : paths_) {
    if (!std::exchange(state.space.ack_due, false) || !acknowledging_) continue;
    send(Level::kOneRtt, frames::path_ack(path, ranges_of(state.space.received)));
  }
}

void HostilePeer::acknowledge() {
  const Space& received = space(Level::kOneRtt);
  if (!received.received.empty()) send(Level::kOneRtt, frames::ack(ranges_of(received.received)));
  for (const auto& [path, state] : paths_) {
    if (!state.space.received.empty())
      send(Level::kOneRtt, frames::path_ack(path, ranges_of(state.space.received)));
  }
}

// ---- Paths (draft-ietf-quic-multipath)

void HostilePeer::add_extensions(TransportParameters& parameters) {
  parameters.set_integer(0x3e, 7);             // initial_max_path_id
  parameters.set_integer(0x3d7f91120401, 32);  // n0's NAT traversal: how many addresses we take
  parameters.set_integer(0x9f81a176, 2);       // observed addresses: sent and taken
  parameters.set_integer(0xff04de1b, 1000);    // min_ack_delay, us
}

void HostilePeer::send_on_path(uint32_t path, const SocketAddr& source, ByteView frames) {
  paths_[path].source = source;
  respond(path, frames);
}

void HostilePeer::respond(uint32_t path, ByteView frames) {
  if (path == 0) return send(Level::kOneRtt, frames);
  out_.push_back({paths_[path].source, path_packet(path, frames)});
}

Bytes HostilePeer::path_packet(uint32_t path, ByteView frames) {
  Path& to = paths_[path];
  const PacketHeader header{.level = Level::kOneRtt,
                            .destination = to.destination_id.value_or(Bytes(kIdSize, 0xee)),
                            .source = {},
                            .token = {},
                            .number = to.space.next_number++,
                            .key_phase = send_phase_,
                            .path = path};
  const std::optional<PacketKeys>& keys = space(Level::kOneRtt).send_keys;
  return seal(header, frames, keys ? *keys : foreign_keys());
}

Bytes HostilePeer::issue_path_id(uint32_t path, uint64_t sequence, uint64_t retire_prior_to) {
  const Bytes id = random_bytes(random_, kIdSize);
  own_path_ids_[id] = path;
  return frames::path_new_connection_id(path, sequence, retire_prior_to, id, random_bytes(random_, 16));
}

std::optional<Bytes> HostilePeer::path_destination(uint32_t path) const {
  auto found = paths_.find(path);
  return found == paths_.end() ? std::nullopt : found->second.destination_id;
}

uint32_t HostilePeer::path_of(const ProtectedPacket& packet) const {
  auto found = own_path_ids_.find(packet.destination);
  return packet.level == Level::kOneRtt && found != own_path_ids_.end() ? found->second : 0;
}

// ---- In

void HostilePeer::receive(ByteView datagram) {
  while (auto packet = next_packet(datagram, source_id_.size())) {
    if (packet->is_retry) {
      on_retry(*packet);
    } else {
      on_packet(*packet);
    }
  }
  send_acks();
}

void HostilePeer::on_retry(const ProtectedPacket& packet) {
  if (config_.is_server || learnt_id_ || !token_.empty()) return;
  destination_id_ = packet.source;
  token_ = packet.token;
  InitialKeys keys = initial_keys(destination_id_);
  Space& initial = space(Level::kInitial);
  initial.send_keys = std::move(keys.client);
  initial.receive_keys = std::move(keys.server);
  initial.crypto_sent = 0;
  send_tls(Level::kInitial, client_hello_);
}

std::optional<OpenedPacket> HostilePeer::open_packet(const ProtectedPacket& packet, uint32_t path) {
  Space& from = space(packet.level);
  if (!from.receive_keys) return std::nullopt;
  const uint64_t expected = path == 0 ? from.expected_number : paths_[path].space.expected_number;
  if (packet.level != Level::kOneRtt) return open(packet, *from.receive_keys, false, nullptr, expected);
  const PacketKeys next = from.receive_keys->next();
  auto opened = open(packet, *from.receive_keys, receive_phase_, &next, expected, path);
  if (!opened && previous_receive_keys_) {
    return open(packet, *from.receive_keys, receive_phase_, &*previous_receive_keys_, expected, path);
  }
  if (opened && opened->key_phase != receive_phase_) {
    previous_receive_keys_ = std::exchange(from.receive_keys, next);
    receive_phase_ = opened->key_phase;
    ++key_updates_;
    if (following_key_updates_ && send_phase_ != receive_phase_) update_keys();
  }
  return opened;
}

void HostilePeer::on_packet(const ProtectedPacket& packet) {
  if (config_.is_server && packet.level == Level::kInitial && !space(Level::kInitial).receive_keys) {
    InitialKeys keys = initial_keys(packet.destination);
    space(Level::kInitial).receive_keys = std::move(keys.client);
    space(Level::kInitial).send_keys = std::move(keys.server);
    original_id_ = packet.destination;
  }
  const uint32_t path = path_of(packet);
  auto opened = open_packet(packet, path);
  if (!opened) {
    ++undecryptable_;
    return;
  }
  if (packet.level == Level::kInitial && !std::exchange(learnt_id_, true)) destination_id_ = packet.source;
  Space& from = path == 0 ? space(packet.level) : paths_[path].space;
  from.expected_number = std::max(from.expected_number, opened->number + 1);
  from.received.insert(opened->number);
  if (from.received.size() > kMaxRemembered) from.received.erase(from.received.begin());

  auto frames = parse_frames(opened->payload);
  if (!frames) {
    ++malformed_;
    return;
  }
  for (const Frame& frame : *frames) {
    from.ack_due |= is_ack_eliciting(frame);
    on_frame(packet.level, path, frame);
  }
  received_.push_back({packet.level, opened->number, std::move(*frames)});
  if (received_.size() > kMaxReceived) received_.pop_front();
}

void HostilePeer::on_frame(Level level, uint32_t path, const Frame& frame) {
  if (const auto* crypto = std::get_if<CryptoFrame>(&frame)) {
    on_crypto(level, *crypto);
  } else if (const auto* close = std::get_if<ConnectionCloseFrame>(&frame)) {
    if (!closed_) closed_ = *close;
  } else if (std::holds_alternative<HandshakeDoneFrame>(frame)) {
    confirmed_ = true;
  } else if (const auto* challenge = std::get_if<PathChallengeFrame>(&frame)) {
    if (answering_path_challenges_) respond(path, frames::path_response(challenge->data));
  } else if (const auto* issued = std::get_if<NewConnectionIdFrame>(&frame)) {
    if (issued->path > 0) paths_[static_cast<uint32_t>(issued->path)].destination_id = issued->id;
  }
}

void HostilePeer::on_crypto(Level level, const CryptoFrame& frame) {
  Space& from = space(level);
  from.crypto_waiting.insert_or_assign(frame.offset, frame.data);
  while (!from.crypto_waiting.empty() && from.crypto_waiting.begin()->first <= from.crypto_read) {
    auto [offset, data] = *from.crypto_waiting.begin();
    from.crypto_waiting.erase(from.crypto_waiting.begin());
    const uint64_t known = from.crypto_read - offset;
    if (known >= data.size()) continue;
    from.tls_waiting.insert(from.tls_waiting.end(), data.begin() + static_cast<std::ptrdiff_t>(known),
                            data.end());
    from.crypto_read = offset + data.size();
  }
  const Bytes waiting = std::exchange(from.tls_waiting, {});
  ByteView rest = waiting;
  while (auto message = tls::next_message(rest)) on_message(level, *message);
  from.tls_waiting = to_bytes(rest);
}

void HostilePeer::on_message(Level level, const Bytes& message) {
  if (level == Level::kOneRtt) return;  // tickets
  const uint8_t type = message[0];
  if (config_.is_server) {
    if (type == tls::kClientHello) return on_client_hello(message);
    if (type == tls::kFinished) on_client_finished();
    return;
  }
  if (type == tls::kServerHello) return on_server_hello(message);
  schedule_.add(message);
  certificate_requested_ |= type == tls::kCertificateRequest;
  if (type == tls::kFinished) on_server_finished();
}

// ---- Handshake

Bytes HostilePeer::emit(uint8_t type, ByteView body) {
  Bytes message = tls::message(type, body);
  if (config_.edit_message) message = config_.edit_message(type, std::move(message));
  schedule_.add(message);
  return message;
}

tls::Extensions HostilePeer::edited(uint8_t type, tls::Extensions extensions) const {
  if (config_.edit_extensions) config_.edit_extensions(type, extensions);
  return extensions;
}

// RFC 9000, 18.2: the same limits for everything, and the connection ids that both sides verify (7.3).
Bytes HostilePeer::transport_parameters() {
  TransportParameters parameters;
  if (config_.is_server) parameters.set(0x00, original_id_);
  parameters.set_integer(0x01, 30'000);  // max_idle_timeout, ms
  if (config_.is_server) parameters.set(0x02, random_bytes(random_, 16));
  for (uint64_t window : {0x04u, 0x05u, 0x06u, 0x07u}) parameters.set_integer(window, 1'000'000);
  for (uint64_t streams : {0x08u, 0x09u}) parameters.set_integer(streams, 100);
  parameters.set_integer(0x0e, 4);  // active_connection_id_limit
  parameters.set(0x0f, source_id_);
  parameters.set_integer(0x20, 65535);  // max_datagram_frame_size
  if (config_.edit_parameters) config_.edit_parameters(parameters);
  return parameters.encode();
}

void HostilePeer::use_secrets(Level level, const Bytes& client, const Bytes& server) {
  space(level).send_keys = PacketKeys::from_secret(config_.is_server ? server : client);
  space(level).receive_keys = PacketKeys::from_secret(config_.is_server ? client : server);
}

void HostilePeer::on_client_hello(const Bytes& message) {
  auto hello = tls::parse_client_hello(message);
  if (!hello) return;
  schedule_.add(message);
  const Bytes server_hello = emit(
      tls::kServerHello,
      tls::server_hello(random_bytes(random_, 32), hello->session_id,
                        edited(tls::kServerHello, tls::server_hello_extensions(key_exchange_.public_key()))));
  schedule_.derive_handshake(key_exchange_.shared_secret(hello->key_share));
  use_secrets(Level::kHandshake, schedule_.handshake_secret(false), schedule_.handshake_secret(true));
  send_tls(Level::kInitial, server_hello);

  const tls::Extensions extensions = tls::encrypted_extensions_of(config_.alpn, transport_parameters());
  Bytes flight = emit(tls::kEncryptedExtensions,
                      tls::encrypted_extensions(edited(tls::kEncryptedExtensions, extensions)));
  auto append = [&](uint8_t type, ByteView body) {
    const Bytes next = emit(type, body);
    flight.insert(flight.end(), next.begin(), next.end());
  };
  append(tls::kCertificateRequest,
         tls::certificate_request(edited(tls::kCertificateRequest, tls::certificate_request_extensions())));
  append(tls::kCertificate, tls::certificate(config_.key.public_key()));
  append(tls::kCertificateVerify, tls::certificate_verify(config_.key, true, schedule_.transcript_hash()));
  append(tls::kFinished, schedule_.finished(true));
  schedule_.derive_application();
  use_secrets(Level::kOneRtt, schedule_.application_secret(false), schedule_.application_secret(true));
  send_tls(Level::kHandshake, flight);
  if (config_.on_early_keys) config_.on_early_keys();
}

void HostilePeer::on_client_finished() {
  complete_ = confirmed_ = true;
  if (config_.send_handshake_done) send(Level::kOneRtt, frames::handshake_done());
}

void HostilePeer::on_server_hello(const Bytes& message) {
  auto hello = tls::parse_server_hello(message);
  if (!hello) return;
  schedule_.add(message);
  schedule_.derive_handshake(key_exchange_.shared_secret(hello->key_share));
  use_secrets(Level::kHandshake, schedule_.handshake_secret(false), schedule_.handshake_secret(true));
}

void HostilePeer::on_server_finished() {
  schedule_.derive_application();
  use_secrets(Level::kOneRtt, schedule_.application_secret(false), schedule_.application_secret(true));
  if (config_.on_early_keys) config_.on_early_keys();
  Bytes flight;
  auto append = [&](uint8_t type, ByteView body) {
    const Bytes next = emit(type, body);
    flight.insert(flight.end(), next.begin(), next.end());
  };
  if (certificate_requested_) {
    append(tls::kCertificate, tls::certificate(config_.key.public_key()));
    append(tls::kCertificateVerify, tls::certificate_verify(config_.key, false, schedule_.transcript_hash()));
  }
  append(tls::kFinished, schedule_.finished(false));
  complete_ = true;
  send_tls(Level::kHandshake, flight);
}

}  // namespace culvert::sim
