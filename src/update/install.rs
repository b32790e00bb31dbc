//! Writes a bundle to a slot that nothing runs from.
//!
//! The order makes it safe. The whole bundle is judged first. Then the slot's first sector is wiped, without which no
//! firmware and no kernel takes the slot for a file system; then the rest is written and read back; and the first sector
//! comes last. Whenever the power goes, the slot either is what it was, or does not boot, or is whole.

use std::fs::{self, File};
use std::io::{self, Read, Seek, SeekFrom};
use std::os::unix::fs::{FileExt, FileTypeExt, OpenOptionsExt};
use std::path::Path;
use std::thread::sleep;
use std::time::{Duration, Instant};

use aws_lc_rs::digest::{SHA256, digest};
use nix::fcntl::{PosixFadviseAdvice, posix_fadvise};

use super::bundle::{Head, LARGEST_HEAD};
use super::manifest::{CHUNK, Manifest, Terms};
use super::report::{Report, State, Step};
use super::{Key, NoKey, Refused};
use crate::clock::Clock;

/// How fast a slot is written and read back, in bytes a second: slow enough for the cheapest card to do its other work.
pub const DEFAULT_RATE: u64 = 4_000_000;

/// How much faster the bundle is looked at than the slot is written.
const READING: u64 = 4;

/// What is written last.
const SECTOR: usize = 512;

/// What may stand in a bundle where the digit of the slot is set.
const DIGITS: [u8; 2] = *b"23";

/// How often a report is written.
const REPORT_EVERY: Duration = Duration::from_secs(1);

/// A slot of the card, which its programs are told by this number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Slot {
    /// The second partition.
    A,
    /// The third partition.
    B,
}

impl Slot {
    fn digit(self) -> u8 {
        match self {
            Self::A => b'2',
            Self::B => b'3',
        }
    }
}

/// What is to be written where.
#[derive(Clone, Debug)]
pub struct Order<'a> {
    /// The bundle.
    pub bundle: &'a Path,
    /// The block device, or a file that is as large.
    pub target: &'a Path,
    /// Which slot that is.
    pub slot: Slot,
    /// The file with the key of those whose updates are taken.
    pub key: &'a Path,
    /// Which updates are taken; the room is that of the target.
    pub terms: Terms,
    /// Bytes a second.
    pub rate: u64,
    /// Where the [`Report`] goes.
    pub report: &'a Path,
}

/// Why a slot was not written.
#[derive(Debug, thiserror::Error)]
pub enum Failed {
    /// The bundle is not taken; nothing was written.
    #[error(transparent)]
    Refused(#[from] Refused),
    /// The bundle is no longer what it was when the writing began.
    #[error("the update changed while it was being written ({0})")]
    Changed(Refused),
    /// There is no key to judge it by.
    #[error(transparent)]
    Key(#[from] NoKey),
    /// The bundle cannot be read.
    #[error("the update cannot be read: {0}")]
    Bundle(io::Error),
    /// The slot is not to be had; nothing was written.
    #[error("the slot cannot be opened for writing: {0}")]
    Slot(io::Error),
    /// The card takes no more.
    #[error("the card cannot be written: {0}. Try again; if it fails again, the card is worn out: flash another one")]
    Write(io::Error),
    /// The card does not give back what it was given.
    #[error("the card does not keep what is written to it (part {part} of {parts}): flash another card")]
    NotKept {
        /// Which part, counted from 1.
        part: usize,
        /// How many there are.
        parts: usize,
    },
}

impl Failed {
    /// The same, once something was written.
    fn meanwhile(self) -> Self {
        match self {
            Self::Refused(refused) => Self::Changed(refused),
            failed => failed,
        }
    }
}

/// Writes a bundle to a slot and reads it back. Blocks for as long as that takes.
///
/// # Errors
/// When the bundle is refused, or something cannot be read or written.
pub fn install(order: &Order<'_>, clock: &Clock) -> Result<Manifest, Failed> {
    let mut telling = Telling::new(order.report, clock);
    let done = open_and_write(order, &mut telling, clock);
    telling.end(&done);
    done
}

fn open_and_write(order: &Order<'_>, telling: &mut Telling<'_>, clock: &Clock) -> Result<Manifest, Failed> {
    let key = Key::load(order.key)?;
    let bundle = plain_file(order.bundle).map_err(Failed::Bundle)?;
    let is_device = fs::metadata(order.target).map_err(Failed::Slot)?.file_type().is_block_device();
    // Of a device: only when nobody has it mounted (open(2)).
    let alone = if is_device { nix::libc::O_EXCL } else { 0 };
    let target = File::options().read(true).write(true).custom_flags(alone).open(order.target).map_err(Failed::Slot)?;
    let size = (&target).seek(SeekFrom::End(0)).map_err(Failed::Slot)?;
    let terms = Terms { room: Some(size), ..order.terms.clone() };
    let source = Source::open(bundle, &key, &terms)?;
    telling.about(&source.head.manifest);
    source.check_all(telling, &mut Pace::new(order.rate.saturating_mul(READING), clock))?;
    write(&source, &target, order.slot, telling, &mut Pace::new(order.rate, clock))?;
    Ok(source.head.manifest)
}

/// Opens a file that may lie where others can put what they like: a pipe would keep its reader waiting for ever, and a
/// link leads to what they may not open themselves.
fn plain_file(path: &Path) -> io::Result<File> {
    let flags = nix::libc::O_NONBLOCK | nix::libc::O_NOFOLLOW;
    let no_file = || io::Error::new(io::ErrorKind::InvalidInput, "it is no file");
    let file =
        File::options().read(true).custom_flags(flags).open(path).map_err(|error| match error.raw_os_error() {
            // open(2) of a link.
            Some(nix::libc::ELOOP) => no_file(),
            _ => error,
        })?;
    if file.metadata()?.is_file() { Ok(file) } else { Err(no_file()) }
}

/// A bundle in a file, whose head is right.
struct Source {
    file: File,
    head: Head,
}

impl Source {
    fn open(file: File, key: &Key, terms: &Terms) -> Result<Self, Failed> {
        let mut beginning = Vec::new();
        // One byte more than the largest head, so that one that is larger is refused for that.
        (&file).take(LARGEST_HEAD as u64 + 1).read_to_end(&mut beginning).map_err(Failed::Bundle)?;
        let mut arriving = super::Arriving::new(key.clone(), terms.clone());
        arriving.push(&beginning)?;
        let head = match arriving.head() {
            Some(head) => head.clone(),
            None => return Err(arriving.finish().err().unwrap_or(Refused::NotAnUpdate).into()),
        };
        head.check_len(file.metadata().map_err(Failed::Bundle)?.len())?;
        Ok(Self { file, head })
    }

    /// Looks at every part, so that a damaged bundle costs nothing.
    fn check_all(&self, telling: &mut Telling<'_>, pace: &mut Pace<'_>) -> Result<(), Failed> {
        for number in 0..self.head.manifest.sha256.len() {
            let part = self.part(number)?;
            telling.step(Step::Checking, part.len());
            pace.after(part.len());
        }
        Ok(())
    }

    /// The part with this number, found right.
    fn part(&self, number: usize) -> Result<Vec<u8>, Failed> {
        let Head { manifest, payload_at } = &self.head;
        let mut part = vec![0; manifest.chunk_len(number)];
        let at = payload_at + offset(number);
        self.file.read_exact_at(&mut part, at).map_err(|error| match error.kind() {
            io::ErrorKind::UnexpectedEof => Failed::Refused(Refused::Truncated { missing: None }),
            _ => Failed::Bundle(error),
        })?;
        forget(&self.file, at, part.len());
        manifest.check(number, digest(&SHA256, &part).as_ref())?;
        match digit_in(&mut part, number, manifest) {
            Some(digit) if !DIGITS.contains(digit) => Err(Refused::MadeWrongly("`slot_at` is no slot's digit".into()))?,
            _ => Ok(part),
        }
    }
}

fn offset(number: usize) -> u64 {
    number as u64 * CHUNK as u64
}

/// What a slot is written to.
trait Target {
    fn write_at(&self, bytes: &[u8], at: u64) -> io::Result<()>;
    /// Returns when everything that was written survives a cut of power.
    fn sync(&self) -> io::Result<()>;
    /// Reads what the card has, not what the kernel remembers of what it was given.
    fn read_back(&self, bytes: &mut [u8], at: u64) -> io::Result<()>;
}

impl Target for File {
    fn write_at(&self, bytes: &[u8], at: u64) -> io::Result<()> {
        self.write_all_at(bytes, at)
    }

    fn sync(&self) -> io::Result<()> {
        self.sync_all()
    }

    fn read_back(&self, bytes: &mut [u8], at: u64) -> io::Result<()> {
        // Only what was synced can be forgotten; all of it was.
        forget(self, at, bytes.len());
        self.read_exact_at(bytes, at)?;
        forget(self, at, bytes.len());
        Ok(())
    }
}

/// Leaves the memory of the page cache to those who need it (posix_fadvise(2)).
pub(super) fn forget(file: &File, at: u64, len: usize) {
    let (at, len) = (i64::try_from(at).unwrap_or(i64::MAX), i64::try_from(len).unwrap_or(i64::MAX));
    // Where that is not possible, the pages stay; nothing else follows.
    let _ = posix_fadvise(file, at, len, PosixFadviseAdvice::POSIX_FADV_DONTNEED);
}

fn write(
    source: &Source,
    target: &impl Target,
    slot: Slot,
    telling: &mut Telling<'_>,
    pace: &mut Pace<'_>,
) -> Result<(), Failed> {
    let manifest = &source.head.manifest;
    let parts = manifest.sha256.len();
    let bootable = usize::try_from(manifest.size).unwrap_or(SECTOR).min(SECTOR);
    let wiped = vec![0; bootable];
    target.write_at(&wiped, 0).and_then(|()| target.sync()).map_err(Failed::Write)?;

    let mut first_sector = Vec::new();
    for number in 0..parts {
        let mut part = source.part(number).map_err(Failed::meanwhile)?;
        digit_in(&mut part, number, manifest).into_iter().for_each(|digit| *digit = slot.digit());
        let (held_back, now) = part.split_at_checked(if number == 0 { bootable } else { 0 }).unwrap_or_default();
        first_sector.extend_from_slice(held_back);
        let at = offset(number) + held_back.len() as u64;
        target.write_at(now, at).and_then(|()| target.sync()).map_err(Failed::Write)?;
        telling.step(Step::Writing, part.len());
        pace.after(part.len());
    }
    for number in 0..parts {
        let mut part = vec![0; manifest.chunk_len(number)];
        target.read_back(&mut part, offset(number)).map_err(Failed::Write)?;
        if number == 0 {
            fill_in(&mut part, &wiped, &first_sector, manifest)?;
        }
        compare(part, number, slot, manifest)?;
        telling.step(Step::ReadingBack, manifest.chunk_len(number));
        pace.after(manifest.chunk_len(number));
    }
    target.write_at(&first_sector, 0).and_then(|()| target.sync()).map_err(Failed::Write)?;
    let mut first = vec![0; manifest.chunk_len(0)];
    target.read_back(&mut first, 0).map_err(Failed::Write)?;
    compare(first, 0, slot, manifest)
}

/// Puts the sector that is held back in the place of the wiped one.
fn fill_in(part: &mut [u8], wiped: &[u8], first_sector: &[u8], manifest: &Manifest) -> Result<(), Failed> {
    match part.get_mut(..wiped.len()) {
        Some(sector) if sector == wiped => {
            sector.copy_from_slice(first_sector);
            Ok(())
        }
        _ => Err(Failed::NotKept { part: 1, parts: manifest.sha256.len() }),
    }
}

/// Whether a part that was read back is the one that was written: the signed one, but for the digit of the slot.
fn compare(mut part: Vec<u8>, number: usize, slot: Slot, manifest: &Manifest) -> Result<(), Failed> {
    let not_kept = Failed::NotKept { part: number + 1, parts: manifest.sha256.len() };
    let is_signed = |part: &[u8]| manifest.check(number, digest(&SHA256, part).as_ref()).is_ok();
    let kept = match digit_in(&mut part, number, manifest) {
        None => is_signed(&part),
        Some(digit) if *digit != slot.digit() => false,
        Some(_) => DIGITS.iter().any(|signed| {
            digit_in(&mut part, number, manifest).into_iter().for_each(|digit| *digit = *signed);
            is_signed(&part)
        }),
    };
    if kept { Ok(()) } else { Err(not_kept) }
}

/// The digit of the slot, when it stands in this part.
fn digit_in<'a>(part: &'a mut [u8], number: usize, manifest: &Manifest) -> Option<&'a mut u8> {
    let within = manifest.slot_at.checked_sub(offset(number))?;
    part.get_mut(usize::try_from(within).ok()?)
}

/// Keeps to a rate: nothing that was missed is caught up with.
struct Pace<'a> {
    rate: u64,
    clock: &'a Clock,
    next: Instant,
}

impl<'a> Pace<'a> {
    fn new(rate: u64, clock: &'a Clock) -> Self {
        Self { rate: rate.max(1), clock, next: clock.now() }
    }

    /// Waits until so many bytes more may go.
    fn after(&mut self, bytes: usize) {
        let now = self.clock.now();
        let takes = Duration::from_secs_f64(bytes as f64 / self.rate as f64);
        // The work itself is part of the time it may take.
        self.next = (self.next + takes).max(now);
        sleep(self.next.saturating_duration_since(now));
    }
}

/// Writes the report, about once a second.
struct Telling<'a> {
    path: &'a Path,
    clock: &'a Clock,
    report: Report,
    told: Option<Instant>,
}

impl<'a> Telling<'a> {
    fn new(path: &'a Path, clock: &'a Clock) -> Self {
        let mut telling = Self { path, clock, report: Report::new(), told: None };
        telling.tell();
        telling
    }

    fn about(&mut self, manifest: &Manifest) {
        self.report.version = Some(manifest.version.to_string());
        self.report.size = manifest.size;
        self.tell();
    }

    fn step(&mut self, step: Step, bytes: usize) {
        let before = if self.report.step == Some(step) { self.report.done } else { 0 };
        (self.report.step, self.report.done) = (Some(step), before + bytes as u64);
        if self.told.is_none_or(|told| self.clock.now() - told >= REPORT_EVERY) {
            self.tell();
        }
    }

    fn end(&mut self, ended: &Result<Manifest, Failed>) {
        self.report.step = None;
        match ended {
            Ok(manifest) => {
                self.report.state = State::Written;
                self.report.done = self.report.size;
                self.report.note = manifest.state_note.clone();
            }
            Err(failed) => {
                let is_refused = matches!(failed, Failed::Refused(_));
                self.report.state = if is_refused { State::Refused } else { State::Failed };
                self.report.error = Some(failed.to_string());
            }
        }
        self.tell();
    }

    fn tell(&mut self) {
        self.told = Some(self.clock.now());
        if let Err(error) = self.report.write(self.path) {
            tracing::warn!(err = %error, "{} cannot be written: nobody sees how far the update is", self.path.display());
        }
    }
}

#[cfg(test)]
mod tests;
