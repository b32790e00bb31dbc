//! Dates of certificates on a box that has no battery for its clock.

use std::time::{Duration, SystemTime};

const DAY: Duration = Duration::from_secs(24 * 3600);

/// A certificate begins so long before the day it is made: the box's clock may be ahead of the phones'.
const BEGINS_BEFORE: Duration = DAY.saturating_mul(90);

/// From its begin to its end. iOS and macOS take 825 days at most of an authority that a person added (Apple, "Requirements
/// for trusted certificates in iOS 13 and macOS 10.15"); no other system asks for less.
const HOLDS: Duration = DAY.saturating_mul(820);

/// It is made anew when less is left: so much a box may always lie in a drawer, after whichever day it was last used.
const RENEWED_BEFORE: Duration = DAY.saturating_mul(548);

/// A clock that is so far ahead of the program's own age is wrong.
const NO_PROGRAM_IS_OLDER: Duration = DAY.saturating_mul(20 * 365);

/// What the system says the time is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Clock {
    pub(super) wall: SystemTime,
    /// Whether a time server has set it.
    pub(super) is_set: bool,
}

impl Clock {
    /// A clock without a battery begins anew at each start, and never runs ahead by itself; but somebody may have set
    /// it wrongly.
    fn believable(self, built: SystemTime) -> bool {
        is_believable(self.wall, built)
    }
}

fn is_believable(time: SystemTime, built: SystemTime) -> bool {
    time.duration_since(built).is_ok_and(|age| age < NO_PROGRAM_IS_OLDER)
}

/// The latest time that is certain to have been: what a time server says, else the time the program was `built` or that
/// the box has `seen` itself. No clock that anybody may have set is ever part of it, so that it can be kept for good; and
/// a time server is right also where it says that what was kept is of the future.
pub(super) fn certain(clock: Clock, built: SystemTime, seen: Option<SystemTime>) -> SystemTime {
    match clock.is_set && clock.believable(built) {
        true => clock.wall,
        false => seen.filter(|seen| is_believable(*seen, built)).unwrap_or(built),
    }
}

/// The best guess at the present, which is never earlier than what is `certain`.
pub(super) fn today(clock: Clock, built: SystemTime, certain: SystemTime) -> SystemTime {
    match clock.believable(built) {
        true if clock.is_set => clock.wall,
        true => certain.max(clock.wall),
        false => certain,
    }
}

/// Whether the clock itself can be right, so that what others certify may be judged by it: a time server has set it, or it
/// is after what is `certain`, but for the little by which somebody may have set it back.
pub(super) fn is_plausible(clock: Clock, built: SystemTime, certain: SystemTime) -> bool {
    clock.believable(built) && (clock.is_set || certain <= clock.wall + DAY)
}

/// From when until when a certificate holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Validity {
    pub(super) begins: SystemTime,
    pub(super) ends: SystemTime,
}

impl Validity {
    /// Of a certificate that is made today.
    pub(super) fn from(today: SystemTime) -> Self {
        let begins = today - BEGINS_BEFORE;
        Self { begins, ends: begins + HOLDS }
    }

    /// Whether it is time for another.
    pub(super) fn is_due(self, today: SystemTime) -> bool {
        today < self.begins || today + RENEWED_BEFORE > self.ends
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// 1 January 2026.
    fn built() -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_secs(1_767_225_600)
    }

    #[test]
    fn the_present_is_never_before_what_is_certain_and_never_absurd() {
        let year = DAY * 365;
        let epoch = SystemTime::UNIX_EPOCH;
        for (wall, is_set, seen, today, kept, what) in [
            (epoch, false, None, built(), built(), "no battery, first start"),
            (epoch, false, Some(built() + year), built() + year, built() + year, "no battery, a later start"),
            (built() + year * 2, true, Some(built() + year), built() + year * 2, built() + year * 2, "a time server"),
            (built() + year * 2, false, Some(built() + year), built() + year * 2, built() + year, "set by somebody"),
            (built() + year, false, Some(built() + year * 2), built() + year * 2, built() + year * 2, "a clock reset"),
            (built() + year, true, Some(built() + year * 2), built() + year, built() + year, "what was seen is ahead"),
            (built() + year * 60, true, Some(built() + year), built() + year, built() + year, "a clock gone mad"),
            (built() + year, false, Some(built() + year * 60), built() + year, built(), "a fact gone mad"),
            (epoch, true, Some(epoch), built(), built(), "a newer program"),
        ] {
            let clock = Clock { wall, is_set };
            let certain = super::certain(clock, built(), seen);
            assert_eq!((super::today(clock, built(), certain), certain), (today, kept), "{what}");
        }
    }

    #[test]
    fn a_clock_is_plausible_that_is_after_what_is_certain_and_not_absurd() {
        let year = DAY * 365;
        for (wall, is_set, certain, plausible, what) in [
            (SystemTime::UNIX_EPOCH, false, built(), false, "no battery"),
            (SystemTime::UNIX_EPOCH, true, built(), false, "no battery, and a time server as bad"),
            (built() + year, false, built(), true, "set by somebody, on the first start"),
            (built() + year, false, built() + year * 2, false, "a clock reset"),
            (built() + year, false, built() + year + DAY / 2, true, "set back by a little"),
            (built() + year, true, built() + year * 2, true, "a time server"),
            (built() + year * 60, true, built() + year, false, "a clock gone mad"),
        ] {
            assert_eq!(is_plausible(Clock { wall, is_set }, built(), certain), plausible, "{what}");
        }
    }

    #[test]
    fn a_phone_with_a_right_clock_takes_it_after_eighteen_months_in_a_drawer() {
        let mut today = built();
        let mut validity = Validity::from(today);
        for _ in 0..2_000 {
            today += DAY;
            if validity.is_due(today) {
                validity = Validity::from(today);
            }
            // The box is switched off today, and knows no other day when it is switched on again.
            for in_drawer in [0, 30, 180, 548] {
                let phone = today + DAY * in_drawer;
                assert!(validity.begins < phone && phone <= validity.ends);
            }
        }
        assert!(validity.begins < today - DAY * 80, "a phone that is behind");
    }

    #[test]
    fn no_certificate_holds_longer_than_phones_take() {
        let Validity { begins, ends } = Validity::from(built());
        assert!(ends.duration_since(begins).unwrap() <= DAY * 825);
    }

    #[test]
    fn one_of_the_future_is_made_anew() {
        assert!(Validity::from(built() + DAY * 400).is_due(built()));
        assert!(!Validity::from(built()).is_due(built() + DAY * 100));
    }
}
