//! Many hostile connections of every kind at once: refused cheaply, and nobody who watches notices.

use crate::media::{assert_flawless, live};
use crate::support::appliance::{Appliance, Settings};
use crate::support::http::get;
use crate::support::source::Picture;
use crate::support::stalls::Stalls;
use crate::support::viewer::{Setup, WhepViewer, crowd};
use crate::support::ws::Socket;
use crate::support::{Result, Seeded, tls, until};
use crate::{SOON, turn};
use futures_util::future::join_all;
use futures_util::stream::{self, StreamExt};
use srt_tokio::SrtSocket;
use std::net::Ipv4Addr;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream, UdpSocket};
use tokio_rustls::TlsConnector;

/// Of each kind.
const FLOOD: usize = 2000;
const VIEWERS: usize = 20;
/// Where they come from: another address than the viewers'.
const STRANGER: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 9);
/// What the box may need at most while all this goes on, in KB: less than its bound (docs/security.md), for nobody does
/// the worst that there is.
const MOST_MEMORY_KB: u64 = 256 << 10;
/// Opens a WebSocket (RFC 6455 §4.1).
const UPGRADE: &[u8] = b"GET /ws/ HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
    Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
/// How many of them are on their way at a time.
const AT_ONCE: usize = 100;

/// Connects from the stranger's address and says that; `None` when the box does not want it.
async fn connection(port: u16, words: &[u8]) -> Option<TcpStream> {
    let socket = TcpSocket::new_v4().ok()?;
    socket.bind((STRANGER, 0).into()).ok()?;
    let connecting = tokio::time::timeout(SOON, socket.connect((Ipv4Addr::LOCALHOST, port).into()));
    let mut stream = connecting.await.ok()?.ok()?;
    stream.write_all(words).await.ok()?;
    Some(stream)
}

/// Opens connections that say so much and then nothing; gives those that are open.
async fn connections(port: u16, words: &[u8]) -> Vec<TcpStream> {
    let opened = stream::iter((0..FLOOD).map(|_| connection(port, words))).buffer_unordered(AT_ONCE);
    opened.filter_map(std::future::ready).collect().await
}

/// Sends requests, each over a connection of its own, and waits for what is answered; gives the answers' status lines.
async fn requests(port: u16, words: &[u8]) -> Vec<String> {
    let ask = || async {
        let mut stream = connection(port, words).await?;
        let mut start = [0; 12];
        tokio::time::timeout(SOON, stream.read_exact(&mut start)).await.ok()?.ok()?;
        Some(String::from_utf8_lossy(&start).into_owned())
    };
    let asked = stream::iter((0..FLOOD).map(|_| ask())).buffer_unordered(AT_ONCE);
    asked.filter_map(std::future::ready).collect().await
}

fn offer(body: &str) -> Vec<u8> {
    let length = body.len();
    let head = "POST /pgm/whep HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Type: application/sdp\r\n";
    format!("{head}Content-Length: {length}\r\n\r\n{body}").into_bytes()
}

/// Sends datagrams from sockets of their own; gives how many bytes came back for each that was sent.
async fn datagrams(port: u16, datagram: &[u8]) -> Result<f64> {
    let mut sockets = Vec::new();
    for number in 0..FLOOD {
        let socket = UdpSocket::bind((STRANGER, 0)).await?;
        socket.send_to(datagram, (Ipv4Addr::LOCALHOST, port)).await?;
        sockets.push(socket);
        if number % 50 == 0 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
    // Longer than a handshake of DTLS waits before it repeats itself.
    tokio::time::sleep(Duration::from_millis(1500)).await;
    let mut buffer = [0; 2048];
    let mut back = 0;
    for socket in sockets {
        while let Ok(size) = socket.try_recv(&mut buffer) {
            back += size;
        }
    }
    Ok(back as f64 / (FLOOD * datagram.len()) as f64)
}

fn memory_kb(appliance: &Appliance) -> Result<u64> {
    let status = std::fs::read_to_string(format!("/proc/{}/status", appliance.pid()))?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).ok_or("no VmHWM")?;
    Ok(line.trim().trim_end_matches(" kB").parse()?)
}

fn open_files(appliance: &Appliance) -> Result<usize> {
    Ok(std::fs::read_dir(format!("/proc/{}/fd", appliance.pid()))?.count())
}

/// What every viewer must have been spared by what was just done.
async fn assert_undisturbed(what: &str, viewers: &[WhepViewer], appliance: &Appliance, stalls: &Stalls) -> Result<()> {
    let mut longest = Duration::ZERO;
    for viewer in viewers {
        viewer.wait_frames(10, SOON).await?;
        longest = longest.max(assert_flawless(viewer).longest_pause);
    }
    let (still, memory) = (stalls.total(), memory_kb(appliance)?);
    println!("{what}: longest pause {longest:?} ({still:?} standing still), at most {} MB", memory >> 10);
    assert!(longest < Duration::from_millis(500) + still, "{what}: {longest:?}, {still:?} standing still");
    let told = appliance.status().await?["memory"].clone();
    let bound = told["bound_bytes"].as_u64().ok_or("the status tells no bound")?;
    assert!(memory < MOST_MEMORY_KB && memory < bound >> 10, "{what}: {memory} KB, {told}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn two_thousand_hostile_connections_of_each_kind_leave_twenty_viewers_alone() -> Result<()> {
    let _turn = turn().await;
    let picture = Picture { bitrate: "2M", size: "640x360", ..Picture::default() };
    let (appliance, _source) = live(Settings::default(), &picture).await?;
    let viewers = crowd(VIEWERS, &appliance.whep("pgm"), |_| Setup::default()).await?;
    for viewer in &viewers {
        viewer.wait("the first picture", SOON, |stats| stats.frames > 0).await?;
    }
    let stalls = Stalls::watch();
    let (http, turn_port) = (appliance.http_port, appliance.turn_port);

    for (what, port, words) in [
        ("connections that say nothing", http, &b""[..]),
        ("requests that never end", http, b"GET /api/v1/status HTTP/1.1\r\nX-Slow: "),
        ("bodies that never come", http, &offer("v=0")[..offer("v=0").len() - 3]),
        ("relays' connections that say nothing", turn_port, b""),
        ("connections to the port of media that say nothing", appliance.webrtc_port, b""),
        ("connections to the port of media that begin a datagram", appliance.webrtc_port, &[0, 100, 0, 1, 0, 80]),
    ] {
        let open = connections(port, words).await;
        println!("{what}: {} open", open.len());
        assert_undisturbed(what, &viewers, &appliance, &stalls).await?;
    }

    let sockets = connections(http, UPGRADE).await;
    println!("sockets nobody reads: {} open", sockets.len());
    assert_undisturbed("sockets nobody reads", &viewers, &appliance, &stalls).await?;
    drop(sockets);

    let fingerprint = ["AB"; 32].join(":");
    let good = crate::support::sdp::Offer {
        ufrag: "abcd",
        password: "abcdefghijklmnopqrstuvwx",
        fingerprint: &fingerprint,
        sound: true,
    }
    .to_sdp();
    let answers = requests(http, &offer(&good)).await;
    let taken = answers.iter().filter(|answer| answer.contains("201")).count();
    println!("offers nobody stands behind: {} answers, {taken} taken", answers.len());
    assert!(answers.len() > FLOOD / 2, "{}", answers.len());
    assert!(answers.iter().all(|answer| answer.contains("201") || answer.contains("503")), "{answers:?}");
    assert_undisturbed("offers nobody stands behind", &viewers, &appliance, &stalls).await?;
    let bomb = format!("{good}{}", "m=video 9 UDP/TLS/RTP/SAVPF 96\r\na=rtpmap:96 H264/90000\r\n".repeat(450));
    let answers = requests(http, &offer(&bomb)).await;
    assert!(answers.len() > FLOOD / 2 && answers.iter().all(|answer| answer.contains(" 4")), "{answers:?}");
    assert_undisturbed("offers as large as they may be", &viewers, &appliance, &stalls).await?;

    let mut random = Seeded(9);
    let mut noise = |first: &[u8], size: usize| {
        let mut bytes: Vec<u8> = (0..size).map(|_| random.next_u64() as u8).collect();
        bytes[..first.len()].copy_from_slice(first);
        bytes
    };
    // RFC 8489 §5, RFC 8656 §7.1 (for UDP), RFC 6347 §4.2.1, and the first handshake of SRT (its socket ID is 0, its cookie too).
    let stun = noise(&[0, 1, 0, 0, 0x21, 0x12, 0xA4, 0x42], 20);
    let mut allocate = noise(&[0, 3, 0, 8, 0x21, 0x12, 0xA4, 0x42], 28);
    allocate[20..28].copy_from_slice(&[0, 0x19, 0, 4, 17, 0, 0, 0]);
    let hello = noise(&[22, 254, 253, 0, 0, 0, 0, 0, 0, 0, 0, 0, 187, 1], 200);
    let mut induction = noise(&[0x80, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 4, 0, 0, 0, 2], 64);
    induction[24..64].copy_from_slice(&[0; 40]);
    induction[36..40].copy_from_slice(&1u32.to_be_bytes());
    // TURN says once in a while what a login needs (RFC 8656 §7.2), which is longer than the question.
    for (what, port, datagram, most) in [
        ("STUN on the port of media", appliance.webrtc_port, stun, 0.0),
        ("DTLS without a session", appliance.webrtc_port, hello, 0.0),
        ("TURN without a login", turn_port, allocate, 4.0),
        ("SRT handshakes that go no further", appliance.srt_port, induction, 1.0),
    ] {
        let gain = datagrams(port, &datagram).await?;
        println!("{what}: {gain:.2} times as many bytes back");
        assert!(gain <= most, "{what}: {gain}");
        assert_undisturbed(what, &viewers, &appliance, &stalls).await?;
    }

    let port = appliance.srt_port;
    let call = |number: usize| async move {
        let name = format!("flood{number}");
        let builder = SrtSocket::builder();
        let address = format!("127.0.0.1:{port}");
        tokio::time::timeout(SOON, builder.call(address.as_str(), Some(&name))).await.ok()?.ok()
    };
    let callers: Vec<_> =
        stream::iter((0..40).map(call)).buffer_unordered(40).filter_map(std::future::ready).collect().await;
    println!("senders of nothing: {} connected", callers.len());
    assert!(callers.len() < 16, "one address has 16 of the box's connections, and one of them is the picture's");
    assert_undisturbed("senders of nothing", &viewers, &appliance, &stalls).await?;
    Ok(())
}

/// Addresses of this machine that the siege comes from; viewers and newcomers have another.
const BESIEGERS: [Ipv4Addr; 8] = {
    let mut addresses = [Ipv4Addr::UNSPECIFIED; 8];
    let mut n = 0;
    while n < addresses.len() {
        addresses[n] = Ipv4Addr::new(127, 0, 0, 2 + n as u8);
        n += 1;
    }
    addresses
};

/// What somebody who besieges the box does with a connection.
struct Siege {
    what: &'static str,
    /// The protocol over TLS; `None`: no TLS.
    over: Option<&'static [u8]>,
    /// What is said at first.
    words: Vec<u8>,
}

const HTTP_1: &[u8] = b"http/1.1";
const HTTP_2: &[u8] = b"h2";

/// A frame of HTTP/2 (RFC 9113 §4.1).
fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = (payload.len() as u32).to_be_bytes();
    [&length[1..], &[kind, flags], &stream.to_be_bytes()[..], payload].concat()
}

/// A connection of HTTP/2 with eight requests, whose answers have no window to come through; what follows the head of
/// each is said too. The numbers are those of RFC 9113 §6 and RFC 7541, appendix A.
fn http_2(method: u8, path: &str, ends: bool, more: impl Fn(u32) -> Vec<u8>) -> Vec<u8> {
    const INITIAL_WINDOW_SIZE: [u8; 6] = [0, 4, 0, 0, 0, 0];
    let mut words = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec();
    words.extend(frame(4, 0, 0, &INITIAL_WINDOW_SIZE));
    let kind = "application/sdp";
    let mut head = vec![method, 0x87, 0x01, 1, b'x', 0x04, path.len() as u8];
    head.extend(path.bytes());
    head.extend([0x0f, 0x10, kind.len() as u8]);
    head.extend(kind.bytes());
    for stream in (0..8).map(|n| 2 * n + 1) {
        words.extend(frame(1, if ends { 5 } else { 4 }, stream, &head));
        words.extend(more(stream));
    }
    words
}

fn sieges() -> Vec<Siege> {
    let get = |path: &str| format!("GET {path} HTTP/1.1\r\nHost: x\r\n\r\n").repeat(40).into_bytes();
    let large = vec![b'v'; 31 << 10];
    let held_back = offer(&String::from_utf8_lossy(&large)).split_last().map(|(_, most)| most.to_vec());
    let tls = |what, over: &'static [u8], words| Siege { what, over: Some(over), words };
    vec![
        tls("silent after the handshake", HTTP_1, Vec::new()),
        tls("heads over TLS that never end", HTTP_1, [b"GET / HTTP/1.1\r\nX: ".to_vec(), vec![b'x'; 8 << 10]].concat()),
        tls("bodies over TLS whose last byte is held back", HTTP_1, held_back.unwrap_or_default()),
        tls("WebSockets over TLS", HTTP_1, UPGRADE.to_vec()),
        tls(
            "HTTP/2: requests that never end",
            HTTP_2,
            http_2(0x83, "/pgm/whep", false, |n| frame(0, 0, n, &[0; 4000])),
        ),
        tls("HTTP/2: answers nobody takes", HTTP_2, http_2(0x82, "/api/v1/status", true, |_| Vec::new())),
        Siege { what: "answers nobody takes", over: None, words: get("/api/v1/status") },
        Siege { what: "WebSockets", over: None, words: UPGRADE.to_vec() },
    ]
}

/// What keeps a besieger's connection open.
type Held = Box<dyn AsyncRead + Send + Unpin>;

impl Siege {
    /// One connection, which then takes nothing and says nothing more.
    async fn begin(&self, tls: &TlsConnector, from: Ipv4Addr, (http, https): (u16, u16)) -> Option<Held> {
        let begun = async {
            if self.over.is_some() {
                let mut stream = tls::connect(tls, from, https).await.ok()?;
                stream.write_all(&self.words).await.ok()?;
                stream.flush().await.ok()?;
                return Some(Box::new(stream) as Held);
            }
            let socket = TcpSocket::new_v4().ok()?;
            socket.set_recv_buffer_size(4096).ok()?;
            socket.bind((from, 0).into()).ok()?;
            let mut stream = socket.connect((Ipv4Addr::LOCALHOST, http).into()).await.ok()?;
            stream.write_all(&self.words).await.ok()?;
            Some(Box::new(stream) as Held)
        };
        tokio::time::timeout(SOON, begun).await.ok()?
    }

    /// [`FLOOD`] of them, from all addresses.
    async fn lay(self, ports: (u16, u16)) -> Vec<Held> {
        let tls = tls::connector(&[self.over.unwrap_or(HTTP_1)]);
        let one = |n: usize| self.begin(&tls, BESIEGERS[n % BESIEGERS.len()], ports);
        let begun = stream::iter((0..FLOOD).map(one)).buffer_unordered(AT_ONCE / 8);
        let held: Vec<_> = begun.filter_map(std::future::ready).collect().await;
        println!("{}: {} begun", self.what, held.len());
        held
    }
}

/// Somebody comes: opens the page over HTTP and HTTPS, hears tally, and watches.
async fn newcomer(appliance: &Appliance, tls: &TlsConnector) -> Result<Duration> {
    let began = crate::support::now();
    let page = get(&format!("{}/pgm", appliance.base())).await?;
    assert_eq!(page.status, 200);
    let mut encrypted = tls::connect(tls, Ipv4Addr::LOCALHOST, appliance.https_port).await?;
    encrypted.write_all(b"GET /pgm HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").await?;
    let mut answer = [0; 12];
    tokio::time::timeout(SOON, encrypted.read_exact(&mut answer)).await??;
    assert_eq!(&answer, b"HTTP/1.1 200");
    let mut socket = Socket::open(&appliance.authority()).await?;
    socket.find("tally", SOON, |_| true).await?;
    let viewer = WhepViewer::connect(&appliance.base(), "pgm").await?;
    viewer.wait_frames(10, SOON).await?;
    socket.find("tally", SOON, |_| true).await?;
    let took = began.elapsed();
    viewer.close().await?;
    Ok(took)
}

#[tokio::test(flavor = "multi_thread")]
async fn under_siege_from_many_addresses_in_every_way_at_once_newcomers_get_in_and_viewers_notice_nothing() -> Result<()>
{
    let _turn = turn().await;
    let picture = Picture { bitrate: "2M", size: "640x360", ..Picture::default() };
    let (appliance, _source) = live(Settings { https: true, ..Settings::default() }, &picture).await?;
    let viewers = crowd(VIEWERS, &appliance.whep("pgm"), |_| Setup::default()).await?;
    for viewer in &viewers {
        viewer.wait("the first picture", SOON, |stats| stats.frames > 0).await?;
    }
    let stalls = Stalls::watch();
    let ports = (appliance.http_port, appliance.https_port);
    let tls = tls::connector(&[HTTP_1]);
    let mut laid = tokio::spawn(join_all(sieges().into_iter().map(|siege| siege.lay(ports))));
    let (mut came, mut longest) = (0, Duration::ZERO);
    let held = loop {
        longest = longest.max(newcomer(&appliance, &tls).await?);
        came += 1;
        if laid.is_finished() {
            break (&mut laid).await?;
        }
    };
    let most = get(&format!("{}/api/v1/status", appliance.base())).await?.json()?["connections"].clone();
    println!("{came} newcomers got in while it began, the slowest within {longest:?}; {most}");
    for _ in 0..3 {
        println!("a newcomer while it lasts: {:?}", newcomer(&appliance, &tls).await?);
    }
    assert_undisturbed("under siege", &viewers, &appliance, &stalls).await?;
    assert!(most["now"].as_u64().is_some_and(|now| now > 1500), "it was no siege: {most}");
    // What gave way is closed, and not only counted no more: beside the connections there are viewers, ports and files.
    let few = || async { Some(open_files(&appliance).ok()?).filter(|open| *open < 2_048 + 200) };
    println!("open files: {}", until("connections that gave way to end", SOON, few).await?);
    drop(held);
    Ok(())
}
