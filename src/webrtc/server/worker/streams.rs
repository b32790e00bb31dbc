//! Streams on their way to the shards: subscriptions, and which session is served with what.

use std::future::Future;
use std::pin::Pin;
use std::time::Instant;

use futures_util::future::{AbortHandle, Abortable};
use futures_util::stream::FuturesUnordered;

use super::super::random::random;
use super::super::shard::{Joiner, Key};
use super::super::{Asked, CreateError, Created, Reply, lock, log_name};
use super::room::Origin;
use super::{MOST_AT_ONCE, Worker};
use crate::hub::{Delivery, Rendition, Subscription, Viewer};
use crate::media::StreamName;
use crate::webrtc::fanout::Fanout;
use crate::webrtc::sdp::{NegotiatedSound, NegotiatedVideo};
use crate::webrtc::sending::{SendingParts, SoundSource, Sources};
use crate::webrtc::srtp::OutboundRtp;

/// What a subscription delivered.
pub(super) struct Next {
    of: Of,
    subscription: Box<Subscription>,
    delivery: Delivery,
}

/// What is subscribed to.
struct Of {
    name: StreamName,
    key: Key,
    is_sound: bool,
}

pub(super) type Delivered = Result<Next, futures_util::future::Aborted>;
pub(super) type Deliveries = FuturesUnordered<Pin<Box<dyn Future<Output = Delivered> + Send>>>;

/// An offer whose answer needs the parameter sets of a stream that has only just begun.
pub(super) struct Waiting {
    pub(super) until: Instant,
    pub(super) origin: Option<Origin>,
    pub(super) asked: Asked,
    pub(super) reply: Reply<Result<Created, CreateError>>,
}

/// What offer and answer agreed on for a viewer's media.
pub(super) struct Agreed {
    pub(super) video: Sources,
    pub(super) negotiated: NegotiatedVideo,
    pub(super) sound: Option<(SoundSource, NegotiatedSound)>,
}

/// A stream that somebody watches or waits for.
pub(super) struct Stream {
    pub(super) key: Key,
    pub(super) fanout: Fanout,
    /// Sessions of its.
    pub(super) viewers: usize,
    pub(super) waiting: Vec<Waiting>,
    picture: AbortHandle,
    /// While there are listeners.
    sound: Option<AbortHandle>,
    /// Connected viewers that take sound.
    listeners: usize,
}

impl Stream {
    /// A session of its is over; with the last listener goes the sound.
    pub(super) fn has_left(&mut self, listened: bool) {
        self.viewers -= 1;
        self.listeners -= usize::from(listened);
        if self.listeners == 0
            && let Some(sound) = self.sound.take()
        {
            sound.abort();
        }
    }

    fn forget(self) {
        self.picture.abort();
        self.sound.inspect(AbortHandle::abort);
    }
}

impl Worker {
    /// The stream a viewer wants, subscribed to with its first.
    pub(super) fn stream_of(&mut self, viewer: &Viewer) -> &mut Stream {
        let (next, deliveries, board) = (&mut self.next, &self.deliveries, &self.board);
        self.streams.entry(viewer.stream().clone()).or_insert_with_key(|name| {
            let mut subscription = Box::new(viewer.subscribe(Rendition::Picture));
            *next += 1;
            let (key, mut fanout) = (*next, Fanout::new(random(), random()));
            // The current GOP is there already: an answer need not wait, and a joiner starts with it.
            while let Some(delivery) = subscription.try_next() {
                fanout.handle(delivery);
            }
            publish_recent(board, name, &fanout);
            let of = Of { name: name.clone(), key, is_sound: false };
            let picture = listen(deliveries, of, subscription);
            Stream { key, fanout, viewers: 0, waiting: Vec::new(), picture, sound: None, listeners: 0 }
        })
    }

    pub(super) fn delivered(&mut self, Next { of, mut subscription, delivery }: Next) {
        if self.streams.get(&of.name).is_none_or(|stream| stream.key != of.key) {
            return;
        }
        let mut delivery = Some(delivery);
        for _ in 0..MOST_AT_ONCE {
            let Some(item) = delivery.take().or_else(|| subscription.try_next()) else { break };
            if of.is_sound {
                self.distribute_sound(&of.name, item);
            } else {
                self.distribute(&of.name, item);
            }
        }
        if !of.is_sound {
            self.answer_waiting(&of.name);
        }
        // Answering may have been in vain, and the stream gone with its last viewer.
        let Some(stream) = self.streams.get_mut(&of.name) else { return };
        let is_sound = of.is_sound;
        let next = listen(&self.deliveries, of, subscription);
        match is_sound {
            true => stream.sound = Some(next),
            false => stream.picture = next,
        }
    }

    fn distribute(&mut self, name: &StreamName, delivery: Delivery) {
        let Some(stream) = self.streams.get_mut(name) else { return };
        if matches!(delivery, Delivery::SourceStarted | Delivery::SourceEnded) {
            self.shards.end_source(stream.key);
        }
        let Some(frame) = stream.fanout.handle(delivery) else { return };
        self.shards.picture(stream.key, &frame);
        publish_recent(&self.board, name, &stream.fanout);
    }

    fn distribute_sound(&mut self, name: &StreamName, delivery: Delivery) {
        let Some(stream) = self.streams.get_mut(name) else { return };
        if let Some(packet) = stream.fanout.handle_sound(delivery) {
            self.shards.sound(stream.key, &packet);
        }
    }

    /// Keys are agreed: hands the viewer's media to a shard.
    pub(super) fn begin_media(&mut self, now: Instant, key: Key, srtp: OutboundRtp) {
        let Some(entry) = self.sessions.get_mut(&key) else { return };
        let Some(path) = entry.session.agent().selected() else { return };
        let name = entry.viewer.stream();
        let Some(stream) = self.streams.get_mut(name) else { return };
        let Some(Agreed { video, negotiated, sound }) = entry.agreed.take() else { return };
        let after_ms = now.saturating_duration_since(entry.session.created_at()).as_millis() as u64;
        let joiner = Joiner {
            key,
            id: entry.id.clone(),
            stream: stream.key,
            parts: SendingParts { video, negotiated, sound, srtp, path, pacing: self.config.pacing },
            sent: entry.sent.clone(),
            history: None,
        };
        let place = self.shards.add(joiner, stream.fanout.history());
        (entry.path, entry.place) = (Some(path), Some(place));
        if sound.is_some() {
            stream.listeners += 1;
            if stream.sound.is_none() {
                let of = Of { name: name.clone(), key: stream.key, is_sound: true };
                let subscription = Box::new(entry.viewer.subscribe(Rendition::Sound));
                stream.sound = Some(listen(&self.deliveries, of, subscription));
            }
        }
        tracing::info!(session = log_name(&entry.id), stream = %name, peer = %path.peer, after_ms, "viewer connected");
    }

    /// Answers the offers that waited for the parameter sets.
    pub(super) fn answer_waiting(&mut self, name: &StreamName) {
        let Some(stream) = self.streams.get_mut(name) else { return };
        if stream.fanout.profile().is_none() {
            return;
        }
        for Waiting { origin, asked, reply, .. } in std::mem::take(&mut stream.waiting) {
            let created = self.create(asked, origin);
            self.reply_created(name, reply, created);
        }
    }

    /// A viewer whose HTTP request went away meanwhile gets no session.
    fn reply_created(
        &mut self,
        name: &StreamName,
        reply: Reply<Result<Created, CreateError>>,
        created: Result<Created, CreateError>,
    ) {
        let Err(Ok(unread)) = reply.send(created) else { return self.forget_unused(name) };
        if let Some(&key) = self.by_id.get(&unread.session_id) {
            self.remove(key);
        }
    }

    pub(super) fn forget_unused(&mut self, name: &StreamName) {
        if self.streams.get(name).is_some_and(|stream| stream.viewers == 0 && stream.waiting.is_empty()) {
            if let Some(stream) = self.streams.remove(name) {
                stream.forget();
            }
            lock(&self.board.recent).remove(name);
        }
    }
}

fn publish_recent(board: &super::Board, name: &StreamName, fanout: &Fanout) {
    let mut recent = lock(&board.recent);
    // Looked up first, for an entry wants a name of its own.
    if let Some(known) = recent.get_mut(name) {
        known.clear();
        known.extend(fanout.recent());
    } else {
        recent.insert(name.clone(), fanout.recent().iter().copied().collect());
    }
}

/// Waits for the next delivery, until aborted.
fn listen(deliveries: &Deliveries, of: Of, mut subscription: Box<Subscription>) -> AbortHandle {
    let (handle, registration) = AbortHandle::new_pair();
    let next = async move {
        let delivery = subscription.next().await;
        Next { of, subscription, delivery }
    };
    deliveries.push(Box::pin(Abortable::new(next, registration)));
    handle
}
