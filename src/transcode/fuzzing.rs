//! Bodies of fuzz targets: what must hold for any bytes.

use std::sync::Arc;

use bytes::Bytes;

use crate::clock::Clock;
use crate::codec::{annexb, h264};
use crate::media::{AccessUnit, Codec, MediaItem, Timestamp90k, TrackId, Transform};

use super::h264::BrowserVideo;

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
