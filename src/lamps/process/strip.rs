//! The strip, told by a thread of its own: a bus that hangs holds up no pin.

use std::io;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use super::super::backend::{self, Leds, Recorder, Simulated};
use super::super::look::Rgb;

/// How long the last colours may take before the process ends without them.
const LAST_WORDS: Duration = Duration::from_millis(500);

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

/// Tells a strip what to show; never waits for it.
pub(super) struct Teller(Arc<(Mutex<Mail>, Condvar)>);

#[derive(Default)]
struct Mail {
    /// The newest colours, until they are being shown.
    colours: Option<Vec<Rgb>>,
    busy: bool,
    error: Option<String>,
}

impl Teller {
    /// Starts the thread. With a `record` nothing is driven.
    pub(super) fn start(strip: Strip, record: Option<Recorder>) -> io::Result<Self> {
        let shared = Arc::new((Mutex::new(Mail::default()), Condvar::new()));
        let open = move || match &record {
            Some(recorder) => Ok(Box::new(Simulated::recorded(recorder.clone())) as Box<dyn Leds>),
            None => backend::strip(strip.device, strip.order),
        };
        let mail = shared.clone();
        thread::Builder::new().name("strip".into()).spawn(move || serve(&mail, open))?;
        Ok(Self(shared))
    }

    /// Shows these colours as soon as those before are shown; what was not shown by then is left out.
    pub(super) fn show(&self, colours: Vec<Rgb>) {
        lock(&self.0.0).colours = Some(colours);
        self.0.1.notify_all();
    }

    /// What was wrong with the last ones.
    pub(super) fn error(&self) -> Option<String> {
        lock(&self.0.0).error.clone()
    }

    /// Shows these colours, and waits for it a moment.
    pub(super) fn show_last(&self, colours: Vec<Rgb>) {
        self.show(colours);
        let working = |mail: &mut Mail| mail.busy || mail.colours.is_some();
        drop(self.0.1.wait_timeout_while(lock(&self.0.0), LAST_WORDS, working));
    }
}

fn serve(shared: &(Mutex<Mail>, Condvar), open: impl Fn() -> Result<Box<dyn Leds>, String>) {
    let (mail, news) = shared;
    let mut leds: Option<Box<dyn Leds>> = None;
    loop {
        let colours = {
            let waiting = news.wait_while(lock(mail), |mail| mail.colours.is_none());
            let mut mail = waiting.unwrap_or_else(PoisonError::into_inner);
            mail.busy = true;
            mail.colours.take().unwrap_or_default()
        };
        let shown = match leds.take().map_or_else(&open, Ok) {
            Ok(mut open) => open.show(&colours).map(|()| leds = Some(open)),
            Err(error) => Err(error),
        };
        let mut mail = lock(mail);
        (mail.busy, mail.error) = (false, shown.err());
        news.notify_all();
    }
}

fn lock(mail: &Mutex<Mail>) -> MutexGuard<'_, Mail> {
    mail.lock().unwrap_or_else(PoisonError::into_inner)
}
