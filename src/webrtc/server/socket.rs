//! The UDP socket: who asked which of the box's addresses, and many packets per system call.
//!
//! Owns: receiving, on the thread that listens ([`UdpSocket`]), and sending, on any thread ([`Outlet`]). Does not own:
//! when to try again what the kernel has no room for (`shard`).

use std::collections::HashMap;
use std::io::{self, IoSlice, IoSliceMut};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV6};
use std::os::fd::AsRawFd;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::libc::{in_addr, in_pktinfo, in6_addr, in6_pktinfo};
use nix::sys::socket::{
    ControlMessage, ControlMessageOwned, MsgFlags, SockaddrStorage, recvmsg, sendmsg, setsockopt, sockopt,
};
use socket2::{Domain, Protocol, Socket, Type};
use tokio::io::Interest;

use super::lock;
use crate::webrtc::ice::{Path, Transport};
use crate::webrtc::sending::Batch;

/// Asked of the kernel, which may give less: room for an IDR to many viewers.
const SEND_BUFFER: usize = 4 << 20;
const RECEIVE_BUFFER: usize = 1 << 20;
/// After this segmentation is tried again where it was refused: interfaces and routes change.
const REFUSAL_HOLDS: Duration = Duration::from_secs(60);

/// A bound socket that no runtime knows yet.
pub(crate) struct Bound {
    socket: Socket,
    local: SocketAddr,
}

/// The socket as it is listened to; IPv6 sockets carry IPv4 as well, and addresses are shown as what they are.
pub(crate) struct UdpSocket {
    io: tokio::net::UdpSocket,
    local: SocketAddr,
}

/// The same socket as it is sent from, by every thread that serves viewers: the kernel takes datagrams of several
/// threads at once, and what was learned about a path holds for all of them.
pub(crate) struct Outlet {
    socket: Socket,
    is_v6: bool,
    refusals: Mutex<Refusals>,
    /// Whether there are any, so that the usual case takes no lock.
    has_refusals: AtomicBool,
}

/// Where segmentation does not work: not every interface can, nor every way to a peer (a small MTU for one). What fails
/// for one path says nothing about the others.
#[derive(Debug, Default)]
struct Refusals(HashMap<Path, Instant>);

impl Refusals {
    fn holds(&self, now: Instant, path: &Path) -> bool {
        self.0.get(path).is_some_and(|since| now.saturating_duration_since(*since) < REFUSAL_HOLDS)
    }

    fn add(&mut self, now: Instant, path: &Path) {
        self.0.retain(|_, since| now.saturating_duration_since(*since) < REFUSAL_HOLDS);
        if !self.0.keys().any(|known| known.local == path.local) {
            tracing::warn!(
                local = %path.local, peer = %path.peer,
                "UDP segmentation is refused on the way to a viewer; every packet of its costs a call for now"
            );
        }
        self.0.insert(*path, now);
    }
}

/// What became of a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Sent {
    /// It is gone, delivered or not.
    Gone,
    /// The socket's buffer is full; nothing is gone.
    Blocked,
    /// It is gone, and nothing more may follow along the path until word comes that there is room again.
    Full,
}

impl Bound {
    /// Binds; where the machine has no IPv6, `[::]` means every IPv4 address.
    pub(crate) fn bind(listen: SocketAddr) -> io::Result<Self> {
        match Self::bind_exactly(listen) {
            Err(err)
                if listen.ip() == IpAddr::V6(Ipv6Addr::UNSPECIFIED)
                    && [Errno::EAFNOSUPPORT as i32, Errno::EADDRNOTAVAIL as i32]
                        .map(Some)
                        .contains(&err.raw_os_error()) =>
            {
                Self::bind_exactly((Ipv4Addr::UNSPECIFIED, listen.port()).into())
            }
            result => result,
        }
    }

    fn bind_exactly(listen: SocketAddr) -> io::Result<Self> {
        let is_v6 = listen.is_ipv6();
        let domain = if is_v6 { Domain::IPV6 } else { Domain::IPV4 };
        let socket = Socket::new(domain, Type::DGRAM.nonblocking().cloexec(), Some(Protocol::UDP))?;
        if is_v6 {
            socket.set_only_v6(false)?;
            setsockopt(&socket, sockopt::Ipv6RecvPacketInfo, &true)?;
        } else {
            setsockopt(&socket, sockopt::Ipv4PacketInfo, &true)?;
        }
        // Less room is no reason not to start.
        let _ = socket.set_send_buffer_size(SEND_BUFFER);
        if let Ok(bytes) = socket.send_buffer_size().map(|doubled| doubled / 2)
            && bytes < SEND_BUFFER
        {
            tracing::info!(
                "the system allows {} KB of the {} KB that would hold a keyframe for every viewer; \
                 sysctl net.core.wmem_max={SEND_BUFFER} gives them",
                bytes >> 10,
                SEND_BUFFER >> 10
            );
        }
        let _ = socket.set_recv_buffer_size(RECEIVE_BUFFER);
        socket.bind(&listen.into())?;
        let local = socket.local_addr()?.as_socket().ok_or_else(|| io::Error::from(io::ErrorKind::AddrNotAvailable))?;
        Ok(Self { socket, local })
    }

    pub(crate) fn local_addr(&self) -> SocketAddr {
        self.local
    }

    /// The way out, for any thread.
    pub(crate) fn outlet(&self) -> io::Result<Arc<Outlet>> {
        let (socket, is_v6) = (self.socket.try_clone()?, self.local.is_ipv6());
        Ok(Arc::new(Outlet { socket, is_v6, refusals: Mutex::default(), has_refusals: AtomicBool::new(false) }))
    }

    /// Registers with the runtime it is called in.
    pub(crate) fn into_async(self) -> io::Result<UdpSocket> {
        Ok(UdpSocket { io: tokio::net::UdpSocket::from_std(self.socket.into())?, local: self.local })
    }
}

impl UdpSocket {
    /// Room for the control messages of [`Self::receive`].
    pub(crate) fn control_buffer() -> Vec<u8> {
        nix::cmsg_space!(in6_pktinfo, in_pktinfo)
    }

    pub(crate) async fn readable(&self) -> io::Result<()> {
        self.io.readable().await
    }

    /// Whether a datagram waits to be read.
    #[cfg(test)]
    pub(crate) fn has_datagram(&self) -> bool {
        let flags = MsgFlags::MSG_DONTWAIT | MsgFlags::MSG_PEEK;
        nix::sys::socket::recv(self.io.as_raw_fd(), &mut [0], flags).is_ok()
    }

    /// One datagram and the path it came along. Errors of single datagrams are not told.
    pub(crate) fn receive(&self, buffer: &mut [u8], control: &mut [u8]) -> io::Result<(usize, Path)> {
        self.io.try_io(Interest::READABLE, || self.receive_raw(buffer, control))
    }

    fn receive_raw(&self, buffer: &mut [u8], control: &mut [u8]) -> io::Result<(usize, Path)> {
        let mut parts = [IoSliceMut::new(buffer)];
        let flags = MsgFlags::MSG_DONTWAIT;
        let message = recvmsg::<SockaddrStorage>(self.io.as_raw_fd(), &mut parts, Some(control), flags)?;
        let peer = message.address.as_ref().and_then(to_std).ok_or(io::ErrorKind::InvalidData)?;
        let mut local = self.local.ip();
        for control in message.cmsgs().into_iter().flatten() {
            match control {
                ControlMessageOwned::Ipv4PacketInfo(info) => {
                    local = Ipv4Addr::from(info.ipi_addr.s_addr.to_ne_bytes()).into();
                }
                ControlMessageOwned::Ipv6PacketInfo(info) => {
                    local = Ipv6Addr::from(info.ipi6_addr.s6_addr).to_canonical();
                }
                _ => {}
            }
        }
        Ok((message.bytes, Path { local, peer, transport: Transport::Udp }))
    }
}

impl Outlet {
    /// Sends one datagram. What cannot be sent now is lost, as any datagram may be.
    pub(crate) fn send_one(&self, path: &Path, datagram: &[u8]) {
        if let Err(err) = self.send_raw(path, datagram, None) {
            tracing::trace!(peer = %path.peer, %err, "datagram not sent");
        }
    }

    /// Sends a batch, in one call where the interface can cut it up.
    pub(crate) fn send(&self, now: Instant, path: &Path, batch: &Batch) -> Sent {
        let mut refused = false;
        if batch.data.len() > batch.segment && !self.is_refused(now, path) {
            match u16::try_from(batch.segment).map(|segment| self.send_raw(path, &batch.data, Some(segment))) {
                // Segmentation may be what is refused, or the path.
                Ok(Err(Errno::EIO | Errno::EINVAL | Errno::EOPNOTSUPP | Errno::ENOPROTOOPT | Errno::EMSGSIZE)) => {
                    refused = true;
                }
                Ok(Err(Errno::EAGAIN | Errno::ENOBUFS)) => return Sent::Blocked,
                Ok(_) => return Sent::Gone,
                Err(_) => {}
            }
        }
        for (n, packet) in batch.packets().enumerate() {
            match self.send_raw(path, packet, None) {
                Err(Errno::EAGAIN | Errno::ENOBUFS) => {
                    // Once a part is gone all is, for its sequence numbers must not be used again.
                    return if n == 0 { Sent::Blocked } else { Sent::Gone };
                }
                Ok(()) if refused => {
                    refused = false;
                    lock(&self.refusals).add(now, path);
                    self.has_refusals.store(true, Ordering::Relaxed);
                }
                _ => {}
            }
        }
        Sent::Gone
    }

    fn is_refused(&self, now: Instant, path: &Path) -> bool {
        self.has_refusals.load(Ordering::Relaxed) && lock(&self.refusals).holds(now, path)
    }

    fn send_raw(&self, path: &Path, data: &[u8], segment: Option<u16>) -> Result<(), Errno> {
        let peer = SockaddrStorage::from(self.on_the_wire(path.peer));
        let parts = [IoSlice::new(data)];
        let (v4, v6);
        let source = match (self.is_v6, path.local) {
            (_, local) if local.is_unspecified() => None,
            (false, IpAddr::V4(local)) => {
                let address = in_addr { s_addr: u32::from_ne_bytes(local.octets()) };
                v4 = in_pktinfo { ipi_ifindex: 0, ipi_spec_dst: address, ipi_addr: in_addr { s_addr: 0 } };
                Some(ControlMessage::Ipv4PacketInfo(&v4))
            }
            (true, local) => {
                let address = match local {
                    IpAddr::V4(local) => local.to_ipv6_mapped(),
                    IpAddr::V6(local) => local,
                };
                v6 = in6_pktinfo { ipi6_addr: in6_addr { s6_addr: address.octets() }, ipi6_ifindex: 0 };
                Some(ControlMessage::Ipv6PacketInfo(&v6))
            }
            (false, IpAddr::V6(_)) => None,
        };
        let segment = segment.as_ref().map(ControlMessage::UdpGsoSegments);
        let mut controls = [ControlMessage::UdpGsoSegments(&0); 2];
        let mut used = 0;
        for (slot, control) in controls.iter_mut().zip(source.into_iter().chain(segment)) {
            *slot = control;
            used += 1;
        }
        let controls = controls.get(..used).unwrap_or_default();
        sendmsg(self.socket.as_raw_fd(), &parts, controls, MsgFlags::MSG_DONTWAIT, Some(&peer)).map(|_| ())
    }

    fn on_the_wire(&self, peer: SocketAddr) -> SocketAddr {
        match peer {
            SocketAddr::V4(v4) if self.is_v6 => SocketAddrV6::new(v4.ip().to_ipv6_mapped(), v4.port(), 0, 0).into(),
            peer => peer,
        }
    }
}

/// Port 0 is nobody's: what claims to come from there cannot be answered.
fn to_std(address: &SockaddrStorage) -> Option<SocketAddr> {
    any_to_std(address).filter(|address| address.port() != 0)
}

fn any_to_std(address: &SockaddrStorage) -> Option<SocketAddr> {
    if let Some(v4) = address.as_sockaddr_in() {
        return Some(std::net::SocketAddrV4::from(*v4).into());
    }
    let v6 = SocketAddrV6::from(*address.as_sockaddr_in6()?);
    Some(match v6.ip().to_ipv4_mapped() {
        Some(v4) => SocketAddr::new(v4.into(), v6.port()),
        None => v6.into(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::Clock;

    fn batch() -> Batch {
        Batch { data: vec![7; 2_500], segment: 1_000 }
    }

    fn path(peer: SocketAddr) -> Path {
        Path { local: Ipv4Addr::LOCALHOST.into(), peer, transport: Transport::Udp }
    }

    #[test]
    fn a_path_that_fails_says_nothing_about_segmentation() {
        let now = Clock::system().now();
        for listen in ["127.0.0.1:0", "[::]:0"] {
            let socket = Bound::bind(listen.parse().unwrap()).unwrap().outlet().unwrap();
            let peer = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
            peer.set_read_timeout(Some(Duration::from_secs(1))).unwrap();
            let good = path(peer.local_addr().unwrap());
            let gone = Path { local: [192, 0, 2, 55].into(), ..good };
            let gone_v6 = Path { local: "2001:db8::55".parse().unwrap(), peer: "[::1]:9".parse().unwrap(), ..good };
            let nobody = Path { peer: (Ipv4Addr::LOCALHOST, 0).into(), ..good };
            for path in [gone, gone_v6, nobody] {
                assert_eq!(socket.send(now, &path, &batch()), Sent::Gone);
            }
            assert!(lock(&socket.refusals).0.is_empty(), "{:?}", lock(&socket.refusals));
            assert_eq!(socket.send(now, &good, &batch()), Sent::Gone);
            let lengths: Vec<_> = (0..3).map(|_| peer.recv(&mut [0; 2_048]).unwrap()).collect();
            assert_eq!(lengths, [1_000, 1_000, 500]);
        }
    }

    #[test]
    fn a_refusal_counts_for_its_path_and_not_for_ever() {
        let now = Clock::system().now();
        let path = |port| path((Ipv4Addr::LOCALHOST, port).into());
        let mut refusals = Refusals::default();
        refusals.add(now, &path(1));
        assert!(refusals.holds(now, &path(1)));
        assert!(!refusals.holds(now, &path(2)));
        assert!(!refusals.holds(now + REFUSAL_HOLDS, &path(1)));
        refusals.add(now + REFUSAL_HOLDS, &path(2));
        assert_eq!(refusals.0.len(), 1, "what is over is forgotten");
    }

    #[test]
    fn nobody_is_at_port_0() {
        let from = |address: &str| to_std(&SockaddrStorage::from(address.parse::<SocketAddr>().unwrap()));
        assert_eq!(from("192.0.2.1:0"), None);
        assert_eq!(from("[::ffff:192.0.2.1]:0"), None);
        assert_eq!(from("[::ffff:192.0.2.1]:5"), Some("192.0.2.1:5".parse().unwrap()));
    }
}
