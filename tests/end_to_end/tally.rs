//! Tally: from a vMix line to the sockets of the crew.

use crate::support::appliance::{Appliance, Settings};
use crate::support::source::{Ffmpeg, Picture};
use crate::support::stalls::Stalls;
use crate::support::vmix::{FakeVmix, Input};
use crate::support::ws::{Event, Socket, tally_of};
use crate::support::{Result, now, percentile};
use crate::{SOON, turn};
use std::time::Duration;

async fn studio(cameras: usize, more: &str) -> Result<(FakeVmix, Appliance)> {
    let vmix = FakeVmix::start(0, cameras).await?;
    let settings = Settings { vmix_port: vmix.port, more: more.to_owned(), ..Settings::default() };
    let appliance = Appliance::start(settings).await?;
    Ok((vmix, appliance))
}

fn live(message: &serde_json::Value) -> bool {
    message["source"] == "live"
}

#[tokio::test(flavor = "multi_thread")]
async fn a_line_from_vmix_reaches_fifty_sockets() -> Result<()> {
    let _turn = turn().await;
    let (vmix, appliance) = studio(4, "").await?;
    let mut sockets = Vec::new();
    for _ in 0..50 {
        let mut socket = Socket::open(&appliance.authority()).await?;
        // As the page does: what else is sent must not hold tally up.
        socket.send(r#"{"type":"watch","stream":"pgm"}"#).await?;
        socket.find("tally", SOON, live).await?;
        sockets.push(socket);
    }
    let (mut delays, stalls) = (Vec::new(), Stalls::watch());
    for round in 0..20usize {
        let program = round % 4;
        let digits: String = (0..4).map(|input| if input == program { '1' } else { '0' }).collect();
        let sent = now();
        vmix.set_tally(&digits);
        for socket in &mut sockets {
            let number = program as u64 + 1;
            let (at, _) = socket.find("tally", SOON, |message| tally_of(message, number) == Some("program")).await?;
            delays.push(at.saturating_duration_since(sent));
        }
        tokio::time::sleep(Duration::from_millis(37)).await;
    }
    delays.sort_unstable();
    let (half, most) = (percentile(&delays, 50.0), percentile(&delays, 99.0));
    println!("vMix line to 50 sockets: p50 {half:?}, p99 {most:?}");
    // The target is 10 ms and `make bench` measures it; here only nonsense fails, for the machine may be busy.
    assert!(most < Duration::from_millis(250) + stalls.total(), "p99 {most:?}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_socket_that_was_too_slow_hears_the_newest_state_and_no_backlog() -> Result<()> {
    const INPUTS: usize = 200;
    let _turn = turn().await;
    let (vmix, appliance) = studio(INPUTS, "").await?;
    let mut quick = Socket::open(&appliance.authority()).await?;
    let mut slow = Socket::open_narrow(&appliance.authority()).await?;
    slow.find("tally", SOON, live).await?;
    for program in 0..INPUTS {
        let digits: String = (0..INPUTS).map(|input| if input == program { '1' } else { '0' }).collect();
        vmix.set_tally(&digits);
        let number = program as u64 + 1;
        quick.find("tally", SOON, |message| tally_of(message, number) == Some("program")).await?;
    }
    let mut stale = 0;
    loop {
        let Event::Message(_, message) = slow.next(SOON).await? else { return Err("closed".into()) };
        if message["type"] == "tally" && tally_of(&message, INPUTS as u64) == Some("program") {
            break;
        }
        stale += 1;
    }
    println!("{stale} stale messages of {INPUTS}");
    assert!(stale <= INPUTS / 10, "{stale} stale messages before the newest");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_socket_hears_a_snapshot_first_and_something_every_second() -> Result<()> {
    let _turn = turn().await;
    let (vmix, appliance) = studio(3, "").await?;
    vmix.set_tally("012");
    let mut early = Socket::open(&appliance.authority()).await?;
    early.find("tally", SOON, |message| tally_of(message, 3) == Some("preview")).await?;

    for path in ["/ws/", "/ws"] {
        let mut socket = Socket::open_at(&format!("ws://{}{path}", appliance.authority())).await?;
        let Event::Message(_, first) = socket.next(SOON).await? else { return Err("closed at once".into()) };
        assert_eq!(first["type"], "tally", "the snapshot comes first: {first}");
        assert_eq!(first["source"], "live");
        assert_eq!(tally_of(&first, 1), Some("safe"));
        assert_eq!(tally_of(&first, 2), Some("program"));
        assert_eq!(tally_of(&first, 3), Some("preview"));
        let names = ["number", "key", "title", "kind", "tally"];
        assert!(names.iter().all(|name| !first["inputs"][0][name].is_null()), "{first}");
        for part in ["streaming", "recording", "external", "fade_to_black"] {
            assert_eq!(first["show"][part], false, "{first}");
        }
        assert!(first["age_ms"].as_f64().is_some_and(|age| age < 2000.0), "{first}");
        let (_, hello) = socket.find("hello", SOON, |_| true).await?;
        assert!(hello["now_ms"].is_f64() && hello["streams"].is_array() && hello["listen"].is_object(), "{hello}");

        let (mut last, stalls) = (now(), Stalls::watch());
        let mut sequence = first["seq"].as_u64().ok_or("no seq")?;
        for _ in 0..3 {
            let (at, message) = socket.find("tally", SOON, |_| true).await?;
            assert!(at - last < Duration::from_millis(1300) + stalls.total(), "silent for {:?}", at - last);
            let next = message["seq"].as_u64().ok_or("no seq")?;
            assert!(next >= sequence, "{next} after {sequence}");
            (last, sequence) = (at, next);
        }
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn vmix_is_found_by_its_feed_and_known_after_a_restart() -> Result<()> {
    let _turn = turn().await;
    let vmix = FakeVmix::start(0, 2).await?;
    vmix.set_tally("10");
    let settings = Settings { vmix_host: "auto", vmix_port: vmix.port, ..Settings::default() };
    let mut appliance = Appliance::start(settings).await?;
    let mut socket = Socket::open(&appliance.authority()).await?;
    let Event::Message(_, first) = socket.next(SOON).await? else { return Err("closed at once".into()) };
    assert_eq!(first["source"], "unknown", "{first}");
    assert_eq!(appliance.status().await?["vmix"]["state"], "waiting");

    let feed = Ffmpeg::publish(&appliance.srt("pgm"), &Picture::default())?;
    socket.find("tally", SOON, |message| tally_of(message, 1) == Some("program")).await?;
    drop(feed);
    appliance.restart().await?;
    let mut socket = Socket::open(&appliance.authority()).await?;
    socket.find("tally", SOON, |message| tally_of(message, 1) == Some("program")).await?;
    assert_eq!(appliance.status().await?["vmix"]["host"], "127.0.0.1");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn the_clock_of_the_box_can_be_asked() -> Result<()> {
    let _turn = turn().await;
    let appliance = Appliance::start(Settings::default()).await?;
    let mut socket = Socket::open(&appliance.authority()).await?;
    let (mut times, stalls) = (Vec::new(), Stalls::watch());
    for id in 1..=3u64 {
        let asked = now();
        socket.send(&format!("{{\"type\":\"ping\",\"id\":{id}}}")).await?;
        let (answered, clock) = socket.find("clock", SOON, |message| message["id"] == id).await?;
        let received = clock["received_ms"].as_f64().ok_or("no received_ms")?;
        times.push((asked, answered, received));
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    let &[(_, first, a), _, (_, last, b)] = times.as_slice() else { return Err("three answers".into()) };
    let here = (last - first).as_secs_f64() * 1000.0;
    let unsure = 100.0 + stalls.total().as_secs_f64() * 1000.0;
    assert!((b - a - here).abs() < unsure, "the box's clock moved {} ms in {here} ms", b - a);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn tally_is_unknown_within_two_seconds_however_vmix_goes_and_comes_back_by_itself() -> Result<()> {
    let _turn = turn().await;
    let (vmix, appliance) = studio(2, "").await?;
    let port = vmix.port;
    vmix.set_tally("10");
    let mut socket = Socket::open(&appliance.authority()).await?;
    let on_air = |message: &serde_json::Value| tally_of(message, 1) == Some("program");
    let unknown = |message: &serde_json::Value| message["source"] == "unknown";
    socket.find("tally", SOON, on_air).await?;

    let (frozen, stalls) = (now(), Stalls::watch());
    vmix.freeze(true);
    let (at, message) = socket.find("tally", SOON, unknown).await?;
    assert!(at - frozen <= Duration::from_millis(2100) + stalls.total(), "unknown only after {:?}", at - frozen);
    for input in message["inputs"].as_array().into_iter().flatten() {
        assert_eq!(input["tally"], "unknown", "{message}");
    }
    vmix.freeze(false);
    socket.find("tally", SOON, on_air).await?;

    let (closed, stalls) = (now(), Stalls::watch());
    drop(vmix);
    let (at, _) = socket.find("tally", SOON, unknown).await?;
    assert!(at - closed <= Duration::from_millis(2100) + stalls.total(), "unknown only after {:?}", at - closed);
    let vmix = FakeVmix::start(port, 2).await?;
    vmix.set_tally("10");
    socket.find("tally", SOON, on_air).await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_camera_keeps_its_inputs_when_vmix_renumbers_them() -> Result<()> {
    let _turn = turn().await;
    let [one, two, three] = [1, 2, 3].map(Input::camera);
    let more = format!("[[camera]]\nname = \"Crane\"\ninputs = [\"{}\"]\n", two.key);
    let (vmix, appliance) = studio(3, &more).await?;
    let mut socket = Socket::open(&appliance.authority()).await?;
    let crane = |message: &serde_json::Value, tally: &str, input: u64| {
        let camera = &message["cameras"][0];
        camera["name"] == "Crane" && camera["tally"] == tally && camera["inputs"] == serde_json::json!([input])
    };
    vmix.set_tally("010");
    socket.find("tally", SOON, |message| crane(message, "program", 2)).await?;
    vmix.set_inputs(vec![two, one, three]);
    vmix.set_tally("010");
    socket.find("tally", SOON, |message| crane(message, "safe", 1)).await?;
    vmix.set_tally("100");
    socket.find("tally", SOON, |message| crane(message, "program", 1)).await?;
    Ok(())
}
