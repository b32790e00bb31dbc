//! One connection: written to by whoever has something for its viewer, read by its task.
//!
//! What is begun is finished, for a frame cut short would end the connection. So of a batch that the kernel has no room
//! for the rest is kept and written first, and its viewer is sent nothing more until then: what would wait any longer is
//! dropped by `sender` as it is for a slow UDP socket, and pictures never queue up here.

use std::io;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio::net::TcpStream;
use tokio::sync::Notify;

use crate::webrtc::framing;
use crate::webrtc::ice::Path;
use crate::webrtc::sending::Batch;
use crate::webrtc::server::lock;
use crate::webrtc::server::socket::Sent;

/// Bytes that wait at most: a batch, and some of what is not media. What finds no room is lost.
const MOST_WAITING: usize = 80 << 10;
const READ_AT_ONCE: usize = 4 << 10;

pub(in crate::webrtc::server) struct Connection {
    stream: TcpStream,
    path: Path,
    out: Mutex<Out>,
    /// Something waits for room, or the connection is to be closed.
    changed: Notify,
    is_proven: AtomicBool,
    is_closing: AtomicBool,
}

/// What the kernel had no room for.
#[derive(Default)]
struct Out {
    bytes: Vec<u8>,
    /// How many of them are gone.
    at: usize,
    /// Somebody wants to be told when nothing waits any more.
    is_awaited: bool,
}

impl Out {
    fn waiting(&self) -> usize {
        self.bytes.len() - self.at
    }
}

impl Connection {
    pub(super) fn new(stream: TcpStream, path: Path) -> Self {
        let (out, changed) = (Mutex::default(), Notify::new());
        Self { stream, path, out, changed, is_proven: AtomicBool::new(false), is_closing: AtomicBool::new(false) }
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
        lock(&self.out).waiting() > 0
    }

    /// Sends one datagram; what has no room is lost.
    pub(super) fn send_one(&self, datagram: &[u8]) {
        self.put(&mut lock(&self.out), std::iter::once(datagram));
    }

    /// Sends a batch. Where not all of it finds room in the kernel, [`Self::room`] will tell when it has.
    pub(super) fn send(&self, batch: &Batch) -> Sent {
        let mut out = lock(&self.out);
        self.put(&mut out, batch.packets());
        out.is_awaited = out.waiting() > 0;
        if out.is_awaited { Sent::Full } else { Sent::Gone }
    }

    fn put<'p>(&self, out: &mut Out, packets: impl Iterator<Item = &'p [u8]>) {
        let waited = out.waiting() > 0;
        for packet in packets {
            if out.waiting() + packet.len() <= MOST_WAITING {
                framing::write(packet, &mut out.bytes);
            }
        }
        if !waited && !self.write(out) {
            self.changed.notify_one();
        }
    }

    /// Writes what waits; true when nothing does any more.
    fn write(&self, out: &mut Out) -> bool {
        while let Some(rest) = out.bytes.get(out.at..).filter(|rest| !rest.is_empty()) {
            match self.stream.try_write(rest) {
                Ok(written) => out.at += written,
                Err(err) if err.kind() == io::ErrorKind::WouldBlock => return false,
                Err(err) => {
                    tracing::trace!(peer = %self.path.peer, %err, "a connection has ended");
                    self.close();
                    break;
                }
            }
        }
        out.bytes.clear();
        out.at = 0;
        true
    }

    /// Waits for room and writes what waits; true when nothing does any more and somebody wants to know.
    pub(super) async fn room(&self) -> io::Result<bool> {
        self.stream.writable().await?;
        let mut out = lock(&self.out);
        Ok(self.write(&mut out) && std::mem::take(&mut out.is_awaited))
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
