//! The public key of the box, out of its file.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use super::{InvalidKey, Key};

/// The largest file that is read, in bytes; a whole one has 113.
const LARGEST_FILE: u64 = 4096;

/// Why there is no key to judge updates by.
#[derive(Debug, thiserror::Error)]
pub enum NoKey {
    /// It could not be read.
    #[error("{file}: the key of the updates cannot be read: {source}")]
    Unreadable {
        /// As it was named.
        file: String,
        /// What the system said.
        source: io::Error,
    },
    /// It is none.
    #[error("{file}: {source}")]
    Invalid {
        /// As it was named.
        file: String,
        /// What is wrong.
        source: InvalidKey,
    },
}

impl Key {
    /// Reads a key out of a file.
    ///
    /// # Errors
    /// When it cannot be read, or is none.
    pub fn load(path: &Path) -> Result<Self, NoKey> {
        let (file, mut text) = (path.display().to_string(), String::new());
        match File::open(path).and_then(|file| file.take(LARGEST_FILE).read_to_string(&mut text)) {
            Ok(_) => Self::from_pem(&text).map_err(|source| NoKey::Invalid { file, source }),
            Err(source) => Err(NoKey::Unreadable { file, source }),
        }
    }
}
