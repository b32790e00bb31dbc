//! `GET /api/v1/status`: the state of the whole box in one answer. Documented in `docs/api.md`.

use std::time::{Duration, Instant, SystemTime};

use axum::Json;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use time::OffsetDateTime;

use super::serve::connections;
use super::wire::{ProblemReport, Tally, TrackReport};
use super::{Handles, Https};
use crate::access::{Publishing, Summary};
use crate::hub::{SourceStatus, StreamStatus, TransportStats};
use crate::media::TransformProblem;
use crate::tally::LinkState;
use crate::webrtc::{SessionStatus, Transport};

#[derive(Serialize)]
struct Status<'a> {
    version: &'a str,
    uptime_s: u64,
    streams: Vec<StreamReport>,
    sessions: Vec<SessionReport>,
    vmix: VmixReport,
    tally: Tally<'a>,
    connections: ConnectionsReport,
    memory: MemoryReport,
    https: Option<HttpsReport>,
    problems: Vec<ProblemReport>,
    access: AccessReport,
}

#[derive(Serialize)]
struct HttpsReport {
    port: u16,
    public: Option<PublicReport>,
}

/// The names that a public authority certifies.
#[derive(Serialize)]
struct PublicReport {
    names: Vec<String>,
    valid_until: Option<String>,
}

impl From<&Https> for HttpsReport {
    fn from(https: &Https) -> Self {
        let public = https.public.as_ref().map(|public| PublicReport {
            names: public.names().to_vec(),
            valid_until: public.valid_until().map(rfc3339),
        });
        Self { port: https.port, public }
    }
}

/// `2026-11-21T16:40:00Z` (RFC 3339 §5.6).
fn rfc3339(time: SystemTime) -> String {
    let time = OffsetDateTime::from(time);
    let (year, month, day) = time.to_calendar_date();
    let (hour, minute, second) = time.to_hms();
    format!("{year:04}-{:02}-{day:02}T{hour:02}:{minute:02}:{second:02}Z", u8::from(month))
}

/// Who may do what. No secret is in it.
#[derive(Serialize)]
struct AccessReport {
    viewing: &'static str,
    pin: bool,
    password: bool,
    links: usize,
    locked_out: usize,
    administration: &'static str,
    publishing: &'static str,
    warnings: Vec<&'static str>,
}

impl From<Summary> for AccessReport {
    fn from(summary: Summary) -> Self {
        let Summary { viewing, pin, password, links, locked_out, .. } = summary;
        let readable = summary.for_want_of_https.then_some(
            "the box is administered over plain HTTP: whoever can listen on the network can read the password and the \
             set-up code",
        );
        let open = (summary.publishing == Publishing::OwnNetworks).then_some(
            "whoever is in the box's networks may send a stream: set a passphrase in [srt] and in vMix, or name vMix's \
             address in [access] publish_from",
        );
        Self {
            viewing,
            pin,
            password,
            links,
            locked_out,
            administration: if summary.plain_administration { "plain" } else { "https" },
            publishing: summary.publishing.word(),
            warnings: [readable, open].into_iter().flatten().collect(),
        }
    }
}

pub(super) async fn status(State(handles): State<Handles>) -> Response {
    let now = handles.clock.now();
    let snapshot = handles.tally.borrow().clone();
    let about = handles.about.borrow().clone();
    let age = |instant| now.saturating_duration_since(instant);
    let status = Status {
        version: about.version,
        uptime_s: age(about.started).as_secs(),
        streams: handles.hub.streams().iter().map(|stream| StreamReport::new(stream, age)).collect(),
        sessions: handles.sessions.sessions().into_iter().map(|session| SessionReport::new(session, age)).collect(),
        vmix: VmixReport {
            host: snapshot.link.host.clone(),
            state: link_word(snapshot.link.state),
            version: snapshot.link.version.clone(),
        },
        tally: Tally::new(&snapshot, now),
        connections: ConnectionsReport {
            now: handles.connections.count(),
            most: connections::MOST,
            most_of_one_address: connections::MOST_OF_ONE,
            http_2: handles.connections.count_http_2(),
            most_http_2: connections::MOST_HTTP_2,
        },
        memory: MemoryReport { used_bytes: (handles.memory.used)(), bound_bytes: handles.memory.bound_bytes },
        https: handles.https.as_ref().map(HttpsReport::from),
        problems: handles.problems.list().into_iter().map(ProblemReport::from).collect(),
        access: handles.access.summary().into(),
    };
    Json(status).into_response()
}

#[derive(Serialize)]
struct ConnectionsReport {
    now: usize,
    most: usize,
    most_of_one_address: usize,
    http_2: usize,
    most_http_2: usize,
}

#[derive(Serialize)]
struct MemoryReport {
    used_bytes: Option<u64>,
    bound_bytes: u64,
}

#[derive(Serialize)]
struct StreamReport {
    name: String,
    live: bool,
    source: Option<SourceReport>,
    tracks: Vec<TrackReport>,
    problem: Option<String>,
    viewers: usize,
    video_frames: u64,
    dropped_units: u64,
    lost_sound_units: u64,
}

impl StreamReport {
    fn new(status: &StreamStatus, age: impl Fn(Instant) -> Duration) -> Self {
        Self {
            name: status.name.short(),
            live: status.source.is_some(),
            source: status.source.as_ref().map(|source| SourceReport::new(source, age)),
            tracks: status.tracks.iter().map(TrackReport::from).collect(),
            problem: status.problem.as_ref().map(|TransformProblem { text, .. }| text.clone()),
            viewers: status.viewers,
            video_frames: status.video_units,
            dropped_units: status.dropped_units,
            lost_sound_units: status.lost_sound_units,
        }
    }
}

#[derive(Serialize)]
struct SourceReport {
    address: String,
    protocol: &'static str,
    live_for_s: f64,
    silent_for_s: f64,
    transport: Option<TransportReport>,
}

impl SourceReport {
    fn new(source: &SourceStatus, age: impl Fn(Instant) -> Duration) -> Self {
        Self {
            address: source.from.to_string(),
            protocol: source.protocol,
            live_for_s: age(source.started).as_secs_f64(),
            silent_for_s: age(source.last_item).as_secs_f64(),
            transport: source.transport.as_ref().map(TransportReport::from),
        }
    }
}

#[derive(Serialize)]
struct TransportReport {
    rtt_ms: f64,
    negotiated_latency_ms: u64,
    received_packets: u64,
    received_bytes: u64,
    lost_packets: u64,
    dropped_packets: u64,
    retransmitted_packets: u64,
    gaps: u64,
    gap_wait_mean_ms: f64,
    gap_wait_p50_ms: f64,
    gap_wait_p99_ms: f64,
    gap_wait_max_ms: f64,
    encrypted: bool,
}

impl From<&TransportStats> for TransportReport {
    fn from(stats: &TransportStats) -> Self {
        Self {
            rtt_ms: ms(stats.rtt),
            negotiated_latency_ms: u64::try_from(stats.negotiated_latency.as_millis()).unwrap_or(u64::MAX),
            received_packets: stats.received_packets,
            received_bytes: stats.received_bytes,
            lost_packets: stats.lost_packets,
            dropped_packets: stats.dropped_packets,
            retransmitted_packets: stats.retransmitted_packets,
            gaps: stats.gaps,
            gap_wait_mean_ms: ms(stats.gap_wait_mean),
            gap_wait_p50_ms: ms(stats.gap_wait_p50),
            gap_wait_p99_ms: ms(stats.gap_wait_p99),
            gap_wait_max_ms: ms(stats.gap_wait_longest),
            encrypted: stats.encrypted,
        }
    }
}

#[derive(Serialize)]
struct VmixReport {
    host: Option<String>,
    state: &'static str,
    version: Option<String>,
}

fn link_word(state: LinkState) -> &'static str {
    match state {
        LinkState::Waiting => "waiting",
        LinkState::Connecting => "connecting",
        LinkState::Live => "live",
        LinkState::Lost => "lost",
    }
}

/// A viewer's session. Its name is left out: whoever knows it can end the session.
#[derive(Serialize)]
struct SessionReport {
    stream: String,
    peer: Option<String>,
    transport: Option<&'static str>,
    state: &'static str,
    connected_for_s: Option<f64>,
    packets: u64,
    bytes: u64,
    nacked_packets: u64,
    retransmitted_packets: u64,
    dropped_pictures: u64,
    picture_losses: u64,
    rtt_ms: Option<f64>,
    jitter_ms: Option<f64>,
    delay_ms: Option<f64>,
    loss: f32,
    sound: bool,
    sound_packets: u64,
    sound_bytes: u64,
    sound_loss: f32,
    malformed_datagrams: u64,
}

impl SessionReport {
    fn new(session: SessionStatus, age: impl Fn(Instant) -> Duration) -> Self {
        Self {
            stream: session.stream.short(),
            peer: session.peer.map(|peer| peer.to_string()),
            transport: session.transport.map(|transport| match transport {
                Transport::Udp => "udp",
                Transport::Tcp => "tcp",
            }),
            state: session.state,
            connected_for_s: session.connected.map(|at| age(at).as_secs_f64()),
            packets: session.counts.packets,
            bytes: session.counts.bytes,
            nacked_packets: session.counts.nacked,
            retransmitted_packets: session.counts.retransmitted,
            dropped_pictures: session.counts.dropped_units,
            picture_losses: session.picture_losses,
            rtt_ms: session.round_trip.map(ms),
            jitter_ms: session.jitter.map(ms),
            delay_ms: session.delay.map(ms),
            loss: session.loss,
            sound: session.sound,
            sound_packets: session.sound_counts.packets,
            sound_bytes: session.sound_counts.bytes,
            sound_loss: session.sound_loss,
            malformed_datagrams: session.malformed,
        }
    }
}

fn ms(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1000.0
}
