//! RTP headers (RFC 3550 §5.1) with the one header extension the egress uses (RFC 8285 §4.2).
//!
//! Owns: writing and reading headers, and the clock that stamps pictures. Does not own: payloads
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

/// Longest gap between pictures that is taken for part of a running source, ticks.
const LONGEST_GAP: i64 = 10 * Timestamp90k::HZ;

/// Turns PTS into RTP timestamps that go on across restarts of the source: within a source by
/// PTS, from one source to the next, and over jumps, by the time that passed.
#[derive(Clone, Debug)]
pub struct Timeline {
    offset: u32,
    last: Option<(u32, Timestamp90k, Instant)>,
    restarted: bool,
}

impl Timeline {
    /// A timeline that starts at a random `offset` (RFC 3550 §5.1).
    pub fn new(offset: u32) -> Self {
        Self { offset, last: None, restarted: false }
    }

    /// The next unit comes from another source, whose PTS have nothing to do with those before.
    pub fn restart(&mut self) {
        self.restarted = true;
    }

    /// The RTP timestamp of a unit.
    pub fn stamp(&mut self, pts: Timestamp90k, arrived: Instant) -> u32 {
        let stamp = match self.last {
            None => self.offset,
            Some((last, last_pts, last_arrived)) => {
                let step = pts.0.saturating_sub(last_pts.0);
                if !self.restarted && (1..=LONGEST_GAP).contains(&step) {
                    last.wrapping_add(step as u32)
                } else {
                    last.wrapping_add(ticks(arrived.saturating_duration_since(last_arrived)).max(1))
                }
            }
        };
        self.restarted = false;
        self.last = Some((stamp, pts, arrived));
        stamp
    }

    /// The RTP time that corresponds to `now`, for sender reports (RFC 3550 §6.4.1).
    pub fn at(&self, now: Instant) -> Option<u32> {
        let (stamp, _, arrived) = self.last?;
        Some(stamp.wrapping_add(ticks(now.saturating_duration_since(arrived))))
    }
}

fn ticks(elapsed: std::time::Duration) -> u32 {
    (elapsed.as_micros() * 9 / 100) as u32
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

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
        let mut timeline = Timeline::new(u32::MAX - 100);
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
}
