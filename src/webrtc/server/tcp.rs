//! The TCP half of the media port (RFC 6544): viewers connect to it whose network lets no UDP through.
//!
//! Owns: accepting, reading frames, writing what a connection had no room for, and how many connections there may be.
//! Does not own: what datagrams mean (`worker`, which gets those of proven connections and such as may prove one), nor
//! what is sent when (`shard`). All of it runs on one thread of its own, so that whoever floods the port with connections
//! holds up neither a datagram nor a picture; only writing is done by whoever has something to send.
//!
//! A connection that has proven nothing is sent nothing. It has [`PATIENCE`] to prove a session's path, and the first
//! frame that is no connectivity check ends it.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use nix::errno::Errno;
use socket2::{Domain, Protocol, SockRef, Socket, Type};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use crate::access::Sources;
use crate::webrtc::framing::{self, HEADER, LONGEST};
use crate::webrtc::ice::{Path, Request, Transport};
use crate::webrtc::session::SILENCE_TIMEOUT;

mod connection;
mod connections;

#[cfg(test)]
mod tests;

use connection::Connection;
pub(super) use connections::Connections;

/// A connection that has not proven a path by then is closed; a browser needs two round trips.
const PATIENCE: Duration = Duration::from_secs(10);
/// A proven one on which nothing came so many times as long is given back: browsers check every 25 s the paths they do
/// not use.
const MOST_QUIET: u32 = 6;
/// What may wait unsent in the kernel for one viewer: what waits there gets old.
const MOST_UNSENT: u32 = 16 << 10;
/// Asked of the kernel, which counts twice as much: what a viewer far away has not acknowledged yet.
const SEND_BUFFER: usize = 512 << 10;
/// Viewers send little.
const RECEIVE_BUFFER: usize = 32 << 10;
const BACKLOG: i32 = 512;
/// What has come and the controlling thread has not got to; then connections are read no further.
const MOST_ARRIVALS: usize = 256;
/// Ports tried when any will do and UDP has it, but TCP does not.
pub(super) const MOST_TRIES: usize = 16;

/// What the controlling thread is told.
pub(super) enum Arrival {
    /// A datagram came along a path.
    Datagram(Path, Vec<u8>),
    /// There is room again on a path that was full.
    Room(Path),
    /// A path's connection has ended.
    Gone(Path),
}

/// The listening half, bound and ready to run.
pub(super) struct Listener {
    /// None where there is no TCP.
    socket: Option<std::net::TcpListener>,
    connections: Arc<Connections>,
    pub(super) arrivals: mpsc::Sender<Arrival>,
}

impl Listener {
    /// Binds the port, if there is to be one; `most` connections may be there at once, half of them of one of the `sources`.
    pub(super) fn bind(
        listen: Option<SocketAddr>,
        (most, sources): (usize, Sources),
    ) -> io::Result<(Self, mpsc::Receiver<Arrival>)> {
        let socket = listen.map(bound).transpose()?;
        let (arrivals, inbox) = mpsc::channel(MOST_ARRIVALS);
        Ok((Self { socket, connections: Arc::new(Connections::new(most, sources)), arrivals }, inbox))
    }

    pub(super) fn is_bound(&self) -> bool {
        self.socket.is_some()
    }

    pub(super) fn connections(&self) -> Arc<Connections> {
        self.connections.clone()
    }

    /// Serves connections, on a thread of its own, until `stop` is cancelled.
    pub(super) fn start(self, stop: CancellationToken) -> io::Result<()> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let serve = move || {
            let connections = self.connections.clone();
            runtime.block_on(stop.run_until_cancelled_owned(self.accept()));
            connections.close_all();
        };
        std::thread::Builder::new().name("webrtc-tcp".into()).spawn(serve).map(drop)
    }

    async fn accept(self) {
        let Self { socket, connections, arrivals } = self;
        // Without a listener no path over TCP comes about, and the others go on: `arrivals` must not end.
        let listener = match socket.map(TcpListener::from_std) {
            Some(Ok(listener)) => listener,
            Some(Err(err)) => {
                tracing::error!(%err, "nobody can connect to the media port over TCP");
                return std::future::pending().await;
            }
            None => return std::future::pending().await,
        };
        loop {
            match listener.accept().await {
                Ok((stream, peer)) => admit(stream, peer, &connections, &arrivals),
                // Gone before it was looked at.
                Err(err) if err.raw_os_error() == Some(Errno::ECONNABORTED as i32) => {}
                Err(err) => {
                    // Out of descriptors, most likely: some will be given back.
                    tracing::warn!(%err, "nobody can connect to the media port over TCP now");
                    tokio::time::sleep(Duration::from_millis(100)).await;
                }
            }
        }
    }
}

fn bound(listen: SocketAddr) -> io::Result<std::net::TcpListener> {
    let domain = if listen.is_ipv6() { Domain::IPV6 } else { Domain::IPV4 };
    let socket = Socket::new(domain, Type::STREAM.nonblocking().cloexec(), Some(Protocol::TCP))?;
    if listen.is_ipv6() {
        socket.set_only_v6(false)?;
    }
    socket.set_reuse_address(true)?;
    // Connections inherit both; less room is no reason not to start.
    let _ = socket.set_send_buffer_size(SEND_BUFFER);
    let _ = socket.set_recv_buffer_size(RECEIVE_BUFFER);
    socket.bind(&listen.into())?;
    socket.listen(BACKLOG)?;
    Ok(socket.into())
}

fn admit(stream: TcpStream, peer: SocketAddr, connections: &Arc<Connections>, arrivals: &mpsc::Sender<Arrival>) {
    let Ok(local) = stream.local_addr() else { return };
    let peer = SocketAddr::new(peer.ip().to_canonical(), peer.port());
    let path = Path { local: local.ip().to_canonical(), peer, transport: Transport::Tcp };
    let socket = SockRef::from(&stream);
    let set = socket
        .set_tcp_nodelay(true)
        .and_then(|()| socket.set_tcp_notsent_lowat(MOST_UNSENT))
        .and_then(|()| socket.set_tcp_user_timeout(Some(SILENCE_TIMEOUT)));
    if let Err(err) = set {
        tracing::debug!(%peer, %err, "a connection keeps its defaults");
    }
    let connection = Arc::new(Connection::new(stream, path, connections.waiting.clone()));
    let Some(entered) = connections.enter(&connection) else {
        tracing::debug!(%peer, "too many connections to the media port");
        return;
    };
    let (connections, arrivals) = (connections.clone(), arrivals.clone());
    tokio::spawn(async move {
        if entered.replaces_proven {
            // Before anything of this one, which may prove the same path again.
            let _ = arrivals.send(Arrival::Gone(path)).await;
        }
        serve(&connection, &arrivals).await;
        // Those that the controlling thread has let go are not there any more.
        if connections.leave(&connection) && connection.is_proven() {
            // It may have ended.
            let _ = arrivals.send(Arrival::Gone(path)).await;
        }
    });
}

/// Reads, and writes what had no room, until either end closes.
async fn serve(connection: &Connection, arrivals: &mpsc::Sender<Arrival>) {
    let path = connection.path();
    let mut looks = tokio::time::interval(PATIENCE);
    looks.tick().await;
    let (mut read, mut quiet) = (Vec::new(), 0);
    loop {
        tokio::select! {
            () = connection.changed() => {
                if connection.is_closing() {
                    return;
                }
            }
            room = connection.room(), if connection.has_unsent() => match room {
                Ok(false) => {}
                Ok(true) if arrivals.send(Arrival::Room(path)).await.is_ok() => {}
                _ => return,
            },
            came = connection.read(&mut read) => match came {
                Ok(0) | Err(_) => return,
                Ok(_) => {
                    quiet = 0;
                    let mut rest = &read[..];
                    loop {
                        match framing::take(&mut rest) {
                            Ok(None) => break,
                            Ok(Some(frame)) if connection.is_proven() || Request::read(frame).is_ok() => {
                                if arrivals.send(Arrival::Datagram(path, frame.to_vec())).await.is_err() {
                                    return;
                                }
                            }
                            Ok(Some(_)) | Err(_) => return,
                        }
                    }
                    let left = rest.len();
                    read.drain(..read.len() - left);
                    // Most connections are silent most of the time.
                    read.shrink_to(if left == 0 { 0 } else { HEADER + LONGEST });
                }
            },
            _ = looks.tick() => {
                quiet += 1;
                if !connection.is_proven() || quiet >= MOST_QUIET {
                    return;
                }
            }
        }
        // One that sends without end must not hold up the others.
        tokio::task::yield_now().await;
    }
}
