//! Bad networks: what was lost comes again, and a viewer who cannot be helped degrades alone.

use crate::media::{assert_flawless, live, wait_live};
use crate::support::appliance::{Appliance, Settings};
use crate::support::impair::{Link, Relay};
use crate::support::receiver::Options;
use crate::support::receiver::Stats;
use crate::support::source::{Ffmpeg, Picture};
use crate::support::stalls::Stalls;
use crate::support::viewer::{Setup, WhepViewer};
use crate::support::{Result, until};
use crate::{SOON, turn};
use std::net::Ipv4Addr;
use std::time::Duration;

const PICTURE: Picture =
    Picture { size: "640x360", rate: 30, bitrate: "2M", gop: 30, b_frames: 0, sound: true, codec: "libx264" };
/// Ticks from one picture to the next.
const STEP: u32 = 3000;
const CLEAN: Link = Link { loss: 0.0, bursts: None, delay: Duration::ZERO, jitter: Duration::ZERO, rate: None };

/// A viewer behind a relay; the relay does no harm yet.
async fn behind_a_relay(appliance: &Appliance, seed: u64) -> Result<(WhepViewer, Relay)> {
    let relay = Relay::start((Ipv4Addr::LOCALHOST, appliance.webrtc_port).into(), seed, None)?;
    // What is asked for again is waited for, however long the machine stands still meanwhile.
    let receive = Options { patience: SOON, ..Options::default() };
    let setup = Setup { through: Some(relay.address), receive, ..Setup::default() };
    let viewer = WhepViewer::connect_with(&appliance.whep("pgm"), setup).await?;
    viewer.wait("the first picture", SOON, |stats| stats.frames > 0).await?;
    Ok((viewer, relay))
}

/// No picture was left out.
fn assert_continuous(viewer: &WhepViewer) -> Stats {
    let stats = viewer.stats();
    assert_eq!((stats.lost, stats.broken_frames, stats.undecodable), (0, 0, 0), "{stats:?}");
    assert_eq!((stats.malformed, stats.undecipherable, stats.timestamp_faults), (0, 0, 0), "{stats:?}");
    let seen = viewer.seen();
    let steps = seen.windows(2).map(|two| two[1].timestamp.wrapping_sub(two[0].timestamp));
    let is_gap = |step: &u32| step.abs_diff(STEP) > STEP / 3;
    // The pictures it catches up with, less than a group of them, are stamped as they leave.
    let caught_up = steps.clone().take_while(is_gap).count();
    assert!(caught_up < PICTURE.gop as usize && seen.len() > caught_up + 1, "{caught_up} of {}; {stats:?}", seen.len());
    let gaps: Vec<_> = steps.skip(caught_up).filter(is_gap).collect();
    assert!(gaps.is_empty(), "pictures are left out: {gaps:?}; {stats:?}");
    stats
}

/// Watches 150 pictures over a link of that kind, both ways; gives what the viewer and its network counted.
async fn watch_over(link: Link, seed: u64) -> Result<(Stats, u64)> {
    let _turn = turn().await;
    let (appliance, _source) = live(Settings::default(), &PICTURE).await?;
    let (viewer, relay) = behind_a_relay(&appliance, seed).await?;
    let other = WhepViewer::connect(&appliance.base(), "pgm").await?;
    relay.set(link, link);
    viewer.wait_frames(150, SOON).await?;
    // What is on its way when the loss ends must not count as never come.
    relay.set(CLEAN, CLEAN);
    viewer.wait_frames(15, SOON).await?;
    let stats = assert_continuous(&viewer);
    let well = assert_flawless(&other);
    assert!(well.frames >= 150, "it saw them as well: {well:?}");
    Ok((stats, relay.passed()[1].lost))
}

#[tokio::test(flavor = "multi_thread")]
async fn at_two_percent_loss_every_picture_comes_through() -> Result<()> {
    let stalls = Stalls::watch();
    let (stats, lost) = watch_over(Link { loss: 0.02, ..CLEAN }, 1).await?;
    assert!(lost > 10 && stats.recovered > 10, "{lost} lost; {stats:?}");
    let still = stalls.total();
    assert!(stats.longest_pause < Duration::from_millis(400) + still, "{still:?} standing still; {stats:?}");
    assert_eq!(stats.plis, 0, "{stats:?}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn at_five_percent_loss_every_picture_comes_through() -> Result<()> {
    let (stats, lost) = watch_over(Link { loss: 0.05, ..CLEAN }, 2).await?;
    assert!(lost > 30 && stats.recovered > 30, "{lost} lost; {stats:?}");
    assert_eq!(stats.plis, 0, "{stats:?}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn bursts_of_twenty_lost_packets_are_sent_again() -> Result<()> {
    // A period that divides nothing else, so that bursts hit pictures at ever other places.
    let (stats, lost) = watch_over(Link { bursts: Some((307, 20)), ..CLEAN }, 3).await?;
    assert!(lost >= 40 && stats.recovered >= 20, "{lost} lost; {stats:?}");
    assert_eq!(stats.plis, 0, "{stats:?}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn loss_on_a_link_with_a_long_way_is_made_good_all_the_same() -> Result<()> {
    let link = Link { loss: 0.03, delay: Duration::from_millis(20), jitter: Duration::from_millis(5), ..CLEAN };
    let (stats, lost) = watch_over(link, 4).await?;
    assert!(lost > 10 && stats.recovered > 10, "{lost} lost; {stats:?}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_viewer_on_too_narrow_a_link_degrades_alone_and_comes_back() -> Result<()> {
    let _turn = turn().await;
    let (appliance, _source) = live(Settings::default(), &PICTURE).await?;
    let stalls = Stalls::watch();
    let (viewer, relay) = behind_a_relay(&appliance, 5).await?;
    let other = WhepViewer::connect(&appliance.base(), "pgm").await?;
    other.wait("the first picture", SOON, |stats| stats.frames > 0).await?;
    relay.set(CLEAN, Link { rate: Some((600_000, 20_000)), ..CLEAN });
    tokio::time::sleep(Duration::from_secs(4)).await;
    let poor = viewer.stats();
    assert!(relay.passed()[1].overflowed > 100, "{:?}", relay.passed());
    assert!(poor.ended.is_none(), "{poor:?}");
    relay.set(CLEAN, CLEAN);
    let well = viewer.wait_frames(60, SOON).await?;
    let (broken, at) = (well.broken_frames, well.frames);
    let later = viewer.wait_frames(60, SOON).await?;
    assert_eq!((later.broken_frames, later.frames - at >= 60), (broken, true), "it stays well: {later:?}");
    let stats = assert_flawless(&other);
    assert!(
        stats.frames >= 120 && stats.longest_pause < Duration::from_millis(250) + stalls.total(),
        "the other one noticed: {stats:?}; {:?} standing still",
        stalls.total()
    );
    assert_continuous(&other);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_sender_s_network_loses_is_made_good_before_any_viewer_sees_it() -> Result<()> {
    let _turn = turn().await;
    let appliance = Appliance::start(Settings::default()).await?;
    let relay = Relay::start((Ipv4Addr::LOCALHOST, appliance.srt_port).into(), 6, None)?;
    // A repair that comes later than agreed is no repair, and a machine may stand still for longer than 120 ms.
    let url = format!("srt://127.0.0.1:{}?streamid=pgm&latency=2000000", relay.address.port());
    let _source = Ffmpeg::publish(&url, &PICTURE)?;
    wait_live(&appliance, "pgm").await?;
    let viewer = WhepViewer::connect(&appliance.base(), "pgm").await?;
    viewer.wait("the first picture", SOON, |stats| stats.frames > 0).await?;
    let link = Link { loss: 0.03, ..CLEAN };
    relay.set(link, link);
    until("enough to be lost", SOON, || async { (relay.passed()[0].lost > 30).then_some(()) }).await?;
    relay.set(CLEAN, CLEAN);
    viewer.wait_frames(15, SOON).await?;
    assert_flawless(&viewer);
    assert_continuous(&viewer);
    Ok(())
}
