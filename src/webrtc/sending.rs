//! What one viewer is sent as media, on the thread that serves it.
//!
//! Owns: the order of sound and picture, and the keys both are protected with. Does not own: the session (ICE, DTLS,
//! reports: `session`), frames (`fanout` shares them), sockets: the caller sends a [`Batch`] and says when it is gone.
//!
//! Sound goes first: a packet of it takes a tenth of a millisecond of a slow link, while it would wait many for a paced
//! picture.

use std::sync::Arc;
use std::time::Instant;

pub use super::batch::Batch;
use super::history::History;
use super::ice::Path;
use super::packetizer::Frame;
use super::sdp::{NegotiatedSound, NegotiatedVideo};
use super::sender::Sender;
pub use super::sender::{SendCounts, Sources};
use super::sound::SoundSender;
pub use super::sound::SoundSource;
use super::srtp::OutboundRtp;

/// How fast packets leave, bit/s of UDP payload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pacing {
    /// Live pictures; `None` sends each whole at once.
    pub live_bps: Option<u64>,
    /// The cached pictures a joiner begins with.
    pub join_bps: u64,
}

/// What a [`Sending`] is made of.
pub struct SendingParts {
    /// Sources of the picture.
    pub video: Sources,
    /// What was agreed on for the picture.
    pub negotiated: NegotiatedVideo,
    /// Source of the sound and what was agreed on for it, where the viewer takes sound.
    pub sound: Option<(SoundSource, NegotiatedSound)>,
    /// Protects what is sent.
    pub srtp: OutboundRtp,
    /// The way to the viewer.
    pub path: Path,
    /// How fast it may be sent.
    pub pacing: Pacing,
}

/// What a viewer was sent and asked for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Of the picture.
    pub picture: SendCounts,
    /// Of the sound; nothing of it is retransmitted, and a dropped unit is a packet.
    pub sound: SendCounts,
}

/// The sending half of one viewer.
pub struct Sending {
    picture: Sender,
    sound: Option<SoundSender>,
    srtp: OutboundRtp,
    path: Path,
}

impl Sending {
    /// A viewer that has been sent nothing: its picture starts with [`Self::start`] after [`Self::join`], or at the next random access point.
    pub fn new(parts: SendingParts) -> Self {
        let SendingParts { video, negotiated, sound, srtp, path, pacing } = parts;
        Self {
            picture: Sender::new(video, negotiated, pacing),
            sound: sound.map(|(source, negotiated)| SoundSender::new(source, &negotiated)),
            srtp,
            path,
        }
    }

    /// The picture is to start with the current group of pictures, by [`Self::start`].
    pub fn join(&mut self) {
        self.picture.join();
    }

    /// Whether [`Self::start`] is worth a try.
    pub fn wants_start(&mut self, now: Instant) -> bool {
        self.picture.wants_start(now)
    }

    /// Starts the picture with the current group of pictures, where a viewer that joins or has lost its picture waits for
    /// that, and where it is sooner than to wait for the next. Call [`Self::fill`] afterwards.
    pub fn start(&mut self, now: Instant, history: &History) {
        self.picture.start(now, history);
    }

    /// Takes a picture of the stream, in order, which `history` has already.
    pub fn offer(&mut self, now: Instant, frame: &Arc<Frame>) {
        self.picture.offer(now, frame);
    }

    /// Takes a packet of sound, in order.
    pub fn offer_sound(&mut self, now: Instant, packet: &Arc<Frame>) {
        if let Some(sound) = &mut self.sound {
            sound.offer(now, packet);
        }
    }

    /// The viewer misses a packet of a source, and those marked in the 16 bits after it (RFC 4585 §6.2.1).
    pub fn nack(&mut self, now: Instant, ssrc: u32, sequence: u16, following: u16) {
        if ssrc == self.picture.ssrc() {
            self.picture.nack(now, sequence, following);
        }
    }

    /// The viewer cannot go on without a new start of the picture (RFC 4585 §6.3.1, RFC 5104 §4.3.1). It is started
    /// again by [`Self::start`].
    pub fn picture_lost(&mut self, now: Instant) {
        self.picture.picture_lost(now);
    }

    /// There is room again on the way to the viewer after there was none: a picture that was given up meanwhile is started
    /// again by [`Self::start`].
    pub fn resume(&mut self, now: Instant) {
        self.picture.resume(now);
    }

    /// Packets take another way from now on.
    pub fn set_path(&mut self, path: Path) {
        self.path = path;
    }

    /// Fills `batch` with what is to be sent next and gives the way it takes; `None` when there is nothing now, and then
    /// [`Self::due`] says whether time alone brings more. The same bytes come again until [`Self::sent`] says they are gone.
    pub fn fill(&mut self, now: Instant, history: &History, batch: &mut Batch) -> Option<Path> {
        batch.clear();
        let sound = self.sound.as_mut().filter(|_| !self.picture.is_in_flight());
        let filled = sound.is_some_and(|sound| sound.fill(&self.srtp, batch))
            || self.picture.fill(now, &self.srtp, history, batch);
        filled.then_some(self.path)
    }

    /// The batch filled last is gone, delivered or not.
    pub fn sent(&mut self, now: Instant, batch: &Batch) {
        match &mut self.sound {
            Some(sound) if sound.is_in_flight() => {
                sound.sent(batch);
                self.picture.share(now, batch.data.len() as u64);
            }
            _ => self.picture.sent(now, batch),
        }
    }

    /// Whether the batch filled last is neither gone nor given up.
    pub fn is_in_flight(&self) -> bool {
        self.picture.is_in_flight() || self.sound.as_ref().is_some_and(SoundSender::is_in_flight)
    }

    /// When [`Self::start`] or [`Self::fill`] has more, should nothing else happen before; as of the last call of it.
    pub fn due(&self) -> Option<Instant> {
        self.picture.due()
    }

    /// What was sent and asked for so far.
    pub fn counts(&self) -> Counts {
        Counts {
            picture: self.picture.counts(),
            sound: self.sound.as_ref().map(SoundSender::counts).unwrap_or_default(),
        }
    }

    /// Once: the RTP timestamp, as this viewer gets it, of the first picture that is the live one. What it is shown
    /// before is old.
    pub fn take_edge(&mut self) -> Option<u32> {
        self.picture.take_edge()
    }

    /// Whether pictures go to the viewer, or it waits for a random access point.
    pub fn is_live(&self) -> bool {
        self.picture.is_live()
    }

    /// Whether the viewer is being sent cached pictures, at [`Pacing::join_bps`].
    pub fn is_catching_up(&self) -> bool {
        self.picture.is_catching_up()
    }
}

#[cfg(test)]
mod tests;
