//! Picture: from a source to viewers, whole.

use crate::support::appliance::{Appliance, Settings};
use crate::support::receiver::{Options, Stats};
use crate::support::source::{Ffmpeg, Picture, decode};
use crate::support::viewer::{Setup, WhepViewer, crowd};
use crate::support::{Result, until};
use crate::{SOON, stream, turn, video};
use std::time::Duration;

/// What must hold for a viewer whose network loses nothing.
pub fn assert_flawless(viewer: &WhepViewer) -> Stats {
    assert_eq!(viewer.socket_drops(), 0, "the test itself could not keep up");
    let stats = viewer.stats();
    assert_eq!(stats.ended, None, "{stats:?}");
    assert_eq!((stats.lost, stats.recovered, stats.nacks), (0, 0, 0), "{stats:?}");
    assert_eq!((stats.broken_frames, stats.undecodable, stats.malformed), (0, 0, 0), "{stats:?}");
    assert_eq!((stats.bare_idrs, stats.unmarked, stats.timestamp_faults), (0, 0, 0), "{stats:?}");
    assert_eq!((stats.undecipherable, stats.duplicates, stats.ssrc_changes), (0, 0, 0), "{stats:?}");
    stats
}

/// Starts a box with ffmpeg publishing `pgm`, and waits until it is live.
pub async fn live(settings: Settings, picture: &Picture) -> Result<(Appliance, Ffmpeg)> {
    let appliance = Appliance::start(settings).await?;
    let source = Ffmpeg::publish(&appliance.srt("pgm"), picture)?;
    wait_live(&appliance, "pgm").await?;
    Ok((appliance, source))
}

/// Waits until the status calls a stream live and knows its size; gives its video track.
pub async fn wait_live(appliance: &Appliance, name: &str) -> Result<serde_json::Value> {
    until(&format!("{name} to be live"), SOON, || async {
        let status = appliance.status().await.ok()?;
        let live = stream(&status, name).filter(|stream| stream["live"] == true)?;
        video(live).cloned()
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_feed_from_ffmpeg_reaches_a_viewer_whole() -> Result<()> {
    let _turn = turn().await;
    let (appliance, _source) = live(Settings::default(), &Picture::default()).await?;
    let setup = Setup { receive: Options { keep_bitstream: true, ..Options::default() }, ..Setup::default() };
    let viewer = WhepViewer::connect_with(&appliance.whep("pgm"), setup).await?;
    viewer.wait("a picture", SOON, |stats| stats.frames > 0).await?;
    let stats = viewer.wait("90 pictures", SOON, |stats| stats.frames >= 90 && stats.sender_reports > 0).await?;
    assert_flawless(&viewer);
    assert!(stats.idrs >= 3, "an IDR picture a second: {stats:?}");
    assert_eq!(stats.playout_delay, (stats.packets, Some((0, 0))), "the viewer is asked to hold nothing back");
    assert!(stats.consents > 0, "{stats:?}");
    assert_eq!(stats.nal_types & (1 << 9 | 1 << 12), 0, "delimiters and filler stay here");
    assert!(viewer.answer.ice_lite);
    let decoded = decode(viewer.bitstream())?;
    assert!(decoded.pictures >= 90, "ffmpeg decodes what the viewer got: {decoded:?}");
    assert_eq!(decoded.complaints, "");
    assert_eq!(decoded.size, "320x180");
    viewer.close().await?;
    until("the viewer to be gone", SOON, || async {
        let status = appliance.status().await.ok()?;
        stream(&status, "pgm").filter(|stream| stream["viewers"] == 0).map(drop)
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_viewer_without_aes_gcm_is_served_with_aes_cm() -> Result<()> {
    let _turn = turn().await;
    let (appliance, _source) = live(Settings::default(), &Picture::default()).await?;
    let setup = Setup { only_aes_cm: true, ..Setup::default() };
    let viewer = WhepViewer::connect_with(&appliance.whep("pgm"), setup).await?;
    let stats = viewer.wait_frames(60, SOON).await?;
    assert_eq!(stats.profile, "Aes128CmHmacSha1_80");
    assert_flawless(&viewer);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_viewer_on_a_lossy_network_gets_everything_by_retransmission() -> Result<()> {
    let _turn = turn().await;
    let picture = Picture { bitrate: "2M", size: "640x360", ..Picture::default() };
    let (appliance, _source) = live(Settings::default(), &picture).await?;
    let receive = Options { drop_fraction: 0.03, ..Options::default() };
    let lossy = WhepViewer::connect_with(&appliance.whep("pgm"), Setup { receive, ..Setup::default() }).await?;
    let clean = WhepViewer::connect(&appliance.base(), "pgm").await?;
    let stats = lossy.wait_frames(150, SOON).await?;
    assert!(stats.dropped > 10, "{stats:?}");
    assert_eq!((stats.lost, stats.broken_frames, stats.plis), (0, 0, 0), "{stats:?}");
    assert!(stats.recovered + 5 >= stats.dropped, "all but the newest are back: {stats:?}");
    let stats = assert_flawless(&clean);
    assert!(stats.frames >= 140, "it saw them as well: {stats:?}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn fifty_viewers_lose_nothing() -> Result<()> {
    let _turn = turn().await;
    let picture = Picture { bitrate: "4M", size: "1280x720", ..Picture::default() };
    let (appliance, _source) = live(Settings::default(), &picture).await?;
    let viewers = crowd(50, &appliance.whep("pgm"), |_| Setup::default()).await?;
    for viewer in &viewers {
        viewer.wait("the first picture", SOON, |stats| stats.frames > 0).await?;
    }
    tokio::time::sleep(Duration::from_secs(8)).await;
    let status = appliance.status().await?;
    assert_eq!(stream(&status, "pgm").map(|stream| &stream["viewers"]), Some(&50.into()), "{status}");
    for viewer in &viewers {
        let stats = assert_flawless(viewer);
        assert!(stats.frames >= 220, "30 pictures a second for 8 s: {stats:?}");
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_viewer_over_ipv6_is_served_beside_one_over_ipv4() -> Result<()> {
    let _turn = turn().await;
    let settings = Settings { host: "[::]", ..Settings::default() };
    let (appliance, _source) = live(settings, &Picture::default()).await?;
    let six = Setup { ipv6: true, ..Setup::default() };
    let endpoint = format!("http://[::1]:{}/pgm/whep", appliance.http_port);
    let six = WhepViewer::connect_with(&endpoint, six).await?;
    let four = WhepViewer::connect(&appliance.base(), "pgm").await?;
    for viewer in [six, four] {
        viewer.wait_frames(30, SOON).await?;
        assert_flawless(&viewer);
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_viewer_may_come_before_the_source_or_is_told_to_come_again() -> Result<()> {
    let _turn = turn().await;
    let appliance = Appliance::start(Settings::default()).await?;
    let refused = WhepViewer::connect(&appliance.base(), "pgm").await.err().ok_or("joined what is not live")?;
    let refused = refused.downcast::<crate::support::viewer::Refused>()?;
    assert_eq!(refused.0.status, 409, "{refused}");
    assert!(refused.0.header("retry-after").is_some(), "{refused}");
    assert_eq!(refused.0.json()?["code"], "not_live");
    Ok(())
}
