use std::sync::Mutex;

use tokio::net::TcpListener;
use tokio::sync::mpsc;

use super::*;
use crate::tally::{LinkState, Source, Tally};

const TWO: &str = "<vmix><version>29.0.0.49</version><inputs><input key=\"a\" number=\"1\" type=\"Capture\" title=\"CAM 1\"/>\
                   <input key=\"b\" number=\"2\" type=\"Capture\" title=\"CAM 2\"/></inputs><streaming>True</streaming></vmix>";

/// A vMix that writes its bytes by itself.
#[derive(Clone)]
struct Fake {
    manner: Arc<Mutex<Manner>>,
    port: u16,
}

struct Manner {
    tally: String,
    /// The document, if the TCP API gives one.
    xml: Option<String>,
    /// Answers nothing any more.
    frozen: bool,
    /// Sends so many bytes at a time.
    piece: usize,
    connections: usize,
    /// Hands lines, or the end, to the connection that is open.
    line: Option<mpsc::UnboundedSender<Option<String>>>,
}

impl Fake {
    /// Serves for 30 s at most, on loopback.
    async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let manner = Manner {
            tally: "10".into(),
            xml: Some(TWO.into()),
            frozen: false,
            piece: usize::MAX,
            connections: 0,
            line: None,
        };
        let fake = Self { manner: Arc::new(Mutex::new(manner)), port };
        let served = fake.clone();
        tokio::spawn(timeout(Duration::from_secs(30), async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                tokio::spawn(served.clone().serve(stream));
            }
        }));
        fake
    }

    fn with<T>(&self, act: impl FnOnce(&mut Manner) -> T) -> T {
        act(&mut self.manner.lock().unwrap())
    }

    fn push(&self, line: &str) {
        self.with(|manner| manner.line.as_ref().unwrap().send(Some(line.to_owned())).unwrap());
    }

    fn drop_link(&self) {
        self.with(|manner| manner.line.as_ref().unwrap().send(None).unwrap());
    }

    async fn serve(self, mut stream: TcpStream) {
        let (sender, mut lines) = mpsc::unbounded_channel();
        self.with(|manner| {
            manner.connections += 1;
            manner.line = Some(sender);
        });
        let mut heard = Vec::new();
        let mut buffer = [0; 512];
        let mut out = if self.with(|manner| manner.frozen) { String::new() } else { "VERSION OK 29.0.0.49\r\n".into() };
        loop {
            let piece = self.with(|manner| manner.piece);
            for piece in out.as_bytes().chunks(piece) {
                stream.write_all(piece).await.unwrap();
                tokio::task::yield_now().await;
            }
            out.clear();
            tokio::select! {
                line = lines.recv() => match line {
                    Some(Some(line)) => out.push_str(&line),
                    _ => return,
                },
                read = stream.read(&mut buffer) => {
                    let Ok(length @ 1..) = read else { return };
                    heard.extend_from_slice(&buffer[..length]);
                    while let Some(end) = heard.iter().position(|byte| *byte == b'\n') {
                        let line: Vec<u8> = heard.drain(..=end).collect();
                        out.push_str(&self.answer(String::from_utf8(line).unwrap().trim_end()));
                    }
                }
            }
        }
    }

    fn answer(&self, request: &str) -> String {
        self.with(|manner| match request {
            _ if manner.frozen => String::new(),
            "TALLY" => format!("TALLY OK {}\r\n", manner.tally),
            "SUBSCRIBE TALLY" => "SUBSCRIBE OK TALLY Subscribed\r\n".into(),
            "SUBSCRIBE ACTS" => "SUBSCRIBE OK ACTS Subscribed\r\n".into(),
            "XML" => match &manner.xml {
                Some(xml) => format!("XML {}\r\n{xml}\r\n", xml.len() + 2),
                None => "XML ER Unknown Command\r\n".into(),
            },
            other => format!("{other} ER Unknown Command\r\n"),
        })
    }
}

/// A client on the other side.
struct Rig {
    config: watch::Sender<VmixConfig>,
    auto: watch::Sender<Option<IpAddr>>,
    seen: watch::Receiver<Arc<Snapshot>>,
    problems: Problems,
    shutdown: CancellationToken,
    pulse: Pulse,
    run: tokio::task::JoinHandle<()>,
}

impl Rig {
    fn start(config: VmixConfig) -> Self {
        Self::with_clock(config, Clock::system())
    }

    fn with_clock(config: VmixConfig, clock: Clock) -> Self {
        let (config, config_seen) = watch::channel(config);
        let (auto, auto_seen) = watch::channel(None);
        let (publish, seen) = watch::channel(Arc::default());
        let problems = Problems::default();
        let shutdown = CancellationToken::new();
        let vmix = Vmix::new(VmixParts {
            config: config_seen,
            auto: auto_seen,
            clock,
            problems: problems.clone(),
            shutdown: shutdown.clone(),
            publish,
            seed: 7,
        });
        let pulse = vmix.pulse();
        Self { config, auto, seen, problems, shutdown, pulse, run: tokio::spawn(vmix.run()) }
    }

    fn at(fake: &Fake, http_port: u16) -> Self {
        Self::start(settings("127.0.0.1", fake.port, http_port))
    }

    /// Waits for a snapshot like this, and tells how long that took.
    async fn until(&mut self, wanted: impl Fn(&Snapshot) -> bool) -> (Arc<Snapshot>, Duration) {
        let clock = Clock::system();
        let begun = clock.now();
        let seen = timeout(Duration::from_secs(8), self.seen.wait_for(|snapshot| wanted(snapshot))).await;
        let snapshot = seen.expect("it did not come within 8 s").unwrap().clone();
        (snapshot, clock.now() - begun)
    }

    fn codes(&self) -> Vec<&'static str> {
        self.problems.list().iter().map(|problem| problem.code).collect()
    }

    async fn stop(self) {
        self.shutdown.cancel();
        timeout(Duration::from_secs(1), self.run).await.expect("it did not end").unwrap();
    }
}

fn settings(host: &str, tcp_port: u16, http_port: u16) -> VmixConfig {
    VmixConfig {
        host: Host::Fixed(host.into()),
        tcp_port,
        http_port,
        cameras: vec![CameraConfig::new("one", ["CAM 1".into()])],
    }
}

/// A port on which nobody listens.
async fn closed_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap().port()
}

fn cameras(snapshot: &Snapshot) -> Vec<Tally> {
    snapshot.cameras.iter().map(|camera| camera.tally).collect()
}

#[tokio::test]
async fn follows_a_vmix_and_hands_changes_on_at_once() {
    let fake = Fake::start().await;
    let mut tally = Rig::at(&fake, closed_port().await);
    let (snapshot, _) = tally.until(|snapshot| cameras(snapshot) == [Tally::Program]).await;
    assert_eq!((snapshot.source, snapshot.link.state), (Source::Live, LinkState::Live));
    assert_eq!(snapshot.link.version.as_deref(), Some("29.0.0.49"));
    assert!(snapshot.show.streaming && snapshot.link.connected_at.is_some());
    assert_eq!(&*snapshot.inputs[1].title, "CAM 2");

    fake.with(|manner| manner.tally = "21".into());
    fake.push("TALLY OK 21\r\n");
    let (_, took) = tally.until(|snapshot| cameras(snapshot) == [Tally::Preview]).await;
    assert!(took < Duration::from_millis(100), "{took:?}");
    assert!(tally.codes().is_empty());
    tally.stop().await;
}

#[tokio::test]
async fn its_pulse_is_felt_whatever_it_is_doing() {
    let fake = Fake::start().await;
    let (searching, refused) = (VmixConfig::default(), settings("127.0.0.1", closed_port().await, closed_port().await));
    for (config, connected) in [(searching, false), (refused, false), (settings("127.0.0.1", fake.port, 1), true)] {
        let mut tally = Rig::start(config);
        if connected {
            tally.until(|snapshot| snapshot.source == Source::Live).await;
        }
        for _ in 0..3 {
            timeout(Duration::from_secs(1), tally.pulse.felt()).await.expect("no pulse");
        }
        let pulse = tally.pulse.clone();
        tally.stop().await;
        timeout(Duration::from_secs(1), pulse.felt()).await.expect("who has ended is waited for");
    }
}

#[tokio::test]
async fn what_had_come_while_the_box_stood_still_is_not_taken_for_what_is() {
    let fake = Fake::start().await;
    let (clock, hand) = Clock::manual();
    let mut tally = Rig::with_clock(settings("127.0.0.1", fake.port, closed_port().await), clock.clone());
    tally.until(|snapshot| cameras(snapshot) == [Tally::Program]).await;
    // Nothing but what is pushed comes from now on, to whichever connection.
    fake.with(|manner| manner.frozen = true);
    hand.advance(STOOD_STILL + Duration::from_millis(1));
    let continued = clock.now();
    fake.push("TALLY OK 12\r\n");
    let (snapshot, _) = tally.until(|snapshot| snapshot.source == Source::Unknown).await;
    assert_eq!(cameras(&snapshot), [Tally::Unknown]);
    // Asked anew, without a pause and without a complaint.
    fake.with(|manner| (manner.frozen, manner.tally) = (false, "20".into()));
    while fake.with(|manner| manner.connections) < 2 {
        sleep(Duration::from_millis(5)).await;
    }
    // The new connection may have been made while nothing was answered.
    hand.advance(Duration::from_millis(600));
    let (snapshot, _) = tally.until(|snapshot| cameras(snapshot) == [Tally::Preview]).await;
    assert!(snapshot.heard >= Some(continued));
    assert!(tally.codes().is_empty());
    tally.stop().await;
}

#[tokio::test]
async fn the_age_is_refreshed_without_waking_anybody() {
    let fake = Fake::start().await;
    let mut tally = Rig::at(&fake, closed_port().await);
    let (first, _) = tally.until(|snapshot| cameras(snapshot) == [Tally::Program]).await;
    let _ = tally.seen.borrow_and_update();
    sleep(Duration::from_millis(800)).await;
    assert!(!tally.seen.has_changed().unwrap());
    let second = tally.seen.borrow().clone();
    assert!(second.heard > first.heard);
    assert_eq!(second.seq, first.seq);
    tally.stop().await;
}

#[tokio::test]
async fn a_vmix_that_freezes_is_unknown_within_2_s_and_live_again_when_it_thaws() {
    let fake = Fake::start().await;
    let mut tally = Rig::at(&fake, closed_port().await);
    tally.until(|snapshot| cameras(snapshot) == [Tally::Program]).await;
    fake.with(|manner| manner.frozen = true);
    let (snapshot, took) = tally.until(|snapshot| snapshot.source == Source::Unknown).await;
    assert!(took < Duration::from_secs(2), "{took:?}");
    assert_eq!((cameras(&snapshot), snapshot.link.state), (vec![Tally::Unknown], LinkState::Lost));
    assert!(snapshot.inputs.iter().all(|input| input.tally == Tally::Unknown));
    assert!(tally.codes().is_empty(), "one attempt before a person is called");

    // It accepts connections, as a stopped process does, and says nothing: unknown all the while.
    sleep(Duration::from_millis(2200)).await;
    assert_eq!(tally.seen.borrow().source, Source::Unknown);
    assert_eq!(tally.codes(), ["vmix_unreachable"]);
    fake.with(|manner| manner.frozen = false);
    tally.until(|snapshot| cameras(snapshot) == [Tally::Program]).await;
    assert!(tally.codes().is_empty());
    tally.stop().await;
}

#[tokio::test]
async fn a_dropped_link_is_unknown_at_once_and_taken_up_again() {
    let fake = Fake::start().await;
    let mut tally = Rig::at(&fake, closed_port().await);
    tally.until(|snapshot| cameras(snapshot) == [Tally::Program]).await;
    fake.with(|manner| manner.tally = "01".into());
    fake.drop_link();
    let (_, took) = tally.until(|snapshot| snapshot.source == Source::Unknown).await;
    assert!(took < Duration::from_millis(100), "{took:?}");
    let (_, took) = tally.until(|snapshot| cameras(snapshot) == [Tally::Safe]).await;
    assert!(took < Duration::from_secs(1), "{took:?}");
    assert_eq!(fake.with(|manner| manner.connections), 2);
    tally.stop().await;
}

#[tokio::test]
async fn everything_in_pieces_is_the_same() {
    let fake = Fake::start().await;
    fake.with(|manner| manner.piece = 3);
    let mut tally = Rig::at(&fake, closed_port().await);
    let (snapshot, _) = tally.until(|snapshot| cameras(snapshot) == [Tally::Program]).await;
    assert_eq!(snapshot.inputs.len(), 2);
    tally.stop().await;
}

#[tokio::test]
async fn a_thousand_inputs_are_followed() {
    let fake = Fake::start().await;
    let input =
        |n| format!("<input key=\"k{n}\" number=\"{n}\" type=\"Colour\" title=\"CAM {n}\">{}</input>", "x".repeat(200));
    let inputs: String = (1..=1000).map(input).collect();
    fake.with(|manner| {
        manner.xml = Some(format!("<vmix><inputs>{inputs}</inputs></vmix>"));
        manner.tally = "1".to_owned() + &"0".repeat(999);
    });
    let mut tally = Rig::at(&fake, closed_port().await);
    tally.until(|snapshot| cameras(snapshot) == [Tally::Program] && snapshot.inputs.len() == 1000).await;
    let line = "0".repeat(999) + "1";
    fake.push(&format!("TALLY OK {line}\r\n"));
    fake.with(|manner| manner.tally = line);
    let (snapshot, took) = tally.until(|snapshot| cameras(snapshot) == [Tally::Safe]).await;
    assert!(took < Duration::from_millis(100), "{took:?}");
    assert_eq!(snapshot.inputs[999].tally, Tally::Program);
    tally.stop().await;
}

#[tokio::test]
async fn a_camera_follows_its_input_through_a_renumbering() {
    let fake = Fake::start().await;
    let mut tally = Rig::at(&fake, closed_port().await);
    tally.until(|snapshot| cameras(snapshot) == [Tally::Program]).await;
    fake.with(|manner| {
        manner.xml = Some(
            "<vmix><inputs><input key=\"n\" number=\"1\" title=\"CAM 1\"/><input key=\"b\" number=\"2\" title=\"CAM 2\"/>\
             <input key=\"a\" number=\"3\" title=\"Anna\"/></inputs></vmix>"
                .into(),
        );
        manner.tally = "102".into();
    });
    fake.push("TALLY OK 102\r\n");
    let (snapshot, _) = tally.until(|snapshot| snapshot.cameras[0].inputs == [3]).await;
    assert_eq!(cameras(&snapshot), [Tally::Preview]);
    tally.stop().await;
}

/// An HTTP API that answers every request with this.
async fn http_api(answer: String) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(timeout(Duration::from_secs(30), async move {
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut request = Vec::new();
            while !request.ends_with(b"\r\n\r\n") {
                let byte = stream.read_u8().await.unwrap();
                request.push(byte);
            }
            assert!(request.starts_with(b"GET /api HTTP/1.1\r\nHost: 127.0.0.1:"));
            stream.write_all(answer.as_bytes()).await.unwrap();
        }
    }));
    port
}

#[tokio::test]
async fn the_http_api_gives_the_document_when_the_tcp_api_does_not() {
    let fake = Fake::start().await;
    fake.with(|manner| manner.xml = None);
    let port = http_api(format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{TWO}", TWO.len())).await;
    let mut tally = Rig::at(&fake, port);
    let (snapshot, _) = tally.until(|snapshot| cameras(snapshot) == [Tally::Program]).await;
    assert_eq!(&*snapshot.inputs[0].title, "CAM 1");
    assert!(tally.codes().is_empty());
    tally.stop().await;
}

#[tokio::test]
async fn the_http_api_helps_when_the_tcp_api_gives_nonsense() {
    let fake = Fake::start().await;
    fake.with(|manner| manner.xml = Some("<vmix><inputs>".into()));
    let port = http_api(format!("HTTP/1.1 200 OK\r\n\r\n{TWO}")).await;
    let mut tally = Rig::at(&fake, port);
    tally.until(|snapshot| cameras(snapshot) == [Tally::Program]).await;
    tally.stop().await;
}

#[tokio::test]
async fn tally_works_without_any_document_and_says_what_to_mend() {
    let fake = Fake::start().await;
    fake.with(|manner| manner.xml = None);
    let port = http_api("HTTP/1.1 401 Unauthorized\r\nContent-Length: 0\r\n\r\n".into()).await;
    let mut config = settings("localhost", fake.port, port);
    config.cameras.push(CameraConfig::new("by number", [2.into()]));
    let mut tally = Rig::start(config);
    let (snapshot, _) = tally.until(|snapshot| snapshot.source == Source::Live).await;
    assert_eq!(cameras(&snapshot), [Tally::Unknown, Tally::Safe]);
    for _ in 0..100 {
        sleep(Duration::from_millis(20)).await;
        if !tally.codes().is_empty() {
            break;
        }
    }
    assert_eq!(tally.codes(), ["vmix_xml_unavailable"]);
    assert!(tally.problems.list()[0].text.contains("password"));
    tally.stop().await;
}

#[tokio::test]
async fn settings_and_the_found_address_take_effect_at_once() {
    let fake = Fake::start().await;
    let mut config = settings("", fake.port, closed_port().await);
    config.host = Host::Auto;
    let mut tally = Rig::start(config.clone());
    tally.until(|snapshot| snapshot.link.state == LinkState::Waiting && snapshot.cameras.len() == 1).await;
    tally.auto.send(Some("::ffff:127.0.0.1".parse().unwrap())).unwrap();
    let (snapshot, _) = tally.until(|snapshot| cameras(snapshot) == [Tally::Program]).await;
    assert_eq!(snapshot.link.host.as_deref(), Some("127.0.0.1"));

    config.cameras = vec![CameraConfig::new("two", ["b".into()]), CameraConfig::new("none", ["CAM 9".into()])];
    tally.config.send(config.clone()).unwrap();
    let (snapshot, _) = tally.until(|snapshot| snapshot.cameras.len() == 2).await;
    assert_eq!(cameras(&snapshot), [Tally::Safe, Tally::Unknown]);
    assert_eq!(tally.codes(), ["camera_not_found"]);
    assert_eq!(fake.with(|manner| manner.connections), 1, "no new connection for other cameras");

    let other = Fake::start().await;
    other.with(|manner| manner.tally = "01".into());
    config.tcp_port = other.port;
    tally.config.send(config).unwrap();
    tally.until(|snapshot| cameras(snapshot) == [Tally::Program, Tally::Unknown]).await;
    tally.stop().await;
}

#[tokio::test]
async fn a_host_that_is_not_there_is_a_problem_in_words_until_it_is() {
    let port = closed_port().await;
    let mut tally = Rig::start(settings("127.0.0.1", port, port));
    for _ in 0..100 {
        sleep(Duration::from_millis(20)).await;
        if !tally.codes().is_empty() {
            break;
        }
    }
    let problems = tally.problems.list();
    assert_eq!((problems[0].code, problems[0].subject.as_str()), ("vmix_unreachable", "127.0.0.1"));
    assert!(problems[0].text.contains("Web Controller") && problems[0].text.contains(&port.to_string()));
    assert_eq!(tally.seen.borrow().link.state, LinkState::Connecting);
    let fake = Fake::start().await;
    tally.config.send(settings("127.0.0.1", fake.port, port)).unwrap();
    tally.until(|snapshot| snapshot.source == Source::Live).await;
    assert!(tally.codes().is_empty());
    tally.stop().await;
}

#[test]
fn attempts_are_jittered_below_their_delay_and_alike_for_one_seed() {
    let delays = |seed| {
        let (_, config) = watch::channel(VmixConfig::default());
        let mut vmix = Vmix::new(VmixParts {
            config,
            auto: watch::channel(None).1,
            clock: Clock::system(),
            problems: Problems::default(),
            shutdown: CancellationToken::new(),
            publish: watch::channel(Arc::default()).0,
            seed,
        });
        (0..50).map(|_| vmix.jittered(RETRY_MOST)).collect::<Vec<_>>()
    };
    assert!(delays(3).iter().all(|delay| (RETRY_MOST * 3 / 4..=RETRY_MOST).contains(delay)));
    assert_eq!(delays(3), delays(3));
    assert_ne!(delays(3), delays(9));
}
