//! What the environment says. Read once, at the start.

use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

/// The environment variables the program heeds, in its own types.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Environment {
    /// `RUST_LOG`: a filter for the log, stronger than `[log] level`.
    pub log_filter: Option<String>,
    /// Standard error is connected to journald (`JOURNAL_STREAM`, systemd.exec(5)), so log there directly.
    pub logs_to_journal: bool,
    /// Where the program keeps what it learned by itself: `$STATE_DIRECTORY` (systemd.exec(5)), else
    /// `$XDG_STATE_HOME/returnfeed` (XDG Base Directory Specification), else `~/.local/state/returnfeed`,
    /// else `/var/lib/returnfeed`. Not created here.
    pub state_directory: PathBuf,
    /// `NOTIFY_SOCKET`: where the service manager listens (sd_notify(3)).
    pub notify_socket: Option<OsString>,
    /// `WATCHDOG_USEC`: within which time the service manager wants to hear that the program is alive
    /// (sd_watchdog_enabled(3)).
    pub watchdog: Option<Duration>,
    /// `RETURNFEED_IDENTITY`: where the SD-card image keeps what makes this box one of a kind
    /// ([`super::Identity`]). Unset everywhere else: such a machine has its own name, and announces nothing.
    pub identity: Option<PathBuf>,
    /// `RETURNFEED_UPDATE_KEY`: the public key (PEM) that updates of this machine are signed for. Unset everywhere but
    /// in the SD-card image: such a machine takes no updates, because nothing on it would write them.
    pub update_key: Option<PathBuf>,
    /// `RETURNFEED_LAMPS`: the Unix socket on which the lamp process is told what to show, else
    /// `/run/returnfeed-lamps/socket`.
    pub lamps: PathBuf,
    /// `RETURNFEED_LAMPS_RECORD`: the lamp process drives nothing, and writes into this file what would be seen.
    pub lamps_record: Option<PathBuf>,
}

impl Environment {
    /// The environment of this process.
    pub fn read() -> Self {
        let stderr = nix::sys::stat::fstat(std::io::stderr()).ok().map(|stat| (stat.st_dev, stat.st_ino));
        Self::from_variables(|name| std::env::var_os(name), stderr)
    }

    /// An environment in which `variable` answers for each name, and standard error is the file with this device
    /// and inode number.
    pub(super) fn from_variables(
        variable: impl Fn(&str) -> Option<OsString>,
        stderr: Option<(nix::libc::dev_t, nix::libc::ino_t)>,
    ) -> Self {
        let text = |name| variable(name).and_then(|value| value.into_string().ok()).filter(|value| !value.is_empty());
        // A relative path is invalid and to be ignored (XDG Base Directory Specification, "Basics").
        let path = |name| variable(name).map(PathBuf::from).filter(|path| path.is_absolute());
        let state_directory = variable("STATE_DIRECTORY")
            // systemd joins several with colons; the first is the service's main one.
            .and_then(|list| std::env::split_paths(&list).next())
            .filter(|path| path.is_absolute())
            .or_else(|| path("XDG_STATE_HOME").map(|path| path.join("returnfeed")))
            .or_else(|| path("HOME").map(|path| path.join(".local/state/returnfeed")))
            .unwrap_or_else(|| "/var/lib/returnfeed".into());
        let journal = text("JOURNAL_STREAM").and_then(|value| {
            let (device, inode) = value.split_once(':')?;
            Some((device.parse().ok()?, inode.parse().ok()?))
        });
        // The variable is inherited by programs started from a service whose output goes elsewhere: compare.
        let logs_to_journal = journal.is_some() && journal == stderr;
        // Zero means that nobody watches.
        let watchdog = text("WATCHDOG_USEC").and_then(|value| value.parse().ok()).filter(|value| *value > 0);
        Self {
            log_filter: text("RUST_LOG"),
            logs_to_journal,
            state_directory,
            notify_socket: variable("NOTIFY_SOCKET").filter(|value| !value.is_empty()),
            watchdog: watchdog.map(Duration::from_micros),
            identity: path("RETURNFEED_IDENTITY"),
            update_key: path("RETURNFEED_UPDATE_KEY"),
            lamps: path("RETURNFEED_LAMPS").unwrap_or_else(|| "/run/returnfeed-lamps/socket".into()),
            lamps_record: path("RETURNFEED_LAMPS_RECORD"),
        }
    }
}
