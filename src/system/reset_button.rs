//! The button that asks for a factory reset: a pin of the header held to ground while the box starts.
//!
//! Owns: what counts as asking, and what the person at the button is told meanwhile.
//! Does not own: the reset. It is done at the next start, before anything of what is to be forgotten is in use.

use std::fs;
use std::path::{Path, PathBuf};
use std::thread::sleep;
use std::time::{Duration, Instant};

use gpiocdev::Request;
use gpiocdev::line::{Bias, Value};

use super::pins;
use crate::clock::Clock;

/// How long the button is to be held.
const HOLD: Duration = Duration::from_secs(5);
/// How long after it was first seen held it must have been let go. A pin that something else holds never is.
const LET_GO_WITHIN: Duration = Duration::from_secs(30);
/// A contact that was away for less than this only bounced.
const BOUNCE: Duration = Duration::from_millis(50);
/// How often the pin is looked at. No part of a period of the mains, whose hum would look like a steady level then.
const LOOK_EVERY: Duration = Duration::from_millis(13);
/// How long the driver of the pins may take; that of the Pi 5 is behind PCI Express.
const DRIVER_WITHIN: Duration = Duration::from_secs(20);
/// Half a period of the blinking light.
const BLINK: Duration = Duration::from_millis(125);

/// Why the button could not be watched.
#[derive(Debug, thiserror::Error)]
#[error("GPIO {pin} cannot be read: {source}")]
pub struct CannotRead {
    pin: u32,
    source: gpiocdev::Error,
}

/// Watches the button on the header's pin with the BCM number `pin`, low when pressed, and returns whether a factory
/// reset was asked for. Blocks for as long as it is held, and not at all where it is not held or there are no pins.
/// What the person is to know goes through `tell`, and is shown by the board's green light.
///
/// # Errors
/// When somebody else uses the pin, or the kernel refuses it.
pub fn reset_is_asked_for(pin: u32, clock: &Clock, mut tell: impl FnMut(&str)) -> Result<bool, CannotRead> {
    let Some(chip) = wait_for_pins(clock) else { return Ok(false) };
    let cannot_read = |source| CannotRead { pin, source };
    let button = Request::builder()
        .on_chip(chip)
        .with_consumer("returnfeed reset button")
        .with_line(pin)
        .as_input()
        .with_bias(Bias::PullUp)
        .as_active_low()
        .request()
        .map_err(cannot_read)?;
    let pressed = || Ok(button.value(pin).map_err(cannot_read)? == Value::Active);
    // The pull-up takes a moment to lift a pin with a long wire on it.
    sleep(LOOK_EVERY);
    if !pressed()? {
        return Ok(false);
    }
    tell("The reset button is held. Hold it for 5 seconds to forget all settings, or let it go.");
    let mut light = Light::default();
    let mut watch = Watch::new(clock.now());
    loop {
        sleep(LOOK_EVERY);
        let now = clock.now();
        match watch.look(now, pressed()?) {
            Seen::Holding => light.blink(now - watch.since),
            Seen::HeldLongEnough => {
                if light.stay_on() {
                    tell("Let the reset button go now, and the box forgets all settings.");
                }
            }
            Seen::End(end) => {
                tell(end.words());
                if end != End::Asked {
                    light.give_back();
                }
                return Ok(end == End::Asked);
            }
        }
    }
}

fn wait_for_pins(clock: &Clock) -> Option<PathBuf> {
    let until = clock.now() + DRIVER_WITHIN;
    loop {
        let chip = pins::header_chip();
        if chip.is_some() || !pins::has_header() || clock.now() > until {
            return chip;
        }
        sleep(Duration::from_millis(100));
    }
}

/// How often, and for how long, the button was seen held.
struct Watch {
    since: Instant,
    last_held: Instant,
}

/// What one look at the button means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Seen {
    Holding,
    HeldLongEnough,
    End(End),
}

/// How holding the button ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    Asked,
    TooEarly,
    NeverLetGo,
}

impl End {
    fn words(self) -> &'static str {
        match self {
            Self::Asked => "The box forgets all settings and starts again.",
            Self::TooEarly => "The reset button was let go before 5 seconds were over; nothing is reset.",
            Self::NeverLetGo => "The reset button is held for ever, or is none: nothing is reset.",
        }
    }
}

impl Watch {
    /// The button is held at `now`.
    fn new(now: Instant) -> Self {
        Self { since: now, last_held: now }
    }

    fn look(&mut self, now: Instant, pressed: bool) -> Seen {
        if pressed {
            self.last_held = now;
        }
        let held = self.last_held - self.since;
        let away = now - self.last_held;
        match (away >= BOUNCE, held >= HOLD) {
            (true, true) => Seen::End(End::Asked),
            (true, false) => Seen::End(End::TooEarly),
            (false, _) if now - self.since >= LET_GO_WITHIN => Seen::End(End::NeverLetGo),
            (false, true) => Seen::HeldLongEnough,
            (false, false) => Seen::Holding,
        }
    }
}

/// The green light of the board, which shows the card's activity as a rule. Without one nothing is shown.
#[derive(Default)]
struct Light {
    folder: Option<PathBuf>,
    before: Option<String>,
    lit: Option<bool>,
    steady: bool,
}

impl Light {
    fn blink(&mut self, since: Duration) {
        self.show((since.as_millis() / BLINK.as_millis()).is_multiple_of(2));
    }

    /// Returns whether it is the first time.
    fn stay_on(&mut self) -> bool {
        self.show(true);
        !std::mem::replace(&mut self.steady, true)
    }

    fn give_back(&mut self) {
        if let (Some(folder), Some(before)) = (&self.folder, &self.before) {
            let _ = fs::write(folder.join("trigger"), before);
        }
    }

    fn show(&mut self, lit: bool) {
        if self.lit == Some(lit) {
            return;
        }
        self.lit = Some(lit);
        // Its driver may come later than that of the pins.
        if self.folder.is_none() {
            self.folder = act_light(Path::new("/sys/class/leds"));
            let trigger = |folder: &PathBuf| fs::read_to_string(folder.join("trigger")).ok();
            self.before = self.folder.as_ref().and_then(trigger).and_then(|triggers| chosen(&triggers).map(Into::into));
            if let Some(folder) = &self.folder {
                let _ = fs::write(folder.join("trigger"), "none");
            }
        }
        if let Some(folder) = &self.folder {
            let _ = fs::write(folder.join("brightness"), if lit { "1" } else { "0" });
        }
    }
}

/// The folder of the light that device trees call `ACT`, `led-act` or `led0`.
fn act_light(leds: &Path) -> Option<PathBuf> {
    let mut names: Vec<_> = fs::read_dir(leds).ok()?.flatten().map(|entry| entry.path()).collect();
    names.sort();
    names.into_iter().find(|path| {
        let name = path.file_name().unwrap_or_default().to_string_lossy().to_lowercase();
        name == "led0" || name.split(['-', '_', ':']).any(|part| part == "act")
    })
}

/// The trigger in force, which is the one in brackets (Documentation/ABI/testing/sysfs-class-led).
fn chosen(triggers: &str) -> Option<&str> {
    triggers.split_whitespace().find_map(|trigger| trigger.strip_prefix('[')?.strip_suffix(']'))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// How a watch ends that sees `levels`: for how many milliseconds the button is held, then let go, and so on.
    fn end_of(levels: &[u64]) -> Option<(End, u64)> {
        let (clock, hand) = Clock::manual();
        let start = clock.now();
        let mut watch = Watch::new(start);
        for (index, milliseconds) in levels.iter().enumerate() {
            for _ in 0..milliseconds / 10 {
                hand.advance(Duration::from_millis(10));
                if let Seen::End(end) = watch.look(clock.now(), index % 2 == 0) {
                    return Some((end, (clock.now() - start).as_millis() as u64));
                }
            }
        }
        None
    }

    #[test]
    fn five_seconds_and_letting_go_ask_for_a_reset() {
        assert_eq!(end_of(&[5000, 100]), Some((End::Asked, 5050)));
        assert_eq!(end_of(&[20_000, 100]), Some((End::Asked, 20_050)));
    }

    #[test]
    fn nothing_is_asked_for_before_the_button_is_let_go() {
        assert_eq!(end_of(&[25_000]), None);
    }

    #[test]
    fn less_than_five_seconds_ask_for_nothing() {
        assert_eq!(end_of(&[4900, 100]), Some((End::TooEarly, 4950)));
        assert_eq!(end_of(&[10, 100]), Some((End::TooEarly, 60)));
    }

    #[test]
    fn a_contact_that_bounces_is_held_all_the_time() {
        assert_eq!(end_of(&[1000, 40, 1000, 40, 3000, 100]), Some((End::Asked, 5130)));
    }

    #[test]
    fn a_pin_that_flickers_asks_for_nothing() {
        assert_eq!(end_of(&[500, 60, 6000, 100]), Some((End::TooEarly, 550)));
    }

    #[test]
    fn a_pin_that_something_else_holds_asks_for_nothing() {
        assert_eq!(end_of(&[40_000]), Some((End::NeverLetGo, 30_000)));
    }

    #[test]
    fn the_green_light_is_known_by_its_name_on_every_board() {
        for name in ["ACT", "led0", "led-act", "green:act"] {
            let leds = tempfile::tempdir().unwrap();
            for led in [name, "PWR", "default-on", "mmc0::", "contact"] {
                fs::create_dir(leds.path().join(led)).unwrap();
            }
            assert_eq!(act_light(leds.path()), Some(leds.path().join(name)));
        }
        assert_eq!(act_light(Path::new("/nowhere")), None);
    }

    #[test]
    fn the_trigger_in_force_is_the_one_in_brackets() {
        assert_eq!(chosen("none timer [mmc0] heartbeat\n"), Some("mmc0"));
        assert_eq!(chosen("none"), None);
    }
}
