//! What the box does to delay, CPU and memory: a real sender in front of it, a real browser and crowds of
//! viewers behind it, all on this machine over loopback.
//!
//! `cargo bench --bench performance` measures everything (about 15 minutes); with words, only those parts:
//! `cargo bench --bench performance -- glass join`. `soak` runs only when named. Results are printed as one table
//! and written to `target/performance/`; `--document` also puts them into `docs/performance.md`.

#[path = "../../tests/support/mod.rs"]
mod support;

mod added;
mod crowd;
mod fanout;
mod glass;
mod join;
mod lamps;
mod plot;
mod relay;
mod report;
mod sound;
mod studio;

use report::Report;
use std::time::Duration;
use support::Result;
use support::chromium::Chromium;

const PARTS: [&str; 10] = ["glass", "delay", "join", "crowd", "loss", "sound", "fanout", "tally", "lamps", "relay"];
/// Half an hour: only when named.
const SOAK: &str = "soak";
const MINUTE: Duration = Duration::from_secs(60);

fn main() -> Result<()> {
    // `cargo test --all-targets` runs benches too, without this word; minutes of load are not a test.
    let words: Vec<String> = std::env::args().skip(1).collect();
    if !words.iter().any(|word| word == "--bench") {
        return Ok(());
    }
    let named: Vec<&str> = words.iter().map(String::as_str).filter(|word| !word.starts_with('-')).collect();
    let wanted = if named.is_empty() { PARTS.to_vec() } else { named };
    if let Some(unknown) = wanted.iter().find(|part| !PARTS.contains(part) && **part != SOAK) {
        return Err(format!("unknown part {unknown}; there are {PARTS:?} and {SOAK}").into());
    }
    let mut report = Report::load()?;
    let measured: Result<()> = tokio::runtime::Runtime::new()?.block_on(async {
        let browser = match Chromium::launch().await {
            Ok(browser) => browser.version().await.ok(),
            Err(_) => None,
        };
        for part in wanted {
            report.begin(part);
            match part {
                "glass" => glass::measure(&mut report, MINUTE).await?,
                "delay" => added::measure(&mut report, MINUTE / 2).await?,
                "join" => join::measure(&mut report, 2).await?,
                "crowd" => crowd::measure(&mut report).await?,
                "loss" => glass::measure_loss(&mut report, MINUTE).await?,
                "sound" => sound::measure(&mut report, MINUTE).await?,
                "fanout" => fanout::measure(&mut report).await?,
                "lamps" => lamps::measure(&mut report).await?,
                "tally" => fanout::measure_tally(&mut report).await?,
                "relay" => relay::measure(&mut report).await?,
                _ => fanout::soak(&mut report, 30).await?,
            }
            // After each: a part that fails must not cost those before it.
            report.save(browser.as_deref(), &PARTS)?;
        }
        Ok(())
    });
    measured?;
    if words.iter().any(|word| word == "--document") {
        report.document(&PARTS)?;
    }
    Ok(())
}
