//! What is sent when: the clip's pictures and sound on one endless timeline.
//!
//! Owns: the order, timestamps and due times of units, the loop, and the change to B-frames and back.
//! Does not own: packing (`mux`), waiting until a unit is due and sending it (`feed`).

use super::clip::{self, GOP, Picture};
use bytes::Bytes;

/// Ticks of a 90 kHz clock from one picture to the next, at 30 pictures a second.
pub(super) const PICTURE_TICKS: u64 = 3000;
/// Ticks of a 90 kHz clock from one AAC frame to the next: exactly 1024 / 48000 s.
pub(super) const SOUND_TICKS: u64 = 1920;

/// One picture or AAC frame.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Unit {
    /// When it is sent, on the timeline of the programme (90 kHz ticks from its beginning).
    pub(super) due: u64,
    /// When it is shown, in 90 kHz ticks; it grows for ever, and wraps only when it is written.
    pub(super) pts: u64,
    /// When it is decoded, in 90 kHz ticks.
    pub(super) dts: u64,
    pub(super) kind: Kind,
    pub(super) data: Bytes,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Picture { idr: bool },
    Sound,
}

/// The endless timeline.
#[derive(Debug)]
pub(super) struct Programme {
    plain: Vec<Picture>,
    with_b_frames: Vec<Picture>,
    sound: Vec<Bytes>,
    start: u64,
    /// The next picture's place on the timeline, in picture intervals.
    slot: u64,
    /// The next AAC frame's place on the timeline.
    frame: u64,
    b_frames: bool,
    b_frames_wanted: bool,
    /// A clip without B-frames that follows one with them begins an interval late, because the last of those is still
    /// to be shown. The interval is caught up by leaving out a picture that nothing refers to.
    behind: bool,
}

impl Programme {
    /// A timeline whose first picture is shown at `start` (90 kHz ticks).
    pub(super) fn new(start: u64) -> Self {
        Self {
            plain: clip::pictures(),
            with_b_frames: clip::pictures_with_b_frames(),
            sound: clip::sound(),
            // Far from where a sum could overflow.
            start: start & 0x1_ffff_ffff,
            slot: 0,
            frame: 0,
            b_frames: false,
            b_frames_wanted: false,
            behind: false,
        }
    }

    /// From the next second on, sends pictures with or without B-frames.
    pub(super) fn set_b_frames(&mut self, wanted: bool) {
        self.b_frames_wanted = wanted;
    }

    /// Leaves out what is left of this second, so that the next picture is an IDR. Answers when that one is due.
    pub(super) fn skip_to_random_access(&mut self) -> u64 {
        self.behind = false;
        self.slot = self.slot.next_multiple_of(GOP);
        self.frame = (self.slot * PICTURE_TICKS).div_ceil(SOUND_TICKS);
        self.slot * PICTURE_TICKS
    }

    /// The next unit to send.
    pub(super) fn next(&mut self) -> Unit {
        // A sound frame can be sent once its last sample was heard.
        let sound_due = (self.frame + 1) * SOUND_TICKS;
        if sound_due < self.picture_due() {
            let pts = self.start + self.frame * SOUND_TICKS;
            let data = pick(&self.sound, self.frame).cloned().unwrap_or_default();
            self.frame += 1;
            return Unit { due: sound_due, pts, dts: pts, kind: Kind::Sound, data };
        }
        self.next_picture()
    }

    fn picture_due(&self) -> u64 {
        (self.slot + u64::from(self.behind)) * PICTURE_TICKS
    }

    fn next_picture(&mut self) -> Unit {
        if self.slot.is_multiple_of(GOP) {
            self.behind = self.b_frames && !self.b_frames_wanted;
            self.b_frames = self.b_frames_wanted;
        }
        let due = self.picture_due();
        let clip = if self.b_frames { &self.with_b_frames } else { &self.plain };
        let (data, idr, shown_after) = pick(clip, self.slot)
            .map(|picture| (picture.data.clone(), picture.idr, picture.shown_after))
            .unwrap_or_default();
        self.slot += 1;
        if self.behind && (self.slot + 1).is_multiple_of(GOP) {
            self.slot += 1;
            self.behind = false;
        }
        let dts = self.start + due;
        Unit { due, pts: dts + shown_after * PICTURE_TICKS, dts, kind: Kind::Picture { idr }, data }
    }
}

fn pick<T>(round: &[T], at: u64) -> Option<&T> {
    let length = u64::try_from(round.len()).ok()?;
    round.get(usize::try_from(at.checked_rem(length)?).ok()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn units(programme: &mut Programme, seconds: u64) -> Vec<Unit> {
        let end = seconds * 90_000;
        let mut units = Vec::new();
        loop {
            let unit = programme.next();
            if unit.due >= end {
                return units;
            }
            units.push(unit);
        }
    }

    fn is_picture(unit: &&Unit) -> bool {
        matches!(unit.kind, Kind::Picture { .. })
    }

    #[test]
    fn goes_on_without_a_seam_when_the_clip_begins_again() {
        let mut programme = Programme::new(1000);
        let units = units(&mut programme, 25);
        for (kind, step) in [(true, PICTURE_TICKS), (false, SOUND_TICKS)] {
            let of_kind: Vec<&Unit> = units.iter().filter(|unit| is_picture(unit) == kind).collect();
            assert_eq!(of_kind[0].pts, 1000);
            assert!(of_kind.windows(2).all(|pair| pair[1].pts - pair[0].pts == step), "{step}");
        }
        assert!(units.windows(2).all(|pair| pair[0].due <= pair[1].due));
        let pictures: Vec<&Unit> = units.iter().filter(is_picture).collect();
        assert_eq!(pictures[0].data, pictures[240].data);
        assert_ne!(pictures[0].data, pictures[30].data);
    }

    #[test]
    fn changes_to_b_frames_and_back_with_every_time_used_once() {
        let mut programme = Programme::new(0);
        let mut all = units(&mut programme, 2);
        programme.set_b_frames(true);
        while all.len() < 400 {
            all.push(programme.next());
        }
        programme.set_b_frames(false);
        while all.len() < 800 {
            all.push(programme.next());
        }
        let pictures: Vec<&Unit> = all.iter().filter(is_picture).collect();
        assert!(pictures.iter().any(|unit| unit.pts > unit.dts));
        assert!(pictures.windows(2).all(|pair| pair[0].dts < pair[1].dts));
        assert!(pictures.iter().all(|unit| unit.dts <= unit.pts));
        let mut shown: Vec<u64> = pictures.iter().map(|unit| unit.pts).collect();
        shown.sort_unstable();
        assert!(shown.windows(2).all(|pair| pair[0] < pair[1]));
        let last = pictures.last().unwrap();
        assert_eq!(last.pts, last.dts);
        assert!(pictures.iter().filter(|unit| unit.kind == Kind::Picture { idr: true }).count() >= 8);
    }

    #[test]
    fn begins_with_an_idr_again_after_a_break() {
        let mut programme = Programme::new(0);
        for _ in 0..7 {
            programme.next();
        }
        assert_eq!(programme.skip_to_random_access(), 90_000);
        let unit = programme.next();
        assert_eq!((unit.kind, unit.due, unit.pts), (Kind::Picture { idr: true }, 90_000, 90_000));
    }
}
