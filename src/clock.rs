//! Time as an input.
//!
//! Owns: where "now" comes from. Pure rooms never ask: they are handed `now`.
//! Shells hold a [`Clock`] and ask it, so that a test can hand them one it moves by hand.
//! Wall-clock time is for people (logs, certificates); no logic is driven by it,
//! for the box has no battery-backed clock.

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant, SystemTime};

use nix::time::ClockId;

/// Where a shell gets its time from. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Clock(Source);

#[derive(Clone, Debug)]
enum Source {
    System,
    Manual(Arc<Mutex<Times>>),
}

#[derive(Clone, Copy, Debug)]
struct Times {
    now: Instant,
    monotonic: Duration,
    wall: SystemTime,
}

/// Moves the time of a [`Clock`] made by [`Clock::manual`].
#[derive(Clone, Debug)]
pub struct ManualClock(Arc<Mutex<Times>>);

impl Clock {
    /// The operating system's monotonic and wall clocks.
    pub fn system() -> Self {
        Self(Source::System)
    }

    /// A clock that stands still until its other half moves it.
    pub fn manual() -> (Self, ManualClock) {
        let times = Arc::new(Mutex::new(Times {
            now: system_now(),
            monotonic: system_monotonic(),
            wall: SystemTime::UNIX_EPOCH,
        }));
        (Self(Source::Manual(times.clone())), ManualClock(times))
    }

    /// The monotonic time.
    pub fn now(&self) -> Instant {
        match &self.0 {
            Source::System => system_now(),
            Source::Manual(times) => read(times).now,
        }
    }

    /// `CLOCK_MONOTONIC`, the same in all processes of this machine: for what they tell one another.
    pub fn monotonic(&self) -> Duration {
        match &self.0 {
            Source::System => system_monotonic(),
            Source::Manual(times) => read(times).monotonic,
        }
    }

    /// The wall-clock time, which may jump and may be wrong by years.
    pub fn wall(&self) -> SystemTime {
        match &self.0 {
            Source::System => system_wall(),
            Source::Manual(times) => read(times).wall,
        }
    }
}

impl ManualClock {
    /// Somebody sets the wall clock, forward or back.
    pub fn set_wall(&self, wall: SystemTime) {
        self.0.lock().unwrap_or_else(|poisoned| poisoned.into_inner()).wall = wall;
    }

    /// Moves all times forward by `step`.
    pub fn advance(&self, step: Duration) {
        let mut times = self.0.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        times.now += step;
        times.monotonic += step;
        times.wall += step;
    }
}

fn read(times: &Mutex<Times>) -> Times {
    *times.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
}

#[expect(clippy::disallowed_methods, reason = "the one place that asks the system")]
fn system_now() -> Instant {
    Instant::now()
}

#[expect(clippy::disallowed_methods, reason = "the one place that asks the system")]
fn system_wall() -> SystemTime {
    SystemTime::now()
}

/// Zero on a machine without that clock; there is none.
fn system_monotonic() -> Duration {
    ClockId::CLOCK_MONOTONIC.now().map(Duration::from).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_manual_clock_moves_only_by_hand() {
        let (clock, hand) = Clock::manual();
        let (now, monotonic, wall) = (clock.now(), clock.monotonic(), clock.wall());
        assert_eq!((clock.now(), clock.monotonic()), (now, monotonic));
        hand.advance(Duration::from_millis(40));
        assert_eq!(clock.now() - now, Duration::from_millis(40));
        assert_eq!(clock.monotonic() - monotonic, Duration::from_millis(40));
        assert_eq!(clock.wall().duration_since(wall).ok(), Some(Duration::from_millis(40)));
    }
}
