//! One connection: noq's state machine, what it has to tell the application, and its streams' unread data.

use std::collections::{HashSet, VecDeque};
use std::ffi::c_void;
use std::net::SocketAddr;
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::time::{Duration, Instant};

use noq_proto::{ConnectionEvent, ConnectionHandle, FourTuple, NetworkChangeHint, PathId, Side, StreamId, VarInt};
use rustc_hash::FxHashMap;

use crate::abi::{Address, CloseKind, CqEvent, Liveness, Transport};
use crate::delivery::Delivery;
use crate::endpoint::nanoseconds;
use crate::probe::Prober;
use crate::recv::Recv;
use crate::send::SendWindow;
use crate::tls::PublicKey;
use crate::unprotected::{self, MAX_TOKEN, Unprotected};

mod events;
mod streams;
mod validation;

use events::KEPT_PATHS_FOR_EACH;
use validation::{Budget, Heard, OFF_PATH_BURST, OFF_PATH_INTERVAL, VALIDATION_BURST, VALIDATION_INTERVAL};

/// noq's, three PTOs, unless round trips are slow.
const LONGEST_VALIDATION: Duration = Duration::from_secs(3);
/// Of the paths, that may be due before a PTO.
const MAX_TIMERS: usize = 4;

pub enum PeerCheck {
    /// The peer must prove this key.
    Key(PublicKey),
    /// The peer must prove a key; which one is reported.
    AnyKey,
    /// None, or what the TLS verifier has decided by an X.509 certificate.
    None,
}

pub struct Closed {
    pub kind: CloseKind,
    pub code: u64,
    pub text: String,
}

pub struct Conn {
    pub inner: noq_proto::Connection,
    pub handle: ConnectionHandle,
    /// The embedding program's object.
    pub user: *mut c_void,
    pub peer_check: PeerCheck,
    pub peer_key: Option<PublicKey>,
    pub closed: Option<Closed>,
    /// Over without a farewell, or left in an unknown state by a panic: nothing is called on `inner` any more.
    pub dead: bool,
    /// Configured window of each stream.
    window: u64,
    /// Bytes of datagrams since the last collect().
    arrived: u64,
    events: VecDeque<CqEvent>,
    streams: FxHashMap<StreamId, Recv>,
    send: SendWindow,
    /// Streams that became readable, and by how many frames.
    readable: Vec<(StreamId, u64)>,
    /// RFC 9001, 4.1.2: for a client, HANDSHAKE_DONE arrived.
    confirmed: bool,
    established: HashSet<PathId>,
    max_kept_paths: usize,
    validations: Budget,
    validation_frames: u64,
    off_path: Budget,
    /// Where the paths led when an early probe was last considered.
    routes: Vec<SocketAddr>,
    validated_by: Instant,
    /// Paths that are closed and not forgotten yet.
    draining: usize,
    prober: Prober,
    heard: Heard,
    delivery: Arc<Delivery>,
    /// `proofs()` when something authentic was last received, and when that was.
    proofs_seen: u64,
    last_authentic: Instant,
}

impl Conn {
    pub fn new(
        inner: noq_proto::Connection,
        handle: ConnectionHandle,
        peer_check: PeerCheck,
        settings: &Transport,
        delivery: Arc<Delivery>,
        now: Instant,
    ) -> Self {
        Self {
            inner,
            handle,
            user: std::ptr::null_mut(),
            peer_check,
            peer_key: None,
            closed: None,
            dead: false,
            window: settings.stream_window,
            arrived: 0,
            events: VecDeque::new(),
            streams: FxHashMap::default(),
            send: SendWindow::default(),
            readable: Vec::new(),
            confirmed: false,
            established: HashSet::new(),
            max_kept_paths: KEPT_PATHS_FOR_EACH * settings.max_paths.max(1) as usize,
            validations: Budget::new(VALIDATION_BURST, VALIDATION_INTERVAL),
            validation_frames: 0,
            off_path: Budget::new(OFF_PATH_BURST, OFF_PATH_INTERVAL),
            routes: Vec::new(),
            validated_by: now,
            draining: 0,
            prober: Prober::new(settings, now),
            heard: Heard::default(),
            delivery,
            proofs_seen: 0,
            last_authentic: now,
        }
    }

    pub fn is_drained(&self) -> bool {
        self.dead || self.inner.is_drained()
    }

    /// Whether noq must not see a datagram of this connection.
    pub fn must_drop(&self, datagram: &[u8]) -> bool {
        match unprotected::find(datagram) {
            None => false,
            Some(_) if is_server(&self.inner) || !self.inner.is_handshaking() => true,
            Some(Unprotected::Retry { token_size }) => token_size > MAX_TOKEN,
            Some(Unprotected::VersionNegotiation) => false,
        }
    }

    /// A datagram for this connection came from there.
    pub fn heard_from(&mut self, remote: SocketAddr, now: Instant) {
        self.heard.from(remote, now);
    }

    /// `size` is that of the datagram that the event carries.
    pub fn handle_event(&mut self, event: ConnectionEvent, size: usize, now: Instant) {
        let rtt = self.longest_rtt();
        let answer = size > 0 && self.prober.received(size, rtt, now);
        let proofs = (size > 0 && self.prober.wants_proof(now)).then(|| self.proofs());
        self.inner.handle_event(event);
        self.arrived += size as u64;
        if proofs.is_some_and(|before| self.proofs() > before) {
            self.prober.proven(now);
        }
        if answer {
            self.prober.timed_out();
            self.probe_early(now, now + rtt);
        }
    }

    /// Frames of packets that only the peer can have sent. Those that are left out never come alone.
    fn proofs(&mut self) -> u64 {
        let frames = self.inner.stats().frame_rx;
        let stream = frames.stream + frames.reset_stream + frames.stop_sending + frames.datagram;
        let credit = frames.max_data + frames.max_stream_data + frames.max_streams_bidi + frames.max_streams_uni;
        let ids = frames.new_connection_id
            + frames.retire_connection_id
            + frames.path_new_connection_id
            + frames.path_retire_connection_id;
        let path = frames.path_challenge + frames.path_response + frames.path_abandon + frames.connection_close;
        frames.acks + frames.path_acks + frames.ping + stream + credit + ids + path
    }

    /// Notes whether anything of what was received since the last time is the peer's: datagrams with one of our ids may
    /// come from anybody who has seen it. Once for each batch: asking noq costs.
    fn note_authentic(&mut self, now: Instant) {
        let proofs = self.proofs();
        if std::mem::replace(&mut self.proofs_seen, proofs) != proofs {
            self.last_authentic = now;
            self.delivery.heard();
        }
    }

    pub fn liveness(&self) -> Liveness {
        Liveness {
            heard: nanoseconds(self.last_authentic),
            acked: self.delivery.acked(),
            waiting: self.delivery.waiting().unwrap_or(u64::MAX),
            pto: self.delivery.pto(),
        }
    }

    // ---- Packets out, and timers

    pub fn transmit(&mut self, now: Instant, max_datagrams: usize, out: &mut Vec<u8>) -> Option<noq_proto::Transmit> {
        let limit = NonZeroUsize::new(self.prober.limit(max_datagrams)).unwrap_or(NonZeroUsize::MIN);
        let transmit = loop {
            out.clear();
            let transmit = self.inner.poll_transmit(now, limit, out)?;
            if self.is_within_budget(&transmit, now) {
                break transmit;
            }
        };
        if self.prober.sent(transmit.segment_size.unwrap_or(transmit.size), now) {
            self.probe_early(now, now + self.longest_rtt());
        }
        Some(transmit)
    }

    pub fn handle_timeout(&mut self, now: Instant) {
        if self.probe_deadline().is_some_and(|deadline| deadline <= now) {
            self.prober.probed();
            self.probe_early(now, now);
        }
        self.prober.timed_out();
        self.inner.handle_timeout(now);
    }

    pub fn deadline(&self) -> Option<Instant> {
        match (self.inner.poll_timeout(), self.probe_deadline()) {
            (Some(a), Some(b)) => Some(a.min(b)),
            (a, b) => a.or(b),
        }
    }

    pub fn set_path_timers(&mut self, now: Instant, id: PathId, idle_timeout_ms: u64, keep_alive_ms: u64) -> bool {
        let duration = |ms: u64| (ms > 0).then(|| Duration::from_millis(ms));
        self.prober.set_timers(idle_timeout_ms, keep_alive_ms);
        self.inner.set_path_max_idle_timeout(now, id, duration(idle_timeout_ms)).is_ok()
            && self.inner.set_path_keep_alive_interval(id, duration(keep_alive_ms)).is_ok()
    }

    fn probe_deadline(&self) -> Option<Instant> {
        if self.may_probe_early() { self.prober.deadline(self.longest_rtt()) } else { None }
    }

    /// Otherwise the next timer may be one that must not fire before its time. With several paths it may be the idle
    /// timeout of one that little is heard of, while another keeps the prober busy.
    fn may_probe_early(&self) -> bool {
        self.draining == 0 && self.closed.is_none() && !self.inner.is_closed() && self.established.len() == 1
    }

    pub fn network_changed(&mut self, now: Instant, recoverable: bool) {
        self.validated_by = now + LONGEST_VALIDATION.max(self.longest_rtt() * 10);
        let last = self.inner.paths().last().copied();
        self.inner.handle_network_change(Some(&Recoverable(recoverable)), now);
        if self.inner.paths().last().copied() > last {
            // noq registers the stateless reset token of a path's first id only with the handshake. A new path takes its
            // second id, whose token it does register, so that a restarted peer can end the connection there.
            self.inner.handle_network_change(Some(&Recoverable(true)), now);
        }
    }

    /// Timers of a validation must not fire before their time: the path would be given up. noq does not tell when it
    /// validates; it does for a while after a path is new or leads to another address.
    fn may_be_validating(&mut self, now: Instant) -> bool {
        let ids = self.inner.paths();
        if !ids.iter().all(|id| self.established.contains(id)) {
            return true;
        }
        let routes: Vec<_> =
            ids.iter().filter_map(|id| self.inner.network_path(*id).ok()).map(|path| path.remote()).collect();
        if routes != self.routes {
            self.routes = routes;
            self.validated_by = now + LONGEST_VALIDATION.max(self.longest_rtt() * 10);
        }
        now < self.validated_by
    }

    fn longest_rtt(&self) -> Duration {
        self.established.iter().filter_map(|id| self.inner.rtt(*id)).max().unwrap_or_default()
    }

    /// Has noq send probes now, if anything is in flight: lets its timers fire up to the first that is not before
    /// `earliest` and is the PTO. Until that is certain, keep-alives fire as well; they are harmless.
    fn probe_early(&mut self, now: Instant, earliest: Instant) {
        if !self.may_probe_early() || self.may_be_validating(now) {
            return;
        }
        self.prober.fired(self.longest_rtt(), now);
        for _ in 0..MAX_TIMERS {
            let Some(timer) = self.inner.poll_timeout().filter(|timer| self.prober.may_be_pto(*timer)) else { break };
            let may_be_keep_alive = self.prober.may_be_keep_alive(timer);
            if may_be_keep_alive && !self.prober.take_keep_alive() {
                break;
            }
            self.inner.handle_timeout(timer);
            if timer >= earliest && !may_be_keep_alive {
                break;
            }
        }
    }
}

pub fn varint(value: u64) -> VarInt {
    VarInt::from_u64(value).unwrap_or(VarInt::MAX)
}

pub fn path_number(id: PathId) -> u32 {
    // PathId shows its number in no other way.
    id.to_string().parse().unwrap_or(u32::MAX)
}

/// Every path can recover after a change of the network, or none.
#[derive(Debug)]
pub struct Recoverable(pub bool);

impl NetworkChangeHint for Recoverable {
    fn is_path_recoverable(&self, _: PathId, _: FourTuple) -> bool {
        self.0
    }
}

/// `Side` is needed by the embedding program as a flag.
pub fn is_server(connection: &noq_proto::Connection) -> bool {
    matches!(connection.side(), Side::Server)
}

pub fn address_of(four_tuple: FourTuple) -> (Address, Address) {
    (Address::from_socket(four_tuple.remote()), Address::from_ip(four_tuple.local_ip()))
}
