//! The receiving half of a video stream: order, gaps, repair, pictures, feedback.
//!
//! Takes decrypted RTP and RTCP with the time it came, gives RTCP to send. No sockets.

use super::Seeded;
use super::h264::{Depacketiser, Frame};
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

/// How a viewer behaves.
#[derive(Clone, Debug)]
pub struct Options {
    /// Fraction of received media packets thrown away before they are looked at (0.0–1.0).
    pub drop_fraction: f64,
    /// Seed of that choice.
    pub seed: u64,
    /// Ask for what is missing.
    pub nack: bool,
    /// How long something missing is waited for before it counts as lost.
    pub patience: Duration,
    /// Keep every whole picture in Annex B form.
    pub keep_bitstream: bool,
}

impl Default for Options {
    fn default() -> Self {
        Self { drop_fraction: 0.0, seed: 1, nack: true, patience: Duration::from_millis(1000), keep_bitstream: false }
    }
}

/// A picture that came through whole.
#[derive(Clone, Copy, Debug)]
pub struct Seen {
    /// When its last packet was there.
    pub at: Instant,
    /// RTP timestamp, 90 kHz.
    pub timestamp: u32,
    /// It is an IDR picture.
    pub idr: bool,
    /// Size in Annex B form, bytes.
    pub bytes: usize,
}

/// What a viewer has counted so far.
#[derive(Clone, Debug, Default)]
pub struct Stats {
    /// Media packets taken in, retransmissions not counted.
    pub packets: u64,
    /// Bytes of their payloads.
    pub payload_bytes: u64,
    /// Packets of sound.
    pub sound_packets: u64,
    /// Packets that never came: neither in time nor by retransmission.
    pub lost: u64,
    /// Packets thrown away on purpose.
    pub dropped: u64,
    /// Packets that came by retransmission.
    pub recovered: u64,
    /// Retransmissions of what was already there.
    pub needless: u64,
    /// Packets that came twice.
    pub duplicates: u64,
    /// Packets that came behind a later one.
    pub reordered: u64,
    /// Whole pictures, decodable because an IDR picture came before them.
    pub frames: u64,
    /// Of these, IDR pictures.
    pub idrs: u64,
    /// IDR pictures without SPS and PPS in the same access unit.
    pub bare_idrs: u64,
    /// Pictures with something missing or malformed.
    pub broken_frames: u64,
    /// Pictures before the first IDR, or after a broken one and before the next IDR.
    pub undecodable: u64,
    /// Payloads that break RFC 6184.
    pub malformed: u64,
    /// Why the last of them does.
    pub last_fault: &'static str,
    /// Pictures without a marker bit at their end.
    pub unmarked: u64,
    /// NAL unit types seen, as bits.
    pub nal_types: u32,
    /// RTP timestamps that did not move forward from one picture to the next.
    pub timestamp_faults: u64,
    /// The synchronisation source changed during the session.
    pub ssrc_changes: u64,
    /// Media packets that carry the playout-delay extension, and its last value (min, max in 10 ms).
    pub playout_delay: (u64, Option<(u16, u16)>),
    /// Sender reports.
    pub sender_reports: u64,
    /// The packet count in the last one.
    pub reported_packets: u32,
    /// NACKs sent (feedback messages, not packets).
    pub nacks: u64,
    /// PLIs sent.
    pub plis: u64,
    /// Packets that failed decryption, or were neither RTP, RTCP, STUN nor DTLS.
    pub undecipherable: u64,
    /// Consent checks answered.
    pub consents: u64,
    /// From the start of the session to: the server's answer, ICE, DTLS, first packet, first picture.
    pub answered: Option<Duration>,
    /// A candidate answered.
    pub ice: Option<Duration>,
    /// Keys are there.
    pub dtls: Option<Duration>,
    /// First media packet.
    pub first_packet: Option<Duration>,
    /// First whole picture that can be decoded.
    pub first_frame: Option<Duration>,
    /// When the last picture came.
    pub last_frame: Option<Instant>,
    /// The longest wait between two pictures.
    pub longest_pause: Duration,
    /// Why the server ended the session, if it did.
    pub ended: Option<String>,
    /// The SRTP protection profile agreed.
    pub profile: String,
}

#[derive(Clone, Debug)]
struct Packet {
    timestamp: u32,
    marker: bool,
    payload: Vec<u8>,
}

#[derive(Clone, Copy, Debug)]
struct Missing {
    since: Instant,
    asked: Option<Instant>,
    times: u32,
}

const MOST_MISSING: i64 = 4096;
const ASK_AGAIN: Duration = Duration::from_millis(40);
const MOST_QUESTIONS: u32 = 20;

/// One video stream being received.
#[derive(Debug)]
pub struct Receiver {
    options: Options,
    video: u8,
    rtx: Option<u8>,
    sound: Option<u8>,
    playout_delay: Option<u8>,
    own_ssrc: u32,
    reduced_size: bool,
    random: Seeded,
    started: Instant,
    media_ssrc: Option<u32>,
    highest: i64,
    next: i64,
    base: i64,
    waiting: BTreeMap<i64, Packet>,
    missing: BTreeMap<i64, Missing>,
    gap: bool,
    depacketiser: Depacketiser,
    needs_idr: bool,
    last_timestamp: Option<u32>,
    last_report: Option<(Instant, u32)>,
    reported: (i64, u64),
    next_report: Instant,
    next_pli: Option<Instant>,
    /// What has been counted.
    pub stats: Stats,
    /// Every whole picture, oldest first, the last 20 000.
    pub seen: std::collections::VecDeque<Seen>,
    /// The pictures' bit stream, when it is kept.
    pub bitstream: Vec<u8>,
}

/// What a receiver must know of the session.
#[derive(Clone, Copy, Debug)]
pub struct Session {
    /// Payload type of the video.
    pub video: u8,
    /// Payload type of its retransmissions.
    pub rtx: Option<u8>,
    /// Payload type of the sound.
    pub sound: Option<u8>,
    /// Identifier of the playout-delay extension.
    pub playout_delay: Option<u8>,
    /// Our synchronisation source.
    pub own_ssrc: u32,
    /// Reduced-size RTCP may be sent.
    pub reduced_size: bool,
}

impl Receiver {
    /// A receiver for a session that started at `started`.
    pub fn new(started: Instant, session: Session, options: Options) -> Self {
        Self {
            random: Seeded(options.seed),
            options,
            video: session.video,
            rtx: session.rtx,
            sound: session.sound,
            playout_delay: session.playout_delay,
            own_ssrc: session.own_ssrc,
            reduced_size: session.reduced_size,
            started,
            media_ssrc: None,
            highest: 0,
            next: 0,
            base: 0,
            waiting: BTreeMap::new(),
            missing: BTreeMap::new(),
            gap: false,
            depacketiser: Depacketiser::default(),
            needs_idr: true,
            last_timestamp: None,
            last_report: None,
            reported: (0, 0),
            next_report: started + Duration::from_secs(1),
            next_pli: None,
            stats: Stats::default(),
            seen: std::collections::VecDeque::new(),
            bitstream: Vec::new(),
        }
    }

    /// Something is missing, so [`Self::poll`] wants to be called every few milliseconds.
    pub fn is_impatient(&self) -> bool {
        !self.missing.is_empty()
    }

    /// Takes one decrypted RTP packet.
    pub fn rtp(&mut self, now: Instant, packet: &[u8]) {
        let Some(header) = Header::parse(packet) else {
            self.stats.undecipherable += 1;
            return;
        };
        if header.payload_type == self.video {
            if self.options.drop_fraction > 0.0 && self.random.fraction() < self.options.drop_fraction {
                self.stats.dropped += 1;
                return;
            }
            if self.media_ssrc.is_some_and(|known| known != header.ssrc) {
                self.stats.ssrc_changes += 1;
                self.media_ssrc = None;
                self.waiting.clear();
                self.missing.clear();
                self.gap = true;
            }
            if let Some(id) = self.playout_delay
                && let Some([a, b, c]) = header.extension(packet, id)
            {
                let (a, b, c) = (u16::from(*a), u16::from(*b), u16::from(*c));
                self.stats.playout_delay.0 += 1;
                self.stats.playout_delay.1 = Some((a << 4 | b >> 4, (b & 0xf) << 8 | c));
            }
            let payload = header.payload(packet);
            self.stats.packets += 1;
            self.stats.payload_bytes += payload.len() as u64;
            self.stats.first_packet.get_or_insert(now - self.started);
            self.media(now, &header, header.sequence, payload, false);
        } else if Some(header.payload_type) == self.sound {
            self.stats.sound_packets += 1;
        } else if Some(header.payload_type) == self.rtx {
            // RFC 4588 §4: the original sequence number leads the payload; without one it is padding.
            if let [high, low, payload @ ..] = header.payload(packet) {
                self.media(now, &header, u16::from_be_bytes([*high, *low]), payload, true);
            }
        }
    }

    fn media(&mut self, now: Instant, header: &Header, sequence: u16, payload: &[u8], repair: bool) {
        let index = match self.media_ssrc {
            Some(_) => self.highest + i64::from(sequence.wrapping_sub(self.highest as u16) as i16),
            None if repair => return,
            None => {
                self.media_ssrc = Some(header.ssrc);
                let first = i64::from(sequence) + 0x1_0000;
                (self.highest, self.next, self.base) = (first - 1, first, first);
                first
            }
        };
        let was_missing = self.missing.remove(&index).is_some();
        if repair {
            if was_missing {
                self.stats.recovered += 1;
            } else {
                self.stats.needless += 1;
                return;
            }
        } else if index <= self.highest {
            if was_missing {
                self.stats.reordered += 1;
            } else {
                self.stats.duplicates += 1;
                return;
            }
        }
        if index > self.highest {
            if index - self.highest > MOST_MISSING {
                self.stats.lost += (index - self.highest - 1) as u64;
                self.waiting.clear();
                self.missing.clear();
                self.gap = true;
                self.next = index;
            } else {
                for absent in self.highest + 1..index {
                    self.missing.insert(absent, Missing { since: now, asked: None, times: 0 });
                }
            }
            self.highest = index;
        }
        if index == self.next {
            self.in_order(now, header.timestamp, header.marker, payload);
            self.release(now);
        } else {
            self.waiting.insert(
                index,
                Packet { timestamp: header.timestamp, marker: header.marker, payload: payload.to_vec() },
            );
        }
    }

    fn release(&mut self, now: Instant) {
        while let Some(packet) = self.waiting.remove(&self.next) {
            self.in_order(now, packet.timestamp, packet.marker, &packet.payload);
        }
    }

    fn in_order(&mut self, now: Instant, timestamp: u32, marker: bool, payload: &[u8]) {
        self.next += 1;
        let after_gap = std::mem::take(&mut self.gap);
        let done = self.depacketiser.push(payload, timestamp, marker, after_gap);
        self.stats.malformed = self.depacketiser.malformed;
        self.stats.last_fault = self.depacketiser.last_fault;
        self.stats.unmarked = self.depacketiser.unmarked;
        if let Some(frame) = done {
            self.picture(now, &frame);
        }
    }

    fn picture(&mut self, now: Instant, frame: &Frame) {
        if self.last_timestamp.is_some_and(|last| frame.timestamp.wrapping_sub(last) as i32 <= 0) {
            self.stats.timestamp_faults += 1;
        }
        self.last_timestamp = Some(frame.timestamp);
        self.stats.nal_types |= frame.nal_types;
        if !frame.whole {
            self.stats.broken_frames += 1;
            self.needs_idr = true;
            self.next_pli.get_or_insert(now);
            return;
        }
        if frame.is_idr() {
            if !(frame.has(7) && frame.has(8)) {
                self.stats.bare_idrs += 1;
            }
            self.needs_idr = false;
            self.next_pli = None;
        }
        if self.needs_idr {
            self.stats.undecodable += 1;
            return;
        }
        self.stats.frames += 1;
        self.stats.idrs += u64::from(frame.is_idr());
        self.stats.first_frame.get_or_insert(now - self.started);
        if let Some(last) = self.stats.last_frame {
            self.stats.longest_pause = self.stats.longest_pause.max(now - last);
        }
        self.stats.last_frame = Some(now);
        if self.options.keep_bitstream {
            self.bitstream.extend_from_slice(self.depacketiser.annex_b());
        }
        if self.seen.len() >= 20_000 {
            self.seen.pop_front();
        }
        self.seen.push_back(Seen { at: now, timestamp: frame.timestamp, idr: frame.is_idr(), bytes: frame.bytes });
    }

    /// Takes one decrypted compound RTCP packet.
    pub fn rtcp(&mut self, now: Instant, mut compound: &[u8]) {
        while let [first, kind, high, low, ..] = *compound {
            let size = (usize::from(u16::from_be_bytes([high, low])) + 1) * 4;
            let Some(packet) = compound.get(..size) else {
                self.stats.undecipherable += 1;
                return;
            };
            if first >> 6 != 2 {
                self.stats.undecipherable += 1;
                return;
            }
            let word =
                |at: usize| packet.get(at..at + 4).and_then(|four| four.try_into().ok()).map_or(0, u32::from_be_bytes);
            match kind {
                200 if Some(word(4)) == self.media_ssrc => {
                    self.stats.sender_reports += 1;
                    self.stats.reported_packets = word(20);
                    self.last_report = Some((now, word(8) << 16 | word(12) >> 16));
                }
                203 => self.stats.ended = Some("RTCP BYE".to_owned()),
                _ => {}
            }
            compound = compound.get(size..).unwrap_or_default();
        }
    }

    /// Gives up on what is overdue; gives the RTCP that is due, in the clear.
    pub fn poll(&mut self, now: Instant) -> Vec<Vec<u8>> {
        while let Some((&index, missing)) = self.missing.first_key_value() {
            if now - missing.since < self.options.patience {
                break;
            }
            self.missing.remove(&index);
            self.stats.lost += 1;
            self.gap = true;
            // Everything before the lost packet has been released or given up on by now.
            self.next = index + 1;
            self.release(now);
        }
        let Some(media) = self.media_ssrc else { return Vec::new() };
        let mut feedback = Vec::new();
        if self.options.nack {
            let mut ask = Vec::new();
            for (&index, missing) in &mut self.missing {
                if missing.times < MOST_QUESTIONS && missing.asked.is_none_or(|at| now - at >= ASK_AGAIN) {
                    missing.asked = Some(now);
                    missing.times += 1;
                    ask.push(index);
                }
            }
            for some in pairs(&ask).chunks(64) {
                self.stats.nacks += 1;
                let mut packet = feedback_header(1, 205, some.len(), self.own_ssrc, media);
                some.iter().for_each(|(first, others)| {
                    packet.extend_from_slice(&first.to_be_bytes());
                    packet.extend_from_slice(&others.to_be_bytes());
                });
                feedback.push(packet);
            }
        }
        if self.next_pli.is_some_and(|at| now >= at) {
            self.next_pli = Some(now + Duration::from_secs(1));
            self.stats.plis += 1;
            feedback.push(feedback_header(1, 206, 0, self.own_ssrc, media));
        }
        let due = now >= self.next_report;
        if due {
            self.next_report = now + Duration::from_secs(1);
        }
        if !due && feedback.is_empty() {
            return Vec::new();
        }
        let mut out = Vec::new();
        if due || !self.reduced_size {
            let mut compound = self.receiver_report(now, media);
            if !self.reduced_size {
                feedback.drain(..).for_each(|packet| compound.extend_from_slice(&packet));
            }
            out.push(compound);
        }
        out.extend(feedback);
        out
    }

    fn receiver_report(&mut self, now: Instant, media: u32) -> Vec<u8> {
        let lost = self.stats.lost + self.missing.len() as u64;
        let expected = self.highest - self.reported.0.max(self.base - 1);
        let newly = lost.saturating_sub(self.reported.1);
        let fraction = (newly * 256).checked_div(expected.max(1) as u64).unwrap_or_default().min(255);
        self.reported = (self.highest, lost);
        let mut packet = vec![0x81, 201, 0, 7];
        let (last, delay) = self.last_report.map_or((0, 0), |(at, ntp)| {
            (ntp, u32::try_from((now - at).as_micros() * 65_536 / 1_000_000).unwrap_or(u32::MAX))
        });
        let lost = (lost.min(0x7f_ffff) as u32) | (fraction as u32) << 24;
        for word in [self.own_ssrc, media, lost, (self.highest - 0x1_0000) as u32, 0, last, delay] {
            packet.extend_from_slice(&word.to_be_bytes());
        }
        packet
    }
}

/// RFC 4585 §6.1.
fn feedback_header(format: u8, kind: u8, entries: usize, own: u32, media: u32) -> Vec<u8> {
    let mut packet = vec![0x80 | format, kind];
    packet.extend_from_slice(&(2 + entries as u16).to_be_bytes());
    packet.extend_from_slice(&own.to_be_bytes());
    packet.extend_from_slice(&media.to_be_bytes());
    packet
}

/// Sequence numbers as pairs of a first one and a bit mask of the 16 after it (RFC 4585 §6.2.1).
fn pairs(indices: &[i64]) -> Vec<(u16, u16)> {
    let mut pairs: Vec<(i64, u16)> = Vec::new();
    for &index in indices {
        match pairs.last_mut() {
            Some((first, others)) if index - *first <= 16 => *others |= 1 << (index - *first - 1),
            _ => pairs.push((index, 0)),
        }
    }
    pairs.into_iter().map(|(first, others)| (first as u16, others)).collect()
}

/// RFC 3550 §5.1.
#[derive(Clone, Copy, Debug)]
struct Header {
    payload_type: u8,
    sequence: u16,
    timestamp: u32,
    ssrc: u32,
    marker: bool,
    extensions: (u16, usize, usize),
    payload: (usize, usize),
}

impl Header {
    fn parse(packet: &[u8]) -> Option<Self> {
        let &[first, second, a, b, t0, t1, t2, t3, s0, s1, s2, s3, ..] = packet else { return None };
        if first >> 6 != 2 {
            return None;
        }
        let mut start = 12 + 4 * usize::from(first & 0xf);
        let mut extensions = (0, 0, 0);
        if first & 0x10 != 0 {
            let &[p0, p1, l0, l1] = packet.get(start..start + 4)? else { return None };
            let size = 4 * usize::from(u16::from_be_bytes([l0, l1]));
            extensions = (u16::from_be_bytes([p0, p1]), start + 4, start + 4 + size);
            start += 4 + size;
        }
        let mut end = packet.len();
        if first & 0x20 != 0 {
            end = end.checked_sub(usize::from(*packet.last()?))?;
        }
        if start > end {
            return None;
        }
        Some(Self {
            payload_type: second & 0x7f,
            sequence: u16::from_be_bytes([a, b]),
            timestamp: u32::from_be_bytes([t0, t1, t2, t3]),
            ssrc: u32::from_be_bytes([s0, s1, s2, s3]),
            marker: second & 0x80 != 0,
            extensions,
            payload: (start, end),
        })
    }

    fn payload<'a>(&self, packet: &'a [u8]) -> &'a [u8] {
        packet.get(self.payload.0..self.payload.1).unwrap_or_default()
    }

    /// The extension element of that identifier (RFC 8285, one-byte and two-byte headers).
    fn extension<'a>(&self, packet: &'a [u8], wanted: u8) -> Option<&'a [u8]> {
        let (profile, start, end) = self.extensions;
        let mut rest = packet.get(start..end)?;
        while let [first, tail @ ..] = rest {
            if *first == 0 {
                rest = tail;
                continue;
            }
            let (id, size, tail) = if profile == 0xBEDE {
                (first >> 4, usize::from(first & 0xf) + 1, tail)
            } else {
                let (size, tail) = tail.split_first()?;
                (*first, usize::from(*size), tail)
            };
            if id == wanted {
                return tail.get(..size);
            }
            rest = tail.get(size..)?;
        }
        None
    }
}

#[cfg(test)]
mod tests {
    #[allow(unused_imports, reason = "a bench without a harness has no tests")]
    use super::*;

    fn packet(sequence: u16, timestamp: u32, marker: bool, payload: &[u8]) -> Vec<u8> {
        let mut packet = vec![0x80, 103 | u8::from(marker) << 7];
        packet.extend_from_slice(&sequence.to_be_bytes());
        packet.extend_from_slice(&timestamp.to_be_bytes());
        packet.extend_from_slice(&[0, 0, 0, 1]);
        packet.extend_from_slice(payload);
        packet
    }

    fn retransmitted(sequence: u16, timestamp: u32, marker: bool, payload: &[u8]) -> Vec<u8> {
        let mut original = sequence.to_be_bytes().to_vec();
        original.extend_from_slice(payload);
        let mut packet = packet(500, timestamp, marker, &original);
        packet[1] = 104 | packet[1] & 0x80;
        packet[11] = 2;
        packet
    }

    fn receiver(now: Instant, options: Options) -> Receiver {
        let session = Session {
            video: 103,
            rtx: Some(104),
            sound: None,
            playout_delay: Some(5),
            own_ssrc: 7,
            reduced_size: true,
        };
        Receiver::new(now, session, options)
    }

    const IDR: [u8; 12] = [0x78, 0, 2, 0x67, 1, 0, 2, 0x68, 1, 0, 1, 0x65];

    fn idr() -> Vec<u8> {
        let mut idr = IDR.to_vec();
        idr[10] = 2;
        idr.push(9);
        idr
    }

    #[test]
    fn asks_for_what_is_missing_and_takes_it_from_a_retransmission() {
        let now = crate::support::now();
        let mut receiver = receiver(now, Options::default());
        receiver.rtp(now, &packet(65_535, 10, true, &idr()));
        receiver.rtp(now, &packet(1, 30, true, &[0x41, 1]));
        assert_eq!(receiver.stats.frames, 1);
        let asked = receiver.poll(now);
        assert_eq!(asked, [vec![0x81, 205, 0, 3, 0, 0, 0, 7, 0, 0, 0, 1, 0, 0, 0, 0]]);
        receiver.rtp(now, &retransmitted(0, 20, true, &[0x41, 1]));
        assert_eq!((receiver.stats.frames, receiver.stats.recovered, receiver.stats.lost), (3, 1, 0));
        receiver.rtp(now, &retransmitted(0, 20, true, &[0x41, 1]));
        assert_eq!(receiver.stats.needless, 1);
    }

    #[test]
    fn what_never_comes_is_lost_and_the_pictures_up_to_the_next_idr_with_it() {
        let now = crate::support::now();
        let mut receiver = receiver(now, Options { nack: false, ..Options::default() });
        receiver.rtp(now, &packet(10, 10, true, &idr()));
        receiver.rtp(now, &packet(12, 20, true, &[0x7c, 0x41, 1]));
        receiver.rtp(now, &packet(13, 30, true, &[0x41, 1]));
        assert_eq!(receiver.stats.frames, 1);
        let later = now + Duration::from_millis(1000);
        assert_eq!(receiver.poll(later).len(), 2, "a receiver report and a picture loss indication");
        assert_eq!((receiver.stats.lost, receiver.stats.broken_frames, receiver.stats.undecodable), (1, 1, 1));
        receiver.rtp(later, &packet(14, 40, true, &idr()));
        assert_eq!((receiver.stats.frames, receiver.stats.idrs, receiver.stats.plis), (2, 2, 1));
    }

    #[test]
    fn packets_out_of_order_are_put_in_order() {
        let now = crate::support::now();
        let mut receiver = receiver(now, Options::default());
        receiver.rtp(now, &packet(10, 10, true, &idr()));
        receiver.rtp(now, &packet(12, 20, true, &[0x7c, 0x41, 1]));
        receiver.rtp(now, &packet(11, 20, false, &[0x7c, 0x81, 1]));
        assert_eq!((receiver.stats.frames, receiver.stats.reordered, receiver.stats.lost), (2, 1, 0));
    }

    #[test]
    fn reads_the_playout_delay_of_a_packet() {
        let now = crate::support::now();
        let mut receiver = receiver(now, Options::default());
        let mut with = packet(10, 10, true, &[]);
        with[0] |= 0x10;
        with.extend_from_slice(&[0xbe, 0xde, 0, 1, 0x52, 0x00, 0x10, 0x02]);
        with.extend_from_slice(&idr());
        receiver.rtp(now, &with);
        assert_eq!(receiver.stats.playout_delay, (1, Some((1, 2))));
        assert_eq!(receiver.stats.frames, 1);
    }

    #[test]
    fn missing_numbers_are_asked_for_in_pairs() {
        assert_eq!(pairs(&[5, 6, 21, 22, 40]), [(5, 0x8001), (22, 0), (40, 0)]);
    }
}
