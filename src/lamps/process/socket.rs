//! The socket on which the program says what is to be shown. The newest connection is the one that is heard.

use std::fs::{self, File, Permissions, TryLockError};
use std::io::{self, ErrorKind, Read, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;

use super::super::wire::{self, LONGEST_LINE, Order, Report};

pub(super) struct Socket {
    listener: UnixListener,
    link: Option<Link>,
    /// Held for as long as the process lives, and let go of by the kernel however that ends.
    _lock: File,
}

struct Link {
    stream: UnixStream,
    unread: Vec<u8>,
    told: Option<Report>,
}

/// What was heard.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Heard {
    Nothing,
    /// The newest of all that had come.
    Order(Order),
    /// Whoever gave orders is gone.
    Gone,
}

impl Socket {
    /// Listens there; what an earlier process left there is taken away. There is one lamp process: with two the program would
    /// tell one, and the pins would be the other's.
    pub(super) fn bind(path: &Path) -> io::Result<Self> {
        let cannot = |error: io::Error| {
            io::Error::new(error.kind(), format!("the lamp process cannot listen at {}: {error}", path.display()))
        };
        if let Some(directory) = path.parent() {
            fs::create_dir_all(directory).map_err(cannot)?;
        }
        let lock = lock(path).map_err(cannot)?;
        match fs::remove_file(path) {
            Err(error) if error.kind() != ErrorKind::NotFound => return Err(cannot(error)),
            _ => {}
        }
        let listener = UnixListener::bind(path).map_err(cannot)?;
        fs::set_permissions(path, Permissions::from_mode(0o600)).map_err(cannot)?;
        listener.set_nonblocking(true)?;
        Ok(Self { listener, link: None, _lock: lock })
    }

    /// What to wait for.
    pub(super) fn files(&self) -> impl Iterator<Item = BorrowedFd<'_>> {
        std::iter::once(self.listener.as_fd()).chain(self.link.as_ref().map(|link| link.stream.as_fd()))
    }

    /// Takes whoever calls, and reads all that has come.
    pub(super) fn hear(&mut self) -> Heard {
        while let Ok((stream, _)) = self.listener.accept() {
            if stream.set_nonblocking(true).is_ok() {
                self.link = Some(Link { stream, unread: Vec::new(), told: None });
            }
        }
        let Some(link) = &mut self.link else { return Heard::Nothing };
        match link.read() {
            Some(Some(order)) => Heard::Order(order),
            Some(None) => Heard::Nothing,
            None => {
                self.link = None;
                Heard::Gone
            }
        }
    }

    /// Says how the lamps do, when that was not said before.
    pub(super) fn report(&mut self, report: &Report) {
        let Some(link) = self.link.as_mut().filter(|link| link.told.as_ref() != Some(report)) else { return };
        // It is small and rare: whoever does not read it has stopped, and is told again when it comes back.
        if link.stream.write_all(&wire::line(report)).is_ok() {
            link.told = Some(report.clone());
        } else {
            self.link = None;
        }
    }
}

/// Takes the place of the one lamp process (flock(2) on a file beside the socket, which is never taken away).
fn lock(path: &Path) -> io::Result<File> {
    let mut beside = path.as_os_str().to_owned();
    beside.push(".lock");
    let file = File::options().create(true).write(true).truncate(false).mode(0o600).open(beside)?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => {
            let words = "another lamp process (`returnfeed lamps`) runs already; stop that one first";
            Err(io::Error::new(ErrorKind::AddrInUse, words))
        }
        Err(TryLockError::Error(error)) => Err(error),
    }
}

impl Link {
    /// The newest order, if one came whole; `None` when the other end is gone, or talks nonsense.
    fn read(&mut self) -> Option<Option<Order>> {
        let mut piece = [0; 4096];
        let mut newest = None;
        loop {
            match self.stream.read(&mut piece) {
                Ok(0) => return None,
                Ok(length) => self.unread.extend(piece.iter().take(length)),
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(_) => return None,
            }
            if let Some(end) = self.unread.iter().rposition(|byte| *byte == b'\n') {
                let whole: Vec<u8> = self.unread.drain(..=end).collect();
                let last = whole.split(|byte| *byte == b'\n').rev().find(|line| !line.is_empty());
                newest = last.map_or(Some(newest), |line| wire::read::<Order>(line).map(Some))?;
            }
            if self.unread.len() > LONGEST_LINE {
                return None;
            }
        }
        Some(newest)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pair() -> (tempfile::TempDir, Socket, UnixStream) {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("run/socket");
        let mut socket = Socket::bind(&path).unwrap();
        let program = UnixStream::connect(&path).unwrap();
        assert_eq!(socket.hear(), Heard::Nothing);
        (directory, socket, program)
    }

    fn order(until_ns: u64) -> Order {
        Order { until_ns, ..Order::default() }
    }

    #[test]
    fn only_the_newest_order_is_heard_in_however_many_pieces_it_comes() {
        let (_directory, mut socket, mut program) = pair();
        let lines = [wire::line(&order(1)), wire::line(&order(2)), wire::line(&order(3))].concat();
        program.write_all(&lines[..lines.len() - 5]).unwrap();
        assert_eq!(socket.hear(), Heard::Order(order(2)));
        program.write_all(&lines[lines.len() - 5..lines.len() - 1]).unwrap();
        assert_eq!(socket.hear(), Heard::Nothing);
        program.write_all(b"\n").unwrap();
        assert_eq!(socket.hear(), Heard::Order(order(3)));
        assert_eq!(socket.hear(), Heard::Nothing);
        drop(program);
        assert_eq!(socket.hear(), Heard::Gone);
        assert_eq!(socket.hear(), Heard::Nothing);
    }

    #[test]
    fn who_calls_later_is_heard_instead_and_nonsense_ends_a_connection() {
        let (directory, mut socket, mut first) = pair();
        let mut second = UnixStream::connect(directory.path().join("run/socket")).unwrap();
        second.write_all(&wire::line(&order(7))).unwrap();
        assert_eq!(socket.hear(), Heard::Order(order(7)));
        let _ = first.write_all(&wire::line(&order(1)));
        assert_eq!(socket.hear(), Heard::Nothing);
        second.write_all(b"hello\n").unwrap();
        assert_eq!(socket.hear(), Heard::Gone);
        let mut third = UnixStream::connect(directory.path().join("run/socket")).unwrap();
        third.write_all(&vec![b'x'; LONGEST_LINE + 1]).unwrap();
        assert_eq!(socket.hear(), Heard::Gone);
    }

    #[test]
    fn a_second_lamp_process_is_refused_in_words_and_the_first_goes_on() {
        let (directory, mut socket, mut program) = pair();
        let path = directory.path().join("run/socket");
        let refused = Socket::bind(&path).err().expect("there is one already").to_string();
        assert!(refused.contains("another lamp process (`returnfeed lamps`) runs already"), "{refused}");
        program.write_all(&wire::line(&order(1))).unwrap();
        assert_eq!(socket.hear(), Heard::Order(order(1)));
        let mut later = UnixStream::connect(&path).expect("it still listens");
        later.write_all(&wire::line(&order(2))).unwrap();
        assert_eq!(socket.hear(), Heard::Order(order(2)));
        drop(socket);
        Socket::bind(&path).expect("its place is free");
    }

    #[test]
    fn a_report_is_said_once_and_again_to_whoever_comes_next() {
        let (directory, mut socket, program) = pair();
        let report = Report { backend: "simulated".into(), ..Report::default() };
        socket.report(&report);
        socket.report(&report);
        let mut said = String::new();
        drop(socket);
        (&program).read_to_string(&mut said).unwrap();
        assert_eq!(said.lines().count(), 1);
        assert_eq!(wire::read::<Report>(said.trim_end().as_bytes()), Some(report.clone()));

        // A new process takes the place of one that was killed.
        let mut socket = Socket::bind(&directory.path().join("run/socket")).unwrap();
        let program = UnixStream::connect(directory.path().join("run/socket")).unwrap();
        assert_eq!(socket.hear(), Heard::Nothing);
        socket.report(&report);
        drop(socket);
        said.clear();
        (&program).read_to_string(&mut said).unwrap();
        assert_eq!(said.lines().count(), 1);
    }
}
