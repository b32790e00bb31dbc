//! ITU-T H.264: NAL unit types, parameter sets, slice headers.

mod pps;
mod rewrite;
mod slice;
mod sps;

pub use pps::Pps;
pub use rewrite::without_reordering;
pub use slice::{PictureOrder, SliceHeader, SliceKind, SliceStart};
pub use sps::{Crop, Hrd, HrdEntry, Restriction, Sps, Timing, VideoSignal, Vui};

/// `nal_unit_type` (H.264 Table 7-1), of those that anything here tells apart.
pub mod nal_type {
    /// A slice of a picture that is no IDR picture.
    pub const SLICE: u8 = 1;
    /// Data partitions A to C.
    pub const PARTITION_A: u8 = 2;
    /// The last of the data partitions.
    pub const PARTITION_C: u8 = 4;
    /// A slice of an IDR picture.
    pub const IDR: u8 = 5;
    /// Supplemental enhancement information.
    pub const SEI: u8 = 6;
    /// Sequence parameter set.
    pub const SPS: u8 = 7;
    /// Picture parameter set.
    pub const PPS: u8 = 8;
    /// Access unit delimiter.
    pub const AUD: u8 = 9;
    /// End of sequence.
    pub const END_OF_SEQUENCE: u8 = 10;
    /// End of stream.
    pub const END_OF_STREAM: u8 = 11;
    /// Filler data.
    pub const FILLER: u8 = 12;
}

/// The `nal_unit_type` of a NAL unit.
pub fn nal_type(nal: &[u8]) -> Option<u8> {
    nal.first().map(|header| header & 0x1f)
}
