//! What noq reports of a connection, for the application.

use std::time::Instant;

use bytes::Bytes;
use noq_proto::{
    ConnectionError, Event, PathAbandonReason, PathEvent, PathId, PathStatus, StreamEvent, VarInt, n0_nat_traversal,
};

use super::{Closed, Conn, PeerCheck, path_number};
use crate::abi::{CloseKind, ConnectionEventKind, CqEvent};
use crate::tls::{self, PublicKey};

/// Abandoned paths drain for 3 PTO, which a peer can make minutes, and each gives it the right to another. Paths for
/// each that may be open; a client that flaps between networks as fast as it can validate them has three.
pub const KEPT_PATHS_FOR_EACH: usize = 8;
/// draft-ietf-quic-multipath, PATH_RESOURCE_LIMIT_REACHED
pub const PATH_RESOURCE_LIMIT: u32 = 0x3e75;
/// RFC 9000, 20.1
const PROTOCOL_VIOLATION: u32 = 0x0a;

impl Conn {
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

    pub fn on_lost(&mut self, reason: ConnectionError) {
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
    pub fn close_for(&mut self, now: Instant, code: u32, reason: &str) {
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
}

fn tls_alert(code: u64) -> Option<String> {
    let alert = u8::try_from(code.checked_sub(0x100)?).ok()?;
    const NO_APPLICATION_PROTOCOL: u8 = 120;
    if alert == NO_APPLICATION_PROTOCOL {
        return Some("no common application protocol (ALPN)".into());
    }
    Some(format!("TLS alert {alert} ({:?})", rustls::AlertDescription::from(alert)))
}
