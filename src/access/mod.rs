//! The gate: every publish, subscribe and command asks here first.
//!
//! Owns: the question ([`Request`]) and the answer ([`Refusal`]). Does not own: how a secret
//! reached the box, nor what happens after the answer. The box's networks are trusted to watch and to
//! send for now; what changes the box is for whoever has its set-up code. The callers already say who
//! asks for what, from where and with which secret, so that a stricter policy needs no change of theirs.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use crate::clock::Clock;
use crate::media::StreamName;

mod guesses;

use guesses::{Guarded, Outcome};

/// After how long a wrong secret should be answered: slowly, but nothing may be held up meanwhile.
pub const WRONG_ANSWERED_AFTER: Duration = Duration::from_secs(1);

/// What a caller must be to be let in. Later roles include the earlier ones' rights.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Role {
    /// Watches streams and tally.
    Viewer,
    /// Sees every camera and the box's state.
    Director,
    /// Changes the box.
    Administrator,
}

/// What a caller wants to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// Send a stream to the box.
    Publish(StreamName),
    /// Watch a stream.
    Subscribe(StreamName),
    /// Use a route or a command that needs a role.
    Act(Role),
}

/// Who asks for what.
#[derive(Clone, Debug)]
pub struct Request<'a> {
    /// What is asked for.
    pub action: Action,
    /// The address the request came from; `None` for the box itself.
    pub from: Option<IpAddr>,
    /// Whether that address may only be passing the request on: it is a proxy's, or that of a browser which the page
    /// of another site makes ask.
    pub passed_on: bool,
    /// A bearer token, PIN or passphrase, when one was given.
    pub secret: Option<&'a str>,
}

/// Why a request was turned down.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// A secret is needed, and none was given.
    #[error("this needs the box's set-up code; it is in returnfeed-setup.txt on the card")]
    SecretNeeded,
    /// The secret given is none. To be answered after [`WRONG_ANSWERED_AFTER`].
    #[error("this is not the box's set-up code; it is in returnfeed-setup.txt on the card")]
    SecretWrong,
    /// There were too many wrong ones; this one was not looked at.
    #[error("too many wrong set-up codes; wait a minute, then try the right one")]
    LockedOut {
        /// When to try again.
        left: Duration,
    },
    /// Not with any secret.
    #[error("only a program on the machine itself may ask this: the machine has no set-up code")]
    Forbidden,
}

/// The policy of the box. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Access {
    clock: Clock,
    administrator: Arc<Administrator>,
}

/// Who is taken for the administrator.
#[derive(Debug)]
enum Administrator {
    /// Whoever has the set-up code.
    Code(Guarded),
    /// Whoever is on the machine.
    Here,
}

impl Access {
    /// A box on which everybody watches and sends, and whoever has the set-up code changes it; without one, only what
    /// runs on the machine itself.
    pub fn new(setup_code: Option<&str>, clock: Clock) -> Self {
        let administrator = setup_code.map_or(Administrator::Here, |code| Administrator::Code(Guarded::new(code)));
        Self { clock, administrator: Arc::new(administrator) }
    }

    /// Asks whether the request may go on.
    ///
    /// # Errors
    /// When it may not.
    pub fn admit(&self, request: &Request<'_>) -> Result<(), Refusal> {
        let answer = match request.action {
            Action::Act(Role::Administrator) => self.admit_administrator(request),
            Action::Publish(_) | Action::Subscribe(_) | Action::Act(Role::Viewer | Role::Director) => Ok(()),
        };
        tracing::trace!(action = ?request.action, peer = ?request.from, ?answer, "asked");
        answer
    }

    fn admit_administrator(&self, request: &Request<'_>) -> Result<(), Refusal> {
        match (&*self.administrator, request.secret) {
            (Administrator::Code(code), Some(secret)) => match code.guess(secret, self.clock.now()) {
                Outcome::Right => Ok(()),
                Outcome::Wrong => Err(Refusal::SecretWrong),
                Outcome::Closed { left } => Err(Refusal::LockedOut { left }),
            },
            (Administrator::Code(_), None) => Err(Refusal::SecretNeeded),
            (Administrator::Here, _) => {
                let here = request.from.is_none_or(|from| from.to_canonical().is_loopback());
                if here && !request.passed_on { Ok(()) } else { Err(Refusal::Forbidden) }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ADMINISTRATOR: Action = Action::Act(Role::Administrator);

    fn ask(access: &Access, action: Action, from: &str, secret: Option<&str>) -> Result<(), Refusal> {
        access.admit(&Request { action, from: Some(from.parse().unwrap()), passed_on: false, secret })
    }

    #[test]
    fn everybody_watches_and_sends_and_the_set_up_code_changes_the_box() {
        let access = Access::new(Some("bkmqp-xrthw"), Clock::manual().0);
        let pgm = StreamName::program;
        for action in
            [Action::Publish(pgm()), Action::Subscribe(pgm()), Action::Act(Role::Viewer), Action::Act(Role::Director)]
        {
            assert_eq!(ask(&access, action, "10.0.0.9", None), Ok(()));
        }
        for from in ["10.0.0.9", "127.0.0.1"] {
            assert_eq!(ask(&access, ADMINISTRATOR, from, None), Err(Refusal::SecretNeeded));
            assert_eq!(ask(&access, ADMINISTRATOR, from, Some("bkmqp")), Err(Refusal::SecretWrong));
            assert_eq!(ask(&access, ADMINISTRATOR, from, Some("BKMQP XRTHW")), Ok(()));
        }
    }

    #[test]
    fn failures_are_counted_for_the_whole_box() {
        let access = Access::new(Some("bkmqp-xrthw"), Clock::manual().0);
        for host in 0..guesses::MOST_FAILURES {
            let refused = ask(&access.clone(), ADMINISTRATOR, &format!("10.0.0.{host}"), Some("guess"));
            assert_eq!(refused, Err(Refusal::SecretWrong));
        }
        let refused = ask(&access, ADMINISTRATOR, "10.0.1.1", Some("bkmqp-xrthw"));
        assert_eq!(refused, Err(Refusal::LockedOut { left: guesses::CLOSED_FOR }));
        assert_eq!(ask(&access, ADMINISTRATOR, "10.0.1.1", None), Err(Refusal::SecretNeeded));
        assert_eq!(ask(&access, Action::Act(Role::Viewer), "10.0.1.1", None), Ok(()));
    }

    #[test]
    fn without_a_set_up_code_only_the_machine_itself_changes_the_box() {
        let access = Access::new(None, Clock::manual().0);
        for here in ["127.0.0.1", "127.8.8.8", "::1", "::ffff:127.0.0.1"] {
            assert_eq!(ask(&access, ADMINISTRATOR, here, None), Ok(()), "{here}");
        }
        for elsewhere in ["10.0.0.9", "::", "fe80::1", "::ffff:10.0.0.9"] {
            assert_eq!(ask(&access, ADMINISTRATOR, elsewhere, Some("")), Err(Refusal::Forbidden), "{elsewhere}");
        }
        let from_here = Request { action: ADMINISTRATOR, from: None, passed_on: false, secret: None };
        assert_eq!(access.admit(&from_here), Ok(()));
        let proxied = Request { from: Some([127, 0, 0, 1].into()), passed_on: true, ..from_here };
        assert_eq!(access.admit(&proxied), Err(Refusal::Forbidden));
    }
}
