//! The order of a stream's packets: at once while nothing is missing, and no longer than agreed
//! when something is.
//!
//! Owns: which packet comes next, what waits behind a gap, and until when. Pure. Used by
//! `connection`.
//!
//! A library with timestamp-based delivery (TSBPD) holds *every* packet until the time its
//! timestamp names plus the negotiated latency. Here a packet that is next in order leaves in the
//! very call that brings it. Only packets behind a gap wait: until the missing ones come, until the
//! sender says they will not, or until the delivery time of a packet behind the gap, which is when
//! TSBPD would give the missing ones up too. So a lossy link gets the whole latency to
//! repair itself, and a clean one adds none.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use bytes::Bytes;

use super::gaps::Gaps;
use super::screen::SEQUENCE_MASK;

/// How long the fastest packet is remembered when the peer's clock is compared with ours: long
/// enough to meet an undisturbed packet, short enough to follow a drifting clock (50 ppm: 1 ms).
const CLOCK_WINDOW: Duration = Duration::from_secs(10);

/// Bytes that may wait behind gaps, at most: 2.7 s at 50 Mbit/s, 8 s at 16.
const MOST_WAITING: usize = 16 << 20;

/// What is to become of a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// New, at this extended sequence number.
    New(i64),
    /// Here already, or given up already.
    Known,
    /// So far ahead that the buffer has no room for what is missing: skip to here first.
    Beyond(i64),
}

/// The packets of one connection, in order.
#[derive(Debug)]
pub struct Reassembly {
    /// The extended sequence number to leave next.
    next: i64,
    /// One past the highest extended sequence number that came.
    seen: i64,
    /// Packets behind a gap.
    waiting: BTreeMap<i64, Waiting>,
    /// When they are due, and where they are.
    due: BTreeSet<(Instant, i64)>,
    /// Bytes that wait.
    bytes: usize,
    /// Packets the buffer has room for, from `next` on.
    capacity: i64,
    latency: Duration,
    clock: PeerClock,
    /// Packets found missing when a later one came.
    pub lost: u64,
    /// Packets given up.
    pub dropped: u64,
    /// How long gaps made others wait.
    pub gaps: Gaps,
}

/// A packet behind a gap.
#[derive(Debug)]
struct Waiting {
    /// When it is due; `None` for one that will never come, which keeps nothing waiting.
    due: Option<Instant>,
    /// When it came, if it was ahead of all others then: what comes later fills a gap and shows none.
    ahead: Option<Instant>,
    payload: Option<Bytes>,
}

impl Reassembly {
    /// Nothing has come yet; the first packet will carry `initial_sequence`.
    pub fn new(now: Instant, initial_sequence: u32, latency: Duration, capacity: u32) -> Self {
        let next = i64::from(initial_sequence);
        Self {
            next,
            seen: next,
            waiting: BTreeMap::new(),
            due: BTreeSet::new(),
            bytes: 0,
            capacity: i64::from(capacity),
            latency,
            clock: PeerClock::new(now),
            lost: 0,
            dropped: 0,
            gaps: Gaps::default(),
        }
    }

    /// The 31-bit sequence number of an extended one.
    pub fn wire(extended: i64) -> u32 {
        (extended & i64::from(SEQUENCE_MASK)) as u32
    }

    /// Where a 31-bit sequence number belongs: the nearest to what comes next.
    pub fn extend(&self, sequence: u32) -> i64 {
        let ahead = sequence.wrapping_sub(Self::wire(self.next)) & SEQUENCE_MASK;
        let ahead = i64::from(ahead);
        let circle = i64::from(SEQUENCE_MASK) + 1;
        self.next + if ahead < circle / 2 { ahead } else { ahead - circle }
    }

    /// The extended sequence number to leave next.
    pub fn next(&self) -> i64 {
        self.next
    }

    /// What is to become of a packet with this sequence number.
    pub fn place(&self, sequence: u32) -> Place {
        let at = self.extend(sequence);
        if at < self.next || self.waiting.contains_key(&at) {
            Place::Known
        } else if at - self.next >= self.capacity {
            Place::Beyond(at)
        } else {
            Place::New(at)
        }
    }

    /// Takes a packet whose place is [`Place::New`]; `None` for one that cannot be read. What may
    /// leave is added to `released`: `None` for each packet that is missing there.
    pub fn insert(
        &mut self,
        now: Instant,
        at: i64,
        timestamp_us: u32,
        payload: Option<Bytes>,
        released: &mut Vec<Option<Bytes>>,
    ) {
        let due = self.clock.due(now, timestamp_us, self.latency);
        let ahead = (at >= self.seen).then_some(now);
        if at >= self.seen {
            self.lost = self.lost.saturating_add((at - self.seen).unsigned_abs());
            self.seen = at + 1;
        }
        if at == self.next {
            self.next += 1;
            released.push(payload);
            self.release(now, released);
        } else {
            self.bytes += payload.as_ref().map_or(0, Bytes::len);
            self.due.insert((due, at));
            self.waiting.insert(at, Waiting { due: Some(due), ahead, payload });
        }
    }

    /// When gaps in front of waiting packets, if there are any, are to be given up next.
    pub fn gives_up_at(&self) -> Option<Instant> {
        self.due.first().map(|(due, _)| *due)
    }

    /// Whether the packets before a waiting one are to be given up now; where that one is.
    pub fn overdue(&self, now: Instant) -> Option<i64> {
        self.due.first().filter(|(due, _)| *due <= now).map(|(_, at)| *at)
    }

    /// Whether too much waits, so that the first gap is to be given up; where it ends.
    pub fn overfull(&self) -> Option<i64> {
        self.waiting.first_key_value().filter(|_| self.bytes > MOST_WAITING).map(|(at, _)| *at)
    }

    /// Where the last waiting packet is, if any waits.
    pub fn last_waiting(&self) -> Option<i64> {
        self.waiting.last_key_value().map(|(at, _)| *at)
    }

    /// The missing packets from `first` to `last` (both included) that the buffer has room for.
    pub fn missing(&self, first: i64, last: i64) -> impl Iterator<Item = i64> + '_ {
        let last = last.min(self.next + self.capacity - 1);
        (first.max(self.next)..=last).filter(|at| !self.waiting.contains_key(at))
    }

    /// Gives up one packet: whatever comes of it later is ignored.
    pub fn give_up(&mut self, now: Instant, at: i64, released: &mut Vec<Option<Bytes>>) {
        if at < self.next || self.waiting.contains_key(&at) {
            return;
        }
        self.dropped = self.dropped.saturating_add(1);
        if at >= self.seen {
            self.lost = self.lost.saturating_add((at - self.seen).unsigned_abs() + 1);
            self.seen = at + 1;
        }
        if at == self.next {
            self.next += 1;
            released.push(None);
            self.release(now, released);
        } else {
            self.waiting.insert(at, Waiting { due: None, ahead: None, payload: None });
        }
    }

    /// Lets go what follows without a gap. The gap that ends here held up the first packet that came ahead of it; where
    /// none did, the gap goes on behind.
    fn release(&mut self, now: Instant, released: &mut Vec<Option<Bytes>>) {
        let mut first: Option<Instant> = None;
        while let Some(Waiting { due, ahead, payload }) = self.waiting.remove(&self.next) {
            if let Some(due) = due {
                self.due.remove(&(due, self.next));
            }
            first = first.or(ahead);
            self.bytes -= payload.as_ref().map_or(0, Bytes::len);
            self.next += 1;
            released.push(payload);
        }
        if let Some(first) = first {
            self.gaps.ended(now.saturating_duration_since(first));
        }
    }
}

/// The peer's clock as seen through the packets that travelled fastest.
#[derive(Debug)]
struct PeerClock {
    start: Instant,
    /// The newest timestamp, as sent and unwrapped, in microseconds.
    newest: Option<(u32, i64)>,
    /// The least of arrival minus timestamp in this window and the one before, in microseconds.
    least: [Option<i64>; 2],
    window_started: Instant,
}

impl PeerClock {
    fn new(now: Instant) -> Self {
        Self { start: now, newest: None, least: [None; 2], window_started: now }
    }

    /// When a packet that arrives now is due.
    fn due(&mut self, now: Instant, timestamp_us: u32, latency: Duration) -> Instant {
        let timestamp = match self.newest {
            None => i64::from(timestamp_us),
            Some((sent, unwrapped)) => unwrapped.saturating_add(i64::from(timestamp_us.wrapping_sub(sent) as i32)),
        };
        if self.newest.is_none_or(|(_, newest)| timestamp > newest) {
            self.newest = Some((timestamp_us, timestamp));
        }
        if now.saturating_duration_since(self.window_started) >= CLOCK_WINDOW {
            self.least = [None, self.least[0]];
            self.window_started = now;
        }
        let arrived = i64::try_from(now.saturating_duration_since(self.start).as_micros()).unwrap_or(i64::MAX);
        let offset = arrived.saturating_sub(timestamp);
        let least = self.least[0].map_or(offset, |least| least.min(offset));
        self.least[0] = Some(least);
        let fastest = self.least[1].map_or(least, |before| before.min(least));
        // How much later than the fastest this one came: that much of its time has gone by.
        let late = Duration::from_micros(u64::try_from(offset.saturating_sub(fastest)).unwrap_or(0));
        now + latency.saturating_sub(late)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::Clock;

    const LATENCY: Duration = Duration::from_millis(120);

    fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    fn payload(n: u8) -> Option<Bytes> {
        Some(Bytes::from(vec![n]))
    }

    fn insert(r: &mut Reassembly, now: Instant, sequence: u32, timestamp_ms: u32) -> Vec<u8> {
        let mut released = Vec::new();
        if let Place::New(at) = r.place(sequence) {
            r.insert(now, at, timestamp_ms * 1000, payload(sequence as u8), &mut released);
        }
        released.iter().flatten().map(|bytes| bytes[0]).collect()
    }

    #[test]
    fn packets_in_order_leave_at_once() {
        let now = Clock::manual().0.now();
        let mut r = Reassembly::new(now, 7, LATENCY, 100);
        for sequence in 7..50 {
            assert_eq!(insert(&mut r, now, sequence, 0), [sequence as u8]);
            assert_eq!(r.gives_up_at(), None);
        }
    }

    #[test]
    fn a_gap_waits_for_the_missing_packet_and_then_all_leave_in_order() {
        let now = Clock::manual().0.now();
        let mut r = Reassembly::new(now, 0, LATENCY, 100);
        assert_eq!(insert(&mut r, now, 0, 0), [0]);
        assert_eq!(insert(&mut r, now + ms(2), 2, 2), [0; 0]);
        assert_eq!(insert(&mut r, now + ms(4), 4, 4), [0; 0]);
        assert_eq!(insert(&mut r, now + ms(9), 3, 3), [0; 0]);
        assert_eq!(insert(&mut r, now + ms(30), 1, 1), [1, 2, 3, 4]);
        assert_eq!((r.lost, r.dropped), (2, 0));
        assert_eq!(insert(&mut r, now + ms(31), 1, 1), [0; 0]);
    }

    #[test]
    fn each_gap_is_counted_with_the_time_it_held_up_the_first_packet_behind_it() {
        let now = Clock::manual().0.now();
        let mut r = Reassembly::new(now, 0, LATENCY, 100);
        // 1 and 4 are missing; 3 overtakes 2.
        for (at, sequence) in [(0, 0), (2, 3), (3, 2), (8, 6), (9, 5)] {
            insert(&mut r, now + ms(at), sequence, 0);
        }
        assert_eq!(r.gaps.figures().count, 0, "none has ended");
        assert_eq!(insert(&mut r, now + ms(22), 1, 0), [1, 2, 3]);
        assert_eq!((r.gaps.figures().count, r.gaps.figures().longest), (1, ms(20)));
        assert_eq!(insert(&mut r, now + ms(38), 4, 0), [4, 5, 6]);
        let figures = r.gaps.figures();
        assert_eq!((figures.count, figures.longest, figures.mean), (2, ms(30), ms(25)));
        insert(&mut r, now + ms(39), 7, 0);
        assert_eq!(r.gaps.figures().count, 2, "in order");
    }

    #[test]
    fn a_gap_is_counted_once_in_whatever_order_it_is_filled() {
        let now = Clock::manual().0.now();
        for order in [[1, 2, 3], [2, 1, 3], [3, 2, 1], [3, 1, 2], [1, 3, 2], [2, 3, 1]] {
            let mut r = Reassembly::new(now, 0, LATENCY, 100);
            for (at, sequence) in [(0, 0), (2, 4), (3, 5)] {
                insert(&mut r, now + ms(at), sequence, 0);
            }
            for (at, sequence) in [20, 21, 22].into_iter().zip(order) {
                insert(&mut r, now + ms(at), sequence, 0);
            }
            let figures = r.gaps.figures();
            assert_eq!((r.next(), figures.count, figures.longest), (6, 1, ms(20)), "{order:?}");
        }
    }

    #[test]
    fn a_gap_is_given_up_at_the_delivery_time_of_what_is_behind_it() {
        let now = Clock::manual().0.now();
        let mut r = Reassembly::new(now, 0, LATENCY, 100);
        insert(&mut r, now, 0, 0);
        // Sent at 10 ms, held up 15 ms on the way: it has 105 ms left.
        insert(&mut r, now + ms(25), 2, 10);
        assert_eq!(r.gives_up_at(), Some(now + ms(130)));
        assert_eq!(r.overdue(now + ms(129)), None);
        assert_eq!(r.overdue(now + ms(130)), Some(2));
        let mut released = Vec::new();
        r.give_up(now + ms(130), 1, &mut released);
        assert_eq!(released, [None, payload(2)]);
        assert_eq!(r.gaps.figures().longest, ms(105));
        assert_eq!((r.dropped, r.gives_up_at()), (1, None));
        assert_eq!(insert(&mut r, now + ms(140), 1, 5), [0; 0]);
    }

    #[test]
    fn sequence_numbers_and_timestamps_wrap() {
        let now = Clock::manual().0.now();
        let mut r = Reassembly::new(now, SEQUENCE_MASK - 1, LATENCY, 100);
        let mut released = Vec::new();
        for (sequence, timestamp) in [(SEQUENCE_MASK - 1, u32::MAX - 10), (SEQUENCE_MASK, u32::MAX), (1, 20), (0, 9)] {
            let Place::New(at) = r.place(sequence) else { panic!("{sequence}") };
            r.insert(now, at, timestamp, payload(1), &mut released);
            assert!(r.gives_up_at().is_none_or(|due| due > now + ms(119)));
        }
        assert_eq!(released.len(), 4);
        assert_eq!(Reassembly::wire(r.next()), 2);
    }

    #[test]
    fn no_timestamp_can_make_a_gap_wait_longer_than_the_latency() {
        let now = Clock::manual().0.now();
        let mut r = Reassembly::new(now, 0, LATENCY, 1000);
        for (n, timestamp) in [0, u32::MAX, 1 << 31, (1 << 31) - 1, 17, u32::MAX / 2].into_iter().enumerate() {
            let mut released = Vec::new();
            r.insert(now + ms(n as u64), 1 + 2 * n as i64, timestamp, payload(0), &mut released);
        }
        assert_eq!(r.due.len(), 6);
        for (due, _) in &r.due {
            assert!(*due >= now && *due <= now + LATENCY + ms(6));
        }
    }

    #[test]
    fn a_packet_that_will_not_come_keeps_nothing_waiting() {
        let now = Clock::manual().0.now();
        let mut r = Reassembly::new(now, 0, LATENCY, 100);
        insert(&mut r, now, 5, 0);
        let mut released = Vec::new();
        r.give_up(now, 3, &mut released);
        assert_eq!((released.len(), r.gives_up_at()), (0, Some(now + LATENCY)));
        // Behind what waits, and behind nothing.
        r.give_up(now, 9, &mut released);
        assert_eq!(r.gives_up_at(), Some(now + LATENCY));
        assert_eq!(r.overdue(now + LATENCY), Some(5));
    }

    #[test]
    fn what_waits_is_bounded_in_bytes() {
        let now = Clock::manual().0.now();
        let mut r = Reassembly::new(now, 0, LATENCY, 100_000);
        let long = Bytes::from_static(&[7; 1456]);
        let most = (MOST_WAITING / long.len()) as i64;
        let mut released = Vec::new();
        for at in 0..most {
            r.insert(now, 2 + at, 0, Some(long.clone()), &mut released);
            assert_eq!(r.overfull(), None);
        }
        r.insert(now, 2 + most, 0, Some(long.clone()), &mut released);
        assert_eq!(r.overfull(), Some(2));
        r.give_up(now, 0, &mut released);
        r.give_up(now, 1, &mut released);
        assert_eq!((r.overfull(), r.bytes, r.due.len()), (None, 0, 0));
        assert_eq!(released.iter().flatten().count() as i64, most + 1);
    }

    #[test]
    fn the_peers_clock_may_drift() {
        let now = Clock::manual().0.now();
        let mut r = Reassembly::new(now, 0, LATENCY, 1000);
        // A clock 100 ppm slow, for an hour: 360 ms in all.
        for second in 0..3600u32 {
            let timestamp = second.wrapping_mul(999_900);
            let mut released = Vec::new();
            r.insert(now + ms(u64::from(second) * 1000), i64::from(second), timestamp, payload(0), &mut released);
        }
        let later = now + ms(3_600_000);
        let mut released = Vec::new();
        r.insert(later, 3601, 3600u32.wrapping_mul(999_900), payload(0), &mut released);
        let left = r.gives_up_at().unwrap() - later;
        assert!(left > ms(117) && left <= LATENCY, "{left:?}");
    }
}
