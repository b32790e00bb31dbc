//! The names by which the machine is found on its networks: multicast DNS (RFC 6762) and DNS-SD (RFC 6763).

use std::time::Duration;

use mdns_sd::{IfKind, ServiceDaemon, ServiceInfo};

/// How long the goodbye may take.
const GOODBYE: Duration = Duration::from_millis(300);

/// Services under which a browser of services lists the page, and the one that only carries the shared name: no two of
/// a box under the same.
const PAGE: &str = "_http._tcp.local.";
const SHARED: &str = "_returnfeed._tcp.local.";

/// Answers to names, on every interface and address as they come and go, until it is dropped.
pub struct Names(ServiceDaemon);

impl Names {
    /// Answers to `shared`, which of several boxes on a network the first keeps (RFC 6762 §8, §9: the others become
    /// `shared-2` and so on there), and to `own`: a host name and what a list of services calls the page on port `page`.
    ///
    /// # Errors
    /// When the system gives no socket for it.
    pub fn announce(shared: &str, own: Option<(&str, &str)>, page: u16) -> mdns_sd::Result<Self> {
        let daemon = ServiceDaemon::new()?;
        daemon.disable_interface(vec![IfKind::LoopbackV4, IfKind::LoopbackV6])?;
        let service = |kind: &str, instance: &str, host: &str| {
            let nothing: [(&str, &str); 0] = [];
            let info = ServiceInfo::new(kind, instance, &format!("{host}.local."), (), page, &nothing[..])?;
            daemon.register(info.enable_addr_auto())
        };
        if let Some((host, instance)) = own {
            service(PAGE, instance, host)?;
        }
        service(SHARED, own.map_or(shared, |(host, _)| host), shared)?;
        Ok(Self(daemon))
    }
}

impl Drop for Names {
    fn drop(&mut self) {
        // Whoever cached a name is told that it is gone; nobody waits for one that cannot be told.
        if let Ok(done) = self.0.shutdown() {
            let _ = done.recv_timeout(GOODBYE);
        }
    }
}
