//! Lamps: from a line of vMix to the edge of a pin, and every way in which what is between them can die.

use crate::support::appliance::{Appliance, Settings};
use crate::support::lamps::{Edge, Lamps, monotonic};
use crate::support::stalls::Stalls;
use crate::support::vmix::FakeVmix;
use crate::support::{Result, Seeded, percentile, until};
use crate::{SOON, turn};
use nix::sys::signal::Signal;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// Four cameras and what is on air at all, on pins of every kind.
const LAMPS: &str = r#"
[[camera]]
name = "A"
inputs = [1]
[[camera]]
name = "B"
inputs = [2]
[[lamp]]
camera = "A"
[[lamp]]
camera = "B"
active = "low"
[[lamp]]
input = 3
leds = "1-2"
program_pin = 4
active = "low"
[[lamp]]
name = "Door"
any_of = ["A", "B"]
program_pin = 26
[strip]
leds = 3
"#;
/// By the camera on air, from 1.
const PROGRAM: [(u8, bool); 3] = [(17, true), (5, false), (4, false)];
const DOOR: u8 = 26;
/// The lamp that most tests look at: camera A's.
const A_PROGRAM: u8 = 17;
const A_PREVIEW: u8 = 27;

struct Studio {
    vmix: FakeVmix,
    appliance: Appliance,
    lamps: Lamps,
}

async fn box_at(vmix_port: u16) -> Result<(Appliance, Lamps)> {
    let settings = Settings { vmix_port, more: LAMPS.to_owned(), ..Settings::default() };
    let appliance = Appliance::start(settings).await?;
    let lamps = Lamps::start(&appliance)?;
    Ok((appliance, lamps))
}

/// Camera A is on air and its lamp says so.
async fn studio() -> Result<Studio> {
    let vmix = FakeVmix::start(0, 3).await?;
    vmix.set_tally("120");
    let (appliance, lamps) = box_at(vmix.port).await?;
    on_air(&lamps).await?;
    Ok(Studio { vmix, appliance, lamps })
}

/// Its program light stands still: no pattern is that long.
async fn on_air(lamps: &Lamps) -> Result<()> {
    until("camera A's lamp", SOON, || async {
        let edges = lamps.edges().ok()?;
        let last = edges.iter().rev().find(|edge| [A_PROGRAM, A_PREVIEW].contains(&edge.pin))?;
        let lit = lamps.level(A_PROGRAM).ok()? == Some(true) && lamps.level(A_PREVIEW).ok()? == Some(false);
        (lit && monotonic().ok()?.saturating_sub(last.at) > Duration::from_millis(250)).then_some(())
    })
    .await
    .map_err(|error| format!("{error}; lamps: {}; {:?}", lamps.log(), lamps.edges()).into())
}

/// When camera A's lamp first showed what it does when nothing is known, after `since`, while it was on air: by the clock
/// of the lamp process, so that a test that stalls adds nothing to it.
async fn unknown_after(lamps: &Lamps, since: Duration) -> Result<Duration> {
    let flashes = |edges: &[Edge]| -> Vec<Duration> {
        let began = |edge: &&Edge| edge.at >= since && edge.pin == A_PREVIEW && edge.high;
        edges.iter().filter(began).map(|edge| edge.at).collect()
    };
    // Two flashes, and the first of the next two: it goes on, and is what no tally looks like.
    let all =
        until("three flashes", SOON, || async { Some(flashes(&lamps.edges().ok()?)).filter(|all| all.len() >= 3) });
    let all = all.await.map_err(|error| format!("{error}: {:?}", lamps.edges()))?;
    assert_together(&lamps.edges()?, all[0], monotonic()?);
    Ok(all[0] - since)
}

/// From then on camera A's lights went on and off together: one alone would be tally. Pins are set one after the other, so
/// that each may be alone for as long as a busy machine stands still between the two.
fn assert_together(edges: &[Edge], from: Duration, until: Duration) {
    let (mut program, mut preview, mut since) = (false, false, from);
    let mut alone: Option<Duration> = None;
    for edge in edges.iter().filter(|edge| [A_PROGRAM, A_PREVIEW].contains(&edge.pin)) {
        *(if edge.pin == A_PROGRAM { &mut program } else { &mut preview }) = edge.high;
        since = edge.at.max(from);
        assert!(alone.is_none_or(|alone| since - alone < STALL), "one light alone until {since:?}: {edges:?}");
        alone = (program != preview).then_some(since);
    }
    assert!(alone.is_none_or(|alone| until - alone < STALL), "one light alone since {since:?}: {edges:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn lamps_follow_a_thousand_cuts_with_none_missed_and_none_late() -> Result<()> {
    const CUTS: usize = 1000;
    /// The target is 5 ms and `make bench` measures it; here only nonsense fails, for the machine may be busy.
    const LATE: Duration = Duration::from_millis(250);
    let _turn = turn().await;
    let studio = studio().await?;
    let lit = |edge: &Edge| PROGRAM.iter().any(|(pin, high)| edge.pin == *pin && edge.high == *high);
    let (began, stalls) = (monotonic()?, Stalls::watch());
    let (mut random, mut cuts, mut on_air) = (Seeded(5), Vec::new(), 0);
    for _ in 0..CUTS {
        let next = (on_air + 1 + (random.next_u64() % 2) as usize) % PROGRAM.len();
        on_air = next;
        let digits: String = (0..PROGRAM.len()).map(|input| if input == next { '1' } else { '0' }).collect();
        cuts.push((monotonic()?, next));
        studio.vmix.set_tally(&digits);
        // Lamps show what is, not what was: a cut that is over before a busy machine came to it would not be shown.
        let (pin, high) = PROGRAM[next];
        let shown = || async { (studio.lamps.level(pin).ok()? == Some(high)).then_some(()) };
        until(&format!("cut {}", cuts.len()), SOON, shown).await?;
        tokio::time::sleep(Duration::from_millis(random.next_u64() % 12)).await;
    }
    tokio::time::sleep(LATE).await;
    let edges: Vec<Edge> = studio.lamps.edges()?.into_iter().filter(|edge| edge.at >= began).collect();
    let shown: Vec<&Edge> = edges.iter().filter(|edge| lit(edge)).collect();
    let order: Vec<u8> = shown.iter().map(|edge| edge.pin).collect();
    let wanted: Vec<u8> = cuts.iter().map(|(_, camera)| PROGRAM[*camera].0).collect();
    assert_eq!(order.len(), CUTS, "one edge for each cut");
    assert_eq!(order, wanted);
    let mut delays: Vec<Duration> = shown.iter().zip(&cuts).map(|(edge, (cut, _))| edge.at - *cut).collect();
    delays.sort_unstable();
    let [half, most, worst] = [50.0, 99.0, 100.0].map(|percent| percentile(&delays, percent));
    println!("{CUTS} cuts, vMix's line to the pin: p50 {half:?}, p99 {most:?}, max {worst:?}");
    assert!(worst < LATE + stalls.total(), "{worst:?}, {:?} standing still", stalls.total());

    // Every light that went on went off with the next cut, and the door is lit while camera A or B is on air.
    for (pin, high) in PROGRAM {
        let (on, off) =
            edges.iter().filter(|edge| edge.pin == pin).partition::<Vec<&Edge>, _>(|edge| edge.high == high);
        assert!(on.len().abs_diff(off.len()) <= 1, "GPIO {pin}: {} on, {} off", on.len(), off.len());
        let now = studio.lamps.level(pin)? == Some(high);
        assert_eq!(now, PROGRAM[on_air].0 == pin, "GPIO {pin}");
    }
    assert_eq!(studio.lamps.level(DOOR)?, Some(on_air < 2));
    let colours = if on_air == 2 { "ff0000ff0000000000" } else { "000000000000000000" };
    assert_eq!(studio.lamps.leds().as_deref(), Some(colours));
    Ok(())
}

/// The promise.
const WITHIN: Duration = Duration::from_secs(2);
/// For so long a busy machine may stop everything at a time, the lamp process too; what is late by more is the program's fault.
const STALL: Duration = Duration::from_millis(400);

#[tokio::test(flavor = "multi_thread")]
async fn lamps_are_unknown_within_two_seconds_when_vmix_stops_answering_or_is_gone() -> Result<()> {
    let _turn = turn().await;
    let Studio { vmix, appliance, lamps } = studio().await?;
    let frozen = monotonic()?;
    vmix.freeze(true);
    let took = unknown_after(&lamps, frozen).await?;
    println!("vMix stops answering: {took:?}");
    assert!(took <= WITHIN + STALL, "{took:?}");
    vmix.freeze(false);
    on_air(&lamps).await?;

    let gone = monotonic()?;
    drop(vmix);
    let took = unknown_after(&lamps, gone).await?;
    println!("vMix ends: {took:?}");
    assert!(took <= WITHIN + STALL, "{took:?}");
    drop(appliance);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn lamps_are_unknown_within_two_seconds_when_the_network_is_gone_without_a_word() -> Result<()> {
    let _turn = turn().await;
    let vmix = FakeVmix::start(0, 3).await?;
    vmix.set_tally("120");
    let network = Network::before(vmix.port).await?;
    let (_appliance, lamps) = box_at(network.port).await?;
    on_air(&lamps).await?;
    let cut = monotonic()?;
    network.cut(true);
    // What happens behind a network that is gone reaches nobody.
    vmix.set_tally("021");
    let took = unknown_after(&lamps, cut).await?;
    println!("the network goes: {took:?}");
    assert!(took <= WITHIN + STALL, "{took:?}");
    vmix.set_tally("120");
    network.cut(false);
    on_air(&lamps).await
}

#[tokio::test(flavor = "multi_thread")]
async fn lamps_are_unknown_within_two_seconds_when_the_program_is_killed_or_stands_still() -> Result<()> {
    let _turn = turn().await;
    let Studio { vmix: _vmix, mut appliance, lamps } = studio().await?;
    appliance.signal(Signal::SIGSTOP)?;
    let stopped = monotonic()?;
    let took = unknown_after(&lamps, stopped).await?;
    println!("the program stands still: {took:?}");
    assert!(took <= WITHIN + STALL, "{took:?}");
    appliance.signal(Signal::SIGCONT)?;
    on_air(&lamps).await?;

    let killed = monotonic()?;
    appliance.signal(Signal::SIGKILL)?;
    let took = unknown_after(&lamps, killed).await?;
    println!("the program is killed: {took:?}");
    assert!(took <= WITHIN + STALL, "{took:?}");
    appliance.restart().await?;
    on_air(&lamps).await
}

#[tokio::test(flavor = "multi_thread")]
async fn an_order_that_waited_while_the_lamp_process_stood_still_is_not_shown_for_longer_than_it_holds() -> Result<()> {
    let _turn = turn().await;
    let Studio { vmix: _vmix, appliance, lamps } = studio().await?;
    lamps.signal(Signal::SIGSTOP)?;
    // Orders wait in the socket now, and the last one is of a program that stands still as well.
    tokio::time::sleep(Duration::from_millis(600)).await;
    appliance.signal(Signal::SIGSTOP)?;
    tokio::time::sleep(WITHIN).await;
    let continued = monotonic()?;
    lamps.signal(Signal::SIGCONT)?;
    let took = unknown_after(&lamps, continued).await?;
    println!("the order had waited: {took:?}");
    // It is too old already; one second is what a busy machine may need to give the process its turn.
    assert!(took < Duration::from_secs(1), "{took:?}");
    appliance.signal(Signal::SIGCONT)?;
    on_air(&lamps).await
}

#[tokio::test(flavor = "multi_thread")]
async fn what_vmix_said_while_the_program_stood_still_is_not_taken_for_what_it_says_now() -> Result<()> {
    let _turn = turn().await;
    let vmix = FakeVmix::start(0, 3).await?;
    vmix.set_tally("120");
    let network = Network::before(vmix.port).await?;
    let (appliance, lamps) = box_at(network.port).await?;
    on_air(&lamps).await?;
    appliance.signal(Signal::SIGSTOP)?;
    // A last line for the program, and then nothing any more, and not a word of that.
    vmix.set_tally("102");
    tokio::time::sleep(Duration::from_millis(200)).await;
    let cut = monotonic()?;
    network.cut(true);
    // Not for as long as vMix may be silent: to the program, that line is the newest.
    tokio::time::sleep(Duration::from_secs(1)).await;
    appliance.signal(Signal::SIGCONT)?;
    let took = unknown_after(&lamps, cut).await?;
    println!("the network goes while the program stands still: {took:?}");
    assert!(took <= WITHIN + STALL, "{took:?}");
    network.cut(false);
    on_air(&lamps).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lamp_process_that_was_killed_begins_with_unknown_and_is_missed_meanwhile() -> Result<()> {
    let _turn = turn().await;
    let Studio { vmix: _vmix, appliance, mut lamps } = studio().await?;
    lamps.signal(Signal::SIGKILL)?;
    lamps.ended()?;
    let problem = |status: &serde_json::Value, code: &str| {
        status["problems"].as_array().is_some_and(|all| all.iter().any(|problem| problem["code"] == code))
    };
    until("the problem", SOON, || async { problem(&appliance.status().await.ok()?, "lamps_gone").then_some(()) })
        .await?;
    let started = monotonic()?;
    let lamps = Lamps::start(&appliance)?;
    on_air(&lamps).await?;
    let edges = lamps.edges()?;
    let first: Vec<(u8, bool)> =
        edges.iter().filter(|edge| edge.at >= started).map(|edge| (edge.pin, edge.high)).collect();
    // Each is taken dark; then camera A's both lights flash.
    let dark = first.iter().position(|edge| *edge == (A_PROGRAM, false));
    let flash = first.iter().position(|edge| *edge == (A_PREVIEW, true));
    assert!(dark.is_some() && dark < flash, "{first:?}");
    assert_eq!(first.iter().find(|(pin, _)| *pin == 5), Some(&(5, true)), "what a low level lights is taken high");
    until("it to be mended", SOON, || async { (!problem(&appliance.status().await.ok()?, "lamps_gone")).then_some(()) })
        .await
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_lit_when_the_lamp_process_was_told_to_stop() -> Result<()> {
    let _turn = turn().await;
    let Studio { vmix: _vmix, appliance: _appliance, mut lamps } = studio().await?;
    lamps.signal(Signal::SIGTERM)?;
    assert_eq!(lamps.ended()?.code(), Some(0));
    for (pin, dark) in [(17, false), (27, false), (5, true), (6, true), (4, true), (26, false)] {
        assert_eq!(lamps.level(pin)?, Some(dark), "GPIO {pin}");
    }
    assert_eq!(lamps.leds().as_deref(), Some("000000000000000000"));
    Ok(())
}

/// What is between the box and vMix. Cut, it carries nothing more and says nothing of it: no connection ends.
struct Network {
    port: u16,
    cut: Arc<AtomicBool>,
    _task: tokio::task::JoinSet<()>,
}

impl Network {
    async fn before(vmix: u16) -> Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let port = listener.local_addr()?.port();
        let cut = Arc::new(AtomicBool::new(false));
        let mut task = tokio::task::JoinSet::new();
        let is_cut = cut.clone();
        task.spawn(async move {
            let mut links = tokio::task::JoinSet::new();
            while let Ok((near, _)) = listener.accept().await {
                let Ok(far) = TcpStream::connect(("127.0.0.1", vmix)).await else { return };
                let ((near_in, near_out), (far_in, far_out)) = (near.into_split(), far.into_split());
                links.spawn(carry(near_in, far_out, is_cut.clone()));
                links.spawn(carry(far_in, near_out, is_cut.clone()));
            }
        });
        Ok(Self { port, cut, _task: task })
    }

    fn cut(&self, cut: bool) {
        self.cut.store(cut, Ordering::Relaxed);
    }
}

async fn carry(
    mut from: tokio::net::tcp::OwnedReadHalf,
    mut to: tokio::net::tcp::OwnedWriteHalf,
    cut: Arc<AtomicBool>,
) {
    let mut bytes = [0; 4096];
    while let Ok(length) = from.read(&mut bytes).await {
        while cut.load(Ordering::Relaxed) {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        let Some(read) = bytes.get(..length).filter(|read| !read.is_empty()) else { return };
        if to.write_all(read).await.is_err() {
            return;
        }
    }
}
