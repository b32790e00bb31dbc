//! The UDP sockets of this room.
//!
//! Owns: how they are opened, and taking everything that is there in one go.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use bytes::Bytes;
use nix::errno::Errno;
use socket2::{Domain, Protocol, Socket, Type};
use tokio::net::UdpSocket;

use super::screen::LONGEST_PAYLOAD;

/// Room for the bursts of an I-frame at 50 Mbit/s while the program does something else. The
/// system may grant less (`net.core.rmem_max`).
const RECEIVE_BUFFER: usize = 8 << 20;
const SEND_BUFFER: usize = 1 << 20;
/// Room for a datagram, in bytes. What is longer is cut off here, and what remains of it is still
/// longer than any data packet that `screen` lets through.
const LONGEST: usize = 2048;
const _: () = assert!(LONGEST > 16 + LONGEST_PAYLOAD);
/// Datagrams taken before others get their turn.
const MOST_AT_ONCE: usize = 256;

/// Opens a UDP socket. `[::]` takes IPv4 too, and where the machine has no IPv6, IPv4 alone; every
/// other address is taken as written.
///
/// # Errors
/// When the system refuses.
pub fn bind(address: SocketAddr) -> io::Result<UdpSocket> {
    bind_exactly(address).or_else(|error| bind_exactly(without_ipv6(address, &error).ok_or(error)?))
}

/// What to open instead of `[::]` on a machine without IPv6.
fn without_ipv6(address: SocketAddr, error: &io::Error) -> Option<SocketAddr> {
    let missing = [Errno::EAFNOSUPPORT, Errno::EADDRNOTAVAIL].map(|errno| Some(errno as i32));
    let instead = address.ip() == IpAddr::V6(Ipv6Addr::UNSPECIFIED) && missing.contains(&error.raw_os_error());
    instead.then(|| (Ipv4Addr::UNSPECIFIED, address.port()).into())
}

fn bind_exactly(address: SocketAddr) -> io::Result<UdpSocket> {
    let socket = Socket::new(Domain::for_address(address), Type::DGRAM, Some(Protocol::UDP))?;
    if address.is_ipv6() {
        socket.set_only_v6(address.ip() != Ipv6Addr::UNSPECIFIED)?;
    }
    socket.set_nonblocking(true)?;
    grow(&socket);
    socket.bind(&address.into())?;
    UdpSocket::from_std(socket.into())
}

/// Asks for large buffers. How much is granted is the system's business: the stream runs with less.
fn grow(socket: &Socket) {
    let _ = socket.set_recv_buffer_size(RECEIVE_BUFFER);
    let _ = socket.set_send_buffer_size(SEND_BUFFER);
    // Beyond `net.core.rmem_max`, for a program with CAP_NET_ADMIN.
    #[cfg(target_os = "linux")]
    let _ = nix::sys::socket::setsockopt(socket, nix::sys::socket::sockopt::RcvBufForce, &RECEIVE_BUFFER);
    tracing::debug!(bytes = socket.recv_buffer_size().unwrap_or(0), "SRT receive buffer");
}

/// Reads what has arrived.
#[derive(Debug)]
pub struct Reader {
    buffer: [u8; LONGEST],
}

impl Default for Reader {
    fn default() -> Self {
        Self { buffer: [0; LONGEST] }
    }
}

impl Reader {
    /// Waits until something is there.
    ///
    /// # Errors
    /// When the socket is broken.
    pub async fn ready(&self, socket: &UdpSocket) -> io::Result<()> {
        socket.readable().await
    }

    /// Takes what is there, up to a fair share.
    pub fn drain(&mut self, socket: &UdpSocket, mut take: impl FnMut(SocketAddr, Bytes)) {
        for _ in 0..MOST_AT_ONCE {
            match socket.try_recv_from(&mut self.buffer) {
                // Each gets memory of its own: one that waits keeps no others in memory.
                Ok((length, from)) => {
                    take(from, Bytes::copy_from_slice(self.buffer.get(..length).unwrap_or_default()));
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
                // An earlier packet of ours found nobody; that says nothing about the next.
                Err(error) => tracing::trace!(err = %error, "receiving"),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_machine_without_ipv6_listens_on_ipv4() {
        let instead = |address: &str, errno: Errno| without_ipv6(address.parse().unwrap(), &errno.into());
        for errno in [Errno::EAFNOSUPPORT, Errno::EADDRNOTAVAIL] {
            assert_eq!(instead("[::]:8890", errno), Some(([0, 0, 0, 0], 8890).into()));
        }
        assert_eq!(instead("[::]:8890", Errno::EADDRINUSE), None);
        assert_eq!(instead("[::1]:8890", Errno::EAFNOSUPPORT), None);
        assert_eq!(instead("192.0.2.1:8890", Errno::EADDRNOTAVAIL), None);
    }

    #[tokio::test]
    async fn a_cut_datagram_is_refused() {
        let (to, from) = (bind(([127, 0, 0, 1], 0).into()).unwrap(), bind(([127, 0, 0, 1], 0).into()).unwrap());
        let datagram =
            |payload: usize| [&[0, 0, 0, 1, 0xC0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 7][..], &vec![7; payload]].concat();
        let mut reader = Reader::default();
        let mut came = Vec::new();
        for payload in [1456, 1457, 20_000] {
            from.send_to(&datagram(payload), to.local_addr().unwrap()).await.unwrap();
            reader.ready(&to).await.unwrap();
            reader.drain(&to, |_, datagram| came.push(super::super::screen::screen(&datagram).is_ok()));
        }
        assert_eq!(came, [true, false, false]);
    }
}
