//! The shards together: which one serves whom, and the threads of all but the first.
//!
//! Owns: handing frames and messages to every shard that needs them without ever waiting for one. Does not own: what a
//! shard does with them (`shard`). The first shard runs on the controlling thread itself; why and how far is in
//! `docs/decisions/0004-sending-threads.md`.

use std::collections::HashMap;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread::{self, JoinHandle};
use std::time::Instant;

use tokio::sync::broadcast;

use super::Felt;
use super::outlets::Outlets;
use super::shard::{Joiner, Key, Message, Shard};
use crate::clock::Clock;
use crate::webrtc::history::History;
use crate::webrtc::ice::Path;
use crate::webrtc::packetizer::Frame;
use crate::webrtc::session::Wish;

/// Viewers the controlling thread serves itself before another thread is woken for any.
const INLINE_FIRST: usize = 4;
/// Most threads that are worth it without being asked for: with three, two more cores keep a Pi's line full.
const MOST_BY_ITSELF: usize = 4;
/// Frames that may wait for one thread: about a second of one stream with sound.
const MOST_FRAMES: usize = 96;
/// Wishes and changes of path of viewers that may wait for one thread.
const MOST_WISHES: usize = 512;

/// How many threads send when nothing is said: one core is left to the rest of the box.
pub(super) fn threads_by_itself() -> usize {
    let cores = thread::available_parallelism().map_or(1, |cores| cores.get());
    cores.saturating_sub(1).clamp(1, MOST_BY_ITSELF)
}

/// What waits to be looked at by a thread.
#[derive(Debug, Default)]
struct Waiting {
    frames: AtomicUsize,
    wishes: AtomicUsize,
}

impl Waiting {
    /// The count a message belongs to and its limit. What must not be lost has none: its number is bounded by the
    /// number of sessions, by that of random access points, by that of full batches sent, or by that of askers who wait.
    fn of(&self, message: &Message) -> Option<(&AtomicUsize, usize)> {
        match message {
            Message::Picture { .. } | Message::Sound { .. } => Some((&self.frames, MOST_FRAMES)),
            Message::Wish(..) | Message::Path(..) => Some((&self.wishes, MOST_WISHES)),
            Message::Add(_) | Message::Remove(_) | Message::EndSource(_) | Message::Room(_) | Message::Feel(_) => None,
        }
    }
}

/// Which shard serves a viewer: 0 is the inline one.
pub(super) type Place = usize;

/// What one shard serves.
#[derive(Debug, Default)]
struct Load {
    viewers: usize,
    streams: HashMap<Key, Feed>,
}

/// One stream as a shard gets it.
#[derive(Debug, Default)]
struct Feed {
    viewers: usize,
    /// Pictures not handed over since the last that was; none are until the next random access point.
    skipped: u64,
    /// It was told that the source ended, since the last random access point.
    is_past: bool,
}

/// A shard on a thread of its own.
struct Remote {
    messages: Sender<Message>,
    waiting: Arc<Waiting>,
    thread: JoinHandle<()>,
}

/// All shards, for the controlling thread.
pub(super) struct Shards {
    clock: Clock,
    outlets: Outlets,
    edges: broadcast::Sender<(String, u32)>,
    inline: Shard,
    remotes: Vec<Remote>,
    /// By place.
    loads: Vec<Load>,
    pub(super) inline_first: usize,
}

impl Shards {
    /// The inline shard alone.
    pub(super) fn new(clock: Clock, outlets: Outlets, edges: broadcast::Sender<(String, u32)>) -> Self {
        let inline = Shard::new(clock.clone(), outlets.clone(), edges.clone());
        let (remotes, loads) = (Vec::new(), vec![Load::default()]);
        Self { clock, outlets, edges, inline, remotes, loads, inline_first: INLINE_FIRST }
    }

    /// Starts threads until `threads` send, this one included.
    pub(super) fn start(&mut self, threads: usize) -> io::Result<()> {
        for place in self.loads.len()..threads {
            let shard = Shard::new(self.clock.clone(), self.outlets.clone(), self.edges.clone());
            let (messages, inbox) = channel();
            let waiting = Arc::new(Waiting::default());
            let (clock, shared) = (self.clock.clone(), waiting.clone());
            let thread = thread::Builder::new().name(format!("webrtc-{place}"));
            let thread = thread.spawn(move || run(shard, &clock, &inbox, &shared))?;
            self.remotes.push(Remote { messages, waiting, thread });
            self.loads.push(Load::default());
        }
        Ok(())
    }

    /// Ends the threads, once they have done what they were told.
    pub(super) fn stop(&mut self) {
        for Remote { messages, thread, .. } in self.remotes.drain(..) {
            drop(messages);
            // Whether it panicked was seen before.
            let _ = thread.join();
        }
    }

    /// Whether every thread is there.
    pub(super) fn are_well(&self) -> bool {
        self.remotes.iter().all(|remote| !remote.thread.is_finished())
    }

    /// When [`Self::wake`] is due, for the viewers served here.
    pub(super) fn due(&self) -> Option<Instant> {
        self.inline.due()
    }

    /// Does what is due for the viewers served here.
    pub(super) fn wake(&mut self) {
        self.inline.wake();
    }

    /// Lets media begin to flow to a viewer of a stream whose frames so far are in `history`; says who serves it.
    pub(super) fn add(&mut self, mut joiner: Joiner, history: &History) -> Place {
        let place = self.place();
        if let Some(load) = self.loads.get_mut(place) {
            load.viewers += 1;
            let feed = load.streams.entry(joiner.stream).or_default();
            feed.viewers += 1;
            if feed.viewers == 1 {
                joiner.history = Some(history.clone());
            }
        }
        self.tell(place, Message::Add(Box::new(joiner)));
        place
    }

    /// Where the next viewer goes: see [`INLINE_FIRST`], then where the fewest are.
    fn place(&self) -> Place {
        let here = self.loads.first().map_or(0, |load| load.viewers);
        let fewest = self.loads.iter().enumerate().skip(1).min_by_key(|(_, load)| load.viewers);
        let (place, there) = fewest.map_or((0, here), |(place, load)| (place, load.viewers));
        if here < self.inline_first || here < there { 0 } else { place }
    }

    /// A viewer of a stream is gone.
    pub(super) fn remove(&mut self, place: Place, stream: Key, key: Key) {
        if let Some(load) = self.loads.get_mut(place) {
            load.viewers -= 1;
            if let Some(feed) = load.streams.get_mut(&stream) {
                feed.viewers -= 1;
                if feed.viewers == 0 {
                    load.streams.remove(&stream);
                }
            }
        }
        self.tell(place, Message::Remove(key));
    }

    /// A viewer's media takes another path from now on; false where it must be told again.
    pub(super) fn set_path(&mut self, place: Place, key: Key, path: Path) -> bool {
        self.tell(place, Message::Path(key, path))
    }

    /// There is room again on the path of a viewer that was full.
    pub(super) fn room(&mut self, place: Place, key: Key) {
        self.tell(place, Message::Room(key));
    }

    /// A viewer misses something.
    pub(super) fn wish(&mut self, place: Place, key: Key, wish: Wish) {
        self.tell(place, Message::Wish(key, wish));
    }

    /// Hands a stream's next picture to every shard that has viewers of it; to the other threads first, so that they
    /// send while this one does.
    pub(super) fn picture(&mut self, stream: Key, frame: &Arc<Frame>) {
        for place in (0..self.loads.len()).rev() {
            let Some(feed) = self.loads.get(place).and_then(|load| load.streams.get(&stream)) else { continue };
            let skipped = feed.skipped;
            let can_go_on = skipped == 0 || frame.random_access;
            let message = || Message::Picture { stream, frame: frame.clone(), skipped };
            let is_handed_over = can_go_on && self.tell(place, message());
            if let Some(feed) = self.loads.get_mut(place).and_then(|load| load.streams.get_mut(&stream)) {
                if !is_handed_over && skipped == 0 {
                    tracing::warn!(place, "a sending thread cannot follow; its viewers wait for the next keyframe");
                }
                feed.skipped = if is_handed_over { 0 } else { skipped + 1 };
                feed.is_past &= !(is_handed_over && frame.random_access);
            }
        }
    }

    /// A stream's source has ended, or another has begun.
    pub(super) fn end_source(&mut self, stream: Key) {
        for place in (0..self.loads.len()).rev() {
            let feed = self.loads.get_mut(place).and_then(|load| load.streams.get_mut(&stream));
            let Some(feed) = feed.filter(|feed| !feed.is_past) else { continue };
            feed.is_past = true;
            self.tell(place, Message::EndSource(stream));
        }
    }

    /// Hands its sound's next packet over likewise; one that a thread has no room for is lost.
    pub(super) fn sound(&mut self, stream: Key, packet: &Arc<Frame>) {
        for place in (0..self.loads.len()).rev() {
            if self.loads.get(place).is_some_and(|load| load.streams.contains_key(&stream)) {
                self.tell(place, Message::Sound { stream, packet: packet.clone() });
            }
        }
    }

    /// Passes a question after the pulse to every thread.
    pub(super) fn feel(&mut self, felt: &Felt) {
        for place in 0..self.loads.len() {
            self.tell(place, Message::Feel(felt.clone()));
        }
    }

    /// Whether it will be done; never waits.
    fn tell(&mut self, place: Place, message: Message) -> bool {
        let Some(before) = place.checked_sub(1) else {
            self.inline.handle(message);
            return true;
        };
        let Some(remote) = self.remotes.get(before) else { return false };
        if let Some((count, most)) = remote.waiting.of(&message) {
            if count.load(Ordering::Relaxed) >= most {
                return false;
            }
            count.fetch_add(1, Ordering::Relaxed);
        }
        remote.messages.send(message).is_ok()
    }
}

/// One thread's life: messages and timers, until the controlling thread lets go of it.
fn run(mut shard: Shard, clock: &Clock, inbox: &Receiver<Message>, waiting: &Waiting) {
    let handle = |shard: &mut Shard, message: Message| {
        let counted = waiting.of(&message).map(|(count, _)| count);
        shard.handle(message);
        counted.inspect(|count| {
            count.fetch_sub(1, Ordering::Relaxed);
        });
    };
    loop {
        let message = match shard.due() {
            None => inbox.recv().map_err(|_| RecvTimeoutError::Disconnected),
            Some(due) => inbox.recv_timeout(due.saturating_duration_since(clock.now())),
        };
        match message {
            Ok(message) => handle(&mut shard, message),
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => return,
        }
        // A live picture goes before what is paced.
        inbox.try_iter().take(MOST_FRAMES).for_each(|message| handle(&mut shard, message));
        shard.wake();
    }
}

#[cfg(test)]
mod tests;
