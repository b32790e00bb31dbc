use std::ops::RangeInclusive;

use tokio::net::UnixListener;

use super::*;
use crate::tally::{LinkState, Show};

struct Rig {
    _directory: tempfile::TempDir,
    listener: UnixListener,
    tally: watch::Sender<Arc<Snapshot>>,
    commands: Commands,
    problems: Problems,
    clock: Clock,
    stop: CancellationToken,
}

const SETTINGS: &str = "[[camera]]\nname = 'A'\ninputs = [1]\n[[lamp]]\ncamera = 'A'\n[[lamp]]\nshow = 'streaming'\n";

impl Rig {
    fn start() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let socket = directory.path().join("socket");
        let listener = UnixListener::bind(&socket).unwrap();
        let settings = Settings::parse("t", SETTINGS).unwrap();
        let (tally, reader) = watch::channel(Arc::default());
        let (commands, problems) = (commands(&settings), Problems::default());
        let (clock, stop) = (Clock::system(), CancellationToken::new());
        let feed = Feed::new(FeedParts {
            settings: &settings,
            socket,
            tally: reader,
            commands: commands.clone(),
            problems: problems.clone(),
            clock: clock.clone(),
        });
        tokio::spawn(feed.run(stop.clone()));
        Self { _directory: directory, listener, tally, commands, problems, clock, stop }
    }

    async fn lamps(&self) -> (Lines<BufReader<OwnedReadHalf>>, OwnedWriteHalf) {
        let (read, write) = self.listener.accept().await.unwrap().0.into_split();
        (BufReader::new(read).lines(), write)
    }

    /// vMix says so now, or said so a while ago; between which times on `CLOCK_MONOTONIC`.
    fn vmix(&self, camera: Tally, ago: Duration) -> RangeInclusive<Duration> {
        let before = self.clock.monotonic() - ago;
        let input = tally::Input { number: 1, key: "k".into(), title: "CAM 1".into(), kind: "".into(), tally: camera };
        self.tally.send_replace(Arc::new(Snapshot {
            source: tally::Source::Live,
            heard: Some(self.clock.now() - ago),
            inputs: Arc::from([input]),
            cameras: Arc::from([tally::Camera { name: "A".into(), inputs: vec![1], tally: camera }]),
            show: Show { streaming: true, ..Show::default() },
            show_known: true,
            link: tally::Link { state: LinkState::Live, ..tally::Link::default() },
            ..Snapshot::default()
        }));
        before..=self.clock.monotonic() - ago
    }
}

/// Whether it holds until two seconds after vMix was heard, as far as two readings of the clock tell: never longer.
fn until_two_seconds_after(heard: &RangeInclusive<Duration>, told: &Order) -> bool {
    let until = Duration::from_nanos(told.until_ns);
    // What comes between the two readings of an order's time makes it older.
    const STALL: Duration = Duration::from_millis(500);
    (*heard.start() + FRESH - STALL..=*heard.end() + FRESH).contains(&until)
}

async fn order(lines: &mut Lines<BufReader<OwnedReadHalf>>) -> Order {
    wire::read(lines.next_line().await.unwrap().unwrap().as_bytes()).unwrap()
}

/// The first order that is so.
async fn order_with(lines: &mut Lines<BufReader<OwnedReadHalf>>, is: impl Fn(&Order) -> bool) -> Order {
    loop {
        let order = order(lines).await;
        if is(&order) {
            return order;
        }
    }
}

fn says(order: &Order, camera: Signal, streaming: Signal) -> bool {
    order.lamps == BTreeMap::from([("A".to_owned(), camera), ("streaming".to_owned(), streaming)])
}

#[tokio::test]
async fn lamps_are_told_at_once_at_every_change_and_four_times_a_second() {
    let rig = Rig::start();
    let (mut lines, _write) = rig.lamps().await;
    let first = order(&mut lines).await;
    assert!(says(&first, Signal::Unknown, Signal::Unknown) && first.until_ns == 0, "{first:?}");
    let heard = rig.vmix(Tally::Program, Duration::ZERO);
    let told = order_with(&mut lines, |order| says(order, Signal::Program, Signal::Program)).await;
    assert!(until_two_seconds_after(&heard, &told), "{heard:?} {told:?}");
    let heard = rig.vmix(Tally::Preview, Duration::from_millis(500));
    let told = order_with(&mut lines, |order| says(order, Signal::Preview, Signal::Program)).await;
    assert!(until_two_seconds_after(&heard, &told), "{heard:?} {told:?}");
    let began = rig.clock.now();
    let later = order(&mut lines).await;
    assert!(rig.clock.now() - began <= BEAT * 2, "{later:?}");
    assert!(until_two_seconds_after(&heard, &later), "nothing was heard since: {heard:?} {later:?}");
    assert!(rig.commands.state().running);
    rig.stop.cancel();
}

#[tokio::test]
async fn a_test_is_told_and_any_real_change_ends_it() {
    let rig = Rig::start();
    let (mut lines, _write) = rig.lamps().await;
    rig.vmix(Tally::Safe, Duration::ZERO);
    order_with(&mut lines, |order| says(order, Signal::Safe, Signal::Program)).await;
    rig.commands.test();
    order_with(&mut lines, |order| order.test == Some(TestOrder { lamp: None })).await;
    rig.commands.identify("A").unwrap();
    order_with(&mut lines, |order| order.test == Some(TestOrder { lamp: Some("A".into()) })).await;
    // Being heard again is no change.
    rig.vmix(Tally::Safe, Duration::ZERO);
    assert!(order(&mut lines).await.test.is_some());
    rig.vmix(Tally::Program, Duration::ZERO);
    let told = order_with(&mut lines, |order| says(order, Signal::Program, Signal::Program)).await;
    assert_eq!((told.test, rig.commands.state().test), (None, None));
    rig.commands.test();
    order_with(&mut lines, |order| order.test.is_some()).await;
    rig.commands.end();
    order_with(&mut lines, |order| order.test.is_none()).await;
}

#[tokio::test]
async fn tally_that_was_heard_too_long_ago_is_unknown_and_ends_a_test() {
    let rig = Rig::start();
    let (mut lines, _write) = rig.lamps().await;
    rig.vmix(Tally::Program, Duration::ZERO);
    order_with(&mut lines, |order| says(order, Signal::Program, Signal::Program)).await;
    rig.commands.test();
    order_with(&mut lines, |order| order.test.is_some()).await;
    rig.vmix(Tally::Program, Duration::from_millis(2000));
    let told = order_with(&mut lines, |order| says(order, Signal::Unknown, Signal::Unknown)).await;
    assert_eq!((told.until_ns, told.test), (0, None));
    assert!(rig.commands.state().lamps.iter().all(|lamp| lamp.signal == Signal::Unknown));
}

#[tokio::test]
async fn what_the_lamp_process_says_of_itself_is_known_and_a_pin_that_is_refused_is_a_problem() {
    let rig = Rig::start();
    let (mut lines, mut write) = rig.lamps().await;
    order(&mut lines).await;
    let errors = BTreeMap::from([("A".to_owned(), "GPIO 17 is used by something else".to_owned())]);
    let report = Report { backend: "character device".into(), errors };
    write.write_all(&wire::line(&report)).await.unwrap();
    while rig.problems.list().is_empty() {
        order(&mut lines).await;
    }
    assert_eq!(rig.problems.list()[0].code, REFUSED);
    assert!(rig.problems.list()[0].text.contains("GPIO 17"));
    let state = rig.commands.state();
    assert_eq!(state.backend, "character device");
    assert_eq!(state.lamps[0].error.as_deref(), Some("GPIO 17 is used by something else"));
    assert_eq!((state.lamps[0].program_pin, state.lamps[1].preview_pin), (Some(17), None));
    write.write_all(&wire::line(&Report::default())).await.unwrap();
    while !rig.problems.list().is_empty() {
        order(&mut lines).await;
    }
    // It is called again when it is gone.
    drop((lines, write));
    let (mut lines, _write) = rig.lamps().await;
    order(&mut lines).await;
}
