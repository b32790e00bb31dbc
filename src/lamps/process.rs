//! The lamp process: one thread that waits for orders, for the next step of a pattern, and for nothing else; a strip has
//! another one.
//!
//! Owns: the Unix socket that the program tells it by, when what is asked of the backends, and what is lit at the
//! beginning (unknown, until told) and at the end (nothing).
//! Does not own: its priority, and being started again; both are its unit's.

use std::io;
use std::os::fd::AsFd;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, ppoll};
use nix::sys::signal::{SigSet, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use nix::sys::time::TimeSpec;

use super::panel::{Lamp, Panel};
use crate::clock::Clock;
use crate::system::Supervisor;
use hands::Hands;
use socket::{Heard, Socket};

mod hands;
mod socket;
mod strip;

pub use strip::Strip;

/// How often the service manager hears of the process, in the time in which it expects to.
const PINGS: u32 = 4;

/// The longest it waits for nothing.
const LONGEST_WAIT: Duration = Duration::from_secs(1);

/// What the lamp process is made of.
#[derive(Debug)]
pub struct Parts {
    /// The lamps.
    pub lamps: Vec<Lamp>,
    /// The strip, if there is one.
    pub strip: Option<Strip>,
    /// Where it listens for orders.
    pub socket: std::path::PathBuf,
    /// Nothing is driven, and what would be seen is written there.
    pub record: Option<std::path::PathBuf>,
    /// Its time.
    pub clock: Clock,
    /// Who started it.
    pub supervisor: Supervisor,
    /// Within which time the service manager wants to hear from it.
    pub watchdog: Option<Duration>,
}

/// Drives the lamps until told to stop (SIGTERM, SIGINT); then all of them are dark.
///
/// # Errors
/// When it cannot listen for orders, and when the strip stands still: it would keep a colour that is no longer true, and
/// only a new process can change that. Pins and LEDs that cannot be had are reported, and tried again.
pub fn run(parts: Parts) -> io::Result<()> {
    let stop = stop_signals()?;
    let Parts { lamps, strip, socket, record, clock, supervisor, watchdog } = parts;
    let mut socket = Socket::bind(&socket)?;
    let mut panel = Panel::new(clock.now(), lamps, strip.as_ref().map_or(0, |strip| strip.leds));
    let mut hands = Hands::new(strip, record.as_deref())?;
    let mut next_ping = watchdog.map(|_| clock.now());
    hands.reach(clock.now(), &panel);
    hands.show(clock.now(), &panel);
    supervisor.serving();
    tracing::info!("{} lamps, by {}", panel.lamps().count(), hands.report().backend);
    loop {
        let now = clock.now();
        panel.handle_timeout(now);
        hands.reach(now, &panel);
        hands.show(now, &panel);
        socket.report(hands.report());
        if let Some(why) = hands.gave_up(now) {
            let error = io::Error::other(format!("the lamp process begins again: {why}"));
            hands.darken_pins(&panel);
            return Err(error);
        }
        if let (Some(due), Some(within)) = (next_ping, watchdog)
            && now >= due
        {
            supervisor.alive();
            next_ping = Some(now + within / PINGS);
        }
        let dues = [panel.poll_timeout(now), Some(hands.poll_timeout(now)), next_ping];
        if wait(&stop, &socket, now, dues.into_iter().flatten().min())? {
            break;
        }
        match socket.hear() {
            Heard::Nothing => {}
            Heard::Order(order) => {
                let now = clock.now();
                panel.told(now, clock.monotonic(), order);
            }
            Heard::Gone => {
                panel.untold(clock.now());
                tracing::warn!("the program is gone; every lamp is unknown");
            }
        }
    }
    supervisor.stopping();
    hands.darken(&panel);
    Ok(())
}

/// Waits until there is something to do; returns whether that is to stop.
fn wait(stop: &SignalFd, socket: &Socket, now: Instant, due: Option<Instant>) -> io::Result<bool> {
    let mut waited: Vec<PollFd<'_>> = vec![PollFd::new(stop.as_fd(), PollFlags::POLLIN)];
    waited.extend(socket.files().map(|file| PollFd::new(file, PollFlags::POLLIN)));
    let time = due.map_or(LONGEST_WAIT, |due| due.saturating_duration_since(now).min(LONGEST_WAIT));
    match ppoll(&mut waited, Some(TimeSpec::from_duration(time)), None) {
        Ok(_) | Err(Errno::EINTR) => {}
        Err(error) => return Err(error.into()),
    }
    Ok(waited.first().and_then(PollFd::any).unwrap_or(false))
}

/// The signals that end it are read like anything else, so that nothing is interrupted between two pins.
fn stop_signals() -> io::Result<SignalFd> {
    let mut signals = SigSet::empty();
    signals.add(Signal::SIGTERM);
    signals.add(Signal::SIGINT);
    signals.thread_block()?;
    Ok(SignalFd::with_flags(&signals, SfdFlags::SFD_NONBLOCK | SfdFlags::SFD_CLOEXEC)?)
}
