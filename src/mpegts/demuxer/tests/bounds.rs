//! Where a picture begins and ends, and how soon that is known.

use std::time::Duration;

use super::super::*;
use super::support::*;
use crate::clock::Clock;

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
