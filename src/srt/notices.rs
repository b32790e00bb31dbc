//! What people are told about peers that were turned away.
//!
//! Owns: saying it once per peer and cause in ten seconds, and the passphrase problems on the board
//! until a source of that stream gets in or nobody causes them any more. However many peers knock, the memory for it is bounded.

use std::collections::{BTreeMap, HashMap};
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use super::handshake::PROBLEMS;
use crate::problems::{Problem, Problems};

/// How long the same cause from the same peer is not said again.
const QUIET: Duration = Duration::from_secs(10);
/// Causes and peers remembered.
const REMEMBERED: usize = 256;
/// Problems on the board at once; the one that was caused longest ago makes room for another.
const MOST_PROBLEMS: usize = 32;
/// How long after the last refusal a problem stays on the board. Encoders try again within seconds.
const STAYS: Duration = Duration::from_secs(30);

/// The notices of an SRT socket. Cheap to clone; every clone is the same.
#[derive(Clone)]
pub struct Notices {
    problems: Problems,
    state: Arc<Mutex<State>>,
}

#[derive(Default)]
struct State {
    said: HashMap<(IpAddr, i32), Instant>,
    raised: BTreeMap<(&'static str, String), Raised>,
}

struct Raised {
    /// When a peer was last turned away for it.
    refused: Instant,
    /// When its text was written, and the text: peers that take turns do not rewrite it each time.
    written: Instant,
    text: String,
}

impl Notices {
    /// Notices that go to this board.
    pub fn new(problems: Problems) -> Self {
        Self { problems, state: Arc::default() }
    }

    /// Tells that a peer was turned away.
    pub fn refused(&self, now: Instant, peer: SocketAddr, code: i32, text: &str) {
        let peer = canonical(peer);
        let mut state = self.state();
        if state.said.get(&(peer.ip(), code)).is_some_and(|said| now.saturating_duration_since(*said) < QUIET) {
            return;
        }
        if state.said.len() >= REMEMBERED {
            state.said.retain(|_, said| now.saturating_duration_since(*said) < QUIET);
        }
        if state.said.len() < REMEMBERED {
            state.said.insert((peer.ip(), code), now);
            drop(state);
            tracing::warn!(%peer, code, "SRT sender refused: {text}");
        }
    }

    /// Puts a stream's passphrase problem on the board, or keeps it there.
    pub fn raise(&self, now: Instant, code: &'static str, stream: &str, text: String) {
        let key = (code, stream.to_owned());
        let mut state = self.state();
        if !state.raised.contains_key(&key) && state.raised.len() >= MOST_PROBLEMS {
            let oldest = state.raised.iter().min_by_key(|(_, raised)| raised.refused).map(|(key, _)| key.clone());
            if let Some(oldest) = oldest {
                state.raised.remove(&oldest);
                self.problems.clear(oldest.0, &oldest.1);
            }
        }
        let raised =
            state.raised.entry(key).or_insert_with(|| Raised { refused: now, written: now, text: text.clone() });
        raised.refused = now;
        if now.saturating_duration_since(raised.written) >= QUIET {
            (raised.written, raised.text) = (now, text);
        }
        // Written even if remembered: others may have taken it off the board.
        self.problems.raise(Problem { code, subject: stream.to_owned(), text: raised.text.clone() });
    }

    /// Takes problems off the board that nobody has caused for a while.
    pub fn sweep(&self, now: Instant) {
        self.state().raised.retain(|(code, stream), raised| {
            let stays = now.saturating_duration_since(raised.refused) < STAYS;
            if !stays {
                self.problems.clear(code, stream);
            }
            stays
        });
    }

    /// Takes a stream's passphrase problems off the board: a source of it got in.
    pub fn clear(&self, stream: &str) {
        let mut state = self.state();
        for code in PROBLEMS {
            if state.raised.remove(&(code, stream.to_owned())).is_some() {
                self.problems.clear(code, stream);
            }
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }
}

/// An address as people know it: IPv4 as IPv4, whatever socket it came through.
pub fn canonical(address: SocketAddr) -> SocketAddr {
    SocketAddr::new(address.ip().to_canonical(), address.port())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::Clock;

    #[test]
    fn a_problem_stays_until_a_source_of_its_stream_gets_in() {
        let problems = Problems::default();
        let notices = Notices::new(problems.clone());
        let now = Clock::manual().0.now();
        notices.raise(now, "srt_passphrase_wrong", "pgm", "first".into());
        notices.raise(now, "srt_passphrase_wrong", "pgm", "again".into());
        notices.raise(now, "srt_passphrase_missing", "cam1", "other".into());
        notices.clear("pgm");
        assert_eq!(subjects(&problems), ["cam1"]);
    }

    #[test]
    fn a_problem_goes_thirty_seconds_after_the_last_refusal() {
        let problems = Problems::default();
        let notices = Notices::new(problems.clone());
        let now = Clock::manual().0.now();
        let raise = |at: Duration, stream| notices.raise(now + at, "srt_passphrase_wrong", stream, String::new());
        raise(Duration::ZERO, "once");
        raise(Duration::ZERO, "again");
        raise(Duration::from_secs(20), "again");
        notices.sweep(now + STAYS - Duration::from_millis(1));
        assert_eq!(subjects(&problems), ["again", "once"]);
        notices.sweep(now + STAYS);
        assert_eq!(subjects(&problems), ["again"]);
        notices.sweep(now + STAYS + Duration::from_secs(20));
        assert_eq!(problems.list(), []);
        raise(STAYS * 2, "once");
        assert_eq!(subjects(&problems), ["once"]);
    }

    #[test]
    fn a_full_board_makes_room_for_what_happens_now() {
        let problems = Problems::default();
        let notices = Notices::new(problems.clone());
        let now = Clock::manual().0.now();
        for n in 0..MOST_PROBLEMS as u64 {
            notices.raise(now + Duration::from_millis(n), "srt_passphrase_unexpected", &format!("s{n}"), String::new());
        }
        let later = now + Duration::from_secs(1);
        notices.raise(later, "srt_passphrase_unexpected", "s0", String::new());
        notices.raise(later, "srt_passphrase_wrong", "pgm", String::new());
        let listed = subjects(&problems);
        assert_eq!(listed.len(), MOST_PROBLEMS);
        let is_listed = |stream: &str| listed.iter().any(|subject| subject == stream);
        assert!(is_listed("pgm") && is_listed("s0") && !is_listed("s1"), "{listed:?}");
    }

    #[test]
    fn a_problem_that_another_took_off_the_board_comes_back_with_the_next_refusal() {
        let problems = Problems::default();
        let notices = Notices::new(problems.clone());
        let now = Clock::manual().0.now();
        notices.raise(now, "srt_passphrase_wrong", "pgm", String::new());
        problems.clear("srt_passphrase_wrong", "pgm");
        notices.raise(now, "srt_passphrase_wrong", "pgm", String::new());
        assert_eq!(subjects(&problems), ["pgm"]);
    }

    #[test]
    fn peers_that_take_turns_do_not_rewrite_the_text_each_time() {
        let problems = Problems::default();
        let notices = Notices::new(problems.clone());
        let now = Clock::manual().0.now();
        let raise = |at: Duration, text: &str| {
            notices.raise(now + at, "srt_passphrase_wrong", "pgm", text.to_owned());
            problems.list().into_iter().map(|problem| problem.text).collect::<Vec<_>>()
        };
        assert_eq!(raise(Duration::ZERO, "from a"), ["from a"]);
        assert_eq!(raise(Duration::from_secs(1), "from b"), ["from a"]);
        assert_eq!(raise(QUIET, "from b"), ["from b"]);
    }

    fn subjects(problems: &Problems) -> Vec<String> {
        problems.list().into_iter().map(|problem| problem.subject).collect()
    }

    #[test]
    fn however_many_knock_the_memory_for_them_is_bounded() {
        let problems = Problems::default();
        let notices = Notices::new(problems.clone());
        let now = Clock::manual().0.now();
        for n in 0..2000u32 {
            let peer = SocketAddr::new(IpAddr::from(n.to_be_bytes()), 1);
            notices.refused(now, peer, 1010, "wrong");
            notices.raise(now, "srt_passphrase_wrong", &format!("s{n}"), String::new());
        }
        assert_eq!(problems.list().len(), MOST_PROBLEMS);
        assert_eq!(notices.state().said.len(), REMEMBERED);
        let peer = SocketAddr::from(([10, 0, 0, 1], 1));
        notices.refused(now + QUIET, peer, 1010, "wrong");
        assert_eq!(notices.state().said.len(), 1);
    }
}
