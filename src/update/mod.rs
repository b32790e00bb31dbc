//! Updates: a signed bundle is judged before a byte of it is written, and written to the slot that does not run.
//!
//! Owns: the format of a bundle ([`bundle`]), what is refused and the words for it, the writing of a slot, and where an
//! upload waits to be written. Does not own: which slot is idle, which one the board starts, and the way back from an
//! update that does not work; those are the image's.
//!
//! A bundle flows from an upload through [`Spool`] to a file, and from a file through [`install`] to a slot. Both judge
//! it from its first byte on: what lies in a file may have changed since it was uploaded.

pub mod bundle;
#[doc(hidden)]
pub mod fuzzing;
mod install;
mod key;
mod key_file;
#[doc(hidden)]
pub mod making;
mod manifest;
mod refused;
mod report;
mod spool;

pub use bundle::{Arriving, Head, LARGEST_BUNDLE};
pub use install::{DEFAULT_RATE, Failed, Order, Slot, install};
pub use key::{InvalidKey, Key};
pub use key_file::NoKey;
pub use manifest::{CHUNK, Manifest, Running, Terms};
pub use refused::Refused;
pub use report::{Report, State, Step};
pub use spool::{NotTaken, Outcome, Spool, Updates, Upload, Uploading, Wishes};

/// The number of the format of what the box keeps on its data partition. It grows when a program can no longer read
/// what a newer one has left there; an update with a smaller one is refused.
pub const STATE: u32 = 1;

/// The boards that this program's image is for.
pub const BOARDS: &str = "raspberry-pi-64";
