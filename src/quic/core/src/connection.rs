//! One connection: noq's state machine, what it has to tell the application, and its streams' unread data.

use std::collections::{HashSet, VecDeque};
use std::ffi::c_void;
use std::net::SocketAddr;
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use noq_proto::{
    ConnectionError, ConnectionEvent, ConnectionHandle, Dir, Event, FourTuple, NetworkChangeHint, PathAbandonReason,
    PathEvent, PathId, PathStatus, Side, StreamEvent, StreamId, VarInt, WriteError, n0_nat_traversal,
};
use rustc_hash::FxHashMap;

use crate::abi::{Address, CloseKind, ConnectionEventKind, CqEvent, Liveness, Transport};
use crate::delivery::Delivery;
use crate::endpoint::nanoseconds;
use crate::probe::Prober;
use crate::recv::{End, Recv};
use crate::send::SendWindow;
use crate::tls::{self, PublicKey};
use crate::unprotected::{self, MAX_TOKEN, Unprotected};

/// Assumed for the first frame of a stream, of which noq does not tell.
const FIRST_FRAME: u64 = 1500;
/// noq's, three PTOs, unless round trips are slow.
const LONGEST_VALIDATION: Duration = Duration::from_secs(3);
/// Of the paths, that may be due before a PTO.
const MAX_TIMERS: usize = 4;

/// Path validation datagrams that a connection may send at once, and how long each further one takes. noq answers every
/// PATH_CHALLENGE with 1200 bytes to wherever it came from, and probes all addresses of a REACH_OUT round: unlimited,
/// a peer with forged sources, or with addresses of others as its candidates, makes us flood third parties. A
/// legitimate round is 9 probes of 32 addresses in 4 seconds, in each direction.
const VALIDATION_BURST: u32 = 512;
const VALIDATION_INTERVAL: Duration = Duration::from_millis(16);
/// Datagrams that a client may send to addresses that no path leads to before it ends the connection. It answers each
/// challenge with one of its own, and noq keeps them all until the next round of NAT traversal: 54 bytes each.
const OFF_PATH_BURST: u32 = 16_384;
const OFF_PATH_INTERVAL: Duration = Duration::from_millis(250);
/// Abandoned paths drain for 3 PTO, which a peer can make minutes, and each gives it the right to another. Paths for
/// each that may be open; a client that flaps between networks as fast as it can validate them has three.
const KEPT_PATHS_FOR_EACH: usize = 8;
/// Addresses that a connection remembers to have heard from, and for how long it may answer there.
const MAX_HEARD: usize = 16;
const HEARD_LATELY: Duration = Duration::from_secs(10);
/// draft-ietf-quic-multipath, PATH_RESOURCE_LIMIT_REACHED
const PATH_RESOURCE_LIMIT: u32 = 0x3e75;
/// RFC 9000, 20.1
const PROTOCOL_VIOLATION: u32 = 0x0a;

pub enum PeerCheck {
    /// The peer must prove this key.
    Key(PublicKey),
    /// The peer must prove a key; which one is reported.
    AnyKey,
    /// None, or what the TLS verifier has decided by an X.509 certificate.
    None,
}

/// The receiving half of a stream.
pub struct StreamState {
    pub available: u64,
    pub held: u64,
    pub end: Option<End>,
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

/// The addresses that datagrams came from, latest last.
#[derive(Default)]
struct Heard(VecDeque<(SocketAddr, Instant)>);

impl Heard {
    fn from(&mut self, remote: SocketAddr, now: Instant) {
        match self.0.iter().rposition(|(known, _)| *known == remote) {
            Some(last) if last + 1 == self.0.len() => {}
            Some(place) => _ = self.0.remove(place),
            None if self.0.len() == MAX_HEARD => _ = self.0.pop_front(),
            None => {}
        }
        match self.0.back_mut() {
            Some((known, when)) if *known == remote => *when = now,
            _ => self.0.push_back((remote, now)),
        }
    }

    fn lately_from(&self, remote: SocketAddr, now: Instant) -> bool {
        self.0.iter().any(|(known, when)| *known == remote && *when + HEARD_LATELY > now)
    }
}

/// Token bucket.
struct Budget {
    left: u32,
    burst: u32,
    interval: Duration,
    counted_at: Option<Instant>,
}

impl Budget {
    fn new(burst: u32, interval: Duration) -> Self {
        Self { left: burst, burst, interval, counted_at: None }
    }

    fn take(&mut self, now: Instant) -> bool {
        let counted_at = *self.counted_at.get_or_insert(now);
        let earned = (now.saturating_duration_since(counted_at).as_nanos() / self.interval.as_nanos())
            .min(u128::from(self.burst)) as u32;
        if earned > 0 {
            self.left = (self.left + earned).min(self.burst);
            self.counted_at = Some(now);
        }
        let allowed = self.left > 0;
        self.left -= u32::from(allowed);
        allowed
    }
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
        self.inner.handle_network_change(Some(&Recoverable(recoverable)), now);
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

    // ---- Events

    /// Takes what noq has to tell. What arrived since the last time is charged to the streams that became readable, by
    /// the number of their frames.
    pub fn collect(&mut self, now: Instant) {
        self.send.collect(&mut self.inner); // first: it may make streams writable
        while let Some(event) = self.inner.poll() {
            self.take(event, now);
        }
        let arrived = std::mem::take(&mut self.arrived);
        if arrived > 0 {
            self.note_authentic(now);
        }
        let all_frames: u64 = self.readable.iter().map(|(_, frames)| frames).sum();
        for (id, frames) in self.readable.drain(..) {
            let recv = self.streams.entry(id).or_default();
            let share = (arrived * frames).div_ceil(all_frames);
            let frames = recv.arrived(share, frames, self.window);
            let held = recv.held();
            // Many frames of one stream in a row are one event.
            match self.events.back_mut() {
                Some(last) if last.kind == ConnectionEventKind::Readable as u32 && last.id == id.into() => {
                    last.value = held;
                    last.code = frames;
                }
                _ => self.events.push_back(CqEvent::stream(ConnectionEventKind::Readable, id, frames, held)),
            }
        }
    }

    pub fn next_event(&mut self) -> Option<CqEvent> {
        self.events.pop_front()
    }

    fn take(&mut self, event: Event, now: Instant) {
        use ConnectionEventKind as Kind;
        match event {
            Event::HandshakeDataReady => {}
            Event::HandshakeConfirmed => self.confirmed = true,
            Event::Connected => self.on_connected(now),
            Event::ConnectionLost { reason } => self.on_lost(reason),
            Event::Stream(StreamEvent::Readable { id }) => {
                match self.readable.iter_mut().find(|(known, _)| *known == id) {
                    Some((_, frames)) => *frames += 1,
                    None => self.readable.push((id, 1)),
                }
            }
            Event::Stream(StreamEvent::Opened { dir }) => {
                self.events.push_back(CqEvent::plain(Kind::Opened, dir as u64));
            }
            Event::Stream(StreamEvent::Writable { id }) => {
                self.events.push_back(CqEvent::stream(Kind::Writable, id, 0, 0));
            }
            Event::Stream(StreamEvent::Finished { id }) => {
                self.events.push_back(CqEvent::stream(Kind::Finished, id, 0, 0));
            }
            Event::Stream(StreamEvent::Stopped { id, error_code }) => {
                self.events.push_back(CqEvent::stream(Kind::Stopped, id, error_code.into_inner(), 0));
            }
            Event::Stream(StreamEvent::Available { dir }) => {
                self.events.push_back(CqEvent::plain(Kind::Available, dir as u64));
            }
            Event::DatagramReceived => self.events.push_back(CqEvent::plain(Kind::DatagramReceived, 0)),
            Event::DatagramsUnblocked => self.events.push_back(CqEvent::plain(Kind::DatagramsUnblocked, 0)),
            Event::Path(event) => self.on_path(event, now),
            Event::NatTraversal(n0_nat_traversal::Event::AddressAdded(address)) => {
                self.events.push_back(CqEvent::address(Kind::RemoteCandidateAdded, 0, address));
            }
            Event::NatTraversal(n0_nat_traversal::Event::AddressRemoved(address)) => {
                self.events.push_back(CqEvent::address(Kind::RemoteCandidateRemoved, 0, address));
            }
        }
    }

    /// A resumed handshake does not ask the verifier: the peer's key is checked here, in both roles and always.
    fn on_connected(&mut self, now: Instant) {
        self.established.insert(PathId::ZERO);
        self.prober.set_timers(tls::peer_idle_timeout(self.inner.crypto_session()), 0);
        self.routes = self.inner.network_path(PathId::ZERO).map(|path| path.remote()).into_iter().collect();
        if !matches!(self.peer_check, PeerCheck::None) {
            self.peer_key = self.proven_key();
            let expected = match &self.peer_check {
                PeerCheck::Key(key) => self.peer_key.as_ref() == Some(key),
                _ => self.peer_key.is_some(),
            };
            if !expected {
                const BAD_CERTIFICATE: u64 = 0x100 + 42;
                self.inner.close(now, VarInt::from_u32(BAD_CERTIFICATE as u32), Bytes::new());
                return self.lost(
                    CloseKind::LocalTransport,
                    BAD_CERTIFICATE,
                    "the peer presented a different key".into(),
                );
            }
        }
        self.events.push_back(CqEvent::plain(ConnectionEventKind::Connected, 0));
    }

    fn proven_key(&self) -> Option<PublicKey> {
        let identity = self.inner.crypto_session().peer_identity()?;
        let chain = identity.downcast::<Vec<rustls::pki_types::CertificateDer<'static>>>().ok()?;
        match chain.as_slice() {
            [only] => tls::key_of_spki(only),
            _ => None,
        }
    }

    fn on_lost(&mut self, reason: ConnectionError) {
        match reason {
            ConnectionError::VersionMismatch => {
                self.lost(CloseKind::Version, 0, "the peer does not speak QUIC version 1".into());
            }
            ConnectionError::TransportError(error) => {
                let code = u64::from(error.code);
                let text = match tls_alert(code) {
                    Some(alert) => alert,
                    None => error.to_string(),
                };
                self.lost(CloseKind::LocalTransport, code, text);
            }
            ConnectionError::ConnectionClosed(close) => {
                let code = u64::from(close.error_code);
                let text = match tls_alert(code) {
                    Some(alert) => format!("the peer refused: {alert}"),
                    None if close.reason.is_empty() => format!("the peer closed with transport error {code:#x}"),
                    None => String::from_utf8_lossy(&close.reason).into_owned(),
                };
                self.lost(CloseKind::PeerTransport, code, text);
            }
            ConnectionError::ApplicationClosed(close) => {
                let text = String::from_utf8_lossy(&close.reason).into_owned();
                self.lost(CloseKind::PeerApplication, close.error_code.into_inner(), text);
            }
            ConnectionError::Reset => {
                self.lost(CloseKind::Reset, 0, "the peer does not know this connection any more".into());
            }
            ConnectionError::TimedOut => {
                self.lost(CloseKind::Idle, 0, "nothing was heard from the peer for the idle timeout".into());
            }
            ConnectionError::LocallyClosed => {}
            ConnectionError::CidsExhausted => self.lost(CloseKind::Internal, 1, "no connection id is left".into()),
        }
    }

    pub fn reset_by_peer(&mut self) {
        self.on_lost(ConnectionError::Reset);
        self.dead = true;
    }

    /// Ends the connection for what the peer did.
    fn close_for(&mut self, now: Instant, code: u32, reason: &str) {
        if self.closed.is_none() {
            self.inner.close(now, VarInt::from_u32(code), Bytes::new());
            self.lost(CloseKind::LocalTransport, code.into(), reason.into());
        }
    }

    pub fn lost(&mut self, kind: CloseKind, code: u64, text: String) {
        if self.closed.is_none() {
            self.closed = Some(Closed { kind, code, text });
            self.events.push_back(CqEvent::plain(ConnectionEventKind::Lost, 0));
        }
    }

    fn on_path(&mut self, event: PathEvent, now: Instant) {
        use ConnectionEventKind as Kind;
        match event {
            PathEvent::Established { id, .. } => {
                self.established.insert(id);
                self.events.push_back(CqEvent::path(Kind::PathEstablished, id, 0));
            }
            PathEvent::Abandoned { id, reason, .. } => {
                self.established.remove(&id);
                self.draining += 1;
                let code = match reason {
                    PathAbandonReason::ApplicationClosed { .. } => 0,
                    PathAbandonReason::TimedOut => 1,
                    PathAbandonReason::UnusableAfterNetworkChange => 2,
                    PathAbandonReason::RemoteAbandoned { .. } => 3,
                    #[allow(deprecated)]
                    PathAbandonReason::ValidationFailed => 1,
                };
                self.events.push_back(CqEvent::path(Kind::PathAbandoned, id, code));
                if self.inner.paths().len() > self.max_kept_paths {
                    self.close_for(now, PATH_RESOURCE_LIMIT, "too many paths were abandoned");
                }
            }
            PathEvent::Discarded { id, .. } => {
                self.draining = self.draining.saturating_sub(1);
                self.events.push_back(CqEvent::path(Kind::PathDiscarded, id, 0));
                // noq-proto 1.4 counts on path 0 until the handshake is confirmed, and panics then.
                if id == PathId::ZERO && !self.confirmed {
                    let reason = "the first path ended before the handshake was confirmed";
                    self.close_for(now, PROTOCOL_VIOLATION, reason);
                }
            }
            PathEvent::RemoteStatus { id, status, .. } => {
                let backup = matches!(status, PathStatus::Backup);
                self.events.push_back(CqEvent::path(Kind::PathRemoteStatus, id, u64::from(backup)));
            }
            PathEvent::ObservedAddr { id, addr, .. } => {
                self.events.push_back(CqEvent::address(Kind::ObservedAddress, path_number(id), addr));
            }
            _ => {}
        }
    }

    pub fn is_established(&self, id: PathId) -> bool {
        self.established.contains(&id)
    }

    /// Whether noq's datagram may be sent: false for a path validation beyond the budget, which then counts as lost.
    pub fn is_within_budget(&mut self, transmit: &noq_proto::Transmit, now: Instant) -> bool {
        const OFF_PATH_RESPONSE: usize = 1200;
        if transmit.segment_size.is_some() {
            return true;
        }
        let leads_there =
            |id: &PathId| self.inner.network_path(*id).is_ok_and(|path| path.remote() == transmit.destination);
        if !self.established.iter().any(leads_there) {
            // The first packets of a handshake are on the way to being one.
            if self.established.is_empty() {
                return true;
            }
            if is_server(&self.inner) {
                if !self.is_wanted_there(transmit.destination, now) {
                    return false;
                }
            } else if !self.off_path.take(now) {
                self.close_for(now, PATH_RESOURCE_LIMIT, "too many addresses asked for a path validation");
            }
            return self.validations.take(now);
        }
        if transmit.size != OFF_PATH_RESPONSE {
            return true;
        }
        // The destination may be that of another path, which need not be validated either.
        let paths = self.inner.paths();
        let sent = paths
            .iter()
            .filter_map(|id| self.inner.path_stats(*id))
            .map(|stats| stats.frame_tx.path_challenge + stats.frame_tx.path_response)
            .sum();
        let is_validation = sent > std::mem::replace(&mut self.validation_frames, sent);
        !is_validation || self.validations.take(now)
    }

    /// Whether a server's path validation may go to an address that no path leads to. noq 1.4 challenges the address
    /// before the last one whenever a client moves, however long ago that was, and with an id that the new path sees
    /// as well: whoever watches both networks could link them (RFC 9000, 9.5).
    fn is_wanted_there(&self, remote: SocketAddr, now: Instant) -> bool {
        self.heard.lately_from(remote, now)
            || self.inner.get_local_nat_traversal_addresses().is_ok_and(|candidates| !candidates.is_empty())
    }

    /// How many addresses of the server are probed; None where the peers did not agree on NAT traversal.
    pub fn nat_traversal_round(&mut self, now: Instant) -> Option<usize> {
        let probed = self.inner.initiate_nat_traversal_round(now).ok()?;
        self.off_path = Budget::new(OFF_PATH_BURST, OFF_PATH_INTERVAL);
        Some(probed.len())
    }

    // ---- Streams

    fn may_receive(&self, id: StreamId) -> bool {
        id.dir() == Dir::Bi || id.initiator() != self.inner.side()
    }

    fn may_send(&self, id: StreamId) -> bool {
        id.dir() == Dir::Bi || id.initiator() == self.inner.side()
    }

    pub fn accept(&mut self, dir: Dir) -> Option<StreamId> {
        let id = self.inner.streams().accept(dir)?;
        self.streams.entry(id).or_default().arrived(FIRST_FRAME, 1, self.window);
        Some(id)
    }

    /// Drops `consumed` bytes that were used, and takes what noq has. None: there is no such stream.
    pub fn fill(&mut self, id: StreamId, consumed: u64) -> Option<StreamState> {
        if !self.may_receive(id) {
            return None;
        }
        let recv = self.streams.entry(id).or_default();
        recv.consume(consumed);
        recv.fill(&mut self.inner, id, self.window);
        let state = StreamState { available: recv.available(), held: recv.held(), end: recv.end() };
        if state.end.is_some() && state.available == 0 {
            self.forget(id);
        }
        Some(state)
    }

    pub fn unread(&mut self, id: StreamId) -> Option<&mut Recv> {
        self.streams.get_mut(&id)
    }

    pub fn compact(&mut self, id: StreamId) {
        if self.may_receive(id) {
            self.streams.entry(id).or_default().compact(&mut self.inner, id, self.window);
        }
    }

    pub fn stop(&mut self, id: StreamId, code: VarInt) {
        if self.may_receive(id) {
            self.forget(id);
            let _ = self.inner.recv_stream(id).stop(code);
        }
    }

    /// Drops the unread data of a stream that noq is done with.
    pub fn forget(&mut self, id: StreamId) {
        self.streams.remove(&id);
    }

    /// How much of `data` was taken; None when the stream takes nothing more.
    pub fn write(&mut self, id: StreamId, data: &[u8]) -> Option<usize> {
        if !self.may_send(id) {
            return None;
        }
        match self.inner.send_stream(id).write(data) {
            Ok(count) => Some(count),
            Err(WriteError::Blocked) => Some(0),
            Err(_) => None,
        }
    }

    pub fn finish(&mut self, id: StreamId) {
        if self.may_send(id) {
            let _ = self.inner.send_stream(id).finish();
        }
    }

    /// `written`: how much was ever written to it.
    pub fn reset(&mut self, id: StreamId, code: VarInt, written: u64) {
        if self.may_send(id) {
            self.send.reset(&mut self.inner, id, code, written);
        }
    }

    pub fn grant_send_window(&mut self, window: u64) {
        self.send.grant(&mut self.inner, window);
    }

    pub fn try_reduce_send_window(&mut self, window: u64, probe: Option<StreamId>) -> bool {
        let probe = probe.filter(|id| self.may_send(*id));
        self.send.try_reduce(&mut self.inner, window, probe)
    }

    /// Bytes of streams that were reset and that noq still keeps.
    pub fn lingering(&self) -> u64 {
        self.send.lingering()
    }
}

pub fn varint(value: u64) -> VarInt {
    VarInt::from_u64(value).unwrap_or(VarInt::MAX)
}

pub fn path_number(id: PathId) -> u32 {
    // PathId shows its number in no other way.
    id.to_string().parse().unwrap_or(u32::MAX)
}

fn tls_alert(code: u64) -> Option<String> {
    let alert = u8::try_from(code.checked_sub(0x100)?).ok()?;
    const NO_APPLICATION_PROTOCOL: u8 = 120;
    if alert == NO_APPLICATION_PROTOCOL {
        return Some("no common application protocol (ALPN)".into());
    }
    Some(format!("TLS alert {alert} ({:?})", rustls::AlertDescription::from(alert)))
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
