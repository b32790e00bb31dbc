//! The sound for browsers: one Opus track.
//!
//! AAC goes [`decode`] → [`mix`] (to stereo) → [`resample`] (to 48 kHz) → [`packets`] (to Opus);
//! [`aac`] keeps it all on the source's timeline.

use std::sync::Arc;

use crate::media::{Codec, MediaItem, Track, Transform, TransformProblem, heard};

mod aac;
mod decode;
mod mix;
mod packets;
mod resample;

pub use aac::AacToOpus;

/// Samples per second of what browsers hear, of each channel.
const RATE: u32 = 48_000;

/// How sound is coded for browsers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SoundConfig {
    /// Bit rate of the Opus track, in bits per second.
    pub bitrate_bps: u32,
}

/// The sound for browsers, of the track that is [`heard`]: Opus as it is, AAC made Opus.
///
/// Its units have PTS on the source's timeline, and the arrival of the last byte they needed.
pub fn sound(config: SoundConfig) -> Box<dyn Transform> {
    Box::new(Sound { config, source: None, sent: None, aac: None })
}

struct Sound {
    config: SoundConfig,
    source: Option<Track>,
    sent: Option<Arc<[Track]>>,
    aac: Option<AacToOpus>,
}

impl Sound {
    fn retrack(&mut self, tracks: &[Track]) -> Option<MediaItem> {
        let source = heard(tracks, |track| track.codec);
        if source != self.source.as_ref() {
            self.source = source.cloned();
            self.aac = None;
        }
        let derived: Arc<[Track]> =
            source.map(|track| Track { id: track.id, codec: Codec::Opus }).into_iter().collect();
        if self.sent.as_ref() == Some(&derived) {
            return None;
        }
        self.sent = Some(derived.clone());
        Some(MediaItem::Tracks(derived))
    }
}

impl Transform for Sound {
    fn push(&mut self, item: &MediaItem) -> Vec<MediaItem> {
        let unit = match item {
            MediaItem::Tracks(tracks) => return self.retrack(tracks).into_iter().collect(),
            MediaItem::Unit(unit) => unit,
        };
        match &self.source {
            Some(source) if source.id == unit.track && source.codec == unit.codec => match unit.codec {
                Codec::Opus => vec![item.clone()],
                Codec::Aac => {
                    let made = self.aac.get_or_insert_with(|| AacToOpus::new(self.config)).push(unit);
                    made.into_iter().map(|unit| MediaItem::Unit(Arc::new(unit))).collect()
                }
                Codec::H264 | Codec::H265 => Vec::new(),
            },
            _ => Vec::new(),
        }
    }

    fn problem(&self) -> Option<TransformProblem> {
        self.aac.as_ref().and_then(AacToOpus::problem)
    }

    fn lost_units(&self) -> u64 {
        self.aac.as_ref().map_or(0, AacToOpus::lost_frames)
    }
}

#[cfg(test)]
mod tests;
