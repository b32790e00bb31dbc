//! The port over loopback: who may stay connected, and what becomes of what has no room.

use std::net::Ipv4Addr;
use std::os::fd::OwnedFd;
use std::os::unix::fs::OpenOptionsExt;

use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::connection::{LEAST_WAITING, MOST_WAITING_OF_ALL};
use super::*;
use crate::webrtc::sending::Batch;
use crate::webrtc::server::socket::Sent;

struct Bench {
    address: SocketAddr,
    connections: Arc<Connections>,
    arrivals: mpsc::Receiver<Arrival>,
    _running: tokio_util::sync::DropGuard,
}

impl Bench {
    fn start(most: usize) -> Self {
        let listen = Some((Ipv4Addr::LOCALHOST, 0).into());
        let (listener, arrivals) = Listener::bind(listen, (most, Sources::default())).unwrap();
        let address = listener.socket.as_ref().unwrap().local_addr().unwrap();
        let connections = listener.connections();
        let stop = CancellationToken::new();
        listener.start(stop.clone()).unwrap();
        Self { address, connections, arrivals, _running: stop.drop_guard() }
    }

    async fn connect(&self) -> (TcpStream, Path) {
        let stream = TcpStream::connect(self.address).await.unwrap();
        let peer = stream.local_addr().unwrap();
        (stream, Path { local: Ipv4Addr::LOCALHOST.into(), peer, transport: Transport::Tcp })
    }

    /// A connection that has proven a path.
    async fn proven(&self) -> (TcpStream, Path) {
        let (stream, _) = self.connect().await;
        let path = self.prove(&stream).await;
        (stream, path)
    }

    async fn prove(&self, stream: &TcpStream) -> Path {
        let peer = stream.local_addr().unwrap();
        let path = Path { local: Ipv4Addr::LOCALHOST.into(), peer, transport: Transport::Tcp };
        until(|| self.connections.get(&path).is_some()).await;
        assert!(self.connections.prove(&path));
        path
    }
}

async fn until(is_so: impl Fn() -> bool) {
    for _ in 0..1_000 {
        if is_so() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("it does not come about");
}

async fn is_closed(stream: &mut TcpStream) -> bool {
    let read = tokio::time::timeout(Duration::from_secs(30), stream.read(&mut [0; 16])).await;
    matches!(read, Ok(Ok(0) | Err(_)))
}

fn framed(datagram: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    assert!(framing::write(datagram, &mut out));
    out
}

/// Twenty packets, of which every byte is `fill`.
fn batch(fill: u8) -> Batch {
    Batch { data: vec![fill; 24_000], segment: 1_200 }
}

#[tokio::test]
async fn where_nothing_can_be_listened_on_the_others_go_on() {
    // What the system refuses to watch: an ordinary file.
    let file = std::fs::OpenOptions::new().read(true).custom_flags(nix::libc::O_NONBLOCK).open("Cargo.toml").unwrap();
    for socket in [None, Some(std::net::TcpListener::from(OwnedFd::from(file)))] {
        let (listener, mut arrivals) = Listener::bind(None, (64, Sources::default())).unwrap();
        let stop = CancellationToken::new();
        Listener { socket, ..listener }.start(stop.clone()).unwrap();
        assert!(tokio::time::timeout(Duration::from_millis(300), arrivals.recv()).await.is_err(), "it goes on");
        stop.cancel();
        assert!(tokio::time::timeout(Duration::from_secs(30), arrivals.recv()).await.unwrap().is_none());
    }
}

#[tokio::test]
async fn what_is_no_check_ends_a_connection_that_has_proven_nothing() {
    let mut bench = Bench::start(10);
    for first in
        [framed(b"hello"), framed(b""), framed(&[0x80; 100]), b"GET / HTTP/1.1\r\n\r\n".to_vec(), vec![0xff; 9]]
    {
        let (mut stream, _) = bench.connect().await;
        stream.write_all(&first).await.unwrap();
        assert!(is_closed(&mut stream).await, "{first:?}");
    }
    until(|| bench.connections.len() == 0).await;
    assert!(bench.arrivals.try_recv().is_err(), "nobody was told");
}

#[tokio::test]
async fn datagrams_of_a_proven_connection_come_whole_however_they_are_cut_and_its_end_is_told() {
    let mut bench = Bench::start(10);
    let (mut stream, path) = bench.proven().await;
    let sent = [vec![1; 1], vec![], vec![2; LONGEST], vec![3; 700]];
    for byte in sent.iter().flat_map(|datagram| framed(datagram)).collect::<Vec<_>>().chunks(333) {
        stream.write_all(byte).await.unwrap();
        tokio::task::yield_now().await;
    }
    for expected in sent {
        let Some(Arrival::Datagram(from, datagram)) = bench.arrivals.recv().await else { panic!("no datagram") };
        assert_eq!((from, datagram), (path, expected));
    }
    drop(stream);
    assert!(matches!(bench.arrivals.recv().await, Some(Arrival::Gone(gone)) if gone == path));
    assert_eq!(bench.connections.len(), 0);
}

#[tokio::test]
async fn a_proven_connection_is_closed_with_its_session_and_at_a_frame_that_is_too_long() {
    let mut bench = Bench::start(10);
    let (mut stream, path) = bench.proven().await;
    bench.connections.close_unproven(&path);
    bench.connections.close(&path);
    assert!(is_closed(&mut stream).await);
    let (mut stream, path) = bench.proven().await;
    stream.write_all(&[0xff, 0xff]).await.unwrap();
    assert!(is_closed(&mut stream).await);
    assert!(
        matches!(bench.arrivals.recv().await, Some(Arrival::Gone(gone)) if gone == path),
        "the first was no surprise"
    );
}

#[tokio::test]
async fn a_reader_that_stops_is_sent_no_more_until_it_goes_on_and_then_every_packet_whole() {
    let mut bench = Bench::start(10);
    let (mut stream, path) = bench.proven().await;
    let mut sent = Vec::new();
    while sent.len() < 10_000 {
        let fill = sent.len() as u8;
        sent.push(fill);
        if bench.connections.send(&path, &batch(fill)) == Sent::Full {
            break;
        }
    }
    assert!(sent.len() < 10_000, "it was never full");
    let kept = bench.connections.get(&path).unwrap();
    // What is no media goes along; who does not wait for room loses what has none, and holds no memory.
    bench.connections.send_one(&path, b"control");
    for _ in 0..100 {
        assert_eq!(bench.connections.send(&path, &batch(0xee)), Sent::Full);
    }
    assert!(kept.has_unsent());
    let read = async {
        let (mut bytes, mut got) = (Vec::new(), Vec::new());
        loop {
            let come = tokio::time::timeout(Duration::from_secs(2), stream.read_buf(&mut bytes)).await;
            let mut rest = &bytes[..];
            while let Some(frame) = framing::take(&mut rest).unwrap() {
                got.push(frame.to_vec());
            }
            bytes = rest.to_vec();
            if come.is_err() {
                assert!(bytes.is_empty(), "half a frame");
                return got;
            }
        }
    };
    let got = read.await;
    assert!(matches!(bench.arrivals.recv().await, Some(Arrival::Room(full)) if full == path));
    assert!(!kept.has_unsent());
    let media: Vec<_> = got.iter().filter(|frame| frame[0] != 0xee && *frame != b"control").collect();
    assert_eq!(media.len(), sent.len() * 20);
    for (nth, frame) in media.iter().enumerate() {
        assert_eq!(***frame, vec![sent[nth / 20]; 1_200][..], "{nth}");
    }
    assert_eq!(got.iter().filter(|frame| **frame == b"control").count(), 1);
    let more = got.iter().filter(|frame| frame[0] == 0xee).count();
    assert!(more <= (80 << 10) / (HEADER + 1_200), "{more} packets waited");
    assert_eq!(bench.connections.send(&path, &batch(1)), Sent::Gone, "it goes on");
}

#[tokio::test]
async fn a_reader_that_always_leaves_a_rest_holds_no_more_memory_than_what_waits() {
    let bench = Bench::start(64);
    let socket = tokio::net::TcpSocket::new_v4().unwrap();
    // Its kernel takes little at a time.
    socket.set_recv_buffer_size(16 << 10).unwrap();
    let mut stream = socket.connect(bench.address).await.unwrap();
    let path = bench.prove(&stream).await;
    while bench.connections.send(&path, &batch(1)) != Sent::Full {}
    let connection = bench.connections.get(&path).unwrap();
    let (mut most, mut read, mut rests) = (0, vec![0; 8_000], 0);
    for _ in 0..800 {
        stream.read_exact(&mut read).await.unwrap();
        tokio::time::sleep(Duration::from_millis(1)).await;
        rests += usize::from(connection.has_unsent());
        while bench.connections.send(&path, &batch(1)) != Sent::Full {}
        most = most.max(connection.held());
    }
    assert!(rests > 100, "it kept up: {rests}");
    assert!(most <= 80 << 10, "{most} bytes are held");
}

#[tokio::test]
async fn little_waits_for_a_connection_without_media_and_nothing_is_held_for_one_that_has_all() {
    let bench = Bench::start(64);
    let (mut stream, path) = bench.proven().await;
    let connection = bench.connections.get(&path).unwrap();
    assert_eq!(bench.connections.send(&path, &batch(1)), Sent::Gone);
    assert_eq!(connection.held(), 0);
    for _ in 0..20_000 {
        connection.send_one(&[1; 1_000]);
    }
    assert!(connection.has_unsent(), "it was never full");
    assert!(connection.held() <= 4 << 10);
    assert_eq!(bench.connections.waiting.now(), connection.held());
    let mut read = vec![0; 64 << 10];
    while connection.has_unsent() {
        tokio::time::timeout(Duration::from_secs(30), stream.read(&mut read)).await.unwrap().unwrap();
    }
    assert_eq!((connection.held(), bench.connections.waiting.now()), (0, 0));
}

#[tokio::test]
async fn when_much_waits_for_all_together_a_little_does_for_each_and_no_frame_is_cut() {
    let bench = Bench::start(64);
    let (mut stream, path) = bench.proven().await;
    let connection = bench.connections.get(&path).unwrap();
    bench.connections.waiting.change(0, MOST_WAITING_OF_ALL);
    for _ in 0..1_000 {
        bench.connections.send(&path, &batch(7));
        connection.send_one(&[7; 1_200]);
        assert!(connection.held() <= LEAST_WAITING, "{}", connection.held());
    }
    assert_eq!(bench.connections.send(&path, &batch(7)), Sent::Full, "it will be told of room");
    let (mut bytes, mut frames) = (Vec::new(), 0);
    while let Ok(read) = tokio::time::timeout(Duration::from_secs(1), stream.read_buf(&mut bytes)).await {
        read.unwrap();
        let mut rest = &bytes[..];
        while let Some(frame) = framing::take(&mut rest).unwrap() {
            assert_eq!(frame, [7; 1_200]);
            frames += 1;
        }
        bytes = rest.to_vec();
    }
    assert!(bytes.is_empty() && frames > 20, "{frames} and {} bytes", bytes.len());
    assert_eq!(bench.connections.waiting.now(), MOST_WAITING_OF_ALL);
    while bench.connections.send(&path, &batch(7)) != Sent::Full {}
    drop((stream, connection));
    until(|| bench.connections.waiting.now() == MOST_WAITING_OF_ALL && bench.connections.len() == 0).await;
}

#[tokio::test]
async fn nothing_is_sent_along_a_path_that_is_no_more() {
    let bench = Bench::start(10);
    let (stream, path) = bench.proven().await;
    drop(stream);
    until(|| bench.connections.len() == 0).await;
    bench.connections.send_one(&path, b"nobody hears it");
    assert_eq!(bench.connections.send(&path, &batch(1)), Sent::Gone);
}

/// Connections as if they came from elsewhere.
struct Elsewhere {
    listener: TcpListener,
    connections: Arc<Connections>,
    arrivals: mpsc::Sender<Arrival>,
}

impl Elsewhere {
    async fn new(most: usize) -> (Self, mpsc::Receiver<Arrival>) {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let (arrivals, inbox) = mpsc::channel(16);
        let connections = Arc::new(Connections::new(most, Sources::default()));
        (Self { listener, connections, arrivals }, inbox)
    }

    async fn connect(&self, peer: &str) -> (TcpStream, Path) {
        let peer = peer.parse().unwrap();
        let client = TcpStream::connect(self.listener.local_addr().unwrap()).await.unwrap();
        admit(self.listener.accept().await.unwrap().0, peer, &self.connections, &self.arrivals);
        (client, Path { local: Ipv4Addr::LOCALHOST.into(), peer, transport: Transport::Tcp })
    }
}

#[tokio::test]
async fn the_end_of_a_proven_connection_is_told_when_another_takes_its_addresses() {
    let (elsewhere, mut inbox) = Elsewhere::new(64).await;
    let (mut first, path) = elsewhere.connect("192.0.2.1:5000").await;
    assert!(elsewhere.connections.prove(&path));
    let (_second, path) = elsewhere.connect("192.0.2.1:5000").await;
    assert!(elsewhere.connections.prove(&path));
    let told = tokio::time::timeout(Duration::from_secs(30), inbox.recv()).await;
    assert!(matches!(told, Ok(Some(Arrival::Gone(gone))) if gone == path));
    assert!(is_closed(&mut first).await);
    assert!(elsewhere.connections.get(&path).is_some());
    assert!(inbox.try_recv().is_err(), "told once");
}

#[tokio::test]
async fn one_source_has_half_of_a_small_box_at_most() {
    let (elsewhere, _inbox) = Elsewhere::new(64).await;
    let (mut clients, mut paths) = (Vec::new(), Vec::new());
    for port in 1..=60 {
        let (client, path) = elsewhere.connect(&format!("192.0.2.1:{port}")).await;
        clients.push(client);
        paths.push(path);
    }
    let there = |path: &Path| elsewhere.connections.get(path).is_some();
    assert_eq!(elsewhere.connections.len(), 32);
    assert!(paths[28..].iter().all(there), "the oldest gave way");
    assert!(paths[28..].iter().all(|path| elsewhere.connections.prove(path)));
    let (mut refused, path) = elsewhere.connect("192.0.2.1:61").await;
    assert!(is_closed(&mut refused).await && !there(&path), "and what has proven something does not");
    let (_other, path) = elsewhere.connect("192.0.2.2:1").await;
    assert!(there(&path));
    elsewhere.connections.close(&paths[28]);
    let (_again, path) = elsewhere.connect("192.0.2.1:62").await;
    assert!(there(&path) && !elsewhere.connections.prove(&paths[28]));
}

#[tokio::test]
async fn silent_connections_give_way_to_newer_ones_and_proven_ones_never_do() {
    let bench = Bench::start(8);
    let mut proven = Vec::new();
    for _ in 0..4 {
        proven.push(bench.proven().await);
    }
    let mut silent = Vec::new();
    for _ in 0..100 {
        silent.push(bench.connect().await.0);
    }
    let (_last, path) = bench.proven().await;
    assert_eq!(bench.connections.len(), 8);
    for stream in silent.iter_mut().take(90) {
        assert!(is_closed(stream).await);
    }
    assert!(proven.iter().all(|(_, path)| bench.connections.get(path).is_some()));
    assert!(bench.connections.get(&path).is_some());
    let mut more = Vec::new();
    for _ in 0..3 {
        more.push(bench.proven().await);
    }
    let (mut refused, _) = bench.connect().await;
    assert!(is_closed(&mut refused).await, "all have proven something");
    assert_eq!(bench.connections.len(), 8);
}
