//! Bit streams: what the bytes of H.264, H.265, AAC and Opus say about themselves.
//!
//! Owns: reading parameter sets, slice and frame headers; telling where a picture ends; rewriting
//! an H.264 SPS; describing a track for people. Does not own: how units travel (`mpegts`,
//! `webrtc`), which rendition is made of them (`transcode`). Decodes nothing.
//! Flows to: `mpegts` (unit boundaries), `transcode` (normalising), `hub` (descriptions).
//! Pure: no clock, no I/O; every function takes hostile bytes.

/// Bytes of a parameter set, at most: far more than any that describes a picture needs.
pub const LONGEST_PARAMETER_SET: usize = 4096;

pub mod aac;
pub mod annexb;
pub mod bits;
mod describe;
#[doc(hidden)]
pub mod fuzzing;
pub mod h264;
pub mod h265;
pub mod opus;
mod pictures;
mod reordering;

pub use describe::{Describer, Description};
pub use pictures::{PictureScanner, Place};
pub use reordering::Reordering;
