//! Streams by name: where every source and every reader meet.
//!
//! Owns: who publishes a stream, who watches it, its current GOP, its derived renditions, and the
//! events of all that. Does not own: any protocol, any socket,
//! how a rendition is made. Flows from the ingest
//! rooms ([`Hub::publish`]) to the egress rooms ([`Hub::join`], then [`Viewer::subscribe`]).
//!
//! The picture for browsers is made where the source hands it over, the sound on a thread of its own.
//!
//! A stream outlives its sources: viewers stay while one encoder goes and the next one comes.
//! A slow reader never holds up a source: its queue drops, and it goes on at the next point where
//! decoding can start.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use tokio::sync::broadcast;

use crate::access::{Access, Action, Asker, Refusal, Request};
use crate::clock::Clock;
use crate::codec::Description;
use crate::media::{MediaItem, StreamName, Track, Transform, TransformProblem};
use crate::problems::{Problem, Problems};

mod gop;
mod queue;
mod sound;
mod stream;
mod takeover;

pub use queue::{Delivery, Subscription};
use stream::Stream;

/// A source that has sent nothing for this long may be replaced by another address.
pub const SILENT_AFTER: Duration = Duration::from_secs(2);

/// Events a reader of [`Hub::events`] may fall behind before it misses some.
const EVENTS_KEPT: usize = 1024;

/// Makes the transform of a rendition, when somebody first wants it and for every new source.
pub type Make = Arc<dyn Fn() -> Box<dyn Transform> + Send + Sync>;

/// How the derived renditions come about.
#[derive(Clone)]
pub struct Renditions {
    /// For [`Rendition::Picture`]; runs while the source hands an item over, so it must be quick.
    pub picture: Make,
    /// For [`Rendition::Sound`]; runs on a thread of its own.
    pub sound: Make,
    /// Why no browser could show a programme of such tracks: known before anybody wants it.
    pub obstacle: fn(&[&Description]) -> Option<TransformProblem>,
}

impl Renditions {
    /// Renditions made by these functions; nothing is known to be in their way beforehand.
    pub fn new(
        picture: impl Fn() -> Box<dyn Transform> + Send + Sync + 'static,
        sound: impl Fn() -> Box<dyn Transform> + Send + Sync + 'static,
    ) -> Self {
        Self { picture: Arc::new(picture), sound: Arc::new(sound), obstacle: |_| None }
    }
}

/// The streams of the box. Cheap to clone; every clone is the same hub.
#[derive(Clone)]
pub struct Hub(Arc<Inner>);

struct Inner {
    clock: Clock,
    access: Access,
    problems: Problems,
    renditions: Renditions,
    streams: Mutex<BTreeMap<StreamName, Arc<Mutex<Stream>>>>,
    events: broadcast::Sender<Event>,
}

/// A wish to send a stream to the box.
#[derive(Clone, Debug)]
pub struct PublishRequest {
    /// The stream to feed.
    pub stream: StreamName,
    /// Where the source sends from.
    pub from: SocketAddr,
    /// The secret it presented, if any.
    pub secret: Option<String>,
    /// Whether the box called it, as its settings say: nobody asks for anything then.
    pub called: bool,
    /// The protocol it came by, for people: `SRT`.
    pub protocol: &'static str,
}

/// A wish to watch a stream.
#[derive(Clone, Debug)]
pub struct JoinRequest {
    /// The stream to watch.
    pub stream: StreamName,
    /// The session's name in events and logs.
    pub session: String,
    /// Who asks.
    pub by: Asker,
}

/// Why a source may not publish.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PublishError {
    /// The gate said no.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// Somebody else is sending this stream.
    #[error("stream {stream:?} is already being sent from {by}; stop that sender, or give this one another stream ID")]
    Busy {
        /// The stream's short name.
        stream: String,
        /// The address of the source that has it.
        by: SocketAddr,
    },
}

/// Another source has taken the stream over; this one is to stop.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("another source has taken the stream over")]
pub struct Superseded;

/// Which form of a stream a reader wants.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rendition {
    /// What was sent.
    Original,
    /// The picture as browsers can show it at once.
    Picture,
    /// The sound as browsers can hear it: one Opus track, or none.
    Sound,
}

/// What happened in the hub.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// A source began to send.
    Started {
        /// The stream it feeds.
        stream: StreamName,
        /// Its address.
        from: SocketAddr,
    },
    /// A source stopped, and no other took over.
    Stopped {
        /// The stream it fed.
        stream: StreamName,
    },
    /// What a stream is changed: its tracks, or whether browsers can show it.
    Changed {
        /// The stream.
        stream: StreamName,
    },
    /// A viewer came.
    Joined {
        /// The stream it watches.
        stream: StreamName,
        /// Its session.
        session: String,
        /// Its address.
        from: Option<IpAddr>,
    },
    /// A viewer went.
    Left {
        /// The stream it watched.
        stream: StreamName,
        /// Its session.
        session: String,
    },
}

/// How well a source's packets arrive, as its protocol counts them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TransportStats {
    /// Round-trip time.
    pub rtt: Duration,
    /// The latency both ends agreed on.
    pub negotiated_latency: Duration,
    /// Packets received since the start.
    pub received_packets: u64,
    /// Bytes received since the start.
    pub received_bytes: u64,
    /// Packets found missing, whether or not they came later.
    pub lost_packets: u64,
    /// Packets that never came in time.
    pub dropped_packets: u64,
    /// Packets that came again on request.
    pub retransmitted_packets: u64,
    /// Gaps that made later packets wait, whether they were filled or given up.
    pub gaps: u64,
    /// How long a gap held up the first packet behind it: the mean.
    pub gap_wait_mean: Duration,
    /// The median of the latest 256 gaps.
    pub gap_wait_p50: Duration,
    /// The 99th percentile of the latest 256 gaps.
    pub gap_wait_p99: Duration,
    /// The longest.
    pub gap_wait_longest: Duration,
    /// Whether the link is encrypted.
    pub encrypted: bool,
}

/// A stream as it stands, for people and programs.
#[derive(Clone, Debug)]
pub struct StreamStatus {
    /// Its name.
    pub name: StreamName,
    /// Its source, while it is live.
    pub source: Option<SourceStatus>,
    /// The tracks of the source.
    pub tracks: Vec<TrackStatus>,
    /// Why browsers cannot show it, if they cannot.
    pub problem: Option<TransformProblem>,
    /// Viewers right now.
    pub viewers: usize,
    /// Access units of video received since the source began.
    pub video_units: u64,
    /// Access units that readers were too slow for, since the stream was first asked for; those
    /// of readers that left included.
    pub dropped_units: u64,
    /// Access units of sound that were broken, since the source began or somebody began to listen.
    pub lost_sound_units: u64,
}

/// The source of a live stream.
#[derive(Clone, Debug)]
pub struct SourceStatus {
    /// Its address.
    pub from: SocketAddr,
    /// The protocol it came by.
    pub protocol: &'static str,
    /// When it began.
    pub started: Instant,
    /// When its last access unit came.
    pub last_item: Instant,
    /// How well its packets arrive, once known.
    pub transport: Option<TransportStats>,
}

/// A track of a live stream.
#[derive(Clone, Debug)]
pub struct TrackStatus {
    /// The track.
    pub track: Track,
    /// What its access units say of themselves.
    pub description: Description,
}

impl Hub {
    /// A hub without streams.
    pub fn new(clock: Clock, access: Access, problems: Problems, renditions: Renditions) -> Self {
        let (events, _) = broadcast::channel(EVENTS_KEPT);
        Self(Arc::new(Inner { clock, access, problems, renditions, streams: Mutex::default(), events }))
    }

    /// Begins to feed a stream.
    ///
    /// A live stream is taken over at once by a source at the same IP address (an encoder that
    /// restarts), by any other only once the present one has been silent for [`SILENT_AFTER`].
    /// Sources at one address that keep taking it from each other while both send are told to the
    /// board, and the newcomer is refused.
    ///
    /// # Errors
    /// When the gate refuses, or another source is sending.
    pub fn publish(&self, request: PublishRequest) -> Result<Publisher, PublishError> {
        if !request.called {
            let by = Asker { from: Some(request.from.ip()), secret: request.secret.clone(), ..Asker::default() };
            self.0.access.admit(&Request { action: Action::Publish(request.stream.clone()), by: &by })?;
        }
        let now = self.0.clock.now();
        let state = self.with_stream(&request.stream, |stream| {
            let started = stream.start(&request, now);
            self.settle(&request.stream, stream);
            started
        })?;
        tracing::info!(stream = %request.stream, peer = %request.from, protocol = request.protocol, "source started");
        self.emit(Event::Started { stream: request.stream.clone(), from: request.from });
        let (stream, source) = state;
        Ok(Publisher { hub: self.clone(), name: request.stream, stream, source })
    }

    /// Lets a viewer in, whether or not the stream is live.
    ///
    /// # Errors
    /// When the gate refuses.
    pub fn join(&self, request: JoinRequest) -> Result<Viewer, Refusal> {
        let action = Action::Subscribe(request.stream.clone());
        self.0.access.admit(&Request { action, by: &request.by })?;
        let JoinRequest { stream: name, session, by } = request;
        let Ok((stream, ())) = self.with_stream(&name, |stream| {
            stream.viewers += 1;
            Ok::<_, std::convert::Infallible>(())
        });
        let from = by.from;
        self.emit(Event::Joined { stream: name.clone(), session: session.clone(), from });
        Ok(Viewer { hub: self.clone(), name, session, from, stream })
    }

    /// Whether a source is sending this stream.
    pub fn is_live(&self, name: &StreamName) -> bool {
        self.status(name).is_some_and(|status| status.source.is_some())
    }

    /// One stream as it stands.
    pub fn status(&self, name: &StreamName) -> Option<StreamStatus> {
        let stream = lock(&self.0.streams).get(name).cloned()?;
        Some(lock(&stream).status(name))
    }

    /// Every stream that has a source or a viewer, by name.
    pub fn streams(&self) -> Vec<StreamStatus> {
        let streams: Vec<_> = lock(&self.0.streams).iter().map(|(n, s)| (n.clone(), s.clone())).collect();
        streams.iter().map(|(name, stream)| lock(stream).status(name)).collect()
    }

    /// What happens from now on.
    pub fn events(&self) -> broadcast::Receiver<Event> {
        self.0.events.subscribe()
    }

    fn emit(&self, event: Event) {
        // Nobody listening is no error.
        let _ = self.0.events.send(event);
    }

    /// Finds or makes the stream and changes it, all while it cannot be forgotten.
    fn with_stream<T, E>(
        &self,
        name: &StreamName,
        change: impl FnOnce(&mut Stream) -> Result<T, E>,
    ) -> Result<(Arc<Mutex<Stream>>, T), E> {
        let mut streams = lock(&self.0.streams);
        let new = || Arc::new(Mutex::new(Stream::new(self.0.renditions.clone())));
        let stream = streams.entry(name.clone()).or_insert_with(new).clone();
        let changed = change(&mut lock(&stream));
        if lock(&stream).is_unused() {
            streams.remove(name);
        }
        changed.map(|value| (stream, value))
    }

    /// Tells the board and the listeners what is wrong with a stream, where that has changed.
    /// The stream is locked meanwhile, so that what is told last is what is.
    fn settle(&self, name: &StreamName, stream: &mut Stream) {
        let now = stream.problems(self.0.clock.now());
        if now == stream.settled {
            return;
        }
        let subject = name.short();
        let before = std::mem::replace(&mut stream.settled, now);
        for problem in before.iter().filter(|before| stream.settled.iter().all(|now| now.code != before.code)) {
            self.0.problems.clear(problem.code, &subject);
        }
        for TransformProblem { code, text } in stream.settled.iter().filter(|now| !before.contains(now)).cloned() {
            self.0.problems.raise(Problem { code, subject: subject.clone(), text });
        }
        self.emit(Event::Changed { stream: name.clone() });
    }

    fn forget_unused(&self, name: &StreamName) {
        let mut streams = lock(&self.0.streams);
        if streams.get(name).is_some_and(|stream| lock(stream).is_unused()) {
            streams.remove(name);
        }
    }
}

/// The right to feed a stream, until dropped or superseded.
pub struct Publisher {
    hub: Hub,
    name: StreamName,
    stream: Arc<Mutex<Stream>>,
    source: u64,
}

impl Publisher {
    /// The stream this source feeds.
    pub fn stream(&self) -> &StreamName {
        &self.name
    }

    /// Hands one item to every reader. Never waits.
    ///
    /// # Errors
    /// When another source has taken the stream over.
    pub fn send(&mut self, item: MediaItem) -> Result<(), Superseded> {
        let now = self.hub.0.clock.now();
        let tracks_changed = matches!(item, MediaItem::Tracks(_));
        {
            let mut stream = lock(&self.stream);
            stream.push(self.source, item, now)?;
            self.hub.settle(&self.name, &mut stream);
        }
        if tracks_changed {
            self.hub.emit(Event::Changed { stream: self.name.clone() });
        }
        Ok(())
    }

    /// Puts the transport's own counts into the stream's status.
    pub fn report(&self, stats: TransportStats) {
        lock(&self.stream).report(self.source, stats);
    }
}

impl Drop for Publisher {
    fn drop(&mut self) {
        let ended = {
            let mut stream = lock(&self.stream);
            let ended = stream.stop(self.source);
            self.hub.settle(&self.name, &mut stream);
            ended
        };
        if ended {
            tracing::info!(stream = %self.name, "source stopped");
            self.hub.emit(Event::Stopped { stream: self.name.clone() });
        }
        self.hub.forget_unused(&self.name);
    }
}

/// A viewer that was let in; it leaves when dropped.
pub struct Viewer {
    hub: Hub,
    name: StreamName,
    session: String,
    from: Option<IpAddr>,
    stream: Arc<Mutex<Stream>>,
}

impl Viewer {
    /// The stream it watches.
    pub fn stream(&self) -> &StreamName {
        &self.name
    }

    /// Its session.
    pub fn session(&self) -> &str {
        &self.session
    }

    /// The address it asked from; `None` for the box itself.
    pub fn from(&self) -> Option<IpAddr> {
        self.from
    }

    /// Everything the stream carries from its current GOP on, across sources.
    ///
    /// A fan-out that serves many viewers of one stream subscribes once, with its first viewer;
    /// the subscription may outlive that viewer.
    pub fn subscribe(&self, rendition: Rendition) -> Subscription {
        let (hub, name, stream) = (self.hub.clone(), self.name.clone(), self.stream.clone());
        let on_drop = Box::new(move || {
            hub.settle(&name, &mut lock(&stream));
            hub.forget_unused(&name);
        });
        let mut stream = lock(&self.stream);
        let subscription = stream.subscribe(self.stream.clone(), rendition, on_drop);
        self.hub.settle(&self.name, &mut stream);
        subscription
    }
}

impl Drop for Viewer {
    fn drop(&mut self) {
        lock(&self.stream).viewers -= 1;
        self.hub.emit(Event::Left { stream: self.name.clone(), session: self.session.clone() });
        self.hub.forget_unused(&self.name);
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
}

#[cfg(test)]
mod tests;
