//! What all connections and feeds of one simulator share.
//!
//! Owns: the show behind its lock, the news of its changes, and the faults that are switched on.
//! Does not own: what the faults look like on a connection (`links`) or in a feed (`feed`).

use super::misbehaviour::Misbehaviour;
use super::show::{Arguments, Show};
use std::future::Future;
use std::sync::atomic::AtomicUsize;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::sync::{broadcast, watch};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// A change of the show.
#[derive(Debug)]
pub(super) struct Change {
    /// Whether any input's tally changed.
    pub(super) tally: bool,
    /// What ACTS tells.
    pub(super) acts: Vec<String>,
}

/// Faults that are on, and counts of those that happen once.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Faults {
    pub(super) pieces: bool,
    pub(super) silent: bool,
    pub(super) no_greeting: bool,
    pub(super) emulator: bool,
    pub(super) b_frames: bool,
    /// The program is not running.
    pub(super) down: bool,
    pub(super) links_dropped: u64,
    pub(super) feeds_dropped: u64,
    pub(super) garbage_replies: u64,
    pub(super) garbage_feeds: u64,
    /// Which order to be silent or down is in force: an older one that ends must not end a newer one.
    order: u64,
}

#[derive(Debug)]
pub(super) struct Studio {
    show: Mutex<Show>,
    changes: broadcast::Sender<Arc<Change>>,
    faults: watch::Sender<Faults>,
    pub(super) connected_feeds: AtomicUsize,
    pub(super) stopped: CancellationToken,
    pub(super) tasks: TaskTracker,
}

impl Studio {
    pub(super) fn new() -> Arc<Self> {
        Arc::new(Self {
            show: Mutex::new(Show::studio()),
            changes: broadcast::Sender::new(256),
            faults: watch::Sender::default(),
            connected_feeds: AtomicUsize::new(0),
            stopped: CancellationToken::new(),
            tasks: TaskTracker::new(),
        })
    }

    /// Runs `work` until it ends or the simulator is stopped.
    pub(super) fn spawn(&self, work: impl Future<Output = ()> + Send + 'static) {
        let stopped = self.stopped.clone();
        self.tasks.spawn(async move {
            stopped.run_until_cancelled(work).await;
        });
    }

    pub(super) fn show(&self) -> Show {
        self.show.lock().unwrap_or_else(|poisoned| poisoned.into_inner()).clone()
    }

    pub(super) fn changes(&self) -> broadcast::Receiver<Arc<Change>> {
        self.changes.subscribe()
    }

    pub(super) fn faults(&self) -> watch::Receiver<Faults> {
        self.faults.subscribe()
    }

    /// Changes the show and tells everybody, in the order of the changes.
    pub(super) fn change(&self, work: impl FnOnce(&mut Show)) {
        let mut show = self.show.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        let before = show.clone();
        work(&mut show);
        let change = Change { tally: show.tally() != before.tally(), acts: show.changes_since(&before) };
        if change.tally || !change.acts.is_empty() {
            // Nobody listening is no fault.
            let _ = self.changes.send(Arc::new(change));
        }
    }

    /// A function as clients call it: vMix's, or one that makes the simulator misbehave.
    pub(super) fn function(self: &Arc<Self>, name: &str, arguments: &Arguments) {
        match Misbehaviour::from_function(name, arguments.value.as_deref()) {
            Some(misbehaviour) => self.misbehave(misbehaviour),
            None => self.change(|show| show.apply(name, arguments)),
        }
    }

    pub(super) fn misbehave(self: &Arc<Self>, misbehaviour: Misbehaviour) {
        tracing::info!(?misbehaviour, "misbehaving as told");
        let faults = &self.faults;
        match misbehaviour {
            Misbehaviour::Pieces(on) => faults.send_modify(|faults| faults.pieces = on),
            Misbehaviour::NoGreeting(on) => faults.send_modify(|faults| faults.no_greeting = on),
            Misbehaviour::EmulatorReplies(on) => faults.send_modify(|faults| faults.emulator = on),
            Misbehaviour::BFrames(on) => faults.send_modify(|faults| faults.b_frames = on),
            Misbehaviour::DropLinks => faults.send_modify(|faults| faults.links_dropped += 1),
            Misbehaviour::DropFeeds => faults.send_modify(|faults| faults.feeds_dropped += 1),
            Misbehaviour::GarbageReplies => faults.send_modify(|faults| faults.garbage_replies += 1),
            Misbehaviour::GarbageFeeds => faults.send_modify(|faults| faults.garbage_feeds += 1),
            Misbehaviour::Renumber => self.change(Show::renumber),
            Misbehaviour::Silence(time) => {
                self.for_a_while(time, |faults, on| faults.silent = on);
            }
            Misbehaviour::Restart(time) => {
                self.for_a_while(time, |faults, on| faults.down = on);
            }
            Misbehaviour::Normal => {
                faults.send_modify(|faults| {
                    *faults = Faults {
                        links_dropped: faults.links_dropped,
                        feeds_dropped: faults.feeds_dropped,
                        garbage_replies: faults.garbage_replies,
                        garbage_feeds: faults.garbage_feeds,
                        order: faults.order + 1,
                        ..Faults::default()
                    };
                });
            }
        }
    }

    fn for_a_while(self: &Arc<Self>, time: Duration, switch: fn(&mut Faults, bool)) {
        let mut order = 0;
        self.faults.send_modify(|faults| {
            faults.order += 1;
            order = faults.order;
            switch(faults, true);
        });
        let studio = self.clone();
        self.spawn(async move {
            tokio::time::sleep(time).await;
            studio.faults.send_if_modified(|faults| {
                let in_force = faults.order == order;
                if in_force {
                    (faults.silent, faults.down) = (false, false);
                }
                in_force
            });
        });
    }
}
