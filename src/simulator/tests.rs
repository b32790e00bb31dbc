use super::*;
use futures_util::StreamExt;
use srt_tokio::SrtListener;
use std::collections::HashMap;
use std::future::Future;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpStream, UdpSocket};
use tokio::time::timeout;

const SOON: Duration = Duration::from_secs(10);

async fn soon<T>(work: impl Future<Output = T>) -> T {
    timeout(SOON, work).await.expect("should have happened by now")
}

async fn start(config: SimulatorConfig) -> Simulator {
    let loopback = Some("127.0.0.1:0".parse().unwrap());
    Simulator::start(SimulatorConfig { tcp: loopback, http: loopback, ..config }).await.unwrap()
}

struct Client(BufReader<TcpStream>);

impl Client {
    async fn connect(simulator: &Simulator) -> Self {
        let mut client = Self::silent(simulator).await;
        assert_eq!(client.line().await, "VERSION OK 29.0.0.49");
        client
    }

    async fn silent(simulator: &Simulator) -> Self {
        Self(BufReader::new(soon(TcpStream::connect(simulator.tcp().unwrap())).await.unwrap()))
    }

    async fn say(&mut self, line: &str) {
        soon(self.0.write_all(format!("{line}\r\n").as_bytes())).await.unwrap();
    }

    async fn line(&mut self) -> String {
        let mut line = String::new();
        soon(self.0.read_line(&mut line)).await.unwrap();
        line.strip_suffix("\r\n").unwrap_or("closed").to_owned()
    }

    async fn ask(&mut self, line: &str) -> String {
        self.say(line).await;
        self.line().await
    }

    async fn is_closed(&mut self) -> bool {
        let mut rest = Vec::new();
        soon(self.0.read_to_end(&mut rest)).await.map_or(true, |_| rest.is_empty())
    }

    async fn says_nothing(&mut self) -> bool {
        timeout(Duration::from_millis(150), self.0.fill_buf()).await.is_err()
    }
}

async fn get(simulator: &Simulator, target: &str) -> String {
    let mut stream = TcpStream::connect(simulator.http().unwrap()).await.unwrap();
    stream.write_all(format!("GET {target} HTTP/1.1\r\nHost: vmix\r\n\r\n").as_bytes()).await.unwrap();
    let mut answer = String::new();
    soon(stream.read_to_string(&mut answer)).await.unwrap();
    answer
}

#[tokio::test]
async fn tells_every_subscriber_of_every_change() {
    let simulator = start(SimulatorConfig::default()).await;
    let (mut tally, mut acts) = (Client::connect(&simulator).await, Client::connect(&simulator).await);
    assert_eq!(tally.ask("SUBSCRIBE TALLY").await, "SUBSCRIBE OK TALLY Subscribed");
    assert_eq!(tally.line().await, "TALLY OK 12000000");
    assert_eq!(acts.ask("SUBSCRIBE ACTS").await, "SUBSCRIBE OK ACTS Subscribed");
    simulator.preview(3);
    assert_eq!(tally.line().await, "TALLY OK 10200000");
    assert_eq!(acts.line().await, "ACTS OK InputPreview 2 0");
    assert_eq!(acts.line().await, "ACTS OK InputPreview 3 1");
    assert_eq!(acts.ask("FUNCTION Cut").await, "FUNCTION OK Completed");
    assert_eq!(tally.line().await, "TALLY OK 20100000");
    assert_eq!(tally.ask("UNSUBSCRIBE TALLY").await, "UNSUBSCRIBE OK TALLY Unsubscribed");
    simulator.cut_to(2);
    assert_eq!(tally.ask("TALLY").await, "TALLY OK 01200000");
    assert_eq!(tally.ask("QUIT").await, "QUIT OK Bye");
    assert!(tally.is_closed().await);
}

#[tokio::test]
async fn tells_the_document_over_both_apis() {
    let simulator = start(SimulatorConfig::default()).await;
    let answer = get(&simulator, "/api/?Function=ActiveInput&Input=4").await;
    assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
    let answer = get(&simulator, "/API").await;
    let (_, over_http) = answer.split_once("\r\n\r\n").unwrap();
    assert!(over_http.contains("<active>4</active>"));
    assert!(get(&simulator, "/").await.starts_with("HTTP/1.1 404 "));

    let mut client = Client::connect(&simulator).await;
    let head = client.ask("XML").await;
    let mut document = vec![0; head.strip_prefix("XML ").unwrap().parse().unwrap()];
    soon(client.0.read_exact(&mut document)).await.unwrap();
    assert_eq!(String::from_utf8(document).unwrap(), format!("{over_http}\r\n"));
    assert_eq!(client.ask("XMLTEXT vmix/active").await, "XMLTEXT OK 4");
}

#[tokio::test]
async fn says_the_same_in_pieces() {
    let simulator =
        start(SimulatorConfig { misbehaviour: vec![Misbehaviour::Pieces(true)], ..Default::default() }).await;
    let mut stream = TcpStream::connect(simulator.tcp().unwrap()).await.unwrap();
    let (mut buffer, mut said, mut reads) = ([0; 100], Vec::new(), 0);
    while !said.ends_with(b"\n") {
        let count = soon(stream.read(&mut buffer)).await.unwrap();
        said.extend(&buffer[..count]);
        reads += 1;
    }
    assert_eq!(said, b"VERSION OK 29.0.0.49\r\n");
    assert!(reads > 1);
}

#[tokio::test]
async fn a_frozen_program_keeps_its_sockets_and_answers_nothing() {
    let simulator = start(SimulatorConfig::default()).await;
    let mut client = Client::connect(&simulator).await;
    client.ask("SUBSCRIBE TALLY").await;
    client.line().await;
    simulator.misbehave(Misbehaviour::Silence(Duration::from_secs(3600)));
    client.say("TALLY").await;
    simulator.cut_to(3);
    let mut late = Client::silent(&simulator).await;
    assert!(client.says_nothing().await && late.says_nothing().await);
    simulator.misbehave(Misbehaviour::Normal);
    assert_eq!(client.line().await, "TALLY OK 20100000");
    assert_eq!(late.line().await, "VERSION OK 29.0.0.49");
}

#[tokio::test]
async fn dropped_links_can_be_made_again_at_once() {
    let simulator = start(SimulatorConfig::default()).await;
    let mut client = Client::connect(&simulator).await;
    simulator.misbehave(Misbehaviour::DropLinks);
    assert!(client.is_closed().await);
    Client::connect(&simulator).await;
}

#[tokio::test]
async fn during_a_restart_nothing_listens_and_then_it_does_again() {
    let simulator = start(SimulatorConfig::default()).await;
    let address = simulator.tcp().unwrap();
    let mut client = Client::connect(&simulator).await;
    // By a client, as a person would.
    assert_eq!(client.ask("FUNCTION SimulateRestart Value=1500").await, "FUNCTION OK Completed");
    assert!(client.is_closed().await);
    assert!(TcpStream::connect(address).await.is_err());
    soon(async {
        while TcpStream::connect(address).await.is_err() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    })
    .await;
    Client::connect(&simulator).await;
}

#[tokio::test]
async fn garbage_comes_once_and_lines_go_on_after_it() {
    let simulator = start(SimulatorConfig::default()).await;
    let mut client = Client::connect(&simulator).await;
    client.ask("TALLY").await;
    simulator.misbehave(Misbehaviour::GarbageReplies);
    let mut garbage = vec![0; 702];
    soon(client.0.read_exact(&mut garbage)).await.unwrap();
    assert!(garbage.ends_with(b"\r\n") && std::str::from_utf8(&garbage).is_err());
    assert_eq!(client.ask("TALLY").await, "TALLY OK 12000000");
}

#[tokio::test]
async fn neither_greets_nor_sends_a_snapshot_when_told_so() {
    let misbehaviour = vec![Misbehaviour::NoGreeting(true), Misbehaviour::EmulatorReplies(true)];
    let simulator = start(SimulatorConfig { misbehaviour, ..Default::default() }).await;
    let mut client = Client::silent(&simulator).await;
    assert_eq!(client.ask("SUBSCRIBE TALLY").await, "SUBSCRIBE OK TALLY");
    assert!(client.says_nothing().await);
    simulator.misbehave(Misbehaviour::Renumber);
    assert_eq!(client.line().await, "TALLY OK 01200000");
}

#[tokio::test]
async fn cuts_by_itself() {
    let simulator = start(SimulatorConfig { auto_cut: Some(Duration::from_millis(20)), ..Default::default() }).await;
    let mut client = Client::connect(&simulator).await;
    client.ask("SUBSCRIBE TALLY").await;
    for _ in 0..10 {
        assert!(client.line().await.starts_with("TALLY OK "));
    }
}

#[tokio::test]
async fn a_port_in_use_is_named() {
    let taken = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = taken.local_addr().unwrap();
    let config = SimulatorConfig { tcp: Some(address), ..Default::default() };
    let err = Simulator::start(config).await.unwrap_err().to_string();
    assert!(err.contains(&address.to_string()), "{err}");
}

#[tokio::test]
async fn nothing_is_left_when_it_is_stopped() {
    let simulator = start(SimulatorConfig::default()).await;
    let address = simulator.tcp().unwrap();
    let mut client = Client::connect(&simulator).await;
    soon(simulator.stop()).await;
    assert!(client.is_closed().await);
    assert!(TcpStream::connect(address).await.is_err());
}

#[tokio::test]
async fn an_older_silence_that_ends_does_not_end_a_newer_one() {
    let simulator = start(SimulatorConfig::default()).await;
    let mut client = Client::connect(&simulator).await;
    simulator.misbehave(Misbehaviour::Silence(Duration::from_millis(50)));
    simulator.misbehave(Misbehaviour::Silence(Duration::from_millis(1500)));
    client.say("TALLY").await;
    assert!(client.says_nothing().await);
    assert_eq!(client.line().await, "TALLY OK 12000000");
}

#[test]
fn feeds_are_described_by_an_address() {
    let feed =
        FeedConfig::from_url("srt://box.local:8890?streamid=pgm&passphrase=correct+horse&pbkeylen=32&latency=80");
    let expected = FeedConfig {
        stream_id: Some("pgm".into()),
        passphrase: Some("correct horse".into()),
        key_length: 32,
        latency: Duration::from_millis(80),
        ..FeedConfig::calling("box.local:8890")
    };
    assert_eq!(feed.unwrap(), expected);
    assert_eq!(FeedConfig::from_url("srt://[::1]:8890").unwrap().address, "[::1]:8890");
    for wrong in [
        "srt://box",
        "http://box:1",
        "srt://box:1?passphrase=short",
        "srt://box:1?pbkeylen=17",
        "srt://box:1?latency=soon",
        "srt://box:1?latency=60001",
        "srt://box:1?pts=8589934592",
        "srt://box:1?mode=rendezvous",
        "srt://box:1?what=this",
    ] {
        assert!(FeedConfig::from_url(wrong).is_err(), "{wrong}");
    }
}

/// Reads what a receiver gets: the times of pictures and sound, and whether no packet is missing.
#[derive(Default)]
struct Receiver {
    counters: HashMap<u16, u8>,
    pts: HashMap<u16, Vec<u64>>,
    lost: usize,
    reordered: usize,
}

impl Receiver {
    fn take(&mut self, payload: &[u8]) {
        for packet in payload.chunks(188) {
            if packet.len() < 188 || packet[0] != 0x47 {
                self.lost += 1;
                continue;
            }
            let pid = u16::from_be_bytes([packet[1], packet[2]]) & 0x1fff;
            let counter = packet[3] & 15;
            if self.counters.insert(pid, counter).is_some_and(|before| (before + 1) % 16 != counter) {
                self.lost += 1;
            }
            let payload = &packet[if packet[3] & 0x20 == 0 { 4 } else { 5 + usize::from(packet[4]) }..];
            if packet[1] & 0x40 != 0 && payload.starts_with(&[0, 0, 1]) {
                let time = |at: usize| {
                    let bits = payload[at..at + 5].iter().fold(0, |bits, byte| bits << 8 | u64::from(*byte));
                    (bits >> 3 & 0x1_c000_0000) | (bits >> 2 & 0x3fff_8000) | (bits >> 1 & 0x7fff)
                };
                self.reordered += usize::from(payload[7] & 0x40 != 0);
                self.pts.entry(pid).or_default().push(time(9));
            }
        }
    }

    /// The steps from each time to the next, across the wrap.
    fn steps(&self, pid: u16) -> Vec<u64> {
        let times = self.pts.get(&pid).map_or(&[][..], Vec::as_slice);
        times.windows(2).map(|pair| pair[1].wrapping_sub(pair[0]) % (1 << 33)).collect()
    }
}

struct Listener {
    incoming: srt_tokio::SrtIncoming,
    _listener: SrtListener,
    address: String,
}

impl Listener {
    async fn bind() -> Self {
        let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let address = socket.local_addr().unwrap();
        let (listener, incoming) = SrtListener::builder().socket(socket).bind(address).await.unwrap();
        Self { incoming, _listener: listener, address: address.to_string() }
    }

    async fn accept(&mut self, stream_id: Option<&str>) -> srt_tokio::SrtSocket {
        let request = soon(self.incoming.incoming().next()).await.unwrap();
        assert_eq!(request.stream_id().map(|id| id.as_str()), stream_id);
        request.accept(None).await.unwrap()
    }
}

#[tokio::test]
async fn a_feed_runs_on_across_the_loop_and_the_wrap_of_its_clock() {
    let mut listener = Listener::bind().await;
    let feed = FeedConfig {
        stream_id: Some("pgm".into()),
        // Wraps after 2 s.
        first_pts: (1 << 33) - 180_000,
        ..FeedConfig::calling(&listener.address)
    };
    let simulator = start(SimulatorConfig { feeds: vec![feed], ..Default::default() }).await;
    let mut socket = listener.accept(Some("pgm")).await;
    let (mut receiver, mut first, mut last) = (Receiver::default(), None, None);
    // The clip lasts 8 s.
    while receiver.pts.get(&0x100).map_or(0, Vec::len) < 260 {
        let (sent, payload) = soon(socket.next()).await.unwrap().unwrap();
        first.get_or_insert(sent);
        last = Some(sent);
        receiver.take(&payload);
    }
    assert_eq!(simulator.connected_feeds(), 1);
    assert_eq!(receiver.lost, 0);
    assert!(receiver.steps(0x100).iter().all(|step| *step == 3000));
    assert!(receiver.steps(0x101).iter().all(|step| *step == 1920));
    let took = last.unwrap() - first.unwrap();
    assert!((8500..9500).contains(&took.as_millis()), "260 pictures took {took:?}");
    // Says goodbye, rather than letting the other side find out.
    soon(simulator.stop()).await;
    timeout(Duration::from_secs(2), async { while socket.next().await.is_some() {} }).await.unwrap();
}

#[tokio::test]
async fn a_dropped_feed_calls_again_and_begins_with_an_idr() {
    let mut listener = Listener::bind().await;
    let feeds = vec![FeedConfig::calling(&listener.address)];
    let simulator = start(SimulatorConfig { feeds, ..Default::default() }).await;
    for round in 0..2 {
        let mut socket = listener.accept(None).await;
        let (_, payload) = soon(socket.next()).await.unwrap().unwrap();
        // The tables come first, and they come before an IDR.
        assert_eq!(payload[..3], [0x47, 0x40, 0x00], "{round}");
        simulator.misbehave(Misbehaviour::DropFeeds);
    }
}

#[tokio::test]
async fn b_frames_and_garbage_come_when_told() {
    let mut listener = Listener::bind().await;
    let feeds = vec![FeedConfig::calling(&listener.address)];
    let simulator = start(SimulatorConfig { feeds, ..Default::default() }).await;
    let mut socket = listener.accept(None).await;
    let mut receiver = Receiver::default();
    simulator.misbehave(Misbehaviour::BFrames(true));
    while receiver.reordered == 0 {
        receiver.take(&soon(socket.next()).await.unwrap().unwrap().1);
    }
    assert_eq!(receiver.lost, 0);
    simulator.misbehave(Misbehaviour::GarbageFeeds);
    while receiver.lost == 0 {
        receiver.take(&soon(socket.next()).await.unwrap().unwrap().1);
    }
}

#[tokio::test]
async fn a_frozen_feed_sends_nothing_and_begins_with_an_idr_afterwards() {
    let mut listener = Listener::bind().await;
    let feeds = vec![FeedConfig::calling(&listener.address)];
    let simulator = start(SimulatorConfig { feeds, ..Default::default() }).await;
    let mut socket = listener.accept(None).await;
    soon(socket.next()).await.unwrap().unwrap();
    simulator.misbehave(Misbehaviour::Silence(Duration::from_secs(3600)));
    // What was sent before still comes, after the latency.
    let quiet = async { while timeout(Duration::from_millis(400), socket.next()).await.is_ok() {} };
    soon(quiet).await;
    simulator.misbehave(Misbehaviour::Normal);
    let (_, payload) = soon(socket.next()).await.unwrap().unwrap();
    assert_eq!(payload[..3], [0x47, 0x40, 0x00]);
}

#[tokio::test]
async fn an_encrypted_feed_is_read_with_the_passphrase() {
    for (key_length, passphrase) in [(16, "ten letter"), (32, "correct horse battery staple")] {
        let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let address = socket.local_addr().unwrap();
        let builder = srt_tokio::SrtSocket::builder().encryption(key_length, passphrase).local(address);
        let listening = tokio::spawn(builder.socket(socket).listen());
        let passphrase = Some(passphrase.to_owned());
        let feed = FeedConfig { passphrase, key_length, ..FeedConfig::calling(address.to_string()) };
        let _simulator = start(SimulatorConfig { feeds: vec![feed], ..Default::default() }).await;
        let mut socket = soon(listening).await.unwrap().unwrap();
        let mut receiver = Receiver::default();
        while receiver.pts.len() < 2 {
            receiver.take(&soon(socket.next()).await.unwrap().unwrap().1);
        }
        assert_eq!(receiver.lost, 0);
    }
}

#[tokio::test]
async fn a_listening_feed_serves_whoever_calls() {
    let feeds = vec![FeedConfig { listen: true, ..FeedConfig::calling("127.0.0.1:0") }];
    let simulator = start(SimulatorConfig { feeds, ..Default::default() }).await;
    let address = simulator.feeds()[0].unwrap();
    let mut receivers = Vec::new();
    for _ in 0..2 {
        let mut socket = soon(srt_tokio::SrtSocket::builder().call(address, None)).await.unwrap();
        assert_eq!(soon(socket.next()).await.unwrap().unwrap().1[0], 0x47);
        receivers.push(socket);
    }
    assert_eq!(simulator.connected_feeds(), 2);
}

#[test]
fn hostile_commands_change_no_invariant() {
    let mut random = random::Random::new(1);
    for _ in 0..500 {
        let words =
            ["FUNCTION ", "OverlayInput1 ", "SetInputName ", "Input=1&Value=%FF%00", "\r\n", "XML", "é", "ACTS "];
        let count = random.next() % 12;
        let data: String = (0..count).filter_map(|_| random.pick(&words).copied()).collect();
        fuzzing::simulator_commands(data.as_bytes());
        let length = usize::try_from(random.next() % 64).unwrap();
        fuzzing::simulator_commands(&random.bytes(length));
    }
}
