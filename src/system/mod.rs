//! The machine around the program.
//!
//! Owns: what is remembered across restarts, which addresses the machine has, where logs go,
//! and what the service manager is told.
//! Does not own: settings, which people write.

mod addresses;
mod limits;
pub mod logging;
mod reachable;
mod store;
mod supervisor;

pub use addresses::local_addresses;
pub use limits::raise_open_files;
pub use reachable::reachable;
pub use store::Store;
pub use supervisor::Supervisor;
