//! Glass to glass: from the moment a picture is painted to the moment the browser draws it.

use crate::plot::Plot;
use crate::report::{Report, percentile, spread};
use crate::studio::{Studio, Take};
use crate::support::Result;
use crate::support::chromium::{Chromium, Page};
use crate::support::impair::{Link, Relay};
use crate::support::painter::{Encoding, slipping};
use serde_json::Value;
use std::net::Ipv4Addr;
use std::time::Duration;

const SETTLE: Duration = Duration::from_secs(5);

/// Measures at both SRT latencies of the table.
///
/// # Errors
/// The browser, the box or the sender fails.
pub async fn measure(report: &mut Report, time: Duration) -> Result<()> {
    let mut plot = Plot::new(
        "Glass to glass: how old a picture is when the browser draws it",
        (0.0, 80.0, 10.0, "ms from painting to drawing"),
        (0.0, 100.0, 20.0, "% of pictures"),
    )?;
    for latency_ms in [20, 120] {
        let encoding = Encoding { latency_ms, frame_time: slipping(time), ..Encoding::default() };
        let studio = Studio::start(&encoding).await?;
        let browser = Chromium::launch().await?;
        let page = browser.open(&studio.page(), "", "{}").await?;
        let glass = Glass::watch(&page, time).await?;
        let (p50, p95) = (percentile(&glass.ages, 50.0), percentile(&glass.ages, 95.0));
        report.row(
            format!("glass to glass, SRT latency {latency_ms} ms, p50 / p95"),
            "≤ 35 / ≤ 50 ms",
            format!("{p50:.1} / {p95:.1} ms"),
            Some(p50 <= 35.0 && p95 <= 50.0),
        );
        glass.details(report);
        plot.distribution(&format!("SRT latency {latency_ms} ms"), &glass.ages)?;
    }
    plot.limit("p50", Some(35.0), None)?;
    plot.limit("p95", Some(50.0), None)?;
    plot.save("glass.svg")
}

/// Measures behind a link that loses 2 % both ways.
///
/// # Errors
/// As [`measure`].
pub async fn measure_loss(report: &mut Report, time: Duration) -> Result<()> {
    for percent in [2.0, 5.0] {
        let studio = Studio::start(&Encoding { frame_time: slipping(time), ..Encoding::default() }).await?;
        let relay = Relay::start((Ipv4Addr::LOCALHOST, studio.appliance.webrtc_port).into(), 1, None)?;
        let browser = Chromium::launch().await?;
        let through = format!(r#"{{"through": "127.0.0.1 {}"}}"#, relay.address.port());
        let page = browser.open(&studio.page(), "", &through).await?;
        tokio::time::sleep(SETTLE).await;
        let link = Link { loss: percent / 100.0, ..Link::default() };
        relay.set(link, link);
        let glass = Glass::watch(&page, time).await?;
        let freezes = glass.counter("freezeCount");
        let p95 = percentile(&glass.ages, 95.0);
        let longest = percentile(&glass.intervals, 100.0);
        let demanded = percent == 2.0;
        report.row(
            format!("{percent} % loss, {} s: freezes; glass to glass p95", time.as_secs()),
            if demanded { "0; ≤ 100 ms" } else { "" },
            format!("{freezes}; {p95:.1} ms"),
            demanded.then_some(freezes == 0.0 && p95 <= 100.0),
        );
        report.note("  lost on the way, by count of the link", format!("{} packets", relay.passed()[1].lost));
        report.note(
            "  time frozen; longest time between two pictures",
            format!("{:.2} s; {longest:.0} ms", glass.counter("totalFreezesDuration")),
        );
        glass.details(report);
    }
    Ok(())
}

/// What a page showed over a while.
#[derive(Debug)]
pub struct Glass {
    /// Age of each picture when its callback ran, ms.
    pub ages: Vec<f64>,
    presented: Vec<f64>,
    expected: Vec<f64>,
    received: Vec<f64>,
    intervals: Vec<f64>,
    before: Value,
    after: Value,
    unread: usize,
    faults: Vec<String>,
}

impl Glass {
    /// Lets the page settle, then watches it.
    ///
    /// # Errors
    /// The page shows no picture.
    pub async fn watch(page: &Page, time: Duration) -> Result<Self> {
        tokio::time::sleep(SETTLE).await;
        let first = page.clock_offset().await?;
        Take::of(page).await?;
        let before = page.evaluate("__meter.stats()").await?;
        tokio::time::sleep(time).await;
        let take = Take::of(page).await?;
        let after = page.evaluate("__meter.stats()").await?;
        let last = page.clock_offset().await?;
        if take.frames.is_empty() {
            return Err(format!("the page shows no picture; {:?}", take.faults).into());
        }
        let offset = (first + last) / 2.0;
        Ok(Self {
            ages: take.ages(offset, |shown| Some(shown.at)),
            presented: take.ages(offset, |shown| Some(shown.presented)),
            expected: take.ages(offset, |shown| Some(shown.expected)),
            received: take.ages(offset, |shown| shown.received),
            intervals: take.frames.windows(2).map(|two| two[1].at - two[0].at).collect(),
            unread: take.frames.iter().filter(|frame| frame.painted.is_none()).count(),
            faults: take.faults,
            before,
            after,
        })
    }

    /// How much a counter of the browser's grew.
    pub fn counter(&self, name: &str) -> f64 {
        let of = |stats: &Value| stats["video"][name].as_f64().unwrap_or_default();
        of(&self.after) - of(&self.before)
    }

    /// Where the time went, as far as the browser can tell.
    fn details(&self, report: &mut Report) {
        for (what, values) in [
            ("painted → last packet in the browser", &self.received),
            ("painted → handed to the compositor", &self.presented),
            ("painted → callback: the next frame drawn has it", &self.ages),
            ("painted → expected to be seen", &self.expected),
            ("between two pictures", &self.intervals),
        ] {
            report.note(format!("  {what}, p50 / p95 / max"), spread(values));
        }
        let per = |name: &str, by: &str| self.counter(name) / self.counter(by).max(1.0) * 1000.0;
        report.note(
            "  jitter buffer, decoding, all processing in the browser, mean",
            format!(
                "{:.1}, {:.1}, {:.1} ms",
                per("jitterBufferDelay", "jitterBufferEmittedCount"),
                per("totalDecodeTime", "framesDecoded"),
                per("totalProcessingDelay", "framesDecoded"),
            ),
        );
        let counters = ["framesDropped", "freezeCount", "packetsLost", "nackCount", "pliCount"];
        let counts: Vec<_> = counters.iter().map(|name| self.counter(name).to_string()).collect();
        report.note(
            "  pictures; unread; dropped, freezes, lost packets, NACKs, PLIs",
            format!("{}; {}; {}", self.ages.len(), self.unread, counts.join(", ")),
        );
        if let Some(fault) = self.faults.first() {
            report.note(format!("  {} faults of the meter, the first", self.faults.len()), fault.clone());
        }
    }
}
