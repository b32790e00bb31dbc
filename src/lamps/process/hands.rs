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
        Ok(Self {
            leds: strip.map(|strip| Teller::start(strip, record.clone())).transpose()?,
            record,
            pins: None,
            taken: BTreeMap::new(),
            pin_errors: BTreeMap::new(),
            told: None,
            led_error: None,
            next_try: None,
            report: Report::default(),
        })
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

    /// Nothing is lit.
    pub(super) fn darken(&mut self, panel: &Panel) {
        self.set_levels(panel, panel.dark());
        if let (Some(leds), Some((told, _))) = (&self.leds, &self.told) {
            leds.show_last(vec![[0; 3]; told.len()]);
        }
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
        let Some(leds) = &self.leds else { return };
        let colours = panel.colours(now);
        let known = self.told.as_ref().is_some_and(|(told, at)| *told == colours && now < *at + REMIND);
        if !known {
            leds.show(colours.clone());
            self.told = Some((colours, now));
        }
        let error = leds.error();
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
