//! One stream: its source, its renditions and their readers.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Instant;

use super::gop::Gop;
use super::queue::{Delivery, Queue, Subscription};
use super::sound::Sound;
use super::takeover::Takeovers;
use super::{
    PublishError, PublishRequest, Rendition, Renditions, SILENT_AFTER, SourceStatus, StreamStatus, Superseded,
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
    renditions: Renditions,
    picture: Option<Derived>,
    sound: Option<Sound>,
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
pub(super) struct Outlet {
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
    pub(super) fn new(renditions: Renditions) -> Self {
        Self {
            viewers: 0,
            settled: Vec::new(),
            takeovers: Takeovers::default(),
            source: None,
            sources_seen: 0,
            original: Outlet::default(),
            renditions,
            picture: None,
            sound: None,
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
        self.sound.iter().for_each(|sound| sound.source_started(self.sources_seen));
        Ok(self.sources_seen)
    }

    pub(super) fn push(&mut self, source: u64, item: MediaItem, now: Instant) -> Result<(), Superseded> {
        let current = self.source.as_mut().filter(|current| current.id == source).ok_or(Superseded)?;
        current.last_item = Some(now);
        current.watch(&item);
        if let Some(derived) = &mut self.picture {
            derived.push(&item);
        }
        self.sound.iter().for_each(|sound| sound.push(source, &item));
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
        if let Some(derived) = &mut self.picture {
            derived.transform = (self.renditions.picture)();
        }
        self.for_each_outlet(Outlet::end_source);
        self.sound.iter().for_each(Sound::source_ended);
    }

    pub(super) fn subscribe(
        &mut self,
        this: Arc<Mutex<Self>>,
        rendition: Rendition,
        on_drop: Box<dyn Fn() + Send + Sync>,
    ) -> Subscription {
        let is_live = self.source.is_some();
        let queue = match rendition {
            Rendition::Original => self.original.subscribe(is_live),
            Rendition::Picture => {
                let make = || Derived::new((self.renditions.picture)(), &self.original);
                self.picture.get_or_insert_with(make).outlet.subscribe(is_live)
            }
            Rendition::Sound => {
                let source = self.source.as_ref().map_or(0, |source| source.id);
                let start = || Sound::new(self.renditions.sound.clone(), source, self.original.tracks.clone());
                self.sound.get_or_insert_with(start).subscribe(is_live)
            }
        };
        Subscription::new(queue, this, rendition, on_drop)
    }

    pub(super) fn unsubscribe(&mut self, rendition: Rendition, queue: &Arc<Queue>) {
        self.dropped_units += queue.dropped_units();
        match rendition {
            Rendition::Original => {
                self.original.unsubscribe(queue);
            }
            Rendition::Picture => {
                self.picture.take_if(|derived| !derived.outlet.unsubscribe(queue));
            }
            Rendition::Sound => {
                let unheard = self.sound.take_if(|sound| !sound.unsubscribe(queue));
                self.dropped_units += unheard.map_or(0, |sound| sound.dropped_before_coding());
            }
        }
    }

    pub(super) fn gop(&self, rendition: Rendition) -> Vec<Arc<AccessUnit>> {
        let outlet = match rendition {
            Rendition::Original => Some(&self.original),
            Rendition::Picture => self.picture.as_ref().map(|derived| &derived.outlet),
            // Nobody wants to hear what was.
            Rendition::Sound => None,
        };
        outlet.map(|outlet| outlet.gop.units().to_vec()).unwrap_or_default()
    }

    /// Everything that is wrong.
    pub(super) fn problems(&self, now: Instant) -> Vec<TransformProblem> {
        let sound = self.sound.as_ref().and_then(Sound::problem);
        self.problem().into_iter().chain(sound).chain(self.takeovers.problem(now).cloned()).collect()
    }

    /// Why browsers cannot show it, of which its sound is no part. What is made for them knows best, once something was made.
    fn problem(&self) -> Option<TransformProblem> {
        if let Some(derived) = &self.picture {
            let problem = derived.transform.problem();
            if problem.is_some() || !derived.outlet.gop.units().is_empty() {
                return problem;
            }
        }
        let describers = &self.source.as_ref()?.describers;
        let tracks = self.original.tracks.iter().flat_map(|tracks| tracks.iter());
        let known: Vec<_> = tracks.filter_map(|track| describers.get(&track.id)).map(Describer::known).collect();
        (self.renditions.obstacle)(&known)
    }

    pub(super) fn is_unused(&self) -> bool {
        let unread = self.picture.is_none() && self.sound.is_none() && self.original.queues.is_empty();
        self.source.is_none() && self.viewers == 0 && unread
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
                + self.original.dropped_units()
                + self.picture.as_ref().map_or(0, |derived| derived.outlet.dropped_units())
                + self.sound.as_ref().map_or(0, Sound::dropped_units),
            lost_sound_units: self.sound.as_ref().map_or(0, Sound::lost_units),
        }
    }

    fn for_each_outlet(&mut self, mut change: impl FnMut(&mut Outlet)) {
        change(&mut self.original);
        self.picture.iter_mut().for_each(|derived| change(&mut derived.outlet));
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
    pub(super) fn push(&mut self, item: MediaItem) {
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

    /// A reader's queue, with what it needs to begin.
    pub(super) fn subscribe(&mut self, is_live: bool) -> Arc<Queue> {
        let queue = Arc::new(Queue::default());
        if is_live {
            queue.push(Delivery::SourceStarted);
            self.tracks.iter().for_each(|tracks| queue.push(Delivery::Tracks(tracks.clone())));
            self.gop.units().iter().for_each(|unit| queue.push(Delivery::Unit(unit.clone())));
        }
        self.queues.push(queue.clone());
        queue
    }

    /// Returns whether there still are readers.
    pub(super) fn unsubscribe(&mut self, queue: &Arc<Queue>) -> bool {
        self.queues.retain(|other| !Arc::ptr_eq(other, queue));
        !self.queues.is_empty()
    }

    pub(super) fn end_source(&mut self) {
        self.tracks = None;
        self.gop.clear();
        self.deliver(Delivery::SourceEnded);
    }

    pub(super) fn dropped_units(&self) -> u64 {
        self.queues.iter().map(|queue| queue.dropped_units()).sum()
    }

    pub(super) fn deliver(&self, delivery: Delivery) {
        self.queues.iter().for_each(|queue| queue.push(delivery.clone()));
    }
}

impl Derived {
    /// Starts from what the original has cached, so that the first reader need not wait for a keyframe.
    fn new(transform: Box<dyn Transform>, original: &Outlet) -> Self {
        let mut derived = Self { transform, outlet: Outlet::default() };
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
