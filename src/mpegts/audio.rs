//! Frames of sound: an elementary stream of ADTS frames, or Opus access units, cut into frames.
//!
//! Each frame is delivered as soon as its last byte is there; it says itself how long it is.

use std::collections::VecDeque;
use std::time::Instant;

use bytes::Bytes;

use crate::codec::{aac::AdtsHeader, opus::Toc};
use crate::media::{AccessUnit, Codec, Timestamp90k, TrackId};

use super::demuxer::{Arrivals, Out};
use super::pes::{Sink, Start};

/// Timestamps of PES packets are rounded to a tick; a step of no more than this is that rounding.
const ROUNDING: i64 = 1;

/// Timestamps that wait for the frame they belong to, at most.
const MOST_STAMPS: usize = 16;

/// Time along the samples of a track: a timestamp of a PES packet and the samples since.
#[derive(Debug, Default)]
struct SampleClock {
    anchor: Option<Timestamp90k>,
    samples: u64,
    rate: u32,
}

impl SampleClock {
    fn now(&self) -> Option<Timestamp90k> {
        let since = u128::from(self.samples) * 90_000 / u128::from(self.rate.max(1));
        Some(Timestamp90k(self.anchor?.0 + i64::try_from(since).ok()?))
    }

    /// A PES packet says that the next frame is at `stamp`.
    fn set(&mut self, stamp: Timestamp90k) {
        let near = |now: Timestamp90k| stamp.ticks_since(now).abs() <= ROUNDING;
        if !self.now().is_some_and(near) {
            self.anchor = Some(stamp);
            self.samples = 0;
        }
    }

    fn advance(&mut self, samples: u32, rate: u32) {
        if rate != self.rate {
            self.anchor = self.now();
            self.samples = 0;
            self.rate = rate;
        }
        self.samples += u64::from(samples);
    }
}

/// Cuts one track of ADTS frames.
#[derive(Debug)]
pub struct AdtsUnits {
    id: TrackId,
    buffer: Vec<u8>,
    arrivals: Arrivals,
    clock: SampleClock,
    /// Where in the buffer a PES packet began, and its timestamp.
    stamps: VecDeque<(usize, Timestamp90k)>,
    /// The header of the frame before, when the next one follows it.
    synced: Option<AdtsHeader>,
}

impl AdtsUnits {
    /// For this track.
    pub fn new(id: TrackId) -> Self {
        Self {
            id,
            buffer: Vec::new(),
            arrivals: Arrivals::default(),
            clock: SampleClock::default(),
            stamps: VecDeque::new(),
            synced: None,
        }
    }

    fn scan(&mut self, whole: bool, out: &mut Out) {
        while self.buffer.len() >= crate::codec::aac::HEADER {
            let header = AdtsHeader::parse(&self.buffer)
                .filter(|header| self.synced.is_none_or(|before| before.same_stream(header)));
            let Some(header) = header else {
                self.lose(out);
                continue;
            };
            let next = self.buffer.get(header.frame_length..).unwrap_or_default();
            if self.buffer.len() < header.frame_length {
                // A frame may go on in the next PES packet; what only looks like one may not.
                if whole && self.synced.is_none() {
                    self.lose(out);
                    continue;
                }
                return;
            }
            let followed = match AdtsHeader::parse(next) {
                Some(after) => Some(after.same_stream(&header)),
                None if next.len() >= crate::codec::aac::HEADER => Some(false),
                None => None,
            };
            match followed {
                Some(true) => {}
                // The next header may show that the stream changed here, but then the frame is whole all the same:
                // one that follows a good one, and is followed by a header, is a frame.
                Some(false) if self.synced.is_some() && AdtsHeader::parse(next).is_some() => {}
                Some(false) => {
                    self.lose(out);
                    continue;
                }
                None if self.synced.is_some() || (whole && next.is_empty()) => {}
                None if whole => {
                    self.lose(out);
                    continue;
                }
                None => return,
            }
            self.deliver(&header, out);
        }
    }

    /// No frame begins here: looks a byte further.
    fn lose(&mut self, out: &mut Out) {
        if self.synced.take().is_some() {
            out.stats.discarded_units += 1;
        }
        // Up to the next byte that may be a syncword's first.
        let skip = self.buffer.iter().skip(1).position(|&byte| byte == 0xff).map_or(self.buffer.len(), |at| at + 1);
        self.cut(skip);
    }

    fn deliver(&mut self, header: &AdtsHeader, out: &mut Out) {
        while let Some(&(_, stamp)) = self.stamps.front().filter(|(at, _)| *at == 0) {
            self.stamps.pop_front();
            self.clock.set(stamp);
        }
        let pts = self.clock.now();
        let arrived = self.arrivals.of(header.frame_length);
        self.clock.advance(header.samples(), header.sample_rate());
        self.synced = Some(*header);
        if let (Some(pts), Some(arrived), Some(bytes)) = (pts, arrived, self.buffer.get(..header.frame_length)) {
            let data = Bytes::copy_from_slice(bytes);
            let codec = Codec::Aac;
            out.unit(AccessUnit { track: self.id, codec, pts, dts: pts, random_access: true, data, arrived });
        } else {
            out.stats.discarded_units += 1;
        }
        self.cut(header.frame_length);
    }

    fn cut(&mut self, count: usize) {
        let count = count.min(self.buffer.len());
        self.buffer.drain(..count);
        self.arrivals.cut(count);
        // A stamp whose place was cut away belongs to the first frame that begins after it.
        for (at, _) in &mut self.stamps {
            *at = at.saturating_sub(count);
        }
    }
}

impl Sink for AdtsUnits {
    fn begin(&mut self, start: Start, out: &mut Out) {
        if let Some(pts) = start.pts {
            if self.stamps.len() == MOST_STAMPS {
                self.stamps.pop_front();
            }
            self.stamps.push_back((self.buffer.len(), out.timeline.unroll(pts)));
        }
    }

    fn data(&mut self, bytes: &[u8], now: Instant, out: &mut Out) {
        self.buffer.extend_from_slice(bytes);
        self.arrivals.push(self.buffer.len(), now);
        self.scan(false, out);
    }

    fn end(&mut self, out: &mut Out) {
        self.scan(true, out);
    }

    fn broken(&mut self, out: &mut Out) {
        out.stats.discarded_units += u64::from(!self.buffer.is_empty());
        self.cut(self.buffer.len());
        self.stamps.clear();
        self.clock = SampleClock::default();
        self.synced = None;
    }
}

/// Cuts one track of Opus access units, each behind a control header (Xiph's draft "OpusTS", as ffmpeg writes it).
#[derive(Debug)]
pub struct OpusUnits {
    id: TrackId,
    buffer: Vec<u8>,
    arrivals: Arrivals,
    clock: SampleClock,
    /// What is left of this PES packet cannot be read.
    lost: bool,
}

/// Largest Opus packet that can be (RFC 6716 §3.4: 48 frames of 1275 bytes), in bytes.
const LARGEST_OPUS: usize = 48 * 1277 + 2;

impl OpusUnits {
    /// For this track.
    pub fn new(id: TrackId) -> Self {
        Self { id, buffer: Vec::new(), arrivals: Arrivals::default(), clock: SampleClock::default(), lost: true }
    }

    fn scan(&mut self, out: &mut Out) {
        while !self.lost && !self.buffer.is_empty() {
            match control_header(&self.buffer) {
                Control::Short => return,
                Control::Wrong => self.lose(out),
                Control::Whole { header, size } => {
                    let end = header + size;
                    if self.buffer.len() < end {
                        return;
                    }
                    self.deliver(header, end, out);
                }
            }
        }
    }

    fn deliver(&mut self, header: usize, end: usize, out: &mut Out) {
        let packet = self.buffer.get(header..end).unwrap_or_default();
        let (Some(toc), Some(pts), Some(arrived)) = (Toc::parse(packet), self.clock.now(), self.arrivals.of(end))
        else {
            return self.lose(out);
        };
        let data = Bytes::copy_from_slice(packet);
        let codec = Codec::Opus;
        out.unit(AccessUnit { track: self.id, codec, pts, dts: pts, random_access: true, data, arrived });
        self.clock.advance(toc.samples(), 48_000);
        self.buffer.drain(..end.min(self.buffer.len()));
        self.arrivals.cut(end);
    }

    fn lose(&mut self, out: &mut Out) {
        out.stats.discarded_units += 1;
        self.lost = true;
        self.arrivals.cut(self.buffer.len());
        self.buffer.clear();
    }
}

impl Sink for OpusUnits {
    fn begin(&mut self, start: Start, out: &mut Out) {
        self.lost = false;
        match start.pts {
            Some(pts) => self.clock.set(out.timeline.unroll(pts)),
            None if self.clock.anchor.is_none() => self.lost = true,
            None => {}
        }
    }

    fn data(&mut self, bytes: &[u8], now: Instant, out: &mut Out) {
        if self.lost {
            return;
        }
        self.buffer.extend_from_slice(bytes);
        self.arrivals.push(self.buffer.len(), now);
        self.scan(out);
    }

    fn end(&mut self, out: &mut Out) {
        if !self.buffer.is_empty() {
            self.lose(out);
        }
    }

    fn broken(&mut self, out: &mut Out) {
        if !self.buffer.is_empty() {
            self.lose(out);
        }
        self.lost = true;
        self.clock = SampleClock::default();
    }
}

enum Control {
    Short,
    Wrong,
    Whole { header: usize, size: usize },
}

/// `opus_control_header`: prefix 0x3ff in 11 bits, trim and extension flags, the size in bytes of up to 255 each.
fn control_header(bytes: &[u8]) -> Control {
    let Some(&[prefix, flags]) = bytes.first_chunk::<2>() else { return Control::Short };
    if prefix != 0x7f || flags & 0xe0 != 0xe0 {
        return Control::Wrong;
    }
    let mut at = 2;
    let mut size = 0;
    loop {
        let Some(&byte) = bytes.get(at) else { return Control::Short };
        at += 1;
        size += usize::from(byte);
        if size > LARGEST_OPUS {
            return Control::Wrong;
        }
        if byte != 0xff {
            break;
        }
    }
    at += 2 * (usize::from(flags >> 4 & 1) + usize::from(flags >> 3 & 1));
    if flags & 0x04 != 0 {
        let Some(&length) = bytes.get(at) else { return Control::Short };
        at += 1 + usize::from(length);
    }
    if size == 0 { Control::Wrong } else { Control::Whole { header: at, size } }
}
