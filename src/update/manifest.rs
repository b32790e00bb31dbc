//! What a bundle says about itself, and on which terms it is taken.

use data_encoding::HEXLOWER;
use semver::Version;
use serde::Deserialize;

use super::Refused;
use super::bundle::LARGEST_BUNDLE;

/// The bytes of a part that has a checksum of its own; the last one may be smaller.
pub const CHUNK: usize = 1 << 20;

/// The longest note of the makers, in bytes.
const LONGEST_NOTE: usize = 1000;

/// What a bundle says about itself. Signed, so that whoever made it meant it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Manifest {
    /// The version it brings.
    pub version: Version,
    /// When it was made, in seconds since 1970; for people.
    pub built: u64,
    /// The number of the format of what the box keeps, [`super::STATE`] of the program inside.
    pub state: u32,
    /// Why there is no way back from it, or to it, where there is none. One that is newer than what runs must say so.
    pub state_note: Option<String>,
    /// The boards it is for.
    pub boards: String,
    /// What is written to the slot, in bytes.
    pub size: u64,
    /// SHA-256 of each [`CHUNK`] of it.
    pub sha256: Vec<[u8; 32]>,
    /// Where in it the digit of the slot stands, which is set while it is written.
    pub slot_at: u64,
}

/// As it is written down. What is not named here is left to programs that know it.
#[derive(Deserialize)]
struct Written {
    version: String,
    built: u64,
    state: u32,
    state_note: Option<String>,
    boards: String,
    size: u64,
    chunk: u64,
    sha256: Vec<String>,
    slot_at: u64,
}

impl Manifest {
    /// Reads a manifest whose signature is right.
    pub(super) fn parse(bytes: &[u8]) -> Result<Self, Refused> {
        Self::read(bytes).map_err(Refused::MadeWrongly)
    }

    fn read(bytes: &[u8]) -> Result<Self, String> {
        let text = str::from_utf8(bytes).map_err(|_| "its manifest is no text")?;
        let written: Written = toml::from_str(text).map_err(|error| one_line(error.message()))?;
        let Written { built, state, size, slot_at, .. } = written;
        let version = Version::parse(&written.version).map_err(|error| one_line(&format!("`version`: {error}")))?;
        let sane = |name: &str, text: &str, most: usize| match text.len() <= most && !text.contains(char::is_control) {
            true => Ok(()),
            false => Err(format!("`{name}` is not to be shown")),
        };
        sane("version", &written.version, 100)?;
        sane("boards", &written.boards, 100)?;
        sane("state_note", written.state_note.as_deref().unwrap_or_default(), LONGEST_NOTE)?;
        if written.chunk != CHUNK as u64 {
            return Err(format!("`chunk` is not {CHUNK}"));
        }
        if !(1..=LARGEST_BUNDLE).contains(&size) {
            return Err("`size` is out of bounds".into());
        }
        if slot_at >= size {
            return Err("`slot_at` is out of bounds".into());
        }
        if written.sha256.len() as u64 != size.div_ceil(CHUNK as u64) {
            return Err("`sha256` does not have one entry for each part".into());
        }
        let checksum = |hex: &String| HEXLOWER.decode(hex.as_bytes()).ok().and_then(|sum| sum.try_into().ok());
        let sha256 = written.sha256.iter().map(checksum).collect::<Option<_>>().ok_or("`sha256` has no checksums")?;
        let (state_note, boards) = (written.state_note, written.boards);
        Ok(Self { version, built, state, state_note, boards, size, sha256, slot_at })
    }

    /// How many bytes the part with this number has, counted from 0; none where there is no such part.
    pub(super) fn chunk_len(&self, number: usize) -> usize {
        let left = self.size.saturating_sub(number as u64 * CHUNK as u64);
        usize::try_from(left).unwrap_or(CHUNK).min(CHUNK)
    }

    /// Whether `data` is what the part with this number must be.
    ///
    /// # Errors
    /// When it is not.
    pub(super) fn check(&self, number: usize, sum: &[u8]) -> Result<(), Refused> {
        match self.sha256.get(number).is_some_and(|signed| signed == sum) {
            true => Ok(()),
            false => Err(Refused::WrongChunk { part: number + 1, parts: self.sha256.len() }),
        }
    }
}

/// What a library says, fit for one line of an answer.
fn one_line(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).take(200).collect()
}

/// What runs on the box.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Running {
    /// The program's version.
    pub version: Version,
    /// The number of the format of what it keeps.
    pub state: u32,
    /// The boards it is for.
    pub boards: String,
}

impl Running {
    /// This very program.
    pub fn this() -> Self {
        let version = Version::parse(env!("CARGO_PKG_VERSION")).expect("Cargo takes no other versions");
        Self { version, state: super::STATE, boards: super::BOARDS.into() }
    }
}

/// On which terms a bundle is taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Terms {
    /// What it is to come after.
    pub running: Running,
    /// Whether it may be as old as that, or older.
    pub allow_downgrade: bool,
    /// The bytes there are for it, where they are known.
    pub room: Option<u64>,
}

impl Terms {
    /// Whether a bundle is taken that says this about itself.
    ///
    /// # Errors
    /// When it is not.
    pub fn judge(&self, manifest: &Manifest) -> Result<(), Refused> {
        let (Running { version: running, state, boards }, version) = (&self.running, &manifest.version);
        if manifest.boards != *boards {
            return Err(Refused::OtherBoards { theirs: manifest.boards.clone(), ours: boards.clone() });
        }
        if manifest.state < *state {
            let (version, running, note) = (version.clone(), running.clone(), manifest.state_note.clone());
            return Err(Refused::OlderState { version, running, note });
        }
        // Whoever brings it would learn too late that there is no way back.
        if manifest.state > *state && manifest.state_note.as_deref().is_none_or(|note| note.trim().is_empty()) {
            let why = "it changes what the box keeps, and has no `state_note` that says why there is no way back";
            return Err(Refused::MadeWrongly(why.into()));
        }
        // What stands behind a plus sign makes no version newer (Semantic Versioning 2.0.0 §10).
        let order = version.cmp_precedence(running);
        if order.is_eq() && !self.allow_downgrade {
            return Err(Refused::SameVersion(version.clone()));
        }
        if order.is_lt() && !self.allow_downgrade {
            return Err(Refused::OlderVersion { version: version.clone(), running: running.clone() });
        }
        match self.room {
            Some(room) if manifest.size > room => Err(Refused::TooLarge { size: manifest.size, room }),
            _ => Ok(()),
        }
    }
}
