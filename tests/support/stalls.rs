//! How long the machine itself stood still: what a virtual machine that is not given its cores adds to every time
//! that is measured on it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;
use tokio::time::Instant;

/// How long it sleeps at a time.
const NAP: Duration = Duration::from_millis(5);
/// Waking up later than this is standing still.
const TARDY: Duration = Duration::from_millis(15);

/// Sleeps for a short time again and again and sees how much longer that took. Dropped, it ends.
#[derive(Debug)]
pub struct Stalls {
    total_us: Arc<AtomicU64>,
    stop: Arc<AtomicBool>,
}

impl Stalls {
    /// Starts looking.
    pub fn watch() -> Self {
        let (total_us, stop): (Arc<AtomicU64>, Arc<AtomicBool>) = Default::default();
        let (total, stopped) = (Arc::clone(&total_us), Arc::clone(&stop));
        std::thread::spawn(move || {
            let mut before = Instant::now();
            while !stopped.load(Ordering::Relaxed) {
                std::thread::sleep(NAP);
                let late = before.elapsed().saturating_sub(NAP);
                if late > TARDY {
                    total.fetch_add(late.as_micros() as u64, Ordering::Relaxed);
                }
                before = Instant::now();
            }
        });
        Self { total_us, stop }
    }

    /// For how long it stood still so far, in all.
    pub fn total(&self) -> Duration {
        Duration::from_micros(self.total_us.load(Ordering::Relaxed))
    }
}

impl Drop for Stalls {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
    }
}
