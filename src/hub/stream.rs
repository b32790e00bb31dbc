//! One stream: its source, its renditions and their readers.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Instant;

use super::gop::Gop;
use super::queue::{Delivery, Queue, Subscription};
use super::{
    PublishError, PublishRequest, Rendition, SILENT_AFTER, SourceStatus, StreamStatus, Superseded, TrackStatus,
    TransformFactory, TransportStats,
};
use crate::media::{AccessUnit, MediaItem, StreamName, Track, Transform, TransformProblem};

#[derive(Default)]
pub(super) struct Stream {
    pub(super) viewers: usize,
    source: Option<Source>,
    sources_seen: u64,
    original: Outlet,
    browser: Option<Derived>,
}

struct Source {
    id: u64,
    from: SocketAddr,
    protocol: &'static str,
    started: Instant,
    last_item: Instant,
    video_units: u64,
    transport: Option<TransportStats>,
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
    factory: TransformFactory,
    outlet: Outlet,
}

impl Stream {
    /// Makes `request` the stream's source and gives its number.
    pub(super) fn start(&mut self, request: &PublishRequest, now: Instant) -> Result<u64, PublishError> {
        if let Some(source) = &self.source {
            let silent = now.saturating_duration_since(source.last_item) >= SILENT_AFTER;
            if !silent && source.from.ip() != request.from.ip() {
                return Err(PublishError::Busy { stream: request.stream.short(), by: source.from });
            }
            self.end_source();
        }
        self.sources_seen += 1;
        self.source = Some(Source {
            id: self.sources_seen,
            from: request.from,
            protocol: request.protocol,
            started: now,
            last_item: now,
            video_units: 0,
            transport: None,
        });
        self.for_each_outlet(|outlet| outlet.deliver(Delivery::SourceStarted));
        Ok(self.sources_seen)
    }

    pub(super) fn push(&mut self, source: u64, item: MediaItem, now: Instant) -> Result<(), Superseded> {
        let current = self.source.as_mut().filter(|current| current.id == source).ok_or(Superseded)?;
        current.last_item = now;
        if let MediaItem::Unit(unit) = &item {
            current.video_units += u64::from(unit.codec.is_video());
        }
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
        }
        is_current
    }

    fn end_source(&mut self) {
        self.source = None;
        if let Some(derived) = &mut self.browser {
            derived.transform = (derived.factory)();
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
        factory: &TransformFactory,
        on_drop: Box<dyn Fn() + Send + Sync>,
    ) -> Subscription {
        let outlet = match rendition {
            Rendition::Original => &mut self.original,
            Rendition::Browser => {
                let original = &self.original;
                &mut self.browser.get_or_insert_with(|| Derived::new(factory.clone(), original)).outlet
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
        let Some(outlet) = self.outlet(rendition) else { return };
        outlet.queues.retain(|other| !Arc::ptr_eq(other, queue));
        if self.browser.as_ref().is_some_and(|derived| derived.outlet.queues.is_empty()) {
            self.browser = None;
        }
    }

    pub(super) fn gop(&mut self, rendition: Rendition) -> Vec<Arc<AccessUnit>> {
        self.outlet(rendition).map(|outlet| outlet.gop.units().to_vec()).unwrap_or_default()
    }

    pub(super) fn problem(&self) -> Option<TransformProblem> {
        self.browser.as_ref().and_then(|derived| derived.transform.problem())
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
                last_item: source.last_item,
                transport: source.transport.clone(),
            }),
            tracks: self.original.tracks.iter().flat_map(|tracks| tracks.iter()).map(track_status).collect(),
            problem: self.problem(),
            viewers: self.viewers,
            video_units: self.source.as_ref().map_or(0, |source| source.video_units),
        }
    }

    fn outlet(&mut self, rendition: Rendition) -> Option<&mut Outlet> {
        match rendition {
            Rendition::Original => Some(&mut self.original),
            Rendition::Browser => self.browser.as_mut().map(|derived| &mut derived.outlet),
        }
    }

    fn for_each_outlet(&mut self, mut change: impl FnMut(&mut Outlet)) {
        change(&mut self.original);
        self.browser.iter_mut().for_each(|derived| change(&mut derived.outlet));
    }
}

fn track_status(track: &Track) -> TrackStatus {
    TrackStatus { track: track.clone() }
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

    fn deliver(&self, delivery: Delivery) {
        self.queues.iter().for_each(|queue| queue.push(delivery.clone()));
    }
}

impl Derived {
    /// Starts from what the original has cached, so that the first reader need not wait for a keyframe.
    fn new(factory: TransformFactory, original: &Outlet) -> Self {
        let mut derived = Self { transform: factory(), factory, outlet: Outlet::default() };
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
