//! RTP headers (RFC 3550 §5.1) with the one header extension the egress uses (RFC 8285 §4.2).
//!
//! Owns: writing and reading headers, and the clocks that stamp pictures and sound. Does not own: payloads
//! (`packetizer`), numbering per viewer (`sender`).

use std::time::Instant;

use crate::media::Timestamp90k;

/// Largest UDP payload sent: what every path and every browser's own sender agrees on.
pub const MAX_DATAGRAM: usize = 1200;
/// Fixed header without contributing sources.
pub const HEADER_LEN: usize = 12;
/// Extension header, and the playout-delay element in one word.
pub const EXTENSION_LEN: usize = 8;
/// Largest payload of one packet: leaves room for header, extension, the original sequence number
/// of a retransmission (RFC 4588 §4) and the longest tag.
pub const MAX_PAYLOAD: usize = MAX_DATAGRAM - HEADER_LEN - EXTENSION_LEN - 2 - 16;

/// URI of the header extension that tells a receiver how long to hold pictures.
pub const PLAYOUT_DELAY_URI: &str = "http://www.webrtc.org/experiments/rtp-hdrext/playout-delay";

const VERSION: u8 = 2 << 6;
const HAS_EXTENSION: u8 = 1 << 4;
const MARKER: u8 = 1 << 7;
const ONE_BYTE_EXTENSIONS: [u8; 2] = [0xbe, 0xde];

/// What stands in the header of one packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// Payload type, 7 bits.
    pub payload_type: u8,
    /// The last packet of its access unit.
    pub marker: bool,
    /// Sequence number.
    pub sequence: u16,
    /// Media time in ticks of the payload's clock.
    pub timestamp: u32,
    /// Synchronization source.
    pub ssrc: u32,
    /// Id under which playout-delay was negotiated; 0/0 ("show at once") is then sent.
    pub playout_delay: Option<u8>,
}

impl Header {
    /// Length in bytes when written.
    pub fn len(&self) -> usize {
        if self.playout_delay.is_some() { HEADER_LEN + EXTENSION_LEN } else { HEADER_LEN }
    }

    /// Never: a header has at least its fixed part.
    pub fn is_empty(&self) -> bool {
        false
    }

    /// Appends the header.
    pub fn write(&self, out: &mut Vec<u8>) {
        let extension = if self.playout_delay.is_some() { HAS_EXTENSION } else { 0 };
        let marker = if self.marker { MARKER } else { 0 };
        out.extend_from_slice(&[VERSION | extension, marker | self.payload_type & 0x7f]);
        out.extend_from_slice(&self.sequence.to_be_bytes());
        out.extend_from_slice(&self.timestamp.to_be_bytes());
        out.extend_from_slice(&self.ssrc.to_be_bytes());
        if let Some(id) = self.playout_delay {
            out.extend_from_slice(&ONE_BYTE_EXTENSIONS);
            // One word: element of 3 bytes, minimum and maximum of 12 bits each, both zero.
            out.extend_from_slice(&[0, 1, id << 4 | 2, 0, 0, 0]);
        }
    }
}

/// Clock rate of RTP video, Hz (RFC 6184 §8.2.1).
pub const VIDEO_CLOCK_RATE: u32 = 90_000;
/// Clock rate of Opus, Hz, whatever it was made from (RFC 7587 §4.1).
pub const OPUS_CLOCK_RATE: u32 = 48_000;

/// Longest gap between units that is taken for part of a running source, ticks of 90 kHz.
const LONGEST_GAP: i64 = 10 * Timestamp90k::HZ;

/// Turns PTS into RTP timestamps that go on across restarts of the source: within a source by
/// PTS, from one source to the next, and over jumps, by the time that passed.
#[derive(Clone, Debug)]
pub struct Timeline {
    clock_rate: u32,
    offset: u32,
    last: Option<Stamped>,
    restarted: bool,
}

/// The unit stamped last, and the one its stamp is counted from: step by step, remainders would add up.
#[derive(Clone, Copy, Debug)]
struct Stamped {
    stamp: u32,
    pts: Timestamp90k,
    arrived: Instant,
    first: (u32, Timestamp90k),
}

impl Timeline {
    /// A timeline of `clock_rate` ticks a second that starts at a random `offset` (RFC 3550 §5.1).
    pub fn new(clock_rate: u32, offset: u32) -> Self {
        Self { clock_rate, offset, last: None, restarted: false }
    }

    /// The next unit comes from another source, whose PTS have nothing to do with those before.
    pub fn restart(&mut self) {
        self.restarted = true;
    }

    /// The RTP timestamp of a unit.
    pub fn stamp(&mut self, pts: Timestamp90k, arrived: Instant) -> u32 {
        let goes_on = |last: &Stamped| (1..=LONGEST_GAP).contains(&pts.0.saturating_sub(last.pts.0));
        let (stamp, first) = match self.last {
            None => (self.offset, None),
            Some(last) if !self.restarted && goes_on(&last) => (self.counted(last.first, pts), Some(last.first)),
            Some(last) => {
                let passed = ticks(self.clock_rate, arrived.saturating_duration_since(last.arrived));
                (last.stamp.wrapping_add(passed.max(1)), None)
            }
        };
        self.restarted = false;
        self.last = Some(Stamped { stamp, pts, arrived, first: first.unwrap_or((stamp, pts)) });
        stamp
    }

    /// The RTP time that corresponds to `now`, for sender reports (RFC 3550 §6.4.1).
    pub fn at(&self, now: Instant) -> Option<u32> {
        let last = self.last?;
        Some(last.stamp.wrapping_add(ticks(self.clock_rate, now.saturating_duration_since(last.arrived))))
    }

    /// The PTS that corresponds to `now`; none before the running source's first unit.
    pub fn pts_at(&self, now: Instant) -> Option<Timestamp90k> {
        let last = self.last.filter(|_| !self.restarted)?;
        let passed = ticks(VIDEO_CLOCK_RATE, now.saturating_duration_since(last.arrived));
        Some(Timestamp90k(last.pts.0.saturating_add(i64::from(passed))))
    }

    /// The RTP time of a PTS of the running source; none before its first unit.
    pub fn time_of(&self, pts: Timestamp90k) -> Option<u32> {
        self.last.filter(|_| !self.restarted).map(|last| self.counted(last.first, pts))
    }

    fn counted(&self, (stamp, first): (u32, Timestamp90k), pts: Timestamp90k) -> u32 {
        let distance = i128::from(pts.0) - i128::from(first.0);
        let ticks = (distance * i128::from(self.clock_rate)).div_euclid(i128::from(Timestamp90k::HZ));
        // RTP time is modulo 2^32, which is what is left of it.
        stamp.wrapping_add(ticks as u32)
    }
}

/// How many ticks of a clock a time is.
pub(super) fn ticks(clock_rate: u32, passed: std::time::Duration) -> u32 {
    (passed.as_micros() * u128::from(clock_rate) / 1_000_000) as u32
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use proptest::prelude::*;
    use rtc_shared::marshal::Unmarshal;

    use super::*;
    use crate::clock::Clock;

    #[test]
    fn another_implementation_reads_the_header() {
        let header = Header {
            payload_type: 102,
            marker: true,
            sequence: 0xfffe,
            timestamp: 0xdead_beef,
            ssrc: 7,
            playout_delay: Some(12),
        };
        let mut out = Vec::new();
        header.write(&mut out);
        assert_eq!(out.len(), header.len());
        out.extend_from_slice(b"payload");
        let read = rtc_rtp::Packet::unmarshal(&mut out.as_slice()).unwrap();
        assert!(read.header.marker);
        assert_eq!(read.header.payload_type, 102);
        assert_eq!(read.header.sequence_number, 0xfffe);
        assert_eq!(read.header.timestamp, 0xdead_beef);
        assert_eq!(read.header.ssrc, 7);
        assert_eq!(read.header.get_extension(12).as_deref(), Some(&[0u8, 0, 0][..]));
        assert_eq!(&read.payload[..], b"payload");
    }

    #[test]
    fn time_goes_on_across_a_restart_and_a_jump() {
        let mut timeline = Timeline::new(VIDEO_CLOCK_RATE, u32::MAX - 100);
        let start = Clock::system().now();
        let at = |ms| start + Duration::from_millis(ms);
        assert_eq!(timeline.stamp(Timestamp90k(900_000), at(0)), u32::MAX - 100);
        assert_eq!(timeline.stamp(Timestamp90k(903_000), at(50)), 2_899);
        assert_eq!(timeline.at(at(60)), Some(3_799));
        timeline.restart();
        assert_eq!(timeline.stamp(Timestamp90k(905_000), at(1_050)), 92_899);
        assert_eq!(timeline.stamp(Timestamp90k(0), at(1_150)), 101_899, "a jump back");
        assert_eq!(timeline.stamp(Timestamp90k(i64::MAX), at(1_150)), 101_900, "a jump ahead");
        assert_eq!(timeline.stamp(Timestamp90k(i64::MIN), at(1_150)), 101_901);
    }

    #[test]
    fn sound_counts_samples_and_loses_none_to_rounding() {
        let mut timeline = Timeline::new(OPUS_CLOCK_RATE, u32::MAX);
        let now = Clock::system().now();
        assert_eq!(timeline.stamp(Timestamp90k(0), now), u32::MAX);
        let mut last = 0;
        for n in 1..=180_000 {
            // As a muxer rounds them, now a tick early and now a tick late.
            last = timeline.stamp(Timestamp90k(n * 1_800 - n % 2), now);
        }
        assert_eq!(last, 180_000 * 960 - 1, "an hour of packets of 20 ms");
        assert_eq!(timeline.time_of(Timestamp90k(-1_800)), Some(u32::MAX - 960));
        timeline.restart();
        assert_eq!(timeline.time_of(Timestamp90k(0)), None, "of another source");
        let next = timeline.stamp(Timestamp90k(7), now + Duration::from_millis(20));
        assert_eq!(next, 180_001 * 960 - 1);
    }

    #[test]
    fn the_pts_of_now_is_known_while_a_source_runs() {
        let mut timeline = Timeline::new(VIDEO_CLOCK_RATE, 0);
        let now = Clock::system().now();
        assert_eq!(timeline.pts_at(now), None);
        timeline.stamp(Timestamp90k(1_000), now);
        assert_eq!(timeline.pts_at(now + Duration::from_millis(10)), Some(Timestamp90k(1_900)));
        timeline.restart();
        assert_eq!(timeline.pts_at(now), None);
        timeline.stamp(Timestamp90k(i64::MAX), now);
        assert_eq!(timeline.pts_at(now + Duration::from_millis(10)), Some(Timestamp90k(i64::MAX)));
    }

    proptest! {
        /// Any PTS, however they jump: stamps move on, never by more than what passed in either clock.
        #[test]
        fn stamps_move_on(
            offset: u32,
            clock_rate in prop_oneof![Just(VIDEO_CLOCK_RATE), Just(OPUS_CLOCK_RATE)],
            steps in prop::collection::vec((prop_oneof![1..20_000i64, any::<i64>()], 0..2_000u64, any::<bool>()), 1..50),
        ) {
            let mut timeline = Timeline::new(clock_rate, offset);
            let (mut pts, mut now) = (0i64, Clock::system().now());
            let mut last = timeline.stamp(Timestamp90k(pts), now);
            for (step, passed, restarts) in steps {
                pts = pts.wrapping_add(step);
                now += Duration::from_millis(passed);
                if restarts {
                    timeline.restart();
                }
                let stamp = timeline.stamp(Timestamp90k(pts), now);
                prop_assert!(stamp.wrapping_sub(last) <= clock_rate * 10 + 1);
                prop_assert_eq!(timeline.at(now), Some(stamp));
                prop_assert_eq!(timeline.time_of(Timestamp90k(pts)), Some(stamp));
                last = stamp;
            }
        }
    }
}
