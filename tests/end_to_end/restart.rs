//! Sources that come and go under viewers that stay.

use crate::media::wait_live;
use crate::support::appliance::{Appliance, Settings};
use crate::support::source::{Caller, ClipSender, Ffmpeg, Picture, clip};
use crate::support::viewer::{Setup, WhepViewer, crowd};
use crate::support::{Result, now};
use crate::{SOON, turn};
use std::time::Duration;

/// When the first IDR picture came that `viewer` saw after `since`, if it did.
fn back(viewer: &WhepViewer, since: std::time::Instant) -> Option<std::time::Instant> {
    viewer.seen().iter().find(|picture| picture.idr && picture.at >= since).map(|picture| picture.at)
}

#[tokio::test(flavor = "multi_thread")]
async fn every_viewer_is_back_within_a_second_of_each_new_sources_first_idr() -> Result<()> {
    let _turn = turn().await;
    let appliance = Appliance::start(Settings::default()).await?;
    let clip = clip(&Picture { gop: 60, ..Picture::default() }, 20)?;
    let caller = Caller {
        port: appliance.srt_port,
        stream_id: "pgm".to_owned(),
        passphrase: None,
        latency: Duration::from_millis(120),
    };
    let mut source = ClipSender::start(&caller, clip.clone()).await?;
    wait_live(&appliance, "pgm").await?;
    let viewers = crowd(10, &appliance.whep("pgm"), |_| Setup::default()).await?;
    for viewer in &viewers {
        viewer.wait("the first picture", SOON, |stats| stats.frames > 0).await?;
    }
    let mut worst = Duration::ZERO;
    for restart in 1..=10 {
        // Odd ones end politely and leave a pause; even ones come while the old one still counts as live.
        drop(source);
        if restart % 2 == 1 {
            tokio::time::sleep(Duration::from_millis(700)).await;
        }
        let since = now();
        source = ClipSender::start(&caller, clip.clone()).await.map_err(|e| format!("restart {restart}: {e}"))?;
        let deadline = now() + SOON;
        while viewers.iter().any(|viewer| back(viewer, since).is_none()) {
            if now() > deadline {
                let stats: Vec<_> = viewers.iter().map(WhepViewer::stats).collect();
                return Err(format!("restart {restart}: not everybody is back: {stats:#?}").into());
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        let first_idr = *source.sent().first().ok_or("nothing sent")?;
        for viewer in &viewers {
            let late = back(viewer, since).unwrap_or(deadline).saturating_duration_since(first_idr);
            assert!(late <= Duration::from_secs(1), "restart {restart}: back only after {late:?}");
            worst = worst.max(late);
        }
    }
    println!("slowest return in ten restarts: {worst:?} after the new source's first IDR");
    for viewer in &viewers {
        let stats = viewer.wait_frames(30, SOON).await?;
        assert_eq!(stats.ended, None);
        assert_eq!((stats.lost, stats.ssrc_changes, stats.timestamp_faults), (0, 0, 0), "RTP goes on: {stats:?}");
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_ffmpeg_that_comes_back_differently_is_seen_by_the_same_viewers() -> Result<()> {
    let _turn = turn().await;
    let appliance = Appliance::start(Settings::default()).await?;
    let source = Ffmpeg::publish(&appliance.srt("pgm"), &Picture::default())?;
    wait_live(&appliance, "pgm").await?;
    let viewer = WhepViewer::connect(&appliance.base(), "pgm").await?;
    viewer.wait_frames(30, SOON).await?;
    drop(source);
    let picture = Picture { size: "480x272", rate: 25, gop: 25, ..Picture::default() };
    let _source = Ffmpeg::publish(&appliance.srt("pgm"), &picture)?;
    let stats = viewer.wait_frames(60, SOON).await?;
    assert_eq!((stats.lost, stats.ssrc_changes, stats.timestamp_faults), (0, 0, 0), "{stats:?}");
    let live = wait_live(&appliance, "pgm").await?;
    assert_eq!((live["width"].as_u64(), live["height"].as_u64()), (Some(480), Some(272)), "{live}");
    Ok(())
}
