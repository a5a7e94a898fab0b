#pragma once
#include <optional>
#include <string_view>
#include <variant>
#include <vector>

#include "base/bytes.h"
#include "base/socket_addr.h"

// Tests only: QUIC frames (RFC 9000, 19) and those of the extensions that the victim speaks, as bytes,
// well-formed or not. Independent of the QUIC core.
namespace culvert::sim {

// The shortest encoding, or one of exactly `size` bytes (1, 2, 4, 8). RFC 9000, 16.
Bytes varint(uint64_t value);
Bytes varint(uint64_t value, size_t size);
std::optional<uint64_t> read_varint(ByteReader& reader);
Bytes concat(std::initializer_list<ByteView> parts);

// Builders. They check nothing: a test may ask for any value.
namespace frames {

Bytes padding(size_t count);
Bytes ping();
struct AckRange {
  uint64_t smallest;
  uint64_t largest;
};
// From the highest range down; at least one.
Bytes ack(const std::vector<AckRange>& ranges, uint64_t delay = 0);
Bytes reset_stream(uint64_t stream, uint64_t code, uint64_t final_size);
Bytes stop_sending(uint64_t stream, uint64_t code);
Bytes crypto(uint64_t offset, ByteView data);
Bytes new_token(ByteView token);
Bytes stream(uint64_t stream, uint64_t offset, ByteView data, bool fin = false);
Bytes max_data(uint64_t limit);
Bytes max_stream_data(uint64_t stream, uint64_t limit);
Bytes max_streams(bool bidirectional, uint64_t limit);
Bytes data_blocked(uint64_t limit);
Bytes stream_data_blocked(uint64_t stream, uint64_t limit);
Bytes streams_blocked(bool bidirectional, uint64_t limit);
// `token` has 16 bytes in a valid frame.
Bytes new_connection_id(uint64_t sequence, uint64_t retire_prior_to, ByteView id, ByteView token);
Bytes retire_connection_id(uint64_t sequence);
Bytes path_challenge(uint64_t data);
Bytes path_response(uint64_t data);
Bytes connection_close(uint64_t code, uint64_t frame_type = 0, std::string_view reason = {});
Bytes application_close(uint64_t code, std::string_view reason = {});
Bytes handshake_done();
Bytes datagram(ByteView data);  // RFC 9221
// draft-ietf-quic-multipath
Bytes path_ack(uint64_t path, const std::vector<AckRange>& ranges, uint64_t delay = 0);
Bytes path_abandon(uint64_t path, uint64_t code = 0);
Bytes path_status(uint64_t path, uint64_t sequence, bool backup);
Bytes path_new_connection_id(uint64_t path, uint64_t sequence, uint64_t retire_prior_to, ByteView id,
                             ByteView token);
Bytes path_retire_connection_id(uint64_t path, uint64_t sequence);
Bytes max_path_id(uint64_t path);
Bytes paths_blocked(uint64_t path);
Bytes path_cids_blocked(uint64_t path, uint64_t next_sequence);
// n0's NAT traversal: only servers add and remove addresses, only clients reach out.
Bytes add_address(uint64_t sequence, const SocketAddr& address);
Bytes reach_out(uint64_t round, const SocketAddr& address);
Bytes remove_address(uint64_t sequence);
Bytes observed_address(uint64_t sequence, const SocketAddr& address);  // draft-ietf-quic-address-discovery
// draft-ietf-quic-ack-frequency
Bytes ack_frequency(uint64_t sequence, uint64_t threshold, uint64_t max_delay_us, uint64_t reordering);
Bytes immediate_ack();
// Any frame type with any body.
Bytes raw(uint64_t type, ByteView body);

}  // namespace frames

// What the victim sent.
struct AckFrame {
  uint64_t path;  // 0 where the frame names none
  uint64_t largest;
  uint64_t first_range;
};
struct CryptoFrame {
  uint64_t offset;
  Bytes data;
};
struct StreamFrame {
  uint64_t stream;
  uint64_t offset;
  Bytes data;
  bool fin;
};
struct NewConnectionIdFrame {
  uint64_t path;  // 0 where the frame names none
  uint64_t sequence;
  uint64_t retire_prior_to;
  Bytes id;
  Bytes token;
};
struct PathChallengeFrame {
  uint64_t data;
};
struct PathResponseFrame {
  uint64_t data;
};
struct ConnectionCloseFrame {
  bool application;
  uint64_t code;
  uint64_t frame_type;  // transport closes only
  std::string reason;
};
struct HandshakeDoneFrame {};
// Any other type: the values of its integer fields in wire order, and its data if it has some.
struct OtherFrame {
  uint64_t type;
  std::vector<uint64_t> fields;
  Bytes data;
};

using Frame = std::variant<AckFrame, CryptoFrame, StreamFrame, NewConnectionIdFrame, PathChallengeFrame,
                           PathResponseFrame, ConnectionCloseFrame, HandshakeDoneFrame, OtherFrame>;

// Without PADDING. nullopt: the payload is malformed, which a correct victim never sends.
std::optional<std::vector<Frame>> parse_frames(ByteView payload);
// Packets with other frames than ACK, PADDING and CONNECTION_CLOSE are (RFC 9000, 13.2.1).
bool is_ack_eliciting(const Frame& frame);

}  // namespace culvert::sim
