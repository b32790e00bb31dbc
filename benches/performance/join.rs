//! Joining: from the page's POST to the newest picture on the page, at ten places in a group of pictures of 2 s.
//!
//! The picture counts as the newest when the clock painted in it is within 100 ms of what a viewer sees who was
//! there before. That viewer, in a window of its own, also tells whether it noticed anything.

use crate::plot::Plot;
use crate::report::{Report, percentile, spread};
use crate::studio::{Studio, Take};
use crate::support::chromium::{Chromium, Page};
use crate::support::painter::{Encoding, RATE};
use crate::support::{Result, until};
use std::time::Duration;

const GOP: u64 = 2 * RATE;
const PLACES: u64 = 10;
const NEWEST_MS: f64 = 100.0;
const PATIENCE: Duration = Duration::from_secs(20);

/// One joining; times in ms.
#[derive(Clone, Debug)]
struct Joining {
    place: u64,
    answered: f64,
    connected: f64,
    /// POST to the first picture that the page let be seen.
    first: f64,
    /// How much older that one was than what the other viewer saw.
    first_behind: f64,
    /// POST to the first picture seen that was the newest.
    newest: f64,
    /// Pictures seen before that one.
    old_seen: usize,
    /// The delay 3 s later, and how much it is more than the other viewer's.
    steady: f64,
    behind: f64,
    /// The longest time between two of the other viewer's pictures in the second before the POST, and in that after.
    pause_before: f64,
    pause_after: f64,
}

/// Joins `rounds` times at each place.
///
/// # Errors
/// The browser, the box or the sender fails.
pub async fn measure(report: &mut Report, rounds: u64) -> Result<()> {
    let studio = Studio::start(&Encoding { gop: GOP, ..Encoding::default() }).await?;
    let browser = Chromium::launch().await?;
    let resident = browser.open(&studio.page(), "", "{}").await?;
    tokio::time::sleep(Duration::from_secs(6)).await;
    let offset = resident.clock_offset().await?;
    let before = resident.evaluate("__meter.stats()").await?;
    let mut all = Vec::new();
    for round in 0..rounds * PLACES {
        let place = round % PLACES * GOP / PLACES;
        all.push(join(&studio, &browser, (&resident, offset), place).await?);
    }
    let of = |value: fn(&Joining) -> f64| all.iter().map(value).collect::<Vec<_>>();
    let newest = of(|joining| joining.newest);
    report.row(
        "join, POST to the newest picture, 2 s GOP, p50 / p95 / max",
        "p95 ≤ 180 ms",
        spread(&newest),
        Some(percentile(&newest, 95.0) <= 180.0),
    );
    let old = all.iter().filter(|joining| joining.old_seen > 0).count();
    report.row(
        "join: how often an older picture was seen first",
        "never",
        format!("{old} of {} times", all.len()),
        Some(old == 0),
    );
    let behind = of(|joining| joining.behind);
    report.row(
        "join: delay 3 s later, beyond that of a viewer who was there before",
        "none (p95 ≤ 10 ms)",
        spread(&behind),
        Some(percentile(&behind, 95.0) <= 10.0),
    );
    report.note("  POST to the answer", spread(&of(|joining| joining.answered)));
    report.note("  POST to connected", spread(&of(|joining| joining.connected)));
    report.note("  POST to the first picture seen", spread(&of(|joining| joining.first)));
    report.note("  that picture, behind the other viewer's", spread(&of(|joining| joining.first_behind)));
    report.note("  delay 3 s later", spread(&of(|joining| joining.steady)));
    report.note("  the other viewer's longest wait, in the second before", spread(&of(|joining| joining.pause_before)));
    report.note("  the other viewer's longest wait, in the second after", spread(&of(|joining| joining.pause_after)));
    let after = resident.evaluate("__meter.stats()").await?;
    let counters = ["framesDropped", "freezeCount", "packetsLost", "nackCount", "pliCount"];
    let counts = counters.map(|name| {
        let of = |stats: &serde_json::Value| stats["video"][name].as_f64().unwrap_or_default();
        (of(&after) - of(&before)).to_string()
    });
    report.note("  the other viewer: dropped, freezes, lost packets, NACKs, PLIs", counts.join(", "));
    let mut plot = Plot::new(
        "Joining at places in a group of pictures of 2 s",
        (0.0, GOP as f64, GOP as f64 / PLACES as f64, "pictures since the last IDR when the page asked"),
        (0.0, 2000.0, 250.0, "ms from POST to the newest picture"),
    )?;
    plot.points("newest picture on the page", all.iter().map(|joining| (joining.place as f64, joining.newest)))?;
    plot.limit("180 ms", None, Some(180.0))?;
    plot.save("join.svg")
}

async fn join(studio: &Studio, browser: &Chromium, resident: (&Page, f64), place: u64) -> Result<Joining> {
    Take::of(resident.0).await?;
    let page = browser.open(&studio.page(), "", r#"{"hold": true}"#).await?;
    until("the page to ask for the stream", PATIENCE, || async {
        page.evaluate("__meter.held > 0").await.ok()?.as_bool().filter(|held| *held)
    })
    .await?;
    tokio::time::sleep(Duration::from_millis(1500)).await;
    let offset = page.clock_offset().await?;
    while studio.source.place() != place {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    page.evaluate("__meter.go()").await?;
    tokio::time::sleep(Duration::from_millis(6500)).await;
    let take = Take::of(&page).await?;
    let others = Take::of(resident.0).await?;
    page.close().await?;

    let post = *take.posts.first().ok_or("the page never asked")?;
    let shown = take.shown.ok_or("the page never showed anything")?;
    // Median of what the other viewer saw, and of what this one did from 3 s on.
    let other_ages = others.ages(resident.1, |shown| Some(shown.at));
    let resident_age = percentile(&other_ages, 50.0);
    let late: Vec<f64> = take
        .frames
        .iter()
        .filter(|frame| frame.at > post + 3500.0)
        .filter_map(|frame| Some(take.age(frame.painted?, frame.at, offset)))
        .collect();
    let steady = percentile(&late, 50.0);
    // The first one is seen when the page lets it, the others as they come.
    let mut seen = take.frames.iter().filter(|frame| frame.count >= shown.count).filter_map(|frame| {
        let at = if frame.count == shown.count { shown.at } else { frame.at };
        Some((at, take.age(frame.painted?, at, offset)))
    });
    let (first, first_age) = seen.next().ok_or("the first picture could not be read")?;
    let is_newest = |age: f64| age <= resident_age + NEWEST_MS;
    let mut old_seen = 0;
    let mut newest = (first, first_age);
    while !is_newest(newest.1) {
        old_seen += 1;
        newest = seen.next().ok_or("the newest picture never came")?;
    }
    // Both pages' clocks are brought to the wall's, and back to the other one's.
    let ours_to_others = take.origin + offset - others.origin - resident.1;
    let longest = |from: f64, to: f64| {
        let within = others.frames.iter().map(|frame| frame.at - ours_to_others).filter(|at| (from..to).contains(at));
        within.collect::<Vec<_>>().windows(2).map(|two| two[1] - two[0]).fold(0.0, f64::max)
    };
    Ok(Joining {
        place,
        answered: take.answers.first().map_or(f64::NAN, |at| at - post),
        connected: take.connected.first().map_or(f64::NAN, |at| at - post),
        first: first - post,
        first_behind: first_age - resident_age,
        newest: newest.0 - post,
        old_seen,
        steady,
        behind: steady - resident_age,
        pause_before: longest(post - 1000.0, post),
        pause_after: longest(post, post + 1000.0),
    })
}
