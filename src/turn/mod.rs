//! TURN: the way in for viewers whose network lets no UDP, or nothing to the media port, through (RFC 8656).
//!
//! Owns: short-lived credentials, allocations and their bounds, the framing on streams, and the UDP and TCP ports they
//! arrive on. Does not own: who may have credentials (`http`, behind `access`), media (`webrtc`), TLS (a stream is
//! handed to [`Handle::serve`] whatever it went through). Flows from a browser, through [`Allocations`], to a UDP socket
//! on one of the box's own addresses, and from there to the box's own media port: there is no other peer, so this
//! relays nothing for anybody else.
//!
//! Everything but [`server`] is pure: `now` comes in, messages and orders come out. Why it is our own is in
//! `docs/decisions/0009-turn-of-our-own.md`.

pub mod allocations;
pub mod credentials;
pub mod framing;
#[doc(hidden)]
pub mod fuzzing;
pub mod limits;
mod message;
pub mod server;
#[cfg(test)]
mod tests;

pub use allocations::{Allocations, Client, Media, Outcome, Transport};
pub use credentials::{Credentials, Login};
pub use limits::Limits;
pub use server::{BindError, Config, Handle, Server, prepare};
