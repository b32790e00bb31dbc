//! A secret that people type, and the bound on how often it may be guessed.
//!
//! Owns: the comparison, the count of failures, the lock-out. Does not own: how slowly a failure is answered, which is
//! the asker's to arrange.

use std::collections::VecDeque;
use std::fmt;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use aws_lc_rs::{constant_time, digest};

/// As many failures within [`WINDOW`] close the door.
pub const MOST_FAILURES: usize = 10;

/// Failures older than this are forgotten.
pub const WINDOW: Duration = Duration::from_secs(60);

/// How long the door stays closed, to the right secret too.
pub const CLOSED_FOR: Duration = Duration::from_secs(60);

/// What came of a guess.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    Right,
    Wrong,
    /// Not looked at.
    Closed {
        left: Duration,
    },
}

/// A secret and the guesses at it. Every way to the box counts into the same one.
pub(super) struct Guarded {
    /// `None` for a secret that has nothing to compare: no guess is right.
    digest: Option<digest::Digest>,
    guesses: Mutex<Guesses>,
}

#[derive(Default)]
struct Guesses {
    failures: VecDeque<Instant>,
    closed_until: Option<Instant>,
}

impl Guarded {
    pub(super) fn new(secret: &str) -> Self {
        Self { digest: digest_of(secret), guesses: Mutex::default() }
    }

    pub(super) fn guess(&self, secret: &str, now: Instant) -> Outcome {
        let mut guesses = self.guesses.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        if let Some(until) = guesses.closed_until.filter(|until| *until > now) {
            return Outcome::Closed { left: until - now };
        }
        let right = self.digest.as_ref().map(digest::Digest::as_ref);
        let given = digest_of(secret);
        let given = given.as_ref().map(digest::Digest::as_ref);
        if right.zip(given).is_some_and(|(right, given)| constant_time::verify_slices_are_equal(right, given).is_ok()) {
            return Outcome::Right;
        }
        guesses.count_failure(now);
        Outcome::Wrong
    }
}

impl Guesses {
    fn count_failure(&mut self, now: Instant) {
        self.failures.retain(|failure| now.saturating_duration_since(*failure) < WINDOW);
        self.failures.push_back(now);
        if self.failures.len() >= MOST_FAILURES {
            self.failures.clear();
            self.closed_until = Some(now + CLOSED_FOR);
            let minutes = CLOSED_FOR.as_secs() / 60;
            tracing::warn!("{MOST_FAILURES} wrong set-up codes within a minute; none is taken for {minutes} min");
        }
    }
}

/// Secrets stay out of logs, and so does what they could be found from.
impl fmt::Debug for Guarded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Guarded").finish_non_exhaustive()
    }
}

/// Of what matters in a secret as a person types it: capitals, hyphens and spaces do not. Two digests are of one
/// length, so that a comparison tells nothing of the secrets'.
fn digest_of(secret: &str) -> Option<digest::Digest> {
    let letters: String = secret.chars().filter(char::is_ascii_alphanumeric).map(|c| c.to_ascii_lowercase()).collect();
    (!letters.is_empty()).then(|| digest::digest(&digest::SHA256, letters.as_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::Clock;

    #[test]
    fn a_secret_is_taken_as_people_type_it() {
        let (clock, guarded) = (Clock::manual().0, Guarded::new("bkmqp-xrthw"));
        for typed in
            ["bkmqp-xrthw", "BKMQP-XRTHW", "bkmqpxrthw", " bkmqp xrthw ", "bk-mq-px-rt-hw", "bkmqp\u{2013}xrthw"]
        {
            assert_eq!(guarded.guess(typed, clock.now()), Outcome::Right, "{typed}");
        }
        for wrong in ["", "-", "bkmqp", "bkmqp-xrthz", "bkmqp-xrthw-x"] {
            assert_eq!(guarded.guess(wrong, clock.now()), Outcome::Wrong, "{wrong}");
        }
    }

    #[test]
    fn a_secret_of_hyphens_alone_opens_nothing() {
        let (clock, guarded) = (Clock::manual().0, Guarded::new("--------"));
        for guess in ["", "--------", "x"] {
            assert_eq!(guarded.guess(guess, clock.now()), Outcome::Wrong, "{guess}");
        }
    }

    #[test]
    fn a_burst_of_failures_closes_the_door_for_a_while_to_everybody() {
        let ((clock, hand), guarded) = (Clock::manual(), Guarded::new("right"));
        for _ in 0..MOST_FAILURES {
            assert_eq!(guarded.guess("wrong", clock.now()), Outcome::Wrong);
        }
        assert_eq!(guarded.guess("right", clock.now()), Outcome::Closed { left: CLOSED_FOR });
        hand.advance(CLOSED_FOR - Duration::from_millis(1));
        assert_eq!(guarded.guess("right", clock.now()), Outcome::Closed { left: Duration::from_millis(1) });
        hand.advance(Duration::from_millis(1));
        assert_eq!(guarded.guess("wrong", clock.now()), Outcome::Wrong, "guesses while it was closed do not count");
        assert_eq!(guarded.guess("right", clock.now()), Outcome::Right);
    }

    #[test]
    fn failures_far_apart_close_nothing_and_a_right_guess_forgives_none() {
        let ((clock, hand), guarded) = (Clock::manual(), Guarded::new("right"));
        for _ in 0..3 * MOST_FAILURES {
            assert_eq!(guarded.guess("wrong", clock.now()), Outcome::Wrong);
            hand.advance(WINDOW / 8);
        }
        hand.advance(WINDOW);
        for _ in 0..MOST_FAILURES {
            assert_eq!(guarded.guess("right", clock.now()), Outcome::Right);
            assert_eq!(guarded.guess("wrong", clock.now()), Outcome::Wrong);
        }
        assert!(matches!(guarded.guess("right", clock.now()), Outcome::Closed { .. }));
    }

    #[test]
    fn nothing_of_a_secret_is_in_what_is_logged() {
        assert_eq!(format!("{:?}", Guarded::new("bkmqp-xrthw")), "Guarded { .. }");
    }
}
