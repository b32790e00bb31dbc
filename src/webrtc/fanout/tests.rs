use std::time::Duration;

use bytes::Bytes;
use proptest::prelude::*;

use super::*;
use crate::clock::Clock;
use crate::webrtc::rtp::MAX_PAYLOAD;

const VIDEO: TrackId = TrackId(256);

fn tracks() -> Delivery {
    let audio = Track { id: TrackId(257), codec: Codec::Aac };
    Delivery::Tracks(Arc::new([audio, Track { id: VIDEO, codec: Codec::H264 }]))
}

fn unit(random_access: bool, pts: i64, arrived: Instant) -> Delivery {
    let data: &[u8] = if random_access {
        &[0, 0, 0, 1, 0x67, 0x64, 0x00, 0x28, 0xff, 0, 0, 1, 0x68, 1, 0, 0, 1, 0x65, 1, 2, 3]
    } else {
        &[0, 0, 0, 1, 0x41, 1, 2, 3]
    };
    let pts = Timestamp90k(pts);
    let data = Bytes::from_static(data);
    let unit = AccessUnit { track: VIDEO, codec: Codec::H264, pts, dts: pts, random_access, data, arrived };
    Delivery::Unit(Arc::new(unit))
}

#[test]
fn time_goes_on_from_source_to_source_and_each_begins_at_a_random_access_point() {
    let start = Clock::system().now();
    let at = |ms| start + Duration::from_millis(ms);
    let mut fanout = Fanout::new(1_000, 0);
    for delivery in [Delivery::SourceStarted, tracks()] {
        assert!(fanout.handle(delivery).is_none());
    }
    assert!(fanout.handle(unit(false, 0, at(0))).is_none());
    assert_eq!(fanout.profile(), None);
    assert_eq!(fanout.handle(unit(true, 3_000, at(33))).unwrap().timestamp, 1_000);
    assert_eq!(fanout.profile(), Some(ProfileLevelId([0x64, 0x00, 0x28])));
    assert_eq!(fanout.handle(unit(false, 6_000, at(66))).unwrap().timestamp, 4_000);
    for delivery in [Delivery::SourceEnded, Delivery::SourceStarted, tracks()] {
        assert!(fanout.handle(delivery).is_none());
    }
    assert!(fanout.handle(unit(false, 77, at(1_000))).is_none());
    let frame = fanout.handle(unit(true, 3_077, at(1_066))).unwrap();
    assert_eq!(frame.timestamp, 4_000 + 90_000);
    assert_eq!(
        fanout.recent().iter().copied().collect::<Vec<_>>(),
        [(1_000, at(33)), (4_000, at(66)), (94_000, at(1_066))]
    );
    assert_eq!(fanout.rtp_time(at(1_076)), Some(94_900));
}

#[test]
fn nobody_joins_with_the_pictures_of_a_source_that_is_gone() {
    let now = Clock::system().now();
    let mut fanout = Fanout::new(0, 0);
    for delivery in [Delivery::SourceStarted, tracks(), unit(true, 0, now)] {
        fanout.handle(delivery);
    }
    assert!(fanout.history().is_moving(now));
    fanout.handle(Delivery::SourceEnded);
    assert!(!fanout.history().is_moving(now));
    assert!(fanout.history().packet(0).is_some(), "what is missing can be sent again");
    fanout.handle(Delivery::SourceStarted);
    assert!(!fanout.history().is_moving(now));
    fanout.handle(unit(true, 9_000, now));
    assert!(fanout.history().is_moving(now));
}

#[test]
fn other_tracks_and_codecs_make_no_pictures() {
    let now = Clock::system().now();
    let mut fanout = Fanout::new(0, 0);
    fanout.handle(Delivery::SourceStarted);
    assert!(fanout.handle(unit(true, 0, now)).is_none(), "no tracks yet");
    fanout.handle(tracks());
    fanout.handle(unit(true, 0, now));
    assert!(fanout.profile().is_some());
    fanout.handle(Delivery::Tracks(Arc::new([Track { id: VIDEO, codec: Codec::H265 }])));
    assert_eq!(fanout.profile(), None);
}

#[test]
fn only_the_frames_of_late_are_remembered() {
    let now = Clock::system().now();
    let mut fanout = Fanout::new(0, 0);
    fanout.handle(Delivery::SourceStarted);
    fanout.handle(tracks());
    for n in 0..100 {
        fanout.handle(unit(n == 0, n * 3_000, now));
    }
    assert_eq!(fanout.recent().len(), RECENT_FRAMES);
    assert_eq!(fanout.recent().back(), Some(&(99 * 3_000, now)));
}

#[test]
fn a_new_source_has_no_profile_before_its_first_parameter_sets() {
    let now = Clock::system().now();
    let mut fanout = Fanout::new(0, 0);
    for delivery in [Delivery::SourceStarted, tracks(), unit(true, 0, now), Delivery::SourceEnded] {
        fanout.handle(delivery);
    }
    for delivery in [Delivery::SourceStarted, tracks(), unit(false, 3_000, now)] {
        fanout.handle(delivery);
        assert_eq!(fanout.profile(), None, "that of the source before");
    }
    fanout.handle(unit(true, 6_000, now));
    assert!(fanout.profile().is_some());
}

const SOUND: TrackId = TrackId(257);

fn sound_track() -> Delivery {
    Delivery::Tracks(Arc::new([Track { id: SOUND, codec: Codec::Opus }]))
}

fn sound(pts: i64, arrived: Instant) -> Delivery {
    sized_sound(pts, arrived, 320)
}

fn sized_sound(pts: i64, arrived: Instant, len: usize) -> Delivery {
    let (pts, data) = (Timestamp90k(pts), Bytes::from(vec![0xfc; len]));
    let codec = Codec::Opus;
    let unit = AccessUnit { track: SOUND, codec, pts, dts: pts, random_access: true, data, arrived };
    Delivery::Unit(Arc::new(unit))
}

/// A fan-out of a source that has begun with picture and sound.
fn begun(offset: u32, sound_offset: u32) -> Fanout {
    let mut fanout = Fanout::new(offset, sound_offset);
    for delivery in [Delivery::SourceStarted, tracks()] {
        assert!(fanout.handle(delivery).is_none());
    }
    for delivery in [Delivery::SourceStarted, sound_track()] {
        assert!(fanout.handle_sound(delivery).is_none());
    }
    fanout
}

#[test]
fn sound_has_packets_and_a_clock_of_its_own_and_goes_on_from_source_to_source() {
    let start = Clock::system().now();
    let at = |ms| start + Duration::from_millis(ms);
    let mut fanout = begun(0, 5_000);
    assert_eq!(fanout.sound_time(at(0)), None);
    let first = fanout.handle_sound(sound(90_000, at(20))).expect("sound needs no picture to start with");
    assert_eq!((first.timestamp, first.first, first.packets(), first.random_access), (5_000, 0, 1, true));
    let second = fanout.handle_sound(sound(91_800, at(40))).unwrap();
    assert_eq!((second.timestamp, second.first, second.arrived), (5_960, 1, at(40)));
    for delivery in [Delivery::SourceEnded, Delivery::SourceStarted, sound_track()] {
        assert!(fanout.handle_sound(delivery).is_none());
    }
    assert_eq!(fanout.handle_sound(sound(7, at(1_040))).unwrap().timestamp, 5_960 + 48_000);
    assert!(fanout.history().packet(0).is_none(), "of the picture only");
}

#[test]
fn sound_that_fits_no_packet_is_counted_and_left_out() {
    let now = Clock::system().now();
    let mut fanout = begun(0, 0);
    assert!(fanout.handle_sound(sized_sound(0, now, MAX_PAYLOAD + 1)).is_none());
    assert_eq!(fanout.oversized_sound(), 1);
    let next = fanout.handle_sound(sized_sound(1_800, now, MAX_PAYLOAD)).unwrap();
    assert_eq!((next.first, next.timestamp), (0, 960));
    assert!(fanout.handle_sound(unit(true, 0, now)).is_none(), "not sound");
    fanout.handle_sound(Delivery::Tracks(Arc::new([])));
    assert!(fanout.handle_sound(sound(3_600, now)).is_none(), "of no track");
    assert_eq!(fanout.oversized_sound(), 1);
}

#[test]
fn without_a_picture_of_the_same_source_sound_is_reported_by_its_own_arrival() {
    let start = Clock::system().now();
    let at = |ms| start + Duration::from_millis(ms);
    let mut fanout = begun(0, 0);
    fanout.handle_sound(sound(0, at(100)));
    assert_eq!(fanout.sound_time(at(110)), Some(480), "no picture");
    fanout.handle(unit(true, 3_000, at(0)));
    assert_eq!(fanout.sound_time(at(110)), Some(1_600 + 110 * 48), "the picture's clock is 133 ms ahead");
    fanout.handle(Delivery::SourceStarted);
    assert_eq!(fanout.sound_time(at(110)), Some(480), "the picture's next source has not begun");
    fanout.handle(unit(true, 90_000 * 3_600, at(0)));
    assert_eq!(fanout.sound_time(at(110)), Some(480), "of another source");
}

proptest! {
    /// However late and unevenly either arrives, a report of the sound names the sound that belongs to the picture
    /// which a report of the picture names for the same instant.
    #[test]
    fn reports_of_picture_and_sound_are_by_one_clock(
        first_pts in -1_000_000i64..1_000_000,
        sound_ahead in -90_000i64..90_000,
        events in prop::collection::vec((any::<bool>(), 0u64..60), 1..100),
        offsets in any::<(u32, u32)>(),
    ) {
        let mut fanout = begun(offsets.0, offsets.1);
        let mut now = Clock::system().now();
        let (mut pictures, mut sounds) = (0, 0);
        for (is_picture, passed) in events {
            now += Duration::from_millis(passed);
            if is_picture {
                fanout.handle(unit(pictures == 0, first_pts + pictures * 3_000, now));
                pictures += 1;
            } else {
                fanout.handle_sound(sound(first_pts + sound_ahead + sounds * 1_800, now));
                sounds += 1;
            }
            let later = now + Duration::from_millis(7);
            let (Some(picture), Some(sound)) = (fanout.rtp_time(later), fanout.sound_time(later)) else { continue };
            let picture_pts = first_pts + i64::from(picture.wrapping_sub(offsets.0) as i32);
            let sound_ticks = i64::from(sound.wrapping_sub(offsets.1) as i32);
            let sound_pts = first_pts + sound_ahead + sound_ticks * 90 / 48;
            prop_assert!((picture_pts - sound_pts).abs() <= 2, "{picture_pts} {sound_pts}");
        }
    }
}
