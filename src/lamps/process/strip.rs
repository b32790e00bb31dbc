//! The strip, told by a thread of its own: a bus that hangs holds up no pin.
//!
//! LEDs keep the last colour that they were told, red too. So whoever tells the thread looks after it: one that has ended
//! is replaced, and one that stands still is reported, and then ends the process ([`Teller::has_given_up`]), for nothing
//! less ends a thread.

use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use super::super::backend::{self, Leds, Recorder, Simulated};
use super::super::look::Rgb;

/// How long the last colours may take before the process ends without them.
const LAST_WORDS: Duration = Duration::from_millis(500);

/// How long colours may take until that is a fault: 400 LEDs take 12 ms, and the kernel gives up a transfer within a
/// second.
const SLOW: Duration = Duration::from_secs(1);

/// How long it may be known to stand still before the process is to be started anew.
const PATIENCE: Duration = Duration::from_secs(1);

const STANDS_STILL: &str = "the strip's bus does not answer; it shows what it was told before";
const BROKE: &str = "what drives the strip has failed, and was started again";

/// A strip of LEDs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Strip {
    /// How many there are.
    pub leds: u16,
    /// The places of red, green and blue in what an LED takes, each 0 to 2.
    pub order: [u8; 3],
    /// The number of the SPI bus and of its chip select.
    pub device: (u8, u8),
}

/// Opens a strip, on the thread that is to drive it.
pub(super) type Open = dyn Fn() -> Result<Box<dyn Leds>, String> + Send + Sync;

/// Tells a strip what to show; never waits for it.
pub(super) struct Teller {
    shared: Arc<(Mutex<Mail>, Condvar)>,
    /// How much the thread had done at the last look, and since when it has done nothing though it was told to.
    seen: u64,
    idle_since: Option<Instant>,
    /// Since when it is known to stand still.
    stuck_since: Option<Instant>,
}

#[derive(Default)]
struct Mail {
    /// The newest colours, until they are being shown.
    colours: Option<Vec<Rgb>>,
    busy: bool,
    /// How often it was done with some, well or not.
    done: u64,
    /// It has shown some; a bus that hangs from the beginning is not mended by beginning again.
    has_shown: bool,
    error: Option<String>,
}

impl Teller {
    /// Starts the thread. With a `record` nothing is driven.
    pub(super) fn start(strip: Strip, record: Option<Recorder>) -> io::Result<Self> {
        Self::driving(Box::new(move || match &record {
            Some(recorder) => Ok(Box::new(Simulated::recorded(recorder.clone())) as Box<dyn Leds>),
            None => backend::strip(strip.device, strip.order),
        }))
    }

    /// Starts a thread that drives what `open` opens.
    pub(super) fn driving(open: Box<Open>) -> io::Result<Self> {
        let shared = Arc::new((Mutex::new(Mail::default()), Condvar::new()));
        let mail = shared.clone();
        thread::Builder::new().name("strip".into()).spawn(move || keep_serving(&mail, &open))?;
        Ok(Self { shared, seen: 0, idle_since: None, stuck_since: None })
    }

    /// Shows these colours as soon as those before are shown; what was not shown by then is left out.
    pub(super) fn show(&self, colours: Vec<Rgb>) {
        lock(&self.shared.0).colours = Some(colours);
        self.shared.1.notify_all();
    }

    /// Looks after the thread; says what is wrong.
    pub(super) fn look(&mut self, now: Instant) -> Option<String> {
        let (owes, done, error) = {
            let mail = lock(&self.shared.0);
            (mail.busy || mail.colours.is_some(), mail.done, mail.error.clone())
        };
        if !owes || done != self.seen {
            (self.seen, self.stuck_since) = (done, None);
            self.idle_since = owes.then_some(now);
        }
        if owes && now.saturating_duration_since(*self.idle_since.get_or_insert(now)) >= SLOW {
            // Counted from here on: time in which this whole process did not run was none in which the thread could.
            self.stuck_since.get_or_insert(now);
            return Some(STANDS_STILL.into());
        }
        error
    }

    /// Whether the thread worked once and stands still since, so that only a new process can change what LEDs show.
    pub(super) fn has_given_up(&self, now: Instant) -> bool {
        let stuck = self.stuck_since.is_some_and(|since| now.saturating_duration_since(since) >= PATIENCE);
        stuck && lock(&self.shared.0).has_shown
    }

    /// Shows these colours, and waits for it a moment.
    pub(super) fn show_last(&self, colours: Vec<Rgb>) {
        self.show(colours);
        let working = |mail: &mut Mail| mail.busy || mail.colours.is_some();
        drop(self.shared.1.wait_timeout_while(lock(&self.shared.0), LAST_WORDS, working));
    }
}

/// Serves for ever: what breaks begins again with the next colours.
fn keep_serving(shared: &(Mutex<Mail>, Condvar), open: &Open) {
    loop {
        // Nothing is shared with what broke but the mail, which is whole at any moment.
        if catch_unwind(AssertUnwindSafe(|| serve(shared, open))).is_err() {
            finish(shared, Err(BROKE.into()));
        }
    }
}

fn serve(shared: &(Mutex<Mail>, Condvar), open: &Open) {
    let (mail, news) = shared;
    let mut leds: Option<Box<dyn Leds>> = None;
    loop {
        let colours = {
            let waiting = news.wait_while(lock(mail), |mail| mail.colours.is_none());
            let mut mail = waiting.unwrap_or_else(PoisonError::into_inner);
            mail.busy = true;
            mail.colours.take().unwrap_or_default()
        };
        let shown = match leds.take().map_or_else(open, Ok) {
            Ok(mut open) => open.show(&colours).map(|()| leds = Some(open)),
            Err(error) => Err(error),
        };
        finish(shared, shown);
    }
}

fn finish((mail, news): &(Mutex<Mail>, Condvar), shown: Result<(), String>) {
    let mut mail = lock(mail);
    mail.busy = false;
    mail.done += 1;
    mail.has_shown |= shown.is_ok();
    mail.error = shown.err();
    news.notify_all();
}

fn lock(mail: &Mutex<Mail>) -> MutexGuard<'_, Mail> {
    mail.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests;
