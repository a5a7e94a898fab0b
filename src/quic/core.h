#pragma once
#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>

#include "base/clock.h"
#include "base/socket_addr.h"

// The C interface of core/ (Rust), which wraps n0's QUIC state machine. The structs repeat core/src/abi.rs;
// the engine compares their sizes at its start. Used by quic/ only.
namespace culvert::quic::core {

struct Endpoint;
struct Connection;

struct Address {
  uint16_t family = 0;  // 4, 6, or 0 for none
  uint16_t port = 0;
  std::array<uint8_t, 16> ip{};
};

struct Slice {
  const uint8_t* data = nullptr;
  size_t size = 0;
};

struct Transport {
  uint64_t idle_timeout_ms;
  uint64_t keep_alive_ms;
  uint64_t path_idle_timeout_ms;
  uint64_t path_keep_alive_ms;
  uint64_t initial_rtt_us;
  uint64_t initial_stream_window;
  uint64_t stream_window;
  uint64_t receive_window;
  uint64_t max_streams_bidi;
  uint64_t max_streams_uni;
  uint64_t datagram_receive_buffer;
  uint64_t datagram_send_buffer;
  uint32_t max_paths;
  uint32_t max_nat_candidates;
  uint16_t max_udp_payload;
  bool send_observed_addresses;
  bool receive_observed_addresses;
  bool bbr;
};

struct X509Identity;

struct CertificateSource {
  void* context;
  // The identity for a name and the protocols that the client offers, valid until the next call; nullptr
  // refuses the client. No function: raw public keys.
  const X509Identity* (*find)(void* context, Slice name, const Slice* alpns, size_t alpn_count);
};

struct Policy {
  const Slice* alpns;
  size_t alpn_count;
  Transport transport;
  CertificateSource certificates;
  bool needs_peer_key;  // always with raw public keys
};

struct EndpointConfig {
  std::array<uint8_t, 32> seed;
  std::array<uint8_t, 32> reset_key;
  std::array<uint8_t, 32> token_key;
  std::array<uint8_t, 32> rng_seed;
  std::array<uint8_t, 32> id_seed;
  uint8_t worker;
  uint8_t generation;
  uint16_t max_udp_payload;
  uint64_t max_incoming;
  uint64_t incoming_buffer;
  uint64_t incoming_buffer_total;
  uint64_t retry_token_lifetime_ms;
  const Policy* policies;
  size_t policy_count;
  size_t fallback_policy;  // of clients whose ClientHello does not fit into their first packet
  Transport client;
  bool (*key_check)(const uint8_t* key);
};

enum class Admission : uint32_t { kAccept = 0, kRetry = 1, kRefuse = 2 };

enum class ReceivedKind : uint32_t { kNothing = 0, kKnown = 1, kNew = 2, kResponse = 3 };

enum class ResponseKind : uint32_t { kNone = 0, kStateless = 1, kRetry = 2, kRefused = 3, kRejected = 4 };

struct Transmit {
  const uint8_t* data;
  size_t size;
  size_t segment_size;
  Address remote;
  Address local;
  uint32_t ecn;
};

struct Received {
  ReceivedKind kind;
  ResponseKind response_kind;
  Connection* connection;
  void* user;
  bool validated;
  size_t policy;  // index
  Transmit response;
};

enum class EventKind : uint32_t {
  kConnected = 1,
  kLost = 2,
  kOpened = 3,     // id: direction
  kReadable = 4,   // id: stream; value: bytes that it holds; code: frames
  kWritable = 5,   // id: stream
  kFinished = 6,   // id: stream
  kStopped = 7,    // id: stream; code
  kAvailable = 8,  // id: direction
  kDatagramReceived = 9,
  kDatagramsUnblocked = 10,
  kPathEstablished = 11,
  kPathAbandoned = 12,  // code: 0 by us, 1 timed out, 2 network changed, 3 by the peer
  kPathDiscarded = 13,
  kPathRemoteStatus = 14,  // code: 0 available, 1 backup
  kObservedAddress = 15,
  kRemoteCandidateAdded = 16,
  kRemoteCandidateRemoved = 17,
};

struct Event {
  EventKind kind;
  uint32_t path;
  uint64_t id;
  uint64_t code;
  uint64_t value;
  Address address;
};

enum class CloseKind : uint32_t {
  kLocalTransport = 0,
  kPeerTransport = 1,
  kPeerApplication = 2,
  kIdle = 3,
  kReset = 4,
  kVersion = 5,
  kInternal = 6,
};

// Times are nanoseconds as in to_core().
struct Liveness {
  uint64_t heard;    // when something was last received that only the peer can have sent
  uint64_t acked;    // when the latest packet was sent that the peer acknowledged; 0: none
  uint64_t waiting;  // when the first packet that asks for an acknowledgement was sent since then;
                     // UINT64_MAX: none
  uint64_t pto;      // probe timeout, a duration
};

struct Status {
  uint64_t deadline;
  uint64_t lingering;  // bytes of streams that were reset and that still count as granted
  bool drained;
  bool handshaking;
  bool multipath;
  Liveness liveness;
};

enum class StreamEnd : uint32_t { kOpen = 0, kFinished = 1, kReset = 2, kGone = 3 };

struct StreamState {
  uint64_t available;  // bytes that can be read now
  uint64_t held;       // all bytes that are held for the stream, an upper bound
  StreamEnd end;       // behind what is available
  uint64_t code;
};

struct PathInfo {
  uint32_t id;
  bool backup;
  bool remote_backup;
  bool established;
  Address remote;
  Address local;
  Address observed;
  uint64_t rtt_ns;
  uint64_t congestion_window;
  uint64_t mtu;
  uint64_t bytes_sent;
  uint64_t bytes_received;
  uint64_t packets_lost;
  uint64_t congestion_events;
  uint64_t black_holes;
};

struct Layout {
  size_t endpoint_config;
  size_t policy;
  size_t transport;
  size_t received;
  size_t transmit;
  size_t event;
  size_t status;
  size_t stream_state;
  size_t path_info;
  size_t liveness;
  bool operator==(const Layout&) const = default;
};

constexpr Layout kLayout = {sizeof(EndpointConfig), sizeof(Policy),  sizeof(Transport), sizeof(Received),
                            sizeof(Transmit),       sizeof(Event),   sizeof(Status),    sizeof(StreamState),
                            sizeof(PathInfo),       sizeof(Liveness)};

constexpr uint64_t kNoStream = UINT64_MAX;
constexpr size_t kClosedForWriting = SIZE_MAX;
constexpr size_t kNoDatagram = SIZE_MAX;

// core/src/ffi/ says what each does, and what is valid how long.
extern "C" {
Layout cq_layout();
Endpoint* cq_endpoint_new(const EndpointConfig* config);
const X509Identity* cq_x509_new(const Slice* chain, size_t count, Slice key);
void cq_x509_free(const X509Identity* identity);
void cq_endpoint_free(Endpoint* endpoint);
uint64_t cq_endpoint_panics(Endpoint* endpoint);
uint64_t cq_endpoint_keys_verified(Endpoint* endpoint);
size_t cq_last_panic(uint8_t* out, size_t capacity);
void cq_endpoint_receive(Endpoint* endpoint, uint64_t now, Address remote, Address local, uint32_t ecn,
                         const uint8_t* data, size_t size, Admission admission, Received* out);
Connection* cq_endpoint_connect(Endpoint* endpoint, uint64_t now, Address remote, const uint8_t* key,
                                const uint8_t* alpn, size_t alpn_size);
Connection* cq_endpoint_connect_x509(Endpoint* endpoint, uint64_t now, Address remote, Slice name,
                                     const Slice* roots, size_t root_count, bool proves_key,
                                     const uint8_t* alpn, size_t alpn_size);

void cq_connection_free(Endpoint* endpoint, Connection* connection);
void cq_connection_set_user(Connection* connection, void* user);
size_t cq_connection_events(Endpoint* endpoint, Connection* connection, uint64_t now, Event* out,
                            size_t capacity);
void cq_connection_status(Endpoint* endpoint, Connection* connection, Status* out);
void cq_connection_transmit(Endpoint* endpoint, Connection* connection, uint64_t now, size_t max_segments,
                            Transmit* out);
void cq_connection_timeout(Endpoint* endpoint, Connection* connection, uint64_t now);
void cq_connection_close(Endpoint* endpoint, Connection* connection, uint64_t now, uint64_t code,
                         const uint8_t* reason, size_t reason_size);
size_t cq_connection_close_reason(Connection* connection, CloseKind* kind, uint64_t* code, uint8_t* text,
                                  size_t capacity);
bool cq_connection_peer_key(Connection* connection, uint8_t* out);
size_t cq_connection_alpn(Endpoint* endpoint, Connection* connection, uint8_t* out, size_t capacity);
void cq_connection_network_changed(Endpoint* endpoint, Connection* connection, uint64_t now,
                                   bool recoverable);
uint64_t cq_connection_acks(Endpoint* endpoint, Connection* connection);
void cq_connection_liveness(Endpoint* endpoint, Connection* connection, Liveness* out);
void cq_connection_ping(Endpoint* endpoint, Connection* connection);
void cq_connection_set_send_window(Endpoint* endpoint, Connection* connection, uint64_t window);
bool cq_connection_try_reduce_send_window(Endpoint* endpoint, Connection* connection, uint64_t window,
                                          uint64_t probe);
void cq_connection_set_receive_window(Endpoint* endpoint, Connection* connection, uint64_t window);

uint64_t cq_stream_open(Endpoint* endpoint, Connection* connection, bool unidirectional);
uint64_t cq_stream_accept(Endpoint* endpoint, Connection* connection, bool unidirectional);
void cq_stream_fill(Endpoint* endpoint, Connection* connection, uint64_t id, uint64_t consumed,
                    StreamState* state);
size_t cq_stream_pieces(Endpoint* endpoint, Connection* connection, uint64_t id, Slice* out, size_t capacity);
void cq_stream_front(Endpoint* endpoint, Connection* connection, uint64_t id, Slice* out);
void cq_stream_forget(Endpoint* endpoint, Connection* connection, uint64_t id);
void cq_stream_compact(Endpoint* endpoint, Connection* connection, uint64_t id);
void cq_stream_stop(Endpoint* endpoint, Connection* connection, uint64_t id, uint64_t code);
size_t cq_stream_write(Endpoint* endpoint, Connection* connection, uint64_t id, const uint8_t* data,
                       size_t size);
void cq_stream_finish(Endpoint* endpoint, Connection* connection, uint64_t id);
void cq_stream_reset(Endpoint* endpoint, Connection* connection, uint64_t id, uint64_t code,
                     uint64_t written);

uint32_t cq_datagram_send(Endpoint* endpoint, Connection* connection, const uint8_t* data, size_t size);
size_t cq_datagram_max_size(Endpoint* endpoint, Connection* connection);
size_t cq_datagram_receive(Endpoint* endpoint, Connection* connection, uint8_t* out, size_t capacity);

size_t cq_paths(Endpoint* endpoint, Connection* connection, PathInfo* out, size_t capacity);
uint32_t cq_path_open(Endpoint* endpoint, Connection* connection, uint64_t now, Address remote, bool backup);
bool cq_path_close(Endpoint* endpoint, Connection* connection, uint64_t now, uint32_t path, uint64_t code);
bool cq_path_set_backup(Endpoint* endpoint, Connection* connection, uint32_t path, bool backup);
bool cq_path_set_timers(Endpoint* endpoint, Connection* connection, uint64_t now, uint32_t path,
                        uint64_t idle_timeout_ms, uint64_t keep_alive_ms);
bool cq_path_ping(Endpoint* endpoint, Connection* connection, uint32_t path);
bool cq_candidate_add(Endpoint* endpoint, Connection* connection, Address address);
bool cq_candidate_remove(Endpoint* endpoint, Connection* connection, Address address);
uint32_t cq_nat_traversal_round(Endpoint* endpoint, Connection* connection, uint64_t now);
}

inline Address to_core(const SocketAddr& address) {
  Address out{static_cast<uint16_t>(address.is_v4() ? 4 : 6), address.port(), {}};
  std::ranges::copy(address.ip(), out.ip.begin());
  return out;
}

// 0.0.0.0:0 for none.
inline SocketAddr from_core(const Address& address) {
  if (address.family == 6) return SocketAddr::v6(address.ip, address.port);
  if (address.family != 4) return {};
  return SocketAddr::v4({address.ip[0], address.ip[1], address.ip[2], address.ip[3]}, address.port);
}

inline uint64_t to_core(TimePoint time) { return static_cast<uint64_t>(time.time_since_epoch().count()); }

inline TimePoint from_core(uint64_t nanoseconds) {
  const auto largest = static_cast<uint64_t>(TimePoint::max().time_since_epoch().count());
  return nanoseconds >= largest ? TimePoint::max() : TimePoint(Duration(static_cast<int64_t>(nanoseconds)));
}

}  // namespace culvert::quic::core
