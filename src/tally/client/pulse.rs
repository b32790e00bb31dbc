//! Whether the client still goes round.

use tokio::sync::{mpsc, oneshot};

/// Feels the client's pulse. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Pulse(mpsc::Sender<oneshot::Sender<()>>);

/// The client's half: answers between the rest of its work.
#[derive(Debug)]
pub(super) struct Beat {
    asked: mpsc::Receiver<oneshot::Sender<()>>,
    /// Keeps the channel open when nobody asks.
    pulse: Pulse,
}

impl Pulse {
    /// Waits until the client has answered: for ever when it stalls, not at all when it has ended.
    pub async fn felt(&self) {
        let (answer, answered) = oneshot::channel();
        if self.0.send(answer).await.is_ok() {
            // An error says that the client has ended meanwhile.
            let _ = answered.await;
        }
    }
}

impl Beat {
    pub(super) fn new() -> Self {
        let (pulse, asked) = mpsc::channel(1);
        Self { asked, pulse: Pulse(pulse) }
    }

    pub(super) fn pulse(&self) -> Pulse {
        self.pulse.clone()
    }

    /// Answers the next question.
    pub(super) async fn answer(&mut self) {
        if let Some(asker) = self.asked.recv().await {
            // Who asked may have given up.
            let _ = asker.send(());
        }
    }
}
