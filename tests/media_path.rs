//! From the bytes of a transport stream to the rendition for browsers, through three rooms.

use std::sync::Arc;

use returnfeed::clock::Clock;
use returnfeed::codec::{Describer, Description, annexb, h264};
use returnfeed::media::{AccessUnit, Codec, MediaItem, Transform};
use returnfeed::mpegts::Demuxer;
use returnfeed::transcode;

macro_rules! fixture {
    ($name:literal) => {
        include_bytes!(concat!("fixtures/", $name, ".mpegts")).as_slice()
    };
}

fn items(stream: &[u8]) -> Vec<MediaItem> {
    let now = Clock::manual().0.now();
    let mut demuxer = Demuxer::new();
    // As SRT carries it.
    stream.chunks(1316).for_each(|payload| demuxer.push(now, payload));
    std::iter::from_fn(|| demuxer.poll()).collect()
}

fn units(items: &[MediaItem]) -> impl Iterator<Item = &Arc<AccessUnit>> {
    items.iter().filter_map(|item| match item {
        MediaItem::Unit(unit) => Some(unit),
        MediaItem::Tracks(_) => None,
    })
}

fn describe(stream: &[u8], codec: Codec) -> Description {
    let mut describer = Describer::new(codec);
    units(&items(stream)).filter(|unit| unit.codec == codec).for_each(|unit| describer.push(unit));
    describer.describe()
}

fn picture(items: &[MediaItem]) -> (Vec<MediaItem>, Box<dyn Transform>) {
    let mut transform = transcode::picture();
    let derived = items.iter().flat_map(|item| transform.push(item)).collect();
    (derived, transform)
}

#[test]
fn describes_what_ffmpeg_encoded() {
    let video = |stream, codec| {
        let says = describe(stream, codec);
        (says.width, says.height, says.fps, says.gop_frames, says.has_b_frames)
    };
    let (w, h, rate, group) = (Some(320), Some(180), Some(30.0), Some(15));
    assert_eq!(video(fixture!("h264_aac48"), Codec::H264), (w, h, rate, group, false));
    assert_eq!(video(fixture!("h264_bframes"), Codec::H264), (w, h, rate, group, true));
    assert_eq!(video(fixture!("h264_slices"), Codec::H264), (w, h, Some(29.97), group, false));
    assert!(!video(fixture!("h264_interlaced"), Codec::H264).4);
    assert_eq!(video(fixture!("h265"), Codec::H265), (w, h, rate, group, false));
    assert!(video(fixture!("h265_bframes"), Codec::H265).4);
    assert_eq!(describe(fixture!("h264_aac48"), Codec::H264).profile.as_deref(), Some("High 1.3"));
    assert_eq!(describe(fixture!("h265"), Codec::H265).profile.as_deref(), Some("Main 2.0"));

    let sound = |stream, codec| {
        let says = describe(stream, codec);
        (says.profile, says.sample_rate, says.channels)
    };
    let lc = || Some("AAC-LC".to_owned());
    assert_eq!(sound(fixture!("h264_aac48"), Codec::Aac), (lc(), Some(48_000), Some(2)));
    assert_eq!(sound(fixture!("aac44_mono"), Codec::Aac), (lc(), Some(44_100), Some(1)));
    assert_eq!(sound(fixture!("aac44_stereo"), Codec::Aac), (lc(), Some(44_100), Some(2)));
    assert_eq!(sound(fixture!("opus"), Codec::Opus), (None, Some(48_000), Some(2)));
    let bitrate = describe(fixture!("aac44_stereo"), Codec::Aac).bitrate_bps.unwrap();
    assert!((20_000..90_000).contains(&bitrate), "{bitrate}");
}

#[test]
fn every_stream_in_order_reaches_browsers_whole() {
    for stream in [
        fixture!("h264_aac48"),
        fixture!("h264_headers_once"),
        fixture!("h264_slices"),
        fixture!("h264_interlaced"),
        fixture!("two_programs"),
    ] {
        let sent = items(stream);
        let (derived, transform) = picture(&sent);
        assert_eq!(transform.problem(), None);
        let sent: Vec<_> = units(&sent).filter(|unit| unit.codec == Codec::H264).cloned().collect();
        let derived: Vec<_> = units(&derived).cloned().collect();
        assert_eq!(derived.len(), sent.len());
        for (ours, theirs) in derived.iter().zip(&sent) {
            assert_eq!((ours.pts, ours.dts, ours.arrived), (theirs.pts, theirs.dts, theirs.arrived));
            let slices = |unit: &AccessUnit| -> Vec<Vec<u8>> {
                annexb::nals(&unit.data)
                    .filter(|nal| matches!(h264::nal_type(nal), Some(1 | 5)))
                    .map(<[u8]>::to_vec)
                    .collect()
            };
            assert_eq!(slices(ours), slices(theirs));
            if ours.random_access {
                let kinds: Vec<_> = annexb::nals(&ours.data).filter_map(h264::nal_type).take(3).collect();
                assert_eq!(kinds, [7, 8, 5]);
            }
        }
    }
}

#[test]
fn streams_browsers_cannot_play_give_no_picture_but_a_reason() {
    for (stream, code) in [
        (fixture!("h264_bframes"), "b_frames"),
        (fixture!("h265"), "h265_not_yet"),
        (fixture!("h265_bframes"), "h265_not_yet"),
    ] {
        let (derived, transform) = picture(&items(stream));
        assert_eq!(units(&derived).count(), 0, "{code}");
        assert_eq!(transform.problem().map(|problem| problem.code), Some(code));
    }
}

#[test]
fn opus_reaches_browsers_as_it_is() {
    let mut transform = transcode::sound(transcode::SoundConfig { bitrate_bps: 128_000 });
    let derived: Vec<_> = items(fixture!("opus")).iter().flat_map(|item| transform.push(item)).collect();
    assert_eq!(units(&derived).count(), 51);
}
