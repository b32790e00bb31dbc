//! Where an upload waits until it is written to a slot: a folder that the program may write to, and that a service with
//! more rights watches for the file `bundle`.
//!
//! What comes is judged while it comes. The file gets its name only when all of it was found right and would survive a
//! cut of power; whatever ends an upload before that leaves nothing behind.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard};

use nix::sys::statvfs::fstatvfs;

use super::bundle::{Arriving, LARGEST_BUNDLE};
use super::install::forget;
use super::manifest::{Manifest, Running, Terms};
use super::report::{Report, read_small};
use super::{Key, Refused};

/// What waits to be written.
const WHOLE: &str = "bundle";
/// What is still coming.
const PARTIAL: &str = "bundle.new";
/// What the uploader wishes, a line each.
const OPTIONS: &str = "options";
/// Asks for a start with the update that was written.
const RESTART: &str = "restart";

/// The most bytes that wait in memory for the card.
const SYNC_EVERY: u64 = 4 << 20;
/// What is left free for everything else that the box keeps, in bytes.
const LEFT_FREE: u64 = 16 << 20;

/// What the uploader of a bundle wishes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Wishes {
    /// That the box starts with it as soon as it is written.
    pub restart_now: bool,
    /// That it is taken even when it brings the version that runs, or an older one.
    pub allow_downgrade: bool,
}

/// How far an upload is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Uploading {
    /// The version it brings, once that is known.
    pub version: Option<String>,
    /// What has come, in bytes.
    pub received: u64,
    /// What it has in all, in bytes, once that is known.
    pub size: Option<u64>,
}

/// Why an upload does not wait to be written.
#[derive(Debug, thiserror::Error)]
pub enum NotTaken {
    /// The bundle is not for this box.
    #[error(transparent)]
    Refused(#[from] Refused),
    /// There is one already.
    #[error("another update is being uploaded or written; try again when that is done")]
    Busy,
    /// More than there can be.
    #[error("an update has at most {} MB", LARGEST_BUNDLE >> 20)]
    TooLarge,
    /// It does not fit beside what the box keeps.
    #[error("the box has no room for this update: it takes {needed} bytes, and {free} are free")]
    NoRoom {
        /// What it takes, in bytes.
        needed: u64,
        /// What there is, in bytes.
        free: u64,
    },
    /// There was room when it began.
    #[error("the box has no room left for this update: the card is full")]
    Full,
    /// The card cannot be written.
    #[error("the update cannot be kept: {0}")]
    Kept(io::Error),
}

impl From<io::Error> for NotTaken {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Self::Full,
            _ => Self::Kept(error),
        }
    }
}

/// The waiting place. Cheap to clone; every clone is the same.
#[derive(Clone, Debug)]
pub struct Spool {
    dir: PathBuf,
    key: Key,
    /// What is coming now.
    coming: Arc<Mutex<Option<Uploading>>>,
}

impl Spool {
    /// The waiting place in `dir`, which is made when something comes, for updates that are signed for `key`. What an
    /// upload of an earlier life left is removed.
    pub fn new(dir: PathBuf, key: Key) -> Self {
        let _ = fs::remove_file(dir.join(PARTIAL));
        Self { dir, key, coming: Arc::default() }
    }

    /// How far the present upload is.
    pub fn uploading(&self) -> Option<Uploading> {
        lock(&self.coming).clone()
    }

    /// Whether an upload is whole, and not dealt with yet.
    pub fn is_waiting(&self) -> bool {
        self.dir.join(WHOLE).exists()
    }

    /// Asks for a start with the update that was written.
    ///
    /// # Errors
    /// When that cannot be written down.
    pub fn ask_for_restart(&self) -> io::Result<()> {
        fs::create_dir_all(&self.dir)?;
        File::create(self.dir.join(RESTART)).map(drop)
    }

    /// Begins to take a bundle of `announced` bytes, where the uploader has said how many.
    ///
    /// # Errors
    /// When it cannot be taken at all.
    pub fn take(&self, wishes: Wishes, announced: Option<u64>) -> Result<Upload, NotTaken> {
        if announced.is_some_and(|bytes| bytes > LARGEST_BUNDLE) {
            return Err(NotTaken::TooLarge);
        }
        let mut coming = lock(&self.coming);
        if coming.is_some() || self.is_waiting() {
            return Err(NotTaken::Busy);
        }
        fs::create_dir_all(&self.dir)?;
        let file = File::create(self.dir.join(PARTIAL))?;
        *coming = Some(Uploading::default());
        let terms = Terms { running: Running::this(), allow_downgrade: wishes.allow_downgrade, room: None };
        let arriving = Arriving::new(self.key.clone(), terms);
        Ok(Upload { spool: self.clone(), file, arriving, wishes, announced, received: 0, synced: 0 })
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
}

/// A bundle that is coming. Its methods wait for the card. Dropped before it was finished, it leaves nothing.
#[derive(Debug)]
pub struct Upload {
    spool: Spool,
    file: File,
    arriving: Arriving,
    wishes: Wishes,
    announced: Option<u64>,
    received: u64,
    synced: u64,
}

impl Upload {
    /// Takes the next bytes.
    ///
    /// # Errors
    /// When the bundle is refused, or the card takes no more.
    pub fn push(&mut self, bytes: &[u8]) -> Result<(), NotTaken> {
        let knew_head = self.arriving.head().is_some();
        self.received += bytes.len() as u64;
        if self.received > LARGEST_BUNDLE {
            return Err(NotTaken::TooLarge);
        }
        self.arriving.push(bytes)?;
        if !knew_head {
            self.look_at_head()?;
        }
        self.file.write_all(bytes)?;
        if self.received - self.synced >= SYNC_EVERY {
            self.sync()?;
        }
        if let Some(uploading) = lock(&self.spool.coming).as_mut() {
            uploading.received = self.received;
        }
        Ok(())
    }

    /// What is known once the head is: its length, before the rest comes.
    fn look_at_head(&mut self) -> Result<(), NotTaken> {
        let Some(head) = self.arriving.head() else { return Ok(()) };
        let needed = head.bundle_len();
        if let Some(announced) = self.announced {
            head.check_len(announced)?;
        }
        let system = fstatvfs(&self.file).map_err(io::Error::from)?;
        let free = system.blocks_available().saturating_mul(system.fragment_size());
        if free < needed.saturating_add(LEFT_FREE) {
            return Err(NotTaken::NoRoom { needed, free: free.saturating_sub(LEFT_FREE) });
        }
        let version = Some(head.manifest.version.to_string());
        *lock(&self.spool.coming) = Some(Uploading { version, received: self.received, size: Some(needed) });
        Ok(())
    }

    fn sync(&mut self) -> Result<(), NotTaken> {
        self.file.sync_data()?;
        forget(&self.file, self.synced, usize::try_from(self.received - self.synced).unwrap_or(usize::MAX));
        self.synced = self.received;
        Ok(())
    }

    /// Nothing follows: it waits to be written from now on, also after a cut of power.
    ///
    /// # Errors
    /// When something is missing, or it cannot be kept.
    pub fn finish(mut self) -> Result<Manifest, NotTaken> {
        let manifest = self.arriving.finish()?;
        self.sync()?;
        self.keep()?;
        Ok(manifest)
    }

    fn keep(&self) -> io::Result<()> {
        let dir = &self.spool.dir;
        let mut options = File::create(dir.join(OPTIONS))?;
        options.write_all(self.wishes.lines().as_bytes())?;
        options.sync_all()?;
        self.file.sync_all()?;
        fs::rename(dir.join(PARTIAL), dir.join(WHOLE))?;
        // The rename itself lives in the directory.
        File::open(dir)?.sync_all()
    }
}

impl Drop for Upload {
    fn drop(&mut self) {
        // It is gone already when the upload was finished.
        let _ = fs::remove_file(self.spool.dir.join(PARTIAL));
        *lock(&self.spool.coming) = None;
    }
}

impl Wishes {
    fn lines(self) -> String {
        let wished = [(self.restart_now, "restart=now\n"), (self.allow_downgrade, "allow-downgrade=yes\n")];
        wished.into_iter().filter(|(is_wished, _)| *is_wished).map(|(_, line)| line).collect()
    }
}

/// What became of the update that was tried last.
#[derive(Clone, Debug, PartialEq, Eq, serde::Deserialize)]
pub struct Outcome {
    /// `confirmed`, or `rolled-back`.
    pub result: String,
    /// The version it brought.
    pub version: String,
}

/// Everything about updates that the program knows. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct Updates {
    /// Where uploads wait; none where nobody would write them.
    pub spool: Option<Spool>,
    /// Where the report of who writes them is.
    pub report: PathBuf,
    /// Where the [`Outcome`] is.
    pub outcome: PathBuf,
}

impl Updates {
    /// How the writing goes, or went.
    pub fn report(&self) -> Option<Report> {
        Report::read(&self.report)
    }

    /// What became of the update that was tried last.
    pub fn outcome(&self) -> Option<Outcome> {
        serde_json::from_slice(&read_small(&self.outcome)?).ok()
    }
}

#[cfg(test)]
mod tests;
