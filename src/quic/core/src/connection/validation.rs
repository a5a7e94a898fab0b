//! Limits what a peer can make us send to addresses that are not its own.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use noq_proto::PathId;

use super::events::PATH_RESOURCE_LIMIT;
use super::{Conn, is_server};

/// Path validation datagrams that a connection may send at once, and how long each further one takes. noq answers every
/// PATH_CHALLENGE with 1200 bytes to wherever it came from, and probes all addresses of a REACH_OUT round: unlimited,
/// a peer with forged sources, or with addresses of others as its candidates, makes us flood third parties. A
/// legitimate round is 9 probes of 32 addresses in 4 seconds, in each direction.
pub const VALIDATION_BURST: u32 = 512;
pub const VALIDATION_INTERVAL: Duration = Duration::from_millis(16);
/// Datagrams that a client may send to addresses that no path leads to before it ends the connection. It answers each
/// challenge with one of its own, and noq keeps them all until the next round of NAT traversal: 54 bytes each.
pub const OFF_PATH_BURST: u32 = 16_384;
pub const OFF_PATH_INTERVAL: Duration = Duration::from_millis(250);
/// Addresses that a connection remembers to have heard from, and for how long it may answer there.
const MAX_HEARD: usize = 16;
const HEARD_LATELY: Duration = Duration::from_secs(10);

/// The addresses that datagrams came from, latest last.
#[derive(Default)]
pub struct Heard(VecDeque<(SocketAddr, Instant)>);

impl Heard {
    pub fn from(&mut self, remote: SocketAddr, now: Instant) {
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
pub struct Budget {
    left: u32,
    burst: u32,
    interval: Duration,
    counted_at: Option<Instant>,
}

impl Budget {
    pub fn new(burst: u32, interval: Duration) -> Self {
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
}
