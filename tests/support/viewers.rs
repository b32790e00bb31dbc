//! Viewers that decrypt and count, against any box: `cargo run --example viewers -- URL COUNT SECONDS`.
//!
//! `URL` is a WHEP endpoint (`http://192.168.1.20:8889/pgm/whep`). Prints one JSON object, and fails when
//! anything was lost.

#[path = "mod.rs"]
mod support;

use std::time::Duration;
use support::viewer::{Setup, WhepViewer, crowd};
use support::{Result, percentile};

const USAGE: &str = "usage: viewers WHEP-URL [COUNT [SECONDS]]";

#[tokio::main]
async fn main() -> Result<()> {
    let mut words = std::env::args().skip(1);
    let endpoint = words.next().ok_or(USAGE)?;
    let count: usize = words.next().map_or(Ok(1), |word| word.parse()).map_err(|_| USAGE)?;
    let seconds: u64 = words.next().map_or(Ok(10), |word| word.parse()).map_err(|_| USAGE)?;

    let viewers = crowd(count, &endpoint, |_| Setup::default()).await?;
    for viewer in &viewers {
        viewer.wait("the first picture", Duration::from_secs(20), |stats| stats.frames > 0).await?;
    }
    tokio::time::sleep(Duration::from_secs(seconds)).await;

    let all: Vec<_> = viewers.iter().map(WhepViewer::stats).collect();
    let sum = |of: fn(&support::receiver::Stats) -> u64| all.iter().map(of).sum::<u64>();
    let mut joins: Vec<_> = all.iter().filter_map(|stats| stats.first_frame).collect();
    joins.sort_unstable();
    let report = serde_json::json!({
        "viewers": all.len(),
        "packets": sum(|stats| stats.packets),
        "payload_bytes": sum(|stats| stats.payload_bytes),
        "frames": sum(|stats| stats.frames),
        "fewest_frames": all.iter().map(|stats| stats.frames).min(),
        "idrs": sum(|stats| stats.idrs),
        "lost": sum(|stats| stats.lost),
        "recovered": sum(|stats| stats.recovered),
        "broken_frames": sum(|stats| stats.broken_frames),
        "undecipherable": sum(|stats| stats.undecipherable),
        "ended": all.iter().filter(|stats| stats.ended.is_some()).count(),
        "socket_drops": viewers.iter().map(WhepViewer::socket_drops).sum::<u64>(),
        "longest_pause_ms": all.iter().map(|stats| stats.longest_pause.as_millis() as u64).max(),
        "join_ms": { "p50": percentile(&joins, 50.0).as_millis() as u64, "max": percentile(&joins, 100.0).as_millis() as u64 },
    });
    println!("{report}");
    for viewer in viewers {
        viewer.close().await?;
    }
    if report["lost"] != 0 || report["ended"] != 0 {
        return Err("something was lost".into());
    }
    Ok(())
}
