//! One connection: written to by whoever has something for its viewer, read by its task.
//!
//! What is begun is finished, for a frame cut short would end the connection. So of a batch that the kernel has no room
//! for the rest is kept and written first, and its viewer is sent nothing more until then: what would wait any longer is
//! dropped by `sender` as it is for a slow UDP socket, and pictures never queue up here.

use std::io;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use tokio::net::TcpStream;
use tokio::sync::Notify;

use crate::webrtc::framing::{self, HEADER};
use crate::webrtc::ice::Path;
use crate::webrtc::sending::Batch;
use crate::webrtc::server::lock;
use crate::webrtc::server::socket::Sent;

/// Bytes that wait at most for one viewer: a batch, and some of what is not media. What finds no room is lost.
const MOST_WAITING: usize = 80 << 10;
/// Bytes that may always wait: what a connection without media needs, and where one with media has to be told of room.
pub(super) const LEAST_WAITING: usize = 4 << 10;
/// Beyond [`LEAST_WAITING`] of each, bytes that wait for all viewers together.
pub(super) const MOST_WAITING_OF_ALL: usize = 24 << 20;
const READ_AT_ONCE: usize = 4 << 10;

/// How many bytes wait over all connections.
#[derive(Clone, Default)]
pub(super) struct Waiting(Arc<AtomicUsize>);

impl Waiting {
    /// How many may wait for a connection for which so many do.
    fn limit(&self, waiting: usize) -> usize {
        let all = self.0.load(Ordering::Relaxed);
        (waiting + MOST_WAITING_OF_ALL.saturating_sub(all)).max(LEAST_WAITING)
    }

    pub(super) fn change(&self, before: usize, now: usize) {
        self.0.fetch_add(now.wrapping_sub(before), Ordering::Relaxed);
    }

    #[cfg(test)]
    pub(super) fn now(&self) -> usize {
        self.0.load(Ordering::Relaxed)
    }
}

pub(in crate::webrtc::server) struct Connection {
    stream: TcpStream,
    path: Path,
    out: Mutex<Out>,
    waiting: Waiting,
    /// Something waits for room, or the connection is to be closed.
    changed: Notify,
    is_proven: AtomicBool,
    is_closing: AtomicBool,
}

/// What the kernel had no room for.
#[derive(Default)]
struct Out {
    bytes: Vec<u8>,
    /// Somebody wants to be told when nothing waits any more.
    is_awaited: bool,
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.waiting.change(lock(&self.out).bytes.len(), 0);
    }
}

impl Connection {
    pub(super) fn new(stream: TcpStream, path: Path, waiting: Waiting) -> Self {
        let (out, changed) = (Mutex::default(), Notify::new());
        let (is_proven, is_closing) = (AtomicBool::new(false), AtomicBool::new(false));
        Self { stream, path, out, waiting, changed, is_proven, is_closing }
    }

    pub(super) fn path(&self) -> Path {
        self.path
    }

    /// Whether its viewer has proven to know a session's password.
    pub(super) fn is_proven(&self) -> bool {
        self.is_proven.load(Ordering::Relaxed)
    }

    pub(super) fn prove(&self) {
        self.is_proven.store(true, Ordering::Relaxed);
    }

    pub(super) fn is_closing(&self) -> bool {
        self.is_closing.load(Ordering::Relaxed)
    }

    /// Has its task end, and with it the connection.
    pub(super) fn close(&self) {
        self.is_closing.store(true, Ordering::Relaxed);
        self.changed.notify_one();
    }

    /// Waits until there is something to look at: [`Self::is_closing`], [`Self::has_unsent`].
    pub(super) async fn changed(&self) {
        self.changed.notified().await;
    }

    pub(super) fn has_unsent(&self) -> bool {
        !lock(&self.out).bytes.is_empty()
    }

    /// What is held for what waits.
    #[cfg(test)]
    pub(super) fn held(&self) -> usize {
        lock(&self.out).bytes.capacity()
    }

    /// Sends one datagram; what has no room is lost.
    pub(super) fn send_one(&self, datagram: &[u8]) {
        let mut out = lock(&self.out);
        // Where media does not flow little may wait.
        let most = if out.is_awaited { MOST_WAITING } else { LEAST_WAITING };
        self.put(&mut out, std::iter::once(datagram), most);
    }

    /// Sends a batch. Where not all of it finds room in the kernel, [`Self::room`] will tell when it has.
    pub(super) fn send(&self, batch: &Batch) -> Sent {
        let mut out = lock(&self.out);
        self.put(&mut out, batch.packets(), MOST_WAITING);
        out.is_awaited = !out.bytes.is_empty();
        if out.is_awaited { Sent::Full } else { Sent::Gone }
    }

    fn put<'p>(&self, out: &mut Out, packets: impl Iterator<Item = &'p [u8]>, most: usize) {
        let waited = out.bytes.len();
        let limit = self.waiting.limit(waited).min(most);
        // Where nothing waits the kernel is asked first: what it takes needs to wait nowhere.
        let most = if waited == 0 { most } else { limit };
        for packet in packets {
            if out.bytes.len() + HEADER + packet.len() <= most {
                framing::write(packet, &mut out.bytes);
            }
        }
        if waited == 0 {
            let gone = self.write(&out.bytes);
            out.bytes.truncate(kept(&out.bytes, gone, limit));
            out.bytes.drain(..gone);
            if !out.bytes.is_empty() {
                self.changed.notify_one();
            }
        }
        out.bytes.shrink_to_fit();
        self.waiting.change(waited, out.bytes.len());
    }

    /// Writes what the kernel has room for; gives how many bytes are gone.
    fn write(&self, bytes: &[u8]) -> usize {
        let mut gone = 0;
        while let Some(rest) = bytes.get(gone..).filter(|rest| !rest.is_empty()) {
            match self.stream.try_write(rest) {
                Ok(written) => gone += written,
                Err(err) if err.kind() == io::ErrorKind::WouldBlock => break,
                Err(err) => {
                    tracing::trace!(peer = %self.path.peer, %err, "a connection has ended");
                    self.close();
                    return bytes.len();
                }
            }
        }
        gone
    }

    /// Waits for room and writes what waits; true when nothing does any more and somebody wants to know.
    pub(super) async fn room(&self) -> io::Result<bool> {
        self.stream.writable().await?;
        let mut out = lock(&self.out);
        let gone = self.write(&out.bytes);
        // At once: a slow reader may always leave a rest.
        out.bytes.drain(..gone);
        out.bytes.shrink_to_fit();
        self.waiting.change(gone, 0);
        Ok(out.bytes.is_empty() && std::mem::take(&mut out.is_awaited))
    }

    /// Appends what has come to `buffer`; gives how many bytes, none at the end.
    pub(super) async fn read(&self, buffer: &mut Vec<u8>) -> io::Result<usize> {
        loop {
            self.stream.readable().await?;
            buffer.reserve(READ_AT_ONCE);
            match self.stream.try_read_buf(buffer) {
                Err(err) if err.kind() == io::ErrorKind::WouldBlock => {}
                read => return read,
            }
        }
    }
}

/// Where those of the frames end that are kept when the first `gone` bytes are gone: what is begun is finished, and what
/// else there is room for follows.
fn kept(frames: &[u8], gone: usize, room: usize) -> usize {
    let mut end = 0;
    while let Some(length) = frames.get(end..).and_then(<[u8]>::first_chunk) {
        let next = end + HEADER + usize::from(u16::from_be_bytes(*length));
        if end >= gone && next - gone > room {
            break;
        }
        end = next;
    }
    end
}
