//! The current group of pictures: what a joiner needs to show the newest picture.

use std::sync::Arc;

use crate::media::AccessUnit;

/// A sender without keyframes must not fill the memory: past this the cache waits for the next one.
const MOST_BYTES: usize = 32 << 20;
const MOST_UNITS: usize = 10_000;

/// The access units since the last picture where decoding can start.
#[derive(Default)]
pub(super) struct Gop {
    units: Vec<Arc<AccessUnit>>,
    bytes: usize,
}

impl Gop {
    pub(super) fn push(&mut self, unit: &Arc<AccessUnit>) {
        if unit.codec.is_video() && unit.random_access {
            self.clear();
        } else if self.units.is_empty() {
            return;
        }
        self.bytes += unit.data.len();
        self.units.push(unit.clone());
        if self.bytes > MOST_BYTES || self.units.len() > MOST_UNITS {
            self.clear();
        }
    }

    pub(super) fn clear(&mut self) {
        self.units.clear();
        self.bytes = 0;
    }

    pub(super) fn units(&self) -> &[Arc<AccessUnit>] {
        &self.units
    }
}
