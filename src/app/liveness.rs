//! Proves to the service manager that what must not stall goes round: the thread that sends media, and the client
//! that follows tally. Each is asked a question that it answers between its own work; when an answer stays out, so
//! do the pings, and the service manager starts the program again.

use std::time::Duration;

use tokio::time::{interval, timeout};
use tokio_util::sync::CancellationToken;

use crate::system::Supervisor;
use crate::{tally, webrtc};

/// The name of no session; to ask for its end is to ask the media thread whether it listens.
const NO_SESSION: &str = "";

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
        async move { media.remove(NO_SESSION).await }
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

/// Calls `alive` twice in every `within` (sd_watchdog_enabled(3)), as long as both answer.
async fn ping<M: Future, T: Future>(within: Duration, media: impl Fn() -> M, tally: impl Fn() -> T, alive: impl Fn()) {
    let step = within / 2;
    let mut steps = interval(step);
    loop {
        steps.tick().await;
        let (media, tally) = tokio::join!(timeout(step, media()), timeout(step, tally()));
        if media.is_err() {
            tracing::error!("the media thread does not answer");
        }
        if tally.is_err() {
            tracing::error!("the vMix client does not answer");
        }
        if media.is_ok() && tally.is_ok() {
            alive();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;
    use std::future::{pending, ready};

    use super::*;

    const WITHIN: Duration = Duration::from_secs(10);

    #[tokio::test(start_paused = true)]
    async fn pings_twice_in_the_time_while_both_answer() {
        let pings = Cell::new(0);
        let answer = || ready(());
        let pinging = ping(WITHIN, answer, answer, || pings.set(pings.get() + 1));
        assert!(timeout(Duration::from_secs(31), pinging).await.is_err());
        assert_eq!(pings.get(), 7);
    }

    #[tokio::test(start_paused = true)]
    async fn does_not_ping_when_either_stalls() {
        let never = || panic!("pinged");
        let (answer, stall) = (|| ready(()), pending::<()>);
        assert!(timeout(Duration::from_secs(60), ping(WITHIN, stall, answer, never)).await.is_err());
        assert!(timeout(Duration::from_secs(60), ping(WITHIN, answer, stall, never)).await.is_err());
    }

    #[tokio::test(start_paused = true)]
    async fn pings_again_after_a_stall_that_ended() {
        let (pings, asked) = (Cell::new(0), Cell::new(0));
        let stalls_once = || {
            asked.set(asked.get() + 1);
            let stalls = asked.get() == 1;
            async move {
                if stalls {
                    pending().await
                }
            }
        };
        let pinging = ping(WITHIN, || ready(()), stalls_once, || pings.set(pings.get() + 1));
        assert!(timeout(Duration::from_secs(16), pinging).await.is_err());
        assert!(pings.get() >= 2);
    }
}
