//! The shell: one UDP port for all viewers, a thread that serves it, and the handle others use.
//!
//! Owns: the socket, the worker thread, sessions by name and address. Does not own: any protocol
//! (the pure half of this room), HTTP (which calls the [`Handle`]).

use std::collections::BTreeMap;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::CancellationToken;

use super::dtls::{Identity, IdentityError};
use super::sdp::{Fragment, FragmentError, Offer, OfferError};
use super::sender::SendCounts;
use super::session::{Phase, Session};
use crate::clock::Clock;
use crate::hub::Viewer;
use crate::media::StreamName;

mod addresses;
mod random;
mod socket;
mod worker;

#[cfg(test)]
mod tests;

use socket::Bound;
use worker::Worker;

/// How long an answer may wait for the parameter sets of a stream that has only just begun.
pub const PICTURE_WAIT: Duration = Duration::from_secs(1);
const COMMANDS_WAITING: usize = 256;

/// What the egress needs to know.
#[derive(Clone, Debug)]
pub struct Config {
    /// The UDP address; `[::]` means IPv4 and IPv6.
    pub listen: SocketAddr,
    /// Further addresses to announce, for a box behind a port forward.
    pub public_addresses: Vec<IpAddr>,
    /// The box's own addresses as they are now, best first; asked again every few seconds.
    pub local_addresses: fn() -> Vec<IpAddr>,
    /// Most sessions at once.
    pub max_viewers: usize,
}

/// Why the egress cannot start.
#[derive(Debug, thiserror::Error)]
pub enum BindError {
    /// The address cannot be had.
    #[error("UDP {listen} cannot be bound: {source}; change [webrtc] listen, or stop what uses it")]
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
    /// The viewer's address, once known.
    pub peer: Option<SocketAddr>,
    /// When media began to flow.
    pub connected: Option<Instant>,
    /// `checking`, `handshaking`, `waiting` (for a picture to start at) or `playing`.
    pub state: &'static str,
    /// What it was sent.
    pub counts: SendCounts,
    /// How often it asked for a new start of the picture.
    pub picture_losses: u64,
    /// Round-trip time, once known.
    pub round_trip: Option<Duration>,
    /// Share of packets lost lately, 0 to 1.
    pub loss: f32,
    /// Datagrams of its that could not be read or were not authentic.
    pub malformed: u64,
}

impl SessionStatus {
    fn of(id: &str, stream: &StreamName, session: &Session) -> Self {
        let reception = session.reception();
        Self {
            id: id.to_owned(),
            stream: stream.clone(),
            peer: session.agent().selected().map(|path| path.peer),
            connected: session.connected_at(),
            state: match session.phase() {
                Phase::Checking => "checking",
                Phase::Handshaking => "handshaking",
                Phase::Connected if session.is_playing() => "playing",
                Phase::Connected => "waiting",
                Phase::Ended(_) => "ended",
            },
            counts: session.counts(),
            picture_losses: reception.picture_losses,
            round_trip: reception.round_trip,
            loss: f32::from(reception.fraction_lost) / 256.0,
            malformed: reception.malformed,
        }
    }
}

type Reply<T> = oneshot::Sender<T>;

enum Command {
    Create { offer: Box<Offer>, viewer: Viewer, reply: Reply<Result<Created, CreateError>> },
    Patch { id: String, etag: String, fragment: Fragment, reply: Reply<Result<(), PatchError>> },
    Restart { id: String, fragment: Fragment, reply: Reply<Result<Restarted, PatchError>> },
    Remove { id: String, reply: Reply<bool> },
}

/// What the worker publishes and handles read.
#[derive(Default)]
struct Board {
    sessions: Mutex<Vec<SessionStatus>>,
    recent: Mutex<BTreeMap<StreamName, Vec<(u32, Instant)>>>,
    etags: Mutex<BTreeMap<String, String>>,
}

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
}

impl Handle {
    /// Answers an offer. The viewer's session is the name of the session; it stays in the hub until
    /// the session ends. Waits up to [`PICTURE_WAIT`] for a stream that has only just begun.
    ///
    /// # Errors
    /// When the offer cannot be answered, there is no picture, or no room.
    pub async fn create(&self, offer_sdp: &str, viewer: Viewer) -> Result<Created, CreateError> {
        let offer = Box::new(Offer::parse(offer_sdp)?);
        let created = self.ask(|reply| Command::Create { offer, viewer, reply }).await;
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

    async fn ask<T>(&self, command: impl FnOnce(Reply<T>) -> Command) -> Option<T> {
        let (reply, answer) = oneshot::channel();
        self.commands.send(command(reply)).await.ok()?;
        answer.await.ok()
    }
}

/// The egress, bound and ready to run.
pub struct Server {
    worker: Worker,
    socket: Bound,
}

impl Server {
    /// Binds the port and makes the certificate.
    ///
    /// # Errors
    /// When the port cannot be had.
    pub fn bind(config: Config, clock: Clock) -> Result<(Handle, Self), BindError> {
        let listen = config.listen;
        let socket = Bound::bind(listen).map_err(|source| BindError::Socket { listen, source })?;
        let identity = Identity::generate()?;
        let (commands, inbox) = mpsc::channel(COMMANDS_WAITING);
        let board = Arc::new(Board::default());
        let worker = Worker::new(config, clock, identity, socket.local_addr(), board.clone(), inbox);
        Ok((Handle { commands, board }, Self { worker, socket }))
    }

    /// The UDP address it is bound to.
    pub fn local_addr(&self) -> SocketAddr {
        self.socket.local_addr()
    }

    /// Serves viewers, on a thread of its own, until `stop` is cancelled; then says goodbye to all.
    ///
    /// # Errors
    /// When the thread cannot be started or the socket fails.
    pub async fn run(self, stop: CancellationToken) -> io::Result<()> {
        let (done, finished) = oneshot::channel();
        let Self { worker, socket } = self;
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
