//! Proves to the service manager that what must not stall goes round: the threads that serve viewers, and the client
//! that follows tally. Each is asked a question that it answers between its own work; when an answer stays out, so
//! do the pings, and the service manager starts the program again.

use std::pin::pin;
use std::time::Duration;

use tokio::time::{MissedTickBehavior, interval, timeout};
use tokio_util::sync::CancellationToken;

use crate::system::Supervisor;
use crate::{tally, webrtc};

/// Questions in the time in which the service manager expects a ping. It has had none for up to a quarter of that when a
/// stall begins, so that a stall may last for the other three before it costs a restart.
const QUESTIONS: u32 = 4;

/// What must not stall.
#[derive(Clone)]
pub(super) struct Pulses {
    pub(super) media: webrtc::Handle,
    pub(super) tally: tally::Pulse,
}

/// Pings `supervisor`, which expects it once in every `within`, until `stop`.
pub(super) async fn prove(supervisor: Supervisor, within: Duration, pulses: Pulses, stop: CancellationToken) {
    let media = || {
        let media = pulses.media.clone();
        async move { media.felt().await }
    };
    let tally = || {
        let tally = pulses.tally.clone();
        async move { tally.felt().await }
    };
    tokio::select! {
        () = stop.cancelled() => {}
        () = ping(within, media, tally, || supervisor.alive()) => {}
    }
}

/// Calls `alive` more often than once in every `within`, as long as both answer. A question stays out until it is
/// answered, so that the end of a stall is known at once.
async fn ping<M: Future, T: Future>(within: Duration, media: impl Fn() -> M, tally: impl Fn() -> T, alive: impl Fn()) {
    let mut steps = interval(within / QUESTIONS);
    steps.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let long = within / 2;
    loop {
        steps.tick().await;
        tokio::join!(
            answered("a thread that serves viewers", long, media()),
            answered("the vMix client", long, tally())
        );
        alive();
    }
}

/// Waits for an answer, and says when that takes `long`.
async fn answered<F: Future>(who: &str, long: Duration, answer: F) {
    let mut answer = pin!(answer);
    if timeout(long, answer.as_mut()).await.is_err() {
        tracing::error!("{who} does not answer");
        answer.await;
        tracing::warn!("{who} answers again");
    }
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;
    use std::future::{pending, ready};

    use tokio::time::{Instant, sleep_until};

    use super::*;

    /// As the service manager has it.
    const WITHIN: Duration = Duration::from_secs(10);

    /// When it was pinged, in ms, during a minute in which nothing answers from `stall` for `lasting`.
    async fn pings_around(stall: u64, lasting: u64) -> Vec<u64> {
        let (start, pings) = (Instant::now(), RefCell::new(Vec::new()));
        let at = |ms| start + Duration::from_millis(ms);
        let now = || u64::try_from(start.elapsed().as_millis()).unwrap();
        let media = || async {
            if (stall..stall + lasting).contains(&now()) {
                sleep_until(at(stall + lasting)).await;
            }
        };
        let pinging = ping(WITHIN, media, || ready(()), || pings.borrow_mut().push(now()));
        assert!(timeout(Duration::from_secs(60), pinging).await.is_err());
        pings.into_inner()
    }

    /// When it starts the program again, in ms, if it does.
    fn restarted(pings: &[u64]) -> Option<u64> {
        let within = u64::try_from(WITHIN.as_millis()).unwrap();
        let next = pings.iter().skip(1).copied().chain([60_000]);
        pings.iter().zip(next).find(|(ping, next)| next - *ping > within).map(|(ping, _)| ping + within)
    }

    #[tokio::test(start_paused = true)]
    async fn pings_four_times_in_the_time_while_both_answer() {
        let pings = pings_around(0, 0).await;
        assert_eq!(pings[..5], [0, 2_500, 5_000, 7_500, 10_000]);
    }

    #[tokio::test(start_paused = true)]
    async fn a_stall_of_seven_tenths_of_the_time_costs_no_restart_whenever_it_begins() {
        for stall in (10_000..20_000).step_by(100) {
            let pings = pings_around(stall, 7_000).await;
            assert_eq!(restarted(&pings), None, "{stall}: {pings:?}");
            assert!(pings.contains(&(stall + 7_000)) || stall % 2_500 == 500, "{stall}: {pings:?}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_stall_that_does_not_end_costs_a_restart_no_later_than_the_time_after_it_began() {
        for stall in (10_000..20_000).step_by(100) {
            let after = restarted(&pings_around(stall, 600_000).await).unwrap() - stall;
            assert!((7_000..=10_000).contains(&after), "{stall}: {after}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn does_not_ping_when_either_stalls() {
        let never = || panic!("pinged");
        let (answer, stall) = (|| ready(()), pending::<()>);
        assert!(timeout(Duration::from_secs(60), ping(WITHIN, stall, answer, never)).await.is_err());
        assert!(timeout(Duration::from_secs(60), ping(WITHIN, answer, stall, never)).await.is_err());
    }
}
