//! Tally: which input and which camera is on air, next, or neither, as far as it is known.
//!
//! Owns: vMix's TCP lines ([`line`]), its request plan ([`protocol`]), its XML ([`xml`]), the merged
//! state ([`state`]) with the cameras bound to inputs ([`camera`]), all of them pure; and the
//! connection to vMix ([`client`]) and the relay to lights that speak its protocol ([`relay`]), the shells. Does not own: media, lamps, and how tally is written
//! for a browser. Flows to: whoever holds the receiving half of the `watch` channel that the
//! shell publishes [`Snapshot`]s on; a slow reader finds the newest one, never a backlog.
//!
//! The fault that must not happen is a lamp stuck on red: what is not heard for 1.5 s is unknown.

use std::sync::Arc;
use std::time::Instant;

pub mod camera;
pub mod client;
#[doc(hidden)]
pub mod fuzzing;
pub mod line;
pub mod protocol;
pub mod relay;
pub mod state;
pub mod verbatim;
pub mod xml;

pub use camera::{CameraConfig, InputRef};
pub use client::{Host, Pulse, Vmix, VmixConfig, VmixParts};
pub use relay::Relay;

/// What an input or a camera is doing; the order is the strength when several are merged.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Tally {
    /// Not known. Never to be shown as safe.
    #[default]
    Unknown,
    /// Neither on air nor next.
    Safe,
    /// Next.
    Preview,
    /// On air.
    Program,
}

/// Whether a [`Snapshot`] speaks of now.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Source {
    /// The switcher answers; what it said is at most 1.5 s old.
    Live,
    /// The switcher does not answer: every tally is [`Tally::Unknown`].
    #[default]
    Unknown,
}

/// One input of the switcher.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Input {
    /// Its number, from 1; it changes when inputs are moved.
    pub number: u32,
    /// Its GUID, which does not; empty while the input list has not been read.
    pub key: Arc<str>,
    /// Its title; empty while the input list has not been read.
    pub title: Arc<str>,
    /// vMix's input type (`Capture`, `NDI`, `Mix` …); empty while the input list has not been read.
    pub kind: Arc<str>,
    /// What it is doing in mix 1, all overlays counted.
    pub tally: Tally,
}

/// One configured camera.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Camera {
    /// Its configured name.
    pub name: Arc<str>,
    /// The numbers its inputs have now, in the order configured; those not found are left out.
    pub inputs: Vec<u32>,
    /// The strongest of its inputs, in the mixes and overlays that count for it.
    pub tally: Tally,
}

/// What the whole show is doing. All `false` while the source is unknown: nothing is claimed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Show {
    /// vMix is streaming.
    pub streaming: bool,
    /// vMix is recording.
    pub recording: bool,
    /// vMix's external output is on.
    pub external: bool,
    /// The output is faded to black.
    pub fade_to_black: bool,
}

/// How far the connection to the switcher is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum LinkState {
    /// No address is known yet.
    #[default]
    Waiting,
    /// Being tried; not one answer from this address yet.
    Connecting,
    /// Answering.
    Live,
    /// It answered once and does not now; tried again for ever.
    Lost,
}

/// The connection to the switcher.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Link {
    /// The host being talked to or tried, as configured or found.
    pub host: Option<String>,
    /// How far it is.
    pub state: LinkState,
    /// The version the switcher told, once it did.
    pub version: Option<String>,
    /// Since when it is live.
    pub connected_at: Option<Instant>,
}

/// Everything known of tally at one moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Snapshot {
    /// Counts the changes; a snapshot that differs from another only in `heard` has the same number.
    pub seq: u64,
    /// Whether it speaks of now.
    pub source: Source,
    /// When the switcher last told its tally, on the monotonic clock.
    pub heard: Option<Instant>,
    /// The inputs by ascending number.
    pub inputs: Arc<[Input]>,
    /// The cameras in the order configured.
    pub cameras: Arc<[Camera]>,
    /// What the whole show is doing.
    pub show: Show,
    /// The connection it comes from.
    pub link: Link,
}

impl Default for Snapshot {
    fn default() -> Self {
        Self {
            seq: 0,
            source: Source::Unknown,
            heard: None,
            inputs: Arc::from([]),
            cameras: Arc::from([]),
            show: Show::default(),
            link: Link::default(),
        }
    }
}
