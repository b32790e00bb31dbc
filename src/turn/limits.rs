//! How much anybody may have: bounds, and buckets that fill with time.

use std::collections::HashMap;
use std::net::IpAddr;
use std::time::{Duration, Instant};

/// The bounds of allocations. The bound of memory follows from them: see `docs/decisions/0009-turn-of-our-own.md`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Allocations in total.
    pub allocations: usize,
    /// Allocations with one login: a browser makes one for each of its addresses and of the box's.
    pub per_login: usize,
    /// Allocations of one source: a whole crew may stand behind one address.
    pub per_address: usize,
    /// An allocation ends after this long, refreshed or not.
    pub life: Duration,
    /// What may go to one client, in bits a second.
    pub down_bps: u64,
    /// What one client may send, in bits a second: a viewer sends little.
    pub up_bps: u64,
}

impl Limits {
    /// For a box that serves that many viewers.
    pub fn for_viewers(viewers: usize) -> Self {
        let allocations = (viewers * 4).clamp(64, 2_000);
        Self {
            allocations,
            per_login: 24,
            per_address: (allocations / 2).max(64),
            life: Duration::from_secs(24 * 3600),
            down_bps: 100_000_000,
            up_bps: 2_000_000,
        }
    }
}

/// A bucket that fills at a rate and is emptied by use.
#[derive(Clone, Copy, Debug)]
pub(super) struct Bucket {
    level: f64,
    at: Instant,
}

impl Bucket {
    pub(super) fn full(now: Instant, size: f64) -> Self {
        Self { level: size, at: now }
    }

    /// Takes `amount`, if it is there.
    pub(super) fn take(&mut self, now: Instant, (rate, size): (f64, f64), amount: f64) -> bool {
        self.level = self.level_at(now, (rate, size));
        self.at = now;
        let enough = self.level >= amount;
        if enough {
            self.level -= amount;
        }
        enough
    }

    fn level_at(&self, now: Instant, (rate, size): (f64, f64)) -> f64 {
        (self.level + now.saturating_duration_since(self.at).as_secs_f64() * rate).min(size)
    }
}

/// Answers a second and at once to one source that has proven nothing: a crew behind one address joins at once.
const OF_ONE: (f64, f64) = (32.0, 256.0);
/// The same for all sources.
const OF_ALL: (f64, f64) = (400.0, 1_000.0);
/// Sources that are remembered.
const MOST_SOURCES: usize = 1_024;

/// How often a source that has proven nothing is answered.
#[derive(Debug)]
pub(super) struct Throttle {
    sources: HashMap<IpAddr, Bucket>,
    all: Bucket,
}

impl Throttle {
    pub(super) fn new(now: Instant) -> Self {
        Self { sources: HashMap::new(), all: Bucket::full(now, OF_ALL.1) }
    }

    /// Whether `source` may be answered once more.
    pub(super) fn admits(&mut self, now: Instant, source: IpAddr) -> bool {
        if !self.sources.contains_key(&source) && self.sources.len() >= MOST_SOURCES {
            self.sources.retain(|_, bucket| bucket.level_at(now, OF_ONE) < OF_ONE.1);
            if self.sources.len() >= MOST_SOURCES {
                return false;
            }
        }
        let bucket = self.sources.entry(source).or_insert_with(|| Bucket::full(now, OF_ONE.1));
        bucket.take(now, OF_ONE, 1.0) && self.all.take(now, OF_ALL, 1.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::Clock;

    #[test]
    fn a_bucket_gives_what_has_flowed_into_it() {
        let now = Clock::manual().0.now();
        let mut bucket = Bucket::full(now, 10.0);
        assert!(bucket.take(now, (2.0, 10.0), 10.0));
        assert!(!bucket.take(now, (2.0, 10.0), 1.0));
        assert!(bucket.take(now + Duration::from_secs(3), (2.0, 10.0), 6.0));
        assert!(!bucket.take(now + Duration::from_secs(3), (2.0, 10.0), 0.1));
        assert!(bucket.take(now + Duration::from_secs(3_000), (2.0, 10.0), 10.0));
    }

    #[test]
    fn who_asks_too_often_is_silenced_and_others_are_not() {
        let now = Clock::manual().0.now();
        let mut throttle = Throttle::new(now);
        let loud: IpAddr = "192.0.2.1".parse().unwrap();
        let answered = (0..10_000).filter(|_| throttle.admits(now, loud)).count();
        assert_eq!(answered, 256);
        assert!(throttle.admits(now, "192.0.2.2".parse().unwrap()));
        assert!(throttle.admits(now + Duration::from_secs(1), loud));
    }

    #[test]
    fn forged_sources_fill_no_memory() {
        let now = Clock::manual().0.now();
        let mut throttle = Throttle::new(now);
        (0..100_000_u32).for_each(|n| _ = throttle.admits(now, IpAddr::V4(n.into())));
        assert!(throttle.sources.len() <= MOST_SOURCES);
        assert!(throttle.admits(now + Duration::from_secs(60), "192.0.2.1".parse().unwrap()), "it is over");
    }
}
