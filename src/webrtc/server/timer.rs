//! A timer that keeps to the microsecond: the runtime's own counts in milliseconds and rounds up, which would halve the
//! rate of what is paced.

use std::io;
use std::os::fd::AsFd;
use std::time::{Duration, Instant};

use nix::sys::time::TimeSpec;
use nix::sys::timerfd::{ClockId, Expiration, TimerFd, TimerFlags, TimerSetTimeFlags};
use tokio::net::unix::pipe;

/// Nothing is worth waking up for sooner; also what a time that has passed already becomes, since zero means "never".
const SHORTEST: Duration = Duration::from_micros(50);

/// One alarm, set again and again.
pub(super) struct Timer {
    alarm: TimerFd,
    /// The same descriptor: it is read like a pipe in which eight bytes arrive when the alarm goes off.
    fired: pipe::Receiver,
    set: Option<Instant>,
}

impl Timer {
    /// Must be called within a runtime.
    pub(super) fn new() -> io::Result<Self> {
        let flags = TimerFlags::TFD_NONBLOCK | TimerFlags::TFD_CLOEXEC;
        let alarm = TimerFd::new(ClockId::CLOCK_MONOTONIC, flags)?;
        let fired = pipe::Receiver::from_owned_fd_unchecked(alarm.as_fd().try_clone_to_owned()?)?;
        Ok(Self { alarm, fired, set: None })
    }

    /// Sets the alarm to `due`, as of `now`, in place of what it was set to.
    pub(super) fn set(&mut self, now: Instant, due: Instant) -> io::Result<()> {
        if self.set == Some(due) {
            return Ok(());
        }
        let wait = due.saturating_duration_since(now).max(SHORTEST);
        let alarm = Expiration::OneShot(TimeSpec::from_duration(wait));
        self.alarm.set(alarm, TimerSetTimeFlags::empty())?;
        self.set = Some(due);
        Ok(())
    }

    /// Waits until the alarm goes off; it is not set any more then.
    pub(super) async fn fired(&mut self) -> io::Result<()> {
        loop {
            self.fired.readable().await?;
            match self.fired.try_read(&mut [0; 8]) {
                Err(err) if err.kind() == io::ErrorKind::WouldBlock => {}
                read => {
                    self.set = None;
                    return read.map(|_| ());
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::Clock;

    #[tokio::test]
    async fn goes_off_once_and_when_it_was_set_to() {
        let clock = Clock::system();
        let mut timer = Timer::new().unwrap();
        for wait in [0, 300, 2_700].map(Duration::from_micros) {
            let (now, patience) = (clock.now(), Duration::from_secs(2));
            timer.set(now, now + wait + patience).unwrap();
            timer.set(now, now + wait).unwrap();
            tokio::time::timeout(patience, timer.fired()).await.unwrap().unwrap();
            assert!(clock.now() - now >= wait, "{wait:?}");
        }
        assert!(tokio::time::timeout(Duration::from_millis(10), timer.fired()).await.is_err());
    }
}
