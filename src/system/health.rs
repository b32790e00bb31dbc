//! Asks the program that runs on this machine how it is, as somebody outside would: over HTTP.

use std::io::{self, Read, Write};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpStream};
use std::time::Duration;

use super::reachable;

/// How long connecting, asking and each piece of the answer may take. The program itself gives up sooner.
const PATIENCE: Duration = Duration::from_secs(5);

/// The longest answer that is read, in bytes.
const LONGEST_ANSWER: u64 = 16 << 10;

/// Why the program is not well.
#[derive(Debug, thiserror::Error)]
pub enum Unwell {
    /// It does not answer.
    #[error("the page at {at} does not answer")]
    Silent {
        /// Where it was asked.
        at: SocketAddr,
        /// What the system said.
        source: io::Error,
    },
    /// It answers this machine alone.
    #[error("the page answers on this machine, and is not to be had at {at}, where others look for it: {source}")]
    Unreachable {
        /// Where it was looked for last.
        at: SocketAddr,
        /// What the system said.
        source: io::Error,
    },
    /// It answers that it is not, or what it says is no answer.
    #[error("the page at {at} says: {said}")]
    Says {
        /// Where it was asked.
        at: SocketAddr,
        /// The first line, and what follows the head.
        said: String,
    },
}

/// Asks `/healthz` of the program that listens on `listen`, and looks whether it listens where others reach this machine
/// too, if they do at all. Blocks until it answers, or for some seconds.
///
/// # Errors
/// When it is not well.
pub fn ask_health(listen: SocketAddr) -> Result<(), Unwell> {
    let others: Vec<_> = reachable(listen).into_iter().filter(|at| !at.ip().is_loopback()).collect();
    ask_health_with(listen, &others)
}

fn ask_health_with(listen: SocketAddr, others: &[SocketAddr]) -> Result<(), Unwell> {
    // What listens on every address listens on this one.
    let here = if listen.ip().is_unspecified() { IpAddr::V4(Ipv4Addr::LOCALHOST) } else { listen.ip() };
    let at = SocketAddr::new(here, listen.port());
    let answer = ask(at).map_err(|source| Unwell::Silent { at, source: in_words(source) })?;
    let (head, body) = answer.split_once("\r\n\r\n").unwrap_or((&answer, ""));
    let status = head.lines().next().unwrap_or_default();
    // RFC 9112 §4: the version, the number, words.
    match status.split(' ').nth(1) {
        Some("200") if status.starts_with("HTTP/1.1 ") => listens_for_others(others),
        _ => {
            let said = format!("{status} {body}");
            Err(Unwell::Says { at, said: said.chars().filter(|c| !c.is_control()).take(500).collect() })
        }
    }
}

/// Whether something listens at one of `others`, where there are any. One is enough: an address may
/// have gone this moment, or wait for the network to say that nobody else has it.
fn listens_for_others(others: &[SocketAddr]) -> Result<(), Unwell> {
    let mut last = Ok(());
    for at in others.iter().copied() {
        match TcpStream::connect_timeout(&at, PATIENCE) {
            Ok(_) => return Ok(()),
            Err(source) => last = Err(Unwell::Unreachable { at, source: in_words(source) }),
        }
    }
    last
}

/// What runs out is called by a name that nobody knows (socket(7)).
fn in_words(error: io::Error) -> io::Error {
    match error.kind() {
        io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => {
            let words = format!("nothing came within {} s", PATIENCE.as_secs());
            io::Error::new(io::ErrorKind::TimedOut, words)
        }
        _ => error,
    }
}

fn ask(at: SocketAddr) -> io::Result<String> {
    let mut connection = TcpStream::connect_timeout(&at, PATIENCE)?;
    connection.set_read_timeout(Some(PATIENCE))?;
    connection.set_write_timeout(Some(PATIENCE))?;
    // In one piece: a part of it for each is what formatting into a socket sends.
    connection.write_all(format!("GET /healthz HTTP/1.1\r\nHost: {at}\r\nConnection: close\r\n\r\n").as_bytes())?;
    let mut answer = Vec::new();
    connection.take(LONGEST_ANSWER).read_to_end(&mut answer)?;
    Ok(String::from_utf8_lossy(&answer).into_owned())
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;

    /// What is made of this answer.
    fn asked(answer: &'static [u8]) -> Result<(), Unwell> {
        asked_with(answer, &[])
    }

    fn asked_with(answer: &'static [u8], others: &[SocketAddr]) -> Result<(), Unwell> {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let at = SocketAddr::new("::".parse().unwrap(), listener.local_addr().unwrap().port());
        let served = std::thread::spawn(move || {
            let (mut connection, _) = listener.accept().unwrap();
            let mut asked = Vec::new();
            while !asked.ends_with(b"\r\n\r\n") {
                let mut piece = [0; 200];
                let len = connection.read(&mut piece).unwrap();
                assert_ne!(len, 0, "{}", String::from_utf8_lossy(&asked));
                asked.extend_from_slice(&piece[..len]);
            }
            connection.write_all(answer).unwrap();
            String::from_utf8(asked).unwrap()
        });
        let health = ask_health_with(at, others);
        let asked = served.join().unwrap();
        assert!(
            asked.starts_with("GET /healthz HTTP/1.1\r\nHost: 127.0.0.1:") && asked.ends_with("\r\n\r\n"),
            "{asked}"
        );
        health
    }

    #[test]
    fn only_a_program_that_says_so_is_well() {
        assert!(asked(b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n\r\n{}").is_ok());
        for (answer, said) in [
            (
                &b"HTTP/1.1 503 Service Unavailable\r\na: b\r\n\r\n{\"detail\":\"a thread\"}"[..],
                "503 Service Unavailable {",
            ),
            (b"HTTP/1.1 2000 OK\r\n\r\n", "2000"),
            (b"SSH-2.0-x 200\r\n", "SSH"),
            (b"", "says: "),
        ] {
            let unwell = asked(answer).unwrap_err().to_string();
            assert!(unwell.contains(said), "{unwell}");
        }
    }

    #[test]
    fn a_program_that_hears_nobody_else_is_not_well() {
        let page = TcpListener::bind("127.0.0.1:0").unwrap();
        let heard = page.local_addr().unwrap();
        let silent = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        assert!(asked_with(b"HTTP/1.1 200 OK\r\n\r\n{}", &[silent, heard]).is_ok(), "one that answers is enough");
        let unwell = asked_with(b"HTTP/1.1 200 OK\r\n\r\n{}", &[silent]).unwrap_err().to_string();
        assert!(unwell.contains(&format!("{silent}, where others look for it: Connection refused")), "{unwell}");
    }

    #[test]
    fn a_program_that_is_not_there_is_not_well() {
        let at = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        assert!(ask_health(at).unwrap_err().to_string().contains("does not answer"));
    }
}
