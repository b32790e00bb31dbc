//! Whether pictures are shown in another order than they are sent in.

use crate::media::{AccessUnit, Codec, Timestamp90k};

use super::{annexb, h264};

/// A step back of more than this is a source that began anew, not reordering: no level lets a
/// decoder hold more than 16 frames.
const FARTHEST: i64 = 2 * Timestamp90k::HZ;

/// Tells streams with B-frames from those without, by what the pictures do and not by what
/// parameter sets allow: a picture of B slices that is sent in the order it is shown is no
/// obstacle, and many encoders allow reordering they never use.
#[derive(Clone, Debug, Default)]
pub struct Reordering {
    newest: Option<Timestamp90k>,
    last_dts: Option<Timestamp90k>,
    b_slices: bool,
    steps_back: u32,
    found: bool,
    groups_without: u32,
    groups: u32,
}

impl Reordering {
    /// Knows nothing yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes the next picture of the track, in the order sent.
    pub fn push(&mut self, unit: &AccessUnit) {
        if unit.random_access {
            let whole = self.newest.is_some();
            if whole && !self.group_reorders() {
                self.groups_without = self.groups_without.saturating_add(1);
                self.found = false;
            }
            self.groups = self.groups.saturating_add(u32::from(whole));
            *self = Self { found: self.found, groups: self.groups, groups_without: self.groups_without, ..Self::new() };
        }
        self.b_slices |= first_slice_is_b(unit);
        // Decoding times only go forward: a clock that was set back reorders nothing.
        let set_back = self.last_dts.replace(unit.dts).is_some_and(|last| unit.dts < last);
        match self.newest.filter(|_| !set_back) {
            Some(newest) if unit.pts < newest && newest.ticks_since(unit.pts) < FARTHEST => {
                self.steps_back = self.steps_back.saturating_add(1);
            }
            _ => self.newest = Some(unit.pts),
        }
        if self.group_reorders() {
            self.found = true;
            self.groups_without = 0;
        }
    }

    /// Whether pictures are reordered: true from the first one on, false again at the next random
    /// access point after a group of pictures without.
    pub fn found(&self) -> bool {
        self.found
    }

    /// How many groups of pictures in a row came to their end without reordering.
    pub fn groups_in_order(&self) -> u32 {
        self.groups_without
    }

    /// One step back may be a fault of the clock; with a B slice, or again, it is none.
    fn group_reorders(&self) -> bool {
        self.steps_back > 1 || (self.steps_back > 0 && self.b_slices)
    }
}

/// Whether the unit's first slice says that it predicts from two pictures. In H.265 such slices
/// are usual without reordering, and their headers need the parameter sets: not asked there.
fn first_slice_is_b(unit: &AccessUnit) -> bool {
    if unit.codec != Codec::H264 {
        return false;
    }
    let mut from = 0;
    while let Some(start) = annexb::find_start(&unit.data, from) {
        let nal = unit.data.get(start.nal..).unwrap_or_default();
        if let Some(slice) = h264::SliceStart::parse(nal) {
            return slice.kind == h264::SliceKind::B;
        }
        from = start.nal;
    }
    false
}
