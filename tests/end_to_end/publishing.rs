//! Who may send a stream, with the senders that people use: ffmpeg and srt-live-transmit.

use crate::media::wait_live;
use crate::support::appliance::{Appliance, Settings, command, free_port};
use crate::support::source::{Caller, ClipSender, Ffmpeg, Picture, clip};
use crate::support::viewer::WhepViewer;
use crate::support::{Result, until};
use crate::{SOON, stream, turn};
use std::process::{Child, Stdio};
use std::time::Duration;

const KEY: &str = "key-of-the-crane-7f3a";
const OTHER_KEY: &str = "key-of-the-jib-91c2";
const PASSPHRASE: &str = "correct-horse-battery";
const GUESSES: [&str; 3] = ["guess-of-ffmpeg-55", "guess-of-transmit-66", "guess-in-a-row-77"];

/// `srt-live-transmit`, which passes on what it gets over UDP, once it is taken.
struct Transmit(Child);

impl Transmit {
    fn start(port: u16, target: &str) -> Result<Self> {
        let from = format!("udp://127.0.0.1:{port}");
        let child = command("/usr/bin/srt-live-transmit")
            .args(["-a:no", "-loglevel:error", &from, target])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()?;
        Ok(Self(child))
    }

    async fn has_ended(&mut self) -> Result<()> {
        until("srt-live-transmit to give up", SOON, || {
            let ended = matches!(self.0.try_wait(), Ok(Some(_)));
            async move { ended.then_some(()) }
        })
        .await
    }
}

impl Drop for Transmit {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

async fn is_live(appliance: &Appliance, name: &str) -> Result<bool> {
    let status = appliance.status().await?;
    Ok(stream(&status, name).is_some_and(|stream| stream["live"] == true))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_with_a_key_is_taken_from_whoever_has_it_and_no_key_is_ever_told() -> Result<()> {
    let _turn = turn().await;
    let more = format!(
        "[log]\nlevel = \"trace\"\n\n[[stream]]\nname = \"crane\"\nkey = \"{KEY}\"\n\n\
         [[stream]]\nname = \"jib\"\nkey = \"{OTHER_KEY}\"\npassphrase = \"{PASSPHRASE}\"\n\n\
         [[stream]]\nname = \"spare\"\nkey = \"{OTHER_KEY}\"\n"
    );
    let appliance = Appliance::start(Settings { more, ..Settings::default() }).await?;
    let picture = Picture::default();
    let id = |name: &str, key: &str| format!("%23!::r={name},m=publish,s={key}");

    // Without the key, with a wrong one, with that of another stream: refused, and ffmpeg is told.
    for wrong in ["crane".to_owned(), id("crane", GUESSES[0]), id("crane", OTHER_KEY)] {
        let mut refused = Ffmpeg::publish(&appliance.srt(&wrong), &picture)?;
        until("ffmpeg to give up", SOON, || {
            let ended = refused.has_ended();
            async move { ended.then_some(()) }
        })
        .await
        .map_err(|error| format!("{wrong}: {error}; {}", refused.log()))?;
        assert!(!is_live(&appliance, "crane").await?, "{wrong}");
    }
    // The right one, as ffmpeg writes it and as MediaMTX does.
    for right in [id("crane", KEY), format!("publish:crane:camera:{KEY}")] {
        let source = Ffmpeg::publish(&appliance.srt(&right), &picture)?;
        wait_live(&appliance, "crane").await.map_err(|error| format!("{right}: {error}; {}", source.log()))?;
        drop(source);
        until("its end", SOON, || async { (!is_live(&appliance, "crane").await.ok()?).then_some(()) }).await?;
    }

    let _crane = Ffmpeg::publish(&appliance.srt(&id("crane", KEY)), &picture)?;
    wait_live(&appliance, "crane").await?;
    let viewer = WhepViewer::connect(&appliance.base(), "crane").await?;
    viewer.wait_frames(10, SOON).await?;

    // Key and passphrase together: both are needed.
    let port = free_port();
    let _feed = Ffmpeg::publish(&format!("udp://127.0.0.1:{port}?pkt_size=1316"), &picture)?;
    let jib = |key: &str, rest: &str| format!("{}{rest}", appliance.srt(&id("jib", key)));
    let encrypted = format!("&passphrase={PASSPHRASE}");
    for wrong in [jib(OTHER_KEY, ""), jib(OTHER_KEY, "&passphrase=guess-of-transmit-88"), jib(GUESSES[1], &encrypted)] {
        Transmit::start(port, &wrong)?.has_ended().await.map_err(|error| format!("{wrong}: {error}"))?;
        assert!(!is_live(&appliance, "jib").await?, "{wrong}");
    }
    let right = Transmit::start(port, &jib(OTHER_KEY, &encrypted))?;
    wait_live(&appliance, "jib").await?;
    drop(right);

    // Guesses are counted: ten within a minute from one address, and not even the right one is taken from there.
    let clip = clip(&picture, 20)?;
    let caller = |stream_id: String| Caller {
        port: appliance.srt_port,
        stream_id,
        passphrase: None,
        latency: Duration::from_millis(120),
    };
    for _ in 0..10 {
        let guess = caller(format!("#!::r=crane,m=publish,s={}", GUESSES[2]));
        let _ = tokio::time::timeout(Duration::from_secs(5), ClipSender::start(&guess, clip.clone())).await;
    }
    until("the guesser to be counted", SOON, || async {
        let status = appliance.status().await.ok()?;
        (status["access"]["locked_out"] == 1).then_some(())
    })
    .await?;
    let right = caller(format!("#!::r=spare,m=publish,s={OTHER_KEY}"));
    let late = tokio::time::timeout(Duration::from_secs(5), ClipSender::start(&right, clip)).await;
    assert!(!matches!(late, Ok(Ok(_))), "not even the right one is taken from there");
    assert!(!is_live(&appliance, "spare").await?);

    let stats = viewer.wait_frames(60, SOON).await?;
    assert_eq!((stats.lost, stats.broken_frames), (0, 0), "who is on air goes on: {stats:?}");
    let (log, status) = (appliance.log(), appliance.status().await?.to_string());
    for told in ["a wrong stream key", "may send (key)", "SRT sender refused"] {
        assert!(log.contains(told), "{told} is not in the log");
    }
    for secret in GUESSES.into_iter().chain([KEY, OTHER_KEY, PASSPHRASE, "guess-of-transmit-88"]) {
        for (place, text) in [("the log", &log), ("the status", &status)] {
            if let Some(line) = text.lines().find(|line| line.contains(secret)) {
                panic!("{secret} is in {place}: {line}");
            }
        }
    }
    Ok(())
}
