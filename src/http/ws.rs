//! The WebSocket of the page: tally first and always, then streams, clock, frame times and the edge
//! at which a session's picture is the live one.
//!
//! Nothing queues here: while a socket is slow its next message is not made yet, so that what it
//! gets next is the newest state.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::ws::{CloseFrame, Message, Utf8Bytes, WebSocket, WebSocketUpgrade, close_code};
use axum::extract::{Extension, State};
use axum::response::Response;
use tokio::sync::broadcast::{self, error::RecvError};
use tokio::time::{MissedTickBehavior, interval, timeout};

use super::Handles;
use super::wire::{FromPage, Listen, Stream, Tally, ToPage};
use crate::access::Grant;
use crate::hub::Event;
use crate::media::StreamName;

const MOST_MESSAGE_BYTES: usize = 4 << 10;

/// More than one message a second, so that silence means something and `age_ms` is never old.
const HEARTBEAT: Duration = Duration::from_millis(500);

/// How often frame times are sent, and changed streams looked up.
const TICK: Duration = Duration::from_millis(200);

/// How often it is seen whether the person is still let in.
const LOOK_EVERY: Duration = Duration::from_millis(500);

/// Messages of a page in that time; it sends two a second.
const MOST_MESSAGES: u32 = 100;

/// The close code of a socket whose person is not let in any more (RFC 6455 §7.4.2: of our own).
const NOT_LET_IN: u16 = 4401;

/// A socket that takes nothing for this long is gone.
const STUCK_AFTER: Duration = Duration::from_secs(5);

/// Why a socket ends.
enum End {
    /// The peer went, or takes nothing any more.
    Gone,
    /// The peer said something that is not in the protocol.
    Violation(u16, &'static str),
}

pub(super) async fn upgrade(
    State(handles): State<Handles>,
    Extension(grant): Extension<Grant>,
    upgrade: WebSocketUpgrade,
) -> Response {
    let limited = upgrade.max_message_size(MOST_MESSAGE_BYTES).max_frame_size(MOST_MESSAGE_BYTES);
    // For what a page says; by itself each socket would hold 128 KB.
    let limited = limited.read_buffer_size(MOST_MESSAGE_BYTES).write_buffer_size(MOST_MESSAGE_BYTES);
    limited.on_upgrade(move |socket| async move {
        let peer = grant.from;
        tracing::debug!(?peer, "page connected");
        let edges = Edges::new(handles.sessions.edges());
        Page { handles, grant, socket, watching: None, session: None, edges }.run().await;
        tracing::debug!(?peer, "page gone");
    })
}

struct Page {
    handles: Handles,
    /// How its person was let in.
    grant: Grant,
    socket: WebSocket,
    watching: Option<StreamName>,
    /// The session by which the page watches, as soon as it knows.
    session: Option<String>,
    edges: Edges,
}

/// Waits for the edge of one session.
///
/// Nothing is taken from the channel while none is awaited: so it holds the last edges of all
/// sessions, and one that comes before its page says `watch` is found there.
struct Edges {
    receiver: broadcast::Receiver<(String, u32)>,
    awaited: Option<String>,
}

impl Edges {
    fn new(receiver: broadcast::Receiver<(String, u32)>) -> Self {
        Self { receiver, awaited: None }
    }

    fn wait_for(&mut self, session: Option<String>) {
        self.awaited = session;
    }

    /// The awaited session and its edge; never ready while none is awaited. May be cancelled.
    async fn next(&mut self) -> (String, u32) {
        while let Some(awaited) = &self.awaited {
            match self.receiver.recv().await {
                Ok((session, rtp)) if session == *awaited => {
                    self.awaited = None;
                    return (session, rtp);
                }
                Ok(_) | Err(RecvError::Lagged(_)) => {}
                Err(RecvError::Closed) => self.awaited = None,
            }
        }
        std::future::pending().await
    }
}

impl Page {
    async fn run(mut self) {
        if let Err(End::Violation(code, reason)) = self.talk().await {
            let close = CloseFrame { code, reason: Utf8Bytes::from_static(reason) };
            let _ = timeout(STUCK_AFTER, self.socket.send(Message::Close(Some(close)))).await;
        }
    }

    async fn talk(&mut self) -> Result<(), End> {
        let mut events = self.handles.hub.events();
        let (mut heartbeat, mut tick, mut look) = (ticking(HEARTBEAT), ticking(TICK), ticking(LOOK_EVERY));
        self.send_tally().await?;
        let mut told = self.streams();
        self.send_hello(told.clone()).await?;
        let (mut stale, mut heard) = (false, 0);
        loop {
            tokio::select! {
                biased;
                // First, so that a page that talks without end does not put its own end off.
                _ = look.tick() => {
                    if !self.handles.access.holds(&self.grant) {
                        return Err(End::Violation(NOT_LET_IN, "not let in any more"));
                    }
                    heard = 0;
                }
                changed = self.handles.tally.changed() => {
                    changed.map_err(|_| End::Gone)?;
                    self.send_tally().await?;
                    heartbeat.reset();
                }
                message = self.socket.recv() => {
                    heard += 1;
                    if heard > MOST_MESSAGES {
                        return Err(End::Violation(close_code::POLICY, "too many messages"));
                    }
                    self.hear(message).await?;
                    // What is here already is waited for by nobody, and others want their turn.
                    tokio::task::consume_budget().await;
                }
                (session, rtp) = self.edges.next() => self.send(&ToPage::Edge { session, rtp }).await?,
                event = events.recv() => match event {
                    // Counts of viewers change in bursts: they wait for the next tick.
                    Ok(Event::Joined { .. } | Event::Left { .. }) | Err(RecvError::Lagged(_)) => stale = true,
                    Ok(_) => self.send_streams(&mut told).await?,
                    Err(RecvError::Closed) => return Err(End::Gone),
                },
                _ = tick.tick() => {
                    if std::mem::take(&mut stale) || told.iter().any(Stream::is_unmeasured) {
                        self.send_streams(&mut told).await?;
                    }
                    self.send_frame_times().await?;
                }
                _ = heartbeat.tick() => self.send_tally().await?,
            }
        }
    }

    async fn hear(&mut self, message: Option<Result<Message, axum::Error>>) -> Result<(), End> {
        let text = match message.ok_or(End::Gone)? {
            Ok(Message::Text(text)) => text,
            Ok(Message::Ping(_) | Message::Pong(_)) => return Ok(()),
            Ok(Message::Close(_)) => return Err(End::Gone),
            Ok(Message::Binary(_)) => return Err(End::Violation(close_code::POLICY, "text only")),
            Err(error) if is_too_large(&error) => return Err(End::Violation(close_code::SIZE, "message too large")),
            Err(_) => return Err(End::Gone),
        };
        match parse(text.as_str()) {
            Some(FromPage::Ping { id }) => {
                let received_ms = self.handles.box_ms(self.handles.clock.now());
                self.send(&ToPage::Clock { id, received_ms }).await
            }
            Some(FromPage::Watch { stream, session }) => {
                self.watching = Some(stream.parse().map_err(|_| End::Violation(close_code::POLICY, "no such name"))?);
                if self.session != session {
                    self.edges.wait_for(session.clone());
                    self.session = session;
                }
                Ok(())
            }
            Some(FromPage::Delay { ms }) => {
                // A session that ended while this was on its way is no fault of the page.
                if let Some(session) = &self.session {
                    self.handles.sessions.report_delay(session, Duration::from_millis(ms.into()));
                }
                Ok(())
            }
            None => Err(End::Violation(close_code::POLICY, "unknown message")),
        }
    }

    async fn send_tally(&mut self) -> Result<(), End> {
        // What changes from here on wakes the loop again.
        let snapshot = Arc::clone(&self.handles.tally.borrow_and_update());
        self.send(&ToPage::Tally(Tally::new(&snapshot, self.handles.clock.now()))).await
    }

    async fn send_hello(&mut self, streams: Vec<Stream>) -> Result<(), End> {
        let about = Arc::clone(&self.handles.about.borrow());
        let recommended = about.streams.first().cloned().unwrap_or_else(|| StreamName::program().short());
        let now_ms = self.handles.box_ms(self.handles.clock.now());
        let listen = Listen::new(&self.handles, &recommended);
        self.send(&ToPage::Hello { version: about.version, now_ms, streams, listen }).await
    }

    async fn send_streams(&mut self, told: &mut Vec<Stream>) -> Result<(), End> {
        let streams = self.streams();
        if streams == *told {
            return Ok(());
        }
        told.clone_from(&streams);
        self.send(&ToPage::Streams { streams }).await
    }

    async fn send_frame_times(&mut self) -> Result<(), End> {
        let Some(stream) = self.watching.clone() else { return Ok(()) };
        let frames = self.handles.sessions.recent_frames(&stream);
        let rtp: Vec<_> = frames.into_iter().map(|(rtp, arrived)| (rtp, self.handles.box_ms(arrived))).collect();
        match rtp.is_empty() {
            true => Ok(()),
            false => self.send(&ToPage::Media { stream: &stream.short(), rtp }).await,
        }
    }

    fn streams(&self) -> Vec<Stream> {
        self.handles.hub.streams().iter().map(Stream::from).collect()
    }

    async fn send(&mut self, message: &ToPage<'_>) -> Result<(), End> {
        let sent = timeout(STUCK_AFTER, self.socket.send(Message::Text(message.to_json().into()))).await;
        sent.map_err(|_| End::Gone)?.map_err(|_| End::Gone)
    }
}

/// The message of a page, if it is one.
pub(super) fn parse(text: &str) -> Option<FromPage> {
    serde_json::from_str(text).ok().filter(FromPage::is_within_bounds)
}

fn is_too_large(error: &axum::Error) -> bool {
    // axum hides tungstenite's error type behind its own; its source is the original.
    let mut source = std::error::Error::source(error);
    while let Some(inner) = source {
        if inner.to_string().contains("too long") || inner.to_string().contains("too large") {
            return true;
        }
        source = inner.source();
    }
    false
}

fn ticking(period: Duration) -> tokio::time::Interval {
    let mut ticks = interval(period);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    ticks.reset();
    ticks
}

#[cfg(test)]
mod tests {
    use std::pin::pin;

    use super::*;

    fn edges() -> (broadcast::Sender<(String, u32)>, Edges) {
        let (sender, receiver) = broadcast::channel(4);
        (sender, Edges::new(receiver))
    }

    /// What is ready now.
    async fn now(edges: &mut Edges) -> Option<u32> {
        let mut next = pin!(edges.next());
        std::future::poll_fn(|context| {
            std::task::Poll::Ready(match next.as_mut().poll(context) {
                std::task::Poll::Ready((_, rtp)) => Some(rtp),
                std::task::Poll::Pending => None,
            })
        })
        .await
    }

    #[tokio::test]
    async fn the_edge_of_the_watched_session_is_told_once_whether_it_comes_before_or_after_the_watch() {
        let (sender, mut edges) = edges();
        sender.send(("mine".into(), 7)).unwrap();
        assert_eq!(now(&mut edges).await, None, "nothing is watched");
        edges.wait_for(Some("mine".into()));
        assert_eq!(now(&mut edges).await, Some(7));
        sender.send(("mine".into(), 8)).unwrap();
        assert_eq!(now(&mut edges).await, None, "told once");
        edges.wait_for(Some("next".into()));
        assert_eq!(now(&mut edges).await, None);
        sender.send(("another".into(), 9)).unwrap();
        sender.send(("next".into(), 10)).unwrap();
        assert_eq!(now(&mut edges).await, Some(10));
    }

    #[tokio::test]
    async fn edges_of_others_pile_up_nowhere_and_hide_only_the_oldest() {
        let (sender, mut edges) = edges();
        for rtp in 0..1000 {
            sender.send(("another".into(), rtp)).unwrap();
        }
        sender.send(("mine".into(), 1)).unwrap();
        edges.wait_for(Some("mine".into()));
        assert_eq!(now(&mut edges).await, Some(1));
        drop(sender);
        edges.wait_for(Some("none".into()));
        assert_eq!(now(&mut edges).await, None, "the end of the media is not the end of the tally");
    }
}
