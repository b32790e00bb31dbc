//! WebRTC: streams from the hub to browsers.
//!
//! Owns: SDP, ICE-lite, DTLS-SRTP, RTP and RTCP, and the UDP and TCP port they share. Does not own: WHEP
//! and other signalling (`http`), streams and their renditions (`hub`). Flows from a hub
//! subscription, through [`fanout`] (once per stream) and [`sending`] (once per viewer), to the
//! network.
//!
//! Everything but [`server`] is pure: `now` comes in, datagrams and events come out, and nothing
//! in it knows a direction, so that WHIP and pulling can build on it.

mod batch;
pub(crate) mod contained;
pub mod dtls;
pub mod fanout;
pub mod framing;
#[doc(hidden)]
pub mod fuzzing;
pub mod history;
pub mod ice;
pub mod packetizer;
pub mod rtcp;
pub mod rtp;
pub mod sdp;
pub mod sender;
pub mod sending;
pub mod server;
pub mod session;
pub mod sound;
pub mod srtp;

pub use ice::Transport;
pub use sending::Pacing;
pub use server::{BindError, Config, CreateError, Created, Handle, PatchError, Restarted, Server, SessionStatus};
