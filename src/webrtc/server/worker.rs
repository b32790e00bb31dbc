//! The thread that serves the port: datagrams in, frames out, commands and timers between.

use std::collections::{HashMap, VecDeque};
use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::future::{AbortHandle, Abortable};
use futures_util::stream::FuturesUnordered;
use futures_util::{FutureExt, StreamExt};
use tokio::sync::mpsc;
use tokio::time::{Interval, MissedTickBehavior};
use tokio_util::sync::CancellationToken;

use super::socket::{Sent, UdpSocket};
use super::{Board, Command, Config, CreateError, Created, Reply, SessionStatus, addresses, lock, log_name};
use crate::clock::Clock;
use crate::hub::{Delivery, Subscription, Viewer};
use crate::media::StreamName;
use crate::webrtc::dtls::Identity;
use crate::webrtc::fanout::Fanout;
use crate::webrtc::ice::{Path, Request};
use crate::webrtc::rtcp::NtpClock;
use crate::webrtc::sdp::Offer;
use crate::webrtc::sender::Batch;
use crate::webrtc::session::{Ended, Phase, Session};

mod commands;

/// Timers are looked at this often: DTLS retransmission and reports need no better.
const TICK: Duration = Duration::from_millis(50);
/// Between publications of the sessions' status.
const STATUS_INTERVAL: Duration = Duration::from_millis(500);
/// Between looks at the interfaces' addresses.
const ADDRESS_INTERVAL: Duration = Duration::from_secs(3);
/// Datagrams and deliveries handled before others get their turn.
const MOST_AT_ONCE: usize = 256;
/// Longest datagram looked at; more than any MTU in use.
const LONGEST_DATAGRAM: usize = 2_048;

/// First bytes of what shares the port (RFC 7983 §7).
const STUN: std::ops::RangeInclusive<u8> = 0..=3;
const DTLS: std::ops::RangeInclusive<u8> = 20..=63;
const RTP: std::ops::RangeInclusive<u8> = 128..=191;
/// Packet types of RTCP among them (RFC 5761 §4).
const RTCP: std::ops::RangeInclusive<u8> = 192..=223;

type Key = u64;
type Delivered = Result<(StreamName, u64, Box<Subscription>, Delivery), futures_util::future::Aborted>;
type Deliveries = FuturesUnordered<Pin<Box<dyn Future<Output = Delivered> + Send>>>;

struct Entry {
    id: String,
    /// Keeps the viewer in the hub.
    viewer: Viewer,
    session: Session,
    /// Names it answers to, for taking them away again.
    ufrags: Vec<String>,
    peers: Vec<SocketAddr>,
}

struct Waiting {
    until: Instant,
    offer: Box<Offer>,
    viewer: Viewer,
    reply: Reply<Result<Created, CreateError>>,
}

struct Stream {
    generation: u64,
    fanout: Fanout,
    viewers: Vec<Key>,
    waiting: Vec<Waiting>,
    subscription: AbortHandle,
}

/// All state of the thread.
pub(super) struct Worker {
    config: Config,
    clock: Clock,
    ntp: NtpClock,
    identity: Identity,
    listen: SocketAddr,
    board: Arc<Board>,
    inbox: mpsc::Receiver<Command>,
    sessions: HashMap<Key, Entry>,
    by_id: HashMap<String, Key>,
    by_ufrag: HashMap<String, Key>,
    by_peer: HashMap<SocketAddr, Key>,
    streams: HashMap<StreamName, Stream>,
    /// Sessions that wait for room in the socket's buffer, in turn.
    blocked: VecDeque<Key>,
    next: u64,
    batch: Batch,
    /// Announced to viewers, best first.
    addresses: Vec<SocketAddr>,
    status_due: Instant,
    addresses_due: Instant,
}

/// What the thread waits for, and room to read into.
pub(super) struct Loop {
    pub(super) socket: UdpSocket,
    deliveries: Deliveries,
    tick: Interval,
    buffer: Vec<u8>,
    control: Vec<u8>,
}

impl Loop {
    /// Must be called within a runtime.
    pub(super) fn new(socket: UdpSocket) -> Self {
        let mut tick = tokio::time::interval(TICK);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let (buffer, control) = (vec![0; LONGEST_DATAGRAM], UdpSocket::control_buffer());
        Self { socket, deliveries: Deliveries::new(), tick, buffer, control }
    }
}

enum Wake {
    Stop,
    Command(Option<Command>),
    Readable,
    Writable,
    Delivery(Delivered),
    Tick,
}

impl Worker {
    pub(super) fn new(
        config: Config,
        clock: Clock,
        identity: Identity,
        listen: SocketAddr,
        board: Arc<Board>,
        inbox: mpsc::Receiver<Command>,
    ) -> Self {
        let now = clock.now();
        let ntp = NtpClock::new(now, clock.wall());
        let addresses = addresses::announced(listen, config.local_addresses, &config.public_addresses);
        Self {
            config,
            clock,
            ntp,
            identity,
            listen,
            board,
            inbox,
            sessions: HashMap::new(),
            by_id: HashMap::new(),
            by_ufrag: HashMap::new(),
            by_peer: HashMap::new(),
            streams: HashMap::new(),
            blocked: VecDeque::new(),
            next: 0,
            batch: Batch::default(),
            addresses,
            status_due: now,
            addresses_due: now + ADDRESS_INTERVAL,
        }
    }

    pub(super) async fn run(mut self, socket: UdpSocket, stop: CancellationToken) -> io::Result<()> {
        let mut io = Loop::new(socket);
        while self.turn(&mut io, &stop).await? {}
        let keys: Vec<Key> = self.sessions.keys().copied().collect();
        for key in keys {
            self.end(&io.socket, key, Ended::Removed);
        }
        self.publish_status();
        Ok(())
    }

    /// Waits for what comes next and does it; false when there is nothing to come any more.
    pub(super) async fn turn(&mut self, io: &mut Loop, stop: &CancellationToken) -> io::Result<bool> {
        let wake = tokio::select! {
            biased;
            () = stop.cancelled() => Wake::Stop,
            ready = io.socket.readable() => ready.map(|()| Wake::Readable)?,
            Some(delivered) = io.deliveries.next() => Wake::Delivery(delivered),
            ready = io.socket.writable(), if !self.blocked.is_empty() => ready.map(|()| Wake::Writable)?,
            command = self.inbox.recv() => Wake::Command(command),
            _ = io.tick.tick() => Wake::Tick,
        };
        match wake {
            Wake::Stop | Wake::Command(None) => return Ok(false),
            Wake::Readable => {
                if self.read(io) == MOST_AT_ONCE {
                    self.serve_others(io).await;
                }
            }
            Wake::Writable => self.drain_blocked(&io.socket),
            Wake::Delivery(Ok(delivered)) => self.delivered(&io.socket, delivered, &mut io.deliveries),
            // Its stream has no viewers any more.
            Wake::Delivery(Err(_)) => {}
            Wake::Command(Some(command)) => self.command(&io.socket, command, &mut io.deliveries),
            Wake::Tick => self.tick(&io.socket),
        }
        Ok(true)
    }

    /// Reads what has come, up to [`MOST_AT_ONCE`] datagrams; gives how many.
    fn read(&mut self, io: &mut Loop) -> usize {
        for read in 0..MOST_AT_ONCE {
            match io.socket.receive(&mut io.buffer, &mut io.control) {
                Ok((len, path)) => {
                    self.datagram(&io.socket, path, io.buffer.get_mut(..len).unwrap_or_default());
                }
                Err(err) if err.kind() == io::ErrorKind::WouldBlock => return read,
                // A refused or unreachable peer of an earlier datagram.
                Err(err) => tracing::trace!(%err, "receiving"),
            }
        }
        MOST_AT_ONCE
    }

    /// One turn for everything but datagrams, without waiting: who floods the port must not hold up pictures,
    /// commands and timers.
    async fn serve_others(&mut self, io: &mut Loop) {
        // Timers run only while the thread is not busy.
        tokio::task::yield_now().await;
        if let Some(Some(Ok(delivered))) = io.deliveries.next().now_or_never() {
            self.delivered(&io.socket, delivered, &mut io.deliveries);
        }
        self.drain_blocked(&io.socket);
        if let Ok(command) = self.inbox.try_recv() {
            self.command(&io.socket, command, &mut io.deliveries);
        }
        if io.tick.tick().now_or_never().is_some() {
            self.tick(&io.socket);
        }
    }

    // ---- datagrams -------------------------------------------------------------------------

    fn datagram(&mut self, socket: &UdpSocket, path: Path, datagram: &mut [u8]) {
        let now = self.clock.now();
        let (Some(&first), second) = (datagram.first(), datagram.get(1).copied().unwrap_or_default()) else { return };
        if STUN.contains(&first) {
            return self.check(socket, now, path, datagram);
        }
        let Some(&key) = self.by_peer.get(&path.peer) else { return };
        let Some(entry) = self.sessions.get_mut(&key) else { return };
        if DTLS.contains(&first) {
            let before = entry.session.phase().clone();
            entry.session.handle_dtls(now, path, datagram);
            if before != Phase::Connected && *entry.session.phase() == Phase::Connected {
                let after_ms = now.saturating_duration_since(entry.session.created_at()).as_millis() as u64;
                let stream = entry.viewer.stream();
                tracing::info!(session = log_name(&entry.id), %stream, peer = %path.peer, after_ms, "viewer connected");
            }
        } else if RTP.contains(&first) && RTCP.contains(&second) {
            entry.session.handle_rtcp(now, self.ntp.at(now), datagram);
        }
        self.flush(socket, key);
        self.pump(socket, now, key);
        self.reap(socket, key);
    }

    fn check(&mut self, socket: &UdpSocket, now: Instant, path: Path, datagram: &[u8]) {
        let Ok(request) = Request::read(datagram) else { return };
        let Some(&key) = self.by_ufrag.get(request.local_ufrag()) else { return };
        let Some(entry) = self.sessions.get_mut(&key) else { return };
        match entry.session.handle_check(now, path, request) {
            Ok(true) if self.by_peer.get(&path.peer) != Some(&key) => {
                entry.peers.push(path.peer);
                // An address belongs to whoever proved it last.
                self.by_peer.insert(path.peer, key);
                self.forget_old_peers(key);
            }
            Ok(_) => {}
            Err(err) => tracing::debug!(session = log_name(&entry.id), peer = %path.peer, %err, "check not answered"),
        }
        self.flush(socket, key);
    }

    fn forget_old_peers(&mut self, key: Key) {
        let Some(entry) = self.sessions.get_mut(&key) else { return };
        let by_peer = &mut self.by_peer;
        let session = &entry.session;
        entry.peers.retain(|peer| {
            let kept = session.agent().paths().any(|path| path.peer == *peer);
            if !kept && by_peer.get(peer) == Some(&key) {
                by_peer.remove(peer);
            }
            kept
        });
    }

    /// Sends what is not media.
    fn flush(&mut self, socket: &UdpSocket, key: Key) {
        let Some(entry) = self.sessions.get_mut(&key) else { return };
        while let Some((path, datagram)) = entry.session.poll_transmit() {
            socket.send_one(&path, &datagram);
        }
    }

    /// Sends the media that waits for a session, as far as the socket takes it.
    fn pump(&mut self, socket: &UdpSocket, now: Instant, key: Key) -> bool {
        let Some(entry) = self.sessions.get_mut(&key) else { return true };
        let Some(stream) = self.streams.get(entry.viewer.stream()) else { return true };
        while let Some(path) = entry.session.fill(now, stream.fanout.history(), &mut self.batch) {
            if socket.send(now, &path, &self.batch) == Sent::Blocked {
                if !self.blocked.contains(&key) {
                    self.blocked.push_back(key);
                }
                return false;
            }
            entry.session.sent(now, &self.batch);
        }
        true
    }

    fn drain_blocked(&mut self, socket: &UdpSocket) {
        let now = self.clock.now();
        while let Some(key) = self.blocked.pop_front() {
            if !self.pump(socket, now, key) {
                break;
            }
        }
    }

    // ---- streams ---------------------------------------------------------------------------

    fn delivered(
        &mut self,
        socket: &UdpSocket,
        (name, generation, mut subscription, first): (StreamName, u64, Box<Subscription>, Delivery),
        deliveries: &mut Deliveries,
    ) {
        if self.streams.get(&name).is_none_or(|stream| stream.generation != generation) {
            return;
        }
        let mut delivery = Some(first);
        for _ in 0..MOST_AT_ONCE {
            let Some(item) = delivery.take().or_else(|| subscription.try_next()) else { break };
            self.distribute(socket, &name, item);
        }
        if let Some(stream) = self.streams.get_mut(&name) {
            stream.subscription = listen(deliveries, name.clone(), generation, subscription);
        }
        self.answer_waiting(&name);
    }

    fn distribute(&mut self, socket: &UdpSocket, name: &StreamName, delivery: Delivery) {
        let now = self.clock.now();
        let Some(stream) = self.streams.get_mut(name) else { return };
        let Some(frame) = stream.fanout.handle(delivery) else { return };
        let recent = stream.fanout.recent().iter().copied();
        {
            let mut board = lock(&self.board.recent);
            let known = board.entry(name.clone()).or_default();
            known.clear();
            known.extend(recent);
        }
        let viewers = std::mem::take(&mut stream.viewers);
        for &key in &viewers {
            if let Some(entry) = self.sessions.get_mut(&key) {
                entry.session.offer(now, &frame);
            }
            if self.blocked.is_empty() {
                self.pump(socket, now, key);
            } else if !self.blocked.contains(&key) {
                self.blocked.push_back(key);
            }
        }
        if let Some(stream) = self.streams.get_mut(name) {
            stream.viewers = viewers;
        }
    }

    /// Answers the offers that waited for the parameter sets.
    fn answer_waiting(&mut self, name: &StreamName) {
        let Some(stream) = self.streams.get_mut(name) else { return };
        if stream.fanout.profile().is_none() {
            return;
        }
        for Waiting { offer, viewer, reply, .. } in std::mem::take(&mut stream.waiting) {
            let created = self.create(&offer, viewer);
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

    fn forget_unused(&mut self, name: &StreamName) {
        if self.streams.get(name).is_some_and(|stream| stream.viewers.is_empty() && stream.waiting.is_empty()) {
            if let Some(stream) = self.streams.remove(name) {
                stream.subscription.abort();
            }
            lock(&self.board.recent).remove(name);
        }
    }

    // ---- ends and timers -------------------------------------------------------------------

    fn end(&mut self, socket: &UdpSocket, key: Key, why: Ended) {
        let now = self.clock.now();
        if let Some(entry) = self.sessions.get_mut(&key) {
            entry.session.end(now, why);
        }
        self.reap(socket, key);
    }

    /// Takes a session away that has ended.
    fn reap(&mut self, socket: &UdpSocket, key: Key) {
        let Some(entry) = self.sessions.get(&key) else { return };
        let Phase::Ended(why) = entry.session.phase() else { return };
        let (stream, counts) = (entry.viewer.stream(), entry.session.counts());
        match why {
            Ended::Removed | Ended::Left => {
                tracing::info!(session = log_name(&entry.id), %stream, packets = counts.packets, "viewer left: {why}");
            }
            why => {
                tracing::warn!(session = log_name(&entry.id), %stream, packets = counts.packets, err = %why, "viewer lost")
            }
        }
        self.flush(socket, key);
        self.remove(key);
    }

    fn remove(&mut self, key: Key) {
        let Some(entry) = self.sessions.remove(&key) else { return };
        self.by_id.remove(&entry.id);
        lock(&self.board.etags).remove(&entry.id);
        self.by_ufrag.retain(|_, owner| *owner != key);
        self.by_peer.retain(|_, owner| *owner != key);
        self.blocked.retain(|blocked| *blocked != key);
        let name = entry.viewer.stream().clone();
        if let Some(stream) = self.streams.get_mut(&name) {
            stream.viewers.retain(|viewer| *viewer != key);
        }
        self.forget_unused(&name);
    }

    fn tick(&mut self, socket: &UdpSocket) {
        // A full queue of the interface makes no event when it has room again.
        self.drain_blocked(socket);
        let now = self.clock.now();
        let ntp = self.ntp.at(now);
        let due = self.sessions.iter().filter(|(_, entry)| entry.session.poll_timeout() <= now);
        for key in due.map(|(key, _)| *key).collect::<Vec<_>>() {
            let Some(entry) = self.sessions.get_mut(&key) else { continue };
            let rtp = self.streams.get(entry.viewer.stream()).and_then(|stream| stream.fanout.rtp_time(now));
            entry.session.handle_timeout(now, ntp, rtp);
            self.flush(socket, key);
            self.reap(socket, key);
        }
        let impatient = self.streams.iter_mut().filter(|(_, stream)| stream.waiting.iter().any(|w| w.until <= now));
        let names: Vec<_> = impatient.map(|(name, _)| name.clone()).collect();
        for name in names {
            if let Some(stream) = self.streams.get_mut(&name) {
                let late = stream.waiting.extract_if(.., |waiting| waiting.until <= now);
                late.for_each(|waiting| drop(waiting.reply.send(Err(CreateError::NoPicture))));
            }
            self.forget_unused(&name);
        }
        if self.status_due <= now {
            self.status_due = now + STATUS_INTERVAL;
            self.publish_status();
        }
        if self.addresses_due <= now {
            self.addresses_due = now + ADDRESS_INTERVAL;
            let (local, public) = (self.config.local_addresses, &self.config.public_addresses);
            let found = addresses::announced(self.listen, local, public);
            if self.addresses != found {
                tracing::info!(addresses = ?found, "the box's addresses changed");
                self.addresses = found;
            }
        }
    }

    fn publish_status(&self) {
        let mut statuses: Vec<_> = self
            .sessions
            .values()
            .map(|entry| SessionStatus::of(&entry.id, entry.viewer.stream(), &entry.session))
            .collect();
        statuses.sort_by(|a, b| a.id.cmp(&b.id));
        *lock(&self.board.sessions) = statuses;
    }
}

/// Waits for the next delivery, until aborted.
fn listen(
    deliveries: &mut Deliveries,
    name: StreamName,
    generation: u64,
    mut subscription: Box<Subscription>,
) -> AbortHandle {
    let (handle, registration) = AbortHandle::new_pair();
    let next = async move {
        let delivery = subscription.next().await;
        (name, generation, subscription, delivery)
    };
    deliveries.push(Box::pin(Abortable::new(next, registration)));
    handle
}
