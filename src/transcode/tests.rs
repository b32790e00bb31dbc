use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use proptest::prelude::*;

use super::*;
use crate::clock::Clock;
use crate::codec::h264::{Sps, nal_type};
use crate::codec::{Describer, Description, annexb};
use crate::media::{AccessUnit, Codec, MediaItem, Timestamp90k, Track, TrackId, Transform};

const SPS: &[u8] = &[
    0x67, 0x42, 0xc0, 0x28, 0xd9, 0x00, 0x78, 0x02, 0x27, 0xe5, 0xc0, 0x44, 0x00, 0x00, 0x03, 0x00, 0x04, 0x00, 0x00,
    0x03, 0x00, 0xf0, 0x3c, 0x60, 0xc9, 0x20,
];
const OTHER_SPS: &[u8] = &[
    0x67, 0x64, 0x00, 0x0d, 0xac, 0xb2, 0x02, 0x83, 0x3f, 0x3e, 0x02, 0x20, 0x00, 0x00, 0x03, 0x00, 0x20, 0x00, 0x00,
    0x07, 0x91, 0xe2, 0x85, 0x49,
];
const PPS: &[u8] = &[0x68, 0xef, 0x3c, 0xb0];
const AUD: &[u8] = &[9, 0xf0];
const SEI: &[u8] = &[6, 5, 2, 1, 2, 0x80];
const FILLER: &[u8] = &[12, 0xff, 0xff, 0x80];
const IDR: &[u8] = &[0x65, 0b1000_1000, 0x84];
const P: &[u8] = &[0x41, 0b1001_1010, 0x80, 7];
const B: &[u8] = &[0x01, 0b1010_1000, 0x80, 7];

struct Source {
    now: Instant,
    transform: Box<dyn Transform>,
}

impl Source {
    fn new() -> Self {
        let mut source = Self { now: Clock::manual().0.now(), transform: picture() };
        source.tracks(&[(1, Codec::H264)]);
        source
    }

    fn tracks(&mut self, tracks: &[(u16, Codec)]) -> Option<Vec<(u16, Codec)>> {
        let tracks = tracks.iter().map(|&(id, codec)| Track { id: TrackId(id), codec }).collect();
        match self.transform.push(&MediaItem::Tracks(tracks)).as_slice() {
            [] => None,
            [MediaItem::Tracks(tracks)] => Some(tracks.iter().map(|track| (track.id.0, track.codec)).collect()),
            other => panic!("{other:?}"),
        }
    }

    fn unit(&mut self, track: u16, codec: Codec, pts: i64, dts: i64, data: &[u8]) -> Vec<Arc<AccessUnit>> {
        let random_access = !codec.is_video() || annexb::nals(data).any(|nal| nal_type(nal) == Some(5));
        let unit = AccessUnit {
            track: TrackId(track),
            codec,
            pts: Timestamp90k(pts),
            dts: Timestamp90k(dts),
            random_access,
            data: Bytes::copy_from_slice(data),
            arrived: self.now,
        };
        let derived = |item| match item {
            MediaItem::Unit(unit) => unit,
            MediaItem::Tracks(_) => panic!("tracks"),
        };
        let item = MediaItem::Unit(Arc::new(unit));
        self.transform.push(&item).into_iter().map(derived).collect()
    }

    fn picture(&mut self, pts: i64, dts: i64, nals: &[&[u8]]) -> Vec<Vec<Vec<u8>>> {
        let mut data = Vec::new();
        nals.iter().for_each(|nal| data.extend([&[0, 0, 1][..], nal].concat()));
        let out = self.unit(1, Codec::H264, pts, dts, &data);
        out.iter().map(|unit| annexb::nals(&unit.data).map(<[u8]>::to_vec).collect()).collect()
    }
}

fn kinds(pictures: &[Vec<Vec<u8>>]) -> Vec<Vec<u8>> {
    pictures.iter().map(|nals| nals.iter().filter_map(|nal| nal_type(nal)).collect()).collect()
}

#[test]
fn puts_rewritten_parameter_sets_before_every_idr_picture_and_leaves_the_rest_out() {
    let mut source = Source::new();
    assert!(source.picture(0, 0, &[AUD, P]).is_empty(), "before the first IDR picture");
    let first = source.picture(3000, 3000, &[AUD, SPS, PPS, SEI, IDR, IDR, FILLER]);
    assert_eq!(kinds(&first), [[7, 8, 5, 5]]);
    let sps = Sps::parse(&first[0][0]).unwrap();
    let restriction = sps.vui.as_ref().unwrap().restriction.unwrap();
    assert_eq!((restriction.max_num_reorder_frames, restriction.max_dec_frame_buffering), (0, sps.max_num_ref_frames));
    assert_eq!(kinds(&source.picture(6000, 6000, &[AUD, SEI, P])), [[1]]);
    assert_eq!(source.picture(9000, 9000, &[IDR])[0][..2], first[0][..2], "sent once only, remembered");
    assert_eq!(kinds(&source.picture(12_000, 12_000, &[SPS, PPS, P])), [[1]], "known already");
    assert_eq!(kinds(&source.picture(15_000, 15_000, &[&[0x68, 0xee, 0x3c, 0xb0], P])), [[8, 1]], "changed");
    assert_eq!(source.transform.problem(), None);
}

#[test]
fn an_idr_picture_without_parameter_sets_is_no_beginning() {
    let mut source = Source::new();
    assert!(source.picture(0, 0, &[IDR]).is_empty());
    assert!(source.picture(3000, 3000, &[P]).is_empty());
    assert_eq!(source.picture(6000, 6000, &[SPS, PPS, IDR]).len(), 1);
}

#[test]
fn parameter_sets_too_long_to_be_any_are_not_kept() {
    let mut source = Source::new();
    let long = |set: &[u8]| [set, &[0x55; 4096]].concat();
    let (sps, pps) = (long(SPS), long(PPS));
    assert!(source.picture(0, 0, &[&sps, &pps, IDR]).is_empty());
    assert_eq!(kinds(&source.picture(3000, 3000, &[SPS, PPS, IDR])), [[7, 8, 5]]);
    assert_eq!(kinds(&source.picture(6000, 6000, &[&sps, &pps, P])), [[1]]);
}

#[test]
fn start_codes_have_four_bytes() {
    let mut source = Source::new();
    let data = [&[0, 0, 1][..], SPS, &[0, 0, 1], PPS, &[0, 0, 1], IDR, &[0, 0, 0]].concat();
    let out = source.unit(1, Codec::H264, 0, 0, &data);
    let nals: Vec<&[u8]> = annexb::nals(&out[0].data).collect();
    let mut expected = Vec::new();
    nals.iter().for_each(|nal| annexb::put(&mut expected, nal));
    assert_eq!(out[0].data, expected);
    assert_eq!(nals[2], IDR);
}

fn group_with_b_frames(source: &mut Source, start: i64) -> usize {
    let mut out = source.picture(start + 6000, start, &[SPS, PPS, IDR]).len();
    for mini in 0..5 {
        let dts = start + 3000 + mini * 9000;
        out += source.picture(dts + 12_000, dts, &[P]).len();
        out += source.picture(dts + 3_000, dts + 3_000, &[B]).len();
        out += source.picture(dts + 6_000, dts + 6_000, &[B]).len();
    }
    out
}

#[test]
fn sends_nothing_of_a_stream_with_b_frames_and_says_what_to_change() {
    let mut source = Source::new();
    for group in 0..4 {
        assert_eq!(group_with_b_frames(&mut source, group * 48_000), 0, "group {group}");
    }
    let problem = source.transform.problem().unwrap();
    assert_eq!(problem.code, "b_frames");
    for word in ["vMix", "Baseline", "OBS", "-bf 0"] {
        assert!(problem.text.contains(word));
    }
}

#[test]
fn goes_on_when_b_frames_end() {
    let mut source = Source::new();
    group_with_b_frames(&mut source, 0);
    // The same parameter set: only a whole group shows that there are none.
    let idr = |n: i64| n % 10 == 0;
    let sent: Vec<usize> = (0..30)
        .map(|n| {
            let nals: &[&[u8]] = if idr(n) { &[SPS, PPS, IDR] } else { &[P] };
            source.picture(90_000 + n * 3000, 90_000 + n * 3000, nals).len()
        })
        .collect();
    assert_eq!(sent[..10], [0; 10]);
    assert_eq!(sent[10..], [1; 20]);
    assert_eq!(source.transform.problem(), None);
    // Another parameter set and pictures at their decoding times: another stream, at once.
    group_with_b_frames(&mut source, 300_000);
    assert!(source.transform.problem().is_some());
    assert_eq!(source.picture(400_000, 400_000, &[OTHER_SPS, PPS, IDR]).len(), 1);
    assert_eq!(source.transform.problem(), None);
}

#[test]
fn a_stream_that_only_might_reorder_is_let_through_whole() {
    let mut source = Source::new();
    let sent: Vec<usize> = (0..40)
        .map(|n| {
            let nals: &[&[u8]] = if n % 20 == 0 { &[SPS, PPS, IDR] } else { &[P] };
            source.picture(n * 3000 + 6000, n * 3000, nals).len()
        })
        .collect();
    assert_eq!(sent.iter().sum::<usize>(), 40);
    assert_eq!(sent[12..], [1; 28]);
}

#[test]
fn only_the_picture_that_browsers_would_be_given_can_be_an_obstacle() {
    let track = |codec| Describer::new(codec).describe();
    let (h264, h265, aac) = (track(Codec::H264), track(Codec::H265), track(Codec::Aac));
    let reordered = Description { has_b_frames: true, ..h264.clone() };
    let endless = Description { no_keyframe: true, ..h264.clone() };
    let code = |tracks: &[&Description]| obstacle(tracks).map(|problem| problem.code);
    assert_eq!(code(&[&aac]), None);
    assert_eq!(code(&[&aac, &h265]), Some("h265_not_yet"));
    assert_eq!(code(&[&h265, &h264]), None);
    assert_eq!(code(&[&h264, &reordered]), None);
    assert_eq!(code(&[&h265, &reordered, &h264]), Some("b_frames"));
    assert_eq!(code(&[&endless]), Some("no_keyframe"));
}

#[test]
fn only_one_track_is_the_picture() {
    let mut source = Source::new();
    let h264 = (1, Codec::H264);
    assert_eq!(source.tracks(&[h264, (2, Codec::Aac)]), None, "nothing changes for browsers");
    assert_eq!(source.unit(2, Codec::Aac, 0, 0, &[0xff, 0xf1]).len(), 0);
    assert_eq!(source.tracks(&[(1, Codec::H265)]), Some(vec![]));
    assert_eq!(source.transform.problem().map(|problem| problem.code), Some("h265_not_yet"));
    assert_eq!(source.unit(1, Codec::H265, 0, 0, &[0, 0, 1, 0x26, 1, 0xaf]).len(), 0);
    assert_eq!(source.tracks(&[h264]), Some(vec![h264]));
    assert_eq!(source.transform.problem(), None);
    assert!(source.picture(0, 0, &[IDR]).is_empty(), "what was remembered was of another track");
}

proptest! {
    #[test]
    fn any_units_give_only_what_a_browser_takes(data in prop::collection::vec(any::<u8>(), 0..2000)) {
        fuzzing::browser_video(&data);
    }

    #[test]
    fn any_frames_of_sound_give_only_opus(data in prop::collection::vec(any::<u8>(), 0..500), head in 0usize..8) {
        // Low complexity of 48, 44.1 and 24 kHz, in mono, stereo, 5.1 and 7.1, and other kinds.
        let heads = [[0x4c, 0x40], [0x4c, 0x80], [0x50, 0x80], [0x58, 0x40], [0x4d, 0x80], [0x4d, 0xc0], [0x0c, 0x80], [0x4c, 0]];
        let [profile, channels] = heads[head];
        let length = data.len() + 7;
        let mut frame = vec![0xff, 0xf1, profile, channels | (length >> 11) as u8, (length >> 3) as u8, (length << 5) as u8 | 0x1f, 0xfc];
        frame.extend(data);
        fuzzing::sound(&[frame.as_slice(), &frame, &frame].concat());
    }

    #[test]
    fn any_order_of_nal_units_gives_only_what_a_browser_takes(
        units in prop::collection::vec((any::<u8>(), prop::collection::vec(0usize..8, 0..5)), 0..40)
    ) {
        let nals = [SPS, PPS, AUD, SEI, FILLER, IDR, P, B];
        let mut data = Vec::new();
        for (head, picks) in units {
            let mut unit = vec![head];
            picks.iter().for_each(|&pick| annexb::put(&mut unit, nals[pick]));
            unit.resize(64, 0);
            data.extend(unit);
        }
        fuzzing::browser_video(&data);
    }
}
