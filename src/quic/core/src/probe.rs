//! Loss probes ahead of noq's timer.
//!
//! noq sends a small probe only when its probe timeout (PTO) fires, and only probes leave regardless of the congestion
//! window. That makes it slow in two cases, because each step waits for a PTO:
//!
//! * The path stopped carrying large packets. noq falls back to 1200 bytes after four separate bursts of loss, but the
//!   packets after a PTO are one burst, whatever their number. So the first large ones after a PTO are sent singly and
//!   each is followed by probes: their acknowledgements separate the losses, and a round trip decides.
//! * The window is full, and the peer waits for acknowledgements, which leave only with data then. If both sides wait for
//!   the other's, the connection stalls. So what was received is acknowledged by a probe after a pause. A probe that comes
//!   after a silence, or while large packets are in doubt, is answered at once: a large packet might not carry the
//!   acknowledgement to the peer.
//!
//! The first probe comes after two round trips without an answer (RFC 8985, 7.2); noq's own PTO is several after the
//! queues of the path were full.
//!
//! Only while the connection has one path (`Conn::may_probe_early`): of several, the next timer may be another's.

use std::time::{Duration, Instant};

use crate::abi::Transport;

/// Of a loss probe that carries data: what every path carries (RFC 9000, 14).
pub const PROBE_SIZE: usize = 1200;
/// With the burst before them these are the four that noq counts (mtud.rs, BLACK_HOLE_THRESHOLD).
const SINGLES: u8 = 3;
/// Longer than the acknowledgement delay that peers promise, 25 ms.
const ACK_PAUSE: Duration = Duration::from_millis(50);
const PROOF_INTERVAL: Duration = Duration::from_millis(100);
/// Keep-alives that may fire early after a large datagram: two before each of a few probes.
const KEEP_ALIVES: u32 = 6;
/// Of a PTO after early probes, each of which doubles it or adds up to 2 s.
const LONGEST_PTO: Duration = Duration::from_secs(15);

#[derive(Debug)]
pub struct Prober {
    last_sent: Instant,
    last_received: Instant,
    /// The last time that is known of a datagram that the peer sent, and not somebody with one of our ids.
    last_proven: Instant,
    /// When the first datagram since `last_sent` was received.
    unanswered: Option<Instant>,
    /// Nothing was received since `last_sent`, and no early probe was sent since.
    waiting: bool,
    timed_out: bool,
    /// How many of the next large datagrams are sent singly and followed by a probe.
    singles: u8,
    /// The last early probe.
    last_fired: Instant,
    /// Until then large packets may not arrive: three round trips after an early probe that followed none.
    doubt_ends: Instant,
    /// The shortest timers that start when something is received: keep-alives may fire before the PTO, idle timeouts must
    /// not.
    keep_alive: Duration,
    idle_timeout: Duration,
    /// How many of the former may still fire early.
    keep_alives: u32,
}

impl Prober {
    pub fn new(settings: &Transport, now: Instant) -> Self {
        let mut prober = Self {
            last_sent: now,
            last_received: now,
            last_proven: now,
            unanswered: None,
            waiting: false,
            timed_out: false,
            singles: 0,
            last_fired: now,
            doubt_ends: now,
            keep_alive: LONGEST_PTO,
            idle_timeout: LONGEST_PTO,
            keep_alives: 0,
        };
        prober.set_timers(settings.idle_timeout_ms, settings.keep_alive_ms);
        prober.set_timers(settings.path_idle_timeout_ms, settings.path_keep_alive_ms);
        prober
    }

    /// Timers that may be in force from now on; 0 for none.
    pub fn set_timers(&mut self, idle_timeout_ms: u64, keep_alive_ms: u64) {
        if idle_timeout_ms > 0 {
            self.idle_timeout = self.idle_timeout.min(Duration::from_millis(idle_timeout_ms));
        }
        if keep_alive_ms > 0 {
            self.keep_alive = self.keep_alive.min(Duration::from_millis(keep_alive_ms));
        }
    }

    /// `size` bytes were received. True: they may be a probe, and a probe must answer it.
    pub fn received(&mut self, size: usize, rtt: Duration, now: Instant) -> bool {
        let silence = now.saturating_duration_since(std::mem::replace(&mut self.last_received, now));
        self.waiting = false;
        self.unanswered.get_or_insert(now);
        let in_doubt = now < self.doubt_ends && now >= self.last_fired + rtt / 8;
        size == PROBE_SIZE && (silence > rtt / 2 || in_doubt)
    }

    /// Whether to look if the next datagram is the peer's: not each time, it costs.
    pub fn wants_proof(&self, now: Instant) -> bool {
        now >= self.last_proven + PROOF_INTERVAL
    }

    pub fn proven(&mut self, now: Instant) {
        self.last_proven = now;
    }

    pub fn timed_out(&mut self) {
        self.timed_out = true;
    }

    /// How many datagrams the next transmit may have.
    pub fn limit(&self, max_datagrams: usize) -> usize {
        if self.singles > 0 { 1 } else { max_datagrams }
    }

    /// Datagrams of `size` bytes were sent. True: a probe must follow.
    pub fn sent(&mut self, size: usize, now: Instant) -> bool {
        self.last_sent = now;
        self.unanswered = None;
        let timed_out = std::mem::take(&mut self.timed_out);
        if size <= PROBE_SIZE {
            if timed_out && size == PROBE_SIZE {
                self.singles = SINGLES;
            }
            return false;
        }
        self.waiting = true;
        self.keep_alives = KEEP_ALIVES;
        let single = self.singles > 0;
        self.singles = self.singles.saturating_sub(1);
        single
    }

    /// When to probe if nothing is sent or received until then. What was received is answered no sooner than noq would
    /// have declared the packets before lost, so that the next timer is the PTO.
    pub fn deadline(&self, rtt: Duration) -> Option<Instant> {
        match self.unanswered {
            Some(received) => Some((received + ACK_PAUSE).max(self.last_sent + rtt * 5 / 4)),
            None => self.waiting.then(|| self.last_sent + rtt * 2 + ACK_PAUSE),
        }
    }

    /// The deadline was reached.
    pub fn probed(&mut self) {
        self.unanswered = None;
        self.waiting = false;
    }

    /// An early probe was asked for.
    pub fn fired(&mut self, rtt: Duration, now: Instant) {
        if self.last_fired + rtt < now {
            self.doubt_ends = now + rtt * 3;
        }
        self.last_fired = now;
    }

    /// Whether `timer`, the next of noq's, may be the PTO.
    pub fn may_be_pto(&self, timer: Instant) -> bool {
        timer < self.last_proven + self.idle_timeout
    }

    pub fn may_be_keep_alive(&self, timer: Instant) -> bool {
        timer >= self.last_proven + self.keep_alive
    }

    /// A timer that may be a keep-alive is to fire early. False: a few did since a large datagram was sent. Each is
    /// answered, and where nothing is in flight they would go on for ever.
    pub fn take_keep_alive(&mut self) -> bool {
        let allowed = self.keep_alives > 0;
        self.keep_alives -= u32::from(allowed);
        allowed
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::endpoint::instant;

    fn prober(now: Instant) -> Prober {
        Prober::new(&Transport { keep_alive_ms: 5000, ..Transport::default() }, now)
    }

    #[test]
    fn the_first_large_packets_after_a_timeout_are_single_and_probed() {
        let now = instant(1_000_000_000);
        let mut prober = prober(now);
        assert!(!prober.sent(1452, now));
        prober.timed_out();
        assert!(!prober.sent(PROBE_SIZE, now));
        for _ in 0..SINGLES {
            assert_eq!(prober.limit(40), 1);
            assert!(prober.sent(1452, now));
            assert!(!prober.sent(PROBE_SIZE, now));
        }
        assert_eq!(prober.limit(40), 40);
        assert!(!prober.sent(1452, now));
    }

    #[test]
    fn what_is_answered_has_no_deadline() {
        let now = instant(1_000_000_000);
        let rtt = Duration::from_millis(400);
        let mut prober = prober(now);
        assert_eq!(prober.deadline(rtt), None);
        prober.received(40, rtt, now + rtt);
        prober.received(40, rtt, now + rtt * 2);
        assert_eq!(prober.deadline(rtt), Some(now + rtt * 5 / 4));
        prober.sent(40, now + rtt * 2);
        assert_eq!(prober.deadline(rtt), None);
    }

    #[test]
    fn probes_are_answered_after_a_silence_and_while_in_doubt() {
        let now = instant(1_000_000_000);
        let rtt = Duration::from_millis(80);
        let ms = |ms| now + Duration::from_millis(ms);
        let mut prober = prober(now);
        assert!(!prober.received(1452, rtt, ms(1000)));
        assert!(!prober.received(PROBE_SIZE, rtt, ms(1010)));
        assert!(prober.received(PROBE_SIZE, rtt, ms(1051)));
        prober.fired(rtt, ms(1051));
        assert!(!prober.received(PROBE_SIZE, rtt, ms(1060)), "an eighth of the round trip did not pass");
        assert!(prober.received(PROBE_SIZE, rtt, ms(1061)));
        assert!(!prober.received(1452, rtt, ms(1290)));
        assert!(!prober.received(PROBE_SIZE, rtt, ms(1292)), "the doubt lasts three round trips");
    }

    #[test]
    fn keep_alives_may_fire_early_and_idle_timeouts_may_not() {
        let start = instant(1_000_000_000);
        let seconds = |s| start + Duration::from_secs(s);
        let mut prober = prober(start);
        prober.received(40, Duration::ZERO, seconds(100)); // of anybody
        assert!(prober.wants_proof(seconds(1)));
        prober.proven(seconds(1));
        assert!(!prober.may_be_keep_alive(seconds(5)) && prober.may_be_keep_alive(seconds(6)));
        assert!(!prober.take_keep_alive(), "nothing was sent that may be in doubt");
        prober.sent(1452, start);
        assert_eq!((0..100).filter(|_| prober.take_keep_alive()).count(), KEEP_ALIVES as usize);
        assert!(prober.may_be_pto(seconds(15)) && !prober.may_be_pto(seconds(16)));
        prober.set_timers(3000, 0); // the peer's
        assert!(prober.may_be_pto(seconds(3)) && !prober.may_be_pto(seconds(4)));
    }
}
