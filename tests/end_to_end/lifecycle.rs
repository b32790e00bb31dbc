//! Signals, settings, exit codes.

use crate::media::live;
use crate::support::appliance::{Appliance, Settings, command, free_port};
use crate::support::source::Picture;
use crate::support::stalls::Stalls;
use crate::support::viewer::{Setup, crowd};
use crate::support::ws::Socket;
use crate::support::{Result, now, until};
use crate::{SOON, turn};
use nix::sys::signal::Signal;
use std::time::Duration;

#[tokio::test(flavor = "multi_thread")]
async fn sigterm_ends_it_within_two_seconds_with_viewers_and_sockets_open() -> Result<()> {
    let _turn = turn().await;
    let (mut appliance, _source) = live(Settings::default(), &Picture::default()).await?;
    let viewers = crowd(5, &appliance.whep("pgm"), |_| Setup::default()).await?;
    let mut sockets = Vec::new();
    for _ in 0..5 {
        sockets.push(Socket::open(&appliance.authority()).await?);
    }
    // A connection that sends nothing must not hold it either.
    let _idle = tokio::net::TcpStream::connect(appliance.authority()).await?;
    viewers.first().ok_or("no viewer")?.wait_frames(10, SOON).await?;
    let (asked, stalls) = (now(), Stalls::watch());
    appliance.signal(Signal::SIGTERM)?;
    let mut ended = None;
    while ended.is_none() && asked.elapsed() < SOON {
        tokio::time::sleep(Duration::from_millis(10)).await;
        ended = appliance.ended()?;
    }
    let took = asked.elapsed();
    let status = ended.ok_or("it does not end")?;
    assert!(took <= Duration::from_secs(2) + stalls.total(), "it took {took:?}");
    assert_eq!(status.code(), Some(0), "{status}");
    println!("SIGTERM to the end: {took:?}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn sighup_rereads_the_settings_and_keeps_the_viewers() -> Result<()> {
    let _turn = turn().await;
    let (mut appliance, _source) = live(Settings::default(), &Picture::default()).await?;
    let stalls = Stalls::watch();
    let viewers = crowd(3, &appliance.whep("pgm"), |_| Setup::default()).await?;
    let mut socket = Socket::open(&appliance.authority()).await?;
    for viewer in &viewers {
        viewer.wait_frames(10, SOON).await?;
    }
    appliance.rewrite(|settings| settings.more.push_str("[[camera]]\nname = \"Crane\"\ninputs = [1]\n"))?;
    appliance.signal(Signal::SIGHUP)?;
    socket.find("tally", SOON, |message| message["cameras"][0]["name"] == "Crane").await?;

    // What cannot be read is refused in words, and what was there goes on.
    appliance.rewrite(|settings| settings.more.push_str("this is no TOML\n"))?;
    appliance.signal(Signal::SIGHUP)?;
    until("the refusal to be logged", SOON, || async { appliance.log().contains("returnfeed.toml").then_some(()) })
        .await?;
    for viewer in &viewers {
        let stats = viewer.wait_frames(30, SOON).await?;
        assert_eq!((stats.lost, stats.broken_frames, stats.ssrc_changes), (0, 0, 0), "{stats:?}");
        assert!(stats.longest_pause < Duration::from_millis(500) + stalls.total(), "{stats:?}");
    }
    Ok(())
}

async fn run(arguments: &[&str]) -> Result<(Option<i32>, String)> {
    let arguments: Vec<String> = arguments.iter().map(|&word| word.to_owned()).collect();
    let done = tokio::task::spawn_blocking(move || {
        command(env!("CARGO_BIN_EXE_returnfeed")).args(arguments).stdin(std::process::Stdio::null()).output()
    });
    let done = tokio::time::timeout(SOON, done).await???;
    let said = String::from_utf8_lossy(&[done.stdout, done.stderr].concat()).into_owned();
    Ok((done.status.code(), said))
}

#[tokio::test(flavor = "multi_thread")]
async fn wrong_settings_are_refused_by_file_line_and_remedy_before_anything_is_bound() -> Result<()> {
    let directory = tempfile::tempdir()?;
    let file = directory.path().join("box.toml");
    std::fs::write(&file, "[http]\nlisten = \"127.0.0.1:1\"\n\n[srt]\nlatency = 120\n")?;
    let path = file.to_string_lossy().into_owned();
    for arguments in [["check", &path].as_slice(), &["run", "--config", &path]] {
        let (code, said) = run(arguments).await?;
        assert_eq!(code, Some(3), "{arguments:?}: {said}");
        assert!(said.contains("box.toml:5"), "{said}");
        assert!(said.contains("latency_ms"), "the remedy is named: {said}");
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_port_in_use_is_named_with_its_setting() -> Result<()> {
    let _turn = turn().await;
    let appliance = Appliance::start(Settings::default()).await?;
    let directory = tempfile::tempdir()?;
    let file = directory.path().join("box.toml");
    let (srt, webrtc) = (free_port(), free_port());
    let text = format!(
        "[http]\nlisten = \"127.0.0.1:{}\"\n[srt]\nlisten = \"127.0.0.1:{srt}\"\n[webrtc]\nlisten = \"127.0.0.1:{webrtc}\"\n",
        appliance.http_port
    );
    std::fs::write(&file, text)?;
    let (code, said) = run(&["run", "--config", &file.to_string_lossy()]).await?;
    assert_eq!(code, Some(4), "{said}");
    assert!(said.contains(&appliance.http_port.to_string()) && said.contains("[http]"), "{said}");
    Ok(())
}

#[tokio::test]
async fn version_and_help_say_what_they_should() -> Result<()> {
    let (code, said) = run(&["--version"]).await?;
    assert_eq!((code, said.trim()), (Some(0), concat!("returnfeed ", env!("CARGO_PKG_VERSION"))));
    let (code, said) = run(&["--help"]).await?;
    assert_eq!(code, Some(0));
    for word in ["run", "demo", "simulate", "check", "Exit codes"] {
        assert!(said.contains(word), "{said}");
    }
    Ok(())
}
