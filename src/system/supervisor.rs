//! What the service manager is told (sd_notify(3)): that the box serves, and that it is alive.

use std::ffi::{OsStr, OsString};
use std::io;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

/// How often, and after which pause, it is told again that the program serves, when it has no room for it.
const TRIES: u32 = 10;
const PAUSE: Duration = Duration::from_millis(10);

/// The service manager that started the program, if one did. Cheap to clone. A service manager that does not read what it is
/// told holds up nobody.
#[derive(Clone, Debug)]
pub struct Supervisor(Option<Arc<Line>>);

#[derive(Debug)]
struct Line {
    socket: UnixDatagram,
    address: SocketAddr,
    /// It was not told yet that the program serves.
    owed: AtomicBool,
}

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
        let socket = UnixDatagram::unbound()?;
        socket.set_nonblocking(true)?;
        Ok(Self(Some(Arc::new(Line { socket, address, owed: AtomicBool::new(false) }))))
    }

    /// Everything is bound and started.
    pub fn serving(&self) {
        for _ in 0..TRIES {
            if self.tell(b"READY=1") {
                return;
            }
            thread::sleep(PAUSE);
        }
        if let Some(line) = &self.0 {
            line.owed.store(true, Ordering::Relaxed);
        }
    }

    /// Everything that must not stall has just answered.
    pub fn alive(&self) {
        let owed = self.0.as_ref().is_some_and(|line| line.owed.load(Ordering::Relaxed));
        let told = self.tell(if owed { b"READY=1\nWATCHDOG=1" } else { b"WATCHDOG=1" });
        if let Some(line) = self.0.as_ref().filter(|_| owed && told) {
            line.owed.store(false, Ordering::Relaxed);
        }
    }

    /// The program was told to stop, and does.
    pub fn stopping(&self) {
        self.tell(b"STOPPING=1");
    }

    /// Whether there was room for it.
    fn tell(&self, state: &[u8]) -> bool {
        let Some(line) = self.0.as_deref() else { return true };
        match line.socket.send_to_addr(state, &line.address) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => false,
            // One that does not listen draws its own conclusions.
            _ => true,
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
    fn a_service_manager_that_reads_nothing_holds_up_nobody_and_learns_later_that_the_program_serves() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("notify");
        let manager = UnixDatagram::bind(&path).unwrap();
        let supervisor = Supervisor::at(Some(&path.into_os_string())).unwrap();
        // More than any queue holds.
        for _ in 0..100_000 {
            supervisor.alive();
        }
        supervisor.serving();
        manager.set_nonblocking(true).unwrap();
        let mut buffer = [0; 64];
        while manager.recv(&mut buffer).is_ok() {}
        manager.set_nonblocking(false).unwrap();
        supervisor.alive();
        supervisor.alive();
        assert_eq!([heard(&manager), heard(&manager)], ["READY=1\nWATCHDOG=1", "WATCHDOG=1"]);
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
