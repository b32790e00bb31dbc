//! One stream: its source, its renditions and their readers.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Instant;

use super::gop::Gop;
use super::queue::{Delivery, Queue, Subscription};
use super::takeover::Takeovers;
use super::{
    BrowserRendition, PublishError, PublishRequest, Rendition, SILENT_AFTER, SourceStatus, StreamStatus, Superseded,
    TrackStatus, TransportStats,
};
use crate::codec::Describer;
use crate::media::{AccessUnit, MediaItem, StreamName, Track, TrackId, Transform, TransformProblem};

pub(super) struct Stream {
    pub(super) viewers: usize,
    /// What the board was told of this stream.
    pub(super) settled: Vec<TransformProblem>,
    takeovers: Takeovers,
    source: Option<Source>,
    sources_seen: u64,
    original: Outlet,
    rendition: BrowserRendition,
    browser: Option<Derived>,
    /// Of readers that left.
    dropped_units: u64,
}

struct Source {
    id: u64,
    from: SocketAddr,
    protocol: &'static str,
    started: Instant,
    last_item: Option<Instant>,
    video_units: u64,
    transport: Option<TransportStats>,
    describers: BTreeMap<TrackId, Describer>,
}

/// What one rendition has to give to its readers.
#[derive(Default)]
struct Outlet {
    tracks: Option<Arc<[Track]>>,
    gop: Gop,
    queues: Vec<Arc<Queue>>,
}

/// A rendition made from the original, kept only while somebody reads it.
struct Derived {
    transform: Box<dyn Transform>,
    outlet: Outlet,
}

impl Stream {
    pub(super) fn new(rendition: BrowserRendition) -> Self {
        Self {
            viewers: 0,
            settled: Vec::new(),
            takeovers: Takeovers::default(),
            source: None,
            sources_seen: 0,
            original: Outlet::default(),
            rendition,
            browser: None,
            dropped_units: 0,
        }
    }

    /// Makes `request` the stream's source and gives its number.
    pub(super) fn start(&mut self, request: &PublishRequest, now: Instant) -> Result<u64, PublishError> {
        if let Some(source) = &self.source {
            let silent = now.saturating_duration_since(source.last_sign()) >= SILENT_AFTER;
            let (stream, by) = (request.stream.short(), source.from);
            let allowed = silent
                || by.ip() == request.from.ip()
                    && self.takeovers.allow((by, source.last_item), request.from, &stream, now);
            if !allowed {
                return Err(PublishError::Busy { stream, by });
            }
            self.end_source();
        }
        self.sources_seen += 1;
        self.source = Some(Source {
            id: self.sources_seen,
            from: request.from,
            protocol: request.protocol,
            started: now,
            last_item: None,
            video_units: 0,
            transport: None,
            describers: BTreeMap::new(),
        });
        self.for_each_outlet(|outlet| outlet.deliver(Delivery::SourceStarted));
        Ok(self.sources_seen)
    }

    pub(super) fn push(&mut self, source: u64, item: MediaItem, now: Instant) -> Result<(), Superseded> {
        let current = self.source.as_mut().filter(|current| current.id == source).ok_or(Superseded)?;
        current.last_item = Some(now);
        current.watch(&item);
        if let Some(derived) = &mut self.browser {
            derived.push(&item);
        }
        self.original.push(item);
        Ok(())
    }

    pub(super) fn report(&mut self, source: u64, stats: TransportStats) {
        if let Some(current) = self.source.as_mut().filter(|current| current.id == source) {
            current.transport = Some(stats);
        }
    }

    /// Ends the source, if it still is the stream's; says whether it was.
    pub(super) fn stop(&mut self, source: u64) -> bool {
        let is_current = self.source.as_ref().is_some_and(|current| current.id == source);
        if is_current {
            self.end_source();
            self.takeovers = Takeovers::default();
        }
        is_current
    }

    fn end_source(&mut self) {
        self.source = None;
        if let Some(derived) = &mut self.browser {
            derived.transform = (self.rendition.make)();
        }
        self.for_each_outlet(|outlet| {
            outlet.tracks = None;
            outlet.gop.clear();
            outlet.deliver(Delivery::SourceEnded);
        });
    }

    pub(super) fn subscribe(
        &mut self,
        this: Arc<Mutex<Self>>,
        rendition: Rendition,
        on_drop: Box<dyn Fn() + Send + Sync>,
    ) -> Subscription {
        let outlet = match rendition {
            Rendition::Original => &mut self.original,
            Rendition::Browser => {
                &mut self.browser.get_or_insert_with(|| Derived::new(self.rendition.make, &self.original)).outlet
            }
        };
        let queue = Arc::new(Queue::default());
        if self.source.is_some() {
            queue.push(Delivery::SourceStarted);
            outlet.tracks.iter().for_each(|tracks| queue.push(Delivery::Tracks(tracks.clone())));
            outlet.gop.units().iter().for_each(|unit| queue.push(Delivery::Unit(unit.clone())));
        }
        outlet.queues.push(queue.clone());
        Subscription::new(queue, this, rendition, on_drop)
    }

    pub(super) fn unsubscribe(&mut self, rendition: Rendition, queue: &Arc<Queue>) {
        self.dropped_units += queue.dropped_units();
        let Some(outlet) = self.outlet(rendition) else { return };
        outlet.queues.retain(|other| !Arc::ptr_eq(other, queue));
        if self.browser.as_ref().is_some_and(|derived| derived.outlet.queues.is_empty()) {
            self.browser = None;
        }
    }

    pub(super) fn gop(&mut self, rendition: Rendition) -> Vec<Arc<AccessUnit>> {
        self.outlet(rendition).map(|outlet| outlet.gop.units().to_vec()).unwrap_or_default()
    }

    /// Everything that is wrong.
    pub(super) fn problems(&self, now: Instant) -> Vec<TransformProblem> {
        self.problem().into_iter().chain(self.takeovers.problem(now).cloned()).collect()
    }

    /// Why browsers cannot show it. What is made for them knows best, once something was made.
    fn problem(&self) -> Option<TransformProblem> {
        if let Some(derived) = &self.browser {
            let problem = derived.transform.problem();
            if problem.is_some() || !derived.outlet.gop.units().is_empty() {
                return problem;
            }
        }
        let describers = &self.source.as_ref()?.describers;
        let tracks = self.original.tracks.iter().flat_map(|tracks| tracks.iter());
        let known: Vec<_> = tracks.filter_map(|track| describers.get(&track.id)).map(Describer::known).collect();
        (self.rendition.obstacle)(&known)
    }

    pub(super) fn is_unused(&self) -> bool {
        self.source.is_none() && self.viewers == 0 && self.browser.is_none() && self.original.queues.is_empty()
    }

    pub(super) fn status(&self, name: &StreamName) -> StreamStatus {
        StreamStatus {
            name: name.clone(),
            source: self.source.as_ref().map(|source| SourceStatus {
                from: source.from,
                protocol: source.protocol,
                started: source.started,
                last_item: source.last_sign(),
                transport: source.transport.clone(),
            }),
            tracks: self.source.as_ref().map(|source| self.original.track_statuses(source)).unwrap_or_default(),
            problem: self.problem(),
            viewers: self.viewers,
            video_units: self.source.as_ref().map_or(0, |source| source.video_units),
            dropped_units: self.dropped_units
                + self.outlets().flat_map(|outlet| &outlet.queues).map(|queue| queue.dropped_units()).sum::<u64>(),
        }
    }

    fn outlet(&mut self, rendition: Rendition) -> Option<&mut Outlet> {
        match rendition {
            Rendition::Original => Some(&mut self.original),
            Rendition::Browser => self.browser.as_mut().map(|derived| &mut derived.outlet),
        }
    }

    fn outlets(&self) -> impl Iterator<Item = &Outlet> {
        std::iter::once(&self.original).chain(self.browser.iter().map(|derived| &derived.outlet))
    }

    fn for_each_outlet(&mut self, mut change: impl FnMut(&mut Outlet)) {
        change(&mut self.original);
        self.browser.iter_mut().for_each(|derived| change(&mut derived.outlet));
    }
}

impl Source {
    /// When it last showed that it is there.
    fn last_sign(&self) -> Instant {
        self.last_item.unwrap_or(self.started)
    }

    fn watch(&mut self, item: &MediaItem) {
        match item {
            MediaItem::Tracks(tracks) => {
                self.describers = tracks.iter().map(|track| (track.id, Describer::new(track.codec))).collect();
            }
            MediaItem::Unit(unit) => {
                self.video_units += u64::from(unit.codec.is_video());
                self.describers.entry(unit.track).or_insert_with(|| Describer::new(unit.codec)).push(unit);
            }
        }
    }
}

impl Outlet {
    fn push(&mut self, item: MediaItem) {
        match &item {
            MediaItem::Tracks(tracks) => {
                self.tracks = Some(tracks.clone());
                self.gop.clear();
            }
            MediaItem::Unit(unit) => self.gop.push(unit),
        }
        self.deliver(item.into());
    }

    fn track_statuses(&self, source: &Source) -> Vec<TrackStatus> {
        let tracks = self.tracks.iter().flat_map(|tracks| tracks.iter());
        let status = |track: &Track| {
            let description = source.describers.get(&track.id)?.describe();
            Some(TrackStatus { track: track.clone(), description })
        };
        tracks.filter_map(status).collect()
    }

    fn deliver(&self, delivery: Delivery) {
        self.queues.iter().for_each(|queue| queue.push(delivery.clone()));
    }
}

impl Derived {
    /// Starts from what the original has cached, so that the first reader need not wait for a keyframe.
    fn new(make: fn() -> Box<dyn Transform>, original: &Outlet) -> Self {
        let mut derived = Self { transform: make(), outlet: Outlet::default() };
        original.tracks.iter().for_each(|tracks| derived.push(&MediaItem::Tracks(tracks.clone())));
        original.gop.units().iter().for_each(|unit| derived.push(&MediaItem::Unit(unit.clone())));
        derived
    }

    fn push(&mut self, item: &MediaItem) {
        for item in self.transform.push(item) {
            self.outlet.push(item);
        }
    }
}
