//! The controlling thread: it listens to the UDP port, hears what comes over TCP, holds the sessions and the
//! subscriptions, and makes of every picture one frame for all viewers.
//!
//! Owns: who is meant by a datagram, commands, timers, status. Does not own: what viewers are sent as media (`shard`);
//! the shard that is served on this thread is served in between.

use std::collections::HashMap;
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use futures_util::{FutureExt, StreamExt};
use tokio::sync::{broadcast, mpsc};
use tokio::time::{Interval, MissedTickBehavior};
use tokio_util::sync::CancellationToken;

use super::outlets::Outlets;
use super::shard::{Key, MediaSent};
use super::shards::{Place, Shards, threads_by_itself};
use super::socket::UdpSocket;
use super::tcp::Arrival;
use super::timer::Timer;
use super::{Board, Command, Config, CreateError, DELAY_HOLDS, SessionStatus, addresses, lock, log_name};
use crate::clock::Clock;
use crate::hub::Viewer;
use crate::media::StreamName;
use crate::webrtc::dtls::Identity;
use crate::webrtc::framing;
use crate::webrtc::ice::{Path, Remote, Request, Transport};
use crate::webrtc::rtcp::{NtpClock, SenderReport};
use crate::webrtc::sending::SendCounts;
use crate::webrtc::session::{Ended, Phase, Session};

mod commands;
mod room;
mod streams;

pub(super) use room::Origin;
use streams::{Agreed, Delivered, Deliveries, Stream};

/// Timers are looked at this often: DTLS retransmission and reports need no better.
const TICK: Duration = Duration::from_millis(50);
/// Between publications of the sessions' status.
const STATUS_INTERVAL: Duration = Duration::from_millis(500);
/// Datagrams and deliveries handled before others get their turn.
const MOST_AT_ONCE: usize = 256;
/// Longest datagram looked at; more than any MTU in use.
const LONGEST_DATAGRAM: usize = framing::LONGEST;

/// First bytes of what shares the port (RFC 7983 §7).
const STUN: std::ops::RangeInclusive<u8> = 0..=3;
const DTLS: std::ops::RangeInclusive<u8> = 20..=63;
const RTP: std::ops::RangeInclusive<u8> = 128..=191;
/// Packet types of RTCP among them (RFC 5761 §4).
const RTCP: std::ops::RangeInclusive<u8> = 192..=223;

struct Entry {
    id: String,
    /// Keeps the viewer in the hub.
    viewer: Viewer,
    /// As whom it counts.
    origin: Option<room::Origin>,
    /// The stream it watches.
    stream: Key,
    session: Session,
    /// When it was asked for.
    asked: Instant,
    /// What was agreed on for its media, until that begins.
    agreed: Option<Agreed>,
    /// Who sends its media, once that flows.
    place: Option<Place>,
    /// The path its media takes, as its shard was told.
    path: Option<Path>,
    sent: Arc<Mutex<MediaSent>>,
    /// Names it answers to, for taking them away again.
    ufrags: Vec<String>,
    /// What it has proven.
    paths: Vec<Path>,
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
    outlets: Outlets,
    /// What came over TCP.
    arrivals: mpsc::Receiver<Arrival>,
    pub(super) shards: Shards,
    deliveries: Deliveries,
    sessions: HashMap<Key, Entry>,
    by_id: HashMap<String, Key>,
    by_ufrag: HashMap<String, Key>,
    by_peer: HashMap<Remote, Key>,
    streams: HashMap<StreamName, Stream>,
    next: Key,
    /// Announced to viewers, best first.
    addresses: Vec<SocketAddr>,
    status_due: Instant,
}

/// What the thread waits for, and room to read into.
pub(super) struct Loop {
    pub(super) socket: UdpSocket,
    tick: Interval,
    timer: Timer,
    buffer: Vec<u8>,
    control: Vec<u8>,
}

impl Loop {
    /// Must be called within a runtime.
    pub(super) fn new(socket: UdpSocket) -> io::Result<Self> {
        let mut tick = tokio::time::interval(TICK);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let (buffer, control) = (vec![0; LONGEST_DATAGRAM], UdpSocket::control_buffer());
        Ok(Self { socket, tick, timer: Timer::new()?, buffer, control })
    }
}

enum Wake {
    Stop,
    Command(Option<Command>),
    Readable,
    Due,
    Delivery(Delivered),
    Tick,
    Arrival(Option<Arrival>),
}

impl Worker {
    pub(super) fn new(
        config: Config,
        clock: Clock,
        identity: Identity,
        (listen, outlets, arrivals): (SocketAddr, Outlets, mpsc::Receiver<Arrival>),
        board: Arc<Board>,
        (inbox, edges): (mpsc::Receiver<Command>, broadcast::Sender<(String, u32)>),
    ) -> Self {
        let now = clock.now();
        let ntp = NtpClock::new(now, clock.wall());
        let addresses = addresses::announced(listen, config.local_addresses, &config.public_addresses);
        Self {
            config,
            ntp,
            identity,
            listen,
            board,
            inbox,
            shards: Shards::new(clock.clone(), outlets.clone(), edges),
            clock,
            outlets,
            arrivals,
            deliveries: Deliveries::new(),
            sessions: HashMap::new(),
            by_id: HashMap::new(),
            by_ufrag: HashMap::new(),
            by_peer: HashMap::new(),
            streams: HashMap::new(),
            next: 0,
            addresses,
            status_due: now,
        }
    }

    pub(super) async fn run(mut self, socket: UdpSocket, stop: CancellationToken) -> io::Result<()> {
        let threads = match self.config.threads {
            0 => threads_by_itself(),
            threads => threads,
        };
        self.shards.start(threads)?;
        let mut io = Loop::new(socket)?;
        while self.turn(&mut io, &stop).await? {}
        let keys: Vec<Key> = self.sessions.keys().copied().collect();
        for key in keys {
            self.end(key, Ended::Removed);
        }
        self.publish_status();
        self.shards.stop();
        Ok(())
    }

    /// Waits for what comes next and does it; false when there is nothing to come any more.
    pub(super) async fn turn(&mut self, io: &mut Loop, stop: &CancellationToken) -> io::Result<bool> {
        if let Some(due) = self.shards.due() {
            io.timer.set(self.clock.now(), due)?;
        }
        let wake = tokio::select! {
            biased;
            () = stop.cancelled() => Wake::Stop,
            ready = io.socket.readable() => ready.map(|()| Wake::Readable)?,
            fired = io.timer.fired() => fired.map(|()| Wake::Due)?,
            Some(delivered) = self.deliveries.next() => Wake::Delivery(delivered),
            command = self.inbox.recv() => Wake::Command(command),
            _ = io.tick.tick() => Wake::Tick,
            // Last, for whoever has proven one path can keep these coming.
            arrival = self.arrivals.recv() => Wake::Arrival(arrival),
        };
        match wake {
            Wake::Stop | Wake::Command(None) => return Ok(false),
            Wake::Readable => {
                if self.read(io) == MOST_AT_ONCE {
                    self.serve_others(io).await;
                }
            }
            Wake::Due => self.shards.wake(),
            Wake::Delivery(Ok(delivered)) => self.delivered(delivered),
            // Nobody wants it any more.
            Wake::Delivery(Err(_)) => {}
            Wake::Command(Some(command)) => self.command(command),
            Wake::Tick => self.tick(),
            Wake::Arrival(Some(arrival)) => self.arrived(arrival),
            Wake::Arrival(None) => return Err(io::Error::other("the thread that serves TCP ended unexpectedly")),
        }
        match self.shards.are_well() {
            true => Ok(true),
            false => Err(io::Error::other("a thread that sends to viewers ended unexpectedly")),
        }
    }

    /// Reads what has come, up to [`MOST_AT_ONCE`] datagrams; gives how many.
    fn read(&mut self, io: &mut Loop) -> usize {
        for read in 0..MOST_AT_ONCE {
            match io.socket.receive(&mut io.buffer, &mut io.control) {
                Ok((len, path)) => {
                    self.datagram(path, io.buffer.get_mut(..len).unwrap_or_default());
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
        self.shards.wake();
        if let Some(Some(Ok(delivered))) = self.deliveries.next().now_or_never() {
            self.delivered(delivered);
        }
        if let Ok(command) = self.inbox.try_recv() {
            self.command(command);
        }
        if io.tick.tick().now_or_never().is_some() {
            self.tick();
        }
        for _ in 0..MOST_AT_ONCE {
            let Ok(arrival) = self.arrivals.try_recv() else { break };
            self.arrived(arrival);
        }
    }

    // ---- TCP -------------------------------------------------------------------------------

    fn arrived(&mut self, arrival: Arrival) {
        match arrival {
            Arrival::Datagram(path, mut datagram) => self.datagram(path, &mut datagram),
            Arrival::Room(path) => {
                let Some(&key) = self.by_peer.get(&path.remote()) else { return };
                let Some(entry) = self.sessions.get(&key).filter(|entry| entry.path == Some(path)) else { return };
                if let Some(place) = entry.place {
                    self.shards.room(place, key);
                }
            }
            Arrival::Gone(path) => {
                if let Some(&key) = self.by_peer.get(&path.remote()) {
                    self.lose(key, &path);
                }
            }
        }
    }

    /// A path over TCP is no more.
    fn lose(&mut self, key: Key, path: &Path) {
        let Some(entry) = self.sessions.get_mut(&key) else { return };
        tracing::debug!(session = log_name(&entry.id), peer = %path.peer, "a viewer's connection has ended");
        entry.session.lost(path);
        // Whatever comes next is another path, though its addresses be the same.
        entry.path = entry.path.filter(|used| used != path);
        self.forget_old_paths(key);
        self.follow_path(key);
    }

    // ---- datagrams -------------------------------------------------------------------------

    fn datagram(&mut self, path: Path, datagram: &mut [u8]) {
        let now = self.clock.now();
        let (Some(&first), second) = (datagram.first(), datagram.get(1).copied().unwrap_or_default()) else { return };
        if STUN.contains(&first) {
            return self.check(now, path, datagram);
        }
        let Some(&key) = self.by_peer.get(&path.remote()) else { return };
        let Some(entry) = self.sessions.get_mut(&key) else { return };
        let mut keys = None;
        if DTLS.contains(&first) {
            keys = entry.session.handle_dtls(now, path, datagram);
        } else if RTP.contains(&first) && RTCP.contains(&second) {
            let (shards, place) = (&mut self.shards, entry.place);
            entry.session.handle_rtcp(now, self.ntp.at(now), datagram, |wish| {
                if let Some(place) = place {
                    shards.wish(place, key, wish);
                }
            });
        }
        self.flush(key);
        if let Some(keys) = keys {
            self.begin_media(now, key, keys);
        }
        self.reap(key);
    }

    fn check(&mut self, now: Instant, path: Path, datagram: &[u8]) {
        let is_known = self.answer_check(now, path, datagram);
        if !is_known && path.transport == Transport::Tcp {
            self.outlets.tcp.close_unproven(&path);
        }
    }

    /// Whether the check is of somebody who knows a session's password.
    fn answer_check(&mut self, now: Instant, path: Path, datagram: &[u8]) -> bool {
        let Ok(request) = Request::read(datagram) else { return false };
        let Some(&key) = self.by_ufrag.get(request.local_ufrag()) else { return false };
        let Some(entry) = self.sessions.get_mut(&key) else { return false };
        let checked = entry.session.handle_check(now, path, request);
        match checked {
            Ok(true) => {
                // It may have ended while its check waited: nobody would tell of that any more.
                if path.transport == Transport::Tcp && !self.outlets.tcp.prove(&path) {
                    self.lose(key, &path);
                    return true;
                }
                // An address belongs to whoever proved it last.
                let owner = self.by_peer.insert(path.remote(), key);
                let is_new = !entry.paths.contains(&path);
                if is_new {
                    entry.paths.push(path);
                }
                if is_new || owner != Some(key) {
                    self.forget_old_paths(key);
                }
            }
            Ok(false) => {}
            Err(err) => tracing::debug!(session = log_name(&entry.id), peer = %path.peer, %err, "check not answered"),
        }
        self.flush(key);
        self.follow_path(key);
        checked.is_ok()
    }

    /// Media takes the path the viewer has chosen.
    fn follow_path(&mut self, key: Key) {
        let Some(entry) = self.sessions.get_mut(&key) else { return };
        if let (Some(place), Some(path)) = (entry.place, entry.session.agent().selected())
            && entry.path != Some(path)
            && self.shards.set_path(place, key, path)
        {
            entry.path = Some(path);
        }
    }

    /// Forgets the paths that a session has given up for others, or that are no more.
    fn forget_old_paths(&mut self, key: Key) {
        let Some(entry) = self.sessions.get_mut(&key) else { return };
        let agent = entry.session.agent();
        for path in entry.paths.extract_if(.., |path| !agent.is_proven(path)) {
            let is_used = agent.paths().any(|other| other.remote() == path.remote());
            if !is_used && self.by_peer.get(&path.remote()) == Some(&key) {
                self.by_peer.remove(&path.remote());
            }
            if path.transport == Transport::Tcp {
                self.outlets.tcp.close(&path);
            }
        }
    }

    /// Sends what is not media.
    fn flush(&mut self, key: Key) {
        let Some(entry) = self.sessions.get_mut(&key) else { return };
        while let Some((path, datagram)) = entry.session.poll_transmit() {
            self.outlets.send_one(&path, &datagram);
        }
    }

    // ---- ends and timers -------------------------------------------------------------------

    fn end(&mut self, key: Key, why: Ended) {
        let now = self.clock.now();
        if let Some(entry) = self.sessions.get_mut(&key) {
            entry.session.end(now, why);
        }
        self.reap(key);
    }

    /// Takes a session away that has ended.
    fn reap(&mut self, key: Key) {
        let Some(entry) = self.sessions.get(&key) else { return };
        let Phase::Ended(why) = entry.session.phase() else { return };
        let (stream, counts) = (entry.viewer.stream(), lock(&entry.sent).counts);
        match why {
            Ended::Removed | Ended::Left => {
                tracing::info!(session = log_name(&entry.id), %stream, packets = counts.picture.packets, "viewer left: {why}");
            }
            // Whoever floods the box with offers must not flood its journal.
            Ended::GaveWay => tracing::debug!(session = log_name(&entry.id), %stream, err = %why, "viewer lost"),
            why => {
                tracing::warn!(session = log_name(&entry.id), %stream, packets = counts.picture.packets, err = %why, "viewer lost")
            }
        }
        self.flush(key);
        self.remove(key);
    }

    fn remove(&mut self, key: Key) {
        let Some(entry) = self.sessions.remove(&key) else { return };
        self.by_id.remove(&entry.id);
        lock(&self.board.etags).remove(&entry.id);
        lock(&self.board.delays).remove(&entry.id);
        self.by_ufrag.retain(|_, owner| *owner != key);
        self.by_peer.retain(|_, owner| *owner != key);
        let connections = entry.paths.iter().filter(|path| path.transport == Transport::Tcp);
        connections.for_each(|path| self.outlets.tcp.close(path));
        if let Some(place) = entry.place {
            self.shards.remove(place, entry.stream, key);
        }
        let name = entry.viewer.stream().clone();
        if let Some(stream) = self.streams.get_mut(&name) {
            let listened = entry.place.is_some() && entry.session.sound_ssrc().is_some();
            stream.has_left(listened);
        }
        self.forget_unused(&name);
    }

    fn tick(&mut self) {
        let now = self.clock.now();
        let due = self.sessions.iter().filter(|(_, entry)| entry.session.poll_timeout() <= now);
        for key in due.map(|(key, _)| *key).collect::<Vec<_>>() {
            let reports = self.reports(now, key);
            let Some(entry) = self.sessions.get_mut(&key) else { continue };
            entry.session.handle_timeout(now, &reports);
            self.flush(key);
            self.reap(key);
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
    }

    /// Looks which addresses are to be announced now. Before each answer, for whoever asks may do so by an address that
    /// the box has had for a second.
    fn look_at_addresses(&mut self) {
        let (local, public) = (self.config.local_addresses, &self.config.public_addresses);
        let found = addresses::announced(self.listen, local, public);
        if self.addresses != found {
            tracing::info!(addresses = ?found, "the box's addresses changed");
            self.addresses = found;
        }
    }

    /// What sender reports say of the picture and the sound, once some of it was sent (RFC 3550 §6.4).
    fn reports(&self, now: Instant, key: Key) -> Vec<SenderReport> {
        let Some(entry) = self.sessions.get(&key) else { return Vec::new() };
        let Some(stream) = self.streams.get(entry.viewer.stream()) else { return Vec::new() };
        let counts = lock(&entry.sent).counts;
        let ntp = self.ntp.at(now);
        let report = |ssrc: Option<u32>, rtp: Option<u32>, counts: SendCounts| {
            let (packets, octets) = (counts.packets as u32, counts.payload_bytes as u32);
            let report = SenderReport { ssrc: ssrc?, ntp, rtp: rtp?, packets, octets };
            (counts.packets > 0).then_some(report)
        };
        let picture = report(Some(entry.session.ssrc()), stream.fanout.rtp_time(now), counts.picture);
        let sound = report(entry.session.sound_ssrc(), stream.fanout.sound_time(now), counts.sound);
        picture.into_iter().chain(sound).collect()
    }

    fn publish_status(&self) {
        let now = self.clock.now();
        let delays = lock(&self.board.delays);
        let holds = |since: Instant| now.saturating_duration_since(since) < DELAY_HOLDS;
        let of = |entry: &Entry| {
            let delay = delays.get(&entry.id).filter(|(_, since)| holds(*since)).map(|(delay, _)| *delay);
            SessionStatus::of(&entry.id, &entry.viewer, &entry.session, *lock(&entry.sent), delay)
        };
        let mut statuses: Vec<_> = self.sessions.values().map(of).collect();
        drop(delays);
        statuses.sort_by(|a, b| a.id.cmp(&b.id));
        *lock(&self.board.sessions) = statuses;
    }
}
