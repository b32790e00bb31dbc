//! Bodies of fuzz targets: what must hold for any bytes.

use std::sync::Arc;

use bytes::Bytes;

use crate::clock::Clock;
use crate::codec::aac::AdtsHeader;
use crate::codec::opus::Toc;
use crate::codec::{annexb, h264};
use crate::media::{AccessUnit, Codec, MediaItem, Timestamp90k, TrackId, Transform};

use super::SoundConfig;
use super::h264::BrowserVideo;
use super::sound::AacToOpus;

/// Any bytes as units of an H.264 track: what comes out holds only slices and parameter sets, an
/// IDR picture first.
pub fn browser_video(data: &[u8]) {
    let arrived = Clock::manual().0.now();
    let mut video = BrowserVideo::new();
    let mut begun = false;
    for (at, piece) in data.chunks(64).enumerate() {
        let Some((&head, bytes)) = piece.split_first() else { continue };
        let time = |step: u8| Timestamp90k(at as i64 * 3000 + i64::from(step) * 1000);
        let unit = AccessUnit {
            track: TrackId(1),
            codec: Codec::H264,
            pts: time(head >> 4),
            dts: time(0),
            random_access: head & 1 == 1,
            data: Bytes::copy_from_slice(bytes),
            arrived,
        };
        for item in video.push(&MediaItem::Unit(Arc::new(unit))) {
            let MediaItem::Unit(unit) = item else { continue };
            begun |= unit.random_access;
            assert!(begun);
            assert!(unit.data.starts_with(&[0, 0, 0, 1]));
            for nal in annexb::nals(&unit.data) {
                assert!(matches!(h264::nal_type(nal), Some(1..=5 | 7 | 8)));
            }
        }
    }
}

/// Any bytes as frames of an AAC track at any times: what comes out is Opus of 10 ms each, in stereo, and no
/// more of it than went in.
pub fn sound(data: &[u8]) {
    let arrived = Clock::manual().0.now();
    let mut aac = AacToOpus::new(SoundConfig { bitrate_bps: 64_000 });
    let mut rest = data;
    let mut pts: i64 = 0;
    while !rest.is_empty() {
        let header = AdtsHeader::parse(rest).filter(|header| header.frame_length <= rest.len());
        let (frame, after) = rest.split_at(header.map_or(64, |header| header.frame_length).min(rest.len()));
        rest = after;
        let unit = AccessUnit {
            track: TrackId(1),
            codec: Codec::Aac,
            pts: Timestamp90k(pts),
            dts: Timestamp90k(pts),
            random_access: true,
            data: Bytes::copy_from_slice(frame),
            arrived,
        };
        let (step, room) = header.map_or((0, 0), |header| {
            let ticks = i64::from(header.samples()) * 90_000 / i64::from(header.sample_rate());
            // HE-AAC in disguise, a packet that was all but full, and one that a gap has filled.
            (ticks, ticks / 900 + 3)
        });
        let packets = aac.push(&unit);
        assert!(packets.len() as i64 <= room, "{} packets", packets.len());
        for packet in packets {
            assert_eq!(Toc::parse(&packet.data).map(|toc| (toc.stereo, toc.samples())), Some((true, 480)));
        }
        pts += step;
        if let Some(&last @ 0xf0..) = frame.last() {
            pts += i64::from(last & 0xf).pow(5) * if last & 1 == 1 { 7 } else { -7 };
        }
    }
}
