//! What is wrong right now, in words for the person who can mend it.
//!
//! Owns: the board on which rooms raise and clear problems. Flows to: the status API and the page.
//! A problem is a lasting condition, not an event: whoever raised it clears it.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard};

mod addresses;

pub use addresses::Addresses;

/// One condition that a person must mend.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// A stable word for programs and translations: `b_frames`, `srt_passphrase_wrong`.
    pub code: &'static str,
    /// What it concerns: a stream's short name, a camera, an address.
    pub subject: String,
    /// What is wrong and what to do, in one or two English sentences.
    pub text: String,
}

/// The problems of the box. Cheap to clone; every clone is the same board.
#[derive(Clone, Debug, Default)]
pub struct Problems(Arc<Mutex<BTreeMap<(&'static str, String), Problem>>>);

impl Problems {
    /// Puts a problem on the board; logs it when it was not there already.
    pub fn raise(&self, problem: Problem) {
        let key = (problem.code, problem.subject.clone());
        let before = self.board().insert(key, problem.clone());
        if before.as_ref() != Some(&problem) {
            tracing::error!(code = problem.code, subject = problem.subject, "{}", problem.text);
        }
    }

    /// Takes a problem off the board, if it is there.
    pub fn clear(&self, code: &'static str, subject: &str) {
        if self.board().remove(&(code, subject.to_owned())).is_some() {
            tracing::info!(code, subject, "mended");
        }
    }

    /// All problems, in a stable order.
    pub fn list(&self) -> Vec<Problem> {
        self.board().values().cloned().collect()
    }

    fn board(&self) -> MutexGuard<'_, BTreeMap<(&'static str, String), Problem>> {
        self.0.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_problem_stays_until_it_is_cleared_and_is_listed_once() {
        let problems = Problems::default();
        let problem = Problem { code: "b_frames", subject: "pgm".into(), text: "Turn B-frames off.".into() };
        problems.raise(problem.clone());
        problems.clone().raise(problem.clone());
        assert_eq!(problems.list(), [problem]);
        problems.clear("b_frames", "other");
        assert_eq!(problems.list().len(), 1);
        problems.clear("b_frames", "pgm");
        assert!(problems.list().is_empty());
    }
}
