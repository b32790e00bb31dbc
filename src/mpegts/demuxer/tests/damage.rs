//! What is lost, damaged or hostile makes nothing that was not sent.

use std::collections::BTreeSet;

use proptest::prelude::*;

use super::super::*;
use super::support::*;
use crate::clock::Clock;
use crate::mpegts::fuzzing;

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
