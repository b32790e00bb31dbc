//! `GET /api` of vMix's HTTP API: the document, when the TCP API does not give it.
//!
//! Owns: one bounded request and its answer (RFC 9112), and nothing more of HTTP.

use std::time::Duration;

use bytes::Bytes;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::timeout;

use super::open;
use crate::tally::line::MAX_BODY;
use crate::tally::xml::{self, Document, DocumentError};

const WITHIN: Duration = Duration::from_secs(3);
const MAX_HEAD: usize = 16 * 1024;

/// Why there is no document.
#[derive(Debug, thiserror::Error)]
pub(super) enum HttpError {
    #[error("HTTP port {0}: {1}")]
    Connect(u16, super::Failure),
    #[error("HTTP port {0}: no whole answer within 3 s")]
    Slow(u16),
    #[error("HTTP port {0}: {1}")]
    Io(u16, std::io::Error),
    #[error("HTTP port {0}: the answer is not HTTP, or too long")]
    Malformed(u16),
    #[error("HTTP port {0}: a password is wanted")]
    Password(u16),
    #[error("HTTP port {0}: status {1}")]
    Status(u16, u16),
    #[error(transparent)]
    Document(#[from] DocumentError),
}

/// Fetches and reads the document; gives the bytes that it was read from too.
pub(super) async fn document(host: &str, port: u16) -> Result<(Document, Bytes), HttpError> {
    let answer = timeout(WITHIN, fetch(host, port)).await.map_err(|_| HttpError::Slow(port))??;
    let (status, body) = read_answer(&answer).ok_or(HttpError::Malformed(port))?;
    match status {
        200 => {}
        401 | 403 => return Err(HttpError::Password(port)),
        other => return Err(HttpError::Status(port, other)),
    }
    let body = Bytes::from(body);
    let read = tokio::task::spawn_blocking(move || xml::parse(&body).map(|read| (read, body))).await;
    Ok(read.map_err(|_| HttpError::Malformed(port))??)
}

async fn fetch(host: &str, port: u16) -> Result<Vec<u8>, HttpError> {
    let mut stream = open(host.to_owned(), port).await.map_err(|failure| HttpError::Connect(port, failure))?;
    let name = if host.contains(':') { format!("[{host}]") } else { host.to_owned() };
    let request = format!("GET /api HTTP/1.1\r\nHost: {name}:{port}\r\nAccept: text/xml\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.map_err(|err| HttpError::Io(port, err))?;
    let mut answer = Vec::new();
    let mut piece = vec![0; 32 * 1024];
    loop {
        let length = stream.read(&mut piece).await.map_err(|err| HttpError::Io(port, err))?;
        answer.extend_from_slice(piece.get(..length).unwrap_or_default());
        // A server may keep the connection open all the same.
        if length == 0 || is_whole(&answer) {
            return Ok(answer);
        }
        if answer.len() > MAX_HEAD + MAX_BODY {
            return Err(HttpError::Malformed(port));
        }
    }
}

/// How the body of an answer ends.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Ending {
    Length(usize),
    Chunked,
    Close,
}

fn head(answer: &[u8]) -> Option<(u16, Ending, &[u8])> {
    let window = answer.get(..answer.len().min(MAX_HEAD))?;
    let end = window.windows(4).position(|bytes| bytes == b"\r\n\r\n")?;
    let head = String::from_utf8_lossy(answer.get(..end)?);
    let mut lines = head.split("\r\n");
    let mut words = lines.next()?.split(' ');
    words.next().filter(|version| version.starts_with("HTTP/1."))?;
    let status = words.next()?.parse().ok()?;
    let mut ending = Ending::Close;
    for (name, value) in lines.filter_map(|line| line.split_once(':')) {
        let value = value.trim();
        if name.eq_ignore_ascii_case("transfer-encoding") && value.eq_ignore_ascii_case("chunked") {
            ending = Ending::Chunked;
        } else if name.eq_ignore_ascii_case("content-length") && ending != Ending::Chunked {
            ending = Ending::Length(value.parse().ok().filter(|length| *length <= MAX_BODY)?);
        }
    }
    Some((status, ending, answer.get(end + 4..)?))
}

fn is_whole(answer: &[u8]) -> bool {
    head(answer).is_some_and(|(_, ending, body)| match ending {
        Ending::Length(length) => body.len() >= length,
        Ending::Chunked => body.ends_with(b"0\r\n\r\n"),
        Ending::Close => false,
    })
}

/// The status and the body of a whole answer.
pub(in crate::tally) fn read_answer(answer: &[u8]) -> Option<(u16, Vec<u8>)> {
    let (status, ending, body) = head(answer)?;
    let body = match ending {
        Ending::Length(length) => body.get(..length)?.to_vec(),
        Ending::Close => body.to_vec(),
        Ending::Chunked => unchunk(body)?,
    };
    Some((status, body))
}

/// RFC 9112 §7.1, trailers left out.
fn unchunk(mut rest: &[u8]) -> Option<Vec<u8>> {
    let mut body = Vec::new();
    loop {
        let end = rest.windows(2).take(1024).position(|bytes| bytes == b"\r\n")?;
        let size = std::str::from_utf8(rest.get(..end)?).ok()?;
        let size = usize::from_str_radix(size.split(';').next()?.trim(), 16).ok()?;
        rest = rest.get(end + 2..)?;
        if size == 0 {
            return Some(body);
        }
        body.extend_from_slice(rest.get(..size)?);
        rest = rest.get(size..)?.strip_prefix(b"\r\n")?;
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn arbitrary_answers_never_panic(
            head in prop_oneof![
                Just(&b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"[..]),
                Just(&b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\n"[..]),
                Just(&b""[..]),
            ],
            body in proptest::collection::vec(prop_oneof![Just(b'\r'), Just(b'\n'), Just(b'3'), any::<u8>()], 0..60),
        ) {
            crate::tally::fuzzing::vmix_http(&[head, &body].concat());
            let _ = is_whole(&[head, &body].concat());
        }
    }

    #[test]
    fn reads_bodies_by_length_by_chunks_and_to_the_end() {
        let read = |answer: &str| read_answer(answer.as_bytes());
        let body = Some((200, b"<vmix/>".to_vec()));
        assert_eq!(read("HTTP/1.1 200 OK\r\nContent-Length: 7\r\n\r\n<vmix/>more"), body);
        assert_eq!(read("HTTP/1.1 200 OK\r\n\r\n<vmix/>"), body);
        assert_eq!(
            read("HTTP/1.1 200 OK\r\nTransfer-Encoding: Chunked\r\n\r\n3;x=y\r\n<vm\r\n4\r\nix/>\r\n0\r\n\r\n"),
            body
        );
        assert_eq!(read("HTTP/1.1 401 Unauthorized\r\nContent-Length: 0\r\n\r\n"), Some((401, Vec::new())));
    }

    #[test]
    fn what_is_cut_short_or_is_not_http_is_refused() {
        for answer in [
            "",
            "SSH-2.0-x\r\n\r\n",
            "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n<vmix/>",
            "HTTP/1.1 200 OK\r\nContent-Length: 99999999999\r\n\r\n",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nffffffffffffffff\r\n<vmix/>",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n<vmix/>",
        ] {
            assert_eq!(read_answer(answer.as_bytes()), None, "{answer}");
        }
    }
}
