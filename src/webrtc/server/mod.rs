//! The shell: one port, UDP and TCP, for all viewers, the threads that serve it, and the handle others use.
//!
//! Owns: the sockets, the controlling thread (`worker`), those that send (`shards`) and the one that serves TCP (`tcp`),
//! sessions by name and address.
//! Does not own: any protocol (the pure half of this room), HTTP (which calls the [`Handle`]).

use std::collections::BTreeMap;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use tokio::sync::{broadcast, mpsc, oneshot};
use tokio_util::sync::CancellationToken;

use super::dtls::{Identity, IdentityError};
use super::ice::Transport;
use super::sdp::{Fragment, FragmentError, Offer, OfferError};
use super::sending::{Pacing, SendCounts};
use super::session::{Phase, Session};
use crate::access::Sources;
use crate::clock::Clock;
use crate::hub::Viewer;
use crate::media::StreamName;

mod addresses;
mod outlets;
mod random;
mod shard;
mod shards;
pub(crate) mod socket;
mod tcp;
mod timer;
mod worker;

#[cfg(test)]
mod tests;

use outlets::Outlets;
use shard::MediaSent;
use socket::Bound;
use worker::Worker;

/// How long an answer may wait for the parameter sets of a stream that has only just begun.
pub const PICTURE_WAIT: Duration = Duration::from_secs(1);
const COMMANDS_WAITING: usize = 256;

/// What the egress needs to know.
#[derive(Clone, Debug)]
pub struct Config {
    /// The address of both ports, UDP and TCP; `[::]` means IPv4 and IPv6.
    pub listen: SocketAddr,
    /// Whether the TCP port is wanted, for those whose network lets no UDP through.
    pub over_tcp: bool,
    /// Further addresses to announce, for a box behind a port forward.
    pub public_addresses: Vec<IpAddr>,
    /// The box's own addresses as they are now, best first; asked before each answer.
    pub local_addresses: fn() -> Vec<IpAddr>,
    /// Most sessions at once.
    pub max_viewers: usize,
    /// Threads that send media; 0 for as many as the machine has cores to spare.
    pub threads: usize,
    /// How fast media may leave.
    pub pacing: Pacing,
    /// Whether picture and sound are shown together, instead of each as soon as it can be, where the viewer has no wish.
    pub lip_sync: bool,
    /// As whom addresses count.
    pub sources: Sources,
}

/// Why the egress cannot start.
#[derive(Debug, thiserror::Error)]
pub enum BindError {
    /// The address cannot be had.
    #[error("{listen} cannot be bound, UDP and TCP: {source}; change [webrtc] listen, or stop what uses it")]
    Socket {
        /// The address that was asked for.
        listen: SocketAddr,
        /// What the system said.
        source: io::Error,
    },
    /// No certificate.
    #[error(transparent)]
    Identity(#[from] IdentityError),
}

/// Why a session was not created.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CreateError {
    /// The offer cannot be answered.
    #[error(transparent)]
    Offer(#[from] OfferError),
    /// No picture to answer with came in time.
    #[error("the stream has sent no H.264 picture that decoding can start at yet; try again")]
    NoPicture,
    /// As many viewers as are allowed.
    #[error("the box serves as many viewers as it may")]
    Full,
    /// As many viewers of one address as are allowed.
    #[error("the box serves as many viewers of one address as it may; behind a proxy, name that in trusted_proxies")]
    FullForAddress,
    /// The session's name is taken.
    #[error("there is a session of this name already")]
    Exists,
    /// The egress has been shut down.
    #[error("the box is shutting down")]
    Stopped,
}

/// Why a session was not changed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PatchError {
    /// No such session.
    #[error("there is no such session")]
    NotFound,
    /// The session has been restarted since.
    #[error("the session's ICE credentials have changed since")]
    Stale,
    /// The fragment cannot be read.
    #[error(transparent)]
    Fragment(#[from] FragmentError),
    /// The fragment is about other credentials: a restart, or another session.
    #[error("the fragment's credentials are not those of the session")]
    OtherCredentials,
}

/// A session that was created.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Created {
    /// Its name: the viewer's session.
    pub session_id: String,
    /// Its entity tag, without quotes; changes with every ICE restart.
    pub etag: String,
    /// The answer.
    pub answer_sdp: String,
}

/// A session that was restarted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Restarted {
    /// Its new entity tag, without quotes.
    pub etag: String,
    /// The answering fragment.
    pub sdpfrag: String,
}

/// A session as it stands.
#[derive(Clone, Debug)]
pub struct SessionStatus {
    /// Its name.
    pub id: String,
    /// The stream it watches.
    pub stream: StreamName,
    /// Where its offer came from; `None` for the box itself.
    pub from: Option<IpAddr>,
    /// The viewer's address, once known.
    pub peer: Option<SocketAddr>,
    /// What carries its media, once known.
    pub transport: Option<Transport>,
    /// When media began to flow.
    pub connected: Option<Instant>,
    /// `checking`, `handshaking`, `waiting` (for a picture to start at) or `playing`.
    pub state: &'static str,
    /// What it was sent of the picture.
    pub counts: SendCounts,
    /// Whether it takes sound.
    pub sound: bool,
    /// What it was sent of the sound.
    pub sound_counts: SendCounts,
    /// How often it asked for a new start of the picture.
    pub picture_losses: u64,
    /// Round-trip time, once known.
    pub round_trip: Option<Duration>,
    /// How much the time its packets take varies, once known.
    pub jitter: Option<Duration>,
    /// From a picture's arrival at the box until it was shown, as the page reported it lately.
    pub delay: Option<Duration>,
    /// Share of the picture's packets lost lately, 0 to 1.
    pub loss: f32,
    /// The same of the sound's.
    pub sound_loss: f32,
    /// Datagrams of its that could not be read or were not authentic.
    pub malformed: u64,
}

impl SessionStatus {
    fn of(id: &str, viewer: &Viewer, session: &Session, sent: MediaSent, delay: Option<Duration>) -> Self {
        let (reception, path) = (session.reception(), session.agent().selected());
        Self {
            id: id.to_owned(),
            stream: viewer.stream().clone(),
            from: viewer.from(),
            peer: path.map(|path| path.peer),
            transport: path.map(|path| path.transport),
            connected: session.connected_at(),
            state: match session.phase() {
                Phase::Checking => "checking",
                Phase::Handshaking => "handshaking",
                Phase::Connected if sent.is_live => "playing",
                Phase::Connected => "waiting",
                Phase::Ended(_) => "ended",
            },
            counts: sent.counts.picture,
            sound: session.sound_ssrc().is_some(),
            sound_counts: sent.counts.sound,
            picture_losses: reception.picture_losses,
            round_trip: reception.round_trip,
            jitter: reception.jitter,
            delay,
            loss: f32::from(reception.fraction_lost) / 256.0,
            sound_loss: f32::from(reception.sound_fraction_lost) / 256.0,
            malformed: reception.malformed,
        }
    }
}

type Reply<T> = oneshot::Sender<T>;

/// A question after the pulse: answered once nobody holds it any more. Every thread lets go of it when it gets to it.
type Felt = Arc<Reply<()>>;

/// What a session is to be made of.
struct Asked {
    offer: Box<Offer>,
    viewer: Viewer,
    lip_sync: Option<bool>,
}

enum Command {
    Create { asked: Asked, reply: Reply<Result<Created, CreateError>> },
    Patch { id: String, etag: String, fragment: Fragment, reply: Reply<Result<(), PatchError>> },
    Restart { id: String, fragment: Fragment, reply: Reply<Result<Restarted, PatchError>> },
    Remove { id: String, reply: Reply<bool> },
    Feel(Felt),
}

/// What the worker publishes and handles read.
#[derive(Default)]
struct Board {
    sessions: Mutex<Vec<SessionStatus>>,
    recent: Mutex<BTreeMap<StreamName, Vec<(u32, Instant)>>>,
    etags: Mutex<BTreeMap<String, String>>,
    /// As pages reported them, and when.
    delays: Mutex<BTreeMap<String, (Duration, Instant)>>,
}

/// A page reports its delay about every two seconds; what is older says nothing any more.
const DELAY_HOLDS: Duration = Duration::from_secs(10);
/// Edges a reader of [`Handle::edges`] may fall behind before it misses some.
const EDGES_KEPT: usize = 256;

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
}

/// What logs say of a session: its beginning tells sessions apart, and who reads logs cannot end one with it.
fn log_name(id: &str) -> &str {
    id.char_indices().nth(8).and_then(|(end, _)| id.get(..end)).unwrap_or(id)
}

/// Creates, changes and removes sessions. Cheap to clone.
#[derive(Clone)]
pub struct Handle {
    commands: mpsc::Sender<Command>,
    board: Arc<Board>,
    edges: broadcast::Sender<(String, u32)>,
    clock: Clock,
}

impl Handle {
    /// Answers an offer. The viewer's session is the name of the session; it stays in the hub until
    /// the session ends. Waits up to [`PICTURE_WAIT`] for a stream that has only just begun. `lip_sync` is the viewer's
    /// wish, which goes before [`Config::lip_sync`].
    ///
    /// # Errors
    /// When the offer cannot be answered, there is no picture, or no room.
    pub async fn create(
        &self,
        offer_sdp: &str,
        viewer: Viewer,
        lip_sync: Option<bool>,
    ) -> Result<Created, CreateError> {
        let offer = Box::new(Offer::parse(offer_sdp)?);
        let created = self.ask(|reply| Command::Create { asked: Asked { offer, viewer, lip_sync }, reply }).await;
        created.unwrap_or(Err(CreateError::Stopped))
    }

    /// Takes trickled candidates, of which a lite agent has no need: the fragment is only checked
    /// (RFC 9725 §4.3.1). `etag` is without quotes.
    ///
    /// # Errors
    /// When there is no such session, the tag is stale, or the fragment is not of this session.
    pub async fn patch_candidates(&self, session_id: &str, etag: &str, sdpfrag: &str) -> Result<(), PatchError> {
        let fragment = Fragment::parse(sdpfrag)?;
        let (id, etag) = (session_id.to_owned(), etag.to_owned());
        let patched = self.ask(|reply| Command::Patch { id, etag, fragment, reply }).await;
        patched.unwrap_or(Err(PatchError::NotFound))
    }

    /// Restarts ICE: new credentials on both ends while media goes on (RFC 9725 §4.3.2).
    ///
    /// # Errors
    /// When there is no such session or the fragment cannot be read.
    pub async fn restart_ice(&self, session_id: &str, sdpfrag: &str) -> Result<Restarted, PatchError> {
        let fragment = Fragment::parse(sdpfrag)?;
        let id = session_id.to_owned();
        let restarted = self.ask(|reply| Command::Restart { id, fragment, reply }).await;
        restarted.unwrap_or(Err(PatchError::NotFound))
    }

    /// Ends a session; false when there is none of this name.
    pub async fn remove(&self, session_id: &str) -> bool {
        let id = session_id.to_owned();
        self.ask(|reply| Command::Remove { id, reply }).await.unwrap_or(false)
    }

    /// Waits until the controlling thread and every one that sends have got to this question between the rest of their
    /// work: for ever when one of them stalls, not at all when they have ended.
    pub async fn felt(&self) {
        self.ask(|reply| Command::Feel(Arc::new(reply))).await;
    }

    /// The entity tag of a session, without quotes; `None` when there is no such session.
    pub fn etag(&self, session_id: &str) -> Option<String> {
        lock(&self.board.etags).get(session_id).cloned()
    }

    /// RTP timestamps of the last video frames of a stream that somebody watches, and when each
    /// arrived, oldest first.
    pub fn recent_frames(&self, stream: &StreamName) -> Vec<(u32, Instant)> {
        lock(&self.board.recent).get(stream).cloned().unwrap_or_default()
    }

    /// All sessions as they stood less than a second ago.
    pub fn sessions(&self) -> Vec<SessionStatus> {
        lock(&self.board.sessions).clone()
    }

    /// Takes a viewer's word for how long a picture takes from its arrival at the box until it is shown.
    pub fn report_delay(&self, session_id: &str, delay: Duration) {
        // Of sessions that are there only, so that nothing is left of those that are gone.
        let etags = lock(&self.board.etags);
        if etags.contains_key(session_id) {
            lock(&self.board.delays).insert(session_id.to_owned(), (delay, self.clock.now()));
        }
    }

    /// Sessions whose picture has come up to the live one, each once: its name, and the RTP timestamp from which on the
    /// pictures it is sent are the live ones.
    pub fn edges(&self) -> broadcast::Receiver<(String, u32)> {
        self.edges.subscribe()
    }

    async fn ask<T>(&self, command: impl FnOnce(Reply<T>) -> Command) -> Option<T> {
        let (reply, answer) = oneshot::channel();
        self.commands.send(command(reply)).await.ok()?;
        answer.await.ok()
    }
}

/// Connections over TCP that there may be at once: a browser makes one for each of its addresses and of the box's, and
/// keeps those it does not need for some seconds.
fn most_connections(viewers: usize) -> usize {
    (viewers * 4).clamp(64, 2_000)
}

/// Binds the same port for UDP and TCP; where the system is to choose it, one that is free for both. Without TCP where
/// it is not wanted or somebody else has it: most viewers never need it.
fn bind_both(config: &Config) -> io::Result<(Bound, tcp::Listener, mpsc::Receiver<tcp::Arrival>)> {
    let most = (most_connections(config.max_viewers), config.sources.clone());
    let mut tries = if config.listen.port() == 0 { tcp::MOST_TRIES } else { 1 };
    loop {
        let udp = Bound::bind(config.listen)?;
        tries -= 1;
        let listen = config.over_tcp.then(|| udp.local_addr());
        let (tcp, arrivals) = match tcp::Listener::bind(listen, most.clone()) {
            Err(err) if err.kind() == io::ErrorKind::AddrInUse && tries > 0 => continue,
            Err(err) if err.kind() == io::ErrorKind::AddrInUse => tcp::Listener::bind(None, most)?,
            tcp => tcp?,
        };
        return Ok((udp, tcp, arrivals));
    }
}

/// The egress, bound and ready to run.
pub struct Server {
    worker: Worker,
    socket: Bound,
    tcp: tcp::Listener,
}

impl Server {
    /// Binds the port and makes the certificate. Where another program has the TCP port viewers are served over UDP alone.
    ///
    /// # Errors
    /// When the UDP port cannot be had, or the TCP port for another reason.
    pub fn bind(mut config: Config, clock: Clock) -> Result<(Handle, Self), BindError> {
        let listen = config.listen;
        let unusable = |source| BindError::Socket { listen, source };
        let (socket, tcp, arrivals) = bind_both(&config).map_err(unusable)?;
        config.over_tcp = tcp.is_bound();
        let outlets = Outlets { udp: socket.outlet().map_err(unusable)?, tcp: tcp.connections() };
        let identity = Identity::generate()?;
        let (commands, inbox) = mpsc::channel(COMMANDS_WAITING);
        let board = Arc::new(Board::default());
        let (edges, _) = broadcast::channel(EDGES_KEPT);
        let (way, asked) = ((socket.local_addr(), outlets, arrivals), (inbox, edges.clone()));
        let worker = Worker::new(config, clock.clone(), identity, way, board.clone(), asked);
        Ok((Handle { commands, board, edges, clock }, Self { worker, socket, tcp }))
    }

    /// Whether the TCP port was wanted and could be had.
    pub fn serves_tcp(&self) -> bool {
        self.tcp.is_bound()
    }

    /// The address both ports are bound to.
    pub fn local_addr(&self) -> SocketAddr {
        self.socket.local_addr()
    }

    /// Serves viewers, on threads of its own, until `stop` is cancelled; then says goodbye to all.
    ///
    /// # Errors
    /// When the thread cannot be started or the socket fails.
    pub async fn run(self, stop: CancellationToken) -> io::Result<()> {
        let (done, finished) = oneshot::channel();
        let Self { worker, socket, tcp } = self;
        let serving = CancellationToken::new();
        tcp.start(serving.clone())?;
        let _ended = serving.drop_guard();
        std::thread::Builder::new().name("webrtc".into()).spawn(move || {
            let serve = || {
                let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
                runtime.block_on(async move { worker.run(socket.into_async()?, stop).await })
            };
            // Whoever waited may have gone.
            let _ = done.send(serve());
        })?;
        finished.await.unwrap_or_else(|_| Err(io::Error::other("the WebRTC thread ended unexpectedly")))
    }
}
