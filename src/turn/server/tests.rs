use std::net::Ipv4Addr;

use rtc_stun::attributes::ATTR_DATA;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::*;
use crate::turn::framing::{self, Next};
use crate::turn::tests::{ALLOCATE, BIND, PERMIT, REFRESH, Talker, channel, code, lifetime, peer, read, relayed, udp};

const SOON: Duration = Duration::from_secs(5);

/// A relay on the loopback address in front of a socket that stands for the media, and says back what it hears.
struct Rig {
    credentials: Credentials,
    handle: Handle,
    server: SocketAddr,
    media: SocketAddr,
    stop: CancellationToken,
    running: Option<tokio::task::JoinHandle<io::Result<()>>>,
}

async fn bound(limits: Limits) -> (Rig, Server) {
    let local = || vec![IpAddr::from(Ipv4Addr::LOCALHOST)];
    let echo = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let media = echo.local_addr().unwrap();
    tokio::spawn(async move {
        let mut buffer = [0; 2048];
        while let Ok((len, from)) = echo.recv_from(&mut buffer).await {
            let _ = echo.send_to(&buffer[..len], from).await;
        }
    });
    // Both ports are the same, as they are in the program.
    let (tcp, listen) = loop {
        let tcp = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let listen = tcp.local_addr().unwrap();
        if UdpSocket::bind(listen).await.is_ok() {
            break (tcp, listen);
        }
    };
    let clock = Clock::system();
    let credentials = Credentials::new(&[7; 32], clock.now());
    let (public_addresses, sources) = (Vec::new(), Sources::default());
    let config = Config { listen, media, local_addresses: local, public_addresses, limits, sources };
    let (handle, server) = Server::bind(config, tcp, credentials.clone(), clock).unwrap();
    let stop = CancellationToken::new();
    (Rig { credentials, handle, server: listen, media, stop, running: None }, server)
}

impl Rig {
    async fn start() -> Self {
        let (rig, server) = bound(Limits::for_viewers(1)).await;
        let running = tokio::spawn(server.run(rig.stop.clone()));
        Self { running: Some(running), ..rig }
    }

    fn talker(&self) -> Talker {
        Talker::new(&self.credentials.mint(Clock::system().now(), "a"))
    }

    async fn stop(self) {
        self.stop.cancel();
        tokio::time::timeout(SOON, self.running.unwrap()).await.unwrap().unwrap().unwrap();
    }
}

/// A client by either transport.
enum Way {
    Udp(UdpSocket),
    Tcp(TcpStream, Vec<u8>),
}

impl Way {
    async fn udp(server: SocketAddr) -> Self {
        let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        socket.connect(server).await.unwrap();
        Self::Udp(socket)
    }

    async fn tcp(server: SocketAddr) -> Self {
        Self::Tcp(TcpStream::connect(server).await.unwrap(), Vec::new())
    }

    async fn say(&mut self, message: &[u8]) {
        match self {
            Self::Udp(socket) => drop(socket.send(message).await.unwrap()),
            Self::Tcp(stream, _) => stream.write_all(message).await.unwrap(),
        }
    }

    /// The next message; `None` when the stream has ended.
    async fn hear(&mut self) -> Option<Vec<u8>> {
        let heard = async {
            match self {
                Self::Udp(socket) => {
                    let mut buffer = vec![0; 2048];
                    let len = socket.recv(&mut buffer).await.unwrap();
                    buffer.truncate(len);
                    Some(buffer)
                }
                Self::Tcp(stream, read) => loop {
                    if let Next::Whole { message, padding } = framing::next(read) {
                        let rest = read.split_off(message + padding);
                        let mut whole = std::mem::replace(read, rest);
                        whole.truncate(message);
                        return Some(whole);
                    }
                    if stream.read_buf(read).await.unwrap_or(0) == 0 {
                        return None;
                    }
                },
            }
        };
        tokio::time::timeout(SOON, heard).await.unwrap()
    }

    async fn ask(&mut self, message: &[u8]) -> Vec<u8> {
        self.say(message).await;
        self.hear().await.unwrap()
    }

    /// Challenged and allocated; gives the relayed address.
    async fn allocate(&mut self, talker: &mut Talker) -> SocketAddr {
        let refusal = self.ask(&talker.bare(ALLOCATE, &[udp()])).await;
        assert_eq!(code(&refusal), 401);
        talker.learn(&refusal);
        relayed(&self.ask(&talker.request(ALLOCATE, &[udp()])).await)
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn data_goes_to_the_media_and_back_over_udp_and_over_tcp() {
    let rig = Rig::start().await;
    for mut way in [Way::udp(rig.server).await, Way::tcp(rig.server).await] {
        let mut talker = rig.talker();
        let relayed = way.allocate(&mut talker).await;
        assert_eq!(relayed.ip(), Ipv4Addr::LOCALHOST);
        let media = rig.media.to_string();
        let to_media = peer(&talker, &media);
        assert_eq!(code(&way.ask(&talker.request(PERMIT, &[to_media])).await), 200);
        let echoed = way.ask(&talker.send(&media, b"check")).await;
        assert_eq!(read(&echoed).get(ATTR_DATA).unwrap(), b"check");
        let to_media = peer(&talker, &media);
        assert_eq!(code(&way.ask(&talker.request(BIND, &[channel(0x4000), to_media])).await), 200);
        // Two at once, of odd lengths, so that the padding on a stream matters.
        if let Way::Tcp(..) = way {
            way.say(b"\x40\0\0\x05check\0\0\0\x40\0\0\x02ab\0\0").await;
            assert_eq!(way.hear().await.unwrap(), b"\x40\0\0\x05check");
        } else {
            way.say(b"\x40\0\0\x02ab").await;
        }
        assert_eq!(way.hear().await.unwrap(), b"\x40\0\0\x02ab");
        // Nobody else gets in through the relayed address.
        let stranger = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        stranger.send_to(b"intrusion", relayed).await.unwrap();
        let other = peer(&talker, "127.0.0.1:1");
        assert_eq!(code(&way.ask(&talker.request(BIND, &[channel(0x4001), other])).await), 403);
        assert_eq!(code(&way.ask(&talker.request(REFRESH, &[lifetime(0)])).await), 200);
        assert_eq!(rig.handle.allocations(), 0);
        let closed = async {
            while UdpSocket::bind(relayed).await.is_err() {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        tokio::time::timeout(SOON, closed).await.expect("its socket is closed");
    }
    rig.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_that_ends_takes_its_allocation_with_it() {
    let rig = Rig::start().await;
    let mut way = Way::tcp(rig.server).await;
    way.allocate(&mut rig.talker()).await;
    assert_eq!(rig.handle.allocations(), 1);
    drop(way);
    let gone = async {
        while rig.handle.allocations() > 0 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(SOON, gone).await.unwrap();
    rig.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_turn_ends_its_own_stream_and_no_other() {
    let rig = Rig::start().await;
    let mut viewer = Way::tcp(rig.server).await;
    let mut talker = rig.talker();
    viewer.allocate(&mut talker).await;
    for noise in [&b"GET / HTTP/1.1\r\n\r\n"[..], b"\x16\x03\x01\0\x05hello", &[0xff; 4000], b"\x40\0\xff\xff"] {
        let mut other = Way::tcp(rig.server).await;
        other.say(noise).await;
        assert_eq!(other.hear().await, None, "{noise:02x?}");
    }
    assert_eq!(code(&viewer.ask(&talker.request(REFRESH, &[])).await), 200);
    rig.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_address_has_no_more_streams_than_its_share() {
    let rig = Rig::start().await;
    let mut all = Vec::new();
    for _ in 0..Limits::for_viewers(1).per_address {
        all.push(Way::tcp(rig.server).await);
        let last = all.last_mut().unwrap();
        assert_eq!(code(&last.ask(&rig.talker().bare(ALLOCATE, &[udp()])).await), 401);
    }
    assert_eq!(Way::tcp(rig.server).await.hear().await, None);
    drop(all);
    let again = async {
        loop {
            let mut way = Way::tcp(rig.server).await;
            way.say(&rig.talker().bare(ALLOCATE, &[udp()])).await;
            if way.hear().await.is_some() {
                return;
            }
        }
    };
    tokio::time::timeout(SOON, again).await.unwrap();
    rig.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_stream_without_an_allocation_is_closed_whatever_it_went_through() {
    let (rig, _server) = bound(Limits::for_viewers(1)).await;
    let (mut ours, theirs) = tokio::io::duplex(1024);
    let serving = tokio::spawn(rig.handle.serve(theirs, "192.0.2.1:5000".parse().unwrap(), rig.server));
    let began = tokio::time::Instant::now();
    ours.write_all(&[0, 3]).await.unwrap();
    assert_eq!(ours.read(&mut [0; 1]).await.unwrap(), 0);
    assert_eq!(began.elapsed(), Duration::from_secs(10));
    serving.await.unwrap();
}

#[test]
fn what_waits_for_slow_readers_is_bounded_for_all_together() {
    let all = Arc::new(AtomicUsize::new(0));
    let (queue, mut waiting) = mpsc::channel(1_000_000);
    let way = super::Way::Stream(queue, all.clone());
    (0..40_000).for_each(|_| way.send(&[7; 1_000]));
    assert_eq!(all.load(Ordering::Relaxed), MOST_WAITING_BYTES / 1_000 * 1_000);
    drop(waiting.try_recv());
    assert_eq!(all.load(Ordering::Relaxed), (MOST_WAITING_BYTES / 1_000 - 1) * 1_000);
    drop(waiting);
    assert_eq!(all.load(Ordering::Relaxed), 0, "nothing is kept of who is gone");
}
