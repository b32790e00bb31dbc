//! Where a connection's payload goes.
//!
//! Owns: the seam between SRT and the rest of the box: [`Sinks`] opens a [`Sink`] for a source that
//! may publish. [`Hub`] is one: payload → MPEG-TS demuxer → publisher. Tests bring their own.

use std::time::Instant;

use super::screen::LONGEST_PAYLOAD;
use crate::hub::{Hub, PublishError, PublishRequest, Publisher, Superseded, TransportStats};
use crate::mpegts::{Demuxer, Event};

/// Takes what one source sends.
pub trait Sink: Send {
    /// Takes the next bytes of the stream, in order: the payload of one packet.
    ///
    /// # Errors
    /// When another source has taken the stream over.
    fn push(&mut self, now: Instant, payload: &[u8]) -> Result<(), Superseded>;

    /// Takes note that so many SRT packets are missing before what is pushed next.
    fn lost(&mut self, packets: usize);

    /// Takes note of how well the packets arrive.
    fn report(&self, stats: TransportStats);
}

/// Opens sinks for sources.
pub trait Sinks: Send + Sync + 'static {
    /// Asks whether a source may publish, and gives it its sink.
    ///
    /// # Errors
    /// When it may not.
    fn open(&self, request: PublishRequest) -> Result<Box<dyn Sink>, PublishError>;
}

/// Transport packets in an SRT packet, at most: its 1456 bytes hold seven and a part.
const TRANSPORT_PACKETS: usize = LONGEST_PAYLOAD.div_ceil(188);

impl Sinks for Hub {
    fn open(&self, request: PublishRequest) -> Result<Box<dyn Sink>, PublishError> {
        let publisher = self.publish(request)?;
        Ok(Box::new(Transport { demuxer: Demuxer::new(), publisher, longest: 0 }))
    }
}

/// MPEG-TS on its way to the hub.
struct Transport {
    demuxer: Demuxer,
    publisher: Publisher,
    /// The longest payload so far: one that is shorter had room for more.
    longest: usize,
}

impl Sink for Transport {
    fn push(&mut self, now: Instant, payload: &[u8]) -> Result<(), Superseded> {
        self.demuxer.push(now, payload);
        if payload.len() < self.longest {
            self.demuxer.flushed();
        }
        self.longest = self.longest.max(payload.len());
        while let Some(item) = self.demuxer.poll() {
            self.publisher.send(item)?;
        }
        for event in self.demuxer.take_events() {
            self.tell(&event);
        }
        Ok(())
    }

    fn lost(&mut self, packets: usize) {
        self.demuxer.lost(packets.saturating_mul(TRANSPORT_PACKETS));
    }

    fn report(&self, stats: TransportStats) {
        self.publisher.report(stats);
    }
}

impl Transport {
    fn tell(&self, event: &Event) {
        let stream = self.publisher.stream().short();
        match event {
            Event::ProgramChosen { program, of } => tracing::info!(stream, program, of, "programme chosen"),
            Event::ProgramGone { program } => tracing::info!(stream, program, "programme gone"),
            Event::Unsupported { pid, stream_type, text } => {
                tracing::warn!(stream, track = pid, stream_type, "{text}");
            }
            Event::SyncLost => tracing::debug!(stream, "transport stream out of step"),
            Event::Scrambled { track } => tracing::warn!(stream, track = track.0, "scrambled track left out"),
            Event::TimestampJump { track, ticks } => {
                tracing::debug!(stream, track = track.0, ticks, "timestamps jump");
            }
            Event::Oversized { track } => tracing::warn!(stream, track = track.0, "picture too large, left out"),
        }
    }
}
