use std::time::Instant;

use bytes::Bytes;

use super::*;
use crate::clock::Clock;
use crate::media::TrackId;

const IDR: u8 = 0b1000_1000;
const P: u8 = 0b1001_1010;
const B: u8 = 0b1010_1000;

/// Makes the units of an H.264 track.
struct Source {
    now: Instant,
    describer: Describer,
}

impl Source {
    fn new() -> Self {
        Self { now: Clock::manual().0.now(), describer: Describer::new(Codec::H264) }
    }

    fn picture(&mut self, slice: u8, pts: i64, dts: i64, size: usize) {
        let random_access = slice == IDR;
        let mut data = vec![0, 0, 0, 1, if random_access { 0x65 } else { 0x41 }, slice, 0x80];
        data.resize(size, 0xaa);
        self.describer.push(&AccessUnit {
            track: TrackId(1),
            codec: Codec::H264,
            pts: Timestamp90k(pts),
            dts: Timestamp90k(dts),
            random_access,
            data: Bytes::from(data),
            arrived: self.now,
        });
    }

    fn says(&self) -> Description {
        self.describer.describe()
    }
}

#[test]
fn measures_rates_and_groups_of_pictures() {
    let mut source = Source::new();
    for at in 0..300 {
        let size = if at % 30 == 0 { 30_000 } else { 2_000 };
        source.picture(if at % 30 == 0 { IDR } else { P }, at * 3003, at * 3003, size);
    }
    let says = source.says();
    assert_eq!(says.fps, Some(29.97));
    assert_eq!(says.gop_frames, Some(30));
    assert_eq!(says.gop_duration, Some(Duration::from_micros(1_001_000)));
    assert!(!says.has_b_frames);
    let exact = (30_000.0 + 29.0 * 2_000.0) * 8.0 / 1.001;
    assert!((says.bitrate_bps.unwrap() as f64 / exact - 1.0).abs() < 0.2, "{:?} {exact}", says.bitrate_bps);
}

#[test]
fn times_rounded_to_milliseconds_and_lost_pictures_do_not_show_in_the_rate() {
    let mut source = Source::new();
    for at in (0..200).filter(|at| at % 17 != 3) {
        let time = at * 1000 / 60 * 90;
        source.picture(if at % 60 == 0 { IDR } else { P }, time, time, 1000);
    }
    let fps = source.says().fps.unwrap();
    assert!((fps - 60.0).abs() < 0.3, "{fps}");
}

#[test]
fn sees_b_frames_within_the_first_group_and_their_end() {
    let mut source = Source::new();
    let group = |source: &mut Source, start: i64| {
        source.picture(IDR, start + 6000, start, 1000);
        for mini in 0..5 {
            let dts = start + 3000 + mini * 9000;
            source.picture(P, dts + 12_000, dts, 500);
            source.picture(B, dts + 3_000, dts + 3000, 200);
            source.picture(B, dts + 6_000, dts + 6000, 200);
        }
    };
    group(&mut source, 0);
    assert!(source.says().has_b_frames);
    group(&mut source, 48_000);
    assert!(source.says().has_b_frames);
    for at in 0..40 {
        source.picture(if at % 15 == 0 { IDR } else { P }, 200_000 + at * 3000, 200_000 + at * 3000, 500);
    }
    assert!(!source.says().has_b_frames);
}

#[test]
fn slices_that_predict_both_ways_in_order_are_no_b_frames() {
    let mut source = Source::new();
    for at in 0..60 {
        source.picture(if at % 30 == 0 { IDR } else { B }, 6000 + at * 3000, at * 3000, 500);
    }
    assert!(!source.says().has_b_frames);
}

#[test]
fn a_clock_set_back_within_a_group_is_no_reordering() {
    let mut source = Source::new();
    for at in 0..60 {
        let time = at * 3000 - if at < 40 { 0 } else { 45_000 };
        source.picture(if at == 0 { IDR } else { B }, time, time, 500);
        assert!(!source.says().has_b_frames, "{at}");
    }
}

#[test]
fn a_picture_without_a_random_access_point_is_told_after_twelve_seconds_of_its_own_time() {
    let mut source = Source::new();
    let mut picture = |slice, time: i64| {
        source.picture(slice, time, time, 500);
        source.says().no_keyframe
    };
    let second = Timestamp90k::HZ;
    assert!((0..=12).all(|at| !picture(P, at * second)));
    assert!(picture(P, 12 * second + 1));
    assert!(picture(P, 13 * second));
    assert!(!picture(IDR, 14 * second));
    assert!((15..=26).all(|at| !picture(P, at * second)));
    assert!(picture(P, 27 * second));
    assert!(!picture(P, 100 * second), "after an interruption it is waited for anew");
    assert!((101..=112).all(|at| !picture(P, at * second)));
    assert!(picture(P, 113 * second));
}

#[test]
fn a_source_that_begins_anew_shows_no_nonsense() {
    let mut source = Source::new();
    for base in [1_000_000, 5_000, 1 << 40, -3_000_000] {
        for at in 0..100 {
            source.picture(if at % 25 == 0 { IDR } else { P }, base + at * 3600, base + at * 3600, 500);
        }
        let says = source.says();
        assert_eq!((says.fps, says.gop_frames, says.has_b_frames), (Some(25.0), Some(25), false));
        assert!((90_000..110_000).contains(&says.bitrate_bps.unwrap()));
    }
}
