//! What a connection knows of its peer's life: when packets were sent that the peer must acknowledge, and which of them
//! it did. noq tells this to congestion controllers only, so one that tells us stands in front of the real one.

use std::any::Any;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

use noq_proto::RttEstimator;
use noq_proto::congestion::{Bbr3Config, Controller, ControllerFactory, ControllerMetrics, CubicConfig};

use crate::endpoint::nanoseconds;

/// What peers promise (RFC 9000, 18.2: max_ack_delay), which a PTO allows for.
const MAX_ACK_DELAY: Duration = Duration::from_millis(25);
/// RFC 9002, 6.1.2
const GRANULARITY: Duration = Duration::from_millis(1);

/// Of all paths of one connection. Times as in `nanoseconds`; 0: never. One thread uses it; noq wants it to be `Sync`.
#[derive(Debug)]
pub struct Delivery {
    /// The first packet that asks for an acknowledgement since `heard()` was called.
    waiting: AtomicU64,
    /// When the latest of the acknowledged packets was sent.
    acked: AtomicU64,
    pto: AtomicU64,
}

impl Delivery {
    pub fn new(initial_rtt: Duration) -> Self {
        Self { waiting: 0.into(), acked: 0.into(), pto: number(pto(initial_rtt, initial_rtt / 2)).into() }
    }

    /// Something of the peer's arrived, and it was authentic.
    pub fn heard(&self) {
        self.waiting.store(0, Relaxed);
    }

    pub fn waiting(&self) -> Option<u64> {
        Some(self.waiting.load(Relaxed)).filter(|since| *since > 0)
    }

    pub fn acked(&self) -> u64 {
        self.acked.load(Relaxed)
    }

    /// RFC 9002, 6.2.1, of the path that acknowledged last; does not grow with probes that are not answered.
    pub fn pto(&self) -> u64 {
        self.pto.load(Relaxed)
    }

    fn sent(&self, now: Instant) {
        if self.waiting.load(Relaxed) == 0 {
            self.waiting.store(nanoseconds(now), Relaxed);
        }
    }
}

fn pto(rtt: Duration, deviation: Duration) -> Duration {
    rtt + (4 * deviation).max(GRANULARITY) + MAX_ACK_DELAY
}

fn number(duration: Duration) -> u64 {
    duration.as_nanos().try_into().unwrap_or(u64::MAX)
}

/// Makes the controllers of one connection's paths.
pub struct Factory {
    pub bbr: bool,
    pub delivery: Arc<Delivery>,
}

impl ControllerFactory for Factory {
    fn build(self: Arc<Self>, now: Instant, current_mtu: u16) -> Box<dyn Controller> {
        let inner = if self.bbr {
            Arc::new(Bbr3Config::default()).build(now, current_mtu)
        } else {
            Arc::new(CubicConfig::default()).build(now, current_mtu)
        };
        Box::new(Watched { inner, delivery: self.delivery.clone(), latest: None, rtt: Duration::ZERO, deviation: None })
    }
}

#[derive(Debug)]
struct Watched {
    inner: Box<dyn Controller>,
    delivery: Arc<Delivery>,
    /// When the latest packet was sent of those that the frame being processed acknowledges.
    latest: Option<Instant>,
    rtt: Duration,
    deviation: Option<Duration>,
}

impl Controller for Watched {
    fn on_sent(&mut self, now: Instant, bytes: u64, largest_pn: u64) {
        self.inner.on_sent(now, bytes, largest_pn);
    }

    fn on_packet_sent(&mut self, now: Instant, bytes: u16, pn: u64) {
        self.delivery.sent(now);
        self.inner.on_packet_sent(now, bytes, pn);
    }

    fn on_cwnd_limited(&mut self) {
        self.inner.on_cwnd_limited();
    }

    fn on_ack(&mut self, now: Instant, sent: Instant, bytes: u64, pn: u64, app_limited: bool, rtt: &RttEstimator) {
        self.latest = self.latest.max(Some(sent));
        self.rtt = rtt.get();
        self.inner.on_ack(now, sent, bytes, pn, app_limited, rtt);
    }

    fn on_end_acks(&mut self, now: Instant, in_flight: u64, app_limited: bool, largest_packet_num_acked: Option<u64>) {
        if let Some(sent) = self.latest.take() {
            // As noq computes it (RFC 9002, 5.3) and shows to nobody, but the peer's delay is not taken off.
            let sample = now.saturating_duration_since(sent);
            let (rtt, deviation) = match self.deviation {
                None => (sample, sample / 2),
                Some(before) => (self.rtt, (3 * before + self.rtt.abs_diff(sample)) / 4),
            };
            self.deviation = Some(deviation);
            self.delivery.pto.store(number(pto(rtt, deviation)), Relaxed);
            self.delivery.acked.fetch_max(nanoseconds(sent), Relaxed);
        }
        self.inner.on_end_acks(now, in_flight, app_limited, largest_packet_num_acked);
    }

    fn on_congestion_event(
        &mut self,
        now: Instant,
        sent: Instant,
        is_persistent_congestion: bool,
        is_ecn: bool,
        lost_bytes: u64,
        largest_lost_pn: u64,
    ) {
        self.inner.on_congestion_event(now, sent, is_persistent_congestion, is_ecn, lost_bytes, largest_lost_pn);
    }

    fn on_packet_lost(&mut self, lost_bytes: u16, pn: u64, now: Instant) {
        self.inner.on_packet_lost(lost_bytes, pn, now);
    }

    fn on_spurious_congestion_event(&mut self) {
        self.inner.on_spurious_congestion_event();
    }

    fn on_mtu_update(&mut self, new_mtu: u16) {
        self.inner.on_mtu_update(new_mtu);
    }

    fn on_ack_frequency_update(&mut self, ack_eliciting_threshold: u64, requested_max_ack_delay: Duration) {
        self.inner.on_ack_frequency_update(ack_eliciting_threshold, requested_max_ack_delay);
    }

    fn window(&self) -> u64 {
        self.inner.window()
    }

    fn metrics(&self) -> ControllerMetrics {
        self.inner.metrics()
    }

    fn clone_box(&self) -> Box<dyn Controller> {
        Box::new(Self {
            inner: self.inner.clone_box(),
            delivery: self.delivery.clone(),
            latest: None,
            rtt: self.rtt,
            deviation: self.deviation,
        })
    }

    fn initial_window(&self) -> u64 {
        self.inner.initial_window()
    }

    fn into_any(self: Box<Self>) -> Box<dyn Any> {
        self.inner.into_any()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::endpoint::instant;

    #[test]
    fn the_first_packet_since_the_peer_was_heard_is_remembered() {
        let delivery = Delivery::new(Duration::from_millis(100));
        assert_eq!(delivery.waiting(), None);
        delivery.sent(instant(5));
        delivery.sent(instant(7));
        assert_eq!(delivery.waiting(), Some(5));
        delivery.heard();
        assert_eq!(delivery.waiting(), None);
        delivery.sent(instant(9));
        assert_eq!(delivery.waiting(), Some(9));
        assert_eq!(delivery.pto(), 325_000_000);
    }

    #[test]
    fn acknowledgements_tell_when_the_latest_packet_was_sent_on_any_path() {
        let delivery = Arc::new(Delivery::new(Duration::from_millis(100)));
        let factory = Arc::new(Factory { bbr: false, delivery: delivery.clone() });
        let watched = |latest: u64| {
            let mut path = Watched {
                inner: factory.clone().build(instant(0), 1200),
                delivery: delivery.clone(),
                latest: Some(instant(latest)),
                rtt: Duration::ZERO,
                deviation: None,
            };
            path.on_end_acks(instant(latest + 40_000_000), 0, true, Some(1));
            path
        };
        let mut first = watched(1000);
        assert_eq!((delivery.acked(), delivery.pto()), (1000, 145_000_000));
        watched(500);
        assert_eq!(delivery.acked(), 1000, "an older packet of another path");
        first.on_end_acks(instant(90_000_000), 0, true, None);
        assert_eq!(delivery.acked(), 1000, "nothing was newly acknowledged");
        let mut copy = first.clone_box();
        copy.on_packet_sent(instant(2000), 1200, 2);
        assert_eq!(delivery.waiting(), Some(2000), "a path that moved shares it");
        assert_eq!(copy.window(), first.window());
    }
}
