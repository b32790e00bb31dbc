//! What the service manager is told (sd_notify(3)): that the box serves, and that it is alive.

use std::ffi::{OsStr, OsString};
use std::io;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::sync::Arc;

/// The service manager that started the program, if one did. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Supervisor(Option<Arc<(UnixDatagram, SocketAddr)>>);

impl Supervisor {
    /// The one that listens at `address`, the value of `NOTIFY_SOCKET`: a path, or `@` and a name in the abstract
    /// namespace.
    ///
    /// # Errors
    /// When `address` can be no socket's.
    pub fn at(address: Option<&OsString>) -> io::Result<Self> {
        let Some(address) = address else { return Ok(Self(None)) };
        let address = match address.as_bytes().strip_prefix(b"@") {
            Some(name) => SocketAddr::from_abstract_name(name)?,
            None => SocketAddr::from_pathname(OsStr::new(address))?,
        };
        Ok(Self(Some(Arc::new((UnixDatagram::unbound()?, address)))))
    }

    /// Everything is bound and started.
    pub fn serving(&self) {
        self.tell(b"READY=1");
    }

    /// Everything that must not stall has just answered.
    pub fn alive(&self) {
        self.tell(b"WATCHDOG=1");
    }

    /// The program was told to stop, and does.
    pub fn stopping(&self) {
        self.tell(b"STOPPING=1");
    }

    fn tell(&self, state: &[u8]) {
        if let Some((socket, address)) = self.0.as_deref() {
            // A service manager that does not listen draws its own conclusions.
            let _ = socket.send_to_addr(state, address);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn heard(socket: &UnixDatagram) -> String {
        let mut buffer = [0; 64];
        let length = socket.recv(&mut buffer).unwrap();
        String::from_utf8_lossy(&buffer[..length]).into_owned()
    }

    #[test]
    fn the_service_manager_hears_each_state_at_a_path() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("notify");
        let manager = UnixDatagram::bind(&path).unwrap();
        let supervisor = Supervisor::at(Some(&path.into_os_string())).unwrap();
        supervisor.serving();
        supervisor.alive();
        supervisor.stopping();
        assert_eq!([heard(&manager), heard(&manager), heard(&manager)], ["READY=1", "WATCHDOG=1", "STOPPING=1"]);
    }

    #[test]
    fn the_service_manager_hears_in_the_abstract_namespace() {
        let name = format!("returnfeed-test-{}", std::process::id());
        let manager = UnixDatagram::bind_addr(&SocketAddr::from_abstract_name(&name).unwrap()).unwrap();
        Supervisor::at(Some(&format!("@{name}").into())).unwrap().alive();
        assert_eq!(heard(&manager), "WATCHDOG=1");
    }

    #[test]
    fn without_a_service_manager_nothing_happens() {
        Supervisor::at(None).unwrap().serving();
        let nobody = tempfile::tempdir().unwrap().path().join("nobody");
        Supervisor::at(Some(&nobody.into_os_string())).unwrap().serving();
    }
}
