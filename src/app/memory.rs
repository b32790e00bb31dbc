//! The bound of the program's memory, and whether it holds.

use std::time::Duration;

use tokio::time::{MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;

use crate::problems::{Problem, Problems};

/// What everything together can hold that has a bound of its own, beside viewers (docs/security.md, "Memory").
/// `MemoryMax=` of the service is beyond it.
const EVERYTHING: u64 = 392 << 20;

/// What a viewer costs at most.
const A_VIEWER: u64 = 256 << 10;

/// How often it is looked at.
const LOOK_EVERY: Duration = Duration::from_secs(5);

const CODE: &str = "memory";

/// What the program should hold at most, in bytes, when it serves so many viewers.
pub(super) fn bound(max_viewers: usize) -> u64 {
    EVERYTHING + A_VIEWER * max_viewers as u64
}

/// Keeps `problems` up to date until `stop`.
pub(super) async fn watch(used: fn() -> Option<u64>, bound: u64, problems: Problems, stop: CancellationToken) {
    let mut looks = interval(LOOK_EVERY);
    looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            _ = looks.tick() => judge(used(), bound, &problems),
            () = stop.cancelled() => return,
        }
    }
}

fn judge(used: Option<u64>, bound: u64, problems: &Problems) {
    match used {
        Some(used) if used > bound => problems.raise(Problem {
            code: CODE,
            subject: String::new(),
            text: format!(
                "The program holds more memory than it should ({} MB at most). Start the box again when the show is \
                 over, and send us its journal.",
                bound >> 20
            ),
        }),
        // Not off and on around the bound.
        Some(used) if used > bound - bound / 10 => {}
        Some(_) => problems.clear(CODE, ""),
        None => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn more_than_there_should_be_is_a_problem_until_it_is_clearly_less() {
        let (problems, bound) = (Problems::default(), bound(250));
        assert_eq!(bound >> 20, 454);
        let mut told = Vec::new();
        for used in [Some(100), Some(bound), Some(bound + 1), Some(bound + 9), Some(bound), None, Some(bound / 2)] {
            judge(used, bound, &problems);
            told.push(problems.list().len());
        }
        assert_eq!(told, [0, 0, 1, 1, 1, 1, 0]);
    }

    #[tokio::test(start_paused = true)]
    async fn it_is_looked_at_until_the_end() {
        let (problems, stop) = (Problems::default(), CancellationToken::new());
        let watching = tokio::spawn(watch(|| Some(u64::MAX), bound(250), problems.clone(), stop.clone()));
        tokio::time::sleep(LOOK_EVERY).await;
        assert_eq!(problems.list().first().map(|problem| problem.code), Some("memory"));
        stop.cancel();
        watching.await.unwrap();
    }
}
