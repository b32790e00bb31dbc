//! The bounded queue between a stream and one reader.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};

use tokio::sync::Notify;

use super::stream::Stream;
use super::{Rendition, lock};
use crate::media::{AccessUnit, MediaItem, Track};

/// About ten seconds of picture and sound: a reader further behind than that has stalled.
const MOST_DELIVERIES: usize = 1024;
const MOST_BYTES: usize = 16 << 20;

/// What a reader receives, in order.
#[derive(Clone, Debug)]
pub enum Delivery {
    /// A source began; what follows has nothing to do with what came before.
    SourceStarted,
    /// The tracks of the source from here on.
    Tracks(Arc<[Track]>),
    /// One access unit.
    Unit(Arc<AccessUnit>),
    /// The source stopped; another may come.
    SourceEnded,
}

impl From<MediaItem> for Delivery {
    fn from(item: MediaItem) -> Self {
        match item {
            MediaItem::Tracks(tracks) => Self::Tracks(tracks),
            MediaItem::Unit(unit) => Self::Unit(unit),
        }
    }
}

#[derive(Default)]
pub(super) struct Queue {
    state: Mutex<State>,
    filled: Notify,
}

#[derive(Default)]
struct State {
    deliveries: VecDeque<Delivery>,
    bytes: usize,
    has_video: bool,
    /// Units are dropped until decoding can start again.
    skipping: bool,
    dropped_units: u64,
}

impl Queue {
    pub(super) fn push(&self, delivery: Delivery) {
        lock(&self.state).push(delivery);
        self.filled.notify_one();
    }

    fn pop(&self) -> Option<Delivery> {
        lock(&self.state).pop()
    }

    pub(super) fn dropped_units(&self) -> u64 {
        lock(&self.state).dropped_units
    }
}

impl State {
    fn push(&mut self, delivery: Delivery) {
        match &delivery {
            Delivery::Unit(unit) => {
                if self.skipping && self.can_resume_at(unit) {
                    self.skipping = false;
                }
                if self.skipping {
                    self.dropped_units += 1;
                    return;
                }
                self.bytes += unit.data.len();
            }
            Delivery::Tracks(tracks) => self.has_video = tracks.iter().any(|track| track.codec.is_video()),
            Delivery::SourceStarted | Delivery::SourceEnded => self.skipping = false,
        }
        self.deliveries.push_back(delivery);
        if self.deliveries.len() > MOST_DELIVERIES || self.bytes > MOST_BYTES {
            self.drop_backlog();
        }
    }

    fn can_resume_at(&self, unit: &AccessUnit) -> bool {
        unit.random_access && (unit.codec.is_video() || !self.has_video)
    }

    /// Drops everything but what the next unit needs to be understood: whether there is a source,
    /// and its tracks.
    fn drop_backlog(&mut self) {
        let (mut source, mut tracks) = (None, None);
        for delivery in self.deliveries.drain(..) {
            match delivery {
                Delivery::Unit(_) => self.dropped_units += 1,
                Delivery::Tracks(_) => tracks = Some(delivery),
                Delivery::SourceStarted | Delivery::SourceEnded => (source, tracks) = (Some(delivery), None),
            }
        }
        self.deliveries.extend(source.into_iter().chain(tracks));
        (self.bytes, self.skipping) = (0, true);
    }

    fn pop(&mut self) -> Option<Delivery> {
        let delivery = self.deliveries.pop_front()?;
        if let Delivery::Unit(unit) = &delivery {
            self.bytes -= unit.data.len();
        }
        Some(delivery)
    }
}

/// A reader's end of a stream. It never ends by itself: sources come and go within it.
pub struct Subscription {
    queue: Arc<Queue>,
    stream: Arc<Mutex<Stream>>,
    rendition: Rendition,
    on_drop: Box<dyn Fn() + Send + Sync>,
}

impl Subscription {
    pub(super) fn new(
        queue: Arc<Queue>,
        stream: Arc<Mutex<Stream>>,
        rendition: Rendition,
        on_drop: Box<dyn Fn() + Send + Sync>,
    ) -> Self {
        Self { queue, stream, rendition, on_drop }
    }

    /// The next delivery, as soon as there is one.
    ///
    /// Cancel-safe: nothing is lost when the future is dropped.
    pub async fn next(&mut self) -> Delivery {
        loop {
            let filled = self.queue.filled.notified();
            if let Some(delivery) = self.queue.pop() {
                return delivery;
            }
            filled.await;
        }
    }

    /// The next delivery, if there is one already.
    pub fn try_next(&mut self) -> Option<Delivery> {
        self.queue.pop()
    }

    /// Access units dropped because this reader was too slow.
    pub fn dropped_units(&self) -> u64 {
        self.queue.dropped_units()
    }

    /// The current GOP of this rendition, from its random access point to the newest unit.
    pub fn current_gop(&self) -> Vec<Arc<AccessUnit>> {
        lock(&self.stream).gop(self.rendition)
    }
}

impl Drop for Subscription {
    fn drop(&mut self) {
        lock(&self.stream).unsubscribe(self.rendition, &self.queue);
        (self.on_drop)();
    }
}
