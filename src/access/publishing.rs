//! Who may send a stream.

use super::networks::holds;
use super::{AUDIT, Access, Asker, Grant, Keeps, Refusal, Role, Way};
use crate::media::StreamName;

impl Access {
    /// A stream's passphrase, if it has one, was asked for before: it is SRT's own.
    pub(super) fn admit_publisher(&self, stream: &StreamName, by: &Asker) -> Result<Grant, Refusal> {
        let policy = self.policy();
        let (peer, stream_name) = (by.address(), stream.short());
        let from_here = match policy.publish_from.as_slice() {
            [] if policy.guards(stream) || self.is_near(&policy, by) => Ok(()),
            [] => Err(Refusal::NotNear),
            networks if holds(networks, peer) => Ok(()),
            _ => Err(Refusal::NotFromHere),
        };
        from_here.inspect_err(|_| {
            // Whoever knocks may knock without end; what took the connection says so once in a while.
            tracing::debug!(target: AUDIT, %peer, stream = stream_name, "may not send from there");
        })?;
        let mut grant = Grant { from: by.from, ..Grant::to_anyone() };
        if let Some(key) = policy.key_of(stream) {
            let given = by.secret.as_deref().ok_or(Refusal::KeyNeeded)?;
            self.guess(&self.0.brakes.key, "stream key", by, Refusal::KeyWrong, || key.is(given))?;
            grant.way = Way::Key;
        }
        tracing::info!(target: AUDIT, %peer, stream = stream_name, "may send ({})", grant.way.word());
        Ok(Grant { role: Role::Anyone, keeps: Keeps::Nothing, ..grant })
    }
}
