//! Updates: what the command line asks for.

use crate::cli::InstallUpdate;
use crate::clock::Clock;
use crate::update::{self, Failed, Order, Running, Terms};

/// Writes an update to a slot, and returns what to say about it. Blocks for as long as that takes.
///
/// # Errors
/// When it is refused or cannot be written.
pub fn install_update(asked: &InstallUpdate) -> Result<String, Failed> {
    let terms = Terms { running: Running::this(), allow_downgrade: asked.allow_downgrade, room: None };
    let rate = asked.rate.saturating_mul(1_000_000);
    let order = Order {
        bundle: &asked.file,
        target: &asked.to,
        slot: asked.slot,
        key: &asked.key,
        terms,
        rate,
        report: &asked.status,
    };
    let manifest = update::install(&order, &Clock::system())?;
    let note = manifest.state_note.map(|note| format!("\n{note}")).unwrap_or_default();
    Ok(format!("version {} is written to {}{note}", manifest.version, asked.to.display()))
}
