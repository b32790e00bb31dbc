//! Sources: every way a vMix or an encoder may come, and what the box says when one cannot be used.

use crate::media::wait_live;
use crate::support::appliance::{Appliance, Settings, command, free_port};
use crate::support::source::{Caller, ClipSender, Ffmpeg, Picture, clip};
use crate::support::viewer::{Refused, WhepViewer};
use crate::support::{Result, until};
use crate::{SOON, stream, turn};
use std::process::Stdio;
use std::time::Duration;

fn caller(appliance: &Appliance, stream_id: &str) -> Caller {
    Caller {
        port: appliance.srt_port,
        stream_id: stream_id.to_owned(),
        passphrase: None,
        latency: Duration::from_millis(120),
    }
}

/// Waits until the words of some problem in the status hold every one of `needles`.
async fn problem(appliance: &Appliance, needles: &[&str]) -> Result<()> {
    let found = until("the problem to be said", SOON, || async {
        let status = appliance.status().await.ok()?.to_string().to_lowercase();
        needles.iter().all(|needle| status.contains(needle)).then_some(())
    })
    .await;
    match found {
        Ok(()) => Ok(()),
        Err(error) => Err(format!("{error}: {needles:?} in {}", appliance.status().await?).into()),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_form_of_stream_id_finds_its_stream() -> Result<()> {
    let _turn = turn().await;
    let appliance = Appliance::start(Settings::default()).await?;
    let clip = clip(&Picture::default(), 20)?;
    let mut senders = Vec::new();
    for (stream_id, name) in [
        ("", "pgm"),
        ("one", "one"),
        ("publish:two", "two"),
        ("#!::r=live/three,m=publish", "three"),
        ("#!::h=live/four,m=publish", "four"),
        ("other/five", "other/five"),
    ] {
        senders.push(ClipSender::start(&caller(&appliance, stream_id), clip.clone()).await?);
        let viewer = until(name, SOON, || async { WhepViewer::connect(&appliance.base(), name).await.ok() }).await?;
        viewer.wait_frames(10, SOON).await.map_err(|error| format!("{stream_id:?}: {error}"))?;
        viewer.close().await?;
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn several_streams_at_once_keep_to_themselves() -> Result<()> {
    let _turn = turn().await;
    let appliance = Appliance::start(Settings::default()).await?;
    let sizes = [("pgm", "320x180"), ("iso", "160x96"), ("multiview", "480x272")];
    let mut sources = Vec::new();
    for (name, size) in sizes {
        sources.push(Ffmpeg::publish(&appliance.srt(name), &Picture { size, ..Picture::default() })?);
    }
    for (name, size) in sizes {
        let live = wait_live(&appliance, name).await?;
        assert_eq!(format!("{}x{}", live["width"], live["height"]), size, "{live}");
    }
    let mut viewers = Vec::new();
    for (name, _) in sizes {
        viewers.push(WhepViewer::connect(&appliance.base(), name).await?);
    }
    for viewer in &viewers {
        viewer.wait_frames(60, SOON).await?;
    }
    // One of them ends; the others do not notice.
    drop(sources.pop());
    for viewer in viewers.iter().take(2) {
        let stats = viewer.wait_frames(90, SOON).await?;
        assert_eq!((stats.lost, stats.broken_frames, stats.ssrc_changes), (0, 0, 0), "{stats:?}");
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn the_simulated_vmix_reaches_a_viewer() -> Result<()> {
    let _turn = turn().await;
    let appliance = Appliance::start(Settings::default()).await?;
    let mut simulator = command(env!("CARGO_BIN_EXE_returnfeed"))
        .args(["simulate", "--srt", &format!("srt://127.0.0.1:{}", appliance.srt_port)])
        .args(["--tcp-port", &free_port().to_string(), "--http-port", &free_port().to_string()])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()?;
    let watched = async {
        wait_live(&appliance, "pgm").await?;
        let viewer = WhepViewer::connect(&appliance.base(), "pgm").await?;
        let stats = viewer.wait_frames(150, SOON).await?;
        assert_eq!((stats.lost, stats.broken_frames, stats.timestamp_faults), (0, 0, 0), "{stats:?}");
        Ok(())
    }
    .await;
    simulator.kill()?;
    simulator.wait()?;
    watched
}

#[tokio::test(flavor = "multi_thread")]
async fn b_frames_are_named_and_what_to_change_with_them() -> Result<()> {
    let _turn = turn().await;
    let appliance = Appliance::start(Settings::default()).await?;
    let _source = Ffmpeg::publish(&appliance.srt("pgm"), &Picture { b_frames: 2, ..Picture::default() })?;
    problem(&appliance, &["b-frames"]).await?;
    let status = appliance.status().await?;
    let pgm = stream(&status, "pgm").ok_or("no pgm")?;
    assert_eq!(pgm["live"], true, "{pgm}");
    assert!(pgm["problem"].as_str().is_some_and(|text| text.contains("B-frames")), "{pgm}");
    if let Err(refused) = WhepViewer::connect(&appliance.base(), "pgm").await {
        let refused = refused.downcast::<Refused>()?;
        assert!((400..500).contains(&refused.0.status), "{refused}");
        assert_eq!(refused.0.json()?["code"], "b_frames", "{refused}");
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn the_right_passphrase_is_needed_and_a_wrong_one_is_called_wrong() -> Result<()> {
    let _turn = turn().await;
    let settings = Settings { passphrase: "correct horse battery".to_owned(), ..Settings::default() };
    let appliance = Appliance::start(settings).await?;
    let clip = clip(&Picture::default(), 20)?;
    let with = |stream_id: &str, size, text: &str| Caller {
        passphrase: Some((size, text.to_owned())),
        ..caller(&appliance, stream_id)
    };
    let mut good = Vec::new();
    for (stream_id, size) in [("a", 16), ("b", 24), ("c", 32)] {
        good.push(ClipSender::start(&with(stream_id, size, "correct horse battery"), clip.clone()).await?);
        wait_live(&appliance, stream_id).await?;
    }
    let viewer = WhepViewer::connect(&appliance.base(), "a").await?;
    viewer.wait_frames(10, SOON).await?;

    let wrong = with("d", 16, "wrong horse battery");
    let wrong = ClipSender::start(&wrong, clip.clone());
    let wrong = tokio::time::timeout(Duration::from_secs(5), wrong).await;
    problem(&appliance, &["passphrase"]).await?;
    let none = caller(&appliance, "e");
    let none = ClipSender::start(&none, clip.clone());
    let none = tokio::time::timeout(Duration::from_secs(5), none).await;
    tokio::time::sleep(Duration::from_millis(500)).await;
    let status = appliance.status().await?;
    for name in ["d", "e"] {
        assert!(stream(&status, name).is_none_or(|stream| stream["live"] != true), "{status}");
    }
    let log = appliance.log().to_lowercase();
    assert!(log.contains("passphrase"), "{log}");
    assert!(!log.contains("horse battery"), "a passphrase is in the log");
    drop((wrong, none));

    let stats = viewer.wait_frames(60, SOON).await?;
    assert_eq!((stats.lost, stats.broken_frames), (0, 0), "no other stream notices: {stats:?}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn an_encrypted_source_without_need_is_told_so_and_harms_nobody() -> Result<()> {
    let _turn = turn().await;
    let appliance = Appliance::start(Settings::default()).await?;
    let clip = clip(&Picture::default(), 20)?;
    let _good = ClipSender::start(&caller(&appliance, "pgm"), clip.clone()).await?;
    wait_live(&appliance, "pgm").await?;
    let viewer = WhepViewer::connect(&appliance.base(), "pgm").await?;
    viewer.wait_frames(10, SOON).await?;
    let caller = Caller { passphrase: Some((16, "nobody asked for it".to_owned())), ..caller(&appliance, "iso") };
    let refused = tokio::time::timeout(Duration::from_secs(5), ClipSender::start(&caller, clip)).await;
    problem(&appliance, &["passphrase"]).await?;
    drop(refused);
    let stats = viewer.wait_frames(60, SOON).await?;
    assert_eq!((stats.lost, stats.broken_frames), (0, 0), "{stats:?}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn the_box_calls_out_to_a_listening_encoder() -> Result<()> {
    let _turn = turn().await;
    let port = free_port();
    let listener = format!("srt://127.0.0.1:{port}?mode=listener&latency=120000");
    let mut encoder = Ffmpeg::publish(&listener, &Picture::default())?;
    let more = format!("[[stream]]\nname = \"pgm\"\nsource = \"srt://127.0.0.1:{port}\"\n");
    let appliance = Appliance::start(Settings { more, ..Settings::default() }).await?;
    wait_live(&appliance, "pgm").await.map_err(|error| format!("{error}; ffmpeg: {}", encoder.log()))?;
    let viewer = WhepViewer::connect(&appliance.base(), "pgm").await?;
    viewer.wait_frames(30, SOON).await?;
    // The encoder restarts; the box calls again by itself.
    assert!(!encoder.has_ended());
    drop(encoder);
    let _encoder = Ffmpeg::publish(&listener, &Picture::default())?;
    viewer.wait_frames(30, SOON).await?;
    Ok(())
}
