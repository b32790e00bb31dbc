//! Sound: how far behind the picture a beep is heard that was made with a flash.

use crate::report::{Report, spread};
use crate::studio::{Studio, Take};
use crate::support::Result;
use crate::support::chromium::Chromium;
use crate::support::painter::{Encoding, slipping};
use std::time::Duration;

const SETTLE: Duration = Duration::from_secs(8);
/// A beep belongs to the flash that is less than this away, ms.
const NEAR_MS: f64 = 900.0;

/// Measures with the sender's sound well interleaved, as `-pes_payload_size 0` has it, and as ffmpeg does it unasked.
///
/// # Errors
/// The browser, the box or the sender fails.
pub async fn measure(report: &mut Report, time: Duration) -> Result<()> {
    for (how, more, demanded) in [
        ("well interleaved", vec!["-pes_payload_size".to_owned(), "0".to_owned()], true),
        ("in PES of 8", Vec::new(), false),
    ] {
        let encoding = Encoding { sound: true, frame_time: slipping(time), more, ..Encoding::default() };
        let studio = Studio::start(&encoding).await?;
        let browser = Chromium::launch().await?;
        let page = browser.open(&studio.page(), "", "{}").await?;
        tokio::time::sleep(SETTLE).await;
        if page.evaluate("__meter.listen()").await? != true {
            report.note(format!("sound, {how}"), "none is sent");
            continue;
        }
        let offset = page.clock_offset().await?;
        tokio::time::sleep(Duration::from_secs(2)).await;
        Take::of(&page).await?;
        tokio::time::sleep(time).await;
        let take = Take::of(&page).await?;
        let flashes: Vec<_> = take
            .frames
            .iter()
            .filter(|frame| frame.flash == 1)
            .filter_map(|frame| Some((frame.at, take.age(frame.painted?, frame.at, offset))))
            .collect();
        let pairs: Vec<_> = take
            .beeps
            .iter()
            .filter_map(|beep| Some((*beep, flashes.iter().find(|(at, _)| (beep - at).abs() < NEAR_MS)?)))
            .collect();
        let behind: Vec<f64> = pairs.iter().map(|(beep, (at, _))| beep - at).collect();
        let age: Vec<f64> = pairs.iter().map(|(beep, (at, age))| beep - at + age).collect();
        let met = behind.len() > 10 && behind.iter().all(|behind| (-10.0..=120.0).contains(behind));
        report.row(
            format!("sound behind its picture, {how}, p50 / p95 / max"),
            if demanded { "0–120 ms" } else { "" },
            spread(&behind),
            demanded.then_some(met),
        );
        report.note("  beep painted → heard, p50 / p95 / max", spread(&age));
        report.note("  glass to glass with sound, p50 / p95 / max", spread(&take.ages(offset, |shown| Some(shown.at))));
        let stats = page.evaluate("__meter.stats()").await?;
        let audio = |name: &str| stats["audio"][name].as_f64().unwrap_or(f64::NAN);
        report.note(
            "  beeps; jitter buffer of the sound, mean; samples concealed",
            format!(
                "{}; {:.1} ms; {}",
                behind.len(),
                audio("jitterBufferDelay") / audio("jitterBufferEmittedCount") * 1000.0,
                audio("concealedSamples"),
            ),
        );
    }
    Ok(())
}
