//! Pictures: an elementary stream of video cut into access units.
//!
//! Nearly every sender puts one picture into one PES packet, and then a picture is complete when
//! its PES packet is. The standard allows any other cut, so this is learned: until PES packets
//! have begun with a picture many times in a row, and again from the first that does not, a
//! picture is held until the next one is seen to begin.

use std::time::Instant;

use bytes::Bytes;

use crate::codec::{LONGEST_PARAMETER_SET, PictureScanner, Place, annexb, h264};
use crate::media::{AccessUnit, Codec, Timestamp90k, TrackId};

use super::demuxer::{Arrivals, Out};
use super::pes::{Sink, Start};
use super::{Event, LARGEST_UNIT};

/// PES packets in a row that must have begun with a picture.
const TRUSTED_AFTER: u32 = 8;
/// How many times more it takes after one that did not, and at most.
const TRUSTED_LATER: u32 = 8;
const TRUSTED_AT_LAST: u32 = 4_096;

/// Bytes of a slice that are enough to see whether a picture begins.
const ENOUGH: usize = 64;

/// Longer steps between pictures are an interruption.
const LONGEST_STEP: i64 = 5 * Timestamp90k::HZ;

type Stamp = (Timestamp90k, Timestamp90k);

/// Cuts one track.
#[derive(Debug)]
pub struct VideoUnits {
    id: TrackId,
    codec: Codec,
    scanner: PictureScanner,
    /// The open unit, from its first byte on; or, with none open, what may be the next one's beginning.
    buffer: Vec<u8>,
    arrivals: Arrivals,
    /// Up to here start codes were looked for.
    scanned: usize,
    open: bool,
    stamp: Option<Stamp>,
    pes: PesState,
    /// PES packets in a row that began with a picture.
    agreed: u32,
    needed: u32,
    /// The last unit was delivered at the end of a PES packet, before the next was seen to begin.
    closed_on_trust: bool,
    /// After damage a unit begins only in a PES packet with a timestamp.
    after_gap: bool,
    last: Option<Stamp>,
    step: i64,
}

#[derive(Debug, Default)]
struct PesState {
    begin: usize,
    stamp: Option<Stamp>,
    near_limit: bool,
    /// The one before was as long as can be, so that this one may go on with its picture.
    continues: bool,
    any: bool,
    first_nal_seen: bool,
    units: i64,
    before: Option<(Timestamp90k, i64)>,
}

impl VideoUnits {
    /// For this track.
    pub fn new(id: TrackId, codec: Codec) -> Self {
        Self {
            id,
            codec,
            scanner: PictureScanner::new(codec),
            buffer: Vec::new(),
            arrivals: Arrivals::default(),
            scanned: 0,
            open: false,
            stamp: None,
            pes: PesState::default(),
            agreed: 0,
            needed: TRUSTED_AFTER,
            closed_on_trust: false,
            after_gap: true,
            last: None,
            step: Timestamp90k::HZ / 30,
        }
    }

    /// Looks for units' beginnings in what is there; `whole`: the PES packet has no more bytes.
    fn scan(&mut self, whole: bool, out: &mut Out) {
        while let Some(start) = annexb::find_start(&self.buffer, self.scanned) {
            let Some(end) = self.header_end(start.nal, whole) else {
                self.scanned = start.code;
                return;
            };
            let (random_access, picture) = (self.scanner.random_access(), self.scanner.has_picture());
            let place = self.scanner.push(self.buffer.get(start.nal..end).unwrap_or_default());
            self.learn(start.code, place, out);
            self.scanned = start.nal;
            if place == Place::Starts {
                if self.open {
                    self.deliver(start.code, random_access, picture, out);
                }
                self.cut(start.code);
                self.begin_unit();
            }
        }
        self.scanned = self.scanned.max(self.buffer.len().saturating_sub(3));
        if !self.open {
            self.cut(self.scanned);
        }
    }

    /// Where the part of a NAL unit ends that must be seen to place it; `None` when more must come.
    fn header_end(&self, nal: usize, whole: bool) -> Option<usize> {
        let there = self.buffer.get(nal..).unwrap_or_default();
        let is_set = match self.codec {
            Codec::H264 => matches!(h264::nal_type(there), Some(h264::nal_type::SPS | h264::nal_type::PPS)),
            _ => false,
        };
        // A longer parameter set is read as far as it is there.
        let enough = if is_set { LONGEST_PARAMETER_SET } else { ENOUGH };
        if !is_set && there.len() >= enough {
            return Some(nal + enough);
        }
        match annexb::find_start(&self.buffer, nal) {
            Some(next) => Some(next.code),
            None if whole || there.len() >= enough => Some(self.buffer.len()),
            None => None,
        }
    }

    /// Whether PES packets begin with pictures, by the first NAL unit of one.
    fn learn(&mut self, at: usize, place: Place, out: &mut Out) {
        if std::mem::replace(&mut self.pes.first_nal_seen, true) {
            return;
        }
        let leading = self.buffer.get(self.pes.begin..at).unwrap_or_default();
        if place == Place::Starts && leading.iter().all(|&byte| byte == 0) {
            self.agreed = self.agreed.saturating_add(1);
        } else {
            self.distrust(out);
        }
    }

    /// A PES packet went on with the picture before it.
    fn distrust(&mut self, out: &mut Out) {
        if self.pes.continues {
            return;
        }
        self.agreed = 0;
        self.needed = self.needed.saturating_mul(TRUSTED_LATER).min(TRUSTED_AT_LAST);
        if std::mem::take(&mut self.closed_on_trust) {
            out.stats.early_end_mistakes += 1;
        }
    }

    fn begin_unit(&mut self) {
        let first = self.pes.units == 0;
        if self.after_gap && (!first || self.pes.stamp.is_none()) {
            self.scanner.end_unit();
            return;
        }
        self.pes.units += 1;
        self.after_gap = false;
        self.closed_on_trust = false;
        self.open = true;
        let follows = |(pts, dts): Stamp| (Timestamp90k(pts.0 + self.step), Timestamp90k(dts.0 + self.step));
        self.stamp = if first { self.pes.stamp } else { None }.or(self.last.map(follows));
        self.last = self.stamp;
    }

    /// Hands out the open unit, which ends at `end`.
    fn deliver(&mut self, end: usize, random_access: bool, picture: bool, out: &mut Out) {
        self.open = false;
        let arrived = self.arrivals.of(end);
        let (Some((pts, dts)), Some(arrived), Some(bytes), true) =
            (self.stamp, arrived, self.buffer.get(..end), picture)
        else {
            out.stats.discarded_units += 1;
            return;
        };
        let data = Bytes::copy_from_slice(bytes);
        out.unit(AccessUnit { track: self.id, codec: self.codec, pts, dts, random_access, data, arrived });
    }

    /// Forgets the first `count` bytes.
    fn cut(&mut self, count: usize) {
        let count = count.min(self.buffer.len());
        self.buffer.drain(..count);
        self.arrivals.cut(count);
        self.scanned = self.scanned.saturating_sub(count);
        self.pes.begin = self.pes.begin.saturating_sub(count);
    }
}

impl Sink for VideoUnits {
    fn begin(&mut self, start: Start, out: &mut Out) {
        let stamp = start.pts.map(|pts| {
            let dts = out.timeline.unroll(start.dts.unwrap_or(pts));
            let pts = if start.dts.is_some() { out.timeline.unroll(pts) } else { dts };
            (pts, dts)
        });
        let mut before = self.pes.before.map(|(dts, units)| (dts, units + self.pes.units));
        if let Some((_, dts)) = stamp {
            if let Some((earlier, units)) = before {
                let step = dts.ticks_since(earlier) / units.max(1);
                if (1..LONGEST_STEP).contains(&step) {
                    self.step = step;
                }
            }
            before = Some((dts, 0));
        }
        self.pes = PesState {
            begin: self.buffer.len(),
            stamp,
            near_limit: start.near_limit,
            continues: self.pes.near_limit && self.open,
            any: false,
            first_nal_seen: false,
            units: 0,
            before,
        };
    }

    fn data(&mut self, bytes: &[u8], now: Instant, out: &mut Out) {
        if self.buffer.len() + bytes.len() > LARGEST_UNIT {
            out.stats.oversized_units += 1;
            out.event(Event::Oversized { track: self.id });
            self.broken(out);
            return;
        }
        self.pes.any = true;
        self.buffer.extend_from_slice(bytes);
        self.arrivals.push(self.buffer.len(), now);
        self.scan(false, out);
    }

    fn end(&mut self, out: &mut Out) {
        self.scan(true, out);
        if self.pes.any && !self.pes.first_nal_seen {
            self.distrust(out);
        }
        let trusted = self.agreed >= self.needed && !self.pes.near_limit;
        if trusted && self.open && self.scanner.has_picture() {
            self.deliver(self.buffer.len(), self.scanner.random_access(), true, out);
            self.cut(self.buffer.len());
            self.scanner.end_unit();
            self.closed_on_trust = true;
        }
    }

    fn broken(&mut self, out: &mut Out) {
        if self.open {
            out.stats.discarded_units += 1;
        }
        self.cut(self.buffer.len());
        self.scanner.end_unit();
        self.open = false;
        self.closed_on_trust = false;
        self.after_gap = true;
    }
}
