//! Where logs go: to journald under systemd, else in readable lines to the terminal.

use std::io::{self, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{self, Receiver, SyncSender};
use std::thread;

use nix::sys::signal::{SigSet, SigmaskHow};
use tracing::{Level, Metadata};

use tracing_subscriber::filter::ParseError;
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{EnvFilter, Layer, fmt, reload};

/// So many lines wait for whoever reads the log of a process that waits for nobody.
const MOST_WAITING: usize = 256;

/// Libraries speak up only when something fails; some log what every browser sends as a warning.
const QUIET_LIBRARIES: &str = "error,audit=info,returnfeed=";

/// Changes what is logged while the program runs. Cheap to clone.
#[derive(Clone)]
pub struct Filter(Arc<dyn Fn(EnvFilter) + Send + Sync>);

impl Filter {
    /// Logs what `filter` lets through from now on: a level such as `info`, or directives as in `RUST_LOG`.
    ///
    /// # Errors
    /// When `filter` cannot be understood; nothing changes then.
    pub fn set(&self, filter: &str) -> Result<(), ParseError> {
        (self.0)(parse(filter)?);
        Ok(())
    }
}

/// Starts logging for the whole program. `filter` is as in [`Filter::set`].
///
/// # Errors
/// When `filter` cannot be understood.
pub fn start(filter: &str, to_journal: bool) -> Result<Filter, ParseError> {
    let (filter, handle) = reload::Layer::new(parse(filter)?);
    let journal = to_journal.then(tracing_journald::layer).and_then(Result::ok);
    let sink = match journal {
        Some(journal) => journal.boxed(),
        None => fmt::layer().with_target(false).with_writer(std::io::stderr).boxed(),
    };
    tracing_subscriber::registry().with(sink.with_filter(filter)).init();
    // The subscriber lives as long as the program, so there is always something to reload.
    Ok(Filter(Arc::new(move |filter| drop(handle.reload(filter)))))
}

/// As [`start`], for a process that must wait for nobody: lines go by a thread of their own, and those for which it has no
/// room are dropped and counted. To journald they go as lines of standard error with their level (sd-daemon(3)).
///
/// # Errors
/// When `filter` cannot be understood.
pub fn start_without_waiting(filter: &str, to_journal: bool) -> Result<(), ParseError> {
    let filter = parse(filter)?;
    let (queue, waiting) = Queue::new(to_journal);
    let written = queue.clone();
    // Signals are for the threads that were there before.
    let signals = SigSet::all().thread_swap_mask(SigmaskHow::SIG_BLOCK);
    let write = move || written.write_all(&waiting, &mut io::stderr());
    // Without the thread every line is dropped, and lamps are lit all the same.
    drop(thread::Builder::new().name("log".into()).spawn(write));
    if let Ok(signals) = signals {
        let _ = signals.thread_set_mask();
    }
    let lines = fmt::layer().with_target(false).with_ansi(!to_journal);
    let sink = if to_journal {
        lines.without_time().with_level(false).with_writer(queue).boxed()
    } else {
        lines.with_writer(queue).boxed()
    };
    tracing_subscriber::registry().with(sink.with_filter(filter)).init();
    Ok(())
}

/// Lines on their way to somebody who may not read them.
#[derive(Clone)]
struct Queue {
    lines: SyncSender<Vec<u8>>,
    dropped: Arc<AtomicU64>,
    /// Each line begins with its level.
    levels: bool,
}

impl Queue {
    fn new(levels: bool) -> (Self, Receiver<Vec<u8>>) {
        let (lines, waiting) = mpsc::sync_channel(MOST_WAITING);
        (Self { lines, dropped: Arc::default(), levels }, waiting)
    }

    /// Writes what comes, for ever.
    fn write_all(&self, waiting: &Receiver<Vec<u8>>, out: &mut impl Write) {
        for line in waiting {
            // Whoever closed standard error wants to read nothing.
            let _ = out.write_all(&line);
            let dropped = self.dropped.swap(0, Ordering::Relaxed);
            if dropped > 0 {
                let level = if self.levels { level(Level::WARN) } else { "" };
                let _ = writeln!(out, "{level}{dropped} lines were dropped here: nobody read the log");
            }
        }
    }
}

impl<'a> MakeWriter<'a> for Queue {
    type Writer = Line<'a>;

    fn make_writer(&'a self) -> Line<'a> {
        Line { queue: self, bytes: Vec::new() }
    }

    fn make_writer_for(&'a self, meta: &Metadata<'_>) -> Line<'a> {
        let bytes = if self.levels { level(*meta.level()).into() } else { Vec::new() };
        Line { queue: self, bytes }
    }
}

/// One line, handed on as a whole when it is complete.
struct Line<'a> {
    queue: &'a Queue,
    bytes: Vec<u8>,
}

impl Write for Line<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.bytes.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Drop for Line<'_> {
    fn drop(&mut self) {
        if self.queue.lines.try_send(std::mem::take(&mut self.bytes)).is_err() {
            self.queue.dropped.fetch_add(1, Ordering::Relaxed);
        }
    }
}

/// What a level is at the beginning of a line (sd-daemon(3)).
fn level(level: Level) -> &'static str {
    match level {
        Level::ERROR => "<3>",
        Level::WARN => "<4>",
        Level::INFO => "<6>",
        _ => "<7>",
    }
}

fn parse(filter: &str) -> Result<EnvFilter, ParseError> {
    let is_level = filter.parse::<tracing::Level>().is_ok();
    let directives = if is_level { format!("{QUIET_LIBRARIES}{filter}") } else { filter.to_owned() };
    EnvFilter::try_new(directives)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_that_nobody_reads_are_dropped_and_counted_and_hold_up_nobody() {
        let (queue, waiting) = Queue::new(true);
        let sink = fmt::layer().with_target(false).with_ansi(false).without_time().with_level(false);
        let log = tracing_subscriber::registry().with(sink.with_writer(queue.clone()));
        tracing::subscriber::with_default(log, || {
            for line in 0..MOST_WAITING + 7 {
                tracing::error!("line {line}");
            }
        });
        let mut written = Vec::new();
        let writer = queue.clone();
        drop(queue);
        // The one that writes holds a sender of its own: it is ended by hand here.
        let (ended, rest) = mpsc::sync_channel(MOST_WAITING);
        for line in waiting.try_iter() {
            ended.send(line).unwrap();
        }
        drop(ended);
        writer.write_all(&rest, &mut written);
        let written = String::from_utf8(written).unwrap();
        let lines: Vec<&str> = written.lines().collect();
        assert_eq!(lines.len(), MOST_WAITING + 1);
        assert_eq!((lines[0], lines[2]), ("<3>line 0", "<3>line 1"));
        assert_eq!(lines[1], "<4>7 lines were dropped here: nobody read the log");
    }
}
