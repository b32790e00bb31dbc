//! Senders that take a stream from each other.
//!
//! An encoder that restarts takes its stream over from the connection it had before, which still
//! looks alive for a while. Two encoders at one address that were given the same stream ID would
//! do that to each other for ever: they are told apart by the one before, which goes on sending.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use crate::media::TransformProblem;

/// A source that has delivered this recently was sending when it was superseded.
const SENDING: Duration = Duration::from_millis(200);

/// Takeovers from sending sources that are let happen within [`MEMORY`].
const MOST: usize = 2;
const MEMORY: Duration = Duration::from_secs(10);

/// What a stream remembers of its takeovers.
#[derive(Default)]
pub(super) struct Takeovers {
    /// Those from sending sources, of late.
    recent: Vec<Instant>,
    /// The last refusal, and what the first of its row said.
    fight: Option<(Instant, TransformProblem)>,
}

impl Takeovers {
    /// Whether a source at `from` may have the stream of the one at `by`, which delivered last then.
    pub(super) fn allow(
        &mut self,
        (by, delivered): (SocketAddr, Option<Instant>),
        from: SocketAddr,
        stream: &str,
        now: Instant,
    ) -> bool {
        if delivered.is_none_or(|at| now.saturating_duration_since(at) > SENDING) {
            return true;
        }
        self.recent.retain(|&at| is_recent(at, now));
        if self.problem(now).is_none() && self.recent.len() < MOST {
            self.recent.push(now);
            return true;
        }
        // A sender that tries again and again comes from a new port each time: nothing new to say.
        let problem = self.problem(now).cloned().unwrap_or_else(|| senders_fight(stream, by, from));
        self.fight = Some((now, problem));
        false
    }

    /// The fight that goes on.
    pub(super) fn problem(&self, now: Instant) -> Option<&TransformProblem> {
        self.fight.as_ref().filter(|(at, _)| is_recent(*at, now)).map(|(_, problem)| problem)
    }
}

fn is_recent(at: Instant, now: Instant) -> bool {
    now.saturating_duration_since(at) < MEMORY
}

fn senders_fight(stream: &str, by: SocketAddr, from: SocketAddr) -> TransformProblem {
    TransformProblem {
        code: "senders_fight",
        text: format!(
            "Two outputs send the stream {stream:?} at the same time: {by} has it, and {from} is turned away. Give \
             each output its own stream ID, or switch one of them off."
        ),
    }
}
