//! A small HTTP/1.1 client: one request, one connection, nothing hidden.

use super::Result;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// What came back.
#[derive(Clone, Debug)]
pub struct Response {
    /// The status code; 0 when the server closed without answering.
    pub status: u16,
    /// Header names (lower case) and values.
    pub headers: Vec<(String, String)>,
    /// The body, de-chunked.
    pub body: Vec<u8>,
}

impl Response {
    /// The first header of that (lower-case) name.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    /// The body as text.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// The body as JSON.
    ///
    /// # Errors
    /// The body is no JSON.
    pub fn json(&self) -> Result<serde_json::Value> {
        Ok(serde_json::from_slice(&self.body)?)
    }
}

/// Splits `http://host:port/path` into what to dial and what to ask for.
///
/// # Errors
/// Not such an address.
pub fn split(url: &str) -> Result<(String, String)> {
    let rest = url.strip_prefix("http://").ok_or_else(|| format!("not an http address: {url}"))?;
    let (authority, path) = rest.find('/').map_or((rest, "/"), |at| rest.split_at(at));
    Ok((authority.to_owned(), path.to_owned()))
}

/// Sends one request and reads the whole answer.
///
/// # Errors
/// No connection, or no sensible answer within 10 s.
pub async fn request(method: &str, url: &str, headers: &[(&str, &str)], body: &[u8]) -> Result<Response> {
    let (authority, path) = split(url)?;
    let mut head = format!("{method} {path} HTTP/1.1\r\nHost: {authority}\r\nConnection: close\r\n");
    for (name, value) in headers {
        head.push_str(&format!("{name}: {value}\r\n"));
    }
    if !body.is_empty() || method == "POST" || method == "PATCH" {
        head.push_str(&format!("Content-Length: {}\r\n", body.len()));
    }
    head.push_str("\r\n");
    let mut bytes = head.into_bytes();
    bytes.extend_from_slice(body);
    raw(&authority, &bytes).await
}

/// Sends `bytes` as they are and reads the answer until the server is done.
///
/// # Errors
/// No connection, or no sensible answer within 10 s.
pub async fn raw(authority: &str, bytes: &[u8]) -> Result<Response> {
    tokio::time::timeout(Duration::from_secs(10), async {
        let mut stream = TcpStream::connect(authority).await?;
        stream.set_nodelay(true)?;
        // A server that refuses early may reset while the rest is still being written.
        let written = stream.write_all(bytes).await;
        let mut answer = Vec::new();
        let mut chunk = [0u8; 16 * 1024];
        loop {
            match stream.read(&mut chunk).await {
                Ok(0) => break,
                Ok(count) => answer.extend_from_slice(chunk.get(..count).unwrap_or_default()),
                Err(error) if answer.is_empty() && written.is_ok() => return Err(error.into()),
                Err(_) => break,
            }
            if is_complete(&answer) {
                break;
            }
        }
        parse(&answer)
    })
    .await
    .map_err(|_| format!("no answer from {authority} within 10 s"))?
}

/// Gets `url`.
///
/// # Errors
/// As [`request`].
pub async fn get(url: &str) -> Result<Response> {
    request("GET", url, &[], &[]).await
}

fn head_end(answer: &[u8]) -> Option<usize> {
    answer.windows(4).position(|four| four == b"\r\n\r\n").map(|at| at + 4)
}

fn is_complete(answer: &[u8]) -> bool {
    let Some(end) = head_end(answer) else { return false };
    let head = String::from_utf8_lossy(answer.get(..end).unwrap_or_default()).to_ascii_lowercase();
    head.lines()
        .find_map(|line| line.strip_prefix("content-length:"))
        .and_then(|value| value.trim().parse::<usize>().ok())
        .is_some_and(|length| answer.len() >= end + length)
}

fn parse(answer: &[u8]) -> Result<Response> {
    if answer.is_empty() {
        return Ok(Response { status: 0, headers: Vec::new(), body: Vec::new() });
    }
    let end = head_end(answer).ok_or("an answer without an end of its head")?;
    let head = String::from_utf8_lossy(answer.get(..end).unwrap_or_default()).into_owned();
    let mut lines = head.lines();
    let status = lines
        .next()
        .and_then(|line| line.split_whitespace().nth(1))
        .and_then(|code| code.parse().ok())
        .ok_or_else(|| format!("no status line: {head:?}"))?;
    let headers: Vec<_> = lines
        .filter_map(|line| line.split_once(':'))
        .map(|(name, value)| (name.trim().to_ascii_lowercase(), value.trim().to_owned()))
        .collect();
    let mut body = answer.get(end..).unwrap_or_default().to_vec();
    if headers.iter().any(|(name, value)| name == "transfer-encoding" && value.contains("chunked")) {
        body = unchunk(&body);
    }
    Ok(Response { status, headers, body })
}

fn unchunk(mut rest: &[u8]) -> Vec<u8> {
    let mut body = Vec::new();
    while let Some(at) = rest.windows(2).position(|two| two == b"\r\n") {
        let size = String::from_utf8_lossy(rest.get(..at).unwrap_or_default()).into_owned();
        let Ok(size) = usize::from_str_radix(size.trim(), 16) else { break };
        let Some(data) = rest.get(at + 2..at + 2 + size) else { break };
        if size == 0 {
            break;
        }
        body.extend_from_slice(data);
        rest = rest.get(at + 2 + size + 2..).unwrap_or_default();
    }
    body
}
