use std::collections::BTreeSet;
use std::time::Duration;

use proptest::prelude::*;

use super::*;
use crate::clock::Clock;
use crate::mpegts::LARGEST_UNIT;
use crate::mpegts::fuzzing;
use crate::mpegts::section::crc32;

macro_rules! fixture {
    ($name:literal) => {
        Fixture {
            bytes: include_bytes!(concat!("../../../tests/fixtures/", $name, ".mpegts")),
            units: include_str!(concat!("../../../tests/fixtures/", $name, ".units")),
        }
    };
}

/// A stream, and what ffmpeg's demultiplexer finds in it.
#[derive(Clone, Copy)]
struct Fixture {
    bytes: &'static [u8],
    units: &'static str,
}

const H264_AAC: Fixture = fixture!("h264_aac48");
const TWO_PROGRAMS: Fixture = fixture!("two_programs");

/// PID, PTS, DTS, size, Adler-32, key.
type Row = (u16, i64, i64, usize, u32, bool);

impl Fixture {
    fn expected(&self, pid: u16) -> Vec<Row> {
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

    fn packets(&self) -> Vec<[u8; PACKET]> {
        self.bytes.chunks_exact(PACKET).map(|packet| packet.try_into().unwrap()).collect()
    }
}

fn adler32(bytes: &[u8]) -> u32 {
    let (a, b) = bytes.iter().fold((1u32, 0u32), |(a, b), &byte| {
        let a = (a + u32::from(byte)) % 65521;
        (a, (a + b) % 65521)
    });
    b << 16 | a
}

fn row(unit: &AccessUnit) -> Row {
    (unit.track.0, unit.pts.0, unit.dts.0, unit.data.len(), adler32(&unit.data), unit.random_access)
}

#[derive(Default)]
struct Seen {
    tracks: Vec<Vec<Track>>,
    units: Vec<Arc<AccessUnit>>,
}

impl Seen {
    fn take(&mut self, demuxer: &mut Demuxer) {
        while let Some(item) = demuxer.poll() {
            match item {
                MediaItem::Tracks(tracks) => self.tracks.push(tracks.to_vec()),
                MediaItem::Unit(unit) => self.units.push(unit),
            }
        }
    }

    fn rows(&self, pid: u16) -> Vec<Row> {
        self.units.iter().filter(|unit| unit.track.0 == pid).map(|unit| row(unit)).collect()
    }
}

fn run<'a>(pieces: impl IntoIterator<Item = &'a [u8]>) -> (Seen, Demuxer) {
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

/// Video of unknown PES length: the last picture may not be seen to end.
fn assert_video(fixture: Fixture, pid: u16, codec: Codec) -> Demuxer {
    let (seen, demuxer) = run([fixture.bytes]);
    assert!(seen.tracks.iter().flatten().any(|track| track.id.0 == pid && track.codec == codec));
    let mut expected = fixture.expected(pid);
    assert!(expected.len() > 20);
    let rows: Vec<Row> = match codec {
        // ffmpeg's parser cuts H.265 behind the zero byte of a four-byte start code instead of before it.
        Codec::H265 => seen
            .units
            .iter()
            .enumerate()
            .map(|(at, unit)| {
                let next = &[0][..usize::from(at + 1 < expected.len())];
                let data = [&unit.data[usize::from(at > 0)..], next].concat();
                row(&AccessUnit { data: data.into(), ..AccessUnit::clone(unit) })
            })
            .collect(),
        _ => seen.rows(pid),
    };
    expected.truncate(rows.len().max(expected.len() - 1));
    assert_eq!(rows, expected);
    assert_eq!(demuxer.stats().discarded_units, 0);
    assert_eq!(demuxer.stats().early_end_mistakes, 0);
    demuxer
}

#[test]
fn finds_the_pictures_that_ffmpeg_finds() {
    assert_video(H264_AAC, 0x100, Codec::H264);
    assert_video(fixture!("h264_bframes"), 0x100, Codec::H264);
    assert_video(fixture!("h264_headers_once"), 0x100, Codec::H264);
    assert_video(fixture!("h264_slices"), 0x100, Codec::H264);
    assert_video(fixture!("h264_interlaced"), 0x100, Codec::H264);
    assert_video(fixture!("h265"), 0x100, Codec::H265);
    assert_video(fixture!("h265_bframes"), 0x100, Codec::H265);
}

/// ffmpeg rounds to a tick in each PES packet and again for each frame: two ticks either way are the same time.
fn assert_sound(fixture: Fixture, pid: u16, codec: Codec) {
    let (seen, demuxer) = run([fixture.bytes]);
    assert!(seen.tracks.iter().flatten().any(|track| track.id.0 == pid && track.codec == codec));
    let (rows, expected) = (seen.rows(pid), fixture.expected(pid));
    assert_eq!(rows.len(), expected.len());
    for (row, expected) in rows.iter().zip(&expected) {
        assert_eq!((row.3, row.4, row.5), (expected.3, expected.4, true));
        assert!((row.1 - expected.1).abs() <= 2, "{row:?} {expected:?}");
    }
    assert_eq!(demuxer.stats().discarded_units, 0);
}

#[test]
fn finds_the_frames_of_sound_that_ffmpeg_finds() {
    assert_sound(H264_AAC, 0x101, Codec::Aac);
    assert_sound(fixture!("aac44_mono"), 0x100, Codec::Aac);
    assert_sound(fixture!("aac44_stereo"), 0x100, Codec::Aac);
    assert_sound(fixture!("opus"), 0x100, Codec::Opus);
}

#[test]
fn frames_of_sound_follow_each_other_to_the_sample() {
    let (seen, _) = run([fixture!("aac44_mono").bytes]);
    let first = seen.units[0].pts.0;
    for (at, unit) in seen.units.iter().enumerate() {
        let exact = first as f64 + at as f64 * 1024.0 * 90_000.0 / 44_100.0;
        assert!((unit.pts.0 as f64 - exact).abs() <= 2.0, "frame {at}");
    }
}

#[test]
fn chooses_the_first_programme_with_video() {
    let (seen, mut demuxer) = run([TWO_PROGRAMS.bytes]);
    assert_eq!(seen.tracks.len(), 1);
    assert!(seen.tracks[0].iter().all(|track| track.codec == Codec::H264));
    assert!(demuxer.take_events().contains(&Event::ProgramChosen { program: 2, of: 2 }));
    assert!(!seen.units.is_empty());
}

#[test]
fn says_what_it_does_not_deliver() {
    let (seen, mut demuxer) = run([fixture!("unsupported").bytes]);
    assert!(seen.units.is_empty());
    assert!(demuxer.take_events().is_empty(), "no programme has a track that can be delivered");

    let mut stream = tables(1, 0x1000, 0, &[(0x1b, 0x100), (0x11, 0x101), (0x03, 0x102)]);
    stream.extend(tables(1, 0x1000, 0, &[(0x1b, 0x100), (0x11, 0x101), (0x03, 0x102)]));
    let (_, mut demuxer) = run([&stream[..]]);
    let events = demuxer.take_events();
    let text = |wanted: u16| {
        events.iter().find_map(|event| match event {
            Event::Unsupported { pid, text, .. } if *pid == wanted => Some(text.clone()),
            _ => None,
        })
    };
    assert!(text(0x101).unwrap().contains("LATM"));
    assert!(text(0x102).unwrap().contains("MP2"));
}

#[test]
fn opus_of_more_than_two_channels_leaves_the_sound_to_the_track_beside_it() {
    let fixture = fixture!("opus51_aac");
    let (seen, mut demuxer) = run([fixture.bytes]);
    let sound = Track { id: TrackId(0x101), codec: Codec::Aac };
    assert_eq!(seen.tracks, [vec![sound]]);
    assert_eq!(seen.rows(0x101), fixture.expected(0x101));
    let said = demuxer.take_events().into_iter().any(|event| match event {
        Event::Unsupported { pid, text, .. } => pid == 0x100 && text.contains("set the encoder to stereo"),
        _ => false,
    });
    assert!(said);
}

// --- Streams made by hand ---

fn packet(pid: u16, counter: u8, starts: bool, payload: &[u8]) -> Vec<u8> {
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

fn section(table: u8, id: u16, version: u8, body: &[u8]) -> Vec<u8> {
    let [i1, i2] = id.to_be_bytes();
    let mut out = vec![table, 0xb0, (body.len() + 9) as u8, i1, i2, 0xc1 | version << 1, 0, 0];
    out.extend(body);
    out.extend(crc32(&out).to_be_bytes());
    out.insert(0, 0);
    out
}

fn pat(programs: &[(u16, u16)], version: u8, counter: u8) -> Vec<u8> {
    let body: Vec<u8> = programs
        .iter()
        .flat_map(|&(number, pid)| [number.to_be_bytes(), (pid | 0xe000).to_be_bytes()].concat())
        .collect();
    packet(0, counter, true, &section(0, 1, version, &body))
}

fn pmt(number: u16, pid: u16, version: u8, counter: u8, streams: &[(u8, u16)]) -> Vec<u8> {
    let mut body = vec![0xe1, 0, 0xf0, 0];
    for &(kind, pid) in streams {
        body.push(kind);
        body.extend((pid | 0xe000).to_be_bytes());
        body.extend([0xf0, 0]);
    }
    packet(pid, counter, true, &section(2, number, version, &body))
}

fn tables(number: u16, pid: u16, counter: u8, streams: &[(u8, u16)]) -> Vec<u8> {
    [pat(&[(number, pid)], 0, counter), pmt(number, pid, 0, counter, streams)].concat()
}

fn stamp(prefix: u8, time: i64) -> [u8; 5] {
    let t = time as u64 & ((1 << 33) - 1);
    [prefix << 4 | (t >> 29) as u8 & 0xe | 1, (t >> 22) as u8, (t >> 14) as u8 | 1, (t >> 7) as u8, (t << 1) as u8 | 1]
}

/// Makes PES packets of one track and cuts them into transport packets.
struct Muxer {
    pid: u16,
    counter: u8,
    stream_id: u8,
    bounded: bool,
}

impl Muxer {
    fn video(bounded: bool) -> Self {
        Self { pid: 0x100, counter: 0, stream_id: 0xe0, bounded }
    }

    fn sound() -> Self {
        Self { pid: 0x101, counter: 0, stream_id: 0xc0, bounded: true }
    }

    fn pes(&mut self, pts: Option<i64>, payload: &[u8]) -> Vec<u8> {
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
fn picture(kind: u8, number: usize, size: usize) -> Vec<u8> {
    let mut out = vec![0, 0, 0, 1, 9, 0xf0, 0, 0, 0, 1, kind, 0b1000_1000];
    out.extend((0..size).map(|at| ((at * 7 + number * 31) % 251) as u8 | 4));
    out
}

fn datas(seen: &Seen) -> Vec<Vec<u8>> {
    seen.units.iter().map(|unit| unit.data.to_vec()).collect()
}

#[test]
fn a_pes_packet_of_known_length_is_complete_when_its_length_is_reached() {
    let now = Clock::manual().0.now();
    let mut muxer = Muxer::video(true);
    let (mut seen, mut demuxer) = (Seen::default(), Demuxer::new());
    demuxer.push(now, &tables(1, 0x1000, 0, &[(0x1b, 0x100)]));
    let mut late = Vec::new();
    for number in 0..20usize {
        let at = now + Duration::from_millis(33 * number as u64);
        demuxer.push(at, &muxer.pes(Some(number as i64 * 3000), &picture(0x41, number, 3000)));
        seen.take(&mut demuxer);
        late.push(number + 1 - seen.units.len());
        assert!(seen.units.last().is_none_or(|unit| unit.arrived <= at));
    }
    // The first ones are held until it is known that this source puts one picture into each.
    assert_eq!(late[..6], [1, 1, 1, 1, 1, 1, 1, 1][..6]);
    assert!(late[8..].iter().all(|&late| late == 0), "{late:?}");
    assert_eq!(seen.units[3].arrived, now + Duration::from_millis(99), "held, but it had arrived");
    assert_eq!(datas(&seen), (0..20).map(|number| picture(0x41, number, 3000)).collect::<Vec<_>>());
}

#[test]
fn a_pes_packet_of_unknown_length_ends_at_its_stuffing_once_that_is_learned() {
    let now = Clock::manual().0.now();
    let mut muxer = Muxer::video(false);
    let (mut seen, mut demuxer) = (Seen::default(), Demuxer::new());
    demuxer.push(now, &tables(1, 0x1000, 0, &[(0x1b, 0x100)]));
    for number in 0..60usize {
        demuxer.push(now, &muxer.pes(Some(number as i64 * 3000), &picture(0x41, number, 3000)));
        seen.take(&mut demuxer);
        let held = number + 1 - seen.units.len();
        assert_eq!(held, usize::from(number < 8), "picture {number}");
    }
    // A large key frame ends as promptly, once it is known of one that large.
    for (number, late) in [(60usize, 1), (61, 0)] {
        demuxer.push(now, &muxer.pes(Some(number as i64 * 3000), &picture(0x65, number, 150_000)));
        seen.take(&mut demuxer);
        assert_eq!(number + 1 - seen.units.len(), late);
    }
    assert!(seen.units[61].random_access);
    // The source now stuffs in the middle of a picture: one is cut short, then the next start is waited for again.
    let before = demuxer.stats();
    let whole = picture(0x41, 62, 400);
    let mut bytes = vec![0, 0, 1, 0xe0, 0, 0, 0x80, 0x80, 5];
    bytes.extend(stamp(2, 186_000));
    bytes.extend(&whole);
    for (at, piece) in bytes.chunks(100).enumerate() {
        demuxer.push(now, &packet(0x100, muxer.counter, at == 0, piece));
        muxer.counter = (muxer.counter + 1) & 15;
    }
    seen.take(&mut demuxer);
    assert_eq!(demuxer.stats().early_end_mistakes, before.early_end_mistakes + 1);
    let count = seen.units.len();
    demuxer.push(now, &muxer.pes(Some(189_000), &picture(0x41, 63, 400)));
    seen.take(&mut demuxer);
    assert_eq!(seen.units.len(), count, "no longer trusted");
    demuxer.push(now, &muxer.pes(Some(192_000), &picture(0x41, 64, 400)));
    seen.take(&mut demuxer);
    assert_eq!(seen.units.last().map(|unit| unit.data.to_vec()), Some(picture(0x41, 63, 400)));
}

/// A sender that fills datagrams with seven packets and lets go of what it has after each piece of a picture.
struct Flushing {
    muxer: Muxer,
    demuxer: Demuxer,
    seen: Seen,
    sent: Vec<Vec<u8>>,
}

impl Flushing {
    fn new() -> Self {
        let (muxer, mut demuxer) = (Muxer::video(false), Demuxer::new());
        demuxer.push(Clock::manual().0.now(), &tables(1, 0x1000, 0, &[(0x1b, 0x100)]));
        Self { muxer, demuxer, seen: Seen::default(), sent: Vec::new() }
    }

    /// Sends a picture in pieces of at most so many packets; gives how many pictures are held back.
    fn send(&mut self, kind: u8, size: usize, piece: usize) -> usize {
        let picture = picture(kind, self.sent.len(), size);
        let pes = self.muxer.pes(Some(self.sent.len() as i64 * 3000), &picture);
        self.sent.push(picture);
        let datagrams = pes.chunks(piece * PACKET).flat_map(|piece| piece.chunks(7 * PACKET));
        for datagram in datagrams {
            self.demuxer.push(Clock::manual().0.now(), datagram);
            if datagram.len() < 7 * PACKET {
                self.demuxer.flushed();
            }
        }
        self.seen.take(&mut self.demuxer);
        self.sent.len() - self.seen.units.len()
    }

    fn assert_whole(&mut self) {
        assert_eq!(datas(&self.seen), self.sent[..self.seen.units.len()]);
    }
}

/// The size at which a picture fills its last packet, which then has no stuffing: header 14, picture 12, 184 each.
const EXACT: usize = 10 * 184 - 14 - 12;

#[test]
fn a_picture_that_fills_its_last_packet_ends_with_the_datagram_once_that_is_learned() {
    let mut sender = Flushing::new();
    for number in 0..40 {
        assert_eq!(sender.send(0x41, EXACT, usize::MAX / PACKET), usize::from(number < 8), "picture {number}");
    }
    // One packet alone, with stuffing that says nothing there.
    assert_eq!(sender.send(0x41, 30, 7), 0);
    // The last datagram is full: nothing tells the end from the middle.
    assert_eq!(sender.send(0x41, 7 * 184 - 26, 7), 1);
    assert_eq!(sender.send(0x41, EXACT, 100), 0);
    assert_eq!(sender.demuxer.stats().early_end_mistakes, 0);
    sender.assert_whole();
}

#[test]
fn a_sender_that_flushes_within_key_frames_is_believed_of_no_key_frame() {
    let mut sender = Flushing::new();
    let mut held = Vec::new();
    for number in 0..2_000 {
        let late = match number % 60 {
            20 => sender.send(0x65, 90_026 + number, 32 * 7 - 3),
            _ => sender.send(0x41, EXACT, 100),
        };
        held.push(late);
    }
    assert_eq!(held[40..80], [1; 40], "the first key frame tells");
    assert_eq!(sender.demuxer.stats().early_end_mistakes, 0);
    sender.assert_whole();
}

#[test]
fn no_key_frame_waits_to_be_the_largest_so_far() {
    for begins_with_one in [true, false] {
        let mut sender = Flushing::new();
        let mut random = 1u64;
        let mut vary = |mean: usize| {
            random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            mean * 7 / 10 + (random >> 33) as usize % (mean * 6 / 10)
        };
        let mut late = Vec::new();
        for number in 0..6_000 {
            let held = match (number + usize::from(!begins_with_one) * 15) % 30 {
                0 => sender.send(0x65, vary(85_000), 1_000),
                _ => sender.send(0x41, vary(14_000), 1_000),
            };
            late.extend((held > 0).then_some(number));
        }
        let first_key_frame = (!begins_with_one).then_some(15);
        // One in 1288 fills its last packet and its last datagram, so that nothing tells its end.
        let learning: Vec<usize> = (0..8).chain(first_key_frame).collect();
        assert_eq!(late[..learning.len()], learning);
        let later = &late[learning.len()..];
        assert!(later.len() <= 12, "{later:?}");
        assert_eq!(sender.demuxer.stats().early_end_mistakes, 0);
        sender.assert_whole();
    }
}

#[test]
fn a_sender_that_flushes_within_large_pictures_costs_one_before_it_is_distrusted() {
    // Flushes after 32 KB and what is left, as with a buffer of that size; first in a picture at `first`.
    for (first, mistakes) in [(5, 0), (20, 1), (200, 1), (1_000, 1)] {
        let mut sender = Flushing::new();
        for number in 0..6_000 {
            match number % 60 == first % 60 && number >= first {
                true => sender.send(0x65, 90_000, 174),
                false => sender.send(0x41, 20_000, 1_000),
            };
        }
        assert_eq!(sender.demuxer.stats().early_end_mistakes, mistakes, "first in picture {first}");
    }
}

#[test]
fn a_sender_that_pauses_within_a_picture_cuts_none_however_long_the_pause() {
    let now = Clock::manual().0.now();
    let mut sender = Flushing::new();
    for _ in 0..50 {
        sender.send(0x41, 3_000, 100);
    }
    let picture = picture(0x41, 50, 3_000);
    let pes = sender.muxer.pes(Some(150_000), &picture);
    let (head, tail) = pes.split_at(7 * PACKET);
    sender.demuxer.push(now, head);
    sender.demuxer.push(now + Duration::from_secs(60), tail);
    sender.demuxer.flushed();
    sender.seen.take(&mut sender.demuxer);
    assert_eq!(sender.seen.units.last().map(|unit| unit.data.to_vec()), Some(picture));
    assert_eq!(sender.demuxer.stats().early_end_mistakes, 0);
}

#[test]
fn an_end_of_a_datagram_within_a_packet_or_after_another_track_is_no_sign() {
    let now = Clock::manual().0.now();
    let mut sender = Flushing::new();
    for _ in 0..40 {
        sender.send(0x41, EXACT, 100);
    }
    let pes = sender.muxer.pes(Some(120_000), &picture(0x41, 40, EXACT));
    let (head, tail) = pes.split_at(3 * PACKET + 5);
    sender.demuxer.push(now, head);
    sender.demuxer.flushed();
    sender.demuxer.push(now, &tail[..PACKET - 5]);
    sender.demuxer.push(now, &packet(0x1fff, 0, false, &[7; 184]));
    sender.demuxer.flushed();
    sender.demuxer.push(now, &tail[PACKET - 5..]);
    sender.demuxer.flushed();
    sender.seen.take(&mut sender.demuxer);
    assert_eq!(sender.seen.units.len(), 41);
    assert_eq!(sender.demuxer.stats().early_end_mistakes, 0);
}

#[test]
fn several_pictures_in_a_pes_packet_are_told_apart() {
    let mut muxer = Muxer::video(true);
    let mut stream = tables(1, 0x1000, 0, &[(0x1b, 0x100)]);
    for pair in 0..6usize {
        let both = [picture(0x41, pair * 2, 500), picture(0x41, pair * 2 + 1, 30)].concat();
        stream.extend(muxer.pes(Some(pair as i64 * 6000), &both));
    }
    let (seen, demuxer) = run([&stream[..]]);
    assert_eq!(datas(&seen), (0..11).map(|n| picture(0x41, n, if n % 2 == 0 { 500 } else { 30 })).collect::<Vec<_>>());
    let times: Vec<i64> = seen.units.iter().map(|unit| unit.pts.0).collect();
    assert_eq!(times, (0..11).map(|n| n * 3000).collect::<Vec<_>>());
    assert_eq!(demuxer.stats().discarded_units, 0);
}

#[test]
fn a_picture_in_several_pes_packets_is_put_together() {
    let mut muxer = Muxer::video(true);
    let mut stream = tables(1, 0x1000, 0, &[(0x1b, 0x100)]);
    let pictures: Vec<Vec<u8>> = (0..30).map(|n| picture(0x41, n, 900)).collect();
    for (number, picture) in pictures.iter().enumerate() {
        // The cut may fall anywhere, in a start code too.
        let (head, tail) = picture.split_at([700, 2, 8, 11, 300][number % 5]);
        stream.extend(muxer.pes(Some(number as i64 * 3000), head));
        stream.extend(muxer.pes(None, tail));
    }
    let (seen, demuxer) = run([&stream[..]]);
    assert_eq!(datas(&seen), pictures[..29]);
    assert!(seen.units.iter().zip(0..).all(|(unit, n)| unit.pts.0 == n * 3000));
    assert_eq!((demuxer.stats().discarded_units, demuxer.stats().early_end_mistakes), (0, 0));
}

#[test]
fn a_picture_too_large_for_one_pes_packet_of_known_length_is_not_cut() {
    let mut muxer = Muxer::video(true);
    let mut stream = tables(1, 0x1000, 0, &[(0x1b, 0x100)]);
    let mut pictures: Vec<Vec<u8>> = (0..20).map(|n| picture(0x41, n, 900)).collect();
    pictures.push(picture(0x65, 20, 100_000));
    pictures.extend((21..25).map(|n| picture(0x41, n, 900)));
    for (number, picture) in pictures.iter().enumerate() {
        let (head, tail) = picture.split_at(picture.len().min(65_500));
        stream.extend(muxer.pes(Some(number as i64 * 3000), head));
        if !tail.is_empty() {
            stream.extend(muxer.pes(None, tail));
        }
    }
    let (seen, demuxer) = run([&stream[..]]);
    assert_eq!(datas(&seen), pictures, "none is held, for what went on was expected to");
    assert_eq!(demuxer.stats().early_end_mistakes, 0);
}

#[test]
fn timestamps_go_on_when_33_bits_are_full() {
    let mut muxer = Muxer::video(true);
    let mut stream = tables(1, 0x1000, 0, &[(0x1b, 0x100)]);
    let first = (1i64 << 33) - 10 * 3000;
    for number in 0..30 {
        stream.extend(muxer.pes(Some(first + number * 3000), &picture(0x41, number as usize, 300)));
    }
    let (seen, demuxer) = run([&stream[..]]);
    assert!(seen.units.len() >= 29);
    assert!(seen.units.iter().zip(0..).all(|(unit, n)| unit.pts.0 == first + n * 3000));
    assert_eq!(demuxer.stats().timestamp_jumps, 0);
}

#[test]
fn a_source_that_begins_anew_goes_on_being_delivered() {
    let mut muxer = Muxer::video(true);
    let mut stream = tables(1, 0x1000, 0, &[(0x1b, 0x100)]);
    for number in 0..40usize {
        let base = if number < 20 { 900_000_000 } else { 126_000 };
        stream.extend(muxer.pes(Some(base + number as i64 * 3000), &picture(0x41, number, 300)));
    }
    let (seen, mut demuxer) = run([&stream[..]]);
    assert!(seen.units.len() >= 39);
    assert_eq!(seen.units[20].pts.0, 126_000 + 60_000);
    assert_eq!(demuxer.stats().timestamp_jumps, 1);
    assert!(demuxer.take_events().iter().any(|event| matches!(event, Event::TimestampJump { .. })));
}

#[test]
fn a_changed_map_changes_the_tracks_and_keeps_what_stays() {
    let mut muxer = Muxer::video(true);
    let mut stream = tables(1, 0x1000, 0, &[(0x1b, 0x100)]);
    for number in 0..10 {
        stream.extend(muxer.pes(Some(number as i64 * 3000), &picture(0x41, number, 300)));
    }
    stream.extend(pmt(1, 0x1000, 1, 1, &[(0x1b, 0x100), (0x0f, 0x101)]));
    for number in 10..20 {
        stream.extend(muxer.pes(Some(number as i64 * 3000), &picture(0x41, number, 300)));
    }
    stream.extend(pmt(1, 0x1000, 2, 2, &[(0x24, 0x100)]));
    let (seen, _) = run([&stream[..]]);
    let codecs: Vec<Vec<Codec>> =
        seen.tracks.iter().map(|tracks| tracks.iter().map(|track| track.codec).collect()).collect();
    assert_eq!(codecs, [vec![Codec::H264], vec![Codec::H264, Codec::Aac], vec![Codec::H265]]);
    assert_eq!(seen.units.len(), 20);
}

#[test]
fn stays_with_its_programme_while_it_is_there() {
    let mut stream = pat(&[(1, 0x1000), (2, 0x1001)], 0, 0);
    stream.extend(pmt(2, 0x1001, 0, 0, &[(0x1b, 0x200)]));
    stream.extend(pmt(1, 0x1000, 0, 0, &[(0x1b, 0x100)]));
    let (seen, _) = run([&stream[..]]);
    assert_eq!(seen.tracks, [vec![Track { id: TrackId(0x100), codec: Codec::H264 }]], "the first in the table");
    // An earlier programme appears, then ours goes.
    stream.extend(pat(&[(7, 0x1007), (1, 0x1000), (2, 0x1001)], 1, 1));
    stream.extend(pmt(7, 0x1007, 0, 0, &[(0x1b, 0x700)]));
    let (seen, _) = run([&stream[..]]);
    assert_eq!(seen.tracks.len(), 1);
    stream.extend(pat(&[(7, 0x1007), (2, 0x1001)], 2, 2));
    let (seen, mut demuxer) = run([&stream[..]]);
    assert_eq!(seen.tracks.last().unwrap()[0].id, TrackId(0x700));
    assert!(demuxer.take_events().contains(&Event::ProgramGone { program: 1 }));
}

#[test]
fn a_wrong_or_missing_clock_reference_does_not_matter() {
    let mut wrong = Vec::new();
    for (at, packet) in H264_AAC.packets().iter().enumerate() {
        let mut packet = *packet;
        if packet[3] & 0x20 != 0 && packet[4] > 0 && packet[5] & 0x10 != 0 {
            packet[6..10].copy_from_slice(&(at as u32).wrapping_mul(77_777_777).to_be_bytes());
        }
        wrong.extend(packet);
    }
    let ((right, _), (seen, demuxer)) = (run([H264_AAC.bytes]), run([&wrong[..]]));
    assert_eq!(seen.rows(0x100), right.rows(0x100));
    assert!(demuxer.stats().pcr_faults > 0);
}

#[test]
fn a_unit_without_bounds_is_dropped_and_the_next_one_delivered() {
    let mut muxer = Muxer::video(false);
    let mut stream = tables(1, 0x1000, 0, &[(0x1b, 0x100)]);
    stream.extend(muxer.pes(Some(0), &picture(0x65, 0, LARGEST_UNIT + 1000)));
    stream.extend(muxer.pes(Some(3000), &picture(0x41, 1, 1000)));
    stream.extend(muxer.pes(Some(6000), &picture(0x41, 2, 1000)));
    let (seen, demuxer) = run([&stream[..]]);
    assert_eq!(datas(&seen), [picture(0x41, 1, 1000)]);
    assert_eq!(demuxer.stats().oversized_units, 1);
}

#[test]
fn scrambled_tracks_are_counted_and_said() {
    let mut muxer = Muxer::video(true);
    let mut stream = tables(1, 0x1000, 0, &[(0x1b, 0x100)]);
    let mut pes = muxer.pes(Some(0), &picture(0x65, 0, 1000));
    pes.iter_mut().skip(3).step_by(PACKET).for_each(|byte| *byte |= 0x80);
    stream.extend(pes);
    let (seen, mut demuxer) = run([&stream[..]]);
    assert!(seen.units.is_empty());
    assert!(demuxer.stats().scrambled_packets > 1);
    assert!(demuxer.take_events().contains(&Event::Scrambled { track: TrackId(0x100) }));
}

#[test]
fn a_loss_that_counters_cannot_see_is_no_picture_when_it_is_told() {
    let mut muxer = Muxer::video(false);
    let mut pictures = tables(1, 0x1000, 0, &[(0x1b, 0x100)]);
    for number in 0..3 {
        pictures.extend(muxer.pes(Some(number * 3000), &picture(0x41, number as usize, 20_000)));
    }
    let now = Clock::manual().0.now();
    let (mut seen, mut demuxer) = (Seen::default(), Demuxer::new());
    demuxer.push(now, &pictures[..PACKET * 30]);
    demuxer.lost(16);
    demuxer.push(now, &pictures[PACKET * 46..]);
    seen.take(&mut demuxer);
    assert_eq!(datas(&seen), [picture(0x41, 1, 20_000)]);
}

#[test]
fn sound_whose_beginning_was_lost_is_found_again_at_a_frame() {
    let frame = |number: u8, size: usize| {
        let mut frame =
            vec![0xff, 0xf1, 0x4c, 0x80 | (size >> 11) as u8, (size >> 3) as u8, (size as u8) << 5 | 0x1f, 0xfc];
        frame.resize(size, number);
        frame
    };
    let frames: Vec<Vec<u8>> = (0..40).map(|n| frame(n, 100 + usize::from(n) * 7)).collect();
    let all = frames.concat();
    let mut muxer = Muxer::sound();
    let mut packets = Vec::new();
    for (at, piece) in all.chunks(1000).enumerate() {
        let begun = frames.iter().scan(0, |sum, f| {
            let start = *sum;
            *sum += f.len();
            Some(start)
        });
        let first = begun.clone().position(|start| start >= at * 1000).unwrap_or(40);
        packets.push(muxer.pes(Some(first as i64 * 1920), piece));
    }
    for lost in 0..packets.len() {
        let mut stream = tables(1, 0x1000, 0, &[(0x0f, 0x101)]);
        for (at, pes) in packets.iter().enumerate() {
            stream.extend(if at == lost { &pes[PACKET..] } else { &pes[..] });
        }
        let (seen, _) = run([&stream[..]]);
        assert!(seen.units.len() >= 25, "{}", seen.units.len());
        for unit in &seen.units {
            let number = unit.data[20];
            assert_eq!(unit.data[..], frames[usize::from(number)][..]);
            assert_eq!(unit.pts.0, i64::from(number) * 1920);
        }
    }
}

#[test]
fn one_lost_packet_costs_no_more_than_what_it_carried() {
    let packets = H264_AAC.packets();
    let (whole, _) = run([H264_AAC.bytes]);
    // The tables at the beginning come again only later.
    for lost in 4..packets.len() {
        let (seen, demuxer) =
            run(packets.iter().enumerate().filter(|(at, _)| *at != lost).map(|(_, packet)| &packet[..]));
        let missing = whole.units.len() - seen.units.len();
        // A packet that begins a PES ends the one before it too, when its length is not known.
        assert!(missing <= 2, "packet {lost}: {missing}");
        assert!(demuxer.stats().discarded_units <= 2);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn any_chunking_gives_the_same_units(sizes in prop::collection::vec(1usize..3000, 1..40)) {
        let mut pieces = Vec::new();
        let mut rest = H264_AAC.bytes;
        for size in sizes.iter().cycle() {
            let (piece, after) = rest.split_at((*size).min(rest.len()));
            pieces.push(piece);
            rest = after;
            if rest.is_empty() { break; }
        }
        let ((whole, _), (seen, _)) = (run([H264_AAC.bytes]), run(pieces));
        prop_assert_eq!(seen.tracks, whole.tracks);
        prop_assert_eq!(
            seen.units.iter().map(|unit| row(unit)).collect::<Vec<_>>(),
            whole.units.iter().map(|unit| row(unit)).collect::<Vec<_>>()
        );
    }

    #[test]
    fn damage_never_makes_a_unit_that_was_not_sent(
        faults in prop::collection::vec((0usize..230, 0u8..6, 1usize..8), 1..12),
        program in 0usize..4,
    ) {
        let fixtures = [H264_AAC, fixture!("aac44_mono"), fixture!("h264_bframes"), fixture!("opus")];
        let fixture = fixtures[program];
        let mut pieces: Vec<Vec<u8>> = fixture.packets().iter().map(|packet| packet.to_vec()).collect();
        for &(at, fault, count) in &faults {
            let Some(piece) = pieces.get(at).cloned() else { continue };
            match fault {
                // Lost, up to a whole SRT payload of seven.
                0 => pieces.iter_mut().skip(at).take(count).for_each(Vec::clear),
                // Marked as damaged by the receiver, with damage.
                1 if piece.len() >= PACKET => {
                    pieces[at][1] |= 0x80;
                    pieces[at][100] ^= 0x55;
                }
                // Sent twice.
                2 if piece.len() == PACKET => pieces[at].extend(&piece),
                // Sync byte gone.
                3 if !piece.is_empty() => pieces[at][0] = 0,
                // Bytes from elsewhere between packets.
                4 => pieces[at].extend(std::iter::repeat_n(0x33, count * 41)),
                // So much lost that counters may not show it.
                5 => pieces.iter_mut().skip(at).take(count * 16).for_each(Vec::clear),
                _ => {}
            }
        }
        let sent: BTreeSet<_> =
            [0x100, 0x101].into_iter().flat_map(|pid| fixture.expected(pid)).map(|row| (row.0, row.3, row.4)).collect();
        let now = Clock::manual().0.now();
        let (mut seen, mut demuxer) = (Seen::default(), Demuxer::new());
        for piece in &pieces {
            match piece.is_empty() {
                true => demuxer.lost(1),
                false => demuxer.push(now, piece),
            }
        }
        seen.take(&mut demuxer);
        for unit in &seen.units {
            let row = row(unit);
            prop_assert!(sent.contains(&(row.0, row.3, row.4)), "{:?} {:?}", unit, faults);
        }
    }

    #[test]
    fn loss_never_makes_a_picture_that_was_not_sent_once_ends_are_trusted(
        losses in prop::collection::vec((0usize..600, 1usize..15), 0..8),
        sizes in prop::collection::vec(1usize..1500, 80),
        bounded: bool,
    ) {
        let mut muxer = Muxer::video(bounded);
        let pictures: Vec<Vec<u8>> = sizes.iter().enumerate().map(|(n, &size)| picture(0x41, n, size)).collect();
        let mut packets: Vec<Vec<u8>> = tables(1, 0x1000, 0, &[(0x1b, 0x100)]).chunks(PACKET).map(<[u8]>::to_vec).collect();
        for (number, picture) in pictures.iter().enumerate() {
            let pes = muxer.pes(Some(number as i64 * 3000), picture);
            packets.extend(pes.chunks(PACKET).map(<[u8]>::to_vec));
        }
        for &(at, count) in &losses {
            packets.iter_mut().skip(at + 2).take(count).for_each(Vec::clear);
        }
        let now = Clock::manual().0.now();
        let (mut seen, mut demuxer) = (Seen::default(), Demuxer::new());
        (0..4).for_each(|_| demuxer.push(now, &packet(0x1fff, 0, false, &[])));
        for packet in &packets {
            match packet.is_empty() {
                true => demuxer.lost(1),
                false => demuxer.push(now, packet),
            }
        }
        seen.take(&mut demuxer);
        for unit in &seen.units {
            let number = unit.pts.0 as usize / 3000;
            prop_assert_eq!(&unit.data[..], &pictures[number][..]);
        }
        prop_assert_eq!(demuxer.stats().early_end_mistakes, 0);
        if losses.is_empty() {
            prop_assert!(seen.units.len() >= 79);
        }
    }

    #[test]
    fn arbitrary_bytes_never_panic(data in prop::collection::vec(any::<u8>(), 0..4000)) {
        fuzzing::ts(&data);
        fuzzing::pes(&data);
    }

    #[test]
    fn a_stream_with_flipped_bits_never_panics(flips in prop::collection::vec((any::<prop::sample::Index>(), 0u8..8), 1..200)) {
        let mut bytes = TWO_PROGRAMS.bytes.to_vec();
        for (at, bit) in flips {
            let at = at.index(bytes.len());
            bytes[at] ^= 1 << bit;
        }
        fuzzing::ts(&bytes);
    }
}
