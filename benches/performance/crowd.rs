//! Everybody at once: thirty viewers ask in the same instant, as when a show begins, while five watch. When each has
//! its first picture, and what those five notice.

use crate::report::{Report, spread};
use crate::studio::Studio;
use crate::support::painter::{Encoding, RATE};
use crate::support::sight::Glimpse;
use crate::support::viewer::{Setup, WhepViewer, crowd};
use crate::support::{Result, until, wall_micros};
use std::time::Duration;

const RESIDENTS: usize = 5;
const JOINERS: usize = 30;
const ROUNDS: u64 = 5;
/// What is looked at before the rush, and from its first request on.
const WINDOW: Duration = Duration::from_secs(2);
const PATIENCE: Duration = Duration::from_secs(20);
/// A pause of three pictures is one that is seen.
const NOTICED_MS: f64 = 100.0;

/// Lets them join, at ever other places of a group of pictures of 2 s.
///
/// # Errors
/// The box or the sender fails, or a viewer never has a picture.
pub async fn measure(report: &mut Report) -> Result<()> {
    let studio = Studio::start(&Encoding { gop: 2 * RATE, ..Encoding::default() }).await?;
    let endpoint = studio.appliance.whep("pgm");
    let glance = || Setup { glance: true, ..Setup::default() };
    let residents = crowd(RESIDENTS, &endpoint, |_| glance()).await?;
    let (mut first, mut before, mut during) = (Vec::new(), Vec::new(), Vec::new());
    for round in 0..ROUNDS {
        tokio::time::sleep(WINDOW * 2 + Duration::from_millis(round * 370)).await;
        let asked = wall_micros() as f64;
        let mut joining = tokio::task::JoinSet::new();
        for _ in 0..JOINERS {
            let (endpoint, setup) = (endpoint.clone(), glance());
            joining.spawn(async move {
                let viewer = WhepViewer::connect_with(&endpoint, setup).await.map_err(|error| error.to_string())?;
                Ok::<_, String>(viewer)
            });
        }
        let mut joiners = Vec::with_capacity(JOINERS);
        while let Some(joined) = joining.join_next().await {
            joiners.push(joined??);
        }
        for joiner in &joiners {
            let came = until("the first picture", PATIENCE, || async {
                joiner.sight().pictures.iter().find(|picture| picture.whole).map(|picture| picture.last)
            });
            first.push((came.await? - asked) / 1000.0);
        }
        let left = WINDOW.as_secs_f64() * 1e6 - (wall_micros() as f64 - asked);
        tokio::time::sleep(Duration::from_secs_f64(left.max(0.0) / 1e6)).await;
        let window = WINDOW.as_secs_f64() * 1e6;
        for resident in &residents {
            let pictures = resident.sight().pictures;
            before.push(longest_pause(&pictures, asked - window..asked));
            during.push(longest_pause(&pictures, asked..asked + window));
        }
        for joiner in joiners {
            joiner.close().await?;
        }
    }
    report.note(format!("{JOINERS} join at once: first asked → first picture whole, p50 / p95 / max"), spread(&first));
    let longest = during.iter().copied().fold(0.0, f64::max);
    report.row(
        format!("{JOINERS} join at once: longest pause of {RESIDENTS} who watch, p50 / p95 / max"),
        "≤ 100 ms (three pictures)",
        spread(&during),
        Some(longest <= NOTICED_MS),
    );
    report.note("  the same in the two seconds before", spread(&before));
    let skipped: u64 = residents.iter().map(|resident| resident.sight().skipped).sum();
    let drops: u64 = residents.iter().map(WhepViewer::socket_drops).sum();
    report.note("  packets those who watch skipped; our drops", format!("{skipped}; {drops}"));
    Ok(())
}

/// The longest time from one whole picture to the next within that time, its ends included; µs in, ms out.
fn longest_pause(pictures: &[Glimpse], within: std::ops::Range<f64>) -> f64 {
    let came = pictures.iter().filter(|picture| picture.whole).map(|picture| picture.last);
    let times: Vec<f64> =
        std::iter::once(within.start).chain(came.filter(|at| within.contains(at))).chain([within.end]).collect();
    times.windows(2).map(|two| two[1] - two[0]).fold(0.0, f64::max) / 1000.0
}
