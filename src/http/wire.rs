//! Every message of the WebSocket and the API, as it stands on the wire. Documented in `docs/api.md`.
//!
//! Owns: names and shapes. Times are in ms; those named `…_ms` without a unit of age are on the box
//! clock, which is monotonic and has an arbitrary zero.

use std::time::Instant;

use serde::{Deserialize, Serialize};

use super::Handles;
use crate::hub::{StreamStatus, TrackStatus};
use crate::media;
use crate::problems;
use crate::tally;

/// What the page may say.
#[derive(Debug, Deserialize, PartialEq)]
#[serde(tag = "type", rename_all = "lowercase", deny_unknown_fields)]
pub(super) enum FromPage {
    /// Asks for the box clock.
    Ping { id: u32 },
    /// Asks for the arrival times of a stream's frames, and for the edge of the session that plays it.
    Watch {
        stream: String,
        #[serde(default)]
        session: Option<String>,
    },
    /// How late the picture of the watched session is, from its arrival at the box to the screen.
    Delay { ms: u32 },
}

/// A page that sleeps or a clock that jumps is no delay.
const LONGEST_DELAY_MS: u32 = 60_000;

/// More than any name of a session has.
const MOST_SESSION_BYTES: usize = 64;

impl FromPage {
    /// Whether what it says is within what there can be.
    pub(super) fn is_within_bounds(&self) -> bool {
        match self {
            Self::Ping { .. } => true,
            Self::Watch { session, .. } => session.as_deref().is_none_or(is_session_name),
            Self::Delay { ms } => *ms <= LONGEST_DELAY_MS,
        }
    }
}

fn is_session_name(name: &str) -> bool {
    (1..=MOST_SESSION_BYTES).contains(&name.len()) && name.bytes().all(|byte| byte.is_ascii_alphanumeric())
}

/// What the box says.
#[derive(Debug, Serialize)]
#[serde(tag = "type", rename_all = "lowercase")]
pub(super) enum ToPage<'a> {
    Hello { version: &'a str, now_ms: f64, streams: Vec<Stream>, listen: Listen },
    Tally(Tally<'a>),
    Streams { streams: Vec<Stream> },
    Clock { id: u32, received_ms: f64 },
    Media { stream: &'a str, rtp: Vec<(u32, f64)> },
    Edge { session: String, rtp: u32 },
}

impl ToPage<'_> {
    pub(super) fn to_json(&self) -> String {
        serde_json::to_string(self).expect("maps with string keys always serialise")
    }
}

/// A stream as the page needs to know it.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(super) struct Stream {
    name: String,
    live: bool,
    codec: Option<String>,
    width: Option<u32>,
    height: Option<u32>,
    fps: Option<f64>,
    playable: bool,
    sound: Option<Sound>,
    problem: Option<StreamProblem>,
    viewers: usize,
}

/// The sound that a stream's viewers hear.
#[derive(Clone, Debug, PartialEq, Serialize)]
struct Sound {
    codec: String,
    channels: Option<u8>,
    sample_rate_hz: Option<u32>,
}

impl From<&TrackStatus> for Sound {
    fn from(status: &TrackStatus) -> Self {
        Self {
            codec: status.track.codec.to_string(),
            channels: status.description.channels,
            sample_rate_hz: status.description.sample_rate,
        }
    }
}

impl Stream {
    /// Live, but not for long enough to be fully described.
    pub(super) fn is_unmeasured(&self) -> bool {
        let is_sound_unknown = self.sound.as_ref().is_some_and(|sound| sound.channels.is_none());
        self.live && (self.width.is_none() || self.fps.is_none() || is_sound_unknown)
    }
}

#[derive(Clone, Debug, PartialEq, Serialize)]
pub(super) struct StreamProblem {
    code: &'static str,
    text: String,
}

impl From<&StreamStatus> for Stream {
    fn from(status: &StreamStatus) -> Self {
        let video = status.tracks.iter().find(|track| track.track.codec.is_video());
        let described = video.map(|track| &track.description);
        let live = status.source.is_some();
        Self {
            name: status.name.short(),
            live,
            codec: video.map(|track| track.track.codec.to_string()),
            width: described.and_then(|d| d.width),
            height: described.and_then(|d| d.height),
            fps: described.and_then(|d| d.fps).map(|fps| (fps * 100.0).round() / 100.0),
            sound: media::heard(&status.tracks, |track| track.track.codec).map(Sound::from),
            playable: live && video.is_some() && status.problem.is_none(),
            problem: status.problem.clone().map(|p| StreamProblem { code: p.code, text: p.text }),
            viewers: status.viewers,
        }
    }
}

/// Where the box listens, in words to type into vMix.
#[derive(Debug, PartialEq, Serialize)]
pub(super) struct Listen {
    srt: Vec<SrtAddress>,
    latency_ms: u32,
    page: Vec<String>,
}

#[derive(Debug, PartialEq, Serialize)]
struct SrtAddress {
    url: String,
    stream_id: String,
}

impl Listen {
    /// `stream` is the stream ID to recommend.
    pub(super) fn new(handles: &Handles, stream: &str) -> Self {
        let about = handles.about.borrow();
        let srt = (handles.reachable)(about.srt).into_iter();
        let page = (handles.reachable)(about.http).into_iter();
        Self {
            srt: srt.map(|at| SrtAddress { url: format!("srt://{at}"), stream_id: stream.to_owned() }).collect(),
            latency_ms: about.srt_latency_ms,
            page: page.map(|at| format!("http://{at}/")).collect(),
        }
    }
}

/// The merged tally.
#[derive(Debug, Serialize)]
pub(super) struct Tally<'a> {
    seq: u64,
    source: &'static str,
    age_ms: Option<u64>,
    inputs: Vec<Input<'a>>,
    cameras: Vec<Camera<'a>>,
    show: Show,
}

#[derive(Debug, Serialize)]
struct Input<'a> {
    number: u32,
    key: &'a str,
    title: &'a str,
    kind: &'a str,
    tally: &'static str,
}

#[derive(Debug, Serialize)]
struct Camera<'a> {
    name: &'a str,
    inputs: &'a [u32],
    tally: &'static str,
}

#[derive(Debug, Serialize)]
struct Show {
    streaming: bool,
    recording: bool,
    external: bool,
    fade_to_black: bool,
}

impl<'a> Tally<'a> {
    pub(super) fn new(snapshot: &'a tally::Snapshot, now: Instant) -> Self {
        let heard = |at: Instant| u64::try_from(now.saturating_duration_since(at).as_millis()).unwrap_or(u64::MAX);
        Self {
            seq: snapshot.seq,
            source: match snapshot.source {
                tally::Source::Live => "live",
                tally::Source::Unknown => "unknown",
            },
            age_ms: snapshot.heard.map(heard),
            inputs: snapshot.inputs.iter().map(Input::new).collect(),
            cameras: snapshot.cameras.iter().map(Camera::new).collect(),
            show: Show {
                streaming: snapshot.show.streaming,
                recording: snapshot.show.recording,
                external: snapshot.show.external,
                fade_to_black: snapshot.show.fade_to_black,
            },
        }
    }
}

impl<'a> Input<'a> {
    fn new(input: &'a tally::Input) -> Self {
        let tally = word(input.tally);
        Self { number: input.number, key: &input.key, title: &input.title, kind: &input.kind, tally }
    }
}

impl<'a> Camera<'a> {
    fn new(camera: &'a tally::Camera) -> Self {
        Self { name: &camera.name, inputs: &camera.inputs, tally: word(camera.tally) }
    }
}

fn word(tally: tally::Tally) -> &'static str {
    match tally {
        tally::Tally::Program => "program",
        tally::Tally::Preview => "preview",
        tally::Tally::Safe => "safe",
        tally::Tally::Unknown => "unknown",
    }
}

/// A track in the status API.
#[derive(Debug, Serialize)]
pub(super) struct TrackReport {
    id: u16,
    codec: String,
    profile: Option<String>,
    width: Option<u32>,
    height: Option<u32>,
    fps: Option<f64>,
    bitrate_bps: Option<u64>,
    gop_frames: Option<u32>,
    has_b_frames: bool,
    sample_rate_hz: Option<u32>,
    channels: Option<u8>,
}

impl From<&TrackStatus> for TrackReport {
    fn from(status: &TrackStatus) -> Self {
        let described = &status.description;
        Self {
            id: status.track.id.0,
            codec: status.track.codec.to_string(),
            profile: described.profile.clone(),
            width: described.width,
            height: described.height,
            fps: described.fps,
            bitrate_bps: described.bitrate_bps,
            gop_frames: described.gop_frames,
            has_b_frames: described.has_b_frames,
            sample_rate_hz: described.sample_rate,
            channels: described.channels,
        }
    }
}

/// A problem in the status API.
#[derive(Debug, Serialize)]
pub(super) struct ProblemReport {
    code: &'static str,
    subject: String,
    text: String,
}

impl From<problems::Problem> for ProblemReport {
    fn from(problem: problems::Problem) -> Self {
        Self { code: problem.code, subject: problem.subject, text: problem.text }
    }
}
