//! What a viewer sees of a stream without decrypting it: RTP headers are in the clear (RFC 3711 §3.1), and the
//! kernel notes when each packet came, however late its reader is.

use super::Result;
use nix::sys::socket::{ControlMessageOwned, MsgFlags, recvmsg, setsockopt, sockopt};
use nix::sys::time::TimeSpec;
use std::io::{ErrorKind, IoSliceMut};
use std::os::fd::AsRawFd;
use tokio::io::Interest;
use tokio::net::UdpSocket;

/// One picture as its packets came.
#[derive(Clone, Copy, Debug)]
pub struct Glimpse {
    /// RTP timestamp, 90 kHz.
    pub timestamp: u32,
    /// Wall time at which its first packet came, µs.
    pub first: f64,
    /// Wall time at which its last packet came, µs.
    pub last: f64,
    /// Packets.
    pub packets: u32,
    /// Bytes of UDP payload.
    pub bytes: usize,
    /// The packet with the marker came.
    pub whole: bool,
}

/// All pictures of one source.
#[derive(Clone, Debug)]
pub struct Sight {
    payload_type: u8,
    /// Oldest first.
    pub pictures: Vec<Glimpse>,
    /// Packets of the media.
    pub packets: u64,
    /// Packets of any other payload type: sound, retransmissions.
    pub others: u64,
    /// Sequence numbers that were skipped.
    pub skipped: u64,
    next: Option<u16>,
}

/// Asks the kernel to note when packets come.
///
/// # Errors
/// It does not.
pub fn stamp(socket: &UdpSocket) -> Result<()> {
    Ok(setsockopt(socket, sockopt::ReceiveTimestampns, &true)?)
}

impl Sight {
    /// Of media with that payload type.
    pub fn new(payload_type: u8) -> Self {
        Self { payload_type, pictures: Vec::new(), packets: 0, others: 0, skipped: 0, next: None }
    }

    /// Takes in all that waits in the socket.
    ///
    /// # Errors
    /// The socket is broken.
    pub fn drain(&mut self, socket: &UdpSocket) -> Result<()> {
        let mut buffer = [0u8; 2048];
        let mut control = nix::cmsg_space!(TimeSpec);
        loop {
            let received = socket.try_io(Interest::READABLE, || {
                let mut slices = [IoSliceMut::new(&mut buffer)];
                let message =
                    recvmsg::<()>(socket.as_raw_fd(), &mut slices, Some(&mut control), MsgFlags::MSG_DONTWAIT)?;
                let stamp = message.cmsgs()?.find_map(|control| match control {
                    ControlMessageOwned::ScmTimestampns(time) => Some(time),
                    _ => None,
                });
                Ok((message.bytes, stamp))
            });
            match received {
                Ok((size, Some(stamp))) => {
                    let micros = stamp.tv_sec() as f64 * 1e6 + stamp.tv_nsec() as f64 / 1e3;
                    self.packet(micros, buffer.get(..size).unwrap_or_default());
                }
                Ok((_, None)) => {}
                Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::ConnectionRefused) => {
                    return Ok(());
                }
                Err(error) => return Err(error.into()),
            }
        }
    }

    fn packet(&mut self, micros: f64, packet: &[u8]) {
        let &[128..=191, second, a, b, t0, t1, t2, t3, ..] = packet else { return };
        // RFC 5761 §4: RTCP packet types are 192–223 in the second byte.
        if (192..=223).contains(&second) {
            return;
        }
        if second & 0x7f != self.payload_type {
            self.others += 1;
            return;
        }
        let sequence = u16::from_be_bytes([a, b]);
        if let Some(next) = self.next.replace(sequence.wrapping_add(1)) {
            self.skipped += u64::from(sequence.wrapping_sub(next));
        }
        self.packets += 1;
        let timestamp = u32::from_be_bytes([t0, t1, t2, t3]);
        if self.pictures.last().is_none_or(|picture| picture.timestamp != timestamp) {
            self.pictures.push(Glimpse { timestamp, first: micros, last: micros, packets: 0, bytes: 0, whole: false });
        }
        if let Some(picture) = self.pictures.last_mut() {
            picture.last = micros;
            picture.packets += 1;
            picture.bytes += packet.len();
            picture.whole |= second & 0x80 != 0;
        }
    }
}
