//! The gate: every publish, subscribe and command asks here first.
//!
//! Owns: the question ([`Request`]) and the answer ([`Refusal`]). Does not own: how a secret
//! reached the box, nor what happens after the answer. The box's networks are trusted for now, so
//! [`Access::open`] admits everybody; the callers already say who asks for what, from where and
//! with which secret, so that a stricter policy needs no change of theirs.

use std::net::IpAddr;

use crate::media::StreamName;

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
    /// A bearer token, PIN or passphrase, when one was given.
    pub secret: Option<&'a str>,
}

/// Why a request was turned down.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// A secret is needed, or the one given is wrong.
    #[error("a valid secret is needed")]
    SecretNeeded,
    /// Not with any secret.
    #[error("not allowed")]
    Forbidden,
}

/// The policy of the box. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Access(());

impl Access {
    /// Admits everybody to everything.
    pub fn open() -> Self {
        Self(())
    }

    /// Asks whether the request may go on.
    ///
    /// # Errors
    /// When it may not.
    pub fn admit(&self, request: &Request<'_>) -> Result<(), Refusal> {
        tracing::trace!(action = ?request.action, peer = ?request.from, "admitted");
        Ok(())
    }
}
