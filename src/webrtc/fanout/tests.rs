use std::time::Duration;

use bytes::Bytes;

use super::*;
use crate::clock::Clock;
use crate::media::Timestamp90k;

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
    let mut fanout = Fanout::new(1_000);
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
fn other_tracks_and_codecs_make_no_pictures() {
    let now = Clock::system().now();
    let mut fanout = Fanout::new(0);
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
    let mut fanout = Fanout::new(0);
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
    let mut fanout = Fanout::new(0);
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
