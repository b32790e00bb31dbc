//! What viewers cost: ffmpeg with picture and sound in front of the box, viewers that decrypt behind it, and the
//! box's own CPU time and memory. Only the box's process is counted; on loopback that includes the kernel's
//! delivery to the viewers.

use crate::report::Report;
use crate::support::appliance::{Appliance, Settings};
use crate::support::receiver::Stats;
use crate::support::source::{Ffmpeg, Picture};
use crate::support::viewer::{Setup, WhepViewer, crowd};
use crate::support::vmix::FakeVmix;
use crate::support::ws::{Socket, tally_of};
use crate::support::{Result, now, percentile, until};
use nix::time::ClockId;
use nix::unistd::Pid;
use std::time::Duration;

const SETTLE: Duration = Duration::from_secs(2);
const MEASURE: Duration = Duration::from_secs(10);
const PATIENCE: Duration = Duration::from_secs(30);
/// Pictures a second.
const RATE: u64 = 30;

/// A box with ffmpeg's picture and sound on air as `pgm`.
async fn on_air(vmix_port: u16) -> Result<(Appliance, Ffmpeg)> {
    on_air_with(vmix_port, "").await
}

/// The same with more settings.
///
/// # Errors
/// The box or the sender fails.
pub async fn on_air_with(vmix_port: u16, more: &str) -> Result<(Appliance, Ffmpeg)> {
    let settings = Settings { vmix_port, more: more.to_owned(), show_log: false, ..Settings::default() };
    let appliance = Appliance::start(settings).await?;
    let picture = Picture { size: "1280x720", rate: RATE as u32, bitrate: "4M", gop: 30, ..Picture::default() };
    let source = Ffmpeg::publish(&appliance.srt("pgm"), &picture)?;
    until("the feed", PATIENCE, || async {
        let probe = WhepViewer::connect(&appliance.base(), "pgm").await.ok()?;
        probe.close().await.ok()
    })
    .await
    .map_err(|error| format!("{error}; ffmpeg: {}; box: {}", source.log(), appliance.log()))?;
    Ok((appliance, source))
}

/// What a number of viewers cost.
#[derive(Clone, Copy, Debug)]
struct Cost {
    /// CPU seconds a second.
    cpu: f64,
    /// Packets a second.
    packets: f64,
    memory: f64,
}

/// Measures crowds of viewers.
///
/// # Errors
/// The box or the sender fails.
pub async fn measure(report: &mut Report) -> Result<()> {
    let (appliance, _source) = on_air(1).await?;
    tokio::time::sleep(SETTLE).await;
    let idle = cpu_over(&appliance, MEASURE).await?;
    report.note("no viewer: CPU; memory", format!("{idle:.4} s/s; {:.1} MB", memory(&appliance)?.0));
    let silent = Setup { no_sound: true, ..Setup::default() };
    cost(report, &appliance, (1, "with sound", &Setup::default())).await?;
    let fifty = cost(report, &appliance, (50, "with sound", &Setup::default())).await?;
    report.row(
        "CPU, 50 viewers with sound, ingest included",
        "≤ 0.06 s/s",
        format!("{:.3} s/s", fifty.cpu),
        Some(fifty.cpu <= 0.06),
    );
    report.row(
        "memory, 50 viewers with sound",
        "≤ 60 MB",
        format!("{:.1} MB", fifty.memory),
        Some(fifty.memory <= 60.0),
    );
    cost(report, &appliance, (50, "video only", &silent)).await?;
    let other = Setup { only_aes_cm: true, ..silent.clone() };
    cost(report, &appliance, (50, "video only, AES-CM with SHA-1", &other)).await?;
    let crowd = cost(report, &appliance, (200, "video only", &silent)).await?;
    let per_packet = crowd.cpu / crowd.packets * 1e6;
    report.row(
        "CPU per packet sent, 200 viewers, video only, ingest included",
        "≤ 1.3 µs with AES instructions",
        format!("{per_packet:.2} µs"),
        Some(per_packet <= 1.3),
    );
    Ok(())
}

async fn cost(report: &mut Report, appliance: &Appliance, who: (usize, &str, &Setup)) -> Result<Cost> {
    let (count, how, setup) = who;
    let viewers = crowd(count, &appliance.whep("pgm"), |_| setup.clone()).await?;
    for viewer in &viewers {
        viewer.wait("the first picture", PATIENCE, |stats| stats.frames > 0).await?;
    }
    tokio::time::sleep(SETTLE).await;
    let of = |what: fn(&Stats) -> u64| viewers.iter().map(|viewer| what(&viewer.stats())).sum::<u64>();
    let packets = || of(|stats| stats.packets + stats.sound_packets);
    let (began, before, sound_before) = (now(), packets(), of(|stats| stats.sound_packets));
    let cpu = cpu_over(appliance, MEASURE).await?;
    let seconds = began.elapsed().as_secs_f64();
    let rate = (packets() - before) as f64 / seconds;
    let sound = (of(|stats| stats.sound_packets) - sound_before) as f64 / seconds / count as f64;
    let (resident, most) = memory(appliance)?;
    let drops: u64 = viewers.iter().map(WhepViewer::socket_drops).sum();
    report.note(
        format!("{count} viewers {how}: CPU; packets a second, of them sound to each; CPU per packet"),
        format!("{cpu:.4} s/s; {rate:.0}, {sound:.0}; {:.2} µs", cpu / rate * 1e6),
    );
    report.note(
        "  memory now, at most; packets lost, asked for again; our drops",
        format!("{resident:.1}, {most:.1} MB; {}, {}; {drops}", of(|stats| stats.lost), of(|stats| stats.recovered)),
    );
    for viewer in viewers {
        viewer.close().await?;
    }
    Ok(Cost { cpu, packets: rate, memory: resident })
}

/// Fifty viewers with sound for a long time: memory must not grow.
///
/// # Errors
/// The box or the sender fails.
pub async fn soak(report: &mut Report, minutes: u64) -> Result<()> {
    /// What caches and pools need to reach their size.
    const WARM_UP: usize = 3;
    let (appliance, _source) = on_air(1).await?;
    let viewers = crowd(50, &appliance.whep("pgm"), |_| Setup::default()).await?;
    for viewer in &viewers {
        viewer.wait("the first picture", PATIENCE, |stats| stats.frames > 0).await?;
    }
    let mut minute = tokio::time::interval(Duration::from_secs(60));
    let mut memories = Vec::new();
    for _ in 0..=minutes {
        minute.tick().await;
        memories.push(memory(&appliance)?.0);
        println!("{:.1} MB", memories.last().copied().unwrap_or_default());
    }
    let settled = memories.get(WARM_UP..).unwrap_or_default();
    let least = settled.iter().copied().fold(f64::MAX, f64::min);
    let most = settled.iter().copied().fold(0.0, f64::max);
    report.row(
        format!("memory, 50 viewers with sound, over {minutes} minutes: least, most, at the end"),
        "≤ 60 MB, flat",
        format!("{least:.1}, {most:.1}, {:.1} MB", memories.last().copied().unwrap_or_default()),
        Some(most <= 60.0 && most - least <= 2.0),
    );
    // Memory that is flat because nobody is served would show nothing.
    let of = |what: fn(&Stats) -> u64| viewers.iter().map(move |viewer| what(&viewer.stats()));
    let fewest = of(|stats| stats.frames).min().unwrap_or_default();
    let (lost, ended) = (of(|stats| stats.lost).sum::<u64>(), of(|stats| stats.ended.is_some().into()).sum::<u64>());
    let wanted = minutes * 60 * RATE * 99 / 100;
    report.row(
        format!("pictures over {minutes} minutes, the fewest of any viewer; packets lost; viewers that ended"),
        format!("≥ {wanted}; none; none"),
        format!("{fewest}; {lost}; {ended}"),
        Some(fewest >= wanted && lost == 0 && ended == 0),
    );
    Ok(())
}

/// From a line of vMix to 50 WebSockets, without viewers and with fifty.
///
/// # Errors
/// The box or the sender fails.
pub async fn measure_tally(report: &mut Report) -> Result<()> {
    let vmix = FakeVmix::start(0, 8).await?;
    let (appliance, _source) = on_air(vmix.port).await?;
    tally(report, &appliance, &vmix, "no viewers").await?;
    let viewers = crowd(50, &appliance.whep("pgm"), |_| Setup::default()).await?;
    tokio::time::sleep(SETTLE).await;
    tally(report, &appliance, &vmix, "50 viewers playing").await?;
    drop(viewers);
    Ok(())
}

async fn tally(report: &mut Report, appliance: &Appliance, vmix: &FakeVmix, beside: &str) -> Result<()> {
    let mut sockets = Vec::new();
    for _ in 0..50 {
        let mut socket = Socket::open(&appliance.authority()).await?;
        socket.send(r#"{"type":"watch","stream":"pgm"}"#).await?;
        socket.find("tally", PATIENCE, |message| message["source"] == "live").await?;
        sockets.push(socket);
    }
    // Each socket listens in a task of its own, so that one being read late delays no other's clock.
    let (heard_by, mut reports) = tokio::sync::mpsc::unbounded_channel();
    let mut tasks = tokio::task::JoinSet::new();
    for mut socket in sockets {
        let heard_by = heard_by.clone();
        tasks.spawn(async move {
            let mut shown = 0;
            loop {
                let found = socket.find("tally", PATIENCE, |message| {
                    (1..=8).any(|input| input != shown && tally_of(message, input) == Some("program"))
                });
                let Ok((at, message)) = found.await else { return };
                shown = (1..=8).find(|&input| tally_of(&message, input) == Some("program")).unwrap_or_default();
                if heard_by.send((at, shown)).is_err() {
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
    let ms = |percent| percentile(&delays, percent).as_secs_f64() * 1000.0;
    report.note(
        format!("tally, vMix's line to 50 sockets, {beside}, p50 / p99 / max; arrived"),
        format!("{:.2} / {:.2} / {:.2} ms; {} of {}", ms(50.0), ms(99.0), ms(100.0), delays.len(), 200 * 50),
    );
    Ok(())
}

/// CPU seconds per second of the box over `time`.
async fn cpu_over(appliance: &Appliance, time: Duration) -> Result<f64> {
    let (began, before) = (now(), cpu(appliance.pid())?);
    tokio::time::sleep(time).await;
    Ok((cpu(appliance.pid())? - before) / began.elapsed().as_secs_f64())
}

/// CPU seconds of a process, those of threads that have ended included.
fn cpu(pid: u32) -> Result<f64> {
    let clock = ClockId::pid_cpu_clock_id(Pid::from_raw(pid.try_into()?))?;
    Ok(Duration::from(clock.now()?).as_secs_f64())
}

/// Resident memory of the box now, and the most it ever was, MB.
fn memory(appliance: &Appliance) -> Result<(f64, f64)> {
    let status = std::fs::read_to_string(format!("/proc/{}/status", appliance.pid()))?;
    let of = |name: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(name)).unwrap_or_default();
        line.trim().trim_end_matches(" kB").parse::<f64>().unwrap_or_default() / 1024.0
    };
    Ok((of("VmRSS:"), of("VmHWM:")))
}
