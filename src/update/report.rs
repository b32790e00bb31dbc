//! How far the writing of an update has come: a small JSON file that is always whole, for the API and for scripts.

use std::fs;
use std::io::{self, Read};
use std::path::Path;

use serde::{Deserialize, Serialize};

/// What is known about the update that is written now, or was written last.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq, Serialize)]
pub struct Report {
    /// How it goes.
    pub state: State,
    /// What is done now, while it is being written.
    pub step: Option<Step>,
    /// The version it brings, once that is known.
    pub version: Option<String>,
    /// How much of this step is done, in bytes.
    pub done: u64,
    /// How much each step has to do, in bytes.
    pub size: u64,
    /// Why it was refused or has failed, in words.
    pub error: Option<String>,
    /// What its makers say about the way back from it, once it is written.
    pub note: Option<String>,
}

/// How the writing of an update goes.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// It goes on.
    Writing,
    /// It was written, and all of it was read back.
    Written,
    /// The update is not to be had on this box; nothing was written.
    Refused,
    /// It could not be written; the slot does not boot.
    Failed,
}

/// What is done.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Step {
    /// The whole bundle is looked at; nothing is written yet.
    Checking,
    /// It is written to the slot.
    Writing,
    /// The slot is compared with what was written to it.
    ReadingBack,
}

/// The largest report that is read, in bytes.
const LARGEST: u64 = 16 << 10;

impl Report {
    /// Nothing is known but that it goes on.
    pub(super) fn new() -> Self {
        let (state, step) = (State::Writing, Some(Step::Checking));
        Self { state, step, version: None, done: 0, size: 0, error: None, note: None }
    }

    /// Puts it where it is read, whole or not at all. It need not survive a cut of power.
    pub(super) fn write(&self, path: &Path) -> io::Result<()> {
        let partial = path.with_extension("new");
        let mut json = serde_json::to_vec(self)?;
        json.push(b'\n');
        fs::write(&partial, json)?;
        fs::rename(&partial, path)
    }

    /// Reads one; `None` when there is none.
    pub fn read(path: &Path) -> Option<Self> {
        serde_json::from_slice(&read_small(path)?).ok()
    }
}

/// What is in a file that has no reason to be large.
pub(super) fn read_small(path: &Path) -> Option<Vec<u8>> {
    let mut bytes = Vec::new();
    fs::File::open(path).ok()?.take(LARGEST).read_to_end(&mut bytes).ok()?;
    Some(bytes)
}
