//! A connection at work: its timers, its socket, its sink.
//!
//! Owns: driving one [`Connection`] until it ends. Each runs in a task of its own, so that whatever
//! befalls one ends that one only, and a slow sink holds up nobody else.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use tokio::net::UdpSocket;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::connection::{Connection, Delivery, Ended};
use super::ingest::Sink;
use super::notices::canonical;
use super::screen::{self, Body};
use crate::clock::Clock;
use crate::hub::TransportStats;

/// Datagrams that may wait for a connection before more are dropped (as the network would): six
/// megabytes, nearly a second at 50 Mbit/s.
pub(super) const QUEUE: usize = 4096;
/// Datagrams taken from the queue before timers get their turn.
const MOST_AT_ONCE: usize = 256;
/// How often a sink hears how well the packets arrive.
const REPORT_EVERY: Duration = Duration::from_secs(1);

/// A datagram as it came, with the time it was read.
pub(super) type Arrival = (Instant, Bytes);

/// Why a link is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Over {
    /// The connection ended.
    #[error(transparent)]
    Ended(#[from] Ended),
    /// Another source has the stream now.
    #[error("another source has taken the stream over")]
    Superseded,
    /// The box stops.
    #[error("this box is stopping")]
    Stopped,
}

/// A connection, where its bytes go, and how they travel.
pub(super) struct Link {
    pub connection: Connection,
    pub sink: Box<dyn Sink>,
    pub socket: Arc<UdpSocket>,
    pub clock: Clock,
    /// For logs: the stream's short name.
    pub stream: String,
    /// Datagrams the screen refused.
    pub refused: u64,
}

impl Link {
    /// Runs until the connection ends.
    pub async fn run(mut self, mut queue: mpsc::Receiver<Arrival>, stop: CancellationToken) -> Over {
        let agreement = self.connection.agreement();
        let peer = canonical(agreement.remote);
        let (latency_ms, encrypted) = (agreement.latency.as_millis(), agreement.keys.is_some());
        tracing::info!(stream = self.stream, %peer, latency_ms, encrypted, "SRT source connected");
        let over = self.work(&mut queue, stop).await;
        if !matches!(over, Over::Ended(_)) {
            self.connection.close(self.clock.now());
        }
        self.transmit().await;
        self.report();
        let counters = self.connection.counters();
        tracing::info!(
            stream = self.stream,
            %peer,
            packets = counters.received_packets,
            lost = counters.lost_packets,
            dropped = counters.dropped_packets,
            gaps = self.connection.gaps().count,
            undecryptable = counters.undecryptable_packets,
            refused = self.refused,
            "SRT source gone: {over}"
        );
        over
    }

    async fn work(&mut self, queue: &mut mpsc::Receiver<Arrival>, stop: CancellationToken) -> Over {
        let mut reported = self.clock.now();
        let mut arrived = Vec::with_capacity(MOST_AT_ONCE);
        loop {
            let timeout = tokio::time::sleep_until(self.connection.next_timeout().into());
            tokio::select! {
                biased;
                () = stop.cancelled() => return Over::Stopped,
                count = queue.recv_many(&mut arrived, MOST_AT_ONCE) => match count {
                    0 => return Over::Stopped,
                    _ => arrived.drain(..).for_each(|(now, datagram)| self.handle(now, &datagram)),
                },
                () = timeout => {}
            }
            let now = self.clock.now();
            self.connection.handle_timeout(now);
            while let Some(delivery) = self.connection.poll_delivery() {
                let pushed = match delivery {
                    Delivery::Payload(payload) => self.sink.push(now, &payload),
                    Delivery::Lost(packets) => {
                        self.sink.lost(packets);
                        Ok(())
                    }
                };
                if pushed.is_err() {
                    return Over::Superseded;
                }
            }
            self.transmit().await;
            if let Some(ended) = self.connection.ended() {
                return Over::Ended(ended);
            }
            if now.saturating_duration_since(reported) >= REPORT_EVERY {
                reported = now;
                self.report();
            }
        }
    }

    fn handle(&mut self, now: Instant, datagram: &Bytes) {
        match screen::screen(datagram) {
            // Repeated handshakes are answered where the first one was.
            Ok(screen::Datagram { body: Body::Handshake(_), .. }) => {}
            Ok(datagram) => self.connection.handle(now, datagram.body),
            Err(error) => {
                self.refused += 1;
                tracing::trace!(stream = self.stream, err = %error, "datagram refused");
            }
        }
    }

    async fn transmit(&mut self) {
        let to = self.connection.agreement().remote;
        while let Some(datagram) = self.connection.poll_transmit() {
            // What the network does not take now, the protocol says again.
            let _ = self.socket.send_to(&datagram, to).await;
        }
    }

    fn report(&self) {
        let (agreement, counters) = (self.connection.agreement(), self.connection.counters());
        let gaps = self.connection.gaps();
        self.sink.report(TransportStats {
            rtt: counters.rtt,
            negotiated_latency: agreement.latency,
            received_packets: counters.received_packets,
            received_bytes: counters.received_bytes,
            lost_packets: counters.lost_packets,
            dropped_packets: counters.dropped_packets,
            retransmitted_packets: counters.retransmitted_packets,
            gaps: gaps.count,
            gap_wait_mean: gaps.mean,
            gap_wait_p50: gaps.p50,
            gap_wait_p99: gaps.p99,
            gap_wait_longest: gaps.longest,
            encrypted: agreement.keys.is_some(),
        });
    }
}
