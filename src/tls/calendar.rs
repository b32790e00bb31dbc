//! What day it is, as far as a box without a battery can know, and what it keeps of that.
//!
//! Owns: the last time that is certain to have been, on the card and since the start. Does not own: the rule ([`dates`]).

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use super::dates;
use crate::clock::Clock;
use crate::system::Store;

/// Under which name it is kept: seconds since 1970.
const LAST_SEEN: &str = "last-seen";

/// How often it is kept: a card does not last for ever.
const KEPT_EVERY: Duration = Duration::from_secs(24 * 3600);

/// What day it is. Each clone counts for itself; one of them keeps.
#[derive(Clone)]
pub(super) struct Calendar {
    store: Option<Store>,
    clock: Clock,
    /// Whether a time server has set the clock.
    is_set: fn() -> bool,
    /// When the program was made.
    built: SystemTime,
    kept: Option<SystemTime>,
    /// A time that is certain to have been, and when that was: the box itself counts from there.
    certain: (SystemTime, Instant),
}

impl Calendar {
    pub(super) fn new(store: Option<Store>, clock: Clock, is_set: fn() -> bool, built: SystemTime) -> Self {
        let kept = store.as_ref().and_then(|store| store.read(LAST_SEEN)?.trim().parse().ok());
        let kept = kept.and_then(|seconds| UNIX_EPOCH.checked_add(Duration::from_secs(seconds)));
        let wall = dates::Clock { wall: clock.wall(), is_set: is_set() };
        let certain = (dates::certain(wall, built, kept), clock.now());
        Self { store, clock, is_set, built, kept, certain }
    }

    /// The best guess at the present.
    pub(super) fn today(&self) -> SystemTime {
        dates::today(self.wall(), self.built, self.certain())
    }

    /// Whether the clock itself can be right.
    pub(super) fn is_known(&self) -> bool {
        dates::is_plausible(self.wall(), self.built, self.certain())
    }

    pub(super) fn clock(&self) -> &Clock {
        &self.clock
    }

    /// Keeps the last time that is certain to have been, when that is another day than the one that is kept.
    pub(super) fn keep(&mut self) {
        let certain = self.certain();
        self.certain = (certain, self.clock.now());
        let apart = |kept: SystemTime| certain.duration_since(kept).unwrap_or_else(|earlier| earlier.duration());
        if self.kept.is_some_and(|kept| apart(kept) < KEPT_EVERY) {
            return;
        }
        self.kept = Some(certain);
        let seconds = certain.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
        if let Some(Err(err)) = self.store.as_ref().map(|store| store.write(LAST_SEEN, &seconds.to_string())) {
            tracing::warn!(%err, "the time cannot be kept across restarts");
        }
    }

    fn certain(&self) -> SystemTime {
        let (time, when) = self.certain;
        let counted = time.checked_add(self.clock.now().saturating_duration_since(when));
        dates::certain(self.wall(), self.built, counted)
    }

    fn wall(&self) -> dates::Clock {
        dates::Clock { wall: self.clock.wall(), is_set: (self.is_set)() }
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;
    use crate::clock::ManualClock;

    const DAY: Duration = Duration::from_secs(24 * 3600);

    thread_local! {
        static IS_SET: Cell<bool> = const { Cell::new(false) };
    }

    fn built() -> SystemTime {
        UNIX_EPOCH + DAY * 20_500
    }

    /// A start of the box whose card is `dir`; its clock shows `wall`.
    fn start(dir: &tempfile::TempDir, wall: SystemTime) -> (Calendar, ManualClock) {
        let (clock, hand) = Clock::manual();
        hand.set_wall(wall);
        (Calendar::new(Some(Store::new(dir.path())), clock, || IS_SET.get(), built()), hand)
    }

    #[test]
    fn a_clock_that_was_once_wrong_is_forgotten_when_it_is_right() {
        let dir = tempfile::tempdir().unwrap();
        // Somebody sets 2031 by hand, and later nobody has.
        let (mut calendar, _) = start(&dir, built() + DAY * 2_000);
        assert_eq!(calendar.today(), built() + DAY * 2_000, "nothing is known that speaks against it");
        calendar.keep();
        let (calendar, _) = start(&dir, UNIX_EPOCH);
        assert_eq!(calendar.today(), built());
        // A time server says it, and is mended.
        IS_SET.set(true);
        let (mut calendar, hand) = start(&dir, built() + DAY * 2_000);
        calendar.keep();
        let (after, _) = start(&dir, UNIX_EPOCH);
        assert_eq!(after.today(), built() + DAY * 2_000);
        hand.set_wall(built() + DAY * 10);
        assert_eq!(calendar.today(), built() + DAY * 10);
        calendar.keep();
        IS_SET.set(false);
        let (after, _) = start(&dir, UNIX_EPOCH);
        assert_eq!(after.today(), built() + DAY * 10);
    }

    #[test]
    fn a_clock_that_nobody_set_never_takes_the_box_back() {
        let dir = tempfile::tempdir().unwrap();
        IS_SET.set(true);
        start(&dir, built() + DAY * 100).0.keep();
        IS_SET.set(false);
        let (mut calendar, hand) = start(&dir, built() + DAY * 50);
        assert_eq!(calendar.today(), built() + DAY * 100);
        // The box counts the days by itself.
        hand.advance(DAY * 30);
        calendar.keep();
        assert_eq!(start(&dir, UNIX_EPOCH).0.today(), built() + DAY * 130);
    }
}
