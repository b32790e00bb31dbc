//! Updates and health: what the command line asks for, and what the box takes over the network.

use std::path::PathBuf;

use crate::cli::InstallUpdate;
use crate::clock::Clock;
use crate::settings::{Environment, Settings};
use crate::system;
use crate::update::{self, Failed, Key, Order, Running, Spool, Terms, Updates};

/// Where the service that writes updates tells how far it is.
const REPORT: &str = "/run/returnfeed-update/status.json";
/// Where it is kept what became of the update that was tried last.
const OUTCOME: &str = "/data/update/result";

/// What this machine does about updates: nothing where it has no key to judge them by.
pub(super) fn taken_here(environment: &Environment) -> Updates {
    let key = environment.update_key.as_deref().and_then(|file| {
        Key::load(file).inspect_err(|err| tracing::error!("{err}; this box takes no updates over the network")).ok()
    });
    let spool = key.map(|key| Spool::new(environment.state_directory.join("update"), key));
    Updates { spool, report: PathBuf::from(REPORT), outcome: PathBuf::from(OUTCOME) }
}

/// Asks the program that runs on this machine with these settings whether it does its work.
///
/// # Errors
/// When it does not.
pub fn ask_health(settings: &Settings) -> anyhow::Result<()> {
    Ok(system::ask_health(settings.http.listen)?)
}

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
