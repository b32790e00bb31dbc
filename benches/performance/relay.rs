//! How long a line of vMix's takes through the box to network lights.

use crate::report::Report;
use crate::support::appliance::{Appliance, Settings, free_port};
use crate::support::vmix::FakeVmix;
use crate::support::{Result, now, percentile, until};
use std::time::Duration;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Lines};
use tokio::net::TcpStream;

const LIGHTS: usize = 200;
const ROUNDS: usize = 200;
const PATIENCE: Duration = Duration::from_secs(10);

pub async fn measure(report: &mut Report) -> Result<()> {
    let vmix = FakeVmix::start(0, 8).await?;
    let port = free_port();
    let more = format!("[relay]\nlisten = \"127.0.0.1:{port}\"");
    let _box =
        Appliance::start(Settings { vmix_port: vmix.port, more, show_log: false, ..Settings::default() }).await?;
    // A light of vMix's own, beside those of the box: what the measurement itself takes.
    let (heard_by, mut reports) = tokio::sync::mpsc::unbounded_channel();
    let mut lights = tokio::task::JoinSet::new();
    for direct in std::iter::once(true).chain(std::iter::repeat_n(false, LIGHTS)) {
        let mut light = until("the relay", PATIENCE, || light(if direct { vmix.port } else { port })).await?;
        let heard_by = heard_by.clone();
        lights.spawn(async move {
            while let Ok(Some(line)) = light.next_line().await {
                if heard_by.send((now(), direct, line)).is_err() {
                    return;
                }
            }
        });
    }
    let (mut through, mut beside) = (Vec::new(), Vec::new());
    for round in 0..ROUNDS {
        let digits: String = (0..8).map(|input| if input == round % 8 { '1' } else { '0' }).collect();
        let line = format!("TALLY OK {digits}");
        let sent = now();
        vmix.set_tally(&digits);
        let mut heard = 0;
        while heard <= LIGHTS {
            let next = tokio::time::timeout(Duration::from_secs(2), reports.recv()).await;
            let Ok(Some((at, direct, told))) = next else { break };
            if told == line {
                if direct { &mut beside } else { &mut through }.push(at.saturating_duration_since(sent));
                heard += 1;
            }
        }
        tokio::time::sleep(Duration::from_millis(23)).await;
    }
    for (delays, what, lights) in [(beside, "a light of vMix's own", 1), (through, "network lights of the box", LIGHTS)]
    {
        let mut delays = delays;
        delays.sort_unstable();
        let ms = |percent| percentile(&delays, percent).as_secs_f64() * 1000.0;
        report.note(
            format!("tally, vMix's line to {lights} {what}, p50 / p99 / max; arrived"),
            format!("{:.2} / {:.2} / {:.2} ms; {} of {}", ms(50.0), ms(99.0), ms(100.0), delays.len(), ROUNDS * lights),
        );
    }
    Ok(())
}

/// A light that has subscribed; none while the box does not serve it yet.
async fn light(port: u16) -> Option<Lines<BufReader<TcpStream>>> {
    let stream = TcpStream::connect(("127.0.0.1", port)).await.ok()?;
    stream.set_nodelay(true).ok()?;
    let mut lines = BufReader::new(stream).lines();
    lines.next_line().await.ok()??;
    lines.get_mut().get_mut().write_all(b"SUBSCRIBE TALLY\r\n").await.ok()?;
    lines.next_line().await.ok()??;
    Some(lines)
}
