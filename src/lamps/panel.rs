//! All lamps together: what they were told, for how long it holds, and the levels and colours at one moment. Pure.

use std::time::{Duration, Instant};

use super::look::{Lit, Look, Rgb};
use super::wire::{Order, TestOrder};
use super::{FRESH, Signal, ws2812};

/// One lamp, and where its lights are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lamp {
    /// Its name.
    pub name: String,
    /// The pin of its program light.
    pub program_pin: Option<u8>,
    /// The pin of its preview light.
    pub preview_pin: Option<u8>,
    /// A low pin lights it.
    pub active_low: bool,
    /// In percent, 1 to 100.
    pub brightness: u8,
    /// Its LEDs on the strip, counted from 0: the first, and the first that is not its own.
    pub leds: Option<(u16, u16)>,
}

impl Lamp {
    /// Its pins.
    pub fn pins(&self) -> impl Iterator<Item = u8> {
        self.program_pin.into_iter().chain(self.preview_pin)
    }
}

/// How often a dimmed pin goes on and off. No camera sees it: 200 times a second, at most one part in a hundred of it lit
/// for 50 µs.
pub const PWM_PERIOD: Duration = Duration::from_millis(5);

/// The lamps and what they were told.
#[derive(Debug)]
pub struct Panel {
    lamps: Vec<Shown>,
    /// Every pin that a low level lights.
    active_low: u32,
    leds: u16,
    began: Instant,
    order: Order,
    fresh_until: Option<Instant>,
    /// A test is shown for as long as somebody asks for it.
    asked_until: Option<Instant>,
}

#[derive(Debug)]
struct Shown {
    lamp: Lamp,
    look: Look,
    since: Instant,
}

impl Panel {
    /// Lamps that were told nothing yet, on a strip of `leds` LEDs.
    pub fn new(now: Instant, lamps: Vec<Lamp>, leds: u16) -> Self {
        let low = lamps.iter().filter(|lamp| lamp.active_low).flat_map(Lamp::pins);
        let active_low = low.fold(0, |mask, pin| mask | bit(pin));
        let shown = |lamp| Shown { lamp, look: Look::Tally(Signal::Unknown), since: now };
        let lamps = lamps.into_iter().map(shown).collect();
        Self { lamps, active_low, leds, began: now, order: Order::default(), fresh_until: None, asked_until: None }
    }

    /// The lamps.
    pub fn lamps(&self) -> impl Iterator<Item = &Lamp> {
        self.lamps.iter().map(|shown| &shown.lamp)
    }

    /// Takes what the program says. `monotonic` is what `CLOCK_MONOTONIC` shows now or a little later.
    pub fn told(&mut self, now: Instant, monotonic: Duration, order: Order) {
        self.fresh_until = Some(now + Duration::from_nanos(order.until_ns).saturating_sub(monotonic).min(FRESH));
        self.asked_until = order.test.is_some().then(|| now + FRESH);
        self.order = order;
        self.handle_timeout(now);
    }

    /// The program is gone: nothing it said holds.
    pub fn untold(&mut self, now: Instant) {
        (self.fresh_until, self.asked_until) = (None, None);
        self.handle_timeout(now);
    }

    /// Lets go of what is too old. To be called at [`Panel::poll_timeout`] and at any other time.
    pub fn handle_timeout(&mut self, now: Instant) {
        let fresh = self.fresh_until.is_some_and(|until| now < until);
        let test = self.order.test.as_ref().filter(|_| self.asked_until.is_some_and(|until| now < until));
        for shown in &mut self.lamps {
            let told = self.order.lamps.get(&shown.lamp.name).copied().filter(|_| fresh);
            let look = match test {
                Some(TestOrder { lamp: None }) => Look::Test,
                Some(TestOrder { lamp: Some(name) }) if *name == shown.lamp.name => Look::Identify,
                _ => Look::Tally(told.unwrap_or_default()),
            };
            if shown.look != look {
                (shown.look, shown.since) = (look, now);
            }
        }
    }

    /// When levels or colours become different, if nothing is told before.
    pub fn poll_timeout(&self, now: Instant) -> Option<Instant> {
        let looks =
            self.lamps.iter().filter_map(|shown| shown.look.changes_in(now - shown.since)).map(|next| now + next);
        let ends = [self.fresh_until, self.asked_until].into_iter().flatten().filter(|at| *at > now);
        let dimmed = self.lamps.iter().filter_map(|shown| shown.next_dimming(now, now - self.began));
        looks.chain(ends).chain(dimmed).min()
    }

    /// The level of every pin, bit n that of pin n; those of pins that are no lamp's say nothing.
    pub fn levels(&self, now: Instant) -> u32 {
        let phase = now - self.began;
        let lit = self.lamps.iter().filter(|shown| shown.dim_is_on(phase)).flat_map(|shown| shown.lit_pins(now));
        lit.fold(0, |mask, pin| mask | bit(pin)) ^ self.active_low
    }

    /// The levels at which nothing is lit.
    pub fn dark(&self) -> u32 {
        self.active_low
    }

    /// The colour of every LED of the strip.
    pub fn colours(&self, now: Instant) -> Vec<Rgb> {
        let mut colours = vec![[0; 3]; self.leds.into()];
        for shown in &self.lamps {
            let Some((first, end)) = shown.lamp.leds else { continue };
            let own = colours.get_mut(usize::from(first)..usize::from(end)).unwrap_or_default();
            own.fill(ws2812::dimmed(shown.lit(now).colour, shown.lamp.brightness));
        }
        colours
    }
}

impl Shown {
    fn lit(&self, now: Instant) -> Lit {
        self.look.at(now - self.since)
    }

    fn lit_pins(&self, now: Instant) -> impl Iterator<Item = u8> {
        let lit = self.lit(now);
        let program = self.lamp.program_pin.filter(|_| lit.program);
        program.into_iter().chain(self.lamp.preview_pin.filter(|_| lit.preview))
    }

    /// For how long of each period it is lit; `None` when that is all of it.
    fn dimmed_to(&self) -> Option<Duration> {
        (self.lamp.brightness < 100).then(|| PWM_PERIOD * u32::from(self.lamp.brightness) / 100)
    }

    fn dim_is_on(&self, phase: Duration) -> bool {
        self.dimmed_to().is_none_or(|on| into_period(phase) < on)
    }

    /// When its pins go on or off because it is dimmed.
    fn next_dimming(&self, now: Instant, phase: Duration) -> Option<Instant> {
        let on = self.dimmed_to()?;
        self.lit_pins(now).next()?;
        let into = into_period(phase);
        Some(now + if into < on { on } else { PWM_PERIOD } - into)
    }
}

fn into_period(phase: Duration) -> Duration {
    let nanos = phase.as_nanos() % PWM_PERIOD.as_nanos();
    Duration::from_nanos(u64::try_from(nanos).unwrap_or(0))
}

fn bit(pin: u8) -> u32 {
    1_u32.checked_shl(pin.into()).unwrap_or(0)
}

#[cfg(test)]
mod tests;
