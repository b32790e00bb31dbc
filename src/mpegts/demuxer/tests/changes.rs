//! What changes within a stream: times, tables, programmes; and what cannot be delivered.

use super::super::*;
use super::support::*;
use crate::mpegts::LARGEST_UNIT;

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
