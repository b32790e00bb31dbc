//! The sound of a stream, made on a thread of its own: coding sound takes longer than a picture may wait.
//!
//! The thread runs while somebody listens. What it has to take waits in a bounded inbox: a source
//! never waits for it. What panics costs the item it had. Sources are told apart by number, so that no sound of one is heard after the next has begun.

use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Condvar, Mutex, PoisonError};

use super::queue::{Delivery, Queue};
use super::stream::Outlet;
use super::{Make, lock};
use crate::media::{MediaItem, Track, TrackId, Transform, TransformProblem, heard};

/// Items of the one track: 1.4 s of AAC at 48 kHz, 2.7 s of HE-AAC, 0.6 s of Opus in packets of 10 ms. A thread further
/// behind than that goes on with what is new.
const MOST_WAITING: usize = 64;

/// The sound of one stream while somebody listens.
pub(super) struct Sound {
    shared: Arc<Shared>,
    make: Make,
    runs: bool,
}

struct Shared {
    inbox: Mutex<Inbox>,
    filled: Condvar,
    made: Mutex<Made>,
}

/// What the thread has to take.
struct Inbox {
    waiting: VecDeque<(u64, MediaItem)>,
    /// The one track, once known.
    heard: Option<TrackId>,
    dropped_units: u64,
    open: bool,
}

/// What the thread has made.
struct Made {
    /// The number of the source whose sound is wanted.
    source: u64,
    outlet: Outlet,
    lost_units: u64,
    problem: Option<TransformProblem>,
}

/// Makes the sound of one source; begins anew after a panic.
struct Maker<'a> {
    make: &'a Make,
    transform: Box<dyn Transform>,
    tracks: Option<MediaItem>,
    /// By those before.
    lost_units: u64,
}

impl Sound {
    /// For the sound of this source and of those that follow it.
    pub(super) fn new(make: Make, source: u64, tracks: Option<Arc<[Track]>>) -> Self {
        let mut inbox = Inbox { waiting: VecDeque::new(), heard: None, dropped_units: 0, open: true };
        tracks.into_iter().for_each(|tracks| inbox.push(source, MediaItem::Tracks(tracks)));
        let made = Made { source, outlet: Outlet::default(), lost_units: 0, problem: None };
        let shared = Shared { inbox: Mutex::new(inbox), filled: Condvar::new(), made: Mutex::new(made) };
        Self { shared: Arc::new(shared), make, runs: false }
    }

    /// Starts the thread, unless it runs.
    fn run(&mut self) {
        if self.runs {
            return;
        }
        let (worker, make) = (self.shared.clone(), self.make.clone());
        let thread = std::thread::Builder::new().name("sound".into()).spawn(move || worker.run(&make));
        self.runs = thread.is_ok();
        if let Err(err) = thread {
            tracing::error!(%err, "no thread can be started for the sound; there is none until somebody asks again");
        }
    }

    /// Hands over an item of this source. Never waits; pictures are not wanted.
    pub(super) fn push(&self, source: u64, item: &MediaItem) {
        if matches!(item, MediaItem::Unit(unit) if unit.codec.is_video()) {
            return;
        }
        lock(&self.shared.inbox).push(source, item.clone());
        self.shared.filled.notify_one();
    }

    /// What was made of the source so far has nothing to do with what comes next.
    pub(super) fn source_started(&self, source: u64) {
        let mut made = lock(&self.shared.made);
        (made.source, made.lost_units, made.problem) = (source, 0, None);
        made.outlet.deliver(Delivery::SourceStarted);
    }

    /// Nothing is made any more of what is still waiting.
    pub(super) fn source_ended(&self) {
        lock(&self.shared.inbox).end_source();
        let mut made = lock(&self.shared.made);
        (made.source, made.problem) = (0, None);
        made.outlet.end_source();
    }

    pub(super) fn subscribe(&mut self, is_live: bool) -> Arc<Queue> {
        self.run();
        lock(&self.shared.made).outlet.subscribe(is_live)
    }

    /// Returns whether somebody still listens.
    pub(super) fn unsubscribe(&self, queue: &Arc<Queue>) -> bool {
        lock(&self.shared.made).outlet.unsubscribe(queue)
    }

    /// Units of the source that could not be read.
    pub(super) fn lost_units(&self) -> u64 {
        lock(&self.shared.made).lost_units
    }

    /// Why there is none, as far as the sender is to blame.
    pub(super) fn problem(&self) -> Option<TransformProblem> {
        lock(&self.shared.made).problem.clone()
    }

    pub(super) fn dropped_units(&self) -> u64 {
        self.dropped_before_coding() + lock(&self.shared.made).outlet.dropped_units()
    }

    pub(super) fn dropped_before_coding(&self) -> u64 {
        lock(&self.shared.inbox).dropped_units
    }
}

impl Drop for Sound {
    /// The thread ends by itself, as soon as it is done with the item it has.
    fn drop(&mut self) {
        lock(&self.shared.inbox).open = false;
        self.shared.filled.notify_one();
    }
}

impl Inbox {
    fn end_source(&mut self) {
        self.waiting.clear();
        self.heard = None;
    }

    fn push(&mut self, source: u64, item: MediaItem) {
        match &item {
            MediaItem::Tracks(tracks) => self.heard = heard(tracks, |track| track.codec).map(|track| track.id),
            MediaItem::Unit(unit) if self.heard.is_some_and(|heard| heard != unit.track) => return,
            MediaItem::Unit(_) => {}
        }
        self.waiting.push_back((source, item));
        if self.waiting.len() <= MOST_WAITING {
            return;
        }
        let tracks = self.waiting.iter().rposition(|(_, item)| matches!(item, MediaItem::Tracks(_)));
        let tracks = tracks.and_then(|at| self.waiting.remove(at));
        let units = self.waiting.drain(..).filter(|(_, item)| matches!(item, MediaItem::Unit(_)));
        self.dropped_units += units.count() as u64;
        self.waiting.extend(tracks);
    }
}

impl Shared {
    fn run(&self, make: &Make) {
        let mut maker = Maker::new(make);
        let mut of = None;
        while let Some((source, item)) = self.next() {
            if of.replace(source).is_some_and(|before| before != source) {
                maker = Maker::new(make);
            }
            let items = maker.push(&item);
            let mut made = lock(&self.made);
            if made.source == source {
                made.lost_units = maker.lost_units + maker.transform.lost_units();
                made.problem = maker.transform.problem();
                items.into_iter().for_each(|item| made.outlet.push(item));
            }
        }
    }

    /// Waits for the next item. `None` when nobody listens any more.
    fn next(&self) -> Option<(u64, MediaItem)> {
        let inbox = lock(&self.inbox);
        let empty = |inbox: &mut Inbox| inbox.open && inbox.waiting.is_empty();
        let mut inbox = self.filled.wait_while(inbox, empty).unwrap_or_else(PoisonError::into_inner);
        if inbox.open { inbox.waiting.pop_front() } else { None }
    }
}

impl<'a> Maker<'a> {
    fn new(make: &'a Make) -> Self {
        Self { make, transform: make(), tracks: None, lost_units: 0 }
    }

    fn push(&mut self, item: &MediaItem) -> Vec<MediaItem> {
        if let Some(items) = self.contained(item) {
            if matches!(item, MediaItem::Tracks(_)) {
                self.tracks = Some(item.clone());
            }
            return items;
        }
        self.lost_units += self.transform.lost_units() + 1;
        tracing::error!(lost = self.lost_units, "what makes the sound has panicked; it begins anew");
        self.transform = (self.make)();
        // Whoever listens knows them already.
        if let Some(tracks) = self.tracks.clone() {
            let _ = self.contained(&tracks);
        }
        Vec::new()
    }

    /// What becomes of the item, or `None` when that panicked.
    fn contained(&mut self, item: &MediaItem) -> Option<Vec<MediaItem>> {
        catch_unwind(AssertUnwindSafe(|| self.transform.push(item))).ok()
    }
}
