use std::sync::Arc;

use bytes::Bytes;
use tokio::io::BufReader;
use tokio::io::{AsyncBufReadExt, Lines as Read};
use tokio::net::TcpSocket;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use super::super::verbatim::Mouth;
use super::super::{Snapshot, Source, Tally, Vmix, VmixConfig, VmixParts};
use super::*;
use crate::access::Policy;
use crate::clock::ManualClock;
use crate::problems::Problems;
use crate::simulator::{Simulator, SimulatorConfig};

/// Longer than anything here takes on a busy machine.
const PATIENCE: Duration = Duration::from_secs(20);

/// A relay on loopback whose vMix is the test.
struct Bench {
    mouth: Mouth,
    access: Access,
    problems: Problems,
    clock: Clock,
    hand: ManualClock,
    address: SocketAddr,
    running: JoinHandle<()>,
}

impl Bench {
    async fn new() -> Self {
        Self::for_lights(MOST_LIGHTS, MOST_LIGHTS).await
    }

    async fn for_lights(most: usize, most_of_one: usize) -> Self {
        let ((clock, hand), mouth, problems) = (Clock::manual(), Mouth::new(), Problems::default());
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let access = Access::open(None, clock.clone());
        let relay = Relay::new(listener, mouth.words(), access.clone(), problems.clone(), clock.clone());
        let relay = Relay { most, most_of_one, ..relay };
        let running = tokio::spawn(relay.run(CancellationToken::new()));
        Self { mouth, access, problems, clock, hand, address, running }
    }

    fn tally(&mut self, digits: &str) {
        let tally = digits.bytes().map(|digit| match digit {
            b'0' => Tally::Safe,
            b'1' => Tally::Program,
            _ => Tally::Preview,
        });
        self.mouth.tally(self.clock.now(), &tally.collect::<Vec<_>>());
    }

    async fn light(&self) -> TestLight {
        TestLight::at(self.address).await
    }

    async fn subscribed(&self) -> TestLight {
        let mut light = self.light().await;
        light.read().await.unwrap();
        assert_eq!(light.ask("SUBSCRIBE TALLY").await.as_deref(), Some("SUBSCRIBE OK TALLY Subscribed"));
        light
    }
}

impl Drop for Bench {
    fn drop(&mut self) {
        self.running.abort();
    }
}

/// A light's own half.
struct TestLight {
    lines: Read<BufReader<TcpStream>>,
}

impl TestLight {
    async fn at(address: SocketAddr) -> Self {
        Self { lines: BufReader::new(TcpStream::connect(address).await.unwrap()).lines() }
    }

    async fn send(&mut self, text: &str) {
        self.lines.get_mut().get_mut().write_all(text.as_bytes()).await.unwrap();
    }

    /// The next line; `None` when the connection has ended, in whatever way.
    async fn read(&mut self) -> Option<String> {
        timeout(PATIENCE, self.lines.next_line()).await.expect("a line, or the end").ok().flatten()
    }

    async fn ask(&mut self, command: &str) -> Option<String> {
        self.send(&format!("{command}\r\n")).await;
        self.read().await
    }
}

#[tokio::test]
async fn a_light_is_told_what_is_and_then_each_change() {
    let mut bench = Bench::new().await;
    bench.mouth.version("29.0.0.49");
    bench.mouth.document(bench.clock.now(), &Bytes::from_static(b"<vmix/>\r\n"));
    bench.tally("012");
    let mut light = bench.light().await;
    assert_eq!(light.read().await.as_deref(), Some("VERSION OK 29.0.0.49"));
    assert_eq!(light.ask("SUBSCRIBE TALLY").await.as_deref(), Some("SUBSCRIBE OK TALLY Subscribed"));
    assert_eq!(light.read().await.as_deref(), Some("TALLY OK 012"));
    bench.tally("012");
    bench.tally("120");
    assert_eq!(light.read().await.as_deref(), Some("TALLY OK 120"), "what has not changed is not told");
    // Commands in pieces, and several in one.
    light.send("TAL").await;
    light.send("LY\r\nXML\r\nwhat\r\n").await;
    for line in ["TALLY OK 120", "XML 9", "<vmix/>", "what ER Unknown Command"] {
        assert_eq!(light.read().await.as_deref(), Some(line));
    }
    // Tally is renewed, the document is not.
    for _ in 0..2 {
        bench.hand.advance(Duration::from_secs(1));
        bench.tally("120");
    }
    assert_eq!(light.ask("XML").await.as_deref(), Some("XML ER No Data"));
    bench.mouth.document(bench.clock.now(), &Bytes::from_static(b"<vmix/>"));
    assert_eq!(light.ask("XML").await.as_deref(), Some("XML 9"));
    assert_eq!(light.read().await.as_deref(), Some("<vmix/>"));
    assert_eq!(light.ask("UNSUBSCRIBE TALLY").await.as_deref(), Some("UNSUBSCRIBE OK TALLY Unsubscribed"));
    bench.tally("001");
    assert_eq!(light.ask("QUIT").await.as_deref(), Some("QUIT OK Bye"), "who has unsubscribed is told nothing");
    assert_eq!(light.read().await, None);
}

#[tokio::test]
async fn while_tally_is_unknown_nobody_is_connected() {
    let mut bench = Bench::new().await;
    assert_eq!(bench.light().await.read().await, None, "nothing was heard of vMix yet");
    bench.tally("10");
    let mut light = bench.subscribed().await;
    assert_eq!(light.read().await.as_deref(), Some("TALLY OK 10"));
    bench.mouth.lost();
    assert_eq!(light.read().await, None);
    assert_eq!(bench.light().await.read().await, None);
    bench.tally("01");
    let mut light = bench.subscribed().await;
    assert_eq!(light.read().await.as_deref(), Some("TALLY OK 01"));
}

#[tokio::test]
async fn words_that_nobody_renews_are_unknown_too() {
    let mut bench = Bench::new().await;
    bench.tally("10");
    let mut light = bench.subscribed().await;
    assert_eq!(light.read().await.as_deref(), Some("TALLY OK 10"));
    bench.hand.advance(OLD_AFTER);
    assert_eq!(light.read().await, None, "the client of vMix stands still");
    assert_eq!(bench.light().await.read().await, None);
    bench.tally("10");
    let mut light = bench.subscribed().await;
    assert_eq!(light.read().await.as_deref(), Some("TALLY OK 10"));
}

#[tokio::test]
async fn five_hundred_lights_follow_every_change_and_are_sent_away_together() {
    let mut bench = Bench::new().await;
    bench.tally("10");
    let mut lights = Vec::new();
    for _ in 0..500 {
        let mut light = bench.subscribed().await;
        assert_eq!(light.read().await.as_deref(), Some("TALLY OK 10"));
        lights.push(light);
    }
    for digits in ["01", "20", "12"] {
        bench.tally(digits);
        for light in &mut lights {
            assert_eq!(light.read().await, Some(format!("TALLY OK {digits}")));
        }
    }
    bench.mouth.lost();
    for light in &mut lights {
        assert_eq!(light.read().await, None);
    }
}

#[tokio::test]
async fn a_light_that_does_not_read_is_dropped_and_holds_up_nobody() {
    let mut bench = Bench::new().await;
    bench.tally("0");
    let mut quick = bench.subscribed().await;
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(1024).unwrap();
    let mut stuck = socket.connect(bench.address).await.unwrap();
    stuck.write_all(b"SUBSCRIBE TALLY\r\n").await.unwrap();
    let started = Instant::now();
    let mut told = 0;
    // Thousands of long lines, until the stuck one has been given up.
    while started.elapsed() < WRITE_WITHIN + Duration::from_secs(1) {
        told += 1;
        let digits = format!("{:0>1000}", format!("{told:b}"));
        bench.tally(&digits);
        let newest = format!("TALLY OK {digits}");
        while quick.read().await.unwrap() != newest {}
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    let mut left = Vec::new();
    let ended = timeout(PATIENCE, stuck.read_to_end(&mut left)).await.expect("it was dropped");
    let lines = left.split(|byte| *byte == b'\n').count();
    assert!(lines < told / 2, "{lines} of {told} lines were kept for it; {ended:?}");
    assert_eq!(quick.ask("VERSION").await.as_deref(), Some("VERSION OK 0.0.0.0"));
}

#[tokio::test]
async fn one_address_has_no_more_lights_than_it_may() {
    let mut bench = Bench::for_lights(10, 2).await;
    bench.tally("1");
    let (first, _second) = (bench.subscribed().await, bench.subscribed().await);
    assert_eq!(bench.light().await.read().await, None);
    // Another address of this machine.
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind("127.0.0.2:0".parse().unwrap()).unwrap();
    let other = socket.connect(bench.address).await.unwrap();
    let mut other = TestLight { lines: BufReader::new(other).lines() };
    assert_eq!(other.read().await.as_deref(), Some("VERSION OK 0.0.0.0"));
    drop(first);
    let room = async {
        while bench.light().await.read().await.is_none() {
            sleep(Duration::from_millis(10)).await;
        }
    };
    timeout(PATIENCE, room).await.expect("there is room again");
}

#[tokio::test]
async fn one_light_more_than_there_may_be_is_sent_away() {
    let mut bench = Bench::for_lights(2, 2).await;
    bench.tally("1");
    let (first, mut second) = (bench.subscribed().await, bench.subscribed().await);
    assert_eq!(bench.light().await.read().await, None);
    drop(first);
    let room = async {
        while bench.light().await.read().await.is_none() {
            sleep(Duration::from_millis(10)).await;
        }
    };
    timeout(PATIENCE, room).await.expect("there is room again");
    assert_eq!(second.read().await.as_deref(), Some("TALLY OK 1"), "those who were there stay");
}

#[tokio::test]
async fn a_light_where_none_may_be_is_sent_away_and_told_nothing() {
    let mut bench = Bench::new().await;
    bench.tally("1");
    let mut light = bench.subscribed().await;
    assert_eq!(light.read().await.as_deref(), Some("TALLY OK 1"));
    let elsewhere = vec!["10.1.0.0/16".parse().unwrap()];
    bench.access.apply(Policy { lights_from: elsewhere, ..Policy::default() });
    assert_eq!(bench.light().await.read().await, None, "one that comes");
    bench.tally("2");
    assert_eq!(light.read().await, None, "one that is there");
    bench.access.apply(Policy { lights_from: vec!["127.0.0.0/8".parse().unwrap()], ..Policy::default() });
    assert!(bench.light().await.read().await.is_some(), "settings that allow it again");
}

#[tokio::test]
async fn a_light_that_is_sent_away_for_being_elsewhere_is_told_until_it_is_let_in() {
    let mut bench = Bench::new().await;
    bench.tally("1");
    let elsewhere = vec!["198.51.100.0/24".parse().unwrap()];
    bench.access.apply(Policy { lights_from: elsewhere, ..Policy::default() });
    assert_eq!(bench.light().await.read().await, None);
    let told: Vec<_> = bench.problems.list().into_iter().map(|problem| (problem.code, problem.subject)).collect();
    assert_eq!(told, [("light_elsewhere", "127.0.0.1".to_owned())]);
    assert!(bench.problems.list()[0].text.contains("[relay] from"));
    bench.access.apply(Policy { lights_from: vec!["127.0.0.0/8".parse().unwrap()], ..Policy::default() });
    assert!(bench.light().await.read().await.is_some());
    assert_eq!(bench.problems.list(), []);
}

#[tokio::test]
async fn whoever_has_most_lights_gives_way_to_a_newcomer_and_whoever_has_few_does_not() {
    let (mut mouth, (clock, _hand)) = (Mouth::new(), Clock::manual());
    mouth.tally(clock.now(), &[Tally::Program]);
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let access = Access::open(None, clock.clone());
    let everywhere = ["0.0.0.0/0", "::/0"].map(|network| network.parse().unwrap()).into();
    access.apply(Policy { lights_from: everywhere, ..Policy::default() });
    let relay = Relay::new(listener, mouth.words(), access, Problems::default(), clock);
    let mut relay = Relay { most: 12, most_of_one: 5, never_give_way: 3, ..relay };
    let mut clients = Vec::new();
    let mut come = async |peer: &str| {
        let client = TcpStream::connect(address).await.unwrap();
        let (stream, _) = relay.listener.accept().await.unwrap();
        let welcome = relay.welcome(stream, format!("{peer}:1000").parse().unwrap());
        clients.push(client);
        welcome
    };
    let mut taken = Vec::new();
    for peer in ["10.0.0.1", "10.0.0.1", "10.0.0.1", "10.0.0.2", "[2001:db8::1]", "[2001:db8::2]"] {
        taken.push(come(peer).await);
    }
    for _ in 0..6 {
        taken.push(come("10.0.0.3").await);
    }
    assert_eq!(taken, [&[true; 11][..], &[false]].concat(), "one source has five");
    assert!(come("[2001:db8::3]").await, "that was the last place");
    assert!(come("[2001:db8::4]").await, "who has five gives way to who has three");
    assert!(!come("[2001:db8::5]").await, "and not to who has as many");
    assert!(come("10.0.0.4").await && come("10.0.0.5").await);
    assert!(!come("10.0.0.6").await, "nobody has more than few any more");
    let left = |source: &str| relay.by_source.get(&source.parse().unwrap()).map_or(0, Vec::len);
    assert_eq!(["10.0.0.1", "10.0.0.3", "2001:db8::"].map(left), [3, 3, 3]);
}

#[tokio::test]
async fn what_is_no_command_ends_that_connection_alone() {
    let mut bench = Bench::new().await;
    bench.tally("1");
    let (mut hostile, mut light) = (bench.light().await, bench.subscribed().await);
    hostile.read().await.unwrap();
    hostile.send(&"x".repeat(dialogue::MAX_LINE + 1)).await;
    assert_eq!(hostile.read().await, None);
    assert_eq!(light.read().await.as_deref(), Some("TALLY OK 1"));
    assert_eq!(light.ask("TALLY").await.as_deref(), Some("TALLY OK 1"));
}

#[tokio::test]
async fn who_asks_nothing_is_dropped_and_who_has_subscribed_stays() {
    let mut bench = Bench::new().await;
    bench.tally("1");
    let (mut silent, mut light) = (bench.light().await, bench.subscribed().await);
    silent.read().await.unwrap();
    assert_eq!(light.read().await.as_deref(), Some("TALLY OK 1"));
    tokio::time::pause();
    tokio::time::advance(IDLE).await;
    tokio::time::resume();
    assert_eq!(silent.read().await, None);
    bench.tally("2");
    assert_eq!(light.read().await.as_deref(), Some("TALLY OK 2"));
}

/// A box that follows the vMix on a port.
fn follow(port: u16) -> (Vmix, watch::Receiver<Arc<Snapshot>>) {
    let (publish, snapshots) = watch::channel(Arc::default());
    let config =
        VmixConfig { host: crate::tally::Host::Fixed("127.0.0.1".into()), tcp_port: port, ..VmixConfig::default() };
    let client = Vmix::new(VmixParts {
        config: watch::channel(config).1,
        auto: watch::channel(None).1,
        clock: Clock::system(),
        problems: Problems::default(),
        shutdown: CancellationToken::new(),
        publish,
        seed: 7,
    });
    (client, snapshots)
}

async fn until(what: &str, snapshots: &mut watch::Receiver<Arc<Snapshot>>, fits: impl Fn(&Snapshot) -> bool) {
    let found = timeout(PATIENCE, snapshots.wait_for(|snapshot| fits(snapshot))).await;
    assert!(found.is_ok_and(|found| found.is_ok()), "{what}: {:?}", snapshots.borrow());
}

#[tokio::test]
async fn a_box_follows_another_box_as_it_follows_vmix() {
    let vmix = Simulator::start(SimulatorConfig { tcp: "127.0.0.1:0".parse().ok(), ..SimulatorConfig::default() });
    let vmix = vmix.await.unwrap();
    let (first, mut of_first) = follow(vmix.tcp().unwrap().port());
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (second, mut of_second) = follow(listener.local_addr().unwrap().port());
    let relay =
        Relay::new(listener, first.words(), Access::open(None, Clock::system()), Problems::default(), Clock::system());
    let running =
        [tokio::spawn(first.run()), tokio::spawn(relay.run(CancellationToken::new())), tokio::spawn(second.run())];

    let all =
        |snapshot: &Snapshot| snapshot.source == Source::Live && snapshot.inputs.iter().all(|i| !i.key.is_empty());
    until("the first box", &mut of_first, |snapshot| all(snapshot) && !snapshot.inputs.is_empty()).await;
    until("the second box", &mut of_second, |snapshot| all(snapshot) && !snapshot.inputs.is_empty()).await;
    for input in [3, 1, 2, 4, 1] {
        vmix.cut_to(input);
        let on_air = |snapshot: &Snapshot| {
            let on_air = snapshot.inputs.iter().filter(|input| input.tally == Tally::Program);
            on_air.map(|input| input.number).eq([input as u32])
        };
        until("the cut", &mut of_second, on_air).await;
        assert_eq!(of_first.borrow().inputs, of_second.borrow().inputs);
    }
    let (versions, titles) = (of_first.borrow().link.version.clone(), of_first.borrow().inputs.clone());
    assert_eq!((versions, titles.len()), (of_second.borrow().link.version.clone(), of_second.borrow().inputs.len()));

    vmix.stop().await;
    let nothing = |snapshot: &Snapshot| {
        snapshot.source == Source::Unknown && snapshot.inputs.iter().all(|input| input.tally == Tally::Unknown)
    };
    until("the end, at the first box", &mut of_first, nothing).await;
    until("the end, at the second box", &mut of_second, nothing).await;
    running.iter().for_each(JoinHandle::abort);
}
