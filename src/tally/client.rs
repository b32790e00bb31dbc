//! The connection to vMix: the shell around [`Protocol`] and [`State`].
//!
//! Owns: finding the host, connecting for ever, the sockets, the fallback to the HTTP API for the
//! document, publishing, and saying in words what a person must mend. Does not own: what is asked
//! (`protocol`), what it means (`state`), nor where an address found automatically is kept (`app`).
//! Flows to: the `watch` channel it was given. A change is published before anything else is done.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpStream, lookup_host};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;

use super::protocol::{Event, Protocol};
use super::state::{Change, State, Update};
use super::verbatim::{Mouth, Words};
use super::xml::{self, Document};
use super::{CameraConfig, Snapshot};
use crate::clock::Clock;
use crate::problems::Problems;

mod http;
mod pulse;
mod reports;

pub(super) use http::read_answer as read_http_answer;
use pulse::Beat;
pub use pulse::Pulse;
use reports::Reports;

const CONNECT_WITHIN: Duration = Duration::from_secs(1);
const WRITE_WITHIN: Duration = Duration::from_secs(1);
const RETRY_FIRST: Duration = Duration::from_millis(250);
const RETRY_MOST: Duration = Duration::from_secs(2);
/// Of the addresses a name has, so many are tried in one attempt.
const MOST_ADDRESSES: usize = 4;
/// Something is asked twice a second. Between two rounds so far apart the box did not run, and what had come meanwhile may
/// be as old: nothing in a line says when it was sent.
const STOOD_STILL: Duration = Duration::from_secs(1);
/// A document longer than this is read on a thread of its own, so that no tally line waits for it.
const LONG_DOCUMENT: usize = 64 * 1024;

/// Where vMix is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Host {
    /// At the address that sends the SRT feed.
    #[default]
    Auto,
    /// At this address or name.
    Fixed(String),
}

/// What the client is told by the settings.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VmixConfig {
    /// Where vMix is.
    pub host: Host,
    /// The port of the TCP API.
    pub tcp_port: u16,
    /// The port of the HTTP API.
    pub http_port: u16,
    /// The cameras.
    pub cameras: Vec<CameraConfig>,
}

impl Default for VmixConfig {
    fn default() -> Self {
        Self { host: Host::Auto, tcp_port: 8099, http_port: 8088, cameras: Vec::new() }
    }
}

/// The client. Make it, then [`run`](Vmix::run) it.
pub struct Vmix {
    config: watch::Receiver<VmixConfig>,
    auto: watch::Receiver<Option<IpAddr>>,
    clock: Clock,
    shutdown: CancellationToken,
    publish: watch::Sender<Arc<Snapshot>>,
    protocol: Protocol,
    state: State,
    mouth: Mouth,
    reports: Reports,
    beat: Beat,
    jitter: u64,
}

/// What a client is made of.
pub struct VmixParts {
    /// The settings; another value takes effect at once, with a new connection only if it is needed.
    pub config: watch::Receiver<VmixConfig>,
    /// The address that sends the SRT feed, for [`Host::Auto`].
    pub auto: watch::Receiver<Option<IpAddr>>,
    /// The time.
    pub clock: Clock,
    /// Where problems are put.
    pub problems: Problems,
    /// Ends [`Vmix::run`].
    pub shutdown: CancellationToken,
    /// Where the newest state is put.
    pub publish: watch::Sender<Arc<Snapshot>>,
    /// Seeds the jitter between attempts; boxes that lose one vMix together must not return together.
    pub seed: u64,
}

/// Why an attempt or a session ended.
enum End {
    Shutdown,
    /// The host or a port is another one now.
    Elsewhere,
    /// What this connection has brought is of unknown age.
    StoodStill,
    Failed(Failure),
}

/// What ended a pause.
enum Woken {
    Shutdown,
    Elsewhere,
    InTime,
}

/// How vMix failed to answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Failure {
    #[error("the name cannot be resolved ({0})")]
    Name(String),
    #[error("no connection ({0})")]
    Connect(String),
    #[error("the connection ended ({0})")]
    Ended(String),
    #[error("{0}")]
    Lost(#[from] super::protocol::Lost),
}

/// Where to connect to.
#[derive(Clone, PartialEq, Eq)]
struct Target {
    host: String,
    tcp_port: u16,
    http_port: u16,
}

/// A document that was read beside the conversation.
struct Fetched {
    over_http: bool,
    asked: Instant,
    /// What was read, and the bytes that it was read from.
    result: Result<(Document, Bytes), String>,
}

impl Vmix {
    /// A client that has not begun.
    pub fn new(parts: VmixParts) -> Self {
        let VmixParts { config, auto, clock, problems, shutdown, publish, seed } = parts;
        let cameras = config.borrow().cameras.clone();
        Self {
            config,
            auto,
            clock,
            shutdown,
            publish,
            protocol: Protocol::default(),
            state: State::new(cameras),
            mouth: Mouth::new(),
            reports: Reports::new(problems),
            beat: Beat::new(),
            // Zero is the one state that xorshift does not leave.
            jitter: seed | 1,
        }
    }

    /// Tells, while it runs, whether it still goes round.
    pub fn pulse(&self) -> Pulse {
        self.beat.pulse()
    }

    /// What vMix says, word for word, for lights that speak its protocol.
    pub fn words(&self) -> Words {
        self.mouth.words()
    }

    /// Follows vMix until the shutdown. Ends for no other reason.
    pub async fn run(mut self) {
        self.publish_state(Change::Changed);
        let mut delay = RETRY_FIRST;
        loop {
            let target = self.target();
            self.apply(Update::Trying(target.as_ref().map(|target| target.host.clone())));
            self.reports.target(target.as_ref().map(|target| target.host.as_str()));
            let Some(target) = target else {
                match self.pause(None).await {
                    Woken::Shutdown => break,
                    Woken::Elsewhere | Woken::InTime => continue,
                }
            };
            let end = match self.connect(&target).await {
                Ok(stream) => self.session(&target, stream, &mut delay).await,
                Err(end) => end,
            };
            self.protocol.disconnected(self.clock.now());
            self.apply(Update::Lost);
            self.mouth.lost();
            match end {
                End::Shutdown => break,
                End::Elsewhere => delay = RETRY_FIRST,
                // Another connection has nothing in it but what is asked from now on.
                End::StoodStill => tracing::warn!("the box stood still; vMix is asked anew"),
                End::Failed(failure) => {
                    self.reports.failed(&target.host, target.tcp_port, &failure);
                    let wait = self.jittered(delay);
                    delay = (delay * 2).min(RETRY_MOST);
                    match self.pause(Some((wait, &target))).await {
                        Woken::Shutdown => break,
                        Woken::Elsewhere => delay = RETRY_FIRST,
                        Woken::InTime => {}
                    }
                }
            }
        }
    }

    /// Does not mark the settings as seen: that other cameras came is learnt by waiting.
    fn target(&self) -> Option<Target> {
        let config = self.config.borrow();
        let auto = *self.auto.borrow();
        let host = match &config.host {
            Host::Fixed(host) => host.trim().trim_start_matches('[').trim_end_matches(']').to_owned(),
            Host::Auto => auto?.to_canonical().to_string(),
        };
        Some(Target { host, tcp_port: config.tcp_port, http_port: config.http_port })
    }

    /// Waits for the time to pass, if there is one, or for another target.
    async fn pause(&mut self, until: Option<(Duration, &Target)>) -> Woken {
        let at = until.map(|(wait, _)| self.clock.now() + wait);
        loop {
            let left = at.map(|at| at.saturating_duration_since(self.clock.now()));
            tokio::select! {
                biased;
                () = self.shutdown.cancelled() => return Woken::Shutdown,
                () = changed(&mut self.config) => self.take_cameras(),
                () = changed(&mut self.auto) => {}
                () = self.beat.answer() => {}
                () = sleep(left.unwrap_or_default()), if left.is_some() => return Woken::InTime,
            }
            if self.target().as_ref() != until.map(|(_, target)| target) {
                return Woken::Elsewhere;
            }
        }
    }

    fn take_cameras(&mut self) {
        let cameras = self.config.borrow_and_update().cameras.clone();
        let change = self.state.set_cameras(self.clock.now(), cameras);
        self.publish_state(change);
    }

    async fn connect(&mut self, target: &Target) -> Result<TcpStream, End> {
        let attempt = open(target.host.clone(), target.tcp_port);
        tokio::pin!(attempt);
        loop {
            tokio::select! {
                biased;
                () = self.shutdown.cancelled() => return Err(End::Shutdown),
                () = changed(&mut self.config) => self.take_cameras(),
                () = changed(&mut self.auto) => {}
                () = self.beat.answer() => {}
                result = &mut attempt => return result.map_err(End::Failed),
            }
            if self.target().as_ref() != Some(target) {
                return Err(End::Elsewhere);
            }
        }
    }

    /// One connection, from its first byte to its end.
    async fn session(&mut self, target: &Target, mut stream: TcpStream, delay: &mut Duration) -> End {
        self.protocol.connected(self.clock.now());
        let mut fetches = JoinSet::new();
        let mut buffer = vec![0; 64 * 1024];
        let mut last_round = self.clock.now();
        loop {
            if let Some(failure) = self.handle_events(target, &mut fetches, delay) {
                return End::Failed(failure);
            }
            while let Some(bytes) = self.protocol.poll_transmit() {
                match timeout(WRITE_WITHIN, stream.write_all(&bytes)).await {
                    Ok(Ok(())) => acknowledge(&stream),
                    Ok(Err(error)) => return End::Failed(Failure::Ended(error.to_string())),
                    Err(_) => return End::Failed(super::protocol::Lost::Silent.into()),
                }
            }
            let next = self.protocol.poll_timeout().into_iter().chain(self.state.poll_timeout()).min();
            let left = next.map(|at| at.saturating_duration_since(self.clock.now()));
            let mut length = 0;
            tokio::select! {
                biased;
                () = self.shutdown.cancelled() => return End::Shutdown,
                read = stream.read(&mut buffer) => match read {
                    Ok(0) => return End::Failed(Failure::Ended("vMix closed it".into())),
                    Ok(read) => {
                        acknowledge(&stream);
                        length = read;
                    }
                    Err(error) => return End::Failed(Failure::Ended(error.to_string())),
                },
                () = sleep(left.unwrap_or_default()), if left.is_some() => {}
                Some(Ok(fetched)) = fetches.join_next() => self.take_fetched(fetched),
                () = changed(&mut self.config) => self.take_cameras(),
                () = changed(&mut self.auto) => {}
                () = self.beat.answer() => {}
            }
            let now = self.clock.now();
            if now.saturating_duration_since(last_round) > STOOD_STILL {
                return End::StoodStill;
            }
            last_round = now;
            self.protocol.handle_input(now, buffer.get(..length).unwrap_or_default());
            if self.protocol.poll_timeout().is_some_and(|at| now >= at) {
                self.protocol.handle_timeout(now);
            }
            let change = self.state.handle_timeout(now);
            self.publish_state(change);
            if self.target().as_ref() != Some(target) {
                return End::Elsewhere;
            }
        }
    }

    fn handle_events(
        &mut self,
        target: &Target,
        fetches: &mut JoinSet<Fetched>,
        delay: &mut Duration,
    ) -> Option<Failure> {
        while let Some(event) = self.protocol.poll_event() {
            let now = self.clock.now();
            match event {
                Event::Tally(tally) => {
                    self.mouth.tally(now, &tally);
                    self.apply(Update::Tally(tally));
                    self.reports.live(&target.host);
                    *delay = RETRY_FIRST;
                }
                Event::Version(version) => {
                    self.mouth.version(&version);
                    self.apply(Update::Version(version));
                }
                Event::Document { bytes, asked } if bytes.len() > LONG_DOCUMENT => {
                    fetches.spawn(async move {
                        let read = tokio::task::spawn_blocking(move || xml::parse(&bytes).map(|read| (read, bytes)));
                        let result = match read.await {
                            Ok(result) => result.map_err(|err| err.to_string()),
                            Err(err) => Err(err.to_string()),
                        };
                        Fetched { over_http: false, asked, result }
                    });
                }
                Event::Document { bytes, asked } => {
                    let result = xml::parse(&bytes).map(|read| (read, bytes)).map_err(|err| err.to_string());
                    self.take_fetched(Fetched { over_http: false, asked, result });
                }
                // One at a time: a server that hangs is not asked again until it was given up.
                Event::DocumentWanted if !fetches.is_empty() => {}
                Event::DocumentWanted => {
                    let (host, port) = (target.host.clone(), target.http_port);
                    fetches.spawn(async move {
                        let result = http::document(&host, port).await.map_err(|err| err.to_string());
                        Fetched { over_http: true, asked: now, result }
                    });
                }
                Event::Lost(lost) => return Some(lost.into()),
            }
        }
        None
    }

    fn take_fetched(&mut self, fetched: Fetched) {
        match fetched.result {
            Ok((document, bytes)) => {
                self.mouth.document(fetched.asked, &bytes);
                if !fetched.over_http {
                    self.protocol.document_read();
                }
                self.apply(Update::Document { document, asked: fetched.asked });
                self.reports.document(None);
            }
            Err(err) => {
                let way = if fetched.over_http { "HTTP" } else { "TCP" };
                tracing::debug!(err, "no input list from vMix's {way} API");
                if fetched.over_http {
                    self.reports.document(Some(&err));
                } else {
                    self.protocol.document_unreadable(self.clock.now());
                }
            }
        }
    }

    fn apply(&mut self, update: Update) {
        let change = self.state.apply(self.clock.now(), update);
        self.publish_state(change);
    }

    fn publish_state(&mut self, change: Change) {
        match change {
            Change::None => return,
            Change::Refreshed => {
                let snapshot = self.state.snapshot();
                // Nobody is woken for the mere age; whoever looks finds it.
                self.publish.send_if_modified(|held| {
                    *held = snapshot;
                    false
                });
                return;
            }
            Change::Changed => _ = self.publish.send_replace(self.state.snapshot()),
        }
        self.reports.cameras(self.state.missing());
    }

    /// Between three quarters of the delay and the whole of it.
    fn jittered(&mut self, delay: Duration) -> Duration {
        self.jitter ^= self.jitter << 13;
        self.jitter ^= self.jitter >> 7;
        self.jitter ^= self.jitter << 17;
        let part = (self.jitter >> 40) as u32 % 256;
        delay * 3 / 4 + delay * part / 1024
    }
}

/// Waits for another value; for ever when there will be none.
async fn changed<T>(receiver: &mut watch::Receiver<T>) {
    if receiver.changed().await.is_err() {
        std::future::pending::<()>().await;
    }
}

/// Acknowledges what was read at once. A sender with Nagle's algorithm on holds the next tally line
/// back until its last one is acknowledged, which a receiver otherwise delays by 40 ms (tcp(7),
/// TCP_QUICKACK); the option does not last and is set after each read and write.
fn acknowledge(stream: &TcpStream) {
    #[cfg(target_os = "linux")]
    if let Err(err) = socket2::SockRef::from(stream).set_tcp_quickack(true) {
        tracing::trace!(%err, "TCP_QUICKACK was refused");
    }
    #[cfg(not(target_os = "linux"))]
    let _ = stream;
}

/// Connects to the first address of a host that answers.
async fn open(host: String, port: u16) -> Result<TcpStream, Failure> {
    let addresses: Vec<SocketAddr> = match timeout(CONNECT_WITHIN, lookup_host((host.as_str(), port))).await {
        Ok(Ok(addresses)) => addresses.take(MOST_ADDRESSES).collect(),
        Ok(Err(error)) => return Err(Failure::Name(error.to_string())),
        Err(_) => return Err(Failure::Name("no answer within 1 s".into())),
    };
    let mut why = Failure::Name("it has no address".into());
    for address in addresses {
        match timeout(CONNECT_WITHIN, TcpStream::connect(address)).await {
            Ok(Ok(stream)) => {
                if let Err(err) = stream.set_nodelay(true) {
                    tracing::debug!(%err, "TCP_NODELAY was refused");
                }
                return Ok(stream);
            }
            Ok(Err(error)) => why = Failure::Connect(error.to_string()),
            Err(_) => why = Failure::Connect("no answer within 1 s".into()),
        }
    }
    Err(why)
}

#[cfg(test)]
mod tests;
