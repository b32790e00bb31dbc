#![allow(dead_code, reason = "each test file uses its share")]

//! A listener on a free port with sinks that keep what they get, and peers to call it.

use std::collections::{HashMap, VecDeque};
use std::io::Write;
use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use returnfeed::access::{Access, Sources};
use returnfeed::clock::Clock;
use returnfeed::hub::{Event, Hub, PublishError, PublishRequest, Superseded, TransportStats};
use returnfeed::media::{MediaItem, StreamName, Transform, TransformProblem};
use returnfeed::problems::Problems;
use returnfeed::srt::{CallAddress, Caller, Listener, ListenerConfig, Sink, Sinks};
use tokio::net::UdpSocket;
use tokio_util::sync::CancellationToken;

/// Nothing in these tests takes longer.
pub const PATIENCE: Duration = Duration::from_secs(10);

/// What one source sent.
#[derive(Clone, Default)]
pub struct Source(Arc<Mutex<Kept>>);

#[derive(Default)]
struct Kept {
    bytes: Vec<u8>,
    chunks: Vec<(Instant, usize)>,
    stats: TransportStats,
    lost: usize,
    gone: bool,
}

impl Source {
    pub fn bytes(&self) -> Vec<u8> {
        self.0.lock().unwrap().bytes.clone()
    }

    pub fn len(&self) -> usize {
        self.0.lock().unwrap().bytes.len()
    }

    pub fn chunks(&self) -> Vec<(Instant, usize)> {
        self.0.lock().unwrap().chunks.clone()
    }

    pub fn stats(&self) -> TransportStats {
        self.0.lock().unwrap().stats.clone()
    }

    pub fn gone(&self) -> bool {
        self.0.lock().unwrap().gone
    }

    /// The next source of a stream, after those that are gone.
    pub async fn next(bench: &Bench, stream: &str) -> Self {
        until("the next source", || bench.keepers.get(stream).is_some_and(|source| !source.gone())).await;
        bench.keepers.get(stream).unwrap()
    }

    pub async fn received(&self, bytes: usize) {
        until(&format!("{bytes} bytes"), || self.len() >= bytes).await;
    }
}

struct Keeper(Source);

impl Sink for Keeper {
    fn push(&mut self, now: Instant, payload: &[u8]) -> Result<(), Superseded> {
        let mut kept = self.0.0.lock().unwrap();
        kept.bytes.extend_from_slice(payload);
        kept.chunks.push((now, payload.len()));
        Ok(())
    }

    fn lost(&mut self, packets: usize) {
        self.0.0.lock().unwrap().lost += packets;
    }

    fn report(&self, stats: TransportStats) {
        self.0.0.lock().unwrap().stats = stats;
    }
}

impl Drop for Keeper {
    fn drop(&mut self) {
        self.0.0.lock().unwrap().gone = true;
    }
}

/// Breaks at the first byte.
struct Bomb;

impl Sink for Bomb {
    fn push(&mut self, _: Instant, _: &[u8]) -> Result<(), Superseded> {
        panic!("as this test wants");
    }

    fn lost(&mut self, _: usize) {}

    fn report(&self, _: TransportStats) {}
}

/// Keeps every source, and refuses a second one of a stream that is there. What the stream `bomb`
/// sends breaks whoever takes it.
#[derive(Clone, Default)]
pub struct Keepers(Arc<Mutex<HashMap<String, (SocketAddr, Source)>>>);

impl Keepers {
    pub fn get(&self, stream: &str) -> Option<Source> {
        self.0.lock().unwrap().get(stream).map(|(_, source)| source.clone())
    }

    pub fn address(&self, stream: &str) -> Option<SocketAddr> {
        self.0.lock().unwrap().get(stream).map(|(from, _)| *from)
    }
}

impl Sinks for Keepers {
    fn open(&self, request: PublishRequest) -> Result<Box<dyn Sink>, PublishError> {
        let stream = request.stream.short();
        if stream == "bomb" {
            return Ok(Box::new(Bomb));
        }
        let mut sources = self.0.lock().unwrap();
        if let Some((by, _)) = sources.get(&stream).filter(|(_, source)| !source.gone()) {
            return Err(PublishError::Busy { stream, by: *by });
        }
        let source = Source::default();
        sources.insert(stream, (request.from, source.clone()));
        Ok(Box::new(Keeper(source)))
    }
}

/// A listener at work.
pub struct Bench {
    pub address: SocketAddr,
    pub problems: Problems,
    pub keepers: Keepers,
    shutdown: CancellationToken,
    task: tokio::task::JoinHandle<()>,
}

impl Bench {
    /// With these passphrases (stream, passphrase).
    pub async fn start(passphrases: &[(&str, &str)]) -> Self {
        Self::start_at("127.0.0.1:0", Duration::from_millis(20), passphrases).await
    }

    pub async fn start_at(listen: &str, latency: Duration, passphrases: &[(&str, &str)]) -> Self {
        let keepers = Keepers::default();
        let mut bench = Self::start_into(Arc::new(keepers.clone()), listen, latency, passphrases).await;
        bench.keepers = keepers;
        bench
    }

    /// With sinks other than keepers.
    pub async fn start_into(
        sinks: Arc<dyn Sinks>,
        listen: &str,
        latency: Duration,
        passphrases: &[(&str, &str)],
    ) -> Self {
        let passphrases: HashMap<StreamName, String> =
            passphrases.iter().map(|(name, secret)| (name.parse().unwrap(), secret.to_string())).collect();
        let config = ListenerConfig {
            listen: listen.parse().unwrap(),
            latency,
            passphrase: Arc::new(move |name| passphrases.get(name).cloned()),
            sources: Sources::default(),
        };
        let (problems, keepers) = (Problems::default(), Keepers::default());
        let listener = Listener::bind(config, sinks, problems.clone(), Clock::system()).unwrap();
        let address = listener.local_addr().unwrap();
        let shutdown = CancellationToken::new();
        let task = tokio::spawn(listener.run(shutdown.clone()));
        Self { address, problems, keepers, shutdown, task }
    }

    /// The source of a stream, once it is there.
    pub async fn source(&self, stream: &str) -> Source {
        until(stream, || self.keepers.get(stream).is_some()).await;
        self.keepers.get(stream).unwrap()
    }

    pub fn problem_codes(&self) -> Vec<&'static str> {
        self.problems.list().iter().map(|problem| problem.code).collect()
    }

    /// Has the box call a source, until the bench stops.
    pub fn call(&self, stream: &str, address: CallAddress) -> tokio::task::JoinHandle<()> {
        let caller = Caller {
            stream: stream.parse().unwrap(),
            address,
            latency: Duration::from_millis(20),
            sinks: Arc::new(self.keepers.clone()),
            problems: self.problems.clone(),
            clock: Clock::system(),
        };
        tokio::spawn(caller.run(self.shutdown.clone()))
    }

    pub async fn stop(self) {
        self.shutdown.cancel();
        tokio::time::timeout(Duration::from_secs(2), self.task).await.expect("stops in time").unwrap();
    }
}

/// A program that sends; it is ended when dropped.
pub struct Peer(Option<Child>);

impl Peer {
    /// `srt-live-transmit` from its standard input.
    pub fn transmit(bench: &Bench, query: &str) -> Self {
        Self::transmit_to(&format!("srt://127.0.0.1:{}?{query}", bench.address.port()))
    }

    pub fn transmit_to(address: &str) -> Self {
        Self::spawn("srt-live-transmit", &["-q", "-chunk", "1316", "file://con", address])
    }

    /// `ffmpeg` with a moving test picture at 30 frames a second.
    pub fn ffmpeg(bench: &Bench, query: &str) -> Self {
        let address = format!("srt://127.0.0.1:{}?{query}", bench.address.port());
        let picture = "testsrc=size=320x180:rate=30";
        let codec = ["-c:v", "libx264", "-preset", "ultrafast", "-tune", "zerolatency", "-g", "30"];
        let mut arguments = vec!["-hide_banner", "-loglevel", "error", "-re", "-f", "lavfi", "-i", picture];
        arguments.extend(codec);
        arguments.extend(["-f", "mpegts", &address]);
        Self::spawn("ffmpeg", &arguments)
    }

    pub fn spawn(program: &str, arguments: &[&str]) -> Self {
        let child = Command::new(program)
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn();
        Self(Some(child.unwrap_or_else(|error| panic!("{program}: {error}"))))
    }

    /// Writes to its standard input, a little at a time: a live sender drops what is too late.
    pub async fn write(&mut self, bytes: &[u8]) {
        let stdin = self.0.as_mut().unwrap().stdin.as_mut().unwrap();
        for piece in bytes.chunks(1316 * 4) {
            stdin.write_all(piece).unwrap();
            stdin.flush().unwrap();
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }

    /// Writes at a bit rate.
    pub async fn write_at(&mut self, bytes: &[u8], bits_per_second: u64) {
        let stdin = self.0.as_mut().unwrap().stdin.as_mut().unwrap();
        let begin = now();
        let mut written = 0u64;
        for piece in bytes.chunks(1316 * 4) {
            stdin.write_all(piece).unwrap();
            stdin.flush().unwrap();
            written += piece.len() as u64;
            let due = begin + Duration::from_micros(written * 8_000_000 / bits_per_second);
            tokio::time::sleep_until(due.into()).await;
        }
    }

    /// Asks it to end, which it does with a goodbye.
    pub fn terminate(&self) {
        let id = self.0.as_ref().unwrap().id();
        nix::sys::signal::kill(nix::unistd::Pid::from_raw(id as i32), nix::sys::signal::Signal::SIGTERM).unwrap();
    }

    /// What it says on its way out, having ended by itself.
    pub async fn last_words(mut self) -> String {
        let mut child = self.0.take().unwrap();
        until("the peer to end", || child.try_wait().unwrap().is_some()).await;
        let output = child.wait_with_output().unwrap();
        String::from_utf8_lossy(&output.stderr).into_owned() + &String::from_utf8_lossy(&output.stdout)
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        if let Some(mut child) = self.0.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// Waits for something to become true.
pub async fn until(what: &str, mut condition: impl FnMut() -> bool) {
    let patience = tokio::time::timeout(PATIENCE, async {
        while !condition() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    });
    assert!(patience.await.is_ok(), "waited in vain for {what}");
}

/// So many packets of a stream, each different.
pub fn payload(packets: usize) -> Vec<u8> {
    (0..packets * 7)
        .flat_map(|n| {
            let mut packet = [0x47; 188];
            packet[4..12].copy_from_slice(&(n as u64).to_be_bytes());
            packet
        })
        .collect()
}

/// A hub, and what happens in it.
pub fn hub() -> (Hub, tokio::sync::broadcast::Receiver<Event>) {
    struct Nothing;
    impl Transform for Nothing {
        fn push(&mut self, _: &MediaItem) -> Vec<MediaItem> {
            Vec::new()
        }

        fn problem(&self) -> Option<TransformProblem> {
            None
        }
    }
    let hub = Hub::new(
        Clock::system(),
        Access::open(None, Clock::system()),
        Problems::default(),
        returnfeed::hub::Renditions::new(|| Box::new(Nothing), || Box::new(Nothing)),
    );
    let events = hub.events();
    (hub, events)
}

pub fn now() -> Instant {
    Clock::system().now()
}

/// That nothing is missing, doubled or changed.
pub fn same(came: &[u8], sent: &[u8]) {
    let first = came.iter().zip(sent).position(|(came, sent)| came != sent);
    assert!(came == sent, "{} bytes came of {}, different from byte {first:?} on", came.len(), sent.len());
}

/// A UDP port that was free a moment ago.
pub fn free_port() -> u16 {
    std::net::UdpSocket::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

/// A bad network between one peer and the box.
pub struct Proxy {
    pub port: u16,
    percent: Arc<AtomicU64>,
    passed: Arc<Mutex<Vec<Instant>>>,
    task: tokio::task::JoinHandle<()>,
}

impl Proxy {
    /// Loses so many of a hundred datagrams, both ways.
    pub async fn start(to: SocketAddr, percent: u64, seed: u64) -> Self {
        Self::start_slow(to, percent, seed, Duration::ZERO).await
    }

    /// Loses so many of a hundred datagrams, and holds each up for so long, both ways.
    pub async fn start_slow(to: SocketAddr, percent: u64, seed: u64, delay: Duration) -> Self {
        let (near, far) =
            (UdpSocket::bind("127.0.0.1:0").await.unwrap(), UdpSocket::bind("127.0.0.1:0").await.unwrap());
        let port = near.local_addr().unwrap().port();
        let passed = Arc::<Mutex<Vec<Instant>>>::default();
        let log = passed.clone();
        let percent = Arc::new(AtomicU64::new(percent));
        let now_lost = percent.clone();
        let task = tokio::spawn(async move {
            let (mut peer, mut chance) = (None, seed);
            let (mut up, mut down) = ([0; 2048], [0; 2048]);
            let mut held: VecDeque<(Instant, bool, Vec<u8>)> = VecDeque::new();
            loop {
                chance = chance.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                let lost = (chance >> 33) % 100 < now_lost.load(Ordering::Relaxed);
                let first = held.front().map_or_else(now, |(due, _, _)| *due);
                tokio::select! {
                    biased;
                    () = tokio::time::sleep_until(first.into()), if !held.is_empty() => {
                        let Some((_, upwards, datagram)) = held.pop_front() else { continue };
                        let _ = match (upwards, peer) {
                            (true, _) => far.send_to(&datagram, to).await,
                            (false, Some(peer)) => near.send_to(&datagram, peer).await,
                            (false, None) => Ok(0),
                        };
                    }
                    Ok((length, from)) = near.recv_from(&mut up) => {
                        peer = Some(from);
                        if !lost {
                            if up[0] & 0x80 == 0 {
                                log.lock().unwrap().push(now() + delay);
                            }
                            held.push_back((now() + delay, true, up[..length].to_vec()));
                        }
                    }
                    Ok((length, _)) = far.recv_from(&mut down) => {
                        if !lost {
                            held.push_back((now() + delay, false, down[..length].to_vec()));
                        }
                    }
                }
            }
        });
        Self { port, percent, passed, task }
    }

    /// Loses nothing from now on.
    pub fn heal(&self) {
        self.percent.store(0, Ordering::Relaxed);
    }

    /// When each data packet passed on its way to the box.
    pub fn passed(&self) -> Vec<Instant> {
        self.passed.lock().unwrap().clone()
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Sends garbage of many kinds to a listener.
pub async fn hostile(to: SocketAddr, datagrams: u64) {
    let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let mut chance = 99u64;
    let mut next = move || {
        chance = chance.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (chance >> 32) as u32
    };
    for n in 0..datagrams {
        let mut words: Vec<u32> = (0..4 + next() % 60).map(|_| next()).collect();
        match n % 8 {
            // Handshakes of every step.
            0 => words[0] = 0x8000_0000,
            1 => {
                words.resize(16, 0);
                (words[0], words[4], words[9]) = (0x8000_0000, 5, [1, 0, u32::MAX, 1010][next() as usize % 4]);
            }
            2 => words[0] = 0x8000_0000 | (next() % 9) << 16,
            3 => words[0] = 0xFFFF_0000 | (next() % 9),
            4 => words[0] &= 0x7FFF_FFFF,
            5 => words.truncate(next() as usize % 5),
            _ => {}
        }
        let bytes: Vec<u8> = words.iter().flat_map(|word| word.to_be_bytes()).collect();
        let _ = socket.send_to(&bytes, to).await;
        if n % 50 == 0 {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }
}
