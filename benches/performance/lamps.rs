//! From a line of vMix to the edge of a lamp's pin, inside the box, while fifty viewers play. The pins are simulated: the
//! lamp process writes down when it sets one, where it would ask the kernel to.

use crate::fanout;
use crate::report::{Report, percentile};
use crate::support::Result;
use crate::support::lamps::{Lamps, monotonic};
use crate::support::viewer::{Setup, crowd};
use crate::support::vmix::FakeVmix;
use crate::support::{Seeded, until};
use std::time::Duration;

const CUTS: usize = 1000;
const VIEWERS: usize = 50;
const PATIENCE: Duration = Duration::from_secs(30);
/// The first of the pairs that lamps without pins are given.
const PINS: [u8; 2] = [17, 22];

/// Cuts between two lamps.
///
/// # Errors
/// The box or the sender fails.
pub async fn measure(report: &mut Report) -> Result<()> {
    let vmix = FakeVmix::start(0, 2).await?;
    let (appliance, _source) = fanout::on_air_with(vmix.port, "[[lamp]]\ninput = 1\n[[lamp]]\ninput = 2\n").await?;
    let lamps = Lamps::start(&appliance)?;
    for viewers in [0, VIEWERS] {
        let playing = crowd(viewers, &appliance.whep("pgm"), |_| Setup::default()).await?;
        for viewer in &playing {
            viewer.wait("the first picture", PATIENCE, |stats| stats.frames > 0).await?;
        }
        vmix.set_tally("01");
        until("the lamps", PATIENCE, || async {
            (lamps.level(PINS[1]).ok()?? && !lamps.level(PINS[0]).ok()??).then_some(())
        })
        .await?;
        tokio::time::sleep(Duration::from_secs(2)).await;
        let delays = cut(&vmix, &lamps).await?;
        let [p50, p99, max] = [50.0, 99.0, 100.0].map(|percent| percentile(&delays, percent));
        report.row(
            format!("lamps, vMix's line to the pin's edge, {viewers} viewers, {CUTS} cuts: p50 / p99 / max; shown"),
            "p99 ≤ 5 ms, all",
            format!("{p50:.2} / {p99:.2} / {max:.2} ms; {}", delays.len()),
            Some(p99 <= 5.0 && delays.len() == CUTS),
        );
    }
    Ok(())
}

/// How long each cut took, ms.
async fn cut(vmix: &FakeVmix, lamps: &Lamps) -> Result<Vec<f64>> {
    let (mut random, mut cuts) = (Seeded(7), Vec::with_capacity(CUTS));
    for round in 0..CUTS {
        let on_air = round % PINS.len();
        cuts.push((monotonic()?, PINS[on_air]));
        vmix.set_tally(if on_air == 0 { "10" } else { "01" });
        // A late one counts for as long as it took: it is waited for.
        let shown = || async { lamps.level(PINS[on_air]).ok()?.filter(|lit| *lit) };
        let _ = until("a cut", Duration::from_secs(1), shown).await;
        tokio::time::sleep(Duration::from_millis(5 + random.next_u64() % 10)).await;
    }
    let edges = lamps.edges()?;
    let shown = cuts.iter().enumerate().filter_map(|(index, (cut, pin))| {
        let next = cuts.get(index + 1).map_or(Duration::MAX, |(next, _)| *next);
        let edge = edges.iter().find(|edge| edge.pin == *pin && edge.high && (*cut..next).contains(&edge.at))?;
        Some((edge.at - *cut).as_secs_f64() * 1000.0)
    });
    Ok(shown.collect())
}
