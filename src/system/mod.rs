//! The machine around the program.
//!
//! Owns: what is remembered across restarts, which addresses the machine has, by which names it is
//! found, where logs go, what the service manager is told, how the running program is and how much memory it holds,
//! what its radio and its card are able to do, whether its clock was set, where the header's pins are, and the button
//! that asks for a factory reset.
//! Does not own: settings, which people write.

mod addresses;
mod health;
mod limits;
pub mod logging;
mod machine;
mod memory;
mod names;
mod pins;
mod reachable;
mod reset_button;
mod store;
mod supervisor;

pub use addresses::{local_addresses, local_networks};
pub use health::{Unwell, ask_health};
pub use limits::raise_open_files;
pub use machine::{Radio, clock_is_set, host_name, keeps_nothing, radio};
pub use memory::memory_used;
pub use names::Names;
pub use pins::{has_header, header_chip, lamp_chip};
pub use reachable::reachable;
pub use reset_button::{CannotRead, reset_is_asked_for};
pub use store::Store;
pub use supervisor::Supervisor;
