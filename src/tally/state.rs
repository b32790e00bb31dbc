//! The merged state: what the switcher says of inputs and of their combination → the tally of each
//! input and camera.
//!
//! Owns: how the parts are weighed against one another, and for how long each is believed. Does
//! not own: where they come from. A source of tally, vMix's client or another, hands in
//! [`Update`]s; whoever wants to know polls [`State::snapshot`].
//!
//! # What is believed
//! - The tally line is the fresher and decides for mix 1: what it calls program is program now,
//!   and an older document never makes it less.
//! - The document says how inputs are combined: what is a layer of an input on air, or is shown by
//!   a mix that is on air as an input, is on air too, and likewise for preview.
//! - The other mixes are in the document only.
//! - A camera for which only some overlays count is spared a 1 of the tally line when a document
//!   asked for *after* the line changed explains it by other overlays alone; until then it is on air.
//! - When the number of inputs changed, the document's numbers are in doubt until a newer document
//!   comes: meanwhile a tally only rises. After [`DOUBT`] the document is dropped.
//! - A document older than [`STALE`] still names the inputs, but no longer puts anything on air or
//!   next by layers, mixes and overlays. Nor does it let go of it: what it would have raised, and the
//!   line calls safe, is unknown. A camera that counts more than mix 1 and all overlays is unknown
//!   unless the line calls it program or preview.
//! - A camera with an input of which nothing is known is unknown unless another puts it on air.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::camera::{BoundCamera, bind};
use super::xml::Document;
use super::{Camera, CameraConfig, Input, Link, LinkState, Snapshot, Source, Tally};

/// For so long the document's numbers may be in doubt.
pub const DOUBT: Duration = Duration::from_millis(1500);
/// For so long a document is believed when no newer one comes.
pub const STALE: Duration = Duration::from_secs(6);

/// What a source of tally tells.
#[derive(Clone, Debug)]
pub enum Update {
    /// The tally of mix 1, one entry per input in input order.
    Tally(Vec<Tally>),
    /// How inputs are named and combined.
    Document {
        /// What it says.
        document: Document,
        /// When it was asked for: it is no older than that.
        asked: Instant,
    },
    /// The program's version.
    Version(String),
    /// Which host is being tried; `None` while no address is known.
    Trying(Option<String>),
    /// Nothing is known any more.
    Lost,
}

/// What a step did to the snapshot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub enum Change {
    /// Nothing at all.
    None,
    /// Only when the source was last heard.
    Refreshed,
    /// Something that readers must learn at once.
    Changed,
}

/// A camera with references that the switcher has no input for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Missing {
    /// The camera.
    pub camera: Arc<str>,
    /// The references, as the settings write them.
    pub references: Vec<String>,
}

struct Held {
    document: Document,
    asked: Instant,
    seen: Instant,
    stale: bool,
    numbers: HashMap<Arc<str>, u32>,
}

struct Line {
    tally: Vec<Tally>,
    heard: Instant,
    changed: Instant,
}

/// The merged state.
pub struct State {
    cameras: Vec<BoundCamera>,
    line: Option<Line>,
    held: Option<Held>,
    doubt_since: Option<Instant>,
    length_changed: Option<Instant>,
    link: Link,
    snapshot: Arc<Snapshot>,
}

/// Which mixes and overlays count.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Rule<'a> {
    mixes: &'a [u32],
    overlays: Option<&'a [u32]>,
}

impl Rule<'_> {
    const MAIN: Rule<'static> = Rule { mixes: &[1], overlays: None };

    fn main(&self) -> bool {
        self.mixes.contains(&1)
    }

    fn overlay(&self, number: u32) -> bool {
        self.overlays.is_none_or(|overlays| overlays.contains(&number))
    }
}

impl State {
    /// A state that knows nothing yet.
    pub fn new(cameras: Vec<CameraConfig>) -> Self {
        let mut state = Self {
            cameras: cameras.into_iter().map(BoundCamera::new).collect(),
            line: None,
            held: None,
            doubt_since: None,
            length_changed: None,
            link: Link::default(),
            snapshot: Arc::default(),
        };
        let _ = state.refresh();
        state
    }

    /// Takes other cameras; what was learnt of the inputs of those that stay is kept.
    pub fn set_cameras(&mut self, now: Instant, cameras: Vec<CameraConfig>) -> Change {
        let old = std::mem::take(&mut self.cameras);
        self.cameras = cameras.into_iter().map(BoundCamera::new).collect();
        for camera in &mut self.cameras {
            if let Some(known) = old.iter().find(|known| known.name == camera.name) {
                camera.inherit(known);
            }
        }
        if let Some(held) = &self.held {
            bind(&mut self.cameras, &held.document, |key| held.numbers.contains_key(key));
        }
        self.expire(now);
        self.refresh()
    }

    /// Takes what a source tells.
    pub fn apply(&mut self, now: Instant, update: Update) -> Change {
        match update {
            Update::Tally(tally) => self.take_tally(now, tally),
            Update::Document { document, asked } => self.take_document(now, document, asked),
            Update::Version(version) => self.link.version = Some(version),
            Update::Trying(host) => {
                if self.link.host != host {
                    // Another switcher: nothing of the old one's inputs holds.
                    self.forget();
                    self.held = None;
                    let state = if host.is_some() { LinkState::Connecting } else { LinkState::Waiting };
                    self.link = Link { host, state, ..Link::default() };
                }
            }
            Update::Lost => {
                self.forget();
                self.link.connected_at = None;
                if self.link.state == LinkState::Live {
                    self.link.state = LinkState::Lost;
                }
            }
        }
        self.expire(now);
        self.refresh()
    }

    /// Lets go of what is too old. To be called at [`State::poll_timeout`].
    pub fn handle_timeout(&mut self, now: Instant) -> Change {
        if self.expire(now) { self.refresh() } else { Change::None }
    }

    /// When [`State::handle_timeout`] is to be called.
    pub fn poll_timeout(&self) -> Option<Instant> {
        let held = self.held.as_ref().filter(|_| self.line.is_some())?;
        let stale = Some(held.seen + STALE).filter(|_| !held.stale);
        let dropped = self.doubt_since.map(|since| since + DOUBT);
        stale.into_iter().chain(dropped).min()
    }

    /// What is known now.
    pub fn snapshot(&self) -> Arc<Snapshot> {
        self.snapshot.clone()
    }

    /// Whether there is a document that is believed in full.
    pub fn has_document(&self) -> bool {
        self.combined().is_some()
    }

    /// The cameras with references that the document has no input for; `None` while there is nothing
    /// to tell it by.
    pub fn missing(&self) -> Option<Vec<Missing>> {
        if self.held.is_none() || self.line.is_none() {
            return None;
        }
        let missing =
            |camera: &BoundCamera| Missing { camera: camera.name.clone(), references: camera.missing().collect() };
        Some(self.cameras.iter().map(missing).filter(|missing| !missing.references.is_empty()).collect())
    }

    fn take_tally(&mut self, now: Instant, tally: Vec<Tally>) {
        if self.link.state != LinkState::Live {
            self.link.state = LinkState::Live;
            self.link.connected_at = Some(now);
        }
        match &mut self.line {
            Some(line) => {
                line.heard = now;
                if line.tally != tally {
                    line.changed = now;
                    if line.tally.len() != tally.len() {
                        self.length_changed = Some(now);
                        self.doubt_since.get_or_insert(now);
                    }
                    line.tally = tally;
                }
            }
            None => {
                self.line = Some(Line { tally, heard: now, changed: now });
                // Its numbers may be those of before the interruption.
                self.length_changed = Some(now);
                if self.held.is_some() {
                    self.doubt_since = Some(now);
                }
            }
        }
    }

    fn take_document(&mut self, now: Instant, document: Document, asked: Instant) {
        if self.held.as_ref().is_some_and(|held| held.asked > asked) {
            return;
        }
        if let Some(version) = &document.version {
            self.link.version = Some(version.clone());
        }
        if self.length_changed.is_none_or(|changed| asked >= changed) {
            self.doubt_since = None;
        } else if self.held.is_none() {
            self.doubt_since = Some(now);
        }
        let previous = self.held.as_ref().map(|held| &held.numbers);
        bind(&mut self.cameras, &document, |key| previous.is_some_and(|previous| previous.contains_key(key)));
        let keyed = document.inputs.iter().filter(|input| !input.key.is_empty());
        let numbers = keyed.map(|input| (input.key.clone(), input.number)).collect();
        self.held = Some(Held { document, asked, seen: now, stale: false, numbers });
    }

    /// What a lost link leaves: names, but no tally. The document is believed no more than an
    /// interruption is long: the next tally line puts its numbers in doubt.
    fn forget(&mut self) {
        self.line = None;
        self.doubt_since = None;
        self.length_changed = None;
    }

    fn expire(&mut self, now: Instant) -> bool {
        let due = self.poll_timeout().is_some_and(|at| now >= at);
        if due {
            if self.doubt_since.is_some_and(|since| now >= since + DOUBT) {
                self.held = None;
                self.doubt_since = None;
            }
            if let Some(held) = &mut self.held {
                held.stale = now >= held.seen + STALE;
            }
        }
        due
    }

    /// The document while it may say how inputs are combined.
    fn combined(&self) -> Option<&Held> {
        self.held.as_ref().filter(|held| !held.stale)
    }

    /// Makes the snapshot anew and tells what became different.
    fn refresh(&mut self) -> Change {
        let old = &self.snapshot;
        let inputs = self.inputs();
        let cameras = self.cameras();
        let known = self.combined().filter(|_| self.line.is_some());
        let next = Snapshot {
            seq: old.seq,
            source: if self.line.is_some() { Source::Live } else { Source::Unknown },
            heard: self.line.as_ref().map(|line| line.heard).or(old.heard),
            inputs: if *old.inputs == *inputs { old.inputs.clone() } else { inputs.into() },
            cameras: if *old.cameras == *cameras { old.cameras.clone() } else { cameras.into() },
            show: known.map(|held| held.document.show).unwrap_or_default(),
            show_known: known.is_some(),
            link: self.link.clone(),
        };
        if next == **old {
            return Change::None;
        }
        let heard_only = Snapshot { heard: old.heard, ..next.clone() } == **old;
        let seq = if heard_only { old.seq } else { old.seq.wrapping_add(1) };
        self.snapshot = Arc::new(Snapshot { seq, ..next });
        if heard_only { Change::Refreshed } else { Change::Changed }
    }

    fn inputs(&self) -> Vec<Input> {
        let levels = self.levels(Rule::MAIN);
        let nothing: Arc<str> = Arc::from("");
        let Some(held) = &self.held else {
            let bare = |(number, tally)| Input {
                number,
                key: nothing.clone(),
                title: nothing.clone(),
                kind: nothing.clone(),
                tally,
            };
            return (1..).zip(levels).map(bare).collect();
        };
        let before: HashMap<&str, Tally> = if self.doubt_since.is_some() {
            let keyed = self.snapshot.inputs.iter().filter(|input| !input.key.is_empty());
            keyed.map(|input| (&*input.key, input.tally)).collect()
        } else {
            HashMap::new()
        };
        let named = |input: &super::xml::DocumentInput| Input {
            number: input.number,
            key: input.key.clone(),
            title: input.title.clone(),
            kind: input.kind.clone(),
            tally: at(&levels, input.number).max(before.get(&*input.key).copied().unwrap_or_default()),
        };
        held.document.inputs.iter().map(named).collect()
    }

    fn cameras(&self) -> Vec<Camera> {
        let mut known: Vec<(Rule<'_>, Vec<Tally>)> = Vec::new();
        let mut cameras = Vec::with_capacity(self.cameras.len());
        for (index, camera) in self.cameras.iter().enumerate() {
            let rule = Rule { mixes: &camera.config.mixes, overlays: camera.config.overlays.as_deref() };
            let at_rule = known.iter().position(|(other, _)| *other == rule).unwrap_or_else(|| {
                known.push((rule, self.levels(rule)));
                known.len() - 1
            });
            let levels = known.get(at_rule).map(|(_, levels)| levels.as_slice()).unwrap_or_default();
            let numbers: Vec<_> =
                if self.held.is_some() { camera.numbers().collect() } else { camera.numbers_blind().collect() };
            let strongest = numbers.iter().flatten().map(|number| at(levels, *number)).max().unwrap_or_default();
            // Without a document an input that was not found may be on air all the same.
            let blind = self.held.is_none() && numbers.contains(&None)
                || numbers.iter().flatten().any(|number| at(levels, *number) == Tally::Unknown);
            let mut tally = if blind && strongest != Tally::Program { Tally::Unknown } else { strongest };
            if self.doubt_since.is_some() {
                let before = self.snapshot.cameras.get(index).filter(|before| before.name == camera.name);
                tally = tally.max(before.map(|before| before.tally).unwrap_or_default());
            }
            cameras.push(Camera { name: camera.name.clone(), inputs: numbers.into_iter().flatten().collect(), tally });
        }
        cameras
    }

    /// The tally of each input, by number from 1, under a rule.
    fn levels(&self, rule: Rule<'_>) -> Vec<Tally> {
        let highest = self.held.as_ref().and_then(|held| held.document.inputs.last()).map_or(0, |input| input.number);
        let Some(line) = &self.line else { return vec![Tally::Unknown; highest as usize] };
        let mut levels = Levels::new(line.tally.len().max(highest as usize));

        // What nothing is said of is safe only where all that counts is known.
        let all_known = self.combined().is_some() || (rule.mixes == [1] && rule.overlays.is_none());
        for (number, said) in (1..).zip(&line.tally) {
            if rule.main() && !self.explained_away(line, rule, number) {
                levels.raise(number, *said);
            }
            if all_known && (*said != Tally::Unknown || !rule.main()) {
                levels.raise(number, Tally::Safe);
            }
        }
        let Some(held) = &self.held else { return levels.tally };
        let by_line = held.stale.then(|| levels.tally.clone());
        levels.combine(held, rule);
        let Some(mut by_line) = by_line else { return levels.tally };
        for (said, combined) in by_line.iter_mut().zip(&levels.tally) {
            if *said == Tally::Safe && *combined > Tally::Safe {
                *said = Tally::Unknown;
            }
        }
        by_line
    }

    /// Whether an input is called program by the tally line only because of overlays that do not
    /// count, by a document that knows of the line's last change.
    fn explained_away(&self, line: &Line, rule: Rule<'_>, number: u32) -> bool {
        let Some(held) = self.combined().filter(|held| held.asked >= line.changed) else { return false };
        if rule.overlays.is_none() || self.doubt_since.is_some() {
            return false;
        }
        // What is on preview counts as well, for it is on air during a transition.
        let main = held.document.mixes.iter().find(|mix| mix.number == 1 && mix.active.is_some());
        let elsewhere = main.is_some_and(|mix| mix.active != Some(number) && mix.preview != Some(number));
        let mut holding = held.document.overlays.iter().filter(|overlay| overlay.input == number);
        let on_air = holding.clone().any(|overlay| !overlay.preview);
        elsewhere && on_air && holding.all(|overlay| !rule.overlay(overlay.number))
    }
}

fn at(levels: &[Tally], number: u32) -> Tally {
    levels.get((number as usize).wrapping_sub(1)).copied().unwrap_or_default()
}

/// Tally by input number, which only rises.
struct Levels {
    tally: Vec<Tally>,
    /// The numbers that rose and whose layers are still to follow.
    risen: Vec<u32>,
}

impl Levels {
    fn new(length: usize) -> Self {
        Self { tally: vec![Tally::Unknown; length], risen: Vec::new() }
    }

    fn raise(&mut self, number: u32, to: Tally) {
        if let Some(tally) = self.tally.get_mut((number as usize).wrapping_sub(1))
            && *tally < to
        {
            *tally = to;
            if to >= Tally::Preview {
                self.risen.push(number);
            }
        }
    }

    /// Adds what a document says under a rule beyond the tally line.
    fn combine(&mut self, held: &Held, rule: Rule<'_>) {
        for overlay in held.document.overlays.iter().filter(|overlay| rule.overlay(overlay.number)) {
            if overlay.preview {
                self.raise(overlay.input, Tally::Preview);
            } else if !rule.main() {
                self.raise(overlay.input, Tally::Program);
            }
        }
        for mix in held.document.mixes.iter().filter(|mix| mix.number != 1 && rule.mixes.contains(&mix.number)) {
            mix.preview.into_iter().for_each(|input| self.raise(input, Tally::Preview));
            mix.active.into_iter().for_each(|input| self.raise(input, Tally::Program));
        }
        self.spread(held);
    }

    /// Hands preview and program down to layers and to what mixes show. Ends, for each input rises at
    /// most three times.
    fn spread(&mut self, held: &Held) {
        let inputs = &held.document.inputs;
        while let Some(number) = self.risen.pop() {
            let level = at(&self.tally, number);
            let Ok(index) = inputs.binary_search_by_key(&number, |input| input.number) else { continue };
            let Some(input) = inputs.get(index) else { continue };
            for layer in &input.layers {
                if let Some(number) = held.numbers.get(layer) {
                    self.raise(*number, level);
                }
            }
            if let Some(mix) = input.mix.and_then(|mix| held.document.mixes.iter().find(|shown| shown.number == mix))
                && let Some(active) = mix.active
            {
                self.raise(active, level);
            }
        }
    }
}

#[cfg(test)]
mod tests;
