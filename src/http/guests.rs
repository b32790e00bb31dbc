//! Who was let in to watch, for as long as they watch.
//!
//! Owns: by what each WHEP session was let in, and its end when that no longer holds: a link that was revoked or has
//! ended, another PIN, other settings. Does not own: the sessions themselves, nor WebSockets, which look by themselves.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use crate::access::{AUDIT, Access, Grant};
use crate::webrtc;

/// How soon a session ends whose viewer may not watch any more.
const LOOK_EVERY: Duration = Duration::from_millis(500);

/// By what each session was let in. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct Guests(Arc<Mutex<HashMap<String, Grant>>>);

impl Guests {
    /// A session was made for somebody.
    pub(super) fn add(&self, session: String, grant: Grant) {
        self.lock().insert(session, grant);
    }

    /// Ends sessions of those who may not watch any more, until told to stop.
    pub async fn watch(self, access: Access, sessions: webrtc::Handle, stopping: CancellationToken) {
        loop {
            tokio::select! {
                () = tokio::time::sleep(LOOK_EVERY) => {}
                () = stopping.cancelled() => return,
            }
            for (session, grant) in self.take_ended(&access, &sessions) {
                if sessions.remove(&session).await {
                    tracing::info!(target: AUDIT, peer = ?grant.from, "{grant} may not watch any more, and was sent away");
                }
            }
        }
    }

    /// Forgets sessions that are gone, and takes those that are to go.
    fn take_ended(&self, access: &Access, sessions: &webrtc::Handle) -> Vec<(String, Grant)> {
        let mut guests = self.lock();
        guests.retain(|session, _| sessions.etag(session).is_some());
        guests.extract_if(|_, grant| !access.holds(grant)).collect()
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, Grant>> {
        self.0.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }
}
