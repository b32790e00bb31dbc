//! Packets for one system call.
//!
//! Owns: which packets may share a call, and how one is put together: header, shared payload, tag. Does not own: what is
//! sent (`sender`, `sound`), nor sockets.

use super::rtp::Header;
use super::srtp::OutboundRtp;

/// Most segments the kernel takes in one call (`UDP_MAX_SEGMENTS`).
pub(super) const MOST_SEGMENTS: usize = 64;
/// Most bytes in one call: an IP packet's length has 16 bits.
pub(super) const MOST_BYTES: usize = 60_000;

/// Packets for one system call: all segments equally long but the last.
#[derive(Debug, Default)]
pub struct Batch {
    /// The packets, one after the other.
    pub data: Vec<u8>,
    /// Length of each but the last, bytes.
    pub segment: usize,
}

impl Batch {
    /// The single packets.
    pub fn packets(&self) -> impl Iterator<Item = &[u8]> {
        self.data.chunks(self.segment.max(1))
    }

    pub(super) fn clear(&mut self) {
        self.data.clear();
        self.segment = 0;
    }

    /// Whether a packet of so many bytes can go along.
    pub(super) fn takes(&self, len: usize) -> bool {
        self.data.is_empty()
            || len <= self.segment
                && self.data.len().is_multiple_of(self.segment)
                && self.data.len() < MOST_SEGMENTS * self.segment
                && self.data.len() + len <= MOST_BYTES
    }

    /// Appends a packet, protected; `index` is its rollover counter and sequence number.
    pub(super) fn push(&mut self, srtp: &OutboundRtp, header: &Header, prefix: &[u8], payload: &[u8], index: u64) {
        let start = self.data.len();
        header.write(&mut self.data);
        self.data.extend_from_slice(prefix);
        self.data.extend_from_slice(payload);
        self.data.resize(self.data.len() + srtp.rtp_overhead(), 0);
        let packet = self.data.get_mut(start..).unwrap_or_default();
        srtp.protect_rtp(packet, header.len(), header.ssrc, index).expect("the packet has room for header and tag");
        if start == 0 {
            self.segment = self.data.len();
        }
    }
}
