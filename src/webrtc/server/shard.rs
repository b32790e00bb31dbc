//! One thread's share of the viewers: everything they are sent as media.
//!
//! Owns: which viewers of which streams are served here, the frames they may be sent again, whose turn it is when the
//! socket has no room, and when paced packets are due. Does not own: the thread (`shards`), nor anything but media: the
//! controlling thread holds the sessions and tells by [`Message`]s what follows from them.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap, VecDeque};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use tokio::sync::broadcast;

use super::outlets::Outlets;
use super::socket::Sent;
use super::{Felt, lock};
use crate::clock::Clock;
use crate::webrtc::history::History;
use crate::webrtc::ice::Path;
use crate::webrtc::packetizer::Frame;
use crate::webrtc::sending::{Batch, Counts, Sending, SendingParts};
use crate::webrtc::session::Wish;

/// When what the socket had no room for is tried again: far less than its buffer takes to run empty at line rate. The
/// kernel would tell when there is room, but to one who waits for several threads; a look every millisecond, and only
/// while the buffer is full, is cheaper than that.
const BLOCKED_RETRY: Duration = Duration::from_millis(1);

/// Paced packets are not due sooner: a viewer's turn costs more than a packet does.
const SHORTEST_PAUSE: Duration = Duration::from_micros(200);

/// Viewers that are sent cached pictures at once, each at the rate for joiners: more would share a gigabit line's half
/// or more, and hold up everybody's live pictures. A group of pictures takes some 100 ms, so a crowd of 50 has joined
/// within two seconds, or with the next random access point.
const MOST_CATCHING_UP: usize = 4;

/// Names a session, or a stream while it is watched.
pub(super) type Key = u64;

/// A viewer whose media is to begin.
pub(super) struct Joiner {
    pub(super) key: Key,
    /// The session's name.
    pub(super) id: String,
    pub(super) stream: Key,
    pub(super) parts: SendingParts,
    pub(super) sent: Arc<Mutex<MediaSent>>,
    /// The stream's frames so far, unless this shard has them.
    pub(super) history: Option<History>,
}

/// What the controlling thread tells a shard.
pub(super) enum Message {
    /// The next picture of a stream; so many before it are missing, for this shard was too slow.
    Picture { stream: Key, frame: Arc<Frame>, skipped: u64 },
    /// The next packet of a stream's sound.
    Sound { stream: Key, packet: Arc<Frame> },
    /// A stream's source has ended, or another has begun: nobody is to join with what came before.
    EndSource(Key),
    /// Media begins to flow to a viewer.
    Add(Box<Joiner>),
    /// A viewer is gone.
    Remove(Key),
    /// A viewer's media takes this path from now on.
    Path(Key, Path),
    /// There is room again on the path of a viewer that was full.
    Room(Key),
    /// A viewer misses something.
    Wish(Key, Wish),
    /// Somebody wants to know whether this thread goes round.
    Feel(Felt),
}

/// How far a viewer's media has come, for the controlling thread to read.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct MediaSent {
    /// What went out.
    pub(super) counts: Counts,
    /// Whether pictures reach the viewer.
    pub(super) is_live: bool,
}

struct Stream {
    history: History,
    viewers: Vec<Key>,
}

struct Viewer {
    id: String,
    stream: Key,
    sending: Sending,
    has_sound: bool,
    sent: Arc<Mutex<MediaSent>>,
    skipped: u64,
    is_blocked: bool,
    /// Nothing may follow along its path until there is word of room.
    is_full: bool,
    /// Waits for its turn to catch up.
    is_in_line: bool,
    is_catching_up: bool,
    /// When its next timer goes off.
    armed: Option<Instant>,
}

/// The viewers one thread serves.
pub(super) struct Shard {
    clock: Clock,
    outlets: Outlets,
    edges: broadcast::Sender<(String, u32)>,
    streams: HashMap<Key, Stream>,
    viewers: HashMap<Key, Viewer>,
    /// Viewers that wait for room in the socket's buffer, in turn.
    blocked: VecDeque<Key>,
    retry: Option<Instant>,
    /// Whose the batch is that the socket had no room for, and the way it takes.
    kept: Option<(Key, Path)>,
    /// Viewers that wait until others have caught up, in turn.
    line: VecDeque<Key>,
    catching_up: usize,
    /// Earliest first. Entries of viewers that are armed for another time mean nothing.
    timers: BinaryHeap<Reverse<(Instant, Key)>>,
    batch: Batch,
}

impl Shard {
    /// A shard without viewers that sends by `outlets`, and tells on `edges` from which RTP timestamp on the pictures of
    /// which session are the live ones.
    pub(super) fn new(clock: Clock, outlets: Outlets, edges: broadcast::Sender<(String, u32)>) -> Self {
        Self {
            clock,
            outlets,
            edges,
            streams: HashMap::new(),
            viewers: HashMap::new(),
            blocked: VecDeque::new(),
            retry: None,
            kept: None,
            line: VecDeque::new(),
            catching_up: 0,
            timers: BinaryHeap::new(),
            batch: Batch::default(),
        }
    }

    /// Does what the controlling thread says.
    pub(super) fn handle(&mut self, message: Message) {
        match message {
            Message::Picture { stream, frame, skipped } => self.picture(stream, &frame, skipped),
            Message::Sound { stream, packet } => self.sound(stream, &packet),
            Message::EndSource(stream) => {
                if let Some(watched) = self.streams.get_mut(&stream) {
                    watched.history.end_source();
                }
            }
            Message::Add(joiner) => self.add(*joiner),
            Message::Remove(key) => self.remove(key),
            Message::Path(key, path) => {
                if let Some(viewer) = self.viewers.get_mut(&key) {
                    viewer.sending.set_path(path);
                    viewer.is_full = false;
                    self.serve_in_turn(key);
                }
            }
            Message::Room(key) => {
                let now = self.clock.now();
                if let Some(viewer) = self.viewers.get_mut(&key) {
                    viewer.is_full = false;
                    viewer.sending.resume(now);
                    self.serve_in_turn(key);
                }
            }
            Message::Wish(key, wish) => self.wish(key, wish),
            Message::Feel(felt) => drop(felt),
        }
        self.admit();
    }

    /// When [`Self::wake`] is due.
    pub(super) fn due(&self) -> Option<Instant> {
        let timer = self.timers.peek().map(|Reverse((due, _))| *due);
        [timer, self.retry].into_iter().flatten().min()
    }

    /// Does what is due: tries again what the socket had no room for, and sends paced packets.
    pub(super) fn wake(&mut self) {
        let now = self.clock.now();
        if self.retry.is_some_and(|retry| retry <= now) {
            self.drain_blocked();
        }
        while let Some(&Reverse((due, key))) = self.timers.peek()
            && due <= now
        {
            self.timers.pop();
            let Some(viewer) = self.viewers.get_mut(&key).filter(|viewer| viewer.armed == Some(due)) else { continue };
            viewer.armed = None;
            self.serve_in_turn(key);
        }
        self.admit();
    }

    #[cfg(test)]
    pub(super) fn catching_up(&self) -> usize {
        self.catching_up
    }

    #[cfg(test)]
    pub(super) fn is_blocked(&self) -> bool {
        !self.blocked.is_empty()
    }

    fn picture(&mut self, stream: Key, frame: &Arc<Frame>, skipped: u64) {
        let now = self.clock.now();
        let Some(watched) = self.streams.get_mut(&stream) else { return };
        watched.history.push(frame.clone());
        let viewers = std::mem::take(&mut watched.viewers);
        for &key in &viewers {
            if let Some(viewer) = self.viewers.get_mut(&key) {
                viewer.skipped += skipped;
                viewer.sending.offer(now, frame);
            }
            self.serve_in_turn(key);
        }
        if let Some(watched) = self.streams.get_mut(&stream) {
            watched.viewers = viewers;
        }
    }

    fn sound(&mut self, stream: Key, packet: &Arc<Frame>) {
        let now = self.clock.now();
        let Some(watched) = self.streams.get_mut(&stream) else { return };
        let viewers = std::mem::take(&mut watched.viewers);
        for &key in &viewers {
            let Some(viewer) = self.viewers.get_mut(&key).filter(|viewer| viewer.has_sound) else { continue };
            viewer.sending.offer_sound(now, packet);
            self.serve_in_turn(key);
        }
        if let Some(watched) = self.streams.get_mut(&stream) {
            watched.viewers = viewers;
        }
    }

    fn add(&mut self, joiner: Joiner) {
        let Joiner { key, id, stream, parts, sent, history } = joiner;
        let watched = self
            .streams
            .entry(stream)
            .or_insert_with(|| Stream { history: history.unwrap_or_default(), viewers: Vec::new() });
        watched.viewers.push(key);
        let has_sound = parts.sound.is_some();
        let mut sending = Sending::new(parts);
        sending.join();
        let viewer = Viewer {
            id,
            stream,
            sending,
            has_sound,
            sent,
            skipped: 0,
            is_blocked: false,
            is_full: false,
            is_in_line: false,
            is_catching_up: false,
            armed: None,
        };
        self.viewers.insert(key, viewer);
        self.serve_in_turn(key);
    }

    fn remove(&mut self, key: Key) {
        let Some(viewer) = self.viewers.remove(&key) else { return };
        self.blocked.retain(|blocked| *blocked != key);
        self.line.retain(|waiting| *waiting != key);
        self.kept = self.kept.filter(|(kept, _)| *kept != key);
        self.catching_up -= usize::from(viewer.is_catching_up);
        let Some(watched) = self.streams.get_mut(&viewer.stream) else { return };
        watched.viewers.retain(|other| *other != key);
        if watched.viewers.is_empty() {
            self.streams.remove(&viewer.stream);
        }
    }

    fn wish(&mut self, key: Key, wish: Wish) {
        let now = self.clock.now();
        let Some(viewer) = self.viewers.get_mut(&key) else { return };
        match wish {
            Wish::Again { ssrc, sequence, following } => viewer.sending.nack(now, ssrc, sequence, following),
            Wish::NewStart => viewer.sending.picture_lost(now),
        }
        self.serve_in_turn(key);
    }

    /// Sends what waits for a viewer, unless others wait for room already: then it waits behind them.
    fn serve_in_turn(&mut self, key: Key) {
        if self.blocked.is_empty() {
            self.serve(key);
        } else if let Some(viewer) = self.viewers.get_mut(&key).filter(|viewer| !viewer.is_blocked) {
            viewer.is_blocked = true;
            self.blocked.push_back(key);
        }
    }

    /// Sends what waits for a viewer; false when the socket has no room for it. No batch is kept, or it would be lost.
    fn serve(&mut self, key: Key) -> bool {
        let now = self.clock.now();
        let Some(viewer) = self.viewers.get_mut(&key) else { return true };
        let Some(watched) = self.streams.get(&viewer.stream) else { return true };
        viewer.is_blocked = false;
        if !viewer.is_full && !viewer.is_in_line && viewer.sending.wants_start(now) {
            viewer.is_in_line = true;
            self.line.push_back(key);
        }
        while !viewer.is_full
            && let Some(path) = viewer.sending.fill(now, &watched.history, &mut self.batch)
        {
            match self.outlets.send(now, &path, &self.batch) {
                Sent::Blocked => {
                    viewer.is_blocked = true;
                    self.kept = Some((key, path));
                    break;
                }
                Sent::Full => viewer.is_full = true,
                Sent::Gone => {}
            }
            viewer.sending.sent(now, &self.batch);
        }
        self.catching_up -= usize::from(viewer.is_catching_up);
        viewer.is_catching_up = viewer.sending.is_catching_up();
        self.catching_up += usize::from(viewer.is_catching_up);
        viewer.publish();
        if let Some(rtp) = viewer.sending.take_edge() {
            // Nobody listening is no error.
            let _ = self.edges.send((viewer.id.clone(), rtp));
        }
        if viewer.is_blocked {
            self.blocked.push_back(key);
            self.retry = Some(now + BLOCKED_RETRY);
            return false;
        }
        let due = viewer.sending.due().filter(|_| !viewer.is_full).map(|due| due.max(now + SHORTEST_PAUSE));
        if let Some(due) = due.filter(|due| viewer.armed.is_none_or(|armed| *due < armed)) {
            viewer.armed = Some(due);
            self.timers.push(Reverse((due, key)));
        }
        true
    }

    /// Lets those catch up whose turn it is.
    fn admit(&mut self) {
        while self.catching_up < MOST_CATCHING_UP
            && self.blocked.is_empty()
            && let Some(key) = self.line.pop_front()
        {
            let now = self.clock.now();
            let Some(viewer) = self.viewers.get_mut(&key) else { continue };
            let Some(watched) = self.streams.get(&viewer.stream) else { continue };
            viewer.sending.start(now, &watched.history);
            self.serve(key);
            if let Some(viewer) = self.viewers.get_mut(&key) {
                viewer.is_in_line = false;
            }
        }
    }

    fn drain_blocked(&mut self) {
        self.retry = None;
        if !self.send_kept() {
            return;
        }
        while let Some(key) = self.blocked.pop_front() {
            if !self.serve(key) {
                return;
            }
        }
    }

    /// Sends the batch again that the socket had no room for; false when it has none still.
    fn send_kept(&mut self) -> bool {
        let Some((key, path)) = self.kept.take() else { return true };
        let now = self.clock.now();
        // Its numbers are given to others once it is given up.
        let Some(viewer) = self.viewers.get_mut(&key).filter(|viewer| viewer.sending.is_in_flight()) else {
            return true;
        };
        if self.outlets.send(now, &path, &self.batch) == Sent::Blocked {
            self.kept = Some((key, path));
            self.retry = Some(now + BLOCKED_RETRY);
            return false;
        }
        viewer.sending.sent(now, &self.batch);
        true
    }
}

impl Viewer {
    fn publish(&self) {
        let mut counts = self.sending.counts();
        counts.picture.dropped_units += self.skipped;
        *lock(&self.sent) = MediaSent { counts, is_live: self.sending.is_live() };
    }
}
