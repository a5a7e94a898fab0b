//! Plain structs that cross the boundary; quic/core.h declares the same. `cq_layout` lets the other side check sizes.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use noq_proto::{PathId, StreamId};

use crate::connection::path_number;

#[repr(C)]
#[derive(Clone, Copy, Default, Debug, PartialEq, Eq)]
pub struct Address {
    /// 4, 6, or 0 for none.
    pub family: u16,
    pub port: u16,
    /// Network order; IPv4 in the first four bytes.
    pub ip: [u8; 16],
}

impl Address {
    pub fn from_socket(address: SocketAddr) -> Self {
        let mut out = Self::from_ip(Some(address.ip()));
        out.port = address.port();
        out
    }

    pub fn from_ip(ip: Option<IpAddr>) -> Self {
        let mut out = Self::default();
        match ip.map(|ip| ip.to_canonical()) {
            None => {}
            Some(IpAddr::V4(v4)) => {
                out.family = 4;
                out.ip[..4].copy_from_slice(&v4.octets());
            }
            Some(IpAddr::V6(v6)) => {
                out.family = 6;
                out.ip = v6.octets();
            }
        }
        out
    }

    pub fn ip(&self) -> Option<IpAddr> {
        match self.family {
            4 => Some(Ipv4Addr::new(self.ip[0], self.ip[1], self.ip[2], self.ip[3]).into()),
            6 => Some(Ipv6Addr::from(self.ip).into()),
            _ => None,
        }
    }

    /// 0.0.0.0:0, which nothing connects to, where there is none.
    pub fn socket(&self) -> SocketAddr {
        SocketAddr::new(self.ip().unwrap_or(Ipv4Addr::UNSPECIFIED.into()), self.port)
    }
}

#[repr(C)]
#[derive(Clone, Copy)]
pub struct Slice {
    pub data: *const u8,
    pub size: usize,
}

/// Settings of the connections of one ALPN.
#[repr(C)]
#[derive(Clone, Copy, Default)]
pub struct Transport {
    pub idle_timeout_ms: u64,
    pub keep_alive_ms: u64,
    pub path_idle_timeout_ms: u64,
    pub path_keep_alive_ms: u64,
    pub initial_rtt_us: u64,
    /// Of each stream: what the peer may send at first, and what it may send once the first bytes were read.
    pub initial_stream_window: u64,
    pub stream_window: u64,
    /// Of all streams together, until `cq_connection_set_receive_window`.
    pub receive_window: u64,
    pub max_streams_bidi: u64,
    pub max_streams_uni: u64,
    /// 0: the peer may send no datagrams.
    pub datagram_receive_buffer: u64,
    pub datagram_send_buffer: u64,
    /// 0 and 1: one path, as in RFC 9000.
    pub max_paths: u32,
    /// 0: no NAT traversal.
    pub max_nat_candidates: u32,
    pub max_udp_payload: u16,
    pub send_observed_addresses: bool,
    pub receive_observed_addresses: bool,
    /// BBR version 3 instead of CUBIC.
    pub bbr: bool,
}

/// An X.509 certificate chain and its private key, ready for use.
pub type X509Identity = rustls::sign::CertifiedKey;

/// Where a server's certificates come from.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct CertificateSource {
    pub context: *mut std::ffi::c_void,
    /// For the name that the client asked for, empty if for none, and the protocols that it offers. Null: it is refused.
    /// The identity is valid until the next call. None: raw public keys.
    pub find: Option<FindCertificate>,
}

pub type FindCertificate = extern "C" fn(*mut std::ffi::c_void, Slice, *const Slice, usize) -> *const X509Identity;

/// ALPNs that share credentials and settings.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct Policy {
    pub alpns: *const Slice,
    pub alpn_count: usize,
    pub transport: Transport,
    pub certificates: CertificateSource,
    /// Whether clients must prove an Ed25519 key. Always with raw public keys.
    pub needs_peer_key: bool,
}

#[repr(C)]
pub struct EndpointConfig {
    pub seed: [u8; 32],
    pub reset_key: [u8; 32],
    pub token_key: [u8; 32],
    pub rng_seed: [u8; 32],
    pub id_seed: [u8; 32],
    pub worker: u8,
    pub generation: u8,
    pub max_udp_payload: u16,
    pub max_incoming: u64,
    pub incoming_buffer: u64,
    pub incoming_buffer_total: u64,
    pub retry_token_lifetime_ms: u64,
    pub policies: *const Policy,
    pub policy_count: usize,
    /// Which of them is for clients whose ClientHello does not fit into their first packet.
    pub fallback_policy: usize,
    /// Of connections that this endpoint dials.
    pub client: Transport,
    pub key_check: Option<crate::tls::KeyCheck>,
}

/// What may be done with the first packet of an unknown client.
#[repr(u32)]
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Admission {
    Accept = 0,
    /// Accept clients with a valid token; ask the others for one (RFC 9000, 8.1.2).
    Retry = 1,
    Refuse = 2,
}

impl Admission {
    pub fn from_number(number: u32) -> Self {
        match number {
            0 => Self::Accept,
            1 => Self::Retry,
            _ => Self::Refuse,
        }
    }
}

#[repr(u32)]
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum ReceivedKind {
    /// Dropped.
    Nothing = 0,
    /// `connection` has news.
    Known = 1,
    /// `connection` began.
    New = 2,
    /// `response` must be sent.
    Response = 3,
}

#[repr(u32)]
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum ResponseKind {
    None = 0,
    /// Version negotiation or stateless reset.
    Stateless = 1,
    Retry = 2,
    Refused = 3,
    /// The first packet of a client could not be accepted.
    Rejected = 4,
}

#[repr(C)]
pub struct Transmit {
    pub data: *const u8,
    pub size: usize,
    pub segment_size: usize,
    pub remote: Address,
    /// Source address to send from; family 0 lets the kernel choose.
    pub local: Address,
    pub ecn: u32,
}

#[repr(C)]
pub struct Received {
    pub kind: u32,
    pub response_kind: u32,
    pub connection: *mut crate::connection::Conn,
    pub user: *mut std::ffi::c_void,
    /// New connections: the client's address is validated by a token.
    pub validated: bool,
    /// New connections: the index of their policy.
    pub policy: usize,
    pub response: Transmit,
}

#[repr(u32)]
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum ConnectionEventKind {
    Connected = 1,
    Lost = 2,
    /// id: direction
    Opened = 3,
    /// id: stream; value: bytes that it holds; code: frames that noq holds of it
    Readable = 4,
    Writable = 5,
    Finished = 6,
    /// code: the peer's
    Stopped = 7,
    /// id: direction
    Available = 8,
    DatagramReceived = 9,
    DatagramsUnblocked = 10,
    /// path
    PathEstablished = 11,
    /// code: 0 by us, 1 timed out, 2 network changed, 3 by the peer
    PathAbandoned = 12,
    PathDiscarded = 13,
    /// code: 0 available, 1 backup
    PathRemoteStatus = 14,
    ObservedAddress = 15,
    RemoteCandidateAdded = 16,
    RemoteCandidateRemoved = 17,
}

#[repr(C)]
#[derive(Clone, Copy)]
pub struct CqEvent {
    pub kind: u32,
    pub path: u32,
    pub id: u64,
    pub code: u64,
    pub value: u64,
    pub address: Address,
}

impl CqEvent {
    fn empty(kind: ConnectionEventKind) -> Self {
        Self { kind: kind as u32, path: 0, id: 0, code: 0, value: 0, address: Address::default() }
    }

    pub fn plain(kind: ConnectionEventKind, id: u64) -> Self {
        Self { id, ..Self::empty(kind) }
    }

    pub fn stream(kind: ConnectionEventKind, id: StreamId, code: u64, value: u64) -> Self {
        Self { id: id.into(), code, value, ..Self::empty(kind) }
    }

    pub fn path(kind: ConnectionEventKind, path: PathId, code: u64) -> Self {
        Self { path: path_number(path), code, ..Self::empty(kind) }
    }

    pub fn address(kind: ConnectionEventKind, path: u32, address: SocketAddr) -> Self {
        Self { path, address: Address::from_socket(address), ..Self::empty(kind) }
    }
}

#[repr(u32)]
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum CloseKind {
    /// We found the peer, or its proof of identity, at fault.
    LocalTransport = 0,
    PeerTransport = 1,
    PeerApplication = 2,
    Idle = 3,
    Reset = 4,
    Version = 5,
    /// A bug on our side; only this connection ends.
    Internal = 6,
}

#[repr(C)]
pub struct Status {
    /// Nanoseconds; u64::MAX for none.
    pub deadline: u64,
    /// Bytes of streams that were reset and that still count as granted.
    pub lingering: u64,
    pub drained: bool,
    pub handshaking: bool,
    pub multipath: bool,
    pub liveness: Liveness,
}

#[repr(C)]
pub struct Liveness {
    /// Times in nanoseconds. When something of the peer's was last received that nobody else can have sent.
    pub heard: u64,
    /// When the latest packet was sent that the peer acknowledged; 0: none.
    pub acked: u64,
    /// When the first packet was sent that asks for an acknowledgement since the peer was heard; u64::MAX: none.
    pub waiting: u64,
    /// Probe timeout, a duration.
    pub pto: u64,
}

impl Liveness {
    /// Of a connection that is over.
    pub const NONE: Self = Self { heard: 0, acked: 0, waiting: u64::MAX, pto: 0 };
}

#[repr(C)]
pub struct StreamState {
    /// Bytes that can be read now.
    pub available: u64,
    /// All bytes that are held for the stream, an upper bound.
    pub held: u64,
    /// Behind what is available: 0 open, 1 finished, 2 reset, 3 gone
    pub end: u32,
    /// Of a reset.
    pub code: u64,
}

#[repr(C)]
#[derive(Default)]
pub struct PathInfo {
    pub id: u32,
    pub backup: bool,
    pub remote_backup: bool,
    /// May carry data.
    pub established: bool,
    pub remote: Address,
    pub local: Address,
    /// What the peer sees as our address; family 0 if it did not say.
    pub observed: Address,
    pub rtt_ns: u64,
    pub congestion_window: u64,
    pub mtu: u64,
    pub bytes_sent: u64,
    pub bytes_received: u64,
    pub packets_lost: u64,
    pub congestion_events: u64,
    pub black_holes: u64,
}

#[repr(C)]
pub struct Layout {
    pub endpoint_config: usize,
    pub policy: usize,
    pub transport: usize,
    pub received: usize,
    pub transmit: usize,
    pub event: usize,
    pub status: usize,
    pub stream_state: usize,
    pub path_info: usize,
    pub liveness: usize,
}

impl Layout {
    pub fn current() -> Self {
        Self {
            endpoint_config: size_of::<EndpointConfig>(),
            policy: size_of::<Policy>(),
            transport: size_of::<Transport>(),
            received: size_of::<Received>(),
            transmit: size_of::<Transmit>(),
            event: size_of::<CqEvent>(),
            status: size_of::<Status>(),
            stream_state: size_of::<StreamState>(),
            path_info: size_of::<PathInfo>(),
            liveness: size_of::<Liveness>(),
        }
    }
}
