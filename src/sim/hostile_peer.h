#pragma once
#include <array>
#include <deque>
#include <functional>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <variant>
#include <vector>

#include "base/key.h"
#include "base/socket_addr.h"
#include "sim/hostile_frames.h"
#include "sim/hostile_packets.h"
#include "sim/hostile_tls.h"

// Tests only: a QUIC peer that breaks the rules. Independent of the QUIC core and its libraries, so that it
// can attack any of them.
namespace culvert::sim {

struct TransportParameter {
  uint64_t id;
  Bytes value;
};

// Transport parameters in wire order (RFC 9000, 18). Duplicates are allowed.
class TransportParameters {
 public:
  void set(uint64_t id, Bytes value);  // replaces all with this id
  void set_integer(uint64_t id, uint64_t value) { set(id, varint(value)); }
  void add(uint64_t id, Bytes value) { list_.push_back({id, std::move(value)}); }
  void remove(uint64_t id);
  Bytes encode() const;

 private:
  std::vector<TransportParameter> list_;
};

// One connection, as client or server. By default it behaves well: it completes the handshake, acknowledges,
// answers path challenges and follows key updates, so that a test only names its deviation. It retransmits
// nothing. Sans-I/O; everything it does follows from the seed of its randomness and from what it receives.
class HostilePeer {
 public:
  struct Config {
    bool is_server = false;
    SecretKey key;
    std::string alpn;
    SocketAddr address;

    // Hooks on the handshake. Each may be empty.
    std::function<void(TransportParameters&)> edit_parameters = {};
    // Of ClientHello, ServerHello, EncryptedExtensions and CertificateRequest.
    std::function<void(uint8_t message_type, tls::Extensions&)> edit_extensions = {};
    // A message with its header, before it is sent and hashed. The result may be empty, or several messages.
    std::function<Bytes(uint8_t message_type, Bytes message)> edit_message = {};
    bool send_handshake_done = true;  // servers
    // The 1-RTT keys are known, and the handshake is not complete: servers sent their flight, clients did
    // not.
    std::function<void()> on_early_keys = {};
    size_t id_size = 8;  // of the peer's own connection ids
    Bytes token = {};    // clients: of the first Initial
  };
  struct Datagram {
    SocketAddr source;
    Bytes data;
  };
  struct ReceivedPacket {
    Level level;
    uint64_t number;
    std::vector<Frame> frames;
  };

  HostilePeer(Config config, Random& random);

  // Datagrams.
  void start();  // clients: sends the ClientHello
  void receive(ByteView datagram);
  std::vector<Datagram> take() { return std::exchange(out_, {}); }

  // One packet of any level in a datagram of its own. Initial datagrams are padded to 1200 bytes. A level
  // without keys, and 0-RTT always, is protected with keys that the victim does not have.
  void send(Level level, ByteView frames);
  // The same packet, for send_datagram(): to be coalesced, repeated or damaged.
  Bytes packet(Level level, ByteView frames);
  void send_datagram(Bytes datagram);
  // TLS messages in CRYPTO frames, at the next offset of the level.
  void send_tls(Level level, ByteView messages);
  // 1-RTT packets on a path with an id above 0, if the victim negotiated multipath: from `source` and to the
  // newest id that it issued for the path. A path without one gets an id that the victim does not know.
  void send_on_path(uint32_t path, const SocketAddr& source, ByteView frames);
  // PATH_NEW_CONNECTION_ID with an id at which the peer takes packets of that path.
  Bytes issue_path_id(uint32_t path, uint64_t sequence, uint64_t retire_prior_to = 0);
  // Transport parameters that ask for every extension.
  static void add_extensions(TransportParameters& parameters);
  // The 1-RTT send keys of the next generation, allowed or not.
  void update_keys();

  // What the next packets use.
  void set_next_number(Level level, uint64_t number) { space(level).next_number = number; }
  void skip_numbers(uint32_t path, uint64_t count) { paths_[path].space.next_number += count; }
  void set_destination_id(Bytes id) { destination_id_ = std::move(id); }
  void set_source_id(Bytes id) { source_id_ = std::move(id); }
  void set_source(const SocketAddr& address) { source_ = address; }
  void set_acknowledging(bool on) { acknowledging_ = on; }
  // Everything received, now: after a time without, the victim sees a long round trip.
  void acknowledge();
  void set_answering_path_challenges(bool on) { answering_path_challenges_ = on; }
  void set_following_key_updates(bool on) { following_key_updates_ = on; }

  // What the victim did. The oldest packets are forgotten past kMaxReceived.
  static constexpr size_t kMaxReceived = 4096;
  bool complete() const { return complete_; }    // TLS is finished on this side
  bool confirmed() const { return confirmed_; }  // clients: HANDSHAKE_DONE arrived; servers: as complete()
  const std::optional<ConnectionCloseFrame>& closed() const { return closed_; }
  const std::deque<ReceivedPacket>& received() const { return received_; }
  template <class F>
  std::vector<F> received_frames() const;
  uint64_t undecryptable() const { return undecryptable_; }  // packets, a stateless reset too
  uint64_t malformed() const { return malformed_; }          // payloads: the victim's fault
  // Of the victim, for this path.
  std::optional<Bytes> path_destination(uint32_t path) const;
  uint64_t key_updates() const { return key_updates_; }  // of the victim's send keys
  const Bytes& destination_id() const { return destination_id_; }
  const Bytes& source_id() const { return source_id_; }
  const Bytes& original_id() const { return original_id_; }  // that the client chose for the server
  const Bytes& token() const { return token_; }              // clients: of a Retry
  const SocketAddr& address() const { return config_.address; }
  bool is_server() const { return config_.is_server; }

 private:
  struct Space {
    std::optional<PacketKeys> send_keys = std::nullopt;
    std::optional<PacketKeys> receive_keys = std::nullopt;
    uint64_t next_number = 0;
    uint64_t expected_number = 0;
    std::set<uint64_t> received = {};
    bool ack_due = false;
    uint64_t crypto_sent = 0;
    uint64_t crypto_read = 0;
    std::map<uint64_t, Bytes> crypto_waiting = {};
    Bytes tls_waiting = {};  // an incomplete message
  };

  // Of a path with an id above 0; the keys are those of path 0.
  struct Path {
    Space space = {};
    std::optional<Bytes> destination_id = std::nullopt;
    SocketAddr source = {};
  };

  Bytes path_packet(uint32_t path, ByteView frames);
  void respond(uint32_t path, ByteView frames);
  Space& space(Level level) { return spaces_[static_cast<size_t>(level)]; }
  uint32_t path_of(const ProtectedPacket& packet) const;
  std::optional<OpenedPacket> open_packet(const ProtectedPacket& packet, uint32_t path);
  void on_retry(const ProtectedPacket& packet);
  void on_packet(const ProtectedPacket& packet);
  void on_frame(Level level, uint32_t path, const Frame& frame);
  void on_crypto(Level level, const CryptoFrame& frame);
  void on_message(Level level, const Bytes& message);
  void send_acks();

  // The handshake. Each applies the hooks and returns what is to be sent.
  Bytes emit(uint8_t type, ByteView body);
  tls::Extensions edited(uint8_t type, tls::Extensions extensions) const;
  Bytes transport_parameters();
  void on_client_hello(const Bytes& message);
  void on_server_hello(const Bytes& message);
  void on_server_finished();
  void on_client_finished();
  void use_secrets(Level level, const Bytes& client, const Bytes& server);

  Config config_;
  Random& random_;
  tls::KeyExchange key_exchange_;
  tls::Schedule schedule_;
  std::array<Space, kLevels> spaces_;
  std::map<uint32_t, Path> paths_;
  std::map<Bytes, uint32_t> own_path_ids_;
  Bytes source_id_;
  Bytes destination_id_;
  Bytes original_id_;  // the destination of the client's first Initial
  Bytes token_;
  Bytes client_hello_;
  SocketAddr source_;
  std::vector<Datagram> out_;

  bool acknowledging_ = true;
  bool answering_path_challenges_ = true;
  bool following_key_updates_ = true;
  bool send_phase_ = false;
  bool receive_phase_ = false;
  bool learnt_id_ = false;
  bool certificate_requested_ = false;
  bool complete_ = false;
  bool confirmed_ = false;
  std::optional<PacketKeys> previous_receive_keys_;
  std::optional<ConnectionCloseFrame> closed_;
  std::deque<ReceivedPacket> received_;
  uint64_t undecryptable_ = 0;
  uint64_t malformed_ = 0;
  uint64_t key_updates_ = 0;
};

template <class F>
std::vector<F> HostilePeer::received_frames() const {
  std::vector<F> out;
  for (const ReceivedPacket& packet : received_) {
    for (const Frame& frame : packet.frames) {
      if (const F* found = std::get_if<F>(&frame)) out.push_back(*found);
    }
  }
  return out;
}

}  // namespace culvert::sim
