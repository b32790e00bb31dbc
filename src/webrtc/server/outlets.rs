//! The ways out, for any thread: the UDP socket, and the connections that viewers have made.

use std::sync::Arc;
use std::time::Instant;

use super::socket::{Outlet, Sent};
use super::tcp::Connections;
use crate::webrtc::ice::{Path, Transport};
use crate::webrtc::sending::Batch;

/// Both ways out. Cheap to clone.
#[derive(Clone)]
pub(super) struct Outlets {
    pub(super) udp: Arc<Outlet>,
    pub(super) tcp: Arc<Connections>,
}

impl Outlets {
    /// Sends one datagram. What cannot be sent now is lost, as any datagram may be.
    pub(super) fn send_one(&self, path: &Path, datagram: &[u8]) {
        match path.transport {
            Transport::Udp => self.udp.send_one(path, datagram),
            Transport::Tcp => self.tcp.send_one(path, datagram),
        }
    }

    /// Sends a batch.
    pub(super) fn send(&self, now: Instant, path: &Path, batch: &Batch) -> Sent {
        match path.transport {
            Transport::Udp => self.udp.send(now, path, batch),
            Transport::Tcp => self.tcp.send(path, batch),
        }
    }
}
