//! A fence around libraries that read what strangers send.
//!
//! One thread listens for all viewers: a panic in a library must cost no more than the datagram or the session it
//! happened in. What was handed to the closure may be half changed afterwards and must not be used any more.

use std::panic::{AssertUnwindSafe, catch_unwind};

/// What `act` gives, or `None` when it panicked.
pub(crate) fn contained<T>(act: impl FnOnce() -> T) -> Option<T> {
    catch_unwind(AssertUnwindSafe(act)).ok()
}
