//! The shell: the UDP and TCP ports, streams that others hand over, and a UDP socket for each allocation.
//!
//! Owns: sockets, tasks, and when to ask for the box's addresses again. Does not own: any decision ([`Allocations`]).
//! All of it runs on one thread of its own, so that no relayed picture ever stands before tally.

use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use rtc_stun::crypto::default_provider;
use socket2::SockRef;
use tokio::net::{TcpListener, UdpSocket};
use tokio::sync::{mpsc, oneshot};
use tokio::task::AbortHandle;
use tokio_util::sync::CancellationToken;

use super::allocations::{Allocations, Client, Media, Outcome, Transport};
use super::credentials::Credentials;
use super::framing::LONGEST;
use super::limits::Limits;
use crate::access::Sources;
use crate::clock::Clock;
use crate::webrtc::ice::Path;
use crate::webrtc::server::socket;

mod stream;

pub use stream::prepare;

#[cfg(test)]
mod tests;

/// Between looks at what has expired and at the box's addresses: a browser that was told a new one asks for it again for
/// longer than that.
const TICK: Duration = Duration::from_secs(1);
/// Datagrams handled before others get their turn.
const MOST_AT_ONCE: usize = 128;
/// Room for a keyframe on its way to a viewer.
const RELAY_BUFFER: usize = 1 << 20;

/// What the server needs to know.
#[derive(Clone, Debug)]
pub struct Config {
    /// The UDP address; `[::]` means IPv4 and IPv6. The TCP listener is handed over beside it.
    pub listen: SocketAddr,
    /// Where the box takes media.
    pub media: SocketAddr,
    /// The box's own addresses as they are now, best first; asked again every second.
    pub local_addresses: fn() -> Vec<IpAddr>,
    /// What a router is reached at that forwards the media port to the box.
    pub public_addresses: Vec<IpAddr>,
    /// How much anybody may have.
    pub limits: Limits,
    /// As whom addresses count.
    pub sources: Sources,
}

/// Why the server cannot start.
#[derive(Debug, thiserror::Error)]
pub enum BindError {
    /// The address cannot be had.
    #[error("UDP {listen} cannot be bound: {source}; change [turn] listen, or stop what uses it")]
    Socket {
        /// The address that was asked for.
        listen: SocketAddr,
        /// What the system said.
        source: io::Error,
    },
    /// No cryptography.
    #[error("TURN has no cryptography to work with: {0}")]
    Crypto(String),
}

/// Where answers to a client go.
#[derive(Clone)]
enum Way {
    Datagrams(Arc<socket::Outlet>, Path),
    /// What waits for a slow reader is bounded; what finds no room is lost, as a datagram would be.
    Stream(mpsc::Sender<Waiting>, Arc<AtomicUsize>),
}

/// Bytes that wait for readers of streams, of all together: a bound of memory.
const MOST_WAITING_BYTES: usize = 32 << 20;

/// A message on its way to a stream, counted while it waits.
struct Waiting {
    message: Vec<u8>,
    all: Arc<AtomicUsize>,
}

impl Waiting {
    fn new(message: &[u8], all: &Arc<AtomicUsize>) -> Option<Self> {
        let before = all.fetch_add(message.len(), Ordering::Relaxed);
        // Dropped, it gives back what it took.
        let counted = Self { message: message.to_vec(), all: all.clone() };
        (before + message.len() <= MOST_WAITING_BYTES).then_some(counted)
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        self.all.fetch_sub(self.message.len(), Ordering::Relaxed);
    }
}

impl Way {
    fn send(&self, message: &[u8]) {
        match self {
            _ if message.is_empty() => {}
            Self::Datagrams(outlet, path) => outlet.send_one(path, message),
            Self::Stream(queue, all) => {
                if let Some(waiting) = Waiting::new(message, all) {
                    // Dropped where there is no room.
                    let _ = queue.try_send(waiting);
                }
            }
        }
    }
}

/// The socket of an allocation and the task that listens to it.
struct Relay {
    socket: Arc<UdpSocket>,
    task: AbortHandle,
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.task.abort();
    }
}

struct State {
    allocations: Allocations,
    relays: HashMap<Client, Relay>,
}

struct Shared {
    clock: Clock,
    limits: Limits,
    sources: Sources,
    state: Mutex<State>,
    /// Streams at present, by source.
    streams: Mutex<HashMap<IpAddr, usize>>,
    /// Bytes that wait for readers of streams.
    waiting: Arc<AtomicUsize>,
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    /// Takes one message of a client. Called on a runtime.
    fn message(self: &Arc<Self>, client: Client, way: &Way, message: &[u8]) {
        let now = self.clock.now();
        let mut state = self.state();
        match state.allocations.handle(now, client, message) {
            Outcome::Ignored => {}
            Outcome::Reply(reply) => way.send(&reply),
            Outcome::Relay { peer, data } => {
                if let Some(relay) = state.relays.get(&client) {
                    // Past the runtime, which may not have looked at a socket this new yet. What has no room is lost,
                    // as any datagram may be.
                    let _ = SockRef::from(&*relay.socket).send_to(&data, &peer.into());
                }
            }
            Outcome::Release(reply) => {
                state.relays.remove(&client);
                way.send(&reply);
                tracing::debug!(peer = %client.peer, "relay given back");
            }
            Outcome::Allocate(pending) => {
                let bound = bind(pending.bind).and_then(|socket| Ok((socket.local_addr()?, socket)));
                let bound = bound.inspect_err(|err| tracing::warn!(%err, "no socket for a relay"));
                let relayed = bound.as_ref().ok().map(|(relayed, _)| *relayed);
                let reply = state.allocations.allocated(now, pending, relayed);
                if let Ok((relayed, socket)) = bound {
                    let socket = Arc::new(socket);
                    let pump = pump(self.clone(), client, way.clone(), socket.clone());
                    let task = tokio::spawn(pump).abort_handle();
                    state.relays.insert(client, Relay { socket, task });
                    tracing::info!(peer = %client.peer, over = ?client.transport, %relayed, "a viewer is relayed");
                }
                way.send(&reply);
            }
        }
    }

    fn tick(&self, own: Vec<IpAddr>) {
        let mut state = self.state();
        state.allocations.set_own(own);
        for client in state.allocations.expire(self.clock.now()) {
            state.relays.remove(&client);
            tracing::debug!(peer = %client.peer, "relay expired");
        }
    }

    fn gone(&self, client: &Client) {
        let mut state = self.state();
        state.allocations.gone(client);
        state.relays.remove(client);
    }
}

/// Whatever the box's media sends to one client.
async fn pump(shared: Arc<Shared>, client: Client, way: Way, socket: Arc<UdpSocket>) {
    let (mut buffer, mut out) = (vec![0; LONGEST], Vec::with_capacity(LONGEST));
    loop {
        if socket.readable().await.is_err() {
            return;
        }
        for _ in 0..MOST_AT_ONCE {
            let (len, peer) = match socket.try_recv_from(&mut buffer) {
                Ok(received) => received,
                Err(err) if err.kind() == io::ErrorKind::WouldBlock => break,
                // The media port was closed for a moment.
                Err(_) => continue,
            };
            out.clear();
            let data = buffer.get(..len).unwrap_or_default();
            let now = shared.clock.now();
            if shared.state().allocations.heard(now, &client, peer, data, &mut out) {
                way.send(&out);
            }
        }
        tokio::task::yield_now().await;
    }
}

fn bind(ip: IpAddr) -> io::Result<UdpSocket> {
    use socket2::{Domain, Protocol, Socket, Type};
    let address = SocketAddr::new(ip, 0);
    let socket = Socket::new(Domain::for_address(address), Type::DGRAM.nonblocking().cloexec(), Some(Protocol::UDP))?;
    // Less room is no reason to refuse.
    let _ = socket.set_recv_buffer_size(RELAY_BUFFER);
    socket.bind(&address.into())?;
    UdpSocket::from_std(socket.into())
}

/// Hands streams to the server that came another way than through its own port. Cheap to clone.
#[derive(Clone)]
pub struct Handle {
    shared: Arc<Shared>,
}

impl Handle {
    /// How many allocations there are.
    pub fn allocations(&self) -> usize {
        self.shared.state().allocations.len()
    }
}

/// The server, bound and ready to run.
pub struct Server {
    udp: socket::Bound,
    tcp: TcpListener,
    local_addresses: fn() -> Vec<IpAddr>,
    shared: Arc<Shared>,
}

impl Server {
    /// Binds the UDP port. `tcp` is listened to beside it.
    ///
    /// # Errors
    /// When the port cannot be had.
    pub fn bind(
        config: Config,
        tcp: TcpListener,
        credentials: Credentials,
        clock: Clock,
    ) -> Result<(Handle, Self), BindError> {
        let Config { listen, media, local_addresses, public_addresses: public, limits, sources } = config;
        let udp = socket::Bound::bind(listen).map_err(|source| BindError::Socket { listen, source })?;
        let crypto = default_provider().map_err(|err| BindError::Crypto(err.to_string()))?;
        let media = Media { listen: media, own: local_addresses(), public };
        let allocations = Allocations::new(clock.now(), crypto, credentials, (limits, sources.clone()), media);
        let state = Mutex::new(State { allocations, relays: HashMap::new() });
        let (streams, waiting) = (Mutex::default(), Arc::default());
        let shared = Arc::new(Shared { clock, limits, sources, state, streams, waiting });
        Ok((Handle { shared: shared.clone() }, Self { udp, tcp, local_addresses, shared }))
    }

    /// The UDP address it is bound to.
    pub fn local_addr(&self) -> SocketAddr {
        self.udp.local_addr()
    }

    /// Serves clients, on a thread of its own, until `stop` is cancelled.
    ///
    /// # Errors
    /// When the thread cannot be started or a socket fails.
    pub async fn run(self, stop: CancellationToken) -> io::Result<()> {
        let (done, finished) = oneshot::channel();
        std::thread::Builder::new().name("turn".into()).spawn(move || {
            let serve = || {
                let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
                runtime.block_on(self.serve(stop))
            };
            // Whoever waited may have gone.
            let _ = done.send(serve());
        })?;
        finished.await.unwrap_or_else(|_| Err(io::Error::other("the TURN thread ended unexpectedly")))
    }

    async fn serve(self, stop: CancellationToken) -> io::Result<()> {
        let Self { udp, tcp, local_addresses, shared } = self;
        let accepting = tokio::spawn(stream::accept(tcp, Handle { shared: shared.clone() }));
        let served = tokio::select! {
            () = stop.cancelled() => Ok(()),
            ended = datagrams(udp, shared.clone()) => ended,
            () = ticks(local_addresses, &shared) => Ok(()),
        };
        accepting.abort();
        // The sockets go with the runtime; what hangs on them would keep itself alive.
        shared.state().relays.clear();
        served
    }
}

async fn ticks(local_addresses: fn() -> Vec<IpAddr>, shared: &Shared) {
    let mut ticks = tokio::time::interval(TICK);
    loop {
        ticks.tick().await;
        shared.tick(local_addresses());
    }
}

async fn datagrams(udp: socket::Bound, shared: Arc<Shared>) -> io::Result<()> {
    let (port, outlet) = (udp.local_addr().port(), udp.outlet()?);
    let socket = udp.into_async()?;
    let (mut buffer, mut control) = (vec![0; LONGEST + 1], socket::UdpSocket::control_buffer());
    loop {
        socket.readable().await?;
        for _ in 0..MOST_AT_ONCE {
            let (len, path) = match socket.receive(&mut buffer, &mut control) {
                Ok(received) => received,
                Err(err) if err.kind() == io::ErrorKind::WouldBlock => break,
                Err(_) => continue,
            };
            let local = SocketAddr::new(path.local, port);
            let client = Client { transport: Transport::Udp, peer: path.peer, local };
            let way = Way::Datagrams(outlet.clone(), path);
            shared.message(client, &way, buffer.get(..len).unwrap_or_default());
        }
        // Who floods the port must not hold up streams and relays.
        tokio::task::yield_now().await;
    }
}
