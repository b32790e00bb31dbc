//! Programme association and map (ISO/IEC 13818-1 §2.4.4.3 and §2.4.4.8), and which programme is delivered.

use std::collections::BTreeMap;

use crate::media::{Codec, Track, TrackId};

/// Programmes that are looked at; more are no studio's stream.
const MOST_PROGRAMS: usize = 64;

/// Tracks of a programme that are delivered at most.
const MOST_TRACKS: usize = 16;

/// Times that a programme's map is seen before those of earlier programmes are no longer waited for.
const PATIENCE: u32 = 3;

/// A programme map.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Map {
    /// `PCR_PID`.
    pub pcr_pid: u16,
    /// The tracks that can be delivered, in the order sent.
    pub tracks: Vec<Track>,
    /// PID, `stream_type` and words of those that cannot.
    pub unsupported: Vec<(u16, u8, String)>,
}

impl Map {
    fn has_video(&self) -> bool {
        self.tracks.iter().any(|track| track.codec.is_video())
    }
}

#[derive(Debug)]
struct Program {
    number: u16,
    pid: u16,
    map: Option<Map>,
    seen: u32,
}

/// The programmes of a stream and the one chosen.
#[derive(Debug, Default)]
pub struct Programs {
    pat_version: Option<(u16, u8, u8)>,
    pat_parts: BTreeMap<u8, Vec<(u16, u16)>>,
    list: Vec<Program>,
    chosen: Option<u16>,
}

impl Programs {
    /// Whether maps are sent on this PID.
    pub fn is_map_pid(&self, pid: u16) -> bool {
        self.list.iter().any(|program| program.pid == pid)
    }

    /// How many programmes there are.
    pub fn count(&self) -> usize {
        self.list.len()
    }

    /// The chosen programme and its map.
    pub fn chosen(&self) -> Option<(u16, &Map)> {
        let number = self.chosen?;
        let program = self.list.iter().find(|program| program.number == number)?;
        Some((number, program.map.as_ref()?))
    }

    /// Takes a section of the association table (PID 0).
    pub fn push_association(&mut self, section: &[u8]) {
        let Some(Head { table: 0x00, id, version, part, last, body }) = head(section) else { return };
        if part > last {
            return;
        }
        if self.pat_version != Some((id, version, last)) {
            self.pat_version = Some((id, version, last));
            self.pat_parts.clear();
        }
        let entries = body.chunks_exact(4).filter_map(|entry| {
            let &[a, b, c, d] = entry.first_chunk::<4>()?;
            let number = u16::from(a) << 8 | u16::from(b);
            // Programme 0 is the network information table.
            (number != 0).then_some((number, u16::from(c & 0x1f) << 8 | u16::from(d)))
        });
        self.pat_parts.insert(part, entries.take(MOST_PROGRAMS).collect());
        if self.pat_parts.len() != usize::from(last) + 1 {
            return;
        }
        let mut list: Vec<Program> = Vec::new();
        for &(number, pid) in self.pat_parts.values().flatten() {
            if list.len() == MOST_PROGRAMS || list.iter().any(|program| program.number == number) {
                continue;
            }
            // A map that moves to another PID holds until it comes there.
            let known = self.list.iter_mut().find(|known| known.number == number);
            let (map, seen) = known.map_or((None, 0), |known| (known.map.take(), known.seen));
            list.push(Program { number, pid, map, seen });
        }
        self.list = list;
        self.choose();
    }

    /// Takes a section sent on the PID of a map.
    pub fn push_map(&mut self, pid: u16, section: &[u8]) {
        // A map has one section only (§2.4.4.9).
        let Some(Head { table: 0x02, id: number, part: 0, last: 0, body, .. }) = head(section) else { return };
        let Some(program) = self.list.iter_mut().find(|program| program.number == number && program.pid == pid) else {
            return;
        };
        let Some(map) = parse_map(body) else { return };
        program.map = Some(map);
        program.seen = program.seen.saturating_add(1);
        self.choose();
    }

    /// The first programme with video, in the order of the association table; without any, the
    /// first with a track. Once chosen it stays until it is gone, or has no video while another has.
    fn choose(&mut self) {
        if let Some(number) = self.chosen {
            match self.list.iter().find(|program| program.number == number) {
                None => self.chosen = None,
                Some(program) if program.map.as_ref().is_some_and(Map::has_video) => return,
                Some(_) => {}
            }
        }
        let first = |wanted: fn(&Map) -> bool| {
            let mut waiting = false;
            for program in &self.list {
                match &program.map {
                    None => waiting = true,
                    Some(map) if wanted(map) => {
                        return (!waiting || program.seen >= PATIENCE).then_some(program.number);
                    }
                    Some(_) => {}
                }
            }
            None
        };
        if let Some(number) = first(Map::has_video) {
            self.chosen = Some(number);
        } else if self.chosen.is_none() {
            let settled = self.list.iter().all(|program| program.map.is_some())
                || self.list.iter().any(|program| program.seen >= PATIENCE);
            if settled {
                self.chosen = first(|map| !map.tracks.is_empty());
            }
        }
    }
}

/// What the long form of a section begins with (§2.4.4.11).
struct Head<'a> {
    table: u8,
    id: u16,
    version: u8,
    part: u8,
    last: u8,
    body: &'a [u8],
}

/// The head of a section that is in force, and its body without the CRC.
fn head(section: &[u8]) -> Option<Head<'_>> {
    let &[table, _, _, n1, n2, version, part, last] = section.first_chunk::<8>()?;
    let body = section.get(8..section.len().checked_sub(4)?)?;
    let in_force = version & 1 == 1;
    let id = u16::from(n1) << 8 | u16::from(n2);
    in_force.then_some(Head { table, id, version: version >> 1 & 0x1f, part, last, body })
}

fn parse_map(body: &[u8]) -> Option<Map> {
    let length = |high: u8, low: u8| usize::from(high & 0x0f) << 8 | usize::from(low);
    let pid = |high: u8, low: u8| u16::from(high & 0x1f) << 8 | u16::from(low);
    let (&[p1, p2, l1, l2], rest) = body.split_first_chunk::<4>()?;
    let mut rest = rest.get(length(l1, l2)..)?;
    let mut map = Map { pcr_pid: pid(p1, p2), ..Map::default() };
    while let Some((&[stream_type, p1, p2, l1, l2], after)) = rest.split_first_chunk::<5>() {
        let (descriptors, after) = after.split_at_checked(length(l1, l2))?;
        rest = after;
        let id = pid(p1, p2);
        if map.tracks.iter().any(|track| track.id == TrackId(id)) {
            continue;
        }
        match codec_of(stream_type, descriptors) {
            Ok(codec) if map.tracks.len() < MOST_TRACKS => map.tracks.push(Track { id: TrackId(id), codec }),
            Ok(codec) => map.unsupported.push((id, stream_type, format!("{codec}: too many tracks"))),
            Err(text) => map.unsupported.push((id, stream_type, text)),
        }
    }
    Some(map)
}

/// The codec of a stream, or in words what it is (H.222.0 Table 2-34, and registrations).
fn codec_of(stream_type: u8, descriptors: &[u8]) -> Result<Codec, String> {
    let registered = registration(descriptors);
    let what = match (stream_type, registered) {
        (0x1b, _) => return Ok(Codec::H264),
        (0x24, _) => return Ok(Codec::H265),
        (0x0f, _) => return Ok(Codec::Aac),
        (0x06, Some(b"Opus")) => match opus_channels(descriptors) {
            Some(1 | 2) | None => return Ok(Codec::Opus),
            Some(_) => "Opus with channels other than mono or stereo; set the encoder to stereo",
        },
        (0x01 | 0x02, _) => "MPEG-2 video; set the encoder to H.264",
        (0x10, _) => "MPEG-4 Part 2 video; set the encoder to H.264",
        (0x33, _) => "H.266 video; set the encoder to H.264",
        (0x42 | 0xd2, _) => "AVS video; set the encoder to H.264",
        (0x03 | 0x04, _) => "MPEG audio (MP2 or MP3); set the encoder to AAC",
        (0x11, _) => "AAC in LATM; set the encoder to AAC in ADTS (plain AAC)",
        (0x80, _) => "PCM audio; set the encoder to AAC",
        (0x81 | 0x87, _) | (0x06, Some(b"AC-3" | b"EAC3")) => "AC-3 audio; set the encoder to AAC",
        (0x06, Some(b"BSSD")) => "SMPTE 302M audio; set the encoder to AAC",
        (0x06, Some(b"AV01")) => "AV1 video; set the encoder to H.264",
        (0x06, _) => "private data (subtitles, teletext or another audio format); not used here",
        (0x05 | 0x0b | 0x0c | 0x0d | 0x15 | 0x86, _) => "data (markers or metadata); not used here",
        _ => "a kind of stream that is not known here; set the encoder to H.264 and AAC",
    };
    Err(what.into())
}

/// `format_identifier` of the registration descriptor (§2.6.8).
fn registration(descriptors: &[u8]) -> Option<&[u8; 4]> {
    each(descriptors).find(|(tag, _)| *tag == 0x05)?.1.first_chunk()
}

/// `channel_config_code` of the Opus extension descriptor ("Encapsulation of Opus in MPEG-2 TS", extension tag 0x80):
/// 1 is mono, 2 stereo, all others have streams or a mapping of channels that one decoder does not read.
fn opus_channels(descriptors: &[u8]) -> Option<u8> {
    each(descriptors).find_map(|descriptor| match descriptor {
        (0x7f, &[0x80, channels, ..]) => Some(channels),
        _ => None,
    })
}

/// Tags and bodies of descriptors, up to one that is cut off.
fn each(mut descriptors: &[u8]) -> impl Iterator<Item = (u8, &[u8])> {
    std::iter::from_fn(move || {
        let (&[tag, length], rest) = descriptors.split_first_chunk::<2>()?;
        let (body, after) = rest.split_at_checked(usize::from(length))?;
        descriptors = after;
        Some((tag, body))
    })
}
