//! Where logs go: to journald under systemd, else in readable lines to the terminal.

use std::sync::Arc;

use tracing_subscriber::filter::ParseError;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{EnvFilter, Layer, fmt, reload};

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

fn parse(filter: &str) -> Result<EnvFilter, ParseError> {
    let is_level = filter.parse::<tracing::Level>().is_ok();
    let directives = if is_level { format!("{QUIET_LIBRARIES}{filter}") } else { filter.to_owned() };
    EnvFilter::try_new(directives)
}
