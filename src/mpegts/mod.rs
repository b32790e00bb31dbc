//! MPEG transport stream: bytes in any pieces become tracks and access units.
//!
//! Owns: packets, synchronisation, continuity, PAT and PMT, PES, and cutting elementary streams
//! into access units. Does not own: where bytes come from (`srt`), what is inside a unit
//! (`codec`, asked only for where units begin), who reads them (`hub`).
//! Flows to: `hub`, as `media::MediaItem`.
//! Pure: `push(now, bytes)` and `flushed` where a datagram says so, then `poll`. Normative: ISO/IEC 13818-1 (ITU-T H.222.0).
//!
//! A unit comes out exactly as it was sent or not at all: whatever was damaged on the way is
//! left out and counted. PCR is not needed; it is only looked at to count its faults.

mod audio;
mod demuxer;
#[doc(hidden)]
pub mod fuzzing;
mod packet;
mod pes;
mod program;
mod section;
mod sync;
mod timeline;
mod video;

pub use demuxer::Demuxer;

use crate::media::TrackId;

/// Largest access unit that is taken, in bytes.
pub const LARGEST_UNIT: usize = 8 << 20;

/// What was counted since the beginning.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    /// Transport packets read.
    pub packets: u64,
    /// Times that packet boundaries were lost.
    pub sync_losses: u64,
    /// Bytes passed over while looking for packet boundaries.
    pub skipped_bytes: u64,
    /// Packets with `transport_error_indicator`, or a header that cannot be.
    pub transport_errors: u64,
    /// Gaps in a continuity counter that no `discontinuity_indicator` announced.
    pub continuity_errors: u64,
    /// Packets sent twice.
    pub duplicate_packets: u64,
    /// Access units, or parts of them, left out because something of them was missing or wrong.
    pub discarded_units: u64,
    /// Units left out because they were larger than [`LARGEST_UNIT`].
    pub oversized_units: u64,
    /// Sections with a wrong CRC or an impossible length.
    pub damaged_sections: u64,
    /// Scrambled packets of tracks.
    pub scrambled_packets: u64,
    /// Steps of the programme clock reference that are none of a clock.
    pub pcr_faults: u64,
    /// Jumps of timestamps.
    pub timestamp_jumps: u64,
    /// Units delivered.
    pub units: u64,
    /// PES packets of unknown length whose end was recognised before the next began.
    pub early_ends: u64,
    /// Times that such an end, or the end of a PES packet, turned out not to be a picture's.
    pub early_end_mistakes: u64,
}

/// What changed, for the log and for whoever set up the sender.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// From here on this programme's tracks are delivered.
    ProgramChosen {
        /// `program_number`.
        program: u16,
        /// How many programmes the stream has.
        of: usize,
    },
    /// The chosen programme is no longer there.
    ProgramGone {
        /// `program_number`.
        program: u16,
    },
    /// A stream of the programme is not delivered.
    Unsupported {
        /// Its PID.
        pid: u16,
        /// `stream_type` (H.222.0 Table 2-34).
        stream_type: u8,
        /// What it is and what to send instead.
        text: String,
    },
    /// Packet boundaries were lost.
    SyncLost,
    /// A track is scrambled and cannot be read.
    Scrambled {
        /// The track.
        track: TrackId,
    },
    /// Timestamps jumped, as when a source begins anew.
    TimestampJump {
        /// The track.
        track: TrackId,
        /// By how much, in 1/90000 s.
        ticks: i64,
    },
    /// A unit was larger than [`LARGEST_UNIT`].
    Oversized {
        /// The track.
        track: TrackId,
    },
}
