//! What a lamp looks like over time. Pure.
//!
//! | look | on pins | on LEDs |
//! |---|---|---|
//! | program | the program light | red |
//! | preview | the preview light | green |
//! | safe | dark | dark |
//! | unknown | both, two short flashes every 1.6 s | white, likewise |
//! | test | program, preview, dark, each 160 ms | red, green, blue |
//! | identify | both, five quick blinks every 1.6 s | blue, likewise |
//!
//! What is no tally moves; what is tally never does.

use std::time::Duration;

use super::Signal;

/// A colour: red, green, blue.
pub type Rgb = [u8; 3];

/// What a lamp shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Look {
    /// What is known of its camera.
    Tally(Signal),
    /// That all its lights work.
    Test,
    /// Which one it is.
    Identify,
}

/// A lamp at one moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Lit {
    /// Its program light is on.
    pub program: bool,
    /// Its preview light is on.
    pub preview: bool,
    /// The colour of its LEDs.
    pub colour: Rgb,
}

const DARK: Lit = Lit { program: false, preview: false, colour: [0; 3] };
const PROGRAM: Lit = Lit { program: true, preview: false, colour: [255, 0, 0] };
const PREVIEW: Lit = Lit { program: false, preview: true, colour: [0, 255, 0] };
const BOTH_WHITE: Lit = Lit { program: true, preview: true, colour: [255; 3] };
const BOTH_BLUE: Lit = Lit { program: true, preview: true, colour: [0, 0, 255] };
const BLUE_ALONE: Lit = Lit { colour: [0, 0, 255], ..DARK };

/// For how many milliseconds something is shown.
type Step = (u64, Lit);

const UNKNOWN: [Step; 4] = [(80, BOTH_WHITE), (120, DARK), (80, BOTH_WHITE), (1320, DARK)];
const TEST: [Step; 3] = [(160, PROGRAM), (160, PREVIEW), (160, BLUE_ALONE)];
const IDENTIFY: [Step; 10] = [
    (100, BOTH_BLUE),
    (100, DARK),
    (100, BOTH_BLUE),
    (100, DARK),
    (100, BOTH_BLUE),
    (100, DARK),
    (100, BOTH_BLUE),
    (100, DARK),
    (100, BOTH_BLUE),
    (700, DARK),
];

impl Look {
    /// What is lit when it has been shown for `since`.
    pub fn at(self, since: Duration) -> Lit {
        self.step(since).0
    }

    /// How long after `since` it looks otherwise; `None` if never.
    pub fn changes_in(self, since: Duration) -> Option<Duration> {
        self.step(since).1
    }

    fn step(self, since: Duration) -> (Lit, Option<Duration>) {
        let steps: &[Step] = match self {
            Self::Tally(Signal::Safe) => return (DARK, None),
            Self::Tally(Signal::Preview) => return (PREVIEW, None),
            Self::Tally(Signal::Program) => return (PROGRAM, None),
            Self::Tally(Signal::Unknown) => &UNKNOWN,
            Self::Test => &TEST,
            Self::Identify => &IDENTIFY,
        };
        let nanos = |ms: u64| u128::from(ms) * 1_000_000;
        let round: u128 = steps.iter().map(|(ms, _)| nanos(*ms)).sum();
        let mut left = since.as_nanos().checked_rem(round).unwrap_or(0);
        for (ms, lit) in steps {
            if left < nanos(*ms) {
                let rest = nanos(*ms) - left;
                return (*lit, Some(Duration::from_nanos(u64::try_from(rest).unwrap_or(u64::MAX))));
            }
            left -= nanos(*ms);
        }
        (DARK, None)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const MOVING: [Look; 3] = [Look::Tally(Signal::Unknown), Look::Test, Look::Identify];

    /// When it becomes lit or dark in its first `ms`, as (program, preview).
    fn edges(look: Look, ms: u64) -> Vec<(u64, bool, bool)> {
        let mut edges = Vec::new();
        let mut at = Duration::ZERO;
        while at < Duration::from_millis(ms) {
            let lit = look.at(at);
            edges.push((at.as_millis() as u64, lit.program, lit.preview));
            let Some(next) = look.changes_in(at) else { break };
            at += next;
        }
        edges
    }

    #[test]
    fn unknown_is_two_short_flashes_of_all_lights_every_1600_ms() {
        let (on, off) = (|at| (at, true, true), |at| (at, false, false));
        let flashes = [on(0), off(80), on(200), off(280), on(1600), off(1680), on(1800), off(1880)];
        assert_eq!(edges(Look::Tally(Signal::Unknown), 3200), flashes);
    }

    #[test]
    fn tally_stands_still() {
        for (signal, program, preview) in
            [(Signal::Safe, false, false), (Signal::Preview, false, true), (Signal::Program, true, false)]
        {
            assert_eq!(edges(Look::Tally(signal), 5000), [(0, program, preview)]);
        }
    }

    #[test]
    fn what_is_no_tally_is_never_still_for_longer_than_a_glance_while_it_is_lit() {
        for look in MOVING {
            let edges = edges(look, 10_000);
            let lit = edges.windows(2).filter(|two| two[0].1 || two[0].2).map(|two| two[1].0 - two[0].0);
            assert!(lit.max() <= Some(160), "{look:?}");
            let dark = edges.windows(2).filter(|two| !two[0].1 && !two[0].2).map(|two| two[1].0 - two[0].0);
            assert!(dark.max() < Some(1600), "{look:?}");
        }
    }

    #[test]
    fn unknown_test_and_identify_are_told_apart_by_their_flashes() {
        let flashes = |look| {
            let within = edges(look, 1600);
            within.windows(2).filter(|two| two[1].1 && !two[0].1).count() + usize::from(within[0].1)
        };
        assert_eq!(flashes(Look::Tally(Signal::Unknown)), 2);
        assert_eq!(flashes(Look::Identify), 5);
        // The test's lights take turns, the others' never do.
        assert!(edges(Look::Test, 1600).iter().all(|(_, program, preview)| !(*program && *preview)));
        for look in [Look::Tally(Signal::Unknown), Look::Identify] {
            assert!(edges(look, 1600).iter().all(|(_, program, preview)| program == preview), "{look:?}");
        }
    }

    #[test]
    fn unknown_is_neither_red_nor_green_on_leds() {
        for at in (0..3200).map(Duration::from_millis) {
            let [red, green, _] = Look::Tally(Signal::Unknown).at(at).colour;
            assert_eq!(red, green);
        }
    }

    proptest! {
        #[test]
        fn nothing_changes_before_it_was_said_to(ms in 0_u64..100_000_000, part in 0.0..1.0_f64, which in 0_usize..3) {
            let since = Duration::from_millis(ms);
            let look = MOVING[which];
            let next = look.changes_in(since).unwrap();
            prop_assert!(next > Duration::ZERO);
            prop_assert_eq!(look.at(since + next.mul_f64(part * 0.999)), look.at(since));
            prop_assert_ne!(look.at(since + next), look.at(since));
        }
    }
}
