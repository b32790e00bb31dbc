//! Lamps: what tells the lamp process what to show, and that process itself.
//!
//! The program says what every lamp is to show, at every change and four times a second, and until when that holds. It
//! is never held up by lamps: a lamp process that does not read costs this one task.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Context;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Lines};
use tokio::net::UnixStream;
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};
use tokio::sync::watch;
use tokio::time::{MissedTickBehavior, interval, sleep, timeout};
use tokio_util::sync::CancellationToken;

use crate::clock::Clock;
use crate::lamps::process::{self, Parts, Strip};
use crate::lamps::wire::{self, Order, Report, TestOrder};
use crate::lamps::{Commands, FRESH, Follows, Input, Lamp, LampState, Seen, ShowPart, Signal, Test};
use crate::problems::{Problem, Problems};
use crate::settings::{self, ActiveLevel, Environment, LampFollows, Settings};
use crate::system::Supervisor;
use crate::tally::{self, Snapshot, Tally};

/// How often lamps are told, though nothing has changed; and how often the lamp process is called.
const BEAT: Duration = Duration::from_millis(250);
/// So long the lamp process may take to make room for an order; one that is stuck is called anew.
const SEND_WITHIN: Duration = BEAT;
/// For so long the lamp process may be away before that is a problem; being started again takes less.
const AWAY: Duration = Duration::from_secs(3);
/// A test that nobody ends.
const LONGEST_TEST: Duration = Duration::from_secs(60);

const _: () = assert!(settings::MOST_LAMPS <= wire::MOST_LAMPS && settings::LONGEST_NAME <= wire::LONGEST_NAME);

const GONE: &str = "lamps_gone";
const REFUSED: &str = "lamp_refused";

/// Drives the lamps of the settings until told to stop.
///
/// # Errors
/// When orders cannot be listened for.
pub fn drive(settings: &Settings, environment: &Environment) -> anyhow::Result<()> {
    let lamp = |lamp: &settings::Lamp| Lamp {
        name: lamp.name.clone(),
        program_pin: lamp.program_pin,
        preview_pin: lamp.preview_pin,
        active_low: lamp.active == ActiveLevel::Low,
        brightness: lamp.brightness,
        leds: lamp.leds.map(|leds| (leds.first - 1, leds.last)),
    };
    let strip = |strip: &settings::Strip| Strip { leds: strip.leds, order: strip.order.0, device: strip.device };
    let supervisor = Supervisor::at(environment.notify_socket.as_ref()).context("finding the service manager")?;
    Ok(process::run(Parts {
        lamps: settings.lamps.iter().map(lamp).collect(),
        strip: settings.strip.as_ref().map(strip),
        socket: environment.lamps.clone(),
        record: environment.lamps_record.clone(),
        clock: Clock::system(),
        supervisor,
        watchdog: environment.watchdog,
    })?)
}

/// The handle for tests of these settings' lamps.
pub(super) fn commands(settings: &Settings) -> Commands {
    let lamp = |lamp: &settings::Lamp| LampState {
        name: lamp.name.clone(),
        program_pin: lamp.program_pin,
        preview_pin: lamp.preview_pin,
        leds: lamp.leds.map(|leds| (leds.first, leds.last)),
        ..LampState::default()
    };
    Commands::new(settings.lamps.iter().map(lamp).collect())
}

/// What [`Feed`] is made of.
pub(super) struct FeedParts<'s> {
    pub(super) settings: &'s Settings,
    /// Where the lamp process listens.
    pub(super) socket: PathBuf,
    pub(super) tally: watch::Receiver<Arc<Snapshot>>,
    pub(super) commands: Commands,
    pub(super) problems: Problems,
    pub(super) clock: Clock,
}

/// Tells the lamp process what to show.
pub(super) struct Feed {
    follows: Vec<(String, Follows)>,
    socket: PathBuf,
    tally: watch::Receiver<Arc<Snapshot>>,
    commands: Commands,
    asked: watch::Receiver<Option<Test>>,
    problems: Problems,
    clock: Clock,
    /// What every lamp is to show, as it was told last.
    signals: BTreeMap<String, Signal>,
    /// The test that is shown, and since when.
    test: Option<(Test, Instant)>,
}

/// Why a link ended.
enum End {
    /// The lamp process is gone, or does not read.
    Broken,
    /// Nobody tells tally any more: the program stops.
    NoTally,
}

impl Feed {
    pub(super) fn new(parts: FeedParts<'_>) -> Self {
        let follows = parts.settings.lamps.iter().map(|lamp| (lamp.name.clone(), follows(&lamp.follows))).collect();
        let asked = parts.commands.asked();
        let FeedParts { socket, tally, commands, problems, clock, .. } = parts;
        Self { follows, socket, tally, commands, asked, problems, clock, signals: BTreeMap::new(), test: None }
    }

    /// Calls the lamp process for ever, and tells it.
    pub(super) async fn run(mut self, stop: CancellationToken) {
        if self.follows.is_empty() {
            stop.cancelled().await;
            return;
        }
        tokio::select! {
            () = stop.cancelled() => {}
            () = self.keep_telling() => stop.cancelled().await,
        }
    }

    async fn keep_telling(&mut self) {
        let mut away_since = self.clock.now();
        loop {
            if let Ok(stream) = UnixStream::connect(&self.socket).await {
                self.problems.clear(GONE, "lamps");
                self.commands.report(|state| state.running = true);
                let end = self.tell(stream).await;
                self.commands.report(|state| state.running = false);
                if matches!(end, End::NoTally) {
                    return;
                }
                away_since = self.clock.now();
            } else if self.clock.now() - away_since > AWAY {
                self.problems.raise(Problem {
                    code: GONE,
                    subject: "lamps".into(),
                    text: "The lamps are not driven: their process (`returnfeed lamps`) is not running. Start the box again; \
                           without the SD-card image start it beside `returnfeed run`."
                        .into(),
                });
            }
            sleep(BEAT).await;
        }
    }

    async fn tell(&mut self, stream: UnixStream) -> End {
        let (read, mut write) = stream.into_split();
        let mut reports = BufReader::new(read).lines();
        let mut beat = interval(BEAT);
        beat.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let due = tokio::select! {
                _ = beat.tick() => true,
                changed = self.tally.changed() => {
                    if changed.is_err() {
                        return End::NoTally;
                    }
                    false
                }
                // Both halves of it are held here.
                _ = self.asked.changed() => false,
                report = next(&mut reports) => {
                    let Some(report) = report else { return End::Broken };
                    self.take(&report);
                    continue;
                }
            };
            let (order, changed) = self.order();
            if (due || changed) && send(&mut write, &order).await.is_none() {
                return End::Broken;
            }
        }
    }

    /// What the lamps are to show now, and whether that is anything new.
    fn order(&mut self) -> (Order, bool) {
        // In this order: whatever comes between the two makes an order older, never younger.
        let (monotonic, now) = (self.clock.monotonic(), self.clock.now());
        let snapshot = self.tally.borrow_and_update().clone();
        let fresh = snapshot.heard.map_or(Duration::ZERO, |heard| FRESH.saturating_sub(now - heard));
        // Whoever follows vMix may stand still, and say so by nothing but what it does not say.
        let seen = if fresh.is_zero() { Seen::default() } else { seen(&snapshot) };
        let lamps: BTreeMap<String, Signal> =
            self.follows.iter().map(|(name, follows)| (name.clone(), seen.signal(follows))).collect();
        let real_change = lamps != self.signals;
        if real_change {
            self.signals = lamps.clone();
            // What happens is stronger than what is tried.
            self.commands.end();
            self.commands.report(|state| {
                for lamp in &mut state.lamps {
                    lamp.signal = lamps.get(&lamp.name).copied().unwrap_or_default();
                }
            });
        }
        if self.test.as_ref().is_some_and(|(_, since)| now - *since > LONGEST_TEST) {
            self.commands.end();
        }
        let asked = self.asked.borrow_and_update().clone();
        let other_test = asked.as_ref() != self.test.as_ref().map(|(test, _)| test);
        if other_test {
            self.test = asked.map(|test| (test, now));
        }
        let test = self.test.as_ref().map(|(test, _)| match test {
            Test::All => TestOrder { lamp: None },
            Test::Lamp(name) => TestOrder { lamp: Some(name.clone()) },
        });
        let until = if fresh.is_zero() { Duration::ZERO } else { monotonic + fresh };
        let until_ns = u64::try_from(until.as_nanos()).unwrap_or(0);
        (Order { until_ns, lamps, test }, real_change || other_test)
    }

    /// What the lamp process says of itself.
    fn take(&self, report: &Report) {
        for (name, _) in &self.follows {
            match report.errors.get(name) {
                Some(error) => {
                    let text = format!("The lamp \"{name}\" is not lit as it should be: {error}.");
                    self.problems.raise(Problem { code: REFUSED, subject: name.clone(), text });
                }
                None => self.problems.clear(REFUSED, name),
            }
        }
        self.commands.report(|state| {
            state.backend.clone_from(&report.backend);
            for lamp in &mut state.lamps {
                lamp.error = report.errors.get(&lamp.name).cloned();
            }
        });
    }
}

/// The next report; `None` when the lamp process is gone, or talks nonsense.
async fn next(reports: &mut Lines<BufReader<OwnedReadHalf>>) -> Option<Report> {
    wire::read(reports.next_line().await.ok()??.as_bytes())
}

async fn send(write: &mut OwnedWriteHalf, order: &Order) -> Option<()> {
    timeout(SEND_WITHIN, write.write_all(&wire::line(order))).await.ok()?.ok()
}

fn follows(follows: &LampFollows) -> Follows {
    match follows {
        LampFollows::Camera(name) => Follows::Camera(name.clone()),
        LampFollows::Input(settings::InputRef::Number(number)) => Follows::Number(*number),
        LampFollows::Input(settings::InputRef::Text(text)) => Follows::Text(text.clone()),
        LampFollows::AnyOf(names) => Follows::AnyOf(names.clone()),
        LampFollows::Show(settings::ShowPart::Streaming) => Follows::Show(ShowPart::Streaming),
        LampFollows::Show(settings::ShowPart::Recording) => Follows::Show(ShowPart::Recording),
    }
}

/// Nothing at all when vMix does not answer.
fn seen(snapshot: &Snapshot) -> Seen<'_> {
    if snapshot.source == tally::Source::Unknown {
        return Seen::default();
    }
    let signal = |tally| match tally {
        Tally::Unknown => Signal::Unknown,
        Tally::Safe => Signal::Safe,
        Tally::Preview => Signal::Preview,
        Tally::Program => Signal::Program,
    };
    let known = |does: bool| snapshot.show_known.then_some(does);
    Seen {
        cameras: snapshot.cameras.iter().map(|camera| (&*camera.name, signal(camera.tally))).collect(),
        inputs: snapshot
            .inputs
            .iter()
            .map(|input| Input {
                number: input.number,
                key: &input.key,
                title: &input.title,
                signal: signal(input.tally),
            })
            .collect(),
        streaming: known(snapshot.show.streaming),
        recording: known(snapshot.show.recording),
    }
}

#[cfg(test)]
mod tests;
