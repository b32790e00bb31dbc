//! The vocabulary of media: what every room that carries pictures or sound talks in.
//!
//! Owns: stream names, tracks, timestamps and access units. Does not own: how any of them is
//! carried (`mpegts`, `webrtc`), parsed (`codec`) or handed out (`hub`). Uses no other room.

use std::fmt;
use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;

mod name;

pub use name::{InvalidStreamName, RESERVED_FIRST_SEGMENTS, StreamName};

/// A time in 1/90000 s, the clock of MPEG-TS PTS/DTS (ISO/IEC 13818-1 §2.4.3.6) and of RTP video
/// (RFC 6184 §8.2.1), already unwrapped: it does not start again after 2^33.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp90k(pub i64);

impl Timestamp90k {
    /// Ticks in one second.
    pub const HZ: i64 = 90_000;

    /// The signed distance `self - earlier`, in ticks.
    pub fn ticks_since(self, earlier: Self) -> i64 {
        self.0 - earlier.0
    }
}

/// The codec of a track, as it was sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Codec {
    /// ITU-T H.264, byte stream (Annex B).
    H264,
    /// ITU-T H.265, byte stream (Annex B).
    H265,
    /// AAC in ADTS frames (ISO/IEC 13818-7).
    Aac,
    /// Opus packets (RFC 6716).
    Opus,
}

impl Codec {
    /// Whether the codec carries pictures.
    pub fn is_video(self) -> bool {
        matches!(self, Self::H264 | Self::H265)
    }
}

impl fmt::Display for Codec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::H264 => "H.264",
            Self::H265 => "H.265",
            Self::Aac => "AAC",
            Self::Opus => "Opus",
        })
    }
}

/// Which track of its stream an access unit belongs to. For MPEG-TS this is the PID.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TrackId(pub u16);

/// One elementary stream of a programme.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Track {
    /// Its number within the stream.
    pub id: TrackId,
    /// How its access units are coded.
    pub codec: Codec,
}

/// The track that viewers hear, of these of a source: the first of Opus, else the first of AAC.
pub fn heard<T>(tracks: &[T], codec: fn(&T) -> Codec) -> Option<&T> {
    let first = |wanted| tracks.iter().find(|track| codec(track) == wanted);
    first(Codec::Opus).or_else(|| first(Codec::Aac))
}

/// One picture, or one frame of sound, as it was sent.
#[derive(Clone, PartialEq, Eq)]
pub struct AccessUnit {
    /// The track it belongs to.
    pub track: TrackId,
    /// The codec of that track.
    pub codec: Codec,
    /// When it is to be presented.
    pub pts: Timestamp90k,
    /// When it is to be decoded: equal to `pts` but for streams with B-frames.
    pub dts: Timestamp90k,
    /// Whether decoding can start here (an IDR picture; every frame of sound).
    pub random_access: bool,
    /// Video: Annex B byte stream of one access unit, parameter sets and SEI included.
    /// AAC: one ADTS frame. Opus: one packet.
    pub data: Bytes,
    /// When its last byte reached the box.
    pub arrived: Instant,
}

impl fmt::Debug for AccessUnit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AccessUnit")
            .field("track", &self.track.0)
            .field("codec", &self.codec)
            .field("pts", &self.pts.0)
            .field("dts", &self.dts.0)
            .field("random_access", &self.random_access)
            .field("bytes", &self.data.len())
            .finish()
    }
}

/// What a source sends, in order: its tracks before their units, and again whenever they change.
#[derive(Clone, Debug)]
pub enum MediaItem {
    /// The tracks of the programme from here on.
    Tracks(Arc<[Track]>),
    /// One access unit of one of them.
    Unit(Arc<AccessUnit>),
}

/// Makes a derived rendition of a stream, item by item: what only some readers need.
pub trait Transform: Send {
    /// Takes one item of the source and gives what follows from it, in order.
    fn push(&mut self, item: &MediaItem) -> Vec<MediaItem>;

    /// Why nothing can be derived at the moment, if so.
    fn problem(&self) -> Option<TransformProblem>;

    /// Units so far that nothing could be made of, since they were broken.
    fn lost_units(&self) -> u64 {
        0
    }
}

/// Why a rendition cannot be made, in words for the person who set up the sender.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TransformProblem {
    /// A stable word for programs and translations: `b_frames`.
    pub code: &'static str,
    /// What is wrong and what to do.
    pub text: String,
}
