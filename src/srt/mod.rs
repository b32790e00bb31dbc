//! SRT in: sources that call the box, and sources the box calls.
//!
//! Owns: the SRT sockets, handshakes and connections, passphrases, stream IDs, and handing payload
//! over in order and at once. Does not own: what the payload means (`mpegts`) or who may feed which
//! stream (`hub`, which asks `access`). Flows to: `hub`, through [`Sinks`].
//!
//! A datagram goes `socket` → `screen` (what it is, or nothing) → `handshake` (no state before the
//! cookie is proven) or `connection` (`srt-protocol` acknowledges and asks again, `reassembly`
//! orders) → `ingest`. `docs/decisions/0002-srt-on-srt-protocol.md` says why it is built like this.

mod caller;
mod calling;
mod connection;
#[doc(hidden)]
pub mod fuzzing;
mod gaps;
mod handshake;
mod ingest;
mod keys;
mod link;
mod listener;
mod notices;
mod reassembly;
mod screen;
mod socket;
mod stream_id;
mod turns;

pub use caller::{CallAddress, Caller};
pub use ingest::{Sink, Sinks};
pub use listener::{BindError, Listener, ListenerConfig, PassphraseLookup};
