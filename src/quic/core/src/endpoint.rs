//! The endpoint: routes datagrams to connections, and answers those that belong to none.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use bytes::BytesMut;
use noq_proto::{
    ClientConfig, ConnectionId, DatagramEvent, EcnCodepoint, EndpointEvent, FourTuple, IdleTimeout, MtuDiscoveryConfig,
    ServerConfig, TransportConfig,
};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use ring::hmac;
use rustc_hash::FxHashMap;

use crate::abi::{self, Admission, ReceivedKind, ResponseKind};
use crate::connection::{Conn, PeerCheck, varint};
use crate::delivery::{Delivery, Factory};
use crate::keys::{CallTime, ID_SIZE, IdGenerator, PREFIX_SIZE, ResetKey, TokenKey, Tokens, prefix};
use crate::panics::last_panic;
use crate::tls::{self, FindCertificate, Identity, PublicKey};

/// RFC 9000, 14.1.
const MIN_INITIAL: usize = 1200;
/// Datagrams of 1452 bytes that share an allocation: five.
const ARENA: usize = 5 * 1452;

struct Policy {
    alpns: Vec<Vec<u8>>,
    config: Arc<ServerConfig>,
    settings: abi::Transport,
    needs_peer_key: bool,
}

pub struct Endpoint {
    inner: noq_proto::Endpoint,
    identity: Identity,
    policies: Vec<Policy>,
    /// Of clients whose protocols the first packet does not tell.
    fallback_policy: usize,
    client: abi::Transport,
    clients: FxHashMap<Vec<u8>, ClientConfig>,
    first_ids: Arc<std::sync::Mutex<StdRng>>,
    time: CallTime,
    /// Of all our connection ids.
    prefix: [u8; PREFIX_SIZE],
    connections: FxHashMap<usize, *mut Conn>,
    pub buffer: Vec<u8>,
    arena: BytesMut,
    pub panics: u64,
}

pub struct Outcome {
    pub kind: ReceivedKind,
    pub response_kind: ResponseKind,
    pub connection: *mut Conn,
    pub validated: bool,
    pub policy: usize,
    pub transmit: Option<noq_proto::Transmit>,
}

impl Outcome {
    pub fn nothing() -> Self {
        Self {
            kind: ReceivedKind::Nothing,
            response_kind: ResponseKind::None,
            connection: std::ptr::null_mut(),
            validated: false,
            policy: 0,
            transmit: None,
        }
    }

    fn response(kind: ResponseKind, transmit: Option<noq_proto::Transmit>) -> Self {
        let received = if transmit.is_some() { ReceivedKind::Response } else { ReceivedKind::Nothing };
        Self { kind: received, response_kind: kind, transmit, ..Self::nothing() }
    }
}

/// The moment that `nanoseconds` stand for. They count from a start that only the embedding program knows.
pub fn instant(nanoseconds: u64) -> Instant {
    *base() + Duration::from_nanos(nanoseconds)
}

pub fn nanoseconds(instant: Instant) -> u64 {
    // A peer may ask for delays of thousands of years (ACK_FREQUENCY).
    instant.saturating_duration_since(*base()).as_nanos().try_into().unwrap_or(u64::MAX)
}

fn base() -> &'static Instant {
    static BASE: OnceLock<Instant> = OnceLock::new();
    BASE.get_or_init(Instant::now)
}

fn milliseconds(value: u64) -> Option<Duration> {
    (value > 0).then(|| Duration::from_millis(value))
}

fn new_delivery(settings: &abi::Transport) -> Arc<Delivery> {
    Arc::new(Delivery::new(Duration::from_micros(settings.initial_rtt_us)))
}

/// Of one connection, which `delivery` belongs to.
fn transport(settings: &abi::Transport, delivery: &Arc<Delivery>) -> Arc<TransportConfig> {
    let mut config = TransportConfig::default();
    config
        .max_idle_timeout((settings.idle_timeout_ms > 0).then(|| IdleTimeout::from(varint(settings.idle_timeout_ms))))
        .keep_alive_interval(milliseconds(settings.keep_alive_ms))
        .default_path_max_idle_timeout(milliseconds(settings.path_idle_timeout_ms))
        .default_path_keep_alive_interval(milliseconds(settings.path_keep_alive_ms))
        .initial_rtt(Duration::from_micros(settings.initial_rtt_us))
        .stream_receive_window(varint(settings.stream_window))
        .receive_window(varint(settings.receive_window))
        .send_window(0) // the embedding program grants it
        .max_concurrent_bidi_streams(varint(settings.max_streams_bidi))
        .max_concurrent_uni_streams(varint(settings.max_streams_uni))
        .datagram_receive_buffer_size(
            (settings.datagram_receive_buffer > 0).then_some(settings.datagram_receive_buffer as usize),
        )
        .datagram_send_buffer_size(settings.datagram_send_buffer as usize)
        .send_observed_address_reports(settings.send_observed_addresses)
        .receive_observed_address_reports(settings.receive_observed_addresses);
    if settings.max_paths > 1 {
        config.max_concurrent_multipath_paths(settings.max_paths);
    }
    if settings.max_nat_candidates > 0 {
        config.max_remote_nat_traversal_addresses(settings.max_nat_candidates.min(255) as u8);
    }
    let mut mtu = MtuDiscoveryConfig::default();
    mtu.upper_bound(settings.max_udp_payload);
    config.mtu_discovery_config(Some(mtu));
    config.congestion_controller_factory(Arc::new(Factory { bbr: settings.bbr, delivery: delivery.clone() }));
    Arc::new(config)
}

/// What `Endpoint::new` is made from, copied out of the caller's structs.
pub struct PolicyParts {
    pub alpns: Vec<Vec<u8>>,
    pub transport: abi::Transport,
    pub certificates: Option<FindCertificate>,
    pub needs_peer_key: bool,
}

impl Endpoint {
    pub fn new(config: &abi::EndpointConfig, policies: Vec<PolicyParts>) -> Result<Self, String> {
        let check = config.key_check.ok_or("no key check")?;
        let identity = Identity::new(&config.seed, check).map_err(|error| error.to_string())?;
        let reset_key = Arc::new(ResetKey(hmac::Key::new(hmac::HMAC_SHA256, &config.reset_key)));
        let token_key = Arc::new(TokenKey::new(&config.token_key));
        let time = CallTime::default();

        let mut endpoint_config = noq_proto::EndpointConfig::new(reset_key);
        // Ids are public: nothing else may come from the same generator.
        let mut seeds = StdRng::from_seed(config.id_seed);
        let (mut id_seed, mut first_id_seed) = ([0; 32], [0; 32]);
        seeds.fill_bytes(&mut id_seed);
        seeds.fill_bytes(&mut first_id_seed);
        let (worker, generation) = (config.worker, config.generation);
        endpoint_config
            .cid_generator(Arc::new(move || Box::new(IdGenerator::new(worker, generation, id_seed))))
            .supported_versions(vec![1])
            .grease_quic_bit(false) // iroh drops packets without the fixed bit
            .rng_seed(Some(config.rng_seed));
        endpoint_config.max_udp_payload_size(config.max_udp_payload).map_err(|error| error.to_string())?;

        let mut made = Vec::new();
        for parts in policies {
            let first = parts.transport.initial_stream_window;
            let crypto = identity
                .server(parts.alpns.clone(), parts.certificates, parts.needs_peer_key, first)
                .map_err(|error| error.to_string())?;
            let mut server = ServerConfig::new(crypto, token_key.clone());
            server
                .max_incoming(config.max_incoming as usize)
                .incoming_buffer_size(config.incoming_buffer)
                .incoming_buffer_size_total(config.incoming_buffer_total)
                .retry_token_lifetime(Duration::from_millis(config.retry_token_lifetime_ms))
                .time_source(Arc::new(time.clone()));
            made.push(Policy {
                needs_peer_key: parts.needs_peer_key,
                alpns: parts.alpns,
                config: Arc::new(server),
                settings: parts.transport,
            });
        }
        let default = made.first().map(|policy| policy.config.clone());
        Ok(Self {
            inner: noq_proto::Endpoint::new(Arc::new(endpoint_config), default, true),
            identity,
            policies: made,
            fallback_policy: config.fallback_policy,
            client: config.client,
            clients: FxHashMap::default(),
            first_ids: Arc::new(std::sync::Mutex::new(StdRng::from_seed(first_id_seed))),
            time,
            prefix: prefix(config.worker, config.generation),
            connections: FxHashMap::default(),
            buffer: Vec::new(),
            arena: BytesMut::new(),
            panics: 0,
        })
    }

    /// How many peers proved their key in a full handshake.
    pub fn keys_verified(&self) -> u64 {
        self.identity.keys_verified()
    }

    pub fn receive(
        &mut self,
        now: u64,
        remote: abi::Address,
        local: abi::Address,
        ecn: u8,
        data: &[u8],
        admission: Admission,
    ) -> Outcome {
        self.time.set(now);
        let now = instant(now);
        let path = FourTuple::new(remote.socket(), local.ip());
        self.buffer.clear();
        let packet = self.owned(data);
        let event = self.inner.handle(now, path, EcnCodepoint::from_bits(ecn), packet, &mut self.buffer);
        match event {
            None => Outcome::nothing(),
            // RFC 9000, 5.2.2: noq answers a version that it does not know however small the datagram is, with more.
            Some(DatagramEvent::Response(_)) if data[0] & 0x80 != 0 && data.len() < MIN_INITIAL => Outcome::nothing(),
            Some(DatagramEvent::Response(transmit)) => Outcome::response(ResponseKind::Stateless, Some(transmit)),
            Some(DatagramEvent::ConnectionEvent(handle, event)) => {
                let Some(&connection) = self.connections.get(&handle.0) else {
                    return Outcome::nothing();
                };
                // SAFETY: `connections` holds what `forget` was not called for, so the object lives; no other
                // reference to it exists, because the caller is inside one call only.
                let conn = unsafe { &mut *connection };
                if conn.dead || conn.must_drop(data) {
                    return Outcome::nothing();
                }
                let is_reset = self.is_stateless_reset(data);
                self.guarded(conn, |endpoint, conn| {
                    if is_reset {
                        conn.reset_by_peer();
                        endpoint.forget(conn);
                    } else {
                        conn.heard_from(path.remote(), now);
                        conn.handle_event(event, data.len(), now);
                        endpoint.settle(conn, now);
                    }
                });
                Outcome { kind: ReceivedKind::Known, connection, ..Outcome::nothing() }
            }
            Some(DatagramEvent::NewConnection(incoming)) => self.admit(incoming, now, admission),
        }
    }

    /// A copy of the datagram for noq to keep. A few share an allocation, no more: one that is kept keeps them all.
    fn owned(&mut self, data: &[u8]) -> BytesMut {
        if self.arena.capacity() < data.len() {
            self.arena = BytesMut::with_capacity(ARENA.max(data.len()));
        }
        self.arena.extend_from_slice(data);
        self.arena.split()
    }

    /// Of a datagram that noq found a connection for. A short header carries an id of ours, and they all begin
    /// alike: a packet with another was found by the stateless reset token at its end. noq's connections recognise only
    /// the token of the first id (1.4). One reset in 65536 begins like our ids; the peer sends more of them.
    fn is_stateless_reset(&self, data: &[u8]) -> bool {
        data.len() > 1 + ID_SIZE && data[0] & 0x80 == 0 && data[1..1 + PREFIX_SIZE] != self.prefix
    }

    fn admit(&mut self, incoming: noq_proto::Incoming, now: Instant, admission: Admission) -> Outcome {
        let validated = incoming.remote_address_validated();
        if admission == Admission::Refuse {
            return Outcome::response(ResponseKind::Refused, Some(self.inner.refuse(incoming, &mut self.buffer)));
        }
        if admission == Admission::Retry && !validated {
            let retry = self.inner.retry(incoming, &mut self.buffer).ok();
            return Outcome::response(ResponseKind::Retry, retry);
        }
        let index = self.policy_for(&incoming);
        let policy = &self.policies[index];
        let (settings, needs_peer_key) = (policy.settings, policy.needs_peer_key);
        let delivery = new_delivery(&settings);
        let mut config = ServerConfig::clone(&policy.config);
        config.transport_config(transport(&settings, &delivery));
        match self.inner.accept(incoming, now, &mut self.buffer, Some(Arc::new(config))) {
            Ok((handle, inner)) => {
                let check = if needs_peer_key { PeerCheck::AnyKey } else { PeerCheck::None };
                let connection = self.adopt(Conn::new(inner, handle, check, &settings, delivery, now), now);
                Outcome { kind: ReceivedKind::New, connection, validated, policy: index, ..Outcome::nothing() }
            }
            Err(error) => Outcome::response(ResponseKind::Rejected, error.response),
        }
    }

    /// The first policy that knows a protocol of the client's.
    fn policy_for(&self, incoming: &noq_proto::Incoming) -> usize {
        if self.policies.len() < 2 {
            return 0;
        }
        let Some(offered) = incoming.decrypt().and_then(|initial| initial.alpns()) else {
            return self.fallback_policy;
        };
        let offered: Vec<_> = offered.flatten().collect();
        let knows = |policy: &Policy| policy.alpns.iter().any(|alpn| offered.iter().any(|each| each == alpn));
        self.policies.iter().position(knows).unwrap_or(0)
    }

    fn adopt(&mut self, conn: Conn, now: Instant) -> *mut Conn {
        let key = conn.handle.0;
        let connection = Box::into_raw(Box::new(conn));
        self.connections.insert(key, connection);
        // SAFETY: just made, and nothing else points to it.
        let conn = unsafe { &mut *connection };
        self.settle(conn, now);
        connection
    }

    /// Dials an endpoint that is named by its key.
    pub fn connect(
        &mut self,
        now: u64,
        remote: abi::Address,
        key: PublicKey,
        alpn: &[u8],
    ) -> Result<*mut Conn, String> {
        let config = match self.clients.get(alpn) {
            Some(config) => config.clone(),
            None => {
                let crypto = self
                    .identity
                    .raw_key_client(alpn, self.client.initial_stream_window)
                    .map_err(|error| error.to_string())?;
                let config = self.client_config(crypto);
                self.clients.insert(alpn.to_vec(), config.clone());
                config
            }
        };
        self.dial(now, remote, config, &tls::server_name_of_key(&key), PeerCheck::Key(key))
    }

    /// Dials a server with an X.509 certificate for `name` under one of `roots`.
    pub fn connect_x509(
        &mut self,
        now: u64,
        remote: abi::Address,
        name: &str,
        roots: &[&[u8]],
        proves_key: bool,
        alpn: &[u8],
    ) -> Result<*mut Conn, String> {
        let crypto = self
            .identity
            .x509_client(alpn, roots, proves_key, self.client.initial_stream_window)
            .map_err(|error| error.to_string())?;
        let config = self.client_config(crypto);
        self.dial(now, remote, config, name, PeerCheck::None)
    }

    fn client_config(&self, crypto: Arc<dyn noq_proto::crypto::ClientConfig>) -> ClientConfig {
        let mut config = ClientConfig::new(crypto);
        let first_ids = self.first_ids.clone();
        config.token_store(Arc::new(Tokens::default()));
        config.initial_dst_cid_provider(Arc::new(move || {
            let mut bytes = [0; 20];
            if let Ok(mut rng) = first_ids.lock() {
                rng.fill_bytes(&mut bytes);
            }
            ConnectionId::new(&bytes)
        }));
        config
    }

    fn dial(
        &mut self,
        now: u64,
        remote: abi::Address,
        mut config: ClientConfig,
        name: &str,
        check: PeerCheck,
    ) -> Result<*mut Conn, String> {
        self.time.set(now);
        let now = instant(now);
        let delivery = new_delivery(&self.client);
        config.transport_config(transport(&self.client, &delivery));
        let (handle, inner) =
            self.inner.connect(now, config, remote.socket(), name).map_err(|error| error.to_string())?;
        let conn = Conn::new(inner, handle, check, &self.client, delivery, now);
        Ok(self.adopt(conn, now))
    }

    /// Carries events between the connection and the endpoint.
    pub fn settle(&mut self, conn: &mut Conn, now: Instant) {
        if conn.dead {
            return;
        }
        while let Some(event) = conn.inner.poll_endpoint_events() {
            let drained = event.is_drained();
            if let Some(answer) = self.inner.handle_event(conn.handle, event) {
                conn.handle_event(answer, 0, now);
            }
            if drained {
                self.connections.remove(&conn.handle.0);
            }
        }
    }

    /// Forgets a connection, whatever its state.
    pub fn forget(&mut self, conn: &Conn) {
        if self.connections.remove(&conn.handle.0).is_some() {
            self.inner.handle_event(conn.handle, EndpointEvent::drained());
        }
    }

    /// Runs `work`; a panic is counted, and ends the connection that it left in an unknown state.
    pub fn guarded<R>(&mut self, conn: &mut Conn, work: impl FnOnce(&mut Self, &mut Conn) -> R) -> Option<R> {
        if let Ok(result) = catch_unwind(AssertUnwindSafe(|| work(self, conn))) {
            return Some(result);
        }
        self.panics += 1;
        conn.dead = true;
        conn.lost(abi::CloseKind::Internal, 0, last_panic());
        if catch_unwind(AssertUnwindSafe(|| self.forget(conn))).is_err() {
            self.panics += 1;
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::abi::CloseKind;

    extern "C" fn any_key(_: *const u8) -> bool {
        true
    }

    const TRANSPORT: abi::Transport = abi::Transport {
        idle_timeout_ms: 30_000,
        keep_alive_ms: 5_000,
        path_idle_timeout_ms: 15_000,
        path_keep_alive_ms: 5_000,
        initial_rtt_us: 333_000,
        initial_stream_window: 320 << 10,
        stream_window: 2 << 20,
        receive_window: u64::MAX,
        max_streams_bidi: 100,
        max_streams_uni: 3,
        datagram_receive_buffer: 1 << 20,
        datagram_send_buffer: 1 << 20,
        max_paths: 8,
        max_nat_candidates: 32,
        max_udp_payload: 1452,
        send_observed_addresses: false,
        receive_observed_addresses: false,
        bbr: false,
    };

    fn endpoint(fill: u8) -> Endpoint {
        let config = abi::EndpointConfig {
            seed: [fill; 32],
            reset_key: [1; 32],
            token_key: [2; 32],
            rng_seed: [3; 32],
            id_seed: [4; 32],
            worker: 5,
            generation: 0x83,
            max_udp_payload: 1452,
            max_incoming: 16,
            incoming_buffer: 65536,
            incoming_buffer_total: 65536,
            retry_token_lifetime_ms: 10_000,
            policies: std::ptr::null(),
            policy_count: 0,
            fallback_policy: 0,
            client: TRANSPORT,
            key_check: Some(any_key),
        };
        Endpoint::new(&config, Vec::new()).expect("a usable configuration")
    }

    fn somewhere() -> abi::Address {
        abi::Address::from_socket("192.0.2.1:443".parse().expect("an address"))
    }

    #[test]
    fn a_panic_ends_its_connection_and_no_other() {
        crate::panics::install_hook();
        let mut endpoint = endpoint(9);
        let dial = |endpoint: &mut Endpoint| endpoint.connect(1, somewhere(), [7; 32], b"test/1").expect("dialled");
        let (first, second) = (dial(&mut endpoint), dial(&mut endpoint));
        // SAFETY: both were just made, are distinct, and are freed below.
        let (first, second) = unsafe { (&mut *first, &mut *second) };
        assert!(endpoint.guarded(first, |_, _| -> () { panic!("on purpose") }).is_none());
        assert_eq!(endpoint.panics, 1);
        assert!(first.dead && first.is_drained());
        let closed = first.closed.as_ref().expect("a reason");
        assert!(closed.kind == CloseKind::Internal && closed.text.contains("on purpose"));
        assert_eq!(endpoint.guarded(second, |_, conn| conn.inner.is_handshaking()), Some(true));
        assert_eq!(endpoint.connections.len(), 1);
        for conn in [first, second] {
            endpoint.forget(conn);
            // SAFETY: made by Box::into_raw in adopt(), and not used again.
            drop(unsafe { Box::from_raw(conn) });
        }
    }

    #[test]
    fn ids_tell_worker_and_generation_and_first_ids_are_not_ours() {
        let mut endpoint = endpoint(9);
        let conn = endpoint.connect(1, somewhere(), [7; 32], b"test/1").expect("dialled");
        // SAFETY: just made; freed below.
        let conn = unsafe { &mut *conn };
        endpoint.buffer.clear();
        let sent = conn.inner.poll_transmit(instant(1), std::num::NonZeroUsize::MIN, &mut endpoint.buffer);
        assert!(sent.is_some());
        // RFC 9000, 17.2: flags, version, then the destination id of 20 bytes and the source id of 8.
        let packet = &endpoint.buffer;
        assert_eq!((packet[5], packet[26]), (20, 8));
        assert_eq!(packet[27..29], [5, 0x83]);
        assert_ne!(packet[7..14], packet[28..35]);
        endpoint.forget(conn);
        // SAFETY: as above.
        drop(unsafe { Box::from_raw(conn) });
    }
}
