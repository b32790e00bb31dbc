//! The gate, with what the box knows of itself: its settings, its set-up code, its networks, its card.

use std::io;
use std::time::Duration;

use tokio::time::{Instant, MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;

use super::convert;
use crate::access::{Access, Memory, Parts};
use crate::clock::Clock;
use crate::settings::{Identity, Settings};
use crate::system::{Store, local_networks};

/// The fact under which password, links and sign-ins are kept.
const FACT: &str = "access";

/// How soon what is not urgent is written: a crowd that comes by PIN is one write.
const KEEP_EVERY: Duration = Duration::from_secs(5);

/// How often it is written how much is left of what ends: as much a cut of power may give back.
const TIMES_EVERY: Duration = Duration::from_secs(600);

struct Card(Store);

impl Memory for Card {
    fn read(&self) -> Option<String> {
        self.0.read(FACT)
    }

    fn write(&self, text: &str) -> io::Result<()> {
        self.0.write_private(FACT, text)
    }
}

pub(super) fn gate(
    settings: &Settings,
    https: convert::Https,
    setup_code: String,
    identity: Option<&Identity>,
    store: Option<&Store>,
    clock: &Clock,
) -> Access {
    Access::new(Parts {
        setup_code,
        policy: convert::policy(settings, https),
        interfaces: local_networks,
        // The SD-card box stands in a studio. Any other machine may be rented.
        among_strangers: identity.is_none(),
        memory: store.map(|store| Box::new(Card(store.clone())) as Box<dyn Memory>),
        clock: clock.clone(),
    })
}

/// Keeps who was let in, until told to stop.
pub(super) async fn keep(access: Access, stopping: CancellationToken) {
    let mut ticks = interval(KEEP_EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut times_kept = Instant::now();
    loop {
        let last = tokio::select! {
            _ = ticks.tick() => false,
            () = stopping.cancelled() => true,
        };
        let times = last || times_kept.elapsed() >= TIMES_EVERY;
        if times {
            times_kept = Instant::now();
        }
        let access = access.clone();
        // A card may take its time, and whatever becomes of it was said.
        let _ = tokio::task::spawn_blocking(move || access.keep(times)).await;
        if last {
            return;
        }
    }
}
