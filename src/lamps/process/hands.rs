//! What reaches for pins and LEDs, shows what the panel says, and knows what it could not have.

use std::collections::BTreeMap;
use std::io;
use std::path::Path;
use std::time::{Duration, Instant};

use super::super::backend::{self, Pins, Recorder, Simulated};
use super::super::look::Rgb;
use super::super::panel::{Lamp, Panel};
use super::super::wire::Report;
use super::strip::{Strip, Teller};

/// How often what could not be had is tried again.
const RETRY: Duration = Duration::from_millis(500);
/// How often LEDs are told their colours though they are the same: one that was plugged in, or was disturbed.
const REMIND: Duration = Duration::from_secs(1);

pub(super) struct Hands {
    /// Nothing but this is used.
    record: Option<Recorder>,
    pins: Option<Box<dyn Pins>>,
    /// The pins that were taken, and the level of each.
    taken: BTreeMap<u8, bool>,
    /// Why a pin is not as it should be; that of all of them under no pin.
    pin_errors: BTreeMap<Option<u8>, String>,
    leds: Option<Teller>,
    /// What the LEDs were told last, and when.
    told: Option<(Vec<Rgb>, Instant)>,
    led_error: Option<String>,
    next_try: Option<Instant>,
    report: Report,
}

impl Hands {
    pub(super) fn new(strip: Option<Strip>, record: Option<&Path>) -> io::Result<Self> {
        let record = record.map(Recorder::create).transpose()?;
        let leds = strip.map(|strip| Teller::start(strip, record.clone())).transpose()?;
        Ok(Self::with(leds, record))
    }

    fn with(leds: Option<Teller>, record: Option<Recorder>) -> Self {
        Self {
            leds,
            record,
            pins: None,
            taken: BTreeMap::new(),
            pin_errors: BTreeMap::new(),
            told: None,
            led_error: None,
            next_try: None,
            report: Report::default(),
        }
    }

    /// What is wrong, and what drives the pins.
    pub(super) fn report(&self) -> &Report {
        &self.report
    }

    /// When something is to be done beside what the panel says.
    pub(super) fn poll_timeout(&self, now: Instant) -> Instant {
        let remind = self.told.as_ref().map(|(_, at)| *at + REMIND);
        self.next_try.into_iter().chain(remind).min().unwrap_or(now + RETRY)
    }

    /// Reaches for what is not held yet, now and then.
    pub(super) fn reach(&mut self, now: Instant, panel: &Panel) {
        if self.next_try.is_some_and(|at| now < at) {
            return;
        }
        self.next_try = Some(now + RETRY);
        if self.pins.as_ref().is_some_and(|pins| pins.name() == Simulated::default().name())
            && self.record.is_none()
            && backend::pins_have_come()
        {
            (self.pins, self.taken) = (None, BTreeMap::new());
        }
        if self.pins.is_none() {
            self.reach_for_pins();
        }
        self.take_pins(panel);
        self.sum_up(panel);
    }

    fn reach_for_pins(&mut self) {
        let found = match &self.record {
            Some(recorder) => Ok(Some(Box::new(Simulated::recorded(recorder.clone())) as Box<dyn Pins>)),
            None => backend::pins(),
        };
        self.pin_errors.clear();
        match found {
            Ok(Some(pins)) => self.pins = Some(pins),
            Ok(None) => {
                self.pin_errors.insert(None, "the driver of the pins is not loaded".into());
            }
            Err(error) => {
                self.pin_errors.insert(None, error);
            }
        }
    }

    fn take_pins(&mut self, panel: &Panel) {
        let Some(pins) = &mut self.pins else { return };
        let dark = panel.dark();
        for pin in panel.lamps().flat_map(Lamp::pins).filter(|pin| !self.taken.contains_key(pin)).collect::<Vec<_>>() {
            let dark_high = level(dark, pin);
            match pins.take(pin, dark_high) {
                Ok(()) => {
                    self.taken.insert(pin, dark_high);
                    self.pin_errors.remove(&Some(pin));
                }
                Err(error) => {
                    self.pin_errors.insert(Some(pin), error);
                }
            }
        }
    }

    /// Shows what the panel says; asks nothing of what is as it should be.
    pub(super) fn show(&mut self, now: Instant, panel: &Panel) {
        self.set_levels(panel, panel.levels(now));
        self.tell_leds(now, panel);
    }

    /// Why only a new process could mend what LEDs show.
    pub(super) fn gave_up(&self, now: Instant) -> Option<&str> {
        self.led_error.as_deref().filter(|_| self.leds.as_ref().is_some_and(|leds| leds.has_given_up(now)))
    }

    /// Nothing is lit.
    pub(super) fn darken(&mut self, panel: &Panel) {
        self.darken_pins(panel);
        if let (Some(leds), Some((told, _))) = (&self.leds, &self.told) {
            leds.show_last(vec![[0; 3]; told.len()]);
        }
    }

    /// No pin is lit; LEDs stay as they are.
    pub(super) fn darken_pins(&mut self, panel: &Panel) {
        self.set_levels(panel, panel.dark());
    }

    fn set_levels(&mut self, panel: &Panel, levels: u32) {
        let Some(pins) = &mut self.pins else { return };
        let mut changed = false;
        for (pin, is) in &mut self.taken {
            let wanted = level(levels, *pin);
            if *is == wanted {
                continue;
            }
            match pins.set(*pin, wanted) {
                Ok(()) => {
                    *is = wanted;
                    changed |= self.pin_errors.remove(&Some(*pin)).is_some();
                }
                Err(error) => changed |= self.pin_errors.insert(Some(*pin), error.clone()) != Some(error),
            }
        }
        if changed {
            self.sum_up(panel);
        }
    }

    fn tell_leds(&mut self, now: Instant, panel: &Panel) {
        let Some(leds) = &mut self.leds else { return };
        let colours = panel.colours(now);
        let known = self.told.as_ref().is_some_and(|(told, at)| *told == colours && now < *at + REMIND);
        if !known {
            leds.show(colours.clone());
            self.told = Some((colours, now));
        }
        let error = leds.look(now);
        if self.led_error != error {
            self.led_error = error;
            self.sum_up(panel);
        }
    }

    /// Makes the report anew, and logs what is new in it.
    fn sum_up(&mut self, panel: &Panel) {
        let all = self.pin_errors.get(&None);
        let mut errors = BTreeMap::new();
        for lamp in panel.lamps() {
            let on_pins = lamp.pins().filter_map(|pin| self.pin_errors.get(&Some(pin)).or(all));
            let on_leds = self.led_error.iter().filter(|_| lamp.leds.is_some());
            let mut words: Vec<&str> = on_pins.chain(on_leds).map(String::as_str).collect();
            words.dedup();
            if !words.is_empty() {
                errors.insert(lamp.name.clone(), words.join("; "));
            }
        }
        for (lamp, error) in errors.iter().filter(|(lamp, error)| self.report.errors.get(*lamp) != Some(error)) {
            tracing::error!(lamp, "{error}");
        }
        let backend = self.pins.as_ref().map_or("none", |pins| pins.name()).to_owned();
        self.report = Report { backend, errors };
    }
}

fn level(levels: u32, pin: u8) -> bool {
    levels.checked_shr(pin.into()).unwrap_or(0) & 1 == 1
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;
    use crate::clock::Clock;
    use crate::lamps::backend::Leds;

    struct Stuck(mpsc::Receiver<()>);

    impl Leds for Stuck {
        fn show(&mut self, _: &[Rgb]) -> Result<(), String> {
            // The first write goes through, the second one never.
            self.0.recv().map_err(|_| "the test is over".to_owned())
        }
    }

    #[test]
    fn a_strip_that_stands_still_is_reported_for_its_lamps_and_pins_go_on_until_it_is_given_up() {
        let lamp = |name: &str, pin, leds| Lamp {
            name: name.into(),
            program_pin: pin,
            preview_pin: None,
            active_low: false,
            brightness: 100,
            leds,
        };
        let (clock, hand) = Clock::manual();
        let (go_on, waits) = mpsc::channel();
        let waits = std::sync::Mutex::new(Some(waits));
        let leds = Teller::driving(Box::new(move || {
            let waits = waits.lock().unwrap().take().ok_or("opened once")?;
            Ok(Box::new(Stuck(waits)) as Box<dyn Leds>)
        }));
        let directory = tempfile::tempdir().unwrap();
        let record = Recorder::create(&directory.path().join("record")).unwrap();
        let mut hands = Hands::with(Some(leds.unwrap()), Some(record));
        let lamps = vec![lamp("pin", Some(17), None), lamp("ring", None, Some((0, 2)))];
        let mut panel = Panel::new(clock.now(), lamps, 2);
        go_on.send(()).unwrap();
        let mut ring_fault = None;
        let began = clock.now();
        let gave_up = loop {
            let now = clock.now();
            panel.handle_timeout(now);
            hands.reach(now, &panel);
            hands.show(now, &panel);
            assert_eq!(hands.taken.get(&17), Some(&level(panel.levels(now), 17)), "the pin goes on");
            assert!(!hands.report().errors.contains_key("pin"));
            if hands.report().errors.contains_key("ring") {
                ring_fault.get_or_insert(now - began);
            }
            if hands.gave_up(now).is_some() {
                break now - began;
            }
            assert!(now - began < Duration::from_secs(1800), "{:?}", hands.report());
            hand.advance(Duration::from_millis(20));
            // The other thread runs on real time.
            std::thread::sleep(Duration::from_millis(1));
        };
        let fault = ring_fault.expect("it was reported before");
        assert!(fault >= Duration::from_secs(1) && gave_up >= fault + Duration::from_secs(1), "{fault:?} {gave_up:?}");
    }
}
