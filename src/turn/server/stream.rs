//! Clients on streams: TCP of our own port, and whatever is handed over (TLS, once there is some).

use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, MutexGuard};
use std::time::Duration;

use socket2::SockRef;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;

use super::{Handle, Shared, Waiting, Way};
use crate::turn::allocations::{Client, Transport};
use crate::turn::framing::{self, Next};

/// Messages that wait for one reader: a group of pictures for a viewer that joins.
const MOST_WAITING: usize = 1_024;
/// Written in one call.
const AT_ONCE: usize = 32 << 10;
/// What may wait unsent in the kernel for one client: what waits longer is old.
const MOST_UNSENT: u32 = 64 << 10;
const READ_AT_ONCE: usize = 4 << 10;
/// A stream without an allocation is looked at this often, and is closed the second time.
const PATIENCE: Duration = Duration::from_secs(5);
/// A client that takes nothing for this long is gone.
const GONE_AFTER: Duration = Duration::from_secs(10);

/// Accepts clients until it is aborted.
pub(super) async fn accept(listener: TcpListener, handle: Handle) {
    loop {
        match listener.accept().await {
            Ok((stream, client)) => {
                let Ok(local) = stream.local_addr() else { continue };
                prepare(&stream);
                tokio::spawn(handle.clone().serve(stream, client, local));
            }
            Err(err) => {
                // Out of descriptors, most likely: some will be given back.
                tracing::warn!(%err, "no TURN client can be accepted now");
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
    }
}

/// Readies the TCP stream of a client, below its TLS if there is some, for [`Handle::serve`].
pub fn prepare(stream: &TcpStream) {
    let socket = SockRef::from(stream);
    let set = socket
        .set_tcp_nodelay(true)
        .and_then(|()| socket.set_tcp_notsent_lowat(MOST_UNSENT))
        .and_then(|()| socket.set_tcp_user_timeout(Some(GONE_AFTER)));
    if let Err(err) = set {
        tracing::debug!(%err, "a connection keeps its defaults");
    }
}

impl Handle {
    /// Serves one client on a stream until either end closes it, or it has no allocation for too long. `client` and
    /// `local` are the addresses of its ends.
    pub async fn serve(self, stream: impl AsyncRead + AsyncWrite, client: SocketAddr, local: SocketAddr) {
        let canonical = |address: SocketAddr| SocketAddr::new(address.ip().to_canonical(), address.port());
        let (peer, local) = (canonical(client), canonical(local));
        let Some(_place) = Place::take(&self.shared, self.shared.sources.of(peer.ip())) else {
            tracing::debug!(%peer, "too many TURN streams");
            return;
        };
        let client = Client { transport: Transport::Stream, peer, local };
        let (queue, waiting) = mpsc::channel(MOST_WAITING);
        let (reader, writer) = tokio::io::split(stream);
        tokio::select! {
            () = read(&self.shared, client, Way::Stream(queue, self.shared.waiting.clone()), reader) => {}
            ended = write(waiting, writer) => drop(ended),
        }
        self.shared.gone(&client);
    }
}

async fn read(shared: &Arc<Shared>, client: Client, way: Way, reader: impl AsyncRead) {
    let mut reader = std::pin::pin!(reader);
    let mut look = tokio::time::interval(PATIENCE);
    look.tick().await;
    let (mut buffer, mut idle) = (Vec::with_capacity(READ_AT_ONCE), 0);
    loop {
        buffer.reserve(READ_AT_ONCE);
        tokio::select! {
            read = reader.read_buf(&mut buffer) => match read {
                Ok(0) | Err(_) => return,
                Ok(_) => {}
            },
            _ = look.tick() => {
                idle = if shared.state().allocations.has(&client) { 0 } else { idle + 1 };
                if idle > 1 {
                    return;
                }
                continue;
            }
        }
        let mut rest = &buffer[..];
        loop {
            match framing::next(rest) {
                Next::Whole { message, padding } => {
                    let (whole, after) = rest.split_at(message);
                    shared.message(client, &way, whole);
                    rest = after.get(padding..).unwrap_or_default();
                }
                Next::Partial => break,
                Next::Broken => return,
            }
        }
        let left = rest.len();
        buffer.drain(..buffer.len() - left);
        // One client that sends without end must not hold up the others.
        tokio::task::yield_now().await;
    }
}

async fn write(mut waiting: mpsc::Receiver<Waiting>, writer: impl AsyncWrite) -> io::Result<()> {
    let mut writer = std::pin::pin!(writer);
    let mut bytes = Vec::new();
    while let Some(message) = waiting.recv().await {
        bytes.clear();
        bytes.extend_from_slice(&message.message);
        drop(message);
        while bytes.len() < AT_ONCE
            && let Ok(message) = waiting.try_recv()
        {
            bytes.extend_from_slice(&message.message);
        }
        let sending = async {
            writer.write_all(&bytes).await?;
            writer.flush().await
        };
        tokio::time::timeout(GONE_AFTER, sending).await??;
    }
    Ok(())
}

/// One of the streams there may be at once; given back when dropped.
struct Place {
    shared: Arc<Shared>,
    of: IpAddr,
}

fn places(shared: &Shared) -> MutexGuard<'_, HashMap<IpAddr, usize>> {
    shared.streams.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
}

impl Place {
    fn take(shared: &Arc<Shared>, of: IpAddr) -> Option<Self> {
        let mut streams = places(shared);
        let has_room = streams.values().sum::<usize>() < shared.limits.allocations
            && streams.get(&of).is_none_or(|count| *count < shared.limits.per_address);
        has_room.then(|| {
            *streams.entry(of).or_default() += 1;
            Self { shared: shared.clone(), of }
        })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut streams = places(&self.shared);
        if let Some(count) = streams.get_mut(&self.of) {
            *count -= 1;
            if *count == 0 {
                streams.remove(&self.of);
            }
        }
    }
}
