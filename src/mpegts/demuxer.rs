//! The demultiplexer: puts the parts of this room together.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Instant;

use crate::media::{AccessUnit, Codec, MediaItem, Timestamp90k, Track, TrackId};

use super::audio::{AdtsUnits, OpusUnits};
use super::packet::{Continuity, Counter, PACKET, Packet};
use super::pes::{Pes, Sink, Start};
use super::program::{Map, Programs};
use super::section::Sections;
use super::sync::{Step, Sync};
use super::timeline::{ClockReference, Timeline};
use super::video::VideoUnits;
use super::{Event, Stats};

/// Events kept until they are taken, at most.
const MOST_EVENTS: usize = 64;

/// Steps of a track's decoding time beyond these are a jump, in 1/90000 s.
const JUMP: std::ops::RangeInclusive<i64> = -2 * Timestamp90k::HZ..=10 * Timestamp90k::HZ;

/// Packets that a continuity counter can miss and still tell: one less than its 16 values.
const COUNTED: usize = 15;

/// What comes out, and what all tracks share.
#[derive(Debug, Default)]
pub(super) struct Out {
    items: VecDeque<MediaItem>,
    pub stats: Stats,
    events: Vec<Event>,
    pub timeline: Timeline,
    last: BTreeMap<TrackId, Timestamp90k>,
}

impl Out {
    pub fn event(&mut self, event: Event) {
        if self.events.len() < MOST_EVENTS {
            self.events.push(event);
        }
    }

    pub fn unit(&mut self, unit: AccessUnit) {
        if let Some(last) = self.last.insert(unit.track, unit.dts) {
            let ticks = unit.dts.ticks_since(last);
            if !JUMP.contains(&ticks) {
                self.stats.timestamp_jumps += 1;
                self.event(Event::TimestampJump { track: unit.track, ticks });
            }
        }
        self.stats.units += 1;
        self.items.push_back(MediaItem::Unit(Arc::new(unit)));
    }
}

/// When the bytes of a buffer arrived: up to which of them, at what time.
#[derive(Debug, Default)]
pub(super) struct Arrivals(VecDeque<(usize, Instant)>);

impl Arrivals {
    /// The buffer now reaches to `end`.
    pub fn push(&mut self, end: usize, now: Instant) {
        match self.0.back_mut() {
            Some((last, at)) if *at == now => *last = end,
            _ => self.0.push_back((end, now)),
        }
    }

    /// When the last of the first `count` bytes arrived.
    pub fn of(&self, count: usize) -> Option<Instant> {
        self.0.iter().find(|(end, _)| *end >= count).map(|&(_, at)| at)
    }

    /// The first `count` bytes are gone.
    pub fn cut(&mut self, count: usize) {
        self.0.retain_mut(|(end, _)| {
            *end = end.saturating_sub(count);
            *end > 0
        });
    }
}

#[derive(Debug)]
enum Units {
    Video(VideoUnits),
    Adts(AdtsUnits),
    Opus(OpusUnits),
}

impl Units {
    fn new(track: &Track) -> Self {
        match track.codec {
            Codec::H264 | Codec::H265 => Self::Video(VideoUnits::new(track.id, track.codec)),
            Codec::Aac => Self::Adts(AdtsUnits::new(track.id)),
            Codec::Opus => Self::Opus(OpusUnits::new(track.id)),
        }
    }
}

impl Sink for Units {
    fn begin(&mut self, start: Start, out: &mut Out) {
        match self {
            Self::Video(units) => units.begin(start, out),
            Self::Adts(units) => units.begin(start, out),
            Self::Opus(units) => units.begin(start, out),
        }
    }

    fn data(&mut self, bytes: &[u8], now: Instant, out: &mut Out) {
        match self {
            Self::Video(units) => units.data(bytes, now, out),
            Self::Adts(units) => units.data(bytes, now, out),
            Self::Opus(units) => units.data(bytes, now, out),
        }
    }

    fn end(&mut self, out: &mut Out) {
        match self {
            Self::Video(units) => units.end(out),
            Self::Adts(units) => units.end(out),
            Self::Opus(units) => units.end(out),
        }
    }

    fn broken(&mut self, out: &mut Out) {
        match self {
            Self::Video(units) => units.broken(out),
            Self::Adts(units) => units.broken(out),
            Self::Opus(units) => units.broken(out),
        }
    }
}

#[derive(Debug)]
struct Stream {
    track: Track,
    counter: Counter,
    pes: Pes,
    units: Units,
    scrambled: bool,
    /// Packets lost since its last one, of whatever PID.
    lost: usize,
}

impl Stream {
    fn new(track: &Track) -> Self {
        Self {
            track: track.clone(),
            counter: Counter::default(),
            pes: Pes::new(),
            units: Units::new(track),
            scrambled: false,
            lost: 0,
        }
    }

    fn gap(&mut self, out: &mut Out) {
        self.pes.gap(&mut self.units, out);
    }
}

#[derive(Debug, Default)]
struct Tables {
    counter: Counter,
    sections: Sections,
    lost: usize,
}

/// Makes tracks and access units of the bytes of a transport stream.
///
/// Call [`push`](Self::push) with bytes as they come, then [`poll`](Self::poll) until it gives
/// nothing more. Memory stays within the size of the largest unit of each track.
#[derive(Debug, Default)]
pub struct Demuxer {
    sync: Sync,
    inner: Inner,
}

#[derive(Debug, Default)]
struct Inner {
    programs: Programs,
    tables: BTreeMap<u16, Tables>,
    streams: Vec<Stream>,
    delivering: Option<(u16, Map)>,
    /// Of the last packet.
    pid: Option<u16>,
    clock: ClockReference,
    out: Out,
}

impl Demuxer {
    /// Knows nothing yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes the next bytes, cut anyhow, which reached the box at `now`.
    pub fn push(&mut self, now: Instant, bytes: &[u8]) {
        let Self { sync, inner } = self;
        sync.push(bytes, |step| match step {
            Step::Packet(packet) => inner.packet(now, packet),
            Step::Lost => {
                inner.out.stats.sync_losses += 1;
                inner.out.event(Event::SyncLost);
                inner.gap();
            }
        });
        inner.out.stats.skipped_bytes = sync.skipped();
    }

    /// What was pushed last ends a datagram that had room for more: the sender has nothing more to send now. Many
    /// senders do so after each picture, which is learned of each; where a datagram ends means nothing else.
    pub fn flushed(&mut self) {
        if self.sync.is_between_packets() {
            self.inner.flushed();
        }
    }

    /// The transport below lost something here: at most `packets` transport packets of 188 bytes.
    ///
    /// Continuity counters tell of less than 16 packets of a PID by themselves; after more, what
    /// was begun could be put together wrongly without a trace, and is dropped.
    pub fn lost(&mut self, packets: usize) {
        self.sync.gap();
        self.inner.out.stats.skipped_bytes = self.sync.skipped();
        self.inner.lost(packets);
    }

    /// What came out, in order.
    pub fn poll(&mut self) -> Option<MediaItem> {
        self.inner.out.items.pop_front()
    }

    /// What was counted so far.
    pub fn stats(&self) -> Stats {
        self.inner.out.stats
    }

    /// What changed since it was last asked; at most 64 are kept.
    pub fn take_events(&mut self) -> Vec<Event> {
        std::mem::take(&mut self.inner.out.events)
    }
}

impl Inner {
    fn packet(&mut self, now: Instant, bytes: &[u8; PACKET]) {
        self.out.stats.packets += 1;
        self.pid = None;
        let Some(packet) = Packet::parse(bytes) else {
            self.out.stats.transport_errors += 1;
            return;
        };
        self.pid = Some(packet.pid);
        if let (Some(pcr), Some((_, map))) = (packet.pcr, &self.delivering)
            && map.pcr_pid == packet.pid
            && self.clock.push(pcr, packet.discontinuity)
        {
            self.out.stats.pcr_faults += 1;
        }
        if packet.pid == 0 || self.programs.is_map_pid(packet.pid) {
            self.table(&packet);
        } else if let Some(stream) = self.streams.iter_mut().find(|stream| stream.track.id.0 == packet.pid) {
            stream_packet(stream, &packet, now, &mut self.out);
        }
    }

    fn table(&mut self, packet: &Packet<'_>) {
        let tables = self.tables.entry(packet.pid).or_default();
        let Some(continuity) = tables.counter.check(packet) else { return };
        tables.lost = 0;
        match continuity {
            Continuity::Duplicate => {
                self.out.stats.duplicate_packets += 1;
                return;
            }
            Continuity::Gap => {
                self.out.stats.continuity_errors += 1;
                tables.sections.reset();
            }
            Continuity::Announced => tables.sections.reset(),
            Continuity::Follows => {}
        }
        let payload = packet.payload.unwrap_or_default();
        let programs = &mut self.programs;
        let damaged = tables.sections.push(payload, packet.starts_unit, |section| {
            if packet.pid == 0 {
                programs.push_association(section);
            } else {
                programs.push_map(packet.pid, section);
            }
        });
        self.out.stats.damaged_sections += damaged;
        if packet.pid == 0 {
            let programs = &self.programs;
            self.tables.retain(|&pid, _| pid == 0 || programs.is_map_pid(pid));
        }
        self.follow_program();
    }

    /// Delivers the chosen programme as its map now stands.
    fn follow_program(&mut self) {
        let chosen = self.programs.chosen();
        match (&self.delivering, chosen) {
            (Some((number, map)), Some((chosen, now))) if *number == chosen && map == now => return,
            (None, None) => return,
            _ => {}
        }
        let chosen = chosen.map(|(number, map)| (number, map.clone()));
        if self.delivering.as_ref().map(|(number, _)| *number) != chosen.as_ref().map(|(number, _)| *number) {
            if let Some((program, _)) = self.delivering {
                self.out.event(Event::ProgramGone { program });
            }
            if let Some((program, _)) = chosen {
                self.out.event(Event::ProgramChosen { program, of: self.programs.count() });
            }
            self.clock = ClockReference::default();
        }
        let before = self.delivering.take().map(|(_, map)| map).unwrap_or_default();
        let now = chosen.as_ref().map(|(_, map)| map.clone()).unwrap_or_default();
        for entry in now.unsupported.iter().filter(|entry| !before.unsupported.contains(entry)) {
            let (pid, stream_type, text) = entry.clone();
            self.out.event(Event::Unsupported { pid, stream_type, text });
        }
        if before.tracks != now.tracks {
            let mut streams = Vec::new();
            for track in &now.tracks {
                match self.streams.iter().position(|stream| stream.track == *track) {
                    Some(at) => streams.push(self.streams.swap_remove(at)),
                    None => streams.push(Stream::new(track)),
                }
            }
            self.streams = streams;
            self.out.last.retain(|id, _| now.tracks.iter().any(|track| track.id == *id));
            self.out.items.push_back(MediaItem::Tracks(now.tracks.clone().into()));
        }
        self.delivering = chosen;
    }

    /// Something is missing, nobody knows of which PID nor how much.
    fn gap(&mut self) {
        self.lost(COUNTED + 1);
    }

    fn flushed(&mut self) {
        let last = self.streams.iter_mut().find(|stream| Some(stream.track.id.0) == self.pid);
        if let Some(Stream { pes, units, .. }) = last {
            pes.flushed(units, &mut self.out);
        }
    }

    /// So many packets are missing, nobody knows of which PID.
    fn lost(&mut self, packets: usize) {
        self.pid = None;
        for stream in &mut self.streams {
            stream.lost = stream.lost.saturating_add(packets);
            if stream.lost > COUNTED {
                stream.gap(&mut self.out);
                stream.counter.reset();
                stream.lost = 0;
            }
        }
        for tables in self.tables.values_mut() {
            tables.lost = tables.lost.saturating_add(packets);
            if tables.lost > COUNTED {
                tables.sections.reset();
                tables.counter.reset();
                tables.lost = 0;
            }
        }
    }
}

fn stream_packet(stream: &mut Stream, packet: &Packet<'_>, now: Instant, out: &mut Out) {
    let Some(continuity) = stream.counter.check(packet) else { return };
    stream.lost = 0;
    match continuity {
        Continuity::Duplicate => {
            out.stats.duplicate_packets += 1;
            return;
        }
        Continuity::Gap => {
            out.stats.continuity_errors += 1;
            stream.gap(out);
        }
        Continuity::Announced => stream.gap(out),
        Continuity::Follows => {}
    }
    if packet.scrambled {
        out.stats.scrambled_packets += 1;
        stream.gap(out);
        if !std::mem::replace(&mut stream.scrambled, true) {
            out.event(Event::Scrambled { track: stream.track.id });
        }
        return;
    }
    stream.scrambled = false;
    let payload = packet.payload.unwrap_or_default();
    let Stream { pes, units, .. } = stream;
    pes.push(payload, packet.starts_unit, packet.stuffed, now, units, out);
}

#[cfg(test)]
mod tests;
