//! What is due when: renewals, and how long to wait after what went wrong. Pure.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};

use crate::tls::dates::Validity;

const MINUTE: Duration = Duration::from_secs(60);
const HOUR: Duration = Duration::from_secs(3600);
const DAY: Duration = Duration::from_secs(24 * 3600);

/// The longest pause. A CA forgets failures within hours; a person who has mended something changes a setting, or
/// waits so long.
const LONGEST_PAUSE: Duration = DAY;

/// What went wrong, as far as it says how soon to try again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Failure {
    /// The CA was asked, and said no. Let's Encrypt allows five of those an hour for a name.
    Refused,
    /// The CA was not reached or not asked, so that it cost it nothing.
    Unreachable,
    /// Nobody knows: the program ended meanwhile.
    CutOff,
}

impl Failure {
    /// How long to wait after the `nth` failure in a row, counted from 1.
    fn pause(self, nth: u32) -> Duration {
        let (first, most) = match self {
            Self::Refused => (HOUR, LONGEST_PAUSE),
            Self::Unreachable => (MINUTE, HOUR),
            Self::CutOff => (5 * MINUTE, LONGEST_PAUSE),
        };
        let doubled = 1_u32.checked_shl(nth.saturating_sub(1)).unwrap_or(u32::MAX);
        first.saturating_mul(doubled).min(most)
    }
}

/// What is remembered of attempts, across restarts: a program that ends again and again asks no CA for anything each
/// time.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Attempts {
    /// The settings they were made with: who changes them wants to know at once whether they are right now.
    pub(super) settings: String,
    /// Those in a row that have failed.
    failures: u32,
    /// Not tried again before, in seconds since 1970.
    not_before: u64,
    /// What was wrong with the last one, for whoever can mend it.
    pub(super) trouble: Option<String>,
}

impl Attempts {
    /// None yet, with these settings.
    pub(super) fn none(settings: String) -> Self {
        Self { settings, ..Self::default() }
    }

    /// What was remembered, if it is of the same settings.
    pub(super) fn read(text: &str, settings: &str) -> Option<Self> {
        serde_json::from_str::<Self>(text).ok().filter(|attempts| attempts.settings == settings)
    }

    pub(super) fn text(&self) -> String {
        serde_json::to_string(self).expect("texts and numbers always serialise")
    }

    /// Until when to wait. A time that no pause reaches to was remembered by a wrong clock.
    pub(super) fn waits_until(&self, now: SystemTime) -> Option<SystemTime> {
        let until = UNIX_EPOCH.checked_add(Duration::from_secs(self.not_before))?;
        (now < until && until <= now + LONGEST_PAUSE).then_some(until)
    }

    /// Whether the last one has; after one that has not, nothing is wrong.
    pub(super) fn have_failed(&self) -> bool {
        self.failures > 0
    }

    /// One begins: until its end is known, it has failed.
    pub(super) fn begin(&mut self, now: SystemTime) {
        self.failures = self.failures.saturating_add(1);
        self.wait(now, Failure::CutOff.pause(self.failures));
    }

    /// It has failed, and the CA may have said how long to wait.
    pub(super) fn fail(&mut self, now: SystemTime, failure: Failure, asked_to_wait: Option<Duration>) {
        let pause = failure.pause(self.failures);
        self.wait(now, asked_to_wait.map_or(pause, |asked| pause.max(asked).min(LONGEST_PAUSE)));
    }

    /// It has brought a certificate. However soon that one seems due, a day is between one and the next.
    pub(super) fn succeed(&mut self, now: SystemTime, validity: Validity) {
        self.failures = 0;
        self.trouble = None;
        self.wait(now, (lifetime(validity) / 4).min(DAY));
    }

    fn wait(&mut self, now: SystemTime, pause: Duration) {
        self.not_before = (now + pause).duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
    }
}

/// When a CA suggests to renew (RFC 9773 §4.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Window {
    pub(super) start: SystemTime,
    pub(super) end: SystemTime,
}

impl Window {
    /// The time in it, at `fraction` of its length, that is this box's own: not all of a CA's customers come at once.
    fn at(self, fraction: f64) -> SystemTime {
        self.start + self.end.duration_since(self.start).unwrap_or_default().mul_f64(fraction.clamp(0.0, 1.0))
    }
}

fn lifetime(Validity { begins, ends }: Validity) -> Duration {
    ends.duration_since(begins).unwrap_or_default()
}

/// When a certificate is to be renewed: when its CA suggests to, else after two thirds of its life. However late the CA
/// says, a tenth is left for what may go wrong.
pub(super) fn renewal(validity: Validity, suggested: Option<Window>, fraction: f64) -> SystemTime {
    let (begins, life) = (validity.begins, lifetime(validity));
    match suggested {
        Some(window) => window.at(fraction).min(begins + life / 10 * 9),
        None => begins + life / 3 * 2,
    }
}

/// How soon to ask the CA again when it suggests to renew, where it says `after` (RFC 9773 §4.3.2).
pub(super) fn ask_again(after: Option<Duration>) -> Duration {
    after.unwrap_or(6 * HOUR).clamp(MINUTE, DAY)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn noon() -> SystemTime {
        UNIX_EPOCH + DAY * 20_800
    }

    /// Of ninety days.
    fn validity() -> Validity {
        Validity { begins: noon(), ends: noon() + DAY * 90 }
    }

    #[test]
    fn a_certificate_is_renewed_after_two_thirds_of_its_life_or_when_its_ca_suggests_to() {
        let window = |start, end| Some(Window { start: noon() + DAY * start, end: noon() + DAY * end });
        for (suggested, fraction, day) in [
            (None, 0.9, 60),
            (window(50, 52), 0.0, 50),
            (window(50, 52), 0.5, 51),
            (window(50, 52), 1.0, 52),
            (window(1, 1), 0.5, 1),
            (window(70, 60), 0.5, 70),
            (window(85, 300), 0.5, 81),
        ] {
            assert_eq!(renewal(validity(), suggested, fraction), noon() + DAY * day, "{suggested:?}");
        }
    }

    #[test]
    fn pauses_grow_and_are_remembered() {
        let mut attempts = Attempts::none("names".into());
        let mut now = noon();
        let mut hours = Vec::new();
        for _ in 0..7 {
            assert_eq!(attempts.waits_until(now), None);
            attempts.begin(now);
            attempts.fail(now, Failure::Refused, None);
            attempts = Attempts::read(&attempts.text(), "names").unwrap();
            let until = attempts.waits_until(now).unwrap();
            hours.push(until.duration_since(now).unwrap().as_secs() / 3600);
            now = until;
        }
        assert_eq!(hours, [1, 2, 4, 8, 16, 24, 24]);
        assert_eq!(Attempts::read(&attempts.text(), "other names"), None);
        assert_eq!(Attempts::read("{", "names"), None);
    }

    #[test]
    fn a_program_that_ends_in_every_attempt_asks_ever_less_often() {
        let mut attempts = Attempts::none(String::new());
        let mut now = noon();
        let mut asked = 0;
        while now < noon() + DAY {
            if attempts.waits_until(now).is_none() {
                attempts.begin(now);
                asked += 1;
            }
            now += Duration::from_secs(10);
        }
        // After 5, 10, 20 … minutes.
        assert_eq!(asked, 9);
    }

    #[test]
    fn a_ca_that_asks_to_wait_longer_is_obeyed_up_to_a_day() {
        for (failure, asked, pause) in [
            (Failure::Unreachable, None, MINUTE),
            (Failure::Unreachable, Some(HOUR * 3), HOUR * 3),
            (Failure::Refused, Some(MINUTE), HOUR),
            (Failure::Refused, Some(DAY * 30), DAY),
        ] {
            let mut attempts = Attempts::none(String::new());
            attempts.begin(noon());
            attempts.fail(noon(), failure, asked);
            assert_eq!(attempts.waits_until(noon()), Some(noon() + pause), "{failure:?} {asked:?}");
        }
    }

    #[test]
    fn after_one_certificate_the_next_waits_whatever_the_clock_thinks_of_it() {
        let mut attempts = Attempts::none(String::new());
        attempts.begin(noon());
        attempts.succeed(noon(), validity());
        assert_eq!(attempts.waits_until(noon()), Some(noon() + DAY));
        attempts.succeed(noon(), Validity { begins: noon(), ends: noon() + HOUR * 4 });
        assert_eq!(attempts.waits_until(noon()), Some(noon() + HOUR));
    }

    #[test]
    fn a_time_remembered_by_a_clock_gone_mad_is_not_waited_for() {
        let mut attempts = Attempts::none(String::new());
        attempts.begin(noon() + DAY * 365 * 10);
        assert_eq!(attempts.waits_until(noon()), None);
    }

    #[test]
    fn a_ca_is_asked_when_to_renew_neither_all_the_time_nor_never() {
        assert_eq!(ask_again(None), HOUR * 6);
        assert_eq!(ask_again(Some(Duration::ZERO)), MINUTE);
        assert_eq!(ask_again(Some(HOUR)), HOUR);
        assert_eq!(ask_again(Some(DAY * 40)), DAY);
    }
}
