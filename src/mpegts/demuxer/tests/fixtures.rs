//! Recorded streams: what ffmpeg finds in them is found here.

use super::super::*;
use super::support::*;

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
