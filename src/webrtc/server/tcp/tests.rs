//! The port over loopback: who may stay connected, and what becomes of what has no room.

use std::net::Ipv4Addr;

use tokio::io::{AsyncReadExt, AsyncWriteExt};

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
        let (listener, arrivals) = Listener::bind((Ipv4Addr::LOCALHOST, 0).into(), (most, Sources::default())).unwrap();
        let (address, connections) = (listener.socket.local_addr().unwrap(), listener.connections());
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
        let (stream, path) = self.connect().await;
        until(|| self.connections.get(&path).is_some()).await;
        self.connections.prove(&path);
        (stream, path)
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
    assert!(more <= (80 << 10) / 1_200, "{more} packets waited");
    assert_eq!(bench.connections.send(&path, &batch(1)), Sent::Gone, "it goes on");
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
