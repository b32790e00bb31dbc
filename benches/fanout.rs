//! What viewers cost: the box as a child process, ffmpeg in front of it, viewers that decrypt
//! behind it, and the box's own CPU time and memory.
//!
//! `cargo bench --bench fanout`, or with other numbers of viewers: `cargo bench --bench fanout -- 1 100`.
//! Only the box's process is counted; on loopback that includes the kernel's delivery to the viewers.

#[path = "../tests/support/mod.rs"]
mod support;

use std::time::Duration;
use support::appliance::{Appliance, Settings};
use support::source::{Ffmpeg, Picture};
use support::viewer::{Setup, WhepViewer, crowd};
use support::vmix::FakeVmix;
use support::ws::{Socket, tally_of};
use support::{Result, now, percentile, until};

const SETTLE: Duration = Duration::from_secs(2);
const MEASURE: Duration = Duration::from_secs(10);
const PATIENCE: Duration = Duration::from_secs(30);

fn main() -> Result<()> {
    // `cargo test --all-targets` runs benches too, without this word; a minute of load is not a test.
    if !std::env::args().any(|word| word == "--bench") {
        return Ok(());
    }
    let counts: Vec<usize> = std::env::args().skip(1).filter_map(|word| word.parse().ok()).collect();
    let counts = if counts.is_empty() { vec![1, 10, 50, 200] } else { counts };
    tokio::runtime::Runtime::new()?.block_on(measure(&counts))
}

async fn measure(counts: &[usize]) -> Result<()> {
    let vmix = FakeVmix::start(0, 8).await?;
    let settings = Settings { vmix_port: vmix.port, show_log: false, ..Settings::default() };
    let appliance = Appliance::start(settings).await?;
    let picture = Picture { size: "1280x720", rate: 30, bitrate: "4M", gop: 30, ..Picture::default() };
    let source = Ffmpeg::publish(&appliance.srt("pgm"), &picture)?;
    until("the feed", PATIENCE, || async {
        let probe = WhepViewer::connect(&appliance.base(), "pgm").await.ok()?;
        probe.close().await.ok()
    })
    .await
    .map_err(|error| format!("{error}; ffmpeg: {}; box: {}", source.log(), appliance.log()))?;

    println!("720p30 H.264, 4 Mbit/s, 1 s GOP from ffmpeg over SRT; CPU and memory of the box's process alone");
    println!(
        "viewers  CPU s/s  per viewer  packets/s  µs/packet  µs/packet w/o ingest  RSS MB  peak MB  \
         lost  asked again  our drops  join p50 / max ms"
    );
    let idle = cpu_over(&appliance, MEASURE).await?;
    println!("{:>7}  {idle:>7.4}  {:>10}  {:>9}  {:>9}  {:>20}  {}", 0, "", "", "", "", memory(&appliance)?);
    for &count in counts {
        row(&appliance, count, &Setup::default(), idle).await?;
    }
    println!("with AES-CM and HMAC-SHA1, the cipher of browsers and boxes without AES-GCM:");
    row(&appliance, 50, &Setup { only_aes_cm: true, ..Setup::default() }, idle).await?;
    tally(&appliance, &vmix, "no viewers").await?;
    let viewers = crowd(50, &appliance.whep("pgm"), |_| Setup::default()).await?;
    tokio::time::sleep(SETTLE).await;
    tally(&appliance, &vmix, "50 viewers playing").await?;
    drop(viewers);
    Ok(())
}

async fn row(appliance: &Appliance, count: usize, setup: &Setup, idle: f64) -> Result<()> {
    let viewers = crowd(count, &appliance.whep("pgm"), |_| setup.clone()).await?;
    for viewer in &viewers {
        viewer.wait("the first picture", PATIENCE, |stats| stats.frames > 0).await?;
    }
    tokio::time::sleep(SETTLE).await;
    let packets = || viewers.iter().map(|viewer| viewer.stats().packets).sum::<u64>();
    let (began, before) = (now(), packets());
    let cpu = cpu_over(appliance, MEASURE).await?;
    let rate = (packets() - before) as f64 / began.elapsed().as_secs_f64();
    let memory = memory(appliance)?;
    let all: Vec<_> = viewers.iter().map(WhepViewer::stats).collect();
    let lost: u64 = all.iter().map(|stats| stats.lost).sum();
    let asked: u64 = all.iter().map(|stats| stats.recovered).sum();
    let drops: u64 = viewers.iter().map(WhepViewer::socket_drops).sum();
    let mut joins: Vec<_> = all.iter().filter_map(|stats| stats.first_frame).collect();
    joins.sort_unstable();
    println!(
        "{count:>7}  {cpu:>7.4}  {:>10.5}  {rate:>9.0}  {:>9.2}  {:>20.2}  {memory}  {lost:>4}  {asked:>11}  {drops:>9}  {:>8} / {}",
        cpu / count as f64,
        cpu / rate * 1e6,
        (cpu - idle) / rate * 1e6,
        percentile(&joins, 50.0).as_millis(),
        percentile(&joins, 100.0).as_millis(),
    );
    for viewer in viewers {
        viewer.close().await?;
    }
    Ok(())
}

async fn tally(appliance: &Appliance, vmix: &FakeVmix, beside: &str) -> Result<()> {
    let mut sockets = Vec::new();
    for _ in 0..50 {
        let mut socket = Socket::open(&appliance.authority()).await?;
        socket.send(r#"{"type":"watch","stream":"pgm"}"#).await?;
        socket.find("tally", PATIENCE, |message| message["source"] == "live").await?;
        sockets.push(socket);
    }
    // Each socket listens in a task of its own, so that one being read late delays no other's clock.
    let (report, mut reports) = tokio::sync::mpsc::unbounded_channel();
    let mut tasks = tokio::task::JoinSet::new();
    for mut socket in sockets {
        let report = report.clone();
        tasks.spawn(async move {
            let mut shown = 0;
            loop {
                let found = socket.find("tally", PATIENCE, |message| {
                    (1..=8).any(|input| input != shown && tally_of(message, input) == Some("program"))
                });
                let Ok((at, message)) = found.await else { return };
                shown = (1..=8).find(|&input| tally_of(&message, input) == Some("program")).unwrap_or_default();
                if report.send((at, shown)).is_err() {
                    return;
                }
            }
        });
    }
    let mut delays = Vec::new();
    for round in 0..200u64 {
        let program = round % 8 + 1;
        let digits: String = (1..=8).map(|input| if input == program { '1' } else { '0' }).collect();
        let sent = now();
        vmix.set_tally(&digits);
        let mut heard = 0;
        while heard < 50 {
            let next = tokio::time::timeout(Duration::from_secs(2), reports.recv()).await;
            let Ok(Some((at, shown))) = next else { break };
            if shown == program {
                delays.push(at.saturating_duration_since(sent));
                heard += 1;
            }
        }
        tokio::time::sleep(Duration::from_millis(23)).await;
    }
    delays.sort_unstable();
    println!(
        "tally, vMix line to 50 sockets, {beside}: p50 {:.2} ms, p99 {:.2} ms, max {:.2} ms ({} of {} arrived)",
        percentile(&delays, 50.0).as_secs_f64() * 1000.0,
        percentile(&delays, 99.0).as_secs_f64() * 1000.0,
        percentile(&delays, 100.0).as_secs_f64() * 1000.0,
        delays.len(),
        200 * 50
    );
    Ok(())
}

/// CPU seconds per second of the box over `time`.
async fn cpu_over(appliance: &Appliance, time: Duration) -> Result<f64> {
    let (began, before) = (now(), cpu(appliance.pid())?);
    tokio::time::sleep(time).await;
    Ok((cpu(appliance.pid())? - before) / began.elapsed().as_secs_f64())
}

/// CPU seconds of a process: the scheduler's own count of its threads, or the clock ticks of `stat`.
fn cpu(pid: u32) -> Result<f64> {
    let mut nanoseconds = 0u64;
    for task in std::fs::read_dir(format!("/proc/{pid}/task"))? {
        let text = std::fs::read_to_string(task?.path().join("schedstat")).unwrap_or_default();
        nanoseconds += text.split(' ').next().and_then(|first| first.parse::<u64>().ok()).unwrap_or_default();
    }
    if nanoseconds > 0 {
        return Ok(nanoseconds as f64 / 1e9);
    }
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat"))?;
    let after_name = stat.rsplit(')').next().unwrap_or_default();
    let ticks: u64 = after_name.split_whitespace().skip(11).take(2).filter_map(|tick| tick.parse::<u64>().ok()).sum();
    Ok(ticks as f64 / 100.0)
}

/// Resident memory now and at most, in columns.
fn memory(appliance: &Appliance) -> Result<String> {
    let status = std::fs::read_to_string(format!("/proc/{}/status", appliance.pid()))?;
    let of = |name: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(name)).unwrap_or_default();
        line.trim().trim_end_matches(" kB").parse::<f64>().unwrap_or_default() / 1024.0
    };
    Ok(format!("{:>6.1}  {:>7.1}", of("VmRSS:"), of("VmHWM:")))
}
