//! Access units → RTP payloads, once per stream: H.264 by RFC 6184 §5 (packetization mode 1), Opus by RFC 7587 §4.2.
//!
//! Owns: which bytes go into which packet. Does not own: headers (`rtp`), numbering and encryption
//! per viewer (`sender`). All fragments of a NAL unit but its last are equally long, so that one
//! system call can send them all.

use std::ops::Range;
use std::time::Instant;

use super::rtp::MAX_PAYLOAD;

const NAL_TYPE: u8 = 0x1f;
const NRI: u8 = 0x60;
const SPS: u8 = 7;
const STAP_A: u8 = 24;
const FU_A: u8 = 28;
const FU_START: u8 = 0x80;
const FU_END: u8 = 0x40;
/// Access unit delimiter, end of sequence, end of stream, filler: worth nothing to a receiver.
const SKIPPED: [u8; 4] = [9, 10, 11, 12];

/// One access unit, cut into RTP payloads that all viewers share.
#[derive(Debug)]
pub struct Frame {
    /// Number of its first packet within the stream; later packets count on.
    pub first: u64,
    /// RTP timestamp, the same for all viewers.
    pub timestamp: u32,
    /// Whether decoding can start here.
    pub random_access: bool,
    /// When its last byte reached the box.
    pub arrived: Instant,
    bytes: Vec<u8>,
    /// Where each payload ends in `bytes`.
    ends: Vec<u32>,
}

impl Frame {
    /// How many packets it takes; never zero.
    pub fn packets(&self) -> usize {
        self.ends.len()
    }

    /// Bytes of payload in all its packets.
    pub fn bytes(&self) -> usize {
        self.bytes.len()
    }

    /// The payload of its n-th packet.
    pub fn payload(&self, n: usize) -> Option<&[u8]> {
        let start = match n.checked_sub(1) {
            None => 0,
            Some(before) => *self.ends.get(before)? as usize,
        };
        self.bytes.get(start..*self.ends.get(n)? as usize)
    }
}

/// Cuts the access units of one stream, numbering the packets.
#[derive(Debug, Default)]
pub struct Packetizer {
    next: u64,
}

impl Packetizer {
    /// Cuts an H.264 access unit in Annex B form. `None` when nothing in it is worth sending.
    pub fn h264(&mut self, unit: &[u8], random_access: bool, timestamp: u32, arrived: Instant) -> Option<Frame> {
        let mut cutter = Cutter { unit, bytes: Vec::with_capacity(unit.len() + 64), ends: Vec::new() };
        let mut waiting: Vec<Range<usize>> = Vec::new();
        let mut waiting_len = 1;
        for nal in nal_units(unit) {
            let bytes = unit.get(nal.clone()).unwrap_or_default();
            if bytes.first().is_none_or(|header| SKIPPED.contains(&(header & NAL_TYPE))) {
                continue;
            }
            if waiting_len + 2 + bytes.len() <= MAX_PAYLOAD {
                waiting_len += 2 + bytes.len();
                waiting.push(nal);
                continue;
            }
            cutter.aggregate(&waiting);
            waiting.clear();
            waiting_len = 1;
            if bytes.len() <= MAX_PAYLOAD {
                waiting_len += 2 + bytes.len();
                waiting.push(nal);
            } else {
                cutter.fragment(bytes);
            }
        }
        cutter.aggregate(&waiting);
        if cutter.ends.is_empty() {
            return None;
        }
        let frame =
            Frame { first: self.next, timestamp, random_access, arrived, bytes: cutter.bytes, ends: cutter.ends };
        self.next += frame.packets() as u64;
        Some(frame)
    }

    /// An Opus packet, which is the payload as it is. `None` when it is empty or fits no packet: it must not be cut
    /// (RFC 7587 §4.2).
    pub fn opus(&mut self, packet: &[u8], timestamp: u32, arrived: Instant) -> Option<Frame> {
        if !(1..=MAX_PAYLOAD).contains(&packet.len()) {
            return None;
        }
        let (bytes, ends) = (packet.to_vec(), vec![packet.len() as u32]);
        let frame = Frame { first: self.next, timestamp, random_access: true, arrived, bytes, ends };
        self.next += 1;
        Some(frame)
    }
}

struct Cutter<'a> {
    unit: &'a [u8],
    bytes: Vec<u8>,
    ends: Vec<u32>,
}

impl Cutter<'_> {
    fn end_packet(&mut self) {
        self.ends.push(self.bytes.len() as u32);
    }

    /// One NAL unit as it is (RFC 6184 §5.6), several as STAP-A (§5.7.1).
    fn aggregate(&mut self, nals: &[Range<usize>]) {
        let part = |nal: &Range<usize>| self.unit.get(nal.clone()).unwrap_or_default();
        match nals {
            [] => return,
            [nal] => self.bytes.extend_from_slice(part(nal)),
            nals => {
                let nri = nals.iter().filter_map(|nal| part(nal).first()).map(|header| header & NRI).max();
                self.bytes.push(nri.unwrap_or_default() | STAP_A);
                for nal in nals {
                    let nal = self.unit.get(nal.clone()).unwrap_or_default();
                    self.bytes.extend_from_slice(&(nal.len() as u16).to_be_bytes());
                    self.bytes.extend_from_slice(nal);
                }
            }
        }
        self.end_packet();
    }

    /// RFC 6184 §5.8.
    fn fragment(&mut self, nal: &[u8]) {
        let Some((&header, body)) = nal.split_first() else { return };
        let count = body.len().div_ceil(MAX_PAYLOAD - 2).max(1);
        let size = body.len().div_ceil(count).max(1);
        let last = body.len().div_ceil(size).saturating_sub(1);
        for (n, part) in body.chunks(size).enumerate() {
            let start = if n == 0 { FU_START } else { 0 };
            let end = if n == last { FU_END } else { 0 };
            self.bytes.extend_from_slice(&[header & !NAL_TYPE | FU_A, start | end | header & NAL_TYPE]);
            self.bytes.extend_from_slice(part);
            self.end_packet();
        }
    }
}

/// Where the NAL units of a byte stream lie (ITU-T H.264 annex B), trailing zeros left out.
pub fn nal_units(stream: &[u8]) -> impl Iterator<Item = Range<usize>> {
    let mut next = start_code(stream, 0).map(|at| at + 3);
    std::iter::from_fn(move || {
        loop {
            let start = next?;
            let code = start_code(stream, start);
            next = code.map(|at| at + 3);
            let mut end = code.unwrap_or(stream.len());
            while end > start && stream.get(end - 1) == Some(&0) {
                end -= 1;
            }
            if end > start {
                return Some(start..end);
            }
        }
    })
}

fn start_code(stream: &[u8], from: usize) -> Option<usize> {
    let mut at = from;
    loop {
        // Only the third byte decides how far the search may step.
        match stream.get(at..at + 3)? {
            [0, 0, 1] => return Some(at),
            [_, _, third] if *third > 1 => at += 3,
            _ => at += 1,
        }
    }
}

/// The three bytes after the SPS's NAL header, as they stand in `profile-level-id`
/// (RFC 6184 §8.1), of the first SPS in an access unit.
pub fn profile_level_id(unit: &[u8]) -> Option<[u8; 3]> {
    nal_units(unit).find_map(|nal| match unit.get(nal)? {
        [header, profile, constraints, level, ..] if header & NAL_TYPE == SPS => Some([*profile, *constraints, *level]),
        _ => None,
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::clock::Clock;

    /// Puts the NAL units of a frame together again, with no code in common with the cutter.
    fn depacketize(frame: &Frame) -> Vec<Vec<u8>> {
        let mut nals: Vec<Vec<u8>> = Vec::new();
        for n in 0..frame.packets() {
            let payload = frame.payload(n).unwrap();
            assert!(payload.len() <= MAX_PAYLOAD);
            match payload[0] & 0x1f {
                24 => {
                    let mut rest = &payload[1..];
                    while !rest.is_empty() {
                        let len = usize::from(rest[0]) << 8 | usize::from(rest[1]);
                        nals.push(rest[2..2 + len].to_vec());
                        rest = &rest[2 + len..];
                    }
                }
                28 => {
                    if payload[1] & 0x80 != 0 {
                        nals.push(vec![payload[0] & 0xe0 | payload[1] & 0x1f]);
                    }
                    nals.last_mut().unwrap().extend_from_slice(&payload[2..]);
                }
                _ => nals.push(payload.to_vec()),
            }
        }
        nals
    }

    /// RFC 6184 §5.8: a fragmented NAL unit must not be sent in one FU.
    #[test]
    fn a_nal_unit_of_any_size_near_a_packets_is_whole_or_in_two_fragments() {
        let now = Clock::system().now();
        for len in MAX_PAYLOAD - 8..=MAX_PAYLOAD + 8 {
            let mut nal = vec![7; len];
            nal[0] = 0x41;
            let unit = annex_b(&[nal.clone()]);
            let frame = Packetizer::default().h264(&unit, false, 0, now).unwrap();
            assert_eq!(depacketize(&frame), [nal]);
            assert_eq!(frame.packets(), if len <= MAX_PAYLOAD { 1 } else { 2 }, "{len} bytes");
            for n in 0..frame.packets() {
                let payload = frame.payload(n).unwrap();
                let is_fragment = payload[0] & 0x1f == 28;
                assert!(!(is_fragment && payload[1] & 0xc0 == 0xc0), "{len} bytes: a fragment that starts and ends");
            }
        }
    }

    fn annex_b(nals: &[Vec<u8>]) -> Vec<u8> {
        nals.iter().enumerate().fold(Vec::new(), |mut out, (n, nal)| {
            out.extend_from_slice(if n % 2 == 0 { &[0, 0, 0, 1] } else { &[0, 0, 1] });
            out.extend_from_slice(nal);
            out
        })
    }

    fn nal() -> impl Strategy<Value = Vec<u8>> {
        (
            prop_oneof![Just(0x65u8), Just(0x41), Just(0x67), Just(0x68), Just(0x06)],
            prop_oneof![1..40usize, 1_100..1_300usize, 1..20_000usize],
            any::<u8>(),
        )
            .prop_map(|(header, len, seed)| {
                let body = (0..len).map(|n| (n as u8).wrapping_mul(31).wrapping_add(seed) | 1);
                std::iter::once(header).chain(body).collect()
            })
    }

    proptest! {
        #[test]
        fn what_was_cut_can_be_put_together_again(nals in prop::collection::vec(nal(), 1..6)) {
            let mut packetizer = Packetizer::default();
            let unit = annex_b(&nals);
            let now = Clock::system().now();
            let frame = packetizer.h264(&unit, true, 0, now).unwrap();
            prop_assert_eq!(depacketize(&frame), nals);
            let next = packetizer.h264(&unit, true, 0, now).unwrap();
            prop_assert_eq!(next.first, frame.packets() as u64);
        }

        #[test]
        fn any_bytes_are_cut_without_a_panic(unit in prop::collection::vec(0u8..4, 0..300)) {
            let now = Clock::system().now();
            if let Some(frame) = Packetizer::default().h264(&unit, false, 0, now) {
                prop_assert!(frame.packets() > 0);
            }
            profile_level_id(&unit);
        }
    }

    #[test]
    fn fragments_are_equally_long_but_the_last() {
        let mut unit = vec![0, 0, 0, 1, 0x67, 0x42, 0xc0, 0x1f, 0, 0, 1, 0x68, 0xce, 0, 0, 1, 0x65];
        unit.extend(std::iter::repeat_n(0xab, 5_000));
        let frame = Packetizer::default().h264(&unit, true, 0, Clock::system().now()).unwrap();
        let lengths: Vec<_> = (0..frame.packets()).map(|n| frame.payload(n).unwrap().len()).collect();
        assert_eq!(lengths[0], 1 + 2 + 4 + 2 + 2, "parameter sets in one STAP-A");
        assert_eq!(lengths[1..], [1002, 1002, 1002, 1002, 1002]);
        assert_eq!(profile_level_id(&unit), Some([0x42, 0xc0, 0x1f]));
    }

    #[test]
    fn an_opus_packet_is_one_payload_or_none() {
        let now = Clock::system().now();
        let mut packetizer = Packetizer::default();
        for (n, len) in [1, 320, MAX_PAYLOAD].into_iter().enumerate() {
            let packet = vec![0xfc; len];
            let frame = packetizer.opus(&packet, 960, now).unwrap();
            assert_eq!((frame.first, frame.packets(), frame.payload(0)), (n as u64, 1, Some(packet.as_slice())));
        }
        assert!(packetizer.opus(&[], 0, now).is_none());
        assert!(packetizer.opus(&[0xfc; MAX_PAYLOAD + 1], 0, now).is_none());
    }

    #[test]
    fn delimiters_and_filler_are_left_out() {
        let unit = [0, 0, 1, 9, 0xf0, 0, 0, 1, 0x41, 7, 7, 0, 0, 1, 12, 0xff, 0xff, 0x80];
        let frame = Packetizer::default().h264(&unit, false, 0, Clock::system().now()).unwrap();
        assert_eq!(depacketize(&frame), [vec![0x41, 7, 7]]);
        assert!(Packetizer::default().h264(&[0, 0, 1, 9, 0xf0], false, 0, Clock::system().now()).is_none());
    }
}
