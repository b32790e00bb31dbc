//! Why a bundle is refused, in words for the technician who brought it.

use semver::Version;

/// Why a bundle is not installed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// It does not begin as a bundle does.
    #[error("this is no update of ReturnFeed: take the file whose name ends in .update, just as it was downloaded")]
    NotAnUpdate,
    /// Its first line has a number that this program does not know.
    #[error(
        "this update is of a newer kind than the program on this box understands: install a version between the two \
         first, or flash the card anew"
    )]
    NewerKind,
    /// What stands before the manifest is damaged.
    #[error("this update is damaged in its first lines: download it again, or copy it again")]
    DamagedHead,
    /// The manifest is not signed by the key of the box.
    #[error(
        "the signature of this update is wrong: it was damaged on its way, or it was not made by those whom this box \
         trusts. Download it again; an update of your own is to be signed with the key whose public half is in the \
         image on this box"
    )]
    WrongSignature,
    /// The signature is right, and what it signs makes no sense.
    #[error("this update was made wrongly ({0}): tell those who made it")]
    MadeWrongly(String),
    /// For other boards.
    #[error("this update is for another kind of box ({theirs}); this one needs an update for {ours}")]
    OtherBoards {
        /// What it is for.
        theirs: String,
        /// What this box is.
        ours: String,
    },
    /// It cannot read what the box keeps.
    #[error(
        "version {version} cannot read what version {running} keeps on this box, so there is no way back to it\
         {}. To use it all the same, flash the card anew",
        note.as_ref().map(|note| format!(": {note}")).unwrap_or_default()
    )]
    OlderState {
        /// Of the bundle.
        version: Version,
        /// Of the running program.
        running: Version,
        /// What its makers say about it.
        note: Option<String>,
    },
    /// The version that runs.
    #[error("version {0} runs on this box already; to write it once more, allow a downgrade")]
    SameVersion(Version),
    /// Older than the version that runs.
    #[error(
        "version {version} is older than {running}, which runs on this box; to go back all the same, allow a downgrade"
    )]
    OlderVersion {
        /// Of the bundle.
        version: Version,
        /// Of the running program.
        running: Version,
    },
    /// Does not fit.
    #[error("this update has {size} bytes, and there is room for {room}: flash the card anew with the newer image")]
    TooLarge {
        /// What it needs, in bytes.
        size: u64,
        /// What there is, in bytes.
        room: u64,
    },
    /// It ends too early.
    #[error(
        "this update is not whole{}: download it again, or copy it again",
        missing.map(|missing| format!(", {missing} bytes are missing at its end")).unwrap_or_default()
    )]
    Truncated {
        /// Bytes that are missing, where that is known.
        missing: Option<u64>,
    },
    /// It does not end where it should.
    #[error("something was added to this update behind its end: download it again, or copy it again")]
    TrailingBytes,
    /// A part of what is to be written is not what was signed.
    #[error("this update is damaged in part {part} of {parts}: download it again, or copy it again")]
    WrongChunk {
        /// Which part, counted from 1.
        part: usize,
        /// How many there are.
        parts: usize,
    },
}

impl Refused {
    /// A stable word for programs and translations.
    pub fn code(&self) -> &'static str {
        match self {
            Self::NotAnUpdate => "not_an_update",
            Self::NewerKind => "newer_kind",
            Self::DamagedHead | Self::WrongChunk { .. } => "damaged",
            Self::WrongSignature => "wrong_signature",
            Self::MadeWrongly(_) => "made_wrongly",
            Self::OtherBoards { .. } => "other_boards",
            Self::OlderState { .. } => "older_state",
            Self::SameVersion(_) => "same_version",
            Self::OlderVersion { .. } => "older_version",
            Self::TooLarge { .. } => "too_large",
            Self::Truncated { .. } => "truncated",
            Self::TrailingBytes => "trailing_bytes",
        }
    }
}
