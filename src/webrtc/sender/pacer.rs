//! A link of a given rate, imagined behind the socket: when how much may be sent.

use std::time::{Duration, Instant};

use crate::webrtc::rtp::MAX_DATAGRAM;

/// What leaves at once when much waits: short enough that no queue on the way overflows, long enough for timers.
const QUANTUM: Duration = Duration::from_micros(1_500);
/// Time that may be made up for: timers wake a millisecond or two late, which must not lower the rate.
const DEPTH: Duration = Duration::from_millis(4);
/// An ordinary picture leaves whole, whatever the rate.
const DEPTH_LIVE: u64 = 32_000;

/// Bytes a second, and how many of them may leave at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Rate {
    bps: u64,
    quantum: u64,
    depth: u64,
}

impl Rate {
    /// For the pictures of a burst.
    pub(super) fn burst(bps: u64) -> Self {
        let bps = bps.max(1);
        let quantum = bytes(bps, QUANTUM).max(MAX_DATAGRAM as u64);
        Self { bps, quantum, depth: bytes(bps, DEPTH).max(2 * MAX_DATAGRAM as u64) }
    }

    /// For live pictures.
    pub(super) fn live(bps: u64) -> Self {
        let burst = Self::burst(bps);
        Self { depth: burst.depth.max(DEPTH_LIVE), ..burst }
    }
}

/// How many bytes a link of a rate takes in a time.
fn bytes(bps: u64, time: Duration) -> u64 {
    u64::try_from(time.as_nanos() * u128::from(bps) / 8_000_000_000).unwrap_or(u64::MAX)
}

/// How long a link of a rate takes for some bytes.
pub(super) fn duration(bps: u64, bytes: u64) -> Duration {
    let nanos = u128::from(bytes) * 8_000_000_000 / u128::from(bps.max(1));
    Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX))
}

/// What was sent and has not drained yet, at the rate it was sent at.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Pacer {
    drained: Option<Instant>,
}

impl Pacer {
    /// Starts with no more than one quantum, so that a burst does not begin with a blast.
    pub(super) fn begin(&mut self, now: Instant, rate: Rate) {
        let used = duration(rate.bps, rate.depth.saturating_sub(rate.quantum));
        self.drained = Some(self.drained.unwrap_or(now).max(now + used));
    }

    /// How many bytes may leave now, or when to ask again. `wanted` is an upper bound of what waits.
    pub(super) fn budget(&self, now: Instant, rate: Rate, wanted: u64) -> Result<u64, Instant> {
        let Some(drained) = self.drained else { return Ok(rate.depth) };
        let backlog = bytes(rate.bps, drained.saturating_duration_since(now));
        let free = rate.depth.saturating_sub(backlog);
        let wanted = wanted.min(rate.quantum);
        if free >= wanted {
            return Ok(free);
        }
        // Rounded up: asked a nanosecond early, it would be short of a byte.
        let lead = duration(rate.bps, rate.depth - wanted);
        Err((drained + Duration::from_nanos(1)).checked_sub(lead).unwrap_or(now).max(now + Duration::from_nanos(1)))
    }

    /// When bytes sent from now on will have left.
    pub(super) fn end(&self, now: Instant, rate: Rate, bytes: u64) -> Instant {
        self.drained.unwrap_or(now).max(now) + duration(rate.bps, bytes)
    }

    /// Bytes have left, whether or not there was room for them.
    pub(super) fn spend(&mut self, now: Instant, rate: Rate, bytes: u64) {
        self.drained = Some(self.end(now, rate, bytes));
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::clock::Clock;

    proptest! {
        #[test]
        fn over_any_stretch_of_time_no_more_leaves_than_the_rate_and_its_depth(
            mbps in 1u64..1_000,
            live in any::<bool>(),
            steps in prop::collection::vec((0u64..5_000, 1u64..60_000), 1..100),
        ) {
            let rate = if live { Rate::live(mbps * 1_000_000) } else { Rate::burst(mbps * 1_000_000) };
            let start = Clock::system().now();
            let (mut now, mut pacer) = (start, Pacer::default());
            let mut sent: Vec<(Instant, u64)> = Vec::new();
            for (micros, wanted) in steps {
                now += Duration::from_micros(micros);
                match pacer.budget(now, rate, wanted) {
                    Ok(free) => {
                        let len = wanted.min(free);
                        pacer.spend(now, rate, len);
                        sent.push((now, len));
                    }
                    Err(due) => {
                        prop_assert!(due > now);
                        prop_assert!(pacer.budget(due, rate, wanted).is_ok(), "what is due is allowed");
                    }
                }
            }
            for (n, (from, _)) in sent.iter().enumerate() {
                let mut total = 0;
                for (to, len) in &sent[n..] {
                    total += len;
                    let most = rate.depth + bytes(rate.bps, *to - *from) + 2;
                    prop_assert!(total <= most, "{total} bytes, {most} allowed");
                }
            }
        }
    }

    #[test]
    fn a_timer_that_wakes_late_does_not_lower_the_rate() {
        let rate = Rate::burst(100_000_000);
        let (start, mut pacer) = (Clock::system().now(), Pacer::default());
        pacer.begin(start, rate);
        assert_eq!(pacer.budget(start, rate, 1 << 20), Ok(rate.quantum));
        let (mut now, mut sent) = (start, 0);
        while now - start < Duration::from_millis(100) {
            match pacer.budget(now, rate, 1 << 20) {
                Ok(free) => {
                    pacer.spend(now, rate, free);
                    sent += free;
                }
                Err(due) => now = due + Duration::from_micros(2_000),
            }
        }
        assert!(sent > 1_200_000, "{sent} bytes in 100 ms at 100 Mbit/s");
    }
}
