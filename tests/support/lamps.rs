//! The lamp process as a child process, with simulated pins whose every edge it writes down.

use super::Result;
use super::appliance::{Appliance, Log, command, spawn_logged};
use nix::sys::signal::{Signal, kill};
use nix::time::ClockId;
use nix::unistd::Pid;
use std::path::PathBuf;
use std::process::{Child, ExitStatus};
use std::time::Duration;

/// One thing the lamp process did with a pin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Edge {
    /// When, on [`monotonic`]'s clock.
    pub at: Duration,
    /// The pin's BCM number.
    pub pin: u8,
    /// Its level from then on.
    pub high: bool,
}

/// The time that both processes read: `CLOCK_MONOTONIC`.
///
/// # Errors
/// The machine has no clock.
pub fn monotonic() -> Result<Duration> {
    Ok(Duration::from(ClockId::CLOCK_MONOTONIC.now()?))
}

/// A running lamp process. Dropped, it is killed.
#[derive(Debug)]
pub struct Lamps {
    child: Child,
    log: Log,
    record: PathBuf,
}

impl Lamps {
    /// Starts one beside a box, with its settings.
    ///
    /// # Errors
    /// There is no such program.
    pub fn start(beside: &Appliance) -> Result<Self> {
        let program = option_env!("CARGO_BIN_EXE_returnfeed").ok_or("only tests and benches start one")?;
        let record = beside.lamps_socket().with_extension("record");
        let _ = std::fs::remove_file(&record);
        let mut command = command(program);
        command.args(["lamps", "--config"]).arg(beside.settings_file());
        command.env("RETURNFEED_LAMPS", beside.lamps_socket()).env("RETURNFEED_LAMPS_RECORD", &record);
        let (child, log) = spawn_logged(command.env_remove("JOURNAL_STREAM"))?;
        Ok(Self { child, log, record })
    }

    /// Everything it has done with pins, oldest first.
    ///
    /// # Errors
    /// What it wrote cannot be read.
    pub fn edges(&self) -> Result<Vec<Edge>> {
        let Ok(text) = std::fs::read_to_string(&self.record) else { return Ok(Vec::new()) };
        let whole = text.rfind('\n').map_or("", |end| &text[..end]);
        whole.lines().filter(|line| !line.contains(" leds ")).map(edge).collect()
    }

    /// What the LEDs were told last, as `RRGGBB…`.
    pub fn leds(&self) -> Option<String> {
        let text = std::fs::read_to_string(&self.record).ok()?;
        let mut lines = text.lines().rev().filter_map(|line| line.split_once(" leds "));
        lines.next().map(|(_, colours)| colours.to_owned())
    }

    /// The level of a pin now; `None` before it was taken.
    ///
    /// # Errors
    /// As [`Self::edges`].
    pub fn level(&self, pin: u8) -> Result<Option<bool>> {
        Ok(self.edges()?.iter().rev().find(|edge| edge.pin == pin).map(|edge| edge.high))
    }

    /// Sends it a signal.
    ///
    /// # Errors
    /// It is gone.
    pub fn signal(&self, signal: Signal) -> Result<()> {
        Ok(kill(Pid::from_raw(self.child.id().cast_signed()), signal)?)
    }

    /// Waits for its end.
    ///
    /// # Errors
    /// The operating system cannot say.
    pub fn ended(&mut self) -> Result<ExitStatus> {
        Ok(self.child.wait()?)
    }

    /// Everything it has logged.
    pub fn log(&self) -> String {
        self.log.text()
    }
}

impl Drop for Lamps {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        eprintln!("--- log of the lamp process ---\n{}\n--- end of log ---", self.log.text());
    }
}

/// `NANOSECONDS take|set PIN LEVEL`.
fn edge(line: &str) -> Result<Edge> {
    let wrong = || format!("no edge: {line}");
    let mut words = line.split(' ');
    let at = Duration::from_nanos(words.next().ok_or_else(wrong)?.parse()?);
    let pin = words.nth(1).ok_or_else(wrong)?.parse()?;
    Ok(Edge { at, pin, high: words.next() == Some("1") })
}
