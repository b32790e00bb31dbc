//! Streams to take apart: recorded ones with what ffmpeg finds in them, and ones made by hand.

use super::super::*;
use crate::clock::Clock;
use crate::mpegts::section::crc32;

macro_rules! fixture {
    ($name:literal) => {
        Fixture {
            bytes: include_bytes!(concat!("../../../../tests/fixtures/", $name, ".mpegts")),
            units: include_str!(concat!("../../../../tests/fixtures/", $name, ".units")),
        }
    };
}
pub(super) use fixture;

/// A stream, and what ffmpeg's demultiplexer finds in it.
#[derive(Clone, Copy)]
pub(super) struct Fixture {
    pub(super) bytes: &'static [u8],
    pub(super) units: &'static str,
}

pub(super) const H264_AAC: Fixture = fixture!("h264_aac48");
pub(super) const TWO_PROGRAMS: Fixture = fixture!("two_programs");

/// PID, PTS, DTS, size, Adler-32, key.
pub(super) type Row = (u16, i64, i64, usize, u32, bool);

impl Fixture {
    pub(super) fn expected(&self, pid: u16) -> Vec<Row> {
        let row = |line: &str| {
            let mut fields = line.split(' ');
            let mut next = || fields.next().unwrap();
            let pid = u16::from_str_radix(next(), 16).unwrap();
            let number = |text: &str| text.parse::<i64>().unwrap();
            let (pts, dts, size) = (number(next()), number(next()), number(next()) as usize);
            (pid, pts, dts, size, u32::from_str_radix(next(), 16).unwrap(), next() == "1")
        };
        self.units.lines().map(row).filter(|row| row.0 == pid).collect()
    }

    pub(super) fn packets(&self) -> Vec<[u8; PACKET]> {
        self.bytes.chunks_exact(PACKET).map(|packet| packet.try_into().unwrap()).collect()
    }
}

pub(super) fn adler32(bytes: &[u8]) -> u32 {
    let (a, b) = bytes.iter().fold((1u32, 0u32), |(a, b), &byte| {
        let a = (a + u32::from(byte)) % 65521;
        (a, (a + b) % 65521)
    });
    b << 16 | a
}

pub(super) fn row(unit: &AccessUnit) -> Row {
    (unit.track.0, unit.pts.0, unit.dts.0, unit.data.len(), adler32(&unit.data), unit.random_access)
}

#[derive(Default)]
pub(super) struct Seen {
    pub(super) tracks: Vec<Vec<Track>>,
    pub(super) units: Vec<Arc<AccessUnit>>,
}

impl Seen {
    pub(super) fn take(&mut self, demuxer: &mut Demuxer) {
        while let Some(item) = demuxer.poll() {
            match item {
                MediaItem::Tracks(tracks) => self.tracks.push(tracks.to_vec()),
                MediaItem::Unit(unit) => self.units.push(unit),
            }
        }
    }

    pub(super) fn rows(&self, pid: u16) -> Vec<Row> {
        self.units.iter().filter(|unit| unit.track.0 == pid).map(|unit| row(unit)).collect()
    }
}

pub(super) fn run<'a>(pieces: impl IntoIterator<Item = &'a [u8]>) -> (Seen, Demuxer) {
    let now = Clock::manual().0.now();
    let (mut seen, mut demuxer) = (Seen::default(), Demuxer::new());
    // Null packets, for boundaries to be believed.
    (0..4).for_each(|_| demuxer.push(now, &packet(0x1fff, 0, false, &[])));
    for piece in pieces {
        demuxer.push(now, piece);
        seen.take(&mut demuxer);
    }
    (seen, demuxer)
}

pub(super) fn packet(pid: u16, counter: u8, starts: bool, payload: &[u8]) -> Vec<u8> {
    let [high, low] = pid.to_be_bytes();
    let mut out = vec![0x47, high | if starts { 0x40 } else { 0 }, low];
    match 184 - payload.len() {
        0 => out.push(0x10 | counter & 15),
        1 => out.extend([0x30 | counter & 15, 0]),
        more => {
            out.extend([0x30 | counter & 15, more as u8 - 1, 0]);
            out.resize(4 + more, 0xff);
        }
    }
    out.extend(payload);
    assert_eq!(out.len(), PACKET);
    out
}

pub(super) fn section(table: u8, id: u16, version: u8, body: &[u8]) -> Vec<u8> {
    let [i1, i2] = id.to_be_bytes();
    let mut out = vec![table, 0xb0, (body.len() + 9) as u8, i1, i2, 0xc1 | version << 1, 0, 0];
    out.extend(body);
    out.extend(crc32(&out).to_be_bytes());
    out.insert(0, 0);
    out
}

pub(super) fn pat(programs: &[(u16, u16)], version: u8, counter: u8) -> Vec<u8> {
    let body: Vec<u8> = programs
        .iter()
        .flat_map(|&(number, pid)| [number.to_be_bytes(), (pid | 0xe000).to_be_bytes()].concat())
        .collect();
    packet(0, counter, true, &section(0, 1, version, &body))
}

pub(super) fn pmt(number: u16, pid: u16, version: u8, counter: u8, streams: &[(u8, u16)]) -> Vec<u8> {
    let mut body = vec![0xe1, 0, 0xf0, 0];
    for &(kind, pid) in streams {
        body.push(kind);
        body.extend((pid | 0xe000).to_be_bytes());
        body.extend([0xf0, 0]);
    }
    packet(pid, counter, true, &section(2, number, version, &body))
}

pub(super) fn tables(number: u16, pid: u16, counter: u8, streams: &[(u8, u16)]) -> Vec<u8> {
    [pat(&[(number, pid)], 0, counter), pmt(number, pid, 0, counter, streams)].concat()
}

pub(super) fn stamp(prefix: u8, time: i64) -> [u8; 5] {
    let t = time as u64 & ((1 << 33) - 1);
    [prefix << 4 | (t >> 29) as u8 & 0xe | 1, (t >> 22) as u8, (t >> 14) as u8 | 1, (t >> 7) as u8, (t << 1) as u8 | 1]
}

/// Makes PES packets of one track and cuts them into transport packets.
pub(super) struct Muxer {
    pub(super) pid: u16,
    pub(super) counter: u8,
    pub(super) stream_id: u8,
    pub(super) bounded: bool,
}

impl Muxer {
    pub(super) fn video(bounded: bool) -> Self {
        Self { pid: 0x100, counter: 0, stream_id: 0xe0, bounded }
    }

    pub(super) fn sound() -> Self {
        Self { pid: 0x101, counter: 0, stream_id: 0xc0, bounded: true }
    }

    pub(super) fn pes(&mut self, pts: Option<i64>, payload: &[u8]) -> Vec<u8> {
        let fields = pts.map_or(vec![], |pts| stamp(2, pts).to_vec());
        let length = if self.bounded { 3 + fields.len() + payload.len() } else { 0 };
        let mut bytes = vec![0, 0, 1, self.stream_id, (length >> 8) as u8, length as u8, 0x80];
        bytes.extend([if pts.is_some() { 0x80 } else { 0 }, fields.len() as u8]);
        bytes.extend(fields);
        bytes.extend(payload);
        let mut out = Vec::new();
        for (at, piece) in bytes.chunks(184).enumerate() {
            out.extend(packet(self.pid, self.counter, at == 0, piece));
            self.counter = (self.counter + 1) & 15;
        }
        out
    }
}

/// An access unit of a delimiter and a slice whose bytes tell it from others; `kind` 0x65 or 0x41.
pub(super) fn picture(kind: u8, number: usize, size: usize) -> Vec<u8> {
    let mut out = vec![0, 0, 0, 1, 9, 0xf0, 0, 0, 0, 1, kind, 0b1000_1000];
    out.extend((0..size).map(|at| ((at * 7 + number * 31) % 251) as u8 | 4));
    out
}

pub(super) fn datas(seen: &Seen) -> Vec<Vec<u8>> {
    seen.units.iter().map(|unit| unit.data.to_vec()).collect()
}
