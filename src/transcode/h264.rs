//! H.264 as browsers' decoders like it.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;

use crate::codec::h264::{Pps, Sps, nal_type, nal_type::*, without_reordering};
use crate::codec::{LONGEST_PARAMETER_SET, Reordering, annexb};
use crate::media::{AccessUnit, Codec, MediaItem, Transform, TransformProblem};

use super::obstacle;

/// Pictures that are looked at before a stream whose timestamps allow reordering is believed to have none.
const TRIAL: usize = 12;

/// Parameter sets kept of each kind: as many as there are numbers for sequence parameter sets.
const MOST_SETS: usize = 32;

/// Normalises one H.264 track for browsers.
///
/// - The SPS says that nothing is reordered ([`without_reordering`]), so that decoders hold nothing back.
/// - SPS and PPS stand before every IDR picture, also when the source sends them only once.
/// - Delimiters, filler data, SEI and the extension NAL units of scalable and multiview coding are
///   left out; start codes have four bytes.
/// - Nothing comes out before the first IDR picture, nor while the stream has B-frames.
///
/// Units that are not H.264 are left out; tracks pass.
#[derive(Debug, Default)]
pub struct BrowserVideo {
    sps: BTreeMap<u8, (Bytes, Bytes)>,
    pps: BTreeMap<u8, (u8, Bytes)>,
    reordering: Reordering,
    state: State,
}

#[derive(Debug, Default)]
enum State {
    /// For an IDR picture.
    #[default]
    Waiting,
    /// Timestamps allow B-frames: pictures are held until there is one, or enough have come without.
    Trial(Vec<MediaItem>),
    /// In order.
    Flowing,
    /// With B-frames, since this parameter set.
    Refused { sps: Option<Bytes> },
}

impl BrowserVideo {
    /// Waits for the first IDR picture.
    pub fn new() -> Self {
        Self::default()
    }

    fn unit(&mut self, unit: &AccessUnit) -> Vec<MediaItem> {
        let sets_before = self.sps.values().next().map(|(sent, _)| sent.clone());
        // A unit without a picture only brings parameter sets.
        let Some(data) = self.normalise(unit) else { return Vec::new() };
        self.reordering.push(unit);
        if self.reordering.found() && !matches!(self.state, State::Refused { .. }) {
            let sps = self.current_sps().or(sets_before);
            self.state = State::Refused { sps };
            return Vec::new();
        }
        if unit.random_access {
            self.at_idr(unit);
        }
        let item = MediaItem::Unit(Arc::new(AccessUnit { data, ..unit.clone() }));
        match &mut self.state {
            State::Flowing => vec![item],
            State::Trial(held) => {
                held.push(item);
                if held.len() < TRIAL {
                    return Vec::new();
                }
                let held = std::mem::take(held);
                self.state = State::Flowing;
                held
            }
            State::Waiting | State::Refused { .. } => Vec::new(),
        }
    }

    fn current_sps(&self) -> Option<Bytes> {
        self.sps.values().next().map(|(sent, _)| sent.clone())
    }

    /// What an IDR picture changes. It begins a sequence: nothing before it is shown after it.
    fn at_idr(&mut self, unit: &AccessUnit) {
        let complete = !self.sps.is_empty() && !self.pps.is_empty();
        let in_order = unit.pts == unit.dts;
        match &self.state {
            State::Refused { sps } => {
                let other_stream = in_order && *sps != self.current_sps();
                if !other_stream && self.reordering.groups_in_order() == 0 {
                    return;
                }
                self.state = State::Waiting;
            }
            State::Trial(_) | State::Flowing => return,
            State::Waiting => {}
        }
        if complete {
            let known = in_order || self.reordering.groups_in_order() > 0;
            self.state = if known { State::Flowing } else { State::Trial(Vec::new()) };
        }
    }

    /// The unit's slices behind its parameter sets. `None` when it has no slices.
    fn normalise(&mut self, unit: &AccessUnit) -> Option<Bytes> {
        let (mut changed, mut slices) = (Vec::new(), Vec::new());
        for nal in annexb::nals(&unit.data) {
            match nal_type(nal) {
                Some(SPS | PPS) if nal.len() > LONGEST_PARAMETER_SET => {}
                Some(SLICE | PARTITION_A..=PARTITION_C | IDR) => slices.push(nal),
                Some(SPS) => changed.extend(self.remember_sps(nal)),
                Some(PPS) => changed.extend(self.remember_pps(nal)),
                _ => {}
            }
        }
        if slices.is_empty() {
            return None;
        }
        let sets: Vec<Bytes> = if unit.random_access {
            self.sps.values().map(|(_, ours)| ours).chain(self.pps.values().map(|(_, sent)| sent)).cloned().collect()
        } else {
            changed
        };
        let size = |nals: usize, bytes: usize| nals * 4 + bytes;
        let mut out = Vec::with_capacity(
            size(sets.len(), sets.iter().map(Bytes::len).sum())
                + size(slices.len(), slices.iter().map(|nal| nal.len()).sum()),
        );
        sets.iter().for_each(|nal| annexb::put(&mut out, nal));
        slices.iter().for_each(|nal| annexb::put(&mut out, nal));
        Some(out.into())
    }

    /// Returns the set to send if it is new. A changed set ends those that refer to it.
    fn remember_sps(&mut self, nal: &[u8]) -> Option<Bytes> {
        let id = Sps::parse(nal).map_or(0, |sps| sps.id);
        if self.sps.get(&id).is_some_and(|(sent, _)| sent == nal) {
            return None;
        }
        // A set that cannot be read is passed on as it is: the decoder may know it.
        let ours = without_reordering(nal).map_or_else(|| Bytes::copy_from_slice(nal), Bytes::from);
        self.sps.insert(id, (Bytes::copy_from_slice(nal), ours.clone()));
        self.pps.retain(|_, (sps_id, _)| *sps_id != id);
        Some(ours)
    }

    fn remember_pps(&mut self, nal: &[u8]) -> Option<Bytes> {
        let (id, sps_id) = Pps::parse(nal).map_or((0, 0), |pps| (pps.id, pps.sps_id));
        if self.pps.get(&id).is_some_and(|(_, sent)| sent == nal) {
            return None;
        }
        if self.pps.len() >= MOST_SETS && !self.pps.contains_key(&id) {
            self.pps.pop_first();
        }
        let sent = Bytes::copy_from_slice(nal);
        self.pps.insert(id, (sps_id, sent.clone()));
        Some(sent)
    }
}

impl Transform for BrowserVideo {
    fn push(&mut self, item: &MediaItem) -> Vec<MediaItem> {
        match item {
            MediaItem::Tracks(_) => vec![item.clone()],
            MediaItem::Unit(unit) if unit.codec == Codec::H264 => self.unit(unit),
            MediaItem::Unit(_) => Vec::new(),
        }
    }

    fn problem(&self) -> Option<TransformProblem> {
        matches!(self.state, State::Refused { .. }).then(obstacle::b_frames)
    }
}
