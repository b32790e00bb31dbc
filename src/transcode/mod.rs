//! Derived renditions: what only some readers need, made of what was sent.
//!
//! Owns: the browser rendition (H.264 normalised; Opus as it is). Does not own: when it is made
//! and for whom (`hub`), how it is sent (`webrtc`).
//! Flows from and to `hub`, as `media::MediaItem`, through `media::Transform`. Pure.

#[doc(hidden)]
pub mod fuzzing;
pub mod h264;
mod obstacle;

pub use obstacle::obstacle;

use std::sync::Arc;

use crate::media::{Codec, MediaItem, Track, Transform, TransformProblem};

/// The rendition for browsers: the first H.264 track normalised by [`h264::BrowserVideo`], and Opus.
pub fn browser() -> Box<dyn Transform> {
    Box::new(Browser::default())
}

/// Gives each track to what makes its rendition, and leaves out those that have none.
#[derive(Debug, Default)]
struct Browser {
    video: h264::BrowserVideo,
    tracks: Arc<[Track]>,
    sent: Option<Arc<[Track]>>,
}

impl Browser {
    fn retrack(&mut self, tracks: &Arc<[Track]>) -> Option<MediaItem> {
        let video = picture_of(tracks, |track| track.codec);
        if video != picture_of(&self.tracks, |track| track.codec) {
            self.video = h264::BrowserVideo::default();
        }
        self.tracks = tracks.clone();
        // AAC has no rendition that a browser takes until it is made Opus here.
        let derived: Arc<[Track]> = video
            .filter(|track| track.codec == Codec::H264)
            .into_iter()
            .chain(tracks.iter().filter(|track| track.codec == Codec::Opus))
            .cloned()
            .collect();
        if self.sent.as_ref() == Some(&derived) {
            return None;
        }
        self.sent = Some(derived.clone());
        Some(MediaItem::Tracks(derived))
    }
}

/// The track that is the picture: the first that browsers can be given, else the first.
fn picture_of<T>(tracks: &[T], codec: fn(&T) -> Codec) -> Option<&T> {
    let first = |wanted: fn(Codec) -> bool| tracks.iter().find(|track| wanted(codec(track)));
    first(|codec| codec == Codec::H264).or_else(|| first(Codec::is_video))
}

impl Transform for Browser {
    fn push(&mut self, item: &MediaItem) -> Vec<MediaItem> {
        match item {
            MediaItem::Tracks(tracks) => self.retrack(tracks).into_iter().collect(),
            MediaItem::Unit(unit) => {
                let derived = self.sent.iter().flat_map(|tracks| tracks.iter()).any(|track| track.id == unit.track);
                match unit.codec {
                    Codec::H264 if derived => self.video.push(item),
                    Codec::Opus if derived => vec![item.clone()],
                    _ => Vec::new(),
                }
            }
        }
    }

    fn problem(&self) -> Option<TransformProblem> {
        if picture_of(&self.tracks, |track| track.codec).is_some_and(|track| track.codec == Codec::H265) {
            return Some(obstacle::h265());
        }
        self.video.problem()
    }
}

#[cfg(test)]
mod tests;
