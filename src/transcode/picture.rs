//! The picture for browsers: one H.264 track.

use std::sync::Arc;

use super::{h264, obstacle};
use crate::media::{Codec, MediaItem, Track, Transform, TransformProblem};

/// The picture for browsers: the first H.264 track, normalised by [`h264::BrowserVideo`].
pub fn picture() -> Box<dyn Transform> {
    Box::new(Picture::default())
}

/// Gives the track that is the picture to what makes its rendition, and leaves out the others.
#[derive(Debug, Default)]
struct Picture {
    video: h264::BrowserVideo,
    source: Option<Track>,
    sent: Option<Arc<[Track]>>,
}

impl Picture {
    fn retrack(&mut self, tracks: &[Track]) -> Option<MediaItem> {
        let source = of(tracks, |track| track.codec);
        if source != self.source.as_ref() {
            self.video = h264::BrowserVideo::default();
            self.source = source.cloned();
        }
        let derived: Arc<[Track]> = self.h264().cloned().into_iter().collect();
        if self.sent.as_ref() == Some(&derived) {
            return None;
        }
        self.sent = Some(derived.clone());
        Some(MediaItem::Tracks(derived))
    }

    fn h264(&self) -> Option<&Track> {
        self.source.as_ref().filter(|track| track.codec == Codec::H264)
    }
}

/// The track that is the picture: the first that browsers can be given, else the first.
pub(super) fn of<T>(tracks: &[T], codec: fn(&T) -> Codec) -> Option<&T> {
    let first = |wanted: fn(Codec) -> bool| tracks.iter().find(|track| wanted(codec(track)));
    first(|codec| codec == Codec::H264).or_else(|| first(Codec::is_video))
}

impl Transform for Picture {
    fn push(&mut self, item: &MediaItem) -> Vec<MediaItem> {
        match item {
            MediaItem::Tracks(tracks) => self.retrack(tracks).into_iter().collect(),
            MediaItem::Unit(unit) if self.h264().is_some_and(|track| track.id == unit.track) => self.video.push(item),
            MediaItem::Unit(_) => Vec::new(),
        }
    }

    fn problem(&self) -> Option<TransformProblem> {
        if self.source.as_ref().is_some_and(|track| track.codec == Codec::H265) {
            return Some(obstacle::h265());
        }
        self.video.problem()
    }
}
