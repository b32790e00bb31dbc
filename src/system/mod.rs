//! The machine around the program.
//!
//! Owns: what is remembered across restarts, which addresses the machine has, and where logs go.
//! Does not own: settings, which people write.

mod addresses;
mod limits;
pub mod logging;
mod reachable;
mod store;

pub use addresses::local_addresses;
pub use limits::raise_open_files;
pub use reachable::reachable;
pub use store::Store;
